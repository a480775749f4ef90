//! Migrations, from every schema there ever was.

use futures_util::future::join_all;
use seekway_loadtests::postgres::Postgres;

use super::{MIGRATIONS, latest, migrate};
use crate::database::{Database, Value, args};
use crate::uploads::HELD;
use crate::webhooks::FAN_OUT;
use crate::{AccountId, Catalog, Error, Filter, Options, Phase, Progress, VideoState, Viewer};

const ACCOUNT: &str = "00000000-0000-7000-8000-000000000001";
const VIDEO: &str = "00000000-0000-7000-8000-000000000002";

/// Asks for an empty database with a name, by its URL.
type Empty<'a> = &'a dyn Fn(&str) -> String;

fn on_sqlite(check: &impl AsyncFn(Empty<'_>)) {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    run(check(&empty));
}

fn on_postgres(check: &impl AsyncFn(Empty<'_>)) {
    let server = Postgres::start().expect("PostgreSQL starts");
    run(check(&|name: &str| server.database(name).expect("a database")));
}

fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(check);
}

async fn database(url: &str) -> Database {
    Database::connect(&url.parse().expect("a URL"), &Options::default()).await.expect("connects")
}

async fn open(url: &str) -> Result<Catalog, Error> {
    Catalog::open(&url.parse().expect("a URL"), &Options::default()).await
}

/// What was there before is there after, and works.
async fn from_every_schema(empty: Empty<'_>) {
    for number in 0..=latest() {
        let url = empty(&format!("from_{number}"));
        let before = database(&url).await;
        migrate(&before, number).await.expect("migrates");
        let rows = [
            (
                1,
                "INSERT INTO accounts (id, address, name, password_hash, role, created_ms) \
                 VALUES ($1, 'ann@example.org', 'Ann', '', 'admin', now_ms())",
            ),
            (
                2,
                "INSERT INTO videos (id, title, title_folded, visibility, state, source_key, source_etag, size_bytes, \
                 created_ms, updated_ms) \
                 VALUES ($1, 'T', 't', 'public', 'ready', 'key', 'etag', 1, now_ms(), now_ms())",
            ),
        ];
        for ((since, sql), id) in rows.into_iter().zip([ACCOUNT, VIDEO]) {
            if number >= since {
                before.change(sql, args![id]).await.expect("inserts");
            }
        }
        before.close().await;
        let catalog = open(&url).await.expect("migrates the rest");
        assert_eq!(catalog.accounts().exist().await.expect("asks"), number >= 1);
        let videos = catalog.videos().list(&Filter::of(Viewer::Anybody), None, 10).await.expect("lists");
        assert_eq!(videos.len(), usize::from(number >= 2));
        for video in videos {
            assert_eq!(video.progress, None);
            catalog.videos().set_state(video.id, VideoState::Processing, None).await.expect("moves");
            let progress =
                Progress { phase: Phase::Probing, percent: 1, speed_milli: None, eta_seconds: None };
            catalog.videos().set_progress(video.id, progress).await.expect("notes");
            assert_eq!(catalog.videos().get(video.id).await.expect("finds").progress, Some(progress));
        }
        assert!(catalog.uploads().of_account(None, None, 10).await.expect("lists").is_empty());
        catalog.close().await;
        open(&url).await.expect("there is nothing left to do").close().await;
    }
}

async fn all_at_once(empty: Empty<'_>) {
    let url = empty("at_once");
    let opened = join_all((0..8).map(|_| open(&url))).await;
    for catalog in opened {
        catalog.expect("opens").close().await;
    }
    let database = database(&url).await;
    let applied =
        database.rows("SELECT number FROM migrations ORDER BY number", args![]).await.expect("lists");
    assert_eq!(applied.len(), MIGRATIONS.len(), "each once");
}

async fn a_failed_one_leaves_the_schema(empty: Empty<'_>) {
    let database = database(&empty("failed")).await;
    migrate(&database, 1).await.expect("migrates");
    // Something is in the way of the last statements of the second.
    database.change("CREATE TABLE outbox (x BIGINT)", args![]).await.expect("creates");
    migrate(&database, latest()).await.expect_err("there is such a table");
    let applied = database.rows("SELECT number FROM migrations", args![]).await.expect("lists");
    assert_eq!(applied.len(), 1);
    database.rows("SELECT id FROM videos", args![]).await.err().expect("its first statements are undone");
    database.change("DROP TABLE outbox", args![]).await.expect("drops");
    migrate(&database, latest()).await.expect("migrates");
}

async fn a_newer_schema_is_left_alone(empty: Empty<'_>) {
    let url = empty("newer");
    open(&url).await.expect("opens").close().await;
    let newer = database(&url).await;
    newer.change("INSERT INTO migrations VALUES (1000, now_ms())", args![]).await.expect("inserts");
    let refused = open(&url).await;
    assert!(matches!(refused, Err(Error::NewerSchema { found: 1000, .. })), "{refused:?}");
}

/// The engine's plan for a statement with one or two texts, where reading whole tables is what it does last.
async fn plan(url: &str, sql: &str, args: Vec<Value>) -> String {
    let mut write = database(url).await.write().await.expect("begins");
    let (explain, column) = if url.starts_with("sqlite:") {
        ("EXPLAIN QUERY PLAN", "detail")
    } else {
        write.script("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").await.expect("sets");
        ("EXPLAIN", "QUERY PLAN")
    };
    let sql = format!("{explain} {sql}").leak();
    let rows = write.rows(sql, args).await.expect("explains");
    rows.iter().map(|row| row.get::<String>(column).expect("text") + "\n").collect()
}

async fn what_is_nobodys_is_found_by_an_index(empty: Empty<'_>) {
    let url = empty("plans");
    open(&url).await.expect("migrates").close().await;
    let held = plan(&url, HELD, args![None::<AccountId>, None::<String>]).await;
    for index in ["videos_of_owner_or_nobody", "assets_of_owner_or_nobody"] {
        assert!(held.contains(index), "{held}");
    }
    let fan_out = plan(&url, FAN_OUT, args![0_i64]).await;
    for index in ["webhooks_of_account_or_nobody", "webhooks_of_everybody"] {
        assert!(fan_out.contains(index), "{fan_out}");
    }
    let page = "SELECT id FROM uploads WHERE COALESCE(account, '') = COALESCE($1, '') \
                ORDER BY created_ms DESC, id DESC LIMIT 10";
    let page = plan(&url, page, args![None::<AccountId>]).await;
    assert!(page.contains("uploads_of_account_or_nobody"), "{page}");
}

macro_rules! on_both {
    ($($check:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $check() { super::on_sqlite(&super::$check); })+
        }
        mod postgres {
            $(#[test] fn $check() { super::on_postgres(&super::$check); })+
        }
    };
}

on_both! {
    from_every_schema,
    all_at_once,
    a_failed_one_leaves_the_schema,
    a_newer_schema_is_left_alone,
    what_is_nobodys_is_found_by_an_index,
}
