//! Transactions: what was read, what is to be written, and a typed way to run one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Body, DocKey, Store};
use crate::error::PortError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates the document; the transaction fails if it exists.
    Create(DocKey, Body),
    /// Creates or replaces the document.
    Put(DocKey, Body),
    /// Removes the document if it exists.
    Delete(DocKey),
}

impl Write {
    /// A [`Write::Create`] of a serialisable document.
    ///
    /// # Errors
    /// The document does not serialise to JSON.
    pub fn create(key: DocKey, body: &impl Serialize) -> Result<Self, PortError> {
        Body::of(body).map(|body| Self::Create(key, body))
    }

    /// A [`Write::Put`] of a serialisable document.
    ///
    /// # Errors
    /// The document does not serialise to JSON.
    pub fn put(key: DocKey, body: &impl Serialize) -> Result<Self, PortError> {
        Body::of(body).map(|body| Self::Put(key, body))
    }

    /// The document written.
    #[must_use]
    pub const fn key(&self) -> &DocKey {
        match self {
            Self::Create(key, _) | Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// The documents that a transaction read, as of one moment.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeMap<DocKey, Body>);

impl Snapshot {
    /// From the documents found.
    #[must_use]
    pub fn new(found: impl IntoIterator<Item = (DocKey, impl Into<Body>)>) -> Self {
        let found = found.into_iter();
        Self(found.map(|(key, body)| (key, body.into())).collect())
    }

    /// A document that was read, `None` if it does not exist.
    ///
    /// # Errors
    /// The stored document does not have the form of `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &DocKey) -> Result<Option<T>, PortError> {
        self.0
            .get(key)
            .map(|body| {
                body.parse().map_err(|e| PortError::Corrupt {
                    detail: format!("{key}: {e}"),
                })
            })
            .transpose()
    }
}

/// The decision of a transaction: a pure function from what was read to what is to be written.
pub type Decide = Arc<dyn Fn(&Snapshot) -> Vec<Write> + Send + Sync>;

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum TxError<E> {
    /// The decision refused; nothing was written.
    #[error(transparent)]
    Refused(E),
    /// The store failed.
    #[error(transparent)]
    Port(PortError),
}

impl<E> From<PortError> for TxError<E> {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

/// Where a transaction's decision leaves its answer.
type Slot<T, E> = Arc<Mutex<Option<Result<T, TxError<E>>>>>;

/// Typed transactions over any [`Store`].
pub trait StoreExt {
    /// Runs `decide` over the documents `reads` and applies the writes it returns with its answer.
    /// `decide` may run more than once; its last answer counts.
    fn transaction<T, E>(
        &self,
        reads: Vec<DocKey>,
        decide: impl Fn(&Snapshot) -> Result<(Vec<Write>, T), TxError<E>> + Send + Sync + 'static,
    ) -> impl Future<Output = Result<T, TxError<E>>> + Send
    where
        T: Send + 'static,
        E: Send + 'static;

    /// One document, typed.
    fn fetch<T: DeserializeOwned + Send>(
        &self,
        key: &DocKey,
    ) -> impl Future<Output = Result<Option<T>, PortError>> + Send;
}

impl<S: Store + ?Sized> StoreExt for S {
    async fn transaction<T, E>(
        &self,
        reads: Vec<DocKey>,
        decide: impl Fn(&Snapshot) -> Result<(Vec<Write>, T), TxError<E>> + Send + Sync + 'static,
    ) -> Result<T, TxError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let answer: Slot<T, E> = Arc::default();
        let slot = Arc::clone(&answer);
        let decide: Decide = Arc::new(move |snapshot| {
            let (writes, outcome) = match decide(snapshot) {
                Ok((writes, value)) => (writes, Ok(value)),
                Err(error) => (Vec::new(), Err(error)),
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
            writes
        });
        self.transact(reads, decide).await?;
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| {
            Err(PortError::unavailable("the store did not run the transaction").into())
        })
    }

    async fn fetch<T: DeserializeOwned + Send>(
        &self,
        key: &DocKey,
    ) -> Result<Option<T>, PortError> {
        let Some(value) = self.get(key).await? else {
            return Ok(None);
        };
        serde_json::from_value(value)
            .map(Some)
            .map_err(|e| PortError::Corrupt {
                detail: format!("{key}: {e}"),
            })
    }
}
