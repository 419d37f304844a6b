//! The bus's tables: events, and for which subscriptions they wait.

use std::sync::Arc;

use oscillink_domain::Timestamp;
use oscillink_ports::Received;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::embedded::error::EmbeddedError;

/// The statements that make the tables. Dead letters wait in a subscription that always exists.
pub(crate) const CREATE_TABLES: &str = "
    CREATE TABLE bus_subscription (
        id INTEGER PRIMARY KEY,
        channel TEXT NOT NULL,
        name TEXT NOT NULL,
        UNIQUE (channel, name)
    );
    CREATE TABLE bus_event (
        seq INTEGER PRIMARY KEY,
        published_at INTEGER NOT NULL,
        ordering_key TEXT NOT NULL,
        attributes TEXT NOT NULL,
        event TEXT NOT NULL
    );
    CREATE INDEX bus_event_published_at ON bus_event (published_at);
    CREATE TABLE bus_waiting (
        seq INTEGER NOT NULL,
        subscription INTEGER NOT NULL,
        deliveries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (seq, subscription)
    ) WITHOUT ROWID;
    INSERT INTO bus_subscription (channel, name) VALUES
        ('entitlement-events-dead-letter', 'dead-letters'),
        ('job-events-dead-letter', 'dead-letters'),
        ('usage-events-dead-letter', 'dead-letters'),
        ('webhook-events-dead-letter', 'dead-letters'),
        ('system-events-dead-letter', 'dead-letters');
";

/// What the tables held at start.
pub(super) struct Found {
    /// Id, channel, name.
    pub(super) subscriptions: Vec<(i64, String, String)>,
    pub(super) waiting: Vec<FoundWaiting>,
    pub(super) newest: i64,
}

/// An event that waits for a subscription.
pub(super) struct FoundWaiting {
    pub(super) seq: i64,
    pub(super) subscription: i64,
    pub(super) deliveries: u32,
    pub(super) ordering_key: String,
}

/// Everything that waits.
pub(super) fn load(c: &Connection) -> Result<Found, EmbeddedError> {
    let newest: Option<i64> =
        c.query_row("SELECT MAX(seq) FROM bus_event", [], |row| row.get(0))?;
    let subscriptions = c
        .prepare("SELECT id, channel, name FROM bus_subscription ORDER BY id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_>>()?;
    let waiting = c
        .prepare(
            "SELECT seq, subscription, deliveries, ordering_key
             FROM bus_waiting JOIN bus_event USING (seq) ORDER BY seq",
        )?
        .query_map([], |row| {
            Ok(FoundWaiting {
                seq: row.get(0)?,
                subscription: row.get(1)?,
                deliveries: row.get(2)?,
                ordering_key: row.get(3)?,
            })
        })?
        .collect::<Result<_>>()?;
    Ok(Found {
        subscriptions,
        waiting,
        newest: newest.unwrap_or(0),
    })
}

/// The row of a subscription, made if there is none.
pub(super) fn subscribe(c: &Connection, channel: &str, name: &str) -> Result<i64> {
    c.prepare_cached("INSERT OR IGNORE INTO bus_subscription (channel, name) VALUES (?, ?)")?
        .execute([channel, name])?;
    c.prepare_cached("SELECT id FROM bus_subscription WHERE channel = ? AND name = ?")?
        .query_row([channel, name], |row| row.get(0))
}

/// The stored text of an event and its attributes.
pub(super) struct Texts {
    pub(super) event: String,
    pub(super) attributes: String,
}

impl Texts {
    pub(super) fn of(received: &Received) -> Result<Self, serde_json::Error> {
        Ok(Self {
            event: serde_json::to_string(&received.event)?,
            attributes: serde_json::to_string(&received.attributes)?,
        })
    }
}

/// Adds an event for `subscriptions`.
pub(super) fn insert(
    c: &Connection,
    seq: i64,
    now: Timestamp,
    ordering_key: &str,
    texts: &Texts,
    subscriptions: &[i64],
) -> Result<()> {
    c.prepare_cached(
        "INSERT INTO bus_event (seq, published_at, ordering_key, attributes, event)
         VALUES (?, ?, ?, ?, ?)",
    )?
    .execute(params![
        seq,
        now.as_millis(),
        ordering_key,
        texts.attributes,
        texts.event
    ])?;
    let mut wait = c.prepare_cached("INSERT INTO bus_waiting (seq, subscription) VALUES (?, ?)")?;
    for subscription in subscriptions {
        wait.execute([seq, *subscription])?;
    }
    Ok(())
}

/// An event; `None` when it is gone.
pub(super) fn event(c: &Connection, seq: i64) -> Result<Option<Arc<Received>>, EmbeddedError> {
    let row: Option<(String, String, String)> = c
        .prepare_cached("SELECT event, attributes, ordering_key FROM bus_event WHERE seq = ?")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    row.map(|(event, attributes, ordering_key)| {
        let malformed = |error| EmbeddedError::malformed(format!("event {seq}"), error);
        Ok(Arc::new(Received {
            event: serde_json::from_str(&event).map_err(malformed)?,
            attributes: serde_json::from_str(&attributes).map_err(malformed)?,
            ordering_key,
        }))
    })
    .transpose()
}

/// Notes that a subscription has handled an event; the last one takes it away.
pub(super) fn handled(c: &Connection, seq: i64, subscription: i64) -> Result<()> {
    c.prepare_cached("DELETE FROM bus_waiting WHERE seq = ? AND subscription = ?")?
        .execute([seq, subscription])?;
    c.prepare_cached(
        "DELETE FROM bus_event WHERE seq = ?1
         AND NOT EXISTS (SELECT 1 FROM bus_waiting WHERE seq = ?1)",
    )?
    .execute([seq])?;
    Ok(())
}

/// Notes a refused delivery.
pub(super) fn refused(c: &Connection, seq: i64, subscription: i64, deliveries: u32) -> Result<()> {
    c.prepare_cached("UPDATE bus_waiting SET deliveries = ? WHERE seq = ? AND subscription = ?")?
        .execute(params![deliveries, seq, subscription])?;
    Ok(())
}

/// Removes up to `limit` events older than `before`; gives their numbers.
pub(super) fn expire(c: &Connection, before: Timestamp, limit: usize) -> Result<Vec<i64>> {
    let old: Vec<i64> = c
        .prepare_cached(
            "SELECT seq FROM bus_event WHERE published_at < ? ORDER BY published_at LIMIT ?",
        )?
        .query_map(params![before.as_millis(), limit as i64], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for seq in &old {
        c.prepare_cached("DELETE FROM bus_waiting WHERE seq = ?")?
            .execute([seq])?;
        c.prepare_cached("DELETE FROM bus_event WHERE seq = ?")?
            .execute([seq])?;
    }
    Ok(old)
}
