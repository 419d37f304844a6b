//! A second handle on the database file, to have it synced without SQLite's doing.
//!
//! SQLite holds locks on the file, and by the rules of POSIX a process loses them all when it closes
//! *any* handle on that file. So there is one such handle for each file in the process, and it is
//! closed only after the last connection: it is taken before connections are opened and dropped after.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::embedded::error::EmbeddedError;

/// Device and inode.
type Identity = (u64, u64);

/// The handles, and how many use them.
static OPEN: Mutex<BTreeMap<Identity, (usize, Arc<File>)>> = Mutex::new(BTreeMap::new());

/// A use of the file's handle.
pub(super) struct DatabaseFile {
    identity: Identity,
}

impl DatabaseFile {
    /// The handle on an existing file.
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        Self::shared(path).map_err(EmbeddedError::io(path))
    }

    fn shared(path: &Path) -> io::Result<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = fs::metadata(path)?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some((users, _)) = open.get_mut(&identity) {
            *users += 1;
        } else {
            open.insert(identity, (1, Arc::new(File::open(path)?)));
        }
        Ok(Self { identity })
    }

    fn handle(&self) -> io::Result<Arc<File>> {
        let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = open.get(&self.identity).map(|(_, file)| Arc::clone(file));
        handle.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes what was written to the file durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle()?.sync_data()
    }

    /// Room that its file system has left for this process.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let room = rustix::fs::fstatvfs(self.handle()?)?;
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }
}

impl Drop for DatabaseFile {
    fn drop(&mut self) {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((users, _)) = open.get_mut(&self.identity) {
            *users -= 1;
            if *users == 0 {
                // Closed here, under the lock: whoever waits for it has no connection yet.
                open.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_one_file_share_a_handle_until_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&path, "a").unwrap();
        fs::write(&other, "b").unwrap();
        let first = DatabaseFile::open(&path).unwrap();
        let second = DatabaseFile::open(&path).unwrap();
        let third = DatabaseFile::open(&other).unwrap();
        assert_ne!(first.identity, third.identity);
        let identity = first.identity;
        let users = || OPEN.lock().unwrap().get(&identity).map(|(users, _)| *users);
        assert_eq!(users(), Some(2));
        drop(first);
        second.sync().unwrap();
        assert!(second.free_bytes().unwrap() > 0);
        assert_eq!(users(), Some(1));
        drop(second);
        assert_eq!(users(), None);
        assert!(DatabaseFile::open(&folder.path().join("none")).is_err());
    }
}
