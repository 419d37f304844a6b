//! Blobs in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use oscillink_ports::{BlobStore, PortError, valid_blob_name};

use crate::faults::Faults;

/// Blobs in memory. Clones share them.
#[derive(Clone)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<BTreeMap<String, Bytes>>>,
    faults: Faults,
}

impl MemoryBlobs {
    /// No blobs.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            blobs: Arc::default(),
            faults,
        }
    }

    /// Names of all blobs, past every fault.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.blobs().keys().cloned().collect()
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), PortError> {
        self.faults
            .call(|| {
                if !valid_blob_name(name) {
                    return Err(PortError::Refused {
                        detail: format!("blob name {name:?}"),
                    });
                }
                let mut blobs = self.blobs();
                if blobs.contains_key(name) {
                    return Err(PortError::AlreadyExists {
                        detail: name.to_owned(),
                    });
                }
                blobs.insert(name.to_owned(), bytes);
                Ok(())
            })
            .await
    }

    async fn get(&self, name: &str) -> Result<Bytes, PortError> {
        self.faults
            .call(|| {
                self.blobs()
                    .get(name)
                    .cloned()
                    .ok_or_else(|| PortError::NotFound {
                        detail: name.to_owned(),
                    })
            })
            .await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, PortError> {
        let all = self.get(name).await?;
        let end = usize::try_from(range.end)
            .unwrap_or(usize::MAX)
            .min(all.len());
        let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
        Ok(all.slice(start..end))
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        self.faults
            .call(|| {
                self.blobs().remove(name);
                Ok(())
            })
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        self.faults
            .call(|| {
                let names = self.blobs();
                let names = names
                    .keys()
                    .filter(|n| n.starts_with(prefix) && after.is_none_or(|a| n.as_str() > a));
                Ok(names.take(limit).cloned().collect())
            })
            .await
    }

    async fn check(&self) -> Result<(), PortError> {
        Ok(())
    }
}
