//! A small disk: a memory file system under the server's data folder.

use std::ffi::CString;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Name of the file that fills it.
const FILLER: &str = "filler";

/// A mounted file system, gone when dropped.
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn mount(folder: &Path, bytes: u64) -> anyhow::Result<Self> {
        let size = CString::new(format!("size={bytes},mode=0700"))?;
        mount(
            "tmpfs",
            folder,
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )
        .context("server.tmpfs_mib: mounting a memory file system needs root")?;
        Ok(Self(folder.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The server is gone by now; a detached mount disappears with its last open file.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Writes until there is no room left; gives the number of bytes.
///
/// # Errors
/// Writing fails for another reason.
pub fn fill(folder: &Path) -> std::io::Result<u64> {
    let mut file = File::create(folder.join(FILLER))?;
    let block = vec![0_u8; 1 << 16];
    let mut written = 0;
    // Ever smaller blocks, down to the last byte.
    let mut size = block.len();
    while size > 0 {
        match file.write(&block[..size]) {
            Ok(0) => size /= 2,
            Ok(count) => written += count as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Gives the room back.
///
/// # Errors
/// The file cannot be removed.
pub fn unfill(folder: &Path) -> std::io::Result<()> {
    std::fs::remove_file(folder.join(FILLER))
}
