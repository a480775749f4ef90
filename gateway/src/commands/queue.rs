//! What an operator does about the broker of `QUEUE_URL`: find what is not as it should be, and bring back what came to
//! nothing there.

use std::fmt::Write as _;

use async_trait::async_trait;
use seekway_catalog::{Catalog, Error as CatalogError, JobId, JobState};
use seekway_queue::{DeadLetter, Doorbells, Error, Sieve};

use super::Failure;
use crate::jobs::JobAction;

/// What going through dead letters did.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// Dead jobs that are tried again.
    redriven: u64,
    /// Rings that nobody had answered, and jobs that still wait: they are rung for again.
    rung: u64,
    /// Letters about jobs that have ended, or are under way.
    settled: u64,
    /// Letters that name no job.
    strange: Vec<String>,
    /// Dead jobs that cannot be tried again now, and why.
    left: Vec<String>,
}

/// Whose dead letters are gone through.
struct Sifting<'s> {
    catalog: &'s Catalog,
    doorbells: &'s dyn Doorbells,
    /// Only those of jobs that are dead no more, instead of trying them again.
    settled_only: bool,
    /// Those that name no job are deleted, too.
    discards: bool,
    sifted: Sifted,
}

/// Says what is not as it should be, and makes what is missing if it may: how much there was, and how much is left.
pub(super) async fn inspect(doorbells: &dyn Doorbells, fix: bool) -> Result<(usize, usize), Failure> {
    let away = |Error(why)| Failure::Unavailable(format!("--queue-url (QUEUE_URL): {why}"));
    let found = doorbells.inspect().await.map_err(away)?;
    let left = if fix && !found.is_empty() {
        if let Err(Error(why)) = doorbells.ensure().await {
            println!("cannot make what is missing in the queue: {why}");
        }
        doorbells.inspect().await.map_err(away)?
    } else {
        found.clone()
    };
    for finding in &found {
        let mended = if left.contains(finding) { "" } else { "mended " };
        println!("{mended}queue: {}; to mend it: {}", finding.what, finding.cure);
    }
    Ok((found.len(), left.len()))
}

/// Tries all dead jobs again, and rings again for what was never answered.
pub(super) async fn redrive_all(
    catalog: &Catalog,
    doorbells: &dyn Doorbells,
    discards: bool,
) -> Result<Sifted, Failure> {
    let mut sifting =
        Sifting { catalog, doorbells, settled_only: false, discards, sifted: Sifted::default() };
    sifting.jobs().await.map_err(|error| Failure::Unavailable(error.chain()))?;
    let sifted = doorbells.sift(&mut sifting).await;
    sifted.map_err(|Error(why)| {
        let redriven = sifting.sifted.redriven;
        Failure::Unavailable(format!(
            "{redriven} jobs are tried again, but not all dead letters were read: {why}"
        ))
    })?;
    Ok(sifting.sifted)
}

/// Deletes the letters of jobs that are dead no more.
pub(super) async fn forget_settled(catalog: &Catalog, doorbells: &dyn Doorbells) -> Result<(), Error> {
    let sifted = Sifted::default();
    let mut sifting = Sifting { catalog, doorbells, settled_only: true, discards: false, sifted };
    doorbells.sift(&mut sifting).await
}

// === impl Sifting ===

impl Sifting<'_> {
    /// All dead jobs, whether there is a letter about them or not.
    async fn jobs(&mut self) -> Result<(), CatalogError> {
        let mut after = None;
        loop {
            let page = self.catalog.jobs().in_state(JobState::Dead, after, 100).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for job in &page {
                self.redrive(job.id).await?;
            }
        }
    }

    async fn redrive(&mut self, id: JobId) -> Result<(), CatalogError> {
        match JobAction::Redrive.apply(self.catalog, id).await {
            Ok(()) => self.sifted.redriven += 1,
            Err(error @ (CatalogError::Conflict(_) | CatalogError::IllegalTransition { .. })) => {
                self.sifted.left.push(format!("{id}: {error}"));
            }
            Err(CatalogError::NotFound) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[async_trait]
impl Sieve for Sifting<'_> {
    async fn is_done(&mut self, letter: &DeadLetter) -> Result<bool, Error> {
        let Some(id) = letter.job else {
            if !self.settled_only {
                self.sifted.strange.push(letter.text.clone());
            }
            return Ok(self.discards);
        };
        match self.catalog.jobs().get(id).await {
            // It is one that could not be tried again, or died again by now.
            Ok(job) if job.state == JobState::Dead => Ok(false),
            Ok(job) if matches!(job.state, JobState::Queued | JobState::Retry) => {
                self.doorbells.ring(&[id]).await?;
                self.sifted.rung += 1;
                Ok(true)
            }
            Ok(_) | Err(CatalogError::NotFound) => {
                self.sifted.settled += 1;
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}

// === impl Sifted ===

impl Sifted {
    /// What was done, or what is left.
    pub(super) fn told(self) -> Result<String, Failure> {
        let Self { redriven, rung, settled, strange, left } = self;
        let mut said = format!(
            "{redriven} dead jobs are tried again; of the dead letters, {rung} were about jobs that wait and are rung for \
             again, {settled} about jobs that have ended or are under way"
        );
        if !strange.is_empty() {
            write!(said, ", and {} name no job:\n{}", strange.len(), strange.join("\n"))
                .expect("a String takes all text");
        }
        if left.is_empty() {
            return Ok(said);
        }
        Err(Failure::Findings(format!("{said}\nnot tried again:\n{}", left.join("\n"))))
    }
}
