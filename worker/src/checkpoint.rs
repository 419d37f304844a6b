//! Checkpoints of a running job, from its computation to the blobs and back.
//!
//! Nothing here fails a job: without a checkpoint it is only computed again from the start.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use oscillink_engine::{Attempt, Engine};

use crate::control::Control;

/// What an earlier attempt at the job has left.
pub async fn left_before(engine: &Engine, attempt: &Attempt) -> Option<Bytes> {
    let job_id = &attempt.job.id;
    match engine.newest_checkpoint(attempt).await {
        Ok(Some(bytes)) => {
            tracing::info!(%job_id, bytes = bytes.len(), "going on from a checkpoint");
            Some(bytes)
        }
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%job_id, %error, "checkpoint not read; the job starts over");
            None
        }
    }
}

/// Stores the checkpoints of one attempt.
pub struct Keeper<'a> {
    engine: &'a Engine,
    attempt: &'a Attempt,
    /// Checkpoints stored, or tried to be.
    number: AtomicU32,
}

impl<'a> Keeper<'a> {
    /// For an attempt that has kept none yet.
    pub fn new(engine: &'a Engine, attempt: &'a Attempt) -> Self {
        Self {
            engine,
            attempt,
            number: AtomicU32::new(0),
        }
    }

    /// Stores every checkpoint as long as `lease` goes on.
    pub async fn all_of(&self, control: &Control, lease: impl Future<Output = ()>) {
        let storing = async {
            loop {
                let bytes = control.next_checkpoint().await;
                self.keep(bytes).await;
            }
        };
        tokio::select! {
            () = storing => {}
            () = lease => {}
        }
    }

    /// Stores a checkpoint that has been made but not taken.
    pub async fn last_of(&self, control: &Control) {
        if let Some(bytes) = control.take_checkpoint() {
            self.keep(bytes).await;
        }
    }

    async fn keep(&self, bytes: Vec<u8>) {
        let job_id = &self.attempt.job.id;
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let length = bytes.len();
        let kept = self
            .engine
            .keep_checkpoint(self.attempt, number, bytes.into());
        match kept.await {
            Ok(()) => tracing::info!(%job_id, bytes = length, "checkpoint kept"),
            Err(error) => tracing::warn!(%job_id, %error, "checkpoint not kept"),
        }
    }

    /// Removes what this attempt and earlier ones have kept, if there may be any.
    pub async fn remove(&self) {
        let job = &self.attempt.job;
        if job.generation <= 1 && self.number.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Err(error) = self.engine.remove_checkpoints(job).await {
            tracing::warn!(job_id = %job.id, %error, "checkpoints are left to be removed as orphans");
        }
    }
}
