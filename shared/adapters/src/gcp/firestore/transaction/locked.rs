//! With locks: the server's own transaction.

use std::sync::Arc;

use super::{Failed, Transaction, is_conflict};
use crate::gcp::firestore::client::{Client, TransactionId};
use crate::gcp::grpc::{is_transient, port_error};

impl Transaction {
    /// `again` is the try before, which the server prefers to newcomers.
    pub(super) async fn with_locks(&self, again: &mut TransactionId) -> Result<(), Failed> {
        let client = &self.inner.client;
        let begun = client.begin_and_get(self.names.clone(), std::mem::take(again));
        let (found, transaction) = begun.await.map_err(|status| {
            let error = port_error("Firestore transaction begin", &status);
            if is_transient(&status) {
                Failed::Again(error)
            } else {
                Failed::Finally(error)
            }
        })?;
        let open = Open {
            client: Arc::clone(client),
            transaction: Some(transaction),
        };
        let writes = self.decided(&self.snapshot(found)?)?;
        if writes.is_empty() {
            return Ok(());
        }
        let writes = self.encode(writes)?;
        let transaction = open.close();
        let committed = client.commit(writes, transaction.clone()).await;
        committed.map_err(|status| {
            let error = port_error("Firestore commit", &status);
            if is_conflict(&status) {
                *again = transaction;
                Failed::Again(error)
            } else {
                // Also when there was no answer: it may have happened.
                Failed::Finally(error)
            }
        })
    }
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
