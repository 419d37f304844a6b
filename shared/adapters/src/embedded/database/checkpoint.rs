//! Copies the write-ahead log into the database before it grows too long.
//!
//! A thread of its own does the bulk while the writer goes on. Since the writer keeps adding to the
//! log, that thread never quite reaches its end; when only little is left, the writer does the rest
//! between two commits, and the next commit begins the log anew.

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::connection::{self, Session};
use crate::embedded::config::DatabaseConfig;
use crate::embedded::error::EmbeddedError;

/// Pages that the writer may be left to copy.
const SMALL_REST: u64 = 512;
/// How often the thread starts over to catch up before it leaves the rest to the writer.
const MAX_ROUNDS: usize = 5;

/// Where the work stands.
const IDLE: u8 = 0;
const COPYING: u8 = 1;
const CAUGHT_UP: u8 = 2;

/// Checkpoints of one database.
pub(super) struct Checkpoints {
    soft_pages: u64,
    hard_pages: u64,
    log_pages: Arc<AtomicU64>,
    progress: Arc<Progress>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    state: AtomicU8,
    /// Held while the thread copies.
    copying: Mutex<()>,
}

impl Checkpoints {
    pub(super) fn start(
        connection: &mut Connection,
        path: &Path,
        config: &DatabaseConfig,
    ) -> Result<Self, EmbeddedError> {
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = |bytes: u64| (bytes / u64::from(page_bytes.max(1))).max(1);
        let own = connection::open_for_writing(path, config)?;
        let progress = Arc::<Progress>::default();
        let (wake, woken) = mpsc::sync_channel(1);
        let thread = {
            let progress = Arc::clone(&progress);
            thread::Builder::new()
                .name("store-checkpoint".to_owned())
                .spawn(move || copy_when_woken(&own, &progress, &woken))
                .map_err(EmbeddedError::io(path))?
        };
        let this = Self {
            soft_pages: pages(config.checkpoint_bytes),
            hard_pages: pages(config.max_wal_bytes),
            log_pages: Arc::default(),
            progress,
            wake: Some(wake),
            thread: Some(thread),
        };
        this.watch(connection)?;
        Ok(this)
    }

    /// Counts the pages that `connection` writes to the log.
    pub(super) fn watch(&self, connection: &mut Connection) -> Result<(), EmbeddedError> {
        let log_pages = Arc::clone(&self.log_pages);
        connection.wal_hook(Some(move |_: &mut _, pages: i32| {
            log_pages.store(u64::from(pages.unsigned_abs()), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(())
    }

    /// To be called after each commit. `true` when the caller waited for a checkpoint.
    pub(super) fn after_commit(&self, connection: &Connection) -> bool {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < self.soft_pages {
            return false;
        }
        match self.progress.state.load(Ordering::Acquire) {
            CAUGHT_UP => self.finish(connection),
            COPYING if pages >= self.hard_pages => self.finish(connection),
            COPYING => return false,
            _ => {
                self.progress.state.store(COPYING, Ordering::Release);
                if let Some(wake) = &self.wake {
                    // Full means that it is awake already.
                    let _ = wake.try_send(());
                }
                return false;
            }
        }
        true
    }

    /// Copies what the thread left. If a reader is in the way, the next round tries again.
    fn finish(&self, connection: &Connection) {
        let _waited = self
            .progress
            .copying
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = copy(connection) {
            tracing::warn!(%error, "checkpoint failed");
        }
        self.progress.state.store(IDLE, Ordering::Release);
    }
}

impl Drop for Checkpoints {
    /// Ends the thread. The log itself is emptied by SQLite when the last connection closes.
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the database's checkpoint thread ended in a panic");
        }
    }
}

fn copy_when_woken(session: &Session, progress: &Progress, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        for _ in 0..MAX_ROUNDS {
            match copy_and_sync(session, progress) {
                Ok(rest) if rest > SMALL_REST => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "checkpoint failed");
                    break;
                }
            }
        }
        progress.state.store(CAUGHT_UP, Ordering::Release);
    }
}

fn copy_and_sync(session: &Session, progress: &Progress) -> Result<u64, EmbeddedError> {
    let rest = {
        let copying = progress.copying.lock();
        let _copying = copying.unwrap_or_else(PoisonError::into_inner);
        copy(session)?
    };
    // SQLite itself syncs the file only when all is copied, which here would be in the writer's time.
    session
        .sync_file()
        .map_err(EmbeddedError::io(Path::new("database")))?;
    Ok(rest)
}

/// Copies what no reader is in the way of; gives the number of pages left.
fn copy(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (log, done): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(log.saturating_sub(done).unsigned_abs())
    })
}
