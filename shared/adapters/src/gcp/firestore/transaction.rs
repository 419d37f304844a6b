//! One transaction: begin and read in one call, decide, commit; again from the start on a conflict.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Precondition, Write as Stored};
use oscillink_ports::{Decide, DocKey, MAX_TRANSACTION_WRITES, PortError, Snapshot, Write};

use super::client::{Client, TransactionId};
use super::error::{is_conflict, is_transient, port_error};
use super::{Inner, document};
use crate::gcp::retry::Trying;

/// Why one try did not succeed.
enum Failed {
    /// Nothing was written; the transaction may be tried again.
    Again(PortError, TransactionId),
    /// The transaction's outcome.
    Finally(PortError),
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
    let names = reads
        .iter()
        .map(|key| inner.names.of(key))
        .collect::<Result<Vec<_>, _>>()?;
    let mut trying = Trying::new(inner.config.transaction);
    let _turn = tokio::time::timeout_at(trying.deadline(), inner.turns.take(&reads))
        .await
        .map_err(|_| PortError::unavailable("Firestore: too many transactions on a document"))?;
    let mut again = TransactionId::new();
    loop {
        let tried = if reads.is_empty() {
            write_only(&inner, &decide).await
        } else {
            read_and_write(&inner, &reads, &names, &decide, again).await
        };
        match tried {
            Ok(()) => return Ok(()),
            Err(Failed::Finally(error)) => return Err(error),
            Err(Failed::Again(error, transaction)) => {
                tracing::debug!(%error, "a transaction is tried again");
                again = transaction;
                if !trying.again().await {
                    return Err(error);
                }
            }
        }
    }
}

async fn write_only(inner: &Inner, decide: &Decide) -> Result<(), Failed> {
    let writes = encode(inner, decided(decide, &Snapshot::default())?)?;
    if writes.is_empty() {
        return Ok(());
    }
    commit(inner, writes, TransactionId::new()).await
}

async fn read_and_write(
    inner: &Inner,
    reads: &[DocKey],
    names: &[String],
    decide: &Decide,
    again: TransactionId,
) -> Result<(), Failed> {
    let begun = inner.client.begin_and_get(names.to_vec(), again).await;
    let (found, transaction) = begun.map_err(|status| {
        let error = port_error("transaction begin", &status);
        if is_transient(&status) {
            Failed::Again(error, TransactionId::new())
        } else {
            Failed::Finally(error)
        }
    })?;
    let open = Open {
        client: Arc::clone(&inner.client),
        transaction: Some(transaction),
    };
    let snapshot = snapshot(reads, names, found)?;
    let writes = encode(inner, decided(decide, &snapshot)?)?;
    if writes.is_empty() {
        return Ok(());
    }
    commit(inner, writes, open.close()).await
}

/// The documents that were found, under their keys.
fn snapshot(
    reads: &[DocKey],
    names: &[String],
    found: Vec<Document>,
) -> Result<Snapshot, PortError> {
    let keys: HashMap<&str, &DocKey> = names.iter().map(String::as_str).zip(reads).collect();
    let mut documents = Vec::with_capacity(found.len());
    for found in found {
        if let Some(key) = keys.get(found.name.as_str()) {
            documents.push(((*key).clone(), document::decode(key, found)?));
        }
    }
    Ok(Snapshot::new(documents))
}

fn decided(decide: &Decide, snapshot: &Snapshot) -> Result<Vec<Write>, PortError> {
    catch_unwind(AssertUnwindSafe(|| decide(snapshot))).map_err(|_| PortError::Refused {
        detail: "the transaction's decision panicked".to_owned(),
    })
}

fn encode(inner: &Inner, writes: Vec<Write>) -> Result<Vec<Stored>, PortError> {
    if writes.len() > MAX_TRANSACTION_WRITES {
        return Err(PortError::Refused {
            detail: format!(
                "{} writes are more than the {MAX_TRANSACTION_WRITES} of a transaction",
                writes.len()
            ),
        });
    }
    writes
        .into_iter()
        .map(|write| {
            let name = inner.names.of(write.key())?;
            let absent = Precondition {
                condition_type: Some(ConditionType::Exists(false)),
            };
            let (operation, current_document) = match write {
                Write::Create(key, body) => (update(name, &key, &body)?, Some(absent)),
                Write::Put(key, body) => (update(name, &key, &body)?, None),
                Write::Delete(_) => (Operation::Delete(name), None),
            };
            Ok(Stored {
                operation: Some(operation),
                current_document,
                ..Stored::default()
            })
        })
        .collect()
}

fn update(name: String, key: &DocKey, body: &serde_json::Value) -> Result<Operation, PortError> {
    Ok(Operation::Update(Document {
        name,
        fields: document::encode(key, body)?,
        ..Document::default()
    }))
}

async fn commit(
    inner: &Inner,
    writes: Vec<Stored>,
    transaction: TransactionId,
) -> Result<(), Failed> {
    let committed = inner.client.commit(writes, transaction.clone()).await;
    committed.map_err(|status| {
        let error = port_error("commit", &status);
        if is_conflict(&status) {
            // What kept losing is not the caller's fault, whatever the code.
            Failed::Again(PortError::unavailable(error), transaction)
        } else {
            // Also when there was no answer: it may have happened.
            Failed::Finally(error)
        }
    })
}

/// A transaction that the server holds. Dropped, it is rolled back in the background, so that the
/// server does not keep others waiting until it expires.
struct Open {
    client: Arc<Client>,
    transaction: Option<TransactionId>,
}

impl Open {
    /// Hands the transaction over to its commit.
    fn close(mut self) -> TransactionId {
        self.transaction.take().unwrap_or_default()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            let client = Arc::clone(&self.client);
            tokio::spawn(async move {
                if let Err(status) = client.rollback(transaction).await {
                    tracing::debug!(%status, "a transaction was left to expire");
                }
            });
        }
    }
}
