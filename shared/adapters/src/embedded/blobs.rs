//! Blobs as files below one folder.

mod files;
mod listing;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use oscillink_ports::{BlobStore, PortError};
use tokio::sync::Semaphore;

use super::error::EmbeddedError;
use files::Files;

/// File operations under way at once; further ones wait.
const MAX_CONCURRENT: usize = 32;

/// The blob store of a data folder. Other processes may use the same folder at the same time.
#[derive(Clone, Debug)]
pub struct FolderBlobs {
    files: Arc<Files>,
    slots: Arc<Semaphore>,
}

impl FolderBlobs {
    /// Opens the folder, making it if it does not exist, and clears away what a crash left half
    /// written.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(folder: &Path) -> Result<Self, EmbeddedError> {
        Ok(Self {
            files: Arc::new(Files::open(folder)?),
            slots: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, PortError> {
        let slots = Arc::clone(&self.slots);
        let slot = slots
            .acquire_owned()
            .await
            .map_err(PortError::unavailable)?;
        let files = Arc::clone(&self.files);
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&files)
        })
        .await
        .map_err(PortError::unavailable)?
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), PortError> {
        let name = files::checked(name)?;
        self.blocking(move |files| files.create(&name, &bytes))
            .await
    }

    async fn get(&self, name: &str) -> Result<Bytes, PortError> {
        let name = files::checked(name)?;
        self.blocking(move |files| files.read(&name)).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, PortError> {
        let name = files::checked(name)?;
        self.blocking(move |files| files.read_range(&name, range))
            .await
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        let name = files::checked(name)?;
        self.blocking(move |files| files.delete(&name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(move |files| files.list(&prefix, after.as_deref(), limit))
            .await
    }

    async fn check(&self) -> Result<(), PortError> {
        self.blocking(|files| files.check()).await
    }
}
