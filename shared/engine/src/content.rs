//! Contents: payloads and results, small ones as documents in the transaction of the job they
//! belong to, large ones as blobs written before it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use oscillink_domain::hash::Digesting;
use oscillink_domain::job::ContentRef;
use oscillink_domain::{JobId, Sha256Hex, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, Write};
use serde::{Deserialize, Serialize};

use crate::Engine;

/// Bytes of a large content that are read at once.
const PIECE_BYTES: u64 = 4 << 20;

/// A small content as it is stored.
#[derive(Serialize, Deserialize)]
struct ContentDocument {
    // In front, where whoever looks for it need not pass over the content.
    expires_at: Timestamp,
    data: String,
}

/// A content on its way into the store.
pub(crate) struct Staged {
    /// How the job refers to it.
    pub reference: ContentRef,
    /// To be written in the job's transaction, for small contents.
    pub write: Option<Write>,
}

impl Engine {
    /// Prepares `bytes` for a job. Large contents are durable when this returns; should the job's
    /// transaction then not happen, the sweeper removes them. `part` distinguishes contents of one
    /// job and must be unique to the attempt, because blobs are write-once.
    pub(crate) async fn stage(
        &self,
        job_id: &JobId,
        part: &str,
        bytes: Bytes,
        expires_at: Timestamp,
    ) -> Result<Staged, PortError> {
        let sha256 = Sha256Hex::of(&bytes);
        let len = bytes.len() as u64;
        if bytes.len() <= self.config().inline_content_bytes {
            let name = format!("{job_id}.{part}");
            let document = ContentDocument {
                expires_at,
                data: STANDARD.encode(&bytes),
            };
            let write = Write::put(DocKey::new(Collection::Contents, &name), &document)?;
            self.inner.recent.put(&name, &bytes);
            let reference = ContentRef {
                name,
                sha256,
                len,
                inline: true,
            };
            return Ok(Staged {
                reference,
                write: Some(write),
            });
        }
        let name = format!("jobs/{}/{job_id}/{part}", self.now().day());
        match self.inner.ports.blobs.create(&name, bytes).await {
            Ok(()) => {}
            // An earlier try got this far; the name is unique to the attempt, so only its content
            // can be there.
            Err(PortError::AlreadyExists { .. }) => {
                let stored = self.inner.ports.blobs.get(&name).await?;
                if Sha256Hex::of(&stored) != sha256 {
                    return Err(PortError::Corrupt {
                        detail: format!("{name} holds something else"),
                    });
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Staged {
            reference: ContentRef {
                name,
                sha256,
                len,
                inline: false,
            },
            write: None,
        })
    }

    /// Reads a content and checks it against its digest.
    ///
    /// # Errors
    /// The content is gone, does not match its digest, or the store failed.
    pub async fn content(&self, reference: &ContentRef) -> Result<Bytes, PortError> {
        if let Some(bytes) = self.inner.recent.get(&reference.name) {
            return Ok(bytes);
        }
        let bytes = if reference.inline {
            let key = DocKey::new(Collection::Contents, &reference.name);
            let value = self
                .store()
                .get(&key)
                .await?
                .ok_or_else(|| PortError::NotFound {
                    detail: key.to_string(),
                })?;
            let document: ContentDocument =
                serde_json::from_value(value).map_err(PortError::corrupt)?;
            Bytes::from(STANDARD.decode(document.data).map_err(PortError::corrupt)?)
        } else {
            self.inner.ports.blobs.get(&reference.name).await?
        };
        if bytes.len() as u64 != reference.len || Sha256Hex::of(&bytes) != reference.sha256 {
            return Err(not_its_digest(reference));
        }
        Ok(bytes)
    }

    /// Reads a content piece by piece, so that a large one is never in memory as a whole, and checks
    /// it against its digest at the end: what `take` was given counts for nothing before this is `Ok`.
    ///
    /// # Errors
    /// As of [`content`](Self::content).
    pub async fn content_pieces(
        &self,
        reference: &ContentRef,
        mut take: impl FnMut(&[u8]) + Send,
    ) -> Result<(), PortError> {
        if reference.inline || reference.len <= PIECE_BYTES {
            take(&self.content(reference).await?);
            return Ok(());
        }
        let mut digest = Digesting::default();
        let mut at = 0;
        while at < reference.len {
            let piece = at..reference.len.min(at + PIECE_BYTES);
            let blobs = &self.inner.ports.blobs;
            let bytes = blobs.get_range(&reference.name, piece.clone()).await?;
            if bytes.len() as u64 != piece.end - piece.start {
                return Err(not_its_digest(reference));
            }
            digest.update(&bytes);
            take(&bytes);
            at = piece.end;
        }
        if digest.finish() != reference.sha256 {
            return Err(not_its_digest(reference));
        }
        Ok(())
    }

    /// Removes blobs; documents go in the transaction given by [`content_delete`].
    pub(crate) async fn delete_blob(&self, reference: &ContentRef) -> Result<(), PortError> {
        if reference.inline {
            Ok(())
        } else {
            self.inner.ports.blobs.delete(&reference.name).await
        }
    }
}

fn not_its_digest(reference: &ContentRef) -> PortError {
    PortError::Corrupt {
        detail: format!("{} does not match its digest", reference.name),
    }
}

/// The write that removes a small content.
pub(crate) fn content_delete(reference: &ContentRef) -> Option<Write> {
    reference
        .inline
        .then(|| Write::Delete(DocKey::new(Collection::Contents, &reference.name)))
}
