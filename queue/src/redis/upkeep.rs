//! The stream and its group: how they are made, what is wrong with the server that they are in, and what lies in the
//! stream of dead letters.

use std::collections::HashMap;

use deadpool_redis::redis::{Value, cmd, from_redis_value};
use seekway_catalog::JobId;

use super::{ANSWER_WITHIN, Asked, DEAD, Entries, FIELD, GROUP, Redis, STREAM, text};
use crate::{DeadLetter, Error, Finding, Sieve};

/// What the server tells of one.
type Group = HashMap<String, Value>;

/// `XPENDING` takes `IDLE` from then on.
const VERSION_MIN: (u32, u32) = (6, 2);
/// Dead letters that are read at a time.
const PAGE: usize = 100;

// === impl Redis ===

impl Redis {
    /// Makes the group, and with it the stream.
    pub(super) async fn make_group(&self) -> Result<(), Error> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
        match self.query::<()>(&self.commands, Asked::One(&create), ANSWER_WITHIN).await {
            Err(error) if error.code() == Some("NOPERM") => Err(Error(format!(
                "{}: the group {GROUP} of {STREAM} cannot be made sure of ({error}); allow XGROUP, or what \
                 docs/queues.md lists",
                self.shown
            ))),
            Err(error) if error.code() != Some("BUSYGROUP") => Err(self.said(&error)),
            _ => Ok(()),
        }
    }

    /// What is missing, and what of the server may lose rings.
    pub(super) async fn findings(&self) -> Result<Vec<Finding>, Error> {
        let mut findings = Vec::new();
        let mut add = |what: String, cure: String| findings.push(Finding { what, cure });
        let mut groups = cmd("XINFO");
        groups.arg("GROUPS").arg(STREAM);
        let known = self.query::<Vec<Group>>(&self.commands, Asked::One(&groups), ANSWER_WITHIN).await;
        let create = format!("XGROUP CREATE {STREAM} {GROUP} 0 MKSTREAM");
        match known {
            Ok(groups) if groups.iter().any(is_ours) => {}
            Err(error) if error.code() == Some("NOPERM") => {
                add(
                    format!("the groups of {STREAM} may not be looked at ({error})"),
                    "allow XINFO".to_owned(),
                );
            }
            // What the server says of a stream that is not there has no code of its own.
            Err(error) if error.code().is_none_or(|code| code != "ERR") => return Err(self.said(&error)),
            _ => add(format!("the group {GROUP} of the stream {STREAM} is not there"), create),
        }
        // Who may not ask for it has a server that somebody else looks after.
        let Ok(info) = self.ask::<String>(&cmd("INFO")).await else { return Ok(findings) };
        let told: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let told = |name: &str| told.get(name).copied().unwrap_or_default();
        let version = told("redis_version");
        if is_before(version, VERSION_MIN) {
            let (major, minor) = VERSION_MIN;
            add(format!("the server is {version}"), format!("install Redis {major}.{minor} or later"));
        }
        let (limit, policy) = (told("maxmemory"), told("maxmemory_policy"));
        if !matches!(limit, "" | "0") && policy != "noeviction" {
            let what =
                format!("when its memory is full, the server drops keys ({policy}), the stream among them");
            add(what, "CONFIG SET maxmemory-policy noeviction, or a server of its own".to_owned());
        }
        Ok(findings)
    }

    /// See [`Doorbells::sift`](crate::Doorbells::sift).
    pub(super) async fn sift_dead(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        let mut after = "-".to_owned();
        loop {
            let mut range = cmd("XRANGE");
            range.arg(DEAD).arg(&after).arg("+").arg("COUNT").arg(PAGE);
            let page: Entries = self.ask(&range).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = format!("({last}");
            for (id, fields) in page {
                if sieve.is_done(&letter(&fields)).await? {
                    let mut delete = cmd("XDEL");
                    self.ask::<()>(delete.arg(DEAD).arg(id)).await?;
                }
            }
        }
    }
}

fn is_ours(group: &Group) -> bool {
    let name = group.get("name").cloned();
    name.is_some_and(|name| from_redis_value::<String>(name).is_ok_and(|name| name == GROUP))
}

/// Whether a version is known to be older.
fn is_before(version: &str, least: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(str::parse);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < least)
}

/// Fields and values in turn.
fn letter(fields: &[Vec<u8>]) -> DeadLetter {
    let (mut job, mut said) = (None, Vec::new());
    for pair in fields.chunks(2) {
        let (name, value) = (text(&pair[0]), pair.get(1).map(|value| text(value)).unwrap_or_default());
        if name == FIELD {
            job = JobId::parse(&value);
        }
        said.push(format!("{name}: {value}"));
    }
    DeadLetter { job, text: said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::is_before;

    #[test]
    fn versions_are_compared_by_their_first_two_numbers() {
        for (version, is_older) in [
            ("6.0.16", true),
            ("6.2.0", false),
            ("7.0.15", false),
            ("5.9", true),
            ("", false),
            ("x.y", false),
        ] {
            assert_eq!(is_before(version, (6, 2)), is_older, "{version}");
        }
    }
}
