//! Blobs: payloads and results too large for a document.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::PortError;

/// Longest blob name, bytes.
pub const MAX_BLOB_NAME_LEN: usize = 512;
/// Longest segment of a blob name, bytes; file systems end at 255.
pub const MAX_BLOB_SEGMENT_LEN: usize = 200;

/// Whether `name` is allowed: segments of `[A-Za-z0-9._-]` separated by `/`, none of them too long,
/// empty, `.` or `..`, so that a name can never leave its folder or bucket prefix.
#[must_use]
pub fn valid_blob_name(name: &str) -> bool {
    name.len() <= MAX_BLOB_NAME_LEN
        && name.split('/').all(|segment| {
            !matches!(segment, "" | "." | "..")
                && segment.len() <= MAX_BLOB_SEGMENT_LEN
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
}

/// Write-once storage of byte strings by name.
///
/// - `create` is atomic and durable when it returns: readers see all bytes or none, also after a
///   crash. It never replaces: a second `create` of a name fails with `AlreadyExists`.
/// - `get` and `get_range` fail with `NotFound` for unknown names.
/// - `delete` of an unknown name succeeds.
/// - `list` gives names in ascending byte order.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Stores `bytes` under `name`.
    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), PortError>;

    /// All bytes of `name`.
    async fn get(&self, name: &str) -> Result<Bytes, PortError>;

    /// Bytes `range` of `name`; a range that reaches past the end is cut there, one that starts past
    /// the end is empty.
    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, PortError>;

    /// Removes `name`.
    async fn delete(&self, name: &str) -> Result<(), PortError>;

    /// Up to `limit` names that begin with `prefix` and come after `after`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError>;

    /// Whether the store answers.
    async fn check(&self) -> Result<(), PortError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        assert!(valid_blob_name("jobs/job_abc/payload.bin"));
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/../b",
            "a/./b",
            "a b",
            "a\\b",
            "a\0b",
            &"x".repeat(201),
            &"x/".repeat(300),
        ] {
            assert!(!valid_blob_name(bad), "{bad:?}");
        }
    }
}
