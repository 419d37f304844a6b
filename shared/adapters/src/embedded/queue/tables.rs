//! The tables of one queue: its unfinished tasks, and the names that are taken.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::{QueueName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::pending::{Content, Summary};
use crate::embedded::error::EmbeddedError;

/// A task on its way into the tables.
#[derive(Clone)]
pub(super) struct NewTask {
    /// Clock time before which it is not delivered, ms.
    pub(super) due_at: i64,
    pub(super) content: Arc<Content>,
}

/// A task as found at start.
pub(super) struct StoredTask {
    pub(super) seq: i64,
    pub(super) due_at: i64,
    pub(super) retry_count: u32,
}

/// Statements on one queue's tables.
#[derive(Clone, Copy)]
pub(super) struct Tables(QueueName);

/// The statements that make the tables of every queue.
pub(crate) fn create_tables() -> String {
    let mut sql = String::from(
        "CREATE TABLE task_queue (name TEXT NOT NULL PRIMARY KEY, paused INTEGER NOT NULL);\n",
    );
    for queue in QueueName::ALL {
        let _ = writeln!(
            sql,
            "CREATE TABLE task_{queue} (
                 seq INTEGER PRIMARY KEY,
                 name TEXT NOT NULL,
                 body BLOB NOT NULL,
                 traceparent TEXT,
                 created_at INTEGER NOT NULL,
                 due_at INTEGER NOT NULL,
                 retry_count INTEGER NOT NULL DEFAULT 0
             );
             CREATE TABLE task_name_{queue} (
                 name TEXT NOT NULL PRIMARY KEY,
                 seq INTEGER NOT NULL,
                 taken_until INTEGER
             ) WITHOUT ROWID;
             CREATE INDEX task_name_{queue}_taken_until ON task_name_{queue} (taken_until)
                 WHERE taken_until IS NOT NULL;"
        );
    }
    sql
}

impl Tables {
    pub(super) const fn of(queue: QueueName) -> Self {
        Self(queue)
    }

    /// What there is at start.
    pub(super) fn summary(self, c: &Connection) -> Result<Summary, EmbeddedError> {
        let sql = format!("SELECT COUNT(*), MAX(seq) FROM task_{}", self.0);
        let (depth, newest) = c.query_row(&sql, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
        let paused = c
            .query_row(
                "SELECT paused FROM task_queue WHERE name = ?",
                [self.0.as_str()],
                |row| row.get(0),
            )
            .optional()?;
        Ok(Summary {
            depth: depth.unsigned_abs(),
            newest: newest.unwrap_or(0),
            paused: paused.unwrap_or(false),
        })
    }

    /// Creates a task unless its name is taken.
    pub(super) fn create(
        self,
        c: &Connection,
        seq: i64,
        task: &NewTask,
        now: Timestamp,
    ) -> Result<bool> {
        let name = &task.content.name;
        let sql = format!(
            "INSERT INTO task_name_{} (name, seq) VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET seq = ?2, taken_until = NULL WHERE taken_until <= ?3",
            self.0
        );
        let taken = c
            .prepare_cached(&sql)?
            .execute(params![name, seq, now.as_millis()])?;
        if taken == 0 {
            return Ok(false);
        }
        let sql = format!(
            "INSERT INTO task_{} (seq, name, body, traceparent, created_at, due_at)
             VALUES (?, ?, ?, ?, ?, ?)",
            self.0
        );
        c.prepare_cached(&sql)?.execute(params![
            seq,
            name,
            task.content.body.as_ref(),
            task.content.traceparent,
            now.as_millis(),
            task.due_at
        ])?;
        Ok(true)
    }

    /// Removes a task; its name stays taken until the given time. `false` when it was gone.
    pub(super) fn finish(self, c: &Connection, seq: i64, name: &str, until: i64) -> Result<bool> {
        let sql = format!("DELETE FROM task_{} WHERE seq = ?", self.0);
        if c.prepare_cached(&sql)?.execute([seq])? == 0 {
            return Ok(false);
        }
        let sql = format!(
            "UPDATE task_name_{} SET taken_until = ? WHERE name = ?",
            self.0
        );
        c.prepare_cached(&sql)?.execute(params![until, name])?;
        Ok(true)
    }

    /// Removes a task by name and gives its number.
    pub(super) fn delete_by_name(
        self,
        c: &Connection,
        name: &str,
        until: i64,
    ) -> Result<Option<i64>> {
        let sql = format!(
            "SELECT seq FROM task_name_{} WHERE name = ? AND taken_until IS NULL",
            self.0
        );
        let seq = c
            .prepare_cached(&sql)?
            .query_row([name], |row| row.get(0))
            .optional()?;
        match seq {
            Some(seq) => Ok(self.finish(c, seq, name, until)?.then_some(seq)),
            None => Ok(None),
        }
    }

    /// Notes a failed delivery. `false` when the task is gone.
    pub(super) fn postpone(
        self,
        c: &Connection,
        seq: i64,
        due_at: i64,
        retry_count: u32,
    ) -> Result<bool> {
        let sql = format!(
            "UPDATE task_{} SET due_at = ?, retry_count = ? WHERE seq = ?",
            self.0
        );
        let changed = c
            .prepare_cached(&sql)?
            .execute(params![due_at, retry_count, seq])?;
        Ok(changed > 0)
    }

    /// What a task carries; `None` when it is gone.
    pub(super) fn content(
        self,
        c: &Connection,
        seq: i64,
    ) -> Result<Option<Arc<Content>>, EmbeddedError> {
        let sql = format!(
            "SELECT name, body, traceparent FROM task_{} WHERE seq = ?",
            self.0
        );
        let content = c
            .prepare_cached(&sql)?
            .query_row([seq], |row| {
                Ok(Arc::new(Content {
                    name: row.get(0)?,
                    body: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                    traceparent: row.get(2)?,
                }))
            })
            .optional()?;
        Ok(content)
    }

    /// Up to `limit` tasks behind `after`, as far as `last`.
    pub(super) fn portion(
        self,
        c: &Connection,
        after: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<StoredTask>, EmbeddedError> {
        let sql = format!(
            "SELECT seq, due_at, retry_count FROM task_{}
             WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            self.0
        );
        let mut statement = c.prepare_cached(&sql)?;
        let rows = statement.query_map(params![after, last, limit as i64], |row| {
            Ok(StoredTask {
                seq: row.get(0)?,
                due_at: row.get(1)?,
                retry_count: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_>>()?)
    }

    /// Creation time of the oldest task.
    pub(super) fn oldest(self, c: &Connection) -> Result<Option<Timestamp>, EmbeddedError> {
        let sql = format!(
            "SELECT created_at FROM task_{} ORDER BY seq LIMIT 1",
            self.0
        );
        let oldest: Option<i64> = c
            .prepare_cached(&sql)?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(oldest.map(Timestamp::from_millis))
    }

    pub(super) fn set_paused(self, c: &Connection, paused: bool) -> Result<()> {
        c.prepare_cached("INSERT OR REPLACE INTO task_queue (name, paused) VALUES (?, ?)")?
            .execute(params![self.0.as_str(), paused])?;
        Ok(())
    }

    /// Frees up to `limit` names whose time is over; gives their number.
    pub(super) fn free_names(self, c: &Connection, now: Timestamp, limit: usize) -> Result<usize> {
        let sql = format!(
            "DELETE FROM task_name_{0} WHERE name IN (
                 SELECT name FROM task_name_{0} WHERE taken_until <= ? ORDER BY taken_until LIMIT ?)",
            self.0
        );
        c.prepare_cached(&sql)?
            .execute(params![now.as_millis(), limit as i64])
    }
}
