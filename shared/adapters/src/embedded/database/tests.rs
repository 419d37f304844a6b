//! What jobs of one commit have to do with each other.

use std::sync::Arc;
use std::sync::mpsc;

use oscillink_ports::PortError;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Batch, Database, JobError};
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;

fn open() -> (Arc<Database>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    let database = Database::open(&path, &DatabaseConfig::default(), None).unwrap();
    (database, folder)
}

fn insert(connection: &Connection, name: &str) -> rusqlite::Result<usize> {
    connection.execute(
        "INSERT INTO task_queue (name, paused) VALUES (?, 0)",
        [name],
    )
}

fn names(connection: &Connection) -> Result<Vec<String>, EmbeddedError> {
    let mut statement = connection.prepare("SELECT name FROM task_queue ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// Keeps the writer busy until what it gives is dropped, so that what follows is one commit.
async fn hold(database: &Database) -> mpsc::Sender<()> {
    let (go_on, wait) = mpsc::channel();
    database
        .submit(
            move |_| {
                // If the commit fails it runs again, and does not wait.
                let _ = wait.recv();
                Ok(())
            },
            |_| (),
        )
        .await
        .unwrap();
    go_on
}

type Run = fn(&mut Batch<'_>) -> Result<(), JobError>;

async fn run_together(database: &Arc<Database>, jobs: Vec<Run>) -> Vec<Result<(), PortError>> {
    let go_on = hold(database).await;
    let (answer, answers) = mpsc::channel();
    for (n, job) in jobs.iter().copied().enumerate() {
        let answer = answer.clone();
        database
            .submit(job, move |result| answer.send((n, result)).unwrap())
            .await
            .unwrap();
    }
    drop(go_on);
    let mut results: Vec<_> = answers.iter().take(jobs.len()).collect();
    results.sort_by_key(|(n, _)| *n);
    results.into_iter().map(|(_, result)| result).collect()
}

#[tokio::test]
async fn one_commit_carries_many_jobs() {
    let (database, _folder) = open();
    let before = database.counts();
    let results = run_together(
        &database,
        vec![
            |batch| Ok(insert(batch.connection, "a").map(|_| ())?),
            |batch| Ok(insert(batch.connection, "b").map(|_| ())?),
            |batch| Ok(insert(batch.connection, "c").map(|_| ())?),
        ],
    )
    .await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let after = database.counts();
    assert_eq!(after.transactions - before.transactions, 4);
    assert!(after.commits - before.commits <= 2);
    assert_eq!(database.read(names).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_job_that_breaks_half_way_fails_alone() {
    let (database, _folder) = open();
    let results = run_together(
        &database,
        vec![
            |batch| Ok(insert(batch.connection, "before").map(|_| ())?),
            |batch| {
                insert(batch.connection, "half")?;
                Err(EmbeddedError::malformed("test", "broken").into())
            },
            |batch| {
                insert(batch.connection, "other half")?;
                panic!("a defect");
            },
            |batch| {
                insert(batch.connection, "before")?;
                insert(batch.connection, "before").map(|_| ())?;
                Ok(())
            },
            |batch| Ok(insert(batch.connection, "after").map(|_| ())?),
        ],
    )
    .await;
    assert!(results[0].is_ok() && results[4].is_ok(), "{results:?}");
    assert!(matches!(results[1], Err(PortError::Corrupt { .. })));
    assert!(matches!(results[2], Err(PortError::Refused { .. })));
    assert!(matches!(results[3], Err(PortError::Unavailable { .. })));
    assert_eq!(database.read(names).await.unwrap(), ["after", "before"]);
}

#[tokio::test]
async fn a_panic_in_a_read_or_an_answer_ends_no_thread() {
    let (database, _folder) = open();
    for _ in 0..4 {
        let read = database.read(|_| -> Result<(), EmbeddedError> { panic!("a defect") });
        assert!(read.await.is_err());
        let submitted = database.submit(|_| Ok(()), |_| panic!("a defect"));
        submitted.await.unwrap();
    }
    database
        .write(|batch| Ok(insert(batch.connection, "still").map(|_| ())?))
        .await
        .unwrap();
    assert_eq!(database.read(names).await.unwrap(), ["still"]);
}

#[tokio::test]
async fn callers_wait_when_too_many_wait() {
    let folder = tempfile::tempdir().unwrap();
    let config = DatabaseConfig {
        max_waiting: 2,
        // A batch could hold what finds no room in the line.
        max_batch: 1,
        ..DatabaseConfig::default()
    };
    let database = Database::open(&folder.path().join("test.db"), &config, None).unwrap();
    let go_on = hold(&database).await;
    // The writer has taken the first job or is about to; two more find room.
    let mut refused = 0;
    for _ in 0..4 {
        let submitted = database.submit(|_| Ok(()), |_| ());
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), submitted).await;
        refused += usize::from(waited.is_err());
    }
    assert!(refused >= 1, "it takes more than it has room for");
    drop(go_on);
    database.write(|_| Ok(())).await.unwrap();
}
