//! The document store: collections of JSON documents, atomic transactions, indexed queries.

mod body;
mod query;
mod transaction;

use std::fmt;

use async_trait::async_trait;
use serde_json::Value;

pub use body::Body;
pub use query::{Cursor, Filter, Op, Operand, Query, QueryPage};
pub use transaction::{Decide, Snapshot, StoreExt, TxError, Write};

use crate::error::PortError;

/// Largest document, bytes of JSON (Firestore's limit is 1 MiB, less what its own encoding adds).
pub const MAX_DOCUMENT_BYTES: usize = 700 * 1024;
/// Most writes in a transaction.
pub const MAX_TRANSACTION_WRITES: usize = 400;

/// The collections and, for each, the fields that queries may filter and order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    /// Key records, by key id.
    ApiKeys,
    /// Which key a secret's hash opens.
    KeyHashes,
    /// Jobs, by job id.
    Jobs,
    /// Small payloads and results kept beside their job.
    Contents,
    /// Ledger rows, by job or request id.
    UsageLedger,
    /// Meters, by key id and shard.
    Quota,
    /// Answers to be replayed.
    Idempotency,
    /// Intents not yet carried out.
    Outbox,
    /// Billing events as they came.
    WebhookEvents,
    /// Billing customers.
    Customers,
}

impl Collection {
    /// Every collection.
    pub const ALL: [Self; 10] = [
        Self::ApiKeys,
        Self::KeyHashes,
        Self::Jobs,
        Self::Contents,
        Self::UsageLedger,
        Self::Quota,
        Self::Idempotency,
        Self::Outbox,
        Self::WebhookEvents,
        Self::Customers,
    ];

    /// The collection's name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeys => "api_keys",
            Self::KeyHashes => "key_hashes",
            Self::Jobs => "jobs",
            Self::Contents => "contents",
            Self::UsageLedger => "usage_ledger",
            Self::Quota => "quota",
            Self::Idempotency => "idempotency",
            Self::Outbox => "outbox",
            Self::WebhookEvents => "webhook_events",
            Self::Customers => "customers",
        }
    }

    /// Top-level fields that [`Query`] may use, all of them strings, integers or booleans.
    #[must_use]
    pub const fn indexed_fields(self) -> &'static [&'static str] {
        match self {
            Self::ApiKeys => &["created_at", "tier"],
            Self::Jobs => &[
                "key_id",
                "status",
                "kind",
                "live",
                "queue",
                "created_at",
                "due_at",
                "expires_at",
                "dead_letter",
            ],
            Self::UsageLedger => &["key_id", "ts", "chain", "seq"],
            Self::Quota => &["key_id"],
            Self::Idempotency | Self::Contents => &["expires_at"],
            Self::Outbox => &["lane", "tag", "created_at"],
            Self::WebhookEvents => &["status", "received_at"],
            Self::KeyHashes | Self::Customers => &[],
        }
    }

    /// The combinations of fields that are queried together: equality fields first, the order field
    /// last. Adapters index them; `infra/firestore` declares them.
    #[must_use]
    pub const fn composite_indexes(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::ApiKeys => &[&["created_at"]],
            Self::Jobs => &[
                &["key_id", "created_at"],
                &["key_id", "status", "created_at"],
                &["key_id", "kind", "created_at"],
                &["key_id", "status", "kind", "created_at"],
                &["live", "due_at"],
                &["live", "expires_at"],
                &["dead_letter", "created_at"],
                &["queue", "live", "created_at"],
            ],
            Self::UsageLedger => &[&["key_id", "ts"], &["key_id", "chain", "seq"], &["ts"]],
            Self::Quota => &[&["key_id"]],
            Self::Idempotency | Self::Contents => &[&["expires_at"]],
            Self::Outbox => &[&["lane", "tag"]],
            Self::WebhookEvents => &[&["status", "received_at"]],
            Self::KeyHashes | Self::Customers => &[],
        }
    }
}

/// A document's address. Ids are 1 to 200 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocKey {
    /// The collection.
    pub collection: Collection,
    /// The document's id in it.
    pub id: String,
}

impl DocKey {
    /// An address.
    pub fn new(collection: Collection, id: impl Into<String>) -> Self {
        Self {
            collection,
            id: id.into(),
        }
    }
}

impl fmt::Display for DocKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection.as_str(), self.id)
    }
}

/// Stores documents: JSON objects.
///
/// - `transact` reads the named documents, calls `decide` with them and applies the writes it
///   returns: all or none, durable when it returns, serialisable with every other transaction.
///   `decide` must be a pure function: an adapter that meets a conflict calls it again with fresh
///   documents. [`Write::Create`] of a document that exists fails the transaction with `AlreadyExists`.
/// - After `Unavailable` a transaction may or may not have been applied. Callers make transactions
///   that notice, from the documents they read, that they have already happened.
/// - `query` sees every transaction that completed before it began.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// One document.
    async fn get(&self, key: &DocKey) -> Result<Option<Value>, PortError>;

    /// Documents that match, in order.
    async fn query(&self, query: &Query) -> Result<QueryPage, PortError>;

    /// How many documents match the query's filters, up to its limit.
    async fn count(&self, query: &Query) -> Result<u64, PortError>;

    /// Reads, decides and writes atomically. Prefer [`StoreExt::transaction`], which is typed.
    async fn transact(&self, reads: Vec<DocKey>, decide: Decide) -> Result<(), PortError>;

    /// Whether the store answers.
    async fn check(&self) -> Result<(), PortError>;
}
