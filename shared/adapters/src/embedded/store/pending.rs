//! Documents as the transaction under way sees them.
//!
//! Every document that a job reads or writes is held here and reaches its table once, just before
//! the commit. A job that is refused leaves no trace, so it needs no savepoint; a document that many
//! jobs of one commit change, a key's meter for example, is written once.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use oscillink_ports::{Decide, DocKey, MAX_TRANSACTION_WRITES, PortError, Snapshot, Write};
use rusqlite::{Connection, OptionalExtension, ToSql};
use serde_json::Value;

use super::field::Field;
use super::{rules, table};
use crate::embedded::database::JobError;
use crate::embedded::error::EmbeddedError;

/// A document and the text that it is stored as.
struct Document {
    body: Rc<Value>,
    /// `None` for a document as it was read.
    text: Option<String>,
}

/// What is known of one address.
struct Pending {
    /// Row and content in the table.
    stored: Option<(i64, Rc<Value>)>,
    /// Content after the jobs so far.
    current: Option<Document>,
    changed: bool,
}

/// All addresses touched in the transaction.
#[derive(Default)]
pub(crate) struct PendingDocuments(HashMap<DocKey, Pending>);

impl PendingDocuments {
    /// Runs one document transaction.
    pub(crate) fn transact(
        &mut self,
        connection: &Connection,
        reads: &[DocKey],
        decide: &Decide,
    ) -> Result<(), JobError> {
        let mut found = Vec::with_capacity(reads.len());
        for key in reads {
            if let Some(document) = &self.load(connection, key)?.current {
                found.push((key.clone(), Value::clone(&document.body)));
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
        let mut staged: BTreeMap<DocKey, Option<Document>> = BTreeMap::new();
        for write in writes {
            rules::check_id(write.key())?;
            if let Write::Create(key, _) = &write {
                let exists = match staged.get(key) {
                    Some(document) => document.is_some(),
                    None => self.load(connection, key)?.current.is_some(),
                };
                if exists {
                    return Err(JobError::Refused(PortError::AlreadyExists {
                        detail: key.to_string(),
                    }));
                }
            }
            match write {
                Write::Create(key, body) | Write::Put(key, body) => {
                    let text = rules::serialise(&key, &body)?;
                    let document = Document {
                        body: Rc::new(body),
                        text: Some(text),
                    };
                    staged.insert(key, Some(document));
                }
                Write::Delete(key) => {
                    staged.insert(key, None);
                }
            }
        }
        // Loaded before any of them is taken over, since loading can still fail.
        for key in staged.keys() {
            self.load(connection, key)?;
        }
        for (key, document) in staged {
            if let Some(pending) = self.0.get_mut(&key) {
                pending.current = document;
                pending.changed = true;
            }
        }
        Ok(())
    }

    fn load(&mut self, connection: &Connection, key: &DocKey) -> Result<&Pending, EmbeddedError> {
        if !self.0.contains_key(key) {
            let sql = &table::of(key.collection).read_row;
            let row = connection
                .prepare_cached(sql)?
                .query_row([&key.id], |row| {
                    let body = rules::parse(row.get_ref(1)?.as_bytes()?, key);
                    Ok((row.get::<_, i64>(0)?, body))
                })
                .optional()?;
            let stored = row
                .map(|(rowid, body)| Ok::<_, EmbeddedError>((rowid, Rc::new(body?))))
                .transpose()?;
            let current = stored.as_ref().map(|(_, body)| Document {
                body: Rc::clone(body),
                text: None,
            });
            let pending = Pending {
                stored,
                current,
                changed: false,
            };
            self.0.insert(key.clone(), pending);
        }
        // Invariant: inserted above if it was missing.
        Ok(&self.0[key])
    }

    /// Writes everything that changed to the tables, in the order of their keys.
    pub(crate) fn write_out(&self, connection: &Connection) -> Result<(), EmbeddedError> {
        let mut changed: Vec<_> = self.0.iter().filter(|(_, p)| p.changed).collect();
        changed.sort_unstable_by_key(|(key, _)| *key);
        for (key, pending) in changed {
            write_one(connection, key, pending)?;
        }
        Ok(())
    }
}

fn write_one(connection: &Connection, key: &DocKey, pending: &Pending) -> rusqlite::Result<()> {
    let table = table::of(key.collection);
    let current = pending
        .current
        .as_ref()
        .and_then(|document| Some((&document.body, document.text.as_ref()?)));
    match (&pending.stored, current) {
        (None, Some((body, text))) => {
            let fields: Vec<Field<'_>> = fields_of(key, body).collect();
            let mut values: Vec<&dyn ToSql> = vec![&key.id, text];
            values.extend(fields.iter().map(|f| f as &dyn ToSql));
            connection
                .prepare_cached(&table.insert)?
                .execute(values.as_slice())?;
        }
        (Some((rowid, before)), Some((body, text))) => {
            let names = key.collection.indexed_fields();
            let (names, fields): (Vec<&str>, Vec<Field<'_>>) = names
                .iter()
                .zip(fields_of(key, before).zip(fields_of(key, body)))
                .filter(|(_, (old, new))| old != new)
                .map(|(name, (_, new))| (*name, new))
                .unzip();
            let mut values: Vec<&dyn ToSql> = vec![text];
            values.extend(fields.iter().map(|f| f as &dyn ToSql));
            values.push(rowid);
            connection
                .prepare_cached(&table::update(key.collection, &names))?
                .execute(values.as_slice())?;
        }
        (Some((rowid, _)), None) => {
            connection.prepare_cached(&table.delete)?.execute([rowid])?;
        }
        (None, None) => {}
    }
    Ok(())
}

fn fields_of<'a>(key: &DocKey, body: &'a Value) -> impl Iterator<Item = Field<'a>> {
    let names = key.collection.indexed_fields();
    names.iter().map(|name| Field::of(body, name))
}
