//! The SQLite file: one thread writes and commits in groups, a few threads read.

mod batch;
mod channel;
mod checkpoint;
mod connection;
mod counters;
mod file;
mod readers;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use oscillink_ports::PortError;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

pub(crate) use batch::{Batch, JobError};
pub use counters::WriteCounts;

use super::config::DatabaseConfig;
use super::error::EmbeddedError;
use super::folder::FolderLock;
use channel::Submit;
use counters::Counters;
use readers::Readers;
use writer::{Job, WriteJob, Writer};

/// An open database. Dropping it lets the writer finish what was submitted, then closes the file.
pub(crate) struct Database {
    jobs: Option<Submit<Box<dyn WriteJob>>>,
    readers: Readers,
    counters: Arc<Counters>,
    writer: Option<JoinHandle<()>>,
    closed: watch::Receiver<bool>,
}

impl Database {
    /// Opens the file, making it if it does not exist, and keeps `lock` until it is closed.
    pub(crate) fn open(
        path: &Path,
        config: &DatabaseConfig,
        lock: Option<FolderLock>,
    ) -> Result<Arc<Self>, EmbeddedError> {
        let connection = connection::open_for_writing(path, config)?;
        let counters = Arc::<Counters>::default();
        let most = if config.group_commit {
            config.max_batch
        } else {
            1
        };
        let (jobs, submitted) = channel::channel(config.max_waiting, most);
        let writer = Writer::new(connection, path, *config, submitted, Arc::clone(&counters))?;
        let readers = Readers::start(path, config)?;
        let (closing, closed) = watch::channel(false);
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                writer.run();
                drop(lock);
                closing.send_replace(true);
            })
            .map_err(EmbeddedError::io(path))?;
        Ok(Arc::new(Self {
            jobs: Some(jobs),
            readers,
            counters,
            writer: Some(writer),
            closed,
        }))
    }

    /// Runs `run` in the writer's transaction and gives its answer once that is committed.
    /// `run` may run again, when the transactions it shared a commit with had to be undone.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Batch<'_>) -> Result<T, JobError> + Send + 'static,
    ) -> Result<T, PortError> {
        self.write_then(run, |_| ()).await
    }

    /// Like [`Self::write`]; `then` sees the answer first, on the writer's thread and in the order of
    /// the jobs, and must not block.
    pub(crate) async fn write_then<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Batch<'_>) -> Result<T, JobError> + Send + 'static,
        then: impl FnOnce(&Result<T, PortError>) + Send + 'static,
    ) -> Result<T, PortError> {
        let (answer, answered) = oneshot::channel();
        self.submit(run, move |result| {
            then(&result);
            // The caller may have gone away.
            let _ = answer.send(result);
        })
        .await?;
        answered.await.map_err(|_| EmbeddedError::Closed)?
    }

    /// Like [`Self::write`], but returns once the job is accepted; `done` is called by the writer's
    /// thread after the commit, in the order of submission, and must not block.
    pub(crate) async fn submit<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Batch<'_>) -> Result<T, JobError> + Send + 'static,
        done: impl FnOnce(Result<T, PortError>) + Send + 'static,
    ) -> Result<(), PortError> {
        let jobs = self.jobs.as_ref().ok_or(EmbeddedError::Closed)?;
        Ok(jobs.send(Box::new(Job::new(run, done))).await?)
    }

    /// Runs `read` on a reader's connection. It sees every transaction committed before.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, PortError> {
        self.readers.run(read).await
    }

    /// Like [`Self::read`] for the time of opening: blocks the thread.
    pub(crate) fn read_now<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        self.readers.run_now(read)
    }

    /// Becomes true, or fails, once the file is closed and the lock is given back.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }

    /// Totals since opening.
    pub(crate) fn counts(&self) -> WriteCounts {
        self.counters.read()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.readers.stop();
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
            && writer.join().is_err()
        {
            tracing::error!("the database's writer ended in a panic");
        }
    }
}
