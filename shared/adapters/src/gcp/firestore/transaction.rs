//! One transaction: read, decide, write; again from the start on a conflict.
//!
//! As a rule nothing is locked: each write is made under the condition that its document is still as
//! it was read ([`conditional`]). That suffices where every document read is also written. Else the
//! server's transaction does it, which locks what it reads ([`locked`]); under contention that is
//! slow, and a process that dies leaves its locks behind for a while.

mod conditional;
mod locked;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Precondition, Write as Stored};
use firestore::gcloud_sdk::tonic::{Code, Status};
use oscillink_ports::{Decide, DocKey, MAX_TRANSACTION_WRITES, PortError, Snapshot, Write};

use super::{Inner, document};
use crate::gcp::retry::Trying;

/// A transaction to run.
struct Transaction {
    inner: Arc<Inner>,
    reads: Vec<DocKey>,
    /// The full names of `reads`.
    names: Vec<String>,
    decide: Decide,
}

/// Why one try did not succeed. Nothing was written, unless `Finally` says that this is unknown.
enum Failed {
    /// Others were faster, or the server was away: it may be tried again.
    Again(PortError),
    /// The transaction's outcome.
    Finally(PortError),
    /// Conditions do not cover what was read: it needs locks.
    NeedsLocks,
}

impl From<PortError> for Failed {
    fn from(error: PortError) -> Self {
        Self::Finally(error)
    }
}

/// Runs the transaction to its end.
pub(super) async fn run(
    inner: Arc<Inner>,
    reads: Vec<DocKey>,
    decide: Decide,
) -> Result<(), PortError> {
    let names = reads.iter().map(|key| inner.names.of(key));
    let transaction = Transaction {
        names: names.collect::<Result<_, _>>()?,
        reads,
        decide,
        inner,
    };
    let mut trying = Trying::new(transaction.inner.config.transaction);
    let turn = transaction.inner.turns.take(&transaction.reads);
    let _turn = tokio::time::timeout_at(trying.deadline(), turn)
        .await
        .map_err(|_| PortError::unavailable("Firestore: too many transactions on a document"))?;
    let mut locks = None;
    loop {
        let tried = match &mut locks {
            None => transaction.with_conditions().await,
            Some(again) => transaction.with_locks(again).await,
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(Failed::Finally(error)) => return Err(error),
            Err(Failed::NeedsLocks) => locks = Some(Vec::new()),
            Err(Failed::Again(error)) => {
                tracing::debug!(%error, "a transaction is tried again");
                if !trying.again().await {
                    // What kept losing is not the caller's fault, whatever the code.
                    return Err(PortError::unavailable(error));
                }
            }
        }
    }
}

impl Transaction {
    /// What was found, under its keys.
    fn snapshot(&self, found: Vec<Document>) -> Result<Snapshot, PortError> {
        let names = self.names.iter().map(String::as_str);
        let keys: HashMap<&str, &DocKey> = names.zip(&self.reads).collect();
        let mut documents = Vec::with_capacity(found.len());
        for found in found {
            if let Some(key) = keys.get(found.name.as_str()) {
                documents.push(((*key).clone(), document::decode(key, found)?));
            }
        }
        Ok(Snapshot::new(documents))
    }

    fn decided(&self, snapshot: &Snapshot) -> Result<Vec<Write>, PortError> {
        let decided = catch_unwind(AssertUnwindSafe(|| (self.decide)(snapshot)));
        let writes = decided.map_err(|_| PortError::Refused {
            detail: "the transaction's decision panicked".to_owned(),
        })?;
        if writes.len() > MAX_TRANSACTION_WRITES {
            return Err(PortError::Refused {
                detail: format!(
                    "{} writes are more than the {MAX_TRANSACTION_WRITES} of a transaction",
                    writes.len()
                ),
            });
        }
        Ok(writes)
    }

    fn encode(&self, writes: Vec<Write>) -> Result<Vec<Stored>, PortError> {
        let mut seen = HashSet::new();
        let encoded = writes.into_iter().map(|write| {
            let name = self.inner.names.of(write.key())?;
            let first = seen.insert(name.clone());
            let mut condition = None;
            let operation = match write {
                Write::Create(key, body) => {
                    condition = Some(ConditionType::Exists(false));
                    update(name, &key, &body.into_tree()?)?
                }
                Write::Put(key, body) => update(name, &key, &body.into_tree()?)?,
                Write::Delete(_) => Operation::Delete(name),
            };
            if !first && condition.is_some() {
                // The service would look at the document as it was before the transaction.
                return Err(PortError::Refused {
                    detail: "a document is created by a transaction that writes it before".into(),
                });
            }
            Ok(Stored {
                operation: Some(operation),
                current_document: condition.map(|condition| Precondition {
                    condition_type: Some(condition),
                }),
                ..Stored::default()
            })
        });
        encoded.collect()
    }
}

fn update(name: String, key: &DocKey, body: &serde_json::Value) -> Result<Operation, PortError> {
    Ok(Operation::Update(Document {
        name,
        fields: document::encode(key, body)?,
        ..Document::default()
    }))
}

/// The full name of the document that a write is of.
fn name_of(write: &Stored) -> &str {
    match &write.operation {
        Some(Operation::Update(document)) => &document.name,
        Some(Operation::Delete(name)) => name,
        _ => "",
    }
}

/// Whether a commit that got this answer has certainly not happened and may be tried with fresh
/// reads: it lost against another, or its transaction is gone (expired, or the server restarted).
fn is_conflict(status: &Status) -> bool {
    let expired =
        status.code() == Code::InvalidArgument && status.message().contains("transaction");
    status.code() == Code::Aborted || expired
}
