//! Documents as the transaction under way sees them.
//!
//! Every document that a job reads or writes is held here and reaches its table once, just before
//! the commit. A job that is refused leaves no trace, so it needs no savepoint; a document that many
//! jobs of one commit change, a key's meter for example, is written once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use oscillink_ports::{Body, Decide, DocKey, MAX_TRANSACTION_WRITES, PortError, Snapshot, Write};
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::field::Field;
use super::recent::{Document, Recent, Row};
use super::{rules, table};
use crate::embedded::database::JobError;
use crate::embedded::error::EmbeddedError;

/// What is known of one address.
struct Pending {
    /// What is in the table.
    stored: Option<Row>,
    /// What is to be there; the outer `None` leaves it alone, the inner one removes it.
    change: Option<Option<Document>>,
    /// A decision asked for it, so the next one may.
    read: bool,
}

impl Pending {
    fn current(&self) -> Option<&Document> {
        match &self.change {
            Some(change) => change.as_ref(),
            None => self.stored.as_ref().map(|row| &row.document),
        }
    }
}

/// All addresses touched in the transaction, and what is known from earlier ones.
pub(crate) struct PendingDocuments {
    touched: HashMap<DocKey, Pending>,
    recent: Recent,
    data_version: i64,
}

impl PendingDocuments {
    /// Keeps up to `max_bytes` of documents from one transaction to the next.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            touched: HashMap::new(),
            recent: Recent::new(max_bytes),
            data_version: 0,
        }
    }

    /// To be called inside a new transaction: what is known holds unless another connection wrote.
    pub(crate) fn begin(&mut self, connection: &Connection) -> Result<(), EmbeddedError> {
        self.touched.clear();
        let version: i64 = connection
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version != self.data_version {
            self.recent.clear();
            self.data_version = version;
        }
        Ok(())
    }

    /// Runs one document transaction.
    pub(crate) fn transact(
        &mut self,
        connection: &Connection,
        reads: &[DocKey],
        decide: &Decide,
    ) -> Result<(), JobError> {
        let mut found = Vec::with_capacity(reads.len());
        for key in reads {
            let pending = self.load(connection, key)?;
            pending.read = true;
            if let Some(document) = pending.current() {
                found.push((key.clone(), Body::Text(Arc::clone(&document.text))));
            }
        }
        let snapshot = Snapshot::new(found);
        let writes = catch_unwind(AssertUnwindSafe(|| decide(&snapshot))).map_err(|_| {
            PortError::Refused {
                detail: "the transaction's decision panicked".to_owned(),
            }
        })?;
        self.apply(connection, writes)
    }

    /// Takes the writes over if all of them are possible.
    fn apply(&mut self, connection: &Connection, writes: Vec<Write>) -> Result<(), JobError> {
        if writes.len() > MAX_TRANSACTION_WRITES {
            return Err(JobError::Refused(PortError::Refused {
                detail: format!(
                    "{} writes are more than the {MAX_TRANSACTION_WRITES} of a transaction",
                    writes.len()
                ),
            }));
        }
        let mut changes: BTreeMap<DocKey, Option<Document>> = BTreeMap::new();
        for write in writes {
            rules::check_id(write.key())?;
            if let Write::Create(key, _) = &write {
                let exists = match changes.get(key) {
                    Some(change) => change.is_some(),
                    None => self.load(connection, key)?.current().is_some(),
                };
                if exists {
                    return Err(JobError::Refused(PortError::AlreadyExists {
                        detail: key.to_string(),
                    }));
                }
            }
            match write {
                Write::Create(key, body) | Write::Put(key, body) => {
                    let document = rules::document(&key, body)?;
                    changes.insert(key, Some(document));
                }
                Write::Delete(key) => {
                    changes.insert(key, None);
                }
            }
        }
        // Loaded before any of them is taken over, since loading can still fail.
        for key in changes.keys() {
            self.load(connection, key)?;
        }
        for (key, change) in changes {
            if let Some(pending) = self.touched.get_mut(&key) {
                pending.change = Some(change);
            }
        }
        Ok(())
    }

    fn load(
        &mut self,
        connection: &Connection,
        key: &DocKey,
    ) -> Result<&mut Pending, EmbeddedError> {
        match self.touched.entry(key.clone()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let recent = self.recent.get(key);
                let read_before = recent.is_some();
                let stored = match recent {
                    Some(row) => Some(row),
                    None => read(connection, key)?,
                };
                Ok(entry.insert(Pending {
                    stored,
                    change: None,
                    read: read_before,
                }))
            }
        }
    }

    /// Writes everything that changed to the tables, in the order of their keys.
    pub(crate) fn write_out(&mut self, connection: &Connection) -> Result<(), EmbeddedError> {
        let changed = self
            .touched
            .iter_mut()
            .filter_map(|(key, pending)| Some((key, &mut pending.stored, pending.change.take()?)));
        let mut changed: Vec<_> = changed.collect();
        changed.sort_unstable_by_key(|(key, ..)| *key);
        for (key, stored, change) in changed {
            write_one(connection, key, stored, change)?;
        }
        Ok(())
    }

    /// The transaction is committed: what was written is now what is in the tables.
    pub(crate) fn committed(&mut self) {
        for (key, pending) in self.touched.drain() {
            if pending.read {
                self.recent.note(key, pending.stored);
            }
        }
    }

    /// The transaction was undone, or may have been.
    pub(crate) fn undone(&mut self) {
        self.touched.clear();
        self.recent.clear();
    }
}

fn read(connection: &Connection, key: &DocKey) -> Result<Option<Row>, EmbeddedError> {
    let sql = &table::of(key.collection).read_row;
    let row = connection
        .prepare_cached(sql)?
        .query_row([&key.id], |row| {
            Ok((row.get(0)?, row.get::<_, Arc<str>>(1)?))
        })
        .optional()?;
    row.map(|(rowid, text)| {
        let document = rules::stored(key, text)?;
        Ok(Row { rowid, document })
    })
    .transpose()
}

/// Brings one row from what is stored to what it is to be.
fn write_one(
    connection: &Connection,
    key: &DocKey,
    stored: &mut Option<Row>,
    change: Option<Document>,
) -> rusqlite::Result<()> {
    let table = table::of(key.collection);
    *stored = match (stored.take(), change) {
        (None, Some(document)) => {
            let mut values: Vec<&dyn ToSql> = vec![&key.id, &document.text];
            values.extend(document.fields.iter().map(|field| field as &dyn ToSql));
            connection
                .prepare_cached(&table.insert)?
                .execute(values.as_slice())?;
            let rowid = connection.last_insert_rowid();
            Some(Row { rowid, document })
        }
        (Some(Row { rowid, document }), Some(new)) => {
            let names = key.collection.indexed_fields();
            let fields = document.fields.iter().zip(&new.fields);
            let (names, fields): (Vec<&str>, Vec<&Field>) = names
                .iter()
                .zip(fields)
                .filter(|(_, (old, new))| old != new)
                .map(|(name, (_, new))| (*name, new))
                .unzip();
            let mut values: Vec<&dyn ToSql> = vec![&new.text];
            values.extend(fields.iter().map(|field| field as &dyn ToSql));
            values.push(&rowid);
            connection
                .prepare_cached(&table::update(key.collection, &names))?
                .execute(values.as_slice())?;
            Some(Row {
                rowid,
                document: new,
            })
        }
        (Some(Row { rowid, .. }), None) => {
            connection.prepare_cached(&table.delete)?.execute([rowid])?;
            None
        }
        (None, None) => None,
    };
    Ok(())
}
