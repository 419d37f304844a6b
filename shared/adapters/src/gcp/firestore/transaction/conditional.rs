//! Without locks: written under the condition that everything read is still the same.

use std::collections::HashMap;

use firestore::gcloud_sdk::google::firestore::v1::precondition::ConditionType;
use firestore::gcloud_sdk::google::firestore::v1::write::Operation;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Precondition, Write as Stored};
use firestore::gcloud_sdk::prost_types::Timestamp;
use firestore::gcloud_sdk::tonic::{Code, Status};
use oscillink_ports::PortError;

use super::{Failed, Transaction, is_conflict, name_of};
use crate::gcp::grpc::{is_transient, port_error};

/// When each document read was last changed; `None` for one that does not exist.
type Versions = HashMap<String, Option<Timestamp>>;

impl Transaction {
    pub(super) async fn with_conditions(&self) -> Result<(), Failed> {
        let found = self.read().await?;
        let versions = self.versions(&found);
        let writes = self.decided(&self.snapshot(found)?)?;
        if writes.is_empty() {
            return Ok(());
        }
        let mut writes = self.encode(writes)?;
        if !add_conditions(&versions, &mut writes)? {
            return Err(Failed::NeedsLocks);
        }
        match self.inner.client.commit(writes, Vec::new()).await {
            Ok(()) => Ok(()),
            Err(status) => Err(self.failure(&status, &versions).await),
        }
    }

    async fn read(&self) -> Result<Vec<Document>, Failed> {
        if self.names.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.inner.client.get(self.names.clone()).await;
        read.map_err(|status| {
            let error = port_error("Firestore transaction read", &status);
            if is_transient(&status) {
                Failed::Again(error)
            } else {
                Failed::Finally(error)
            }
        })
    }

    fn versions(&self, found: &[Document]) -> Versions {
        let missing = self.names.iter().map(|name| (name.clone(), None));
        let mut versions: Versions = missing.collect();
        for document in found {
            versions.insert(document.name.clone(), document.update_time);
        }
        versions
    }

    /// What a commit's failure means: a condition that does not hold any more is a conflict, but a
    /// document created unread that exists is the caller's to know.
    async fn failure(&self, status: &Status, versions: &Versions) -> Failed {
        let error = port_error("Firestore commit", status);
        match status.code() {
            Code::FailedPrecondition | Code::NotFound => Failed::Again(error),
            Code::AlreadyExists => match self.read().await {
                Ok(found) if self.versions(&found) == *versions => Failed::Finally(error),
                Ok(_) => Failed::Again(error),
                Err(failed) => failed,
            },
            _ if is_conflict(status) => Failed::Again(error),
            // Also when there was no answer: it may have happened.
            _ => Failed::Finally(error),
        }
    }
}

/// Puts the conditions on the first write of each document that was read. `false` when they cannot
/// express that all is as it was read.
fn add_conditions(versions: &Versions, writes: &mut [Stored]) -> Result<bool, PortError> {
    let mut open: HashMap<&str, Option<Timestamp>> = versions
        .iter()
        .map(|(name, version)| (name.as_str(), *version))
        .collect();
    for write in writes.iter_mut() {
        let Some(version) = open.remove(name_of(write)) else {
            continue;
        };
        let create = write.current_document.is_some();
        let condition = match version {
            Some(_) if create => {
                return Err(PortError::AlreadyExists {
                    detail: name_of(write).to_owned(),
                });
            }
            Some(version) => ConditionType::UpdateTime(version),
            None if matches!(write.operation, Some(Operation::Delete(_))) => return Ok(false),
            None => ConditionType::Exists(false),
        };
        write.current_document = Some(Precondition {
            condition_type: Some(condition),
        });
    }
    Ok(open.is_empty())
}
