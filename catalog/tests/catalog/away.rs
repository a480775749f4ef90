//! A database that is away is a retryable error, soon, and nothing has to be started again when it is back.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use seekway_catalog::{Catalog, Error};
use seekway_loadtests::postgres::Postgres;
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::stand::{Engine, Stand, impatient, upload};

/// What must not hang ends long before this.
const HANGS_AFTER: Duration = Duration::from_mins(1);

async fn refused<T>(asked: impl Future<Output = Result<T, Error>>) {
    let outcome = tokio::time::timeout(HANGS_AFTER, Box::pin(asked)).await.expect("it does not hang");
    let error = outcome.err().expect("the database is away");
    assert!(error.is_retryable(), "{error:?}");
}

/// Reads and writes, also when every connection is taken by somebody who waits.
async fn all_is_refused(catalog: &Catalog) {
    let reads = futures_util::future::join_all((0..6).map(|_| refused(catalog.ping())));
    futures_util::future::join(reads, refused(catalog.outbox().add("away", ""))).await;
}

async fn works_again(catalog: &Catalog) {
    let asked = async { while catalog.outbox().add("back", "").await.is_err() {} };
    tokio::time::timeout(HANGS_AFTER, asked).await.expect("it is back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_does_not_answer() {
    let stand = Stand::postgres().await;
    let catalog = Catalog::open(&stand.url.parse().expect("a URL"), &impatient()).await.expect("opens");
    let Engine::Postgres(server) = &stand.engine else { unreachable!() };
    upload(&catalog, "before", None).await;
    server.pause();
    all_is_refused(&catalog).await;
    refused(Catalog::open(&stand.url.parse().expect("a URL"), &impatient())).await;
    server.resume();
    works_again(&catalog).await;
    assert_eq!(catalog.uploads().of_account(None, None, 10).await.expect("lists").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_gone() {
    let mut stand = Stand::postgres().await;
    let catalog = Catalog::open(&stand.url.parse().expect("a URL"), &impatient()).await.expect("opens");
    let Engine::Postgres(server) = &mut stand.engine else { unreachable!() };
    server.kill();
    all_is_refused(&catalog).await;
    refused(Catalog::open(&stand.url.parse().expect("a URL"), &impatient())).await;
    server.restart().expect("PostgreSQL starts again");
    works_again(&catalog).await;
}

/// A balancer whose servers are away takes connections, and ends them.
#[tokio::test]
async fn a_postgres_behind_something_that_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("postgres://postgres@{}/seekway", listener.local_addr().expect("bound"));
    let hangs_up = async {
        loop {
            let (mut client, _) = listener.accept().await.expect("accepts");
            client.read_exact(&mut [0; 8]).await.expect("it asks for TLS");
        }
    };
    let (url, options) = (url.parse().expect("a URL"), impatient());
    tokio::select! {
        () = refused(Catalog::open(&url, &options)) => {}
        () = hangs_up => {}
    }
}

#[tokio::test]
async fn a_postgres_that_knows_no_such_database_or_user() {
    let server = Postgres::start().expect("PostgreSQL starts");
    let url = format!("postgres://postgres@{}/nothing", server.address());
    let error = Catalog::open(&url.parse().expect("a URL"), &impatient()).await.expect_err("there is none");
    assert!(!error.is_retryable() && error.to_string().contains("nothing"), "{error:?}");
}

/// Managed servers insist on it.
#[tokio::test]
async fn a_postgres_whose_certificate_is_checked() {
    let server = Postgres::start_with_tls().expect("PostgreSQL starts");
    let url = server.database("seekway").expect("a database");
    let certificate = server.certificate();
    let checked = format!("{url}?sslmode=verify-full&sslrootcert={}", certificate.display());
    let catalog = Catalog::open(&checked.parse().expect("a URL"), &impatient()).await.expect("opens");
    upload(&catalog, "over TLS", None).await;
    // Nobody on this machine vouches for it, and its name is another one.
    for wrong in [format!("{url}?sslmode=verify-full"), checked.replace("127.0.0.1", "localhost")] {
        let outcome = Catalog::open(&wrong.parse().expect("a URL"), &impatient()).await;
        assert!(outcome.is_err(), "{wrong}");
    }
    let plain = Postgres::start().expect("PostgreSQL starts");
    let url = plain.database("seekway").expect("a database");
    let insisting = format!("{url}?sslmode=require");
    Catalog::open(&insisting.parse().expect("a URL"), &impatient()).await.expect_err("it speaks no TLS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sqlite_file_that_another_program_holds() {
    let stand = Stand::sqlite().await;
    let catalog = Catalog::open(&stand.url.parse().expect("a URL"), &impatient()).await.expect("opens");
    let mut other = SqliteConnection::connect(&stand.url).await.expect("opens");
    let held = other.begin_with("BEGIN IMMEDIATE").await.expect("begins");
    refused(catalog.outbox().add("away", "")).await;
    catalog.ping().await.expect("who reads waits for nobody");
    held.rollback().await.expect("ends");
    works_again(&catalog).await;
}

/// The keys that sign are in it.
#[tokio::test]
async fn an_sqlite_file_is_its_owners_alone() {
    let stand = Stand::sqlite().await;
    let Engine::Sqlite(folder) = &stand.engine else { unreachable!() };
    upload(&stand.catalog, "private", None).await;
    let files: Vec<_> = std::fs::read_dir(folder.path().join("data")).expect("a folder").collect();
    assert!(files.len() > 1, "a log beside it: {files:?}");
    for file in files {
        let file = file.expect("readable");
        let mode = file.metadata().expect("readable").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn an_sqlite_file_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("writes");
    let url = format!("sqlite:{}", file.join("seekway.db").display());
    let error = Catalog::open(&url.parse().expect("a URL"), &impatient()).await.expect_err("no folder");
    assert!(!error.is_retryable() && error.to_string().contains(&*file.to_string_lossy()), "{error:?}");
    // A file that is something else is not written over.
    let url = format!("sqlite:{}", file.display());
    let error = Catalog::open(&url.parse().expect("a URL"), &impatient()).await.expect_err("no database");
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(std::fs::read(&file).expect("reads"), b"not a folder");
}
