//! Reader threads, each with a connection that cannot write, fed by one bounded channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use oscillink_ports::PortError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection;
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;

type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

/// Reads that may wait for a reader; callers beyond that wait to be let in.
const MAX_WAITING: usize = 256;

/// The running threads.
pub(super) struct Readers {
    jobs: Option<mpsc::Sender<ReadJob>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(path: &Path, config: &DatabaseConfig) -> Result<Self, EmbeddedError> {
        let (jobs, receiver) = mpsc::channel::<ReadJob>(MAX_WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..config.reader_threads.max(1))
            .map(|n| {
                let connection = connection::open_for_reading(path, config)?;
                let receiver = Arc::clone(&receiver);
                thread::Builder::new()
                    .name(format!("store-reader-{n}"))
                    .spawn(move || serve(&connection, &receiver))
                    .map_err(EmbeddedError::io(path))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, PortError> {
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |connection| {
            // The caller may have gone away.
            let _ = answer.send(read(connection));
        });
        let jobs = self.jobs.as_ref().ok_or(EmbeddedError::Closed)?;
        jobs.send(job).await.map_err(|_| EmbeddedError::Closed)?;
        Ok(answered.await.map_err(|_| EmbeddedError::Closed)??)
    }

    /// Blocks until the read is done.
    pub(super) fn run_now<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, EmbeddedError> + Send + 'static,
    ) -> Result<T, EmbeddedError> {
        let (answer, answered) = std::sync::mpsc::channel();
        let job: ReadJob = Box::new(move |connection| {
            let _ = answer.send(read(connection));
        });
        let jobs = self.jobs.as_ref().ok_or(EmbeddedError::Closed)?;
        jobs.try_send(job).map_err(|_| EmbeddedError::Closed)?;
        answered.recv().map_err(|_| EmbeddedError::Closed)?
    }

    /// Lets the threads finish what waits and ends them.
    pub(super) fn stop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a reader of the database ended in a panic");
            }
        }
    }
}

fn serve(connection: &Connection, jobs: &Mutex<mpsc::Receiver<ReadJob>>) {
    loop {
        let next = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(job) = next else { return };
        if catch_unwind(AssertUnwindSafe(|| job(connection))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}
