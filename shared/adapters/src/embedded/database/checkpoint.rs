//! Copies the write-ahead log into the database before it grows too long.
//!
//! A thread of its own does the bulk while the writer goes on. Since the writer keeps adding to the
//! log, that thread never quite reaches its end; when only little is left, the writer does the rest
//! between two commits, and the next commit begins the log anew.
//!
//! Copying makes the database grow, by as much as the log at the most. On a disk with little room left
//! the log is therefore copied earlier: a log that had taken all of it could never be copied again.

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
/// Pages below which a log is never too long, however little room there is.
const LEAST_PAGES: u64 = 256;

/// Where the work stands.
const IDLE: u8 = 0;
const COPYING: u8 = 1;
const CAUGHT_UP: u8 = 2;

/// Checkpoints of one database.
pub(super) struct Checkpoints {
    page_bytes: u64,
    lengths: Lengths,
    log_pages: Arc<AtomicU64>,
    progress: Arc<Progress>,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Lengths of the log, in pages, from which it is copied and from which the writer waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lengths {
    soft: u64,
    hard: u64,
}

impl Lengths {
    /// Shorter where that would not leave on the disk what copying may need.
    fn with_room(self, free_pages: u64) -> Self {
        Self {
            soft: self.soft.min((free_pages / 4).max(LEAST_PAGES)),
            hard: self.hard.min((free_pages / 2).max(LEAST_PAGES)),
        }
    }
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
            page_bytes: u64::from(page_bytes.max(1)),
            lengths: Lengths {
                soft: pages(config.checkpoint_bytes),
                hard: pages(config.max_wal_bytes),
            },
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
    pub(super) fn after_commit(&self, session: &Session) -> bool {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if pages < LEAST_PAGES.min(self.lengths.soft) {
            return false;
        }
        let lengths = match session.free_bytes() {
            Ok(free) => self.lengths.with_room(free / self.page_bytes),
            Err(error) => {
                tracing::warn!(%error, "cannot tell how much room the disk has");
                self.lengths
            }
        };
        if pages < lengths.soft {
            return false;
        }
        match self.progress.state.load(Ordering::Acquire) {
            CAUGHT_UP => drop(self.finish(session)),
            COPYING if pages >= lengths.hard => drop(self.finish(session)),
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

    /// To be called when a commit found no room on the disk. `true` when all of the log is copied, so
    /// that the next commit can use the log's own room.
    pub(super) fn make_room(&self, connection: &Connection) -> bool {
        self.finish(connection) == Some(0)
    }

    /// Copies what the thread left; gives what is still left after that. If a reader is in the way, the
    /// next round tries again.
    fn finish(&self, connection: &Connection) -> Option<u64> {
        let _waited = self
            .progress
            .copying
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let rest = copy(connection);
        self.progress.state.store(IDLE, Ordering::Release);
        rest.inspect_err(|error| tracing::warn!(%error, "checkpoint failed"))
            .ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_leaves_room_for_its_own_copying() {
        let lengths = Lengths {
            soft: 16_384,
            hard: 65_536,
        };
        assert_eq!(lengths.with_room(1 << 20), lengths);
        for free in [0, 255, 1_000, 8_192, 70_000] {
            let Lengths { soft, hard } = lengths.with_room(free);
            assert!(soft <= hard, "{free}");
            assert!(hard <= (free / 2).max(LEAST_PAGES), "{free}");
        }
    }
}
