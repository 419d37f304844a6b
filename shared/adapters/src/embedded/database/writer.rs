//! The one thread that writes: takes the jobs that wait, runs them in one transaction, commits once.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oscillink_ports::PortError;
use rusqlite::Connection;

use super::batch::{Batch, JobError};
use super::channel::Submitted;
use super::checkpoint::Checkpoints;
use super::connection::{self, Session};
use super::counters::Counters;
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;
use crate::embedded::store::PendingDocuments;

/// A piece of work inside a transaction.
pub(super) trait WriteJob: Send {
    /// Does the work. Runs again if the transaction had to be undone.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), JobError>;

    /// Learns whether the work was committed.
    fn finish(self: Box<Self>, outcome: Result<(), PortError>);
}

/// A [`WriteJob`] of two closures.
pub(super) struct Job<T, R, D> {
    run: R,
    done: D,
    answer: Option<T>,
}

impl<T, R, D> Job<T, R, D> {
    pub(super) const fn new(run: R, done: D) -> Self {
        Self {
            run,
            done,
            answer: None,
        }
    }
}

impl<T, R, D> WriteJob for Job<T, R, D>
where
    T: Send,
    R: FnMut(&mut Batch<'_>) -> Result<T, JobError> + Send,
    D: FnOnce(Result<T, PortError>) + Send,
{
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), JobError> {
        self.answer = Some((self.run)(batch)?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), PortError>) {
        let Self { done, answer, .. } = *self;
        done(outcome.and_then(|()| answer.ok_or_else(|| EmbeddedError::Closed.into())));
    }
}

type Outcome = Result<(), PortError>;

/// The writer's state.
pub(super) struct Writer {
    connection: Session,
    documents: PendingDocuments,
    path: PathBuf,
    config: DatabaseConfig,
    jobs: Submitted<Box<dyn WriteJob>>,
    counters: Arc<Counters>,
    checkpoints: Checkpoints,
}

impl Writer {
    pub(super) fn new(
        mut connection: Session,
        path: &Path,
        config: DatabaseConfig,
        jobs: Submitted<Box<dyn WriteJob>>,
        counters: Arc<Counters>,
    ) -> Result<Self, EmbeddedError> {
        let checkpoints = Checkpoints::start(&mut connection, path, &config)?;
        Ok(Self {
            connection,
            documents: PendingDocuments::new(config.document_cache_bytes),
            path: path.to_owned(),
            config,
            jobs,
            counters,
            checkpoints,
        })
    }

    /// Works until the database is closed and nothing waits any more.
    pub(super) fn run(mut self) {
        let mut last_commit = Duration::ZERO;
        while let Some(jobs) = self.jobs.next(last_commit) {
            let begun = Instant::now();
            self.commit(jobs);
            last_commit = begun.elapsed();
            let committed = Instant::now();
            if self.checkpoints.after_commit(&self.connection) {
                self.counters.checkpointed(committed.elapsed());
            }
        }
    }

    fn commit(&mut self, mut jobs: Vec<Box<dyn WriteJob>>) {
        match self.attempt_with_room(&mut jobs) {
            Ok(outcomes) => {
                self.counters.committed(jobs.len());
                self.jobs.done_with(jobs.len());
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    finish(job, outcome);
                }
            }
            // One of them is at fault: the others should not suffer for it.
            Err(error) if jobs.len() > 1 && !error.is_environment() => {
                tracing::warn!(%error, jobs = jobs.len(), "a commit failed; trying its parts one by one");
                for job in jobs {
                    self.commit(vec![job]);
                }
            }
            Err(error) => {
                tracing::error!(%error, jobs = jobs.len(), "a commit failed");
                let error = PortError::from(error);
                for job in jobs {
                    finish(job, Err(error.clone()));
                }
            }
        }
    }

    /// Tries once more if the disk was full and the log could be emptied.
    fn attempt_with_room(
        &mut self,
        jobs: &mut [Box<dyn WriteJob>],
    ) -> Result<Vec<Outcome>, EmbeddedError> {
        let outcome = self.attempt(jobs);
        match &outcome {
            Err(error) if error.is_disk_full() && self.checkpoints.make_room(&self.connection) => {
                tracing::warn!(%error, "the log was emptied to make room");
                self.attempt(jobs)
            }
            _ => outcome,
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn WriteJob>]) -> Result<Vec<Outcome>, EmbeddedError> {
        let outcome = in_transaction(&self.connection, &mut self.documents, jobs);
        match &outcome {
            Ok(_) => self.documents.committed(),
            Err(_) => self.documents.undone(),
        }
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "could not undo a transaction; opening the database again");
            self.reopen();
        }
        outcome
    }

    fn reopen(&mut self) {
        let fresh = connection::open_for_writing(&self.path, &self.config).and_then(|mut fresh| {
            self.checkpoints.watch(&mut fresh)?;
            Ok(fresh)
        });
        match fresh {
            Ok(fresh) => self.connection = fresh,
            Err(error) => tracing::error!(%error, "could not open the database again"),
        }
    }
}

fn in_transaction(
    connection: &Connection,
    documents: &mut PendingDocuments,
    jobs: &mut [Box<dyn WriteJob>],
) -> Result<Vec<Outcome>, EmbeddedError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    documents.begin(connection)?;
    let mut batch = Batch {
        connection,
        documents,
    };
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        let ran = catch_unwind(AssertUnwindSafe(|| job.run(&mut batch)));
        outcomes.push(match ran {
            Ok(Ok(())) => Ok(()),
            Ok(Err(JobError::Refused(error))) => Err(error),
            Ok(Err(JobError::Broken(error))) => return Err(error),
            Err(panic) => return Err(EmbeddedError::Panicked(panic_text(panic.as_ref()))),
        });
    }
    batch.documents.write_out(connection)?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(outcomes)
}

fn finish(job: Box<dyn WriteJob>, outcome: Outcome) {
    if catch_unwind(AssertUnwindSafe(|| job.finish(outcome))).is_err() {
        tracing::error!("the answer to a transaction panicked");
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
