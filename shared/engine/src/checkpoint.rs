//! Checkpoints: what an attempt that is cut off leaves to the next one.
//!
//! A checkpoint is a blob under its job's name. It is a function of the job's payload alone, so it
//! does not matter which attempt wrote it, nor that one whose lease is lost may still write: the worst
//! that can happen is that progress is lost. What stays behind after a crash is removed with the other
//! [orphans](crate::Engine::remove_orphans).

use bytes::Bytes;
use oscillink_domain::Job;
use oscillink_ports::PortError;

use crate::Engine;
use crate::work::Attempt;

/// Names listed at once. Each attempt leaves one, two if it crashed in between.
const PAGE: usize = 100;

impl Engine {
    /// Stores the attempt's checkpoint `number`, durable when this returns, and removes those it
    /// replaces.
    ///
    /// # Errors
    /// An adapter failed; the job goes on without.
    pub async fn keep_checkpoint(
        &self,
        attempt: &Attempt,
        number: u32,
        bytes: Bytes,
    ) -> Result<(), PortError> {
        let job = &attempt.job;
        let own = format!("{}{:010}.{number:010}", prefix(job), job.generation);
        let blobs = &self.inner.ports.blobs;
        match blobs.create(&own, bytes).await {
            // An earlier try got this far: no one else uses this name.
            Ok(()) | Err(PortError::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        for name in blobs.list(&prefix(job), None, PAGE).await? {
            if name < own {
                blobs.delete(&name).await?;
            }
        }
        Ok(())
    }

    /// The newest checkpoint of a job, if an earlier attempt left one.
    ///
    /// # Errors
    /// An adapter failed.
    pub async fn newest_checkpoint(&self, attempt: &Attempt) -> Result<Option<Bytes>, PortError> {
        let job = &attempt.job;
        if job.generation <= 1 {
            return Ok(None);
        }
        let blobs = &self.inner.ports.blobs;
        match blobs.list(&prefix(job), None, PAGE).await?.last() {
            Some(newest) => blobs.get(newest).await.map(Some),
            None => Ok(None),
        }
    }

    /// Removes a job's checkpoints: it has ended.
    ///
    /// # Errors
    /// An adapter failed; what is left is removed as an orphan.
    pub async fn remove_checkpoints(&self, job: &Job) -> Result<(), PortError> {
        let blobs = &self.inner.ports.blobs;
        for name in blobs.list(&prefix(job), None, PAGE).await? {
            blobs.delete(&name).await?;
        }
        Ok(())
    }
}

/// What the names of a job's checkpoints begin with; what follows is larger for newer ones.
fn prefix(job: &Job) -> String {
    format!("jobs/{}/{}/checkpoint.", job.created_at.day(), job.id)
}
