//! The data folder: what lies where, who may read it, and the lock of the serving process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;

/// Only the owner may enter.
pub(crate) const FOLDER_MODE: u32 = 0o700;
/// Only the owner may read and write.
pub(crate) const FILE_MODE: u32 = 0o600;

const DATABASE: &str = "oscillink.db";

/// Whether there is a database in the folder `data_dir`. Nothing is made.
///
/// # Errors
/// The folder cannot be looked into.
pub fn has_database(data_dir: &Path) -> Result<bool, EmbeddedError> {
    let path = data_dir.join(DATABASE);
    path.try_exists().map_err(EmbeddedError::io(&path))
}

/// An existing data folder.
#[derive(Debug)]
pub(crate) struct DataFolder(PathBuf);

impl DataFolder {
    /// Makes the folder if it does not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, EmbeddedError> {
        create_private_dir(path)?;
        Ok(Self(path.to_owned()))
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    /// The folder of blobs.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// Takes the lock of the serving process.
    pub(crate) fn lock(&self) -> Result<FolderLock, EmbeddedError> {
        let path = self.0.join("serve.lock");
        let file = open_private_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse {
                path: self.0.clone(),
            }),
            Err(TryLockError::Error(cause)) => Err(EmbeddedError::Io { path, cause }),
        }
    }
}

/// Held while a process serves the folder. The operating system lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Makes a folder and those above it that are missing, readable by the owner only.
pub(crate) fn create_private_dir(path: &Path) -> Result<(), EmbeddedError> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(path)
        .map_err(EmbeddedError::io(path))
}

/// Opens or makes a file that only the owner may read.
pub(crate) fn open_private_file(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(EmbeddedError::io(path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), EmbeddedError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(EmbeddedError::io(path))
}
