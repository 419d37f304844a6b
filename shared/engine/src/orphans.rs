//! Orphaned blobs: written before a transaction that then did not happen.

use oscillink_domain::{Job, JobId, Timestamp};
use oscillink_ports::{Collection, DocKey, StoreExt};

use crate::Engine;
use crate::error::EngineError;

/// Names listed at once.
const PAGE: usize = 500;
const DAY_MS: i64 = 24 * 3_600_000;

impl Engine {
    /// Removes blobs under `jobs/` whose day is over and whose job does not exist or has ended
    /// without referring to them. A transaction that refers to a blob follows within minutes of its
    /// creation, so blobs of today and yesterday are left alone. Returns how many were removed.
    ///
    /// # Errors
    /// An adapter failed; the next search goes on.
    pub async fn remove_orphans(&self) -> Result<usize, EngineError> {
        let spared = [self.now(), self.now().plus_millis(-DAY_MS)].map(Timestamp::day);
        let blobs = &self.inner.ports.blobs;
        let (mut after, mut removed): (Option<String>, usize) = (None, 0);
        loop {
            let names = blobs.list("jobs/", after.as_deref(), PAGE).await?;
            for name in &names {
                if !spared
                    .iter()
                    .any(|day| name.starts_with(&format!("jobs/{day}/")))
                    && self.is_orphan(name).await?
                {
                    blobs.delete(name).await?;
                    removed += 1;
                }
            }
            match names.last() {
                Some(last) if names.len() == PAGE => after = Some(last.clone()),
                _ => return Ok(removed),
            }
        }
    }

    async fn is_orphan(&self, name: &str) -> Result<bool, EngineError> {
        let Some(id) = name
            .split('/')
            .nth(2)
            .and_then(|id| id.parse::<JobId>().ok())
        else {
            // Not named by this engine: not ours to remove.
            return Ok(false);
        };
        let key = DocKey::new(Collection::Jobs, id.as_str());
        let Some(job) = self.store().fetch::<Job>(&key).await? else {
            return Ok(true);
        };
        let refers = crate::sweep::contents_of(&job).any(|content| content.name == name);
        Ok(!job.live && !refers)
    }
}
