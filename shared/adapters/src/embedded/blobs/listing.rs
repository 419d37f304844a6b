//! Lists blob names in byte order without reading folders that cannot hold any of them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::files::FOLDER_MARK;

/// A listing under way.
pub(super) struct Listing<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
    names: Vec<String>,
}

impl<'a> Listing<'a> {
    pub(super) const fn new(prefix: &'a str, after: Option<&'a str>, limit: usize) -> Self {
        Self {
            prefix,
            after,
            limit,
            names: Vec::new(),
        }
    }

    /// The names below `root`.
    pub(super) fn of(mut self, root: &Path) -> io::Result<Vec<String>> {
        self.walk(root, "")?;
        Ok(self.names)
    }

    fn walk(&mut self, folder: &Path, base: &str) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // It went with its last blob.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // A folder is sorted as its segment and `/`: exactly where the names in it belong.
        let mut found = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let key = match name.strip_suffix(FOLDER_MARK) {
                Some(segment) => format!("{base}{segment}/"),
                None => format!("{base}{name}"),
            };
            if self.may_hold(&key) {
                found.push((key, folder.join(name)));
            }
        }
        found.sort_unstable();
        for (key, path) in found {
            if self.names.len() >= self.limit {
                break;
            }
            if key.ends_with('/') {
                self.walk(&path, &key)?;
            } else {
                self.names.push(key);
            }
        }
        Ok(())
    }

    fn may_hold(&self, key: &str) -> bool {
        let is_folder = key.ends_with('/');
        let in_prefix = key.starts_with(self.prefix) || (is_folder && self.prefix.starts_with(key));
        let behind = self
            .after
            .is_none_or(|after| key > after || (is_folder && after.starts_with(key)));
        in_prefix && behind
    }
}
