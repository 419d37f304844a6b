//! Where a blob lies, and how it gets there whole.
//!
//! A blob is written to a file in `incoming`, synced, and then linked to its place: the link is made
//! whole or not at all, fails if the name is taken, and does so across processes.
//!
//! A folder's name ends with `=`, which no blob name contains, so that `a` and `a/b` can both exist.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use oscillink_ports::{PortError, valid_blob_name};

use super::listing::Listing;
use crate::embedded::error::EmbeddedError;
use crate::embedded::folder::{FILE_MODE, create_private_dir, sync_dir};

/// Ends the name of a folder.
pub(super) const FOLDER_MARK: char = '=';
/// A folder that others keep removing is made again this often.
const MAX_ATTEMPTS: usize = 100;

/// The folders.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    incoming: PathBuf,
    counter: AtomicU64,
}

/// A name by the port's rules.
pub(super) fn checked(name: &str) -> Result<String, PortError> {
    if valid_blob_name(name) {
        return Ok(name.to_owned());
    }
    let start: String = name.chars().take(80).collect();
    Err(PortError::Refused {
        detail: format!("{start:?} is not a blob name"),
    })
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self, EmbeddedError> {
        let files = Self {
            root: folder.join("stored"),
            incoming: folder.join("incoming"),
            counter: AtomicU64::new(0),
        };
        create_private_dir(&files.root)?;
        create_private_dir(&files.incoming)?;
        sync_dir(folder)?;
        files.clear_incoming()?;
        Ok(files)
    }

    /// Removes files that no process is writing: a writer holds its file's lock.
    fn clear_incoming(&self) -> Result<(), EmbeddedError> {
        let entries = fs::read_dir(&self.incoming).map_err(EmbeddedError::io(&self.incoming))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let free = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if free && let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "could not remove a left-over file");
            }
        }
        Ok(())
    }

    fn place(&self, name: &str) -> PathBuf {
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let mut path = self.root.clone();
        for folder in folders.split('/').filter(|f| !f.is_empty()) {
            path.push(format!("{folder}{FOLDER_MARK}"));
        }
        path.push(file);
        path
    }

    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<(), PortError> {
        let place = self.place(name);
        for _ in 0..MAX_ATTEMPTS {
            let incoming = self.write_incoming(bytes)?;
            match fs::hard_link(&incoming.path, &place) {
                Ok(()) => return Ok(self.sync_folders(&place)?),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(PortError::AlreadyExists {
                        detail: format!("blob {name}"),
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.create_folders(&place)?;
                }
                Err(error) => return Err(EmbeddedError::io(&place)(error).into()),
            }
        }
        Err(PortError::unavailable(format!(
            "blob {name}: its folder keeps disappearing"
        )))
    }

    fn write_incoming(&self, bytes: &[u8]) -> Result<Incoming, EmbeddedError> {
        let (incoming, mut file) = self.new_incoming()?;
        file.lock()
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(EmbeddedError::io(&incoming.path))?;
        Ok(incoming)
    }

    /// A file under a name that no one has.
    fn new_incoming(&self) -> Result<(Incoming, File), EmbeddedError> {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let path = self.incoming.join(format!("{}-{number}", process::id()));
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&path);
            match made {
                Ok(file) => return Ok((Incoming { path }, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(EmbeddedError::io(&path)(error)),
            }
        }
    }

    fn create_folders(&self, place: &Path) -> Result<(), EmbeddedError> {
        match place.parent() {
            Some(folder) => match create_private_dir(folder) {
                // Removed again while it was made; the caller tries again.
                Err(EmbeddedError::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {
                    Ok(())
                }
                other => other,
            },
            None => Ok(()),
        }
    }

    /// Makes the blob's name durable, and those of the folders above it, which another call may just
    /// have made.
    fn sync_folders(&self, place: &Path) -> Result<(), EmbeddedError> {
        for folder in place.ancestors().skip(1) {
            sync_dir(folder)?;
            if folder == self.root {
                break;
            }
        }
        Ok(())
    }

    fn open_blob(&self, name: &str) -> Result<File, PortError> {
        let place = self.place(name);
        File::open(&place).map_err(|error| match error.kind() {
            ErrorKind::NotFound => PortError::NotFound {
                detail: format!("blob {name}"),
            },
            _ => EmbeddedError::io(&place)(error).into(),
        })
    }

    pub(super) fn read(&self, name: &str) -> Result<Bytes, PortError> {
        self.read_range(name, 0..u64::MAX)
    }

    pub(super) fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, PortError> {
        let mut file = self.open_blob(name)?;
        let mut read = || {
            let size = file.metadata()?.len();
            let start = range.start.min(size);
            let length = range.end.min(size).saturating_sub(start);
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.seek(SeekFrom::Start(start))?;
            (&mut file).take(length).read_to_end(&mut bytes)?;
            Ok(Bytes::from(bytes))
        };
        read().map_err(|error| EmbeddedError::io(&self.place(name))(error).into())
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), PortError> {
        let place = self.place(name);
        match fs::remove_file(&place) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(EmbeddedError::io(&place)(error).into()),
        }
        // Folders go with their last blob; the first that is not empty ends it.
        for folder in place.ancestors().skip(1) {
            if folder == self.root || fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        Listing::new(prefix, after, limit)
            .of(&self.root)
            .map_err(|error| EmbeddedError::io(&self.root)(error).into())
    }

    pub(super) fn check(&self) -> Result<(), PortError> {
        fs::metadata(&self.incoming)
            .map_err(|error| PortError::unavailable(EmbeddedError::io(&self.incoming)(error)))?;
        Ok(())
    }
}

/// A file on its way, removed when done with.
struct Incoming {
    path: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "could not remove a file");
        }
    }
}
