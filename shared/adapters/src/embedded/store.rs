//! Documents in SQLite: one table per collection, a real column per indexed field.

mod field;
mod pending;
mod query;
mod recent;
mod rules;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use oscillink_ports::{Decide, DocKey, PortError, Query, QueryPage, Store};
use rusqlite::OptionalExtension;
use serde_json::Value;

pub(crate) use pending::PendingDocuments;
pub(crate) use table::create_tables;

use super::database::{Database, WriteCounts};
use super::error::EmbeddedError;

/// The document store of a data folder.
///
/// Transactions are decided and written one after the other by a single thread, which commits those
/// that wait together with one sync of the disk. That makes them serialisable without conflicts.
#[derive(Clone)]
pub struct SqliteStore {
    database: Arc<Database>,
}

impl SqliteStore {
    pub(crate) const fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    pub(super) fn closed(&self) -> tokio::sync::watch::Receiver<bool> {
        self.database.closed()
    }

    /// How much was written since the store was opened, the queue's and the bus's part included.
    #[must_use]
    pub fn counts(&self) -> WriteCounts {
        self.database.counts()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &DocKey) -> Result<Option<Value>, PortError> {
        rules::check_id(key)?;
        let key = key.clone();
        self.database
            .read(move |connection| {
                let sql = &table::of(key.collection).read_body;
                let mut statement = connection.prepare_cached(sql)?;
                let body = statement
                    .query_row([&key.id], |row| {
                        Ok(rules::parse(row.get_ref(0)?.as_bytes()?, &key))
                    })
                    .optional()?;
                body.transpose()
            })
            .await
    }

    async fn query(&self, query: &Query) -> Result<QueryPage, PortError> {
        let plan = query::Plan::documents(query)?;
        let collection = query.collection;
        let documents = self
            .database
            .read(move |connection| plan.documents_of(connection, collection))
            .await?;
        Ok(QueryPage::of(query, documents))
    }

    async fn count(&self, query: &Query) -> Result<u64, PortError> {
        let plan = query::Plan::count(query)?;
        self.database
            .read(move |connection| plan.counted(connection))
            .await
    }

    async fn transact(&self, reads: Vec<DocKey>, decide: Decide) -> Result<(), PortError> {
        for key in &reads {
            rules::check_id(key)?;
        }
        self.database
            .write(move |batch| batch.documents.transact(batch.connection, &reads, &decide))
            .await
    }

    async fn check(&self) -> Result<(), PortError> {
        self.database
            .read(|connection| {
                connection
                    .query_row("SELECT 1", [], |_| Ok(()))
                    .map_err(EmbeddedError::from)
            })
            .await
    }
}
