//! Documents in Firestore: one collection each, a document's fields stored field by field.
//!
//! Transactions are the server's own. Every call is bounded in time; those that change nothing are
//! tried again after a passing failure. A commit that got no answer is not: it may have happened,
//! which is for the caller to notice.

mod client;
mod document;
mod name;
mod query;
mod transaction;
mod turns;
mod value;

use std::sync::Arc;

use async_trait::async_trait;
use firestore::gcloud_sdk::google_cloud_auth::credentials::anonymous;
use firestore::gcloud_sdk::tonic::Status;
use firestore::{FirestoreDb, FirestoreDbOptions};
use oscillink_ports::{Collection, Decide, DocKey, PortError, Query, QueryPage, Store};
use serde_json::Value;

use super::config::FirestoreConfig;
use super::error::GcpError;
use super::grpc::{is_transient, port_error};
use super::retry::Trying;
use client::Client;
use name::Names;
use turns::Turns;

/// The document store of a Firestore database. Cheap to clone.
#[derive(Clone)]
pub struct FirestoreStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: Arc<Client>,
    names: Names,
    turns: Turns,
    config: FirestoreConfig,
}

impl FirestoreStore {
    /// Connects to the database.
    ///
    /// # Errors
    /// There are no credentials, or the server cannot be reached.
    pub async fn connect(config: FirestoreConfig) -> Result<Self, GcpError> {
        let failed = |detail: String| GcpError::Connect {
            what: "Firestore",
            detail,
        };
        let mut options = FirestoreDbOptions::new(config.project.clone());
        options.database_id.clone_from(&config.database);
        let connecting = async {
            match &config.emulator {
                Some(address) => {
                    options.firebase_api_url = Some(address.clone());
                    FirestoreDb::with_options_auth(options, anonymous::Builder::new().build()).await
                }
                None => FirestoreDb::with_options(options).await,
            }
        };
        let db = tokio::time::timeout(config.call_timeout, connecting)
            .await
            .map_err(|_| failed(format!("no answer within {:?}", config.call_timeout)))?
            .map_err(|error| failed(error.to_string()))?;
        let client = Client::new(db, config.call_timeout, config.max_concurrent);
        Ok(Self {
            inner: Arc::new(Inner {
                names: Names::new(client.documents_root()),
                client: Arc::new(client),
                turns: Turns::new(),
                config,
            }),
        })
    }

    /// Makes a call that changes nothing, again while its failure may pass.
    async fn reading<T, F>(&self, what: &str, call: impl Fn() -> F) -> Result<T, PortError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut trying = Trying::new(self.inner.config.read);
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(status) if is_transient(&status) && trying.again().await => {
                    tracing::debug!(%status, what, "a read is tried again");
                }
                Err(status) => return Err(port_error(what, &status)),
            }
        }
    }
}

#[async_trait]
impl Store for FirestoreStore {
    async fn get(&self, key: &DocKey) -> Result<Option<Value>, PortError> {
        let name = self.inner.names.of(key)?;
        let found = self
            .reading("Firestore get", || {
                self.inner.client.get(vec![name.clone()])
            })
            .await?;
        let document = found.into_iter().next();
        document
            .map(|found| document::decode(key, found))
            .transpose()
    }

    async fn query(&self, query: &Query) -> Result<QueryPage, PortError> {
        let asked = query::documents(&self.inner.names, query)?;
        if query.limit == 0 {
            return Ok(QueryPage::default());
        }
        let found = self
            .reading("Firestore query", || self.inner.client.query(asked.clone()))
            .await?;
        let mut documents = Vec::with_capacity(found.len());
        for found in found {
            let id = Names::id_of(&found.name).to_owned();
            let key = DocKey::new(query.collection, id.clone());
            documents.push((id, document::decode(&key, found)?));
        }
        Ok(QueryPage::of(query, documents))
    }

    async fn count(&self, query: &Query) -> Result<u64, PortError> {
        let asked = query::count(&self.inner.names, query)?;
        if query.limit == 0 {
            return Ok(0);
        }
        let count = self
            .reading("Firestore count", || self.inner.client.count(asked.clone()))
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn transact(&self, reads: Vec<DocKey>, decide: Decide) -> Result<(), PortError> {
        // A task of its own: a caller that goes away must not leave the transaction half way, where
        // the server would have others wait for it.
        let running = tokio::spawn(transaction::run(Arc::clone(&self.inner), reads, decide));
        running.await.map_err(PortError::unavailable)?
    }

    async fn check(&self) -> Result<(), PortError> {
        let key = DocKey::new(Collection::ApiKeys, "check");
        let name = self.inner.names.of(&key)?;
        // Once: the question is whether it answers now.
        let asked = self.inner.client.get(vec![name]).await;
        asked
            .map(|_| ())
            .map_err(|status| port_error("Firestore check", &status))
    }
}
