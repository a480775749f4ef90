//! The schema: migrations, applied in order at the start, all in one transaction and under one lock, so that
//! replicas that start together do not get in each other's way and a crash leaves the schema as it was.
//!
//! A migration that has been released is never edited. While replicas are replaced one after the other, the ones
//! before still work on the new schema: a migration adds; what it makes needless is dropped in a later release.

use crate::Error;
use crate::database::{Database, args};

/// In order; the place in the list, from 1, is a migration's number.
const MIGRATIONS: [&str; 11] = [
    include_str!("../migrations/0001_accounts.sql"),
    include_str!("../migrations/0002_videos.sql"),
    include_str!("../migrations/0003_uploads.sql"),
    include_str!("../migrations/0004_progress.sql"),
    include_str!("../migrations/0005_owners.sql"),
    include_str!("../migrations/0006_jobs.sql"),
    include_str!("../migrations/0007_job_lists.sql"),
    include_str!("../migrations/0008_parts.sql"),
    include_str!("../migrations/0009_events.sql"),
    include_str!("../migrations/0010_work.sql"),
    include_str!("../migrations/0011_outbox.sql"),
];

const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    number BIGINT PRIMARY KEY,
    applied_ms BIGINT NOT NULL
);";

/// The number of the last migration.
pub(crate) fn latest() -> usize {
    MIGRATIONS.len()
}

/// Applies what is missing up to migration `to`.
pub(crate) async fn migrate(database: &Database, to: usize) -> Result<(), Error> {
    let mut write = database.write().await?;
    // Another replica may be migrating much data, or this one may have to.
    write.be_patient().await?;
    write.lock("schema").await?;
    write.script(MIGRATIONS_TABLE).await?;
    let done: i64 =
        write.row("SELECT COALESCE(MAX(number), 0) AS done FROM migrations", args![]).await?.get("done")?;
    let known = i64::try_from(latest()).expect("migrations are few");
    if done > known {
        return Err(Error::NewerSchema { found: done, known });
    }
    for (number, sql) in (1..).zip(&MIGRATIONS[..to]).filter(|(number, _)| *number > done) {
        tracing::info!(number, "migrating the database");
        write.script(sql).await?;
        write
            .rows("INSERT INTO migrations (number, applied_ms) VALUES ($1, now_ms())", args![number])
            .await?;
    }
    write.commit().await
}

#[cfg(test)]
mod tests;
