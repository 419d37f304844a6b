//! Accepting a job: reservation, idempotency record, job record and dispatch intent in one transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use oscillink_domain::idempotency::{self, IdempotencyRecord};
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::quota::{Exceeded, Meter, Reservation};
use oscillink_domain::{
    Job, JobId, JobKind, JobStatus, KeyId, Limits, QueueName, Sha256Hex, Tier, Timestamp, Units,
};
use oscillink_ports::{Collection, DocKey, Snapshot, StoreExt, TxError, Write};
use tracing::Instrument as _;

use crate::content::Staged;
use crate::error::{QuotaExceeded, SubmitError};
use crate::usage::{Periods, UsageView, meter_in, meter_key, slice_of};
use crate::{Engine, TRACE};

/// The caller's `Idempotency-Key` and what it was sent with.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The header's value.
    pub key: String,
    /// Hash of route and body.
    pub request_hash: Sha256Hex,
}

/// A checked request for a job.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The caller.
    pub key_id: KeyId,
    /// Hash of the secret used.
    pub key_hash: Sha256Hex,
    /// The caller's tier.
    pub tier: Tier,
    /// The caller's limits.
    pub limits: Limits,
    /// What to compute.
    pub kind: JobKind,
    /// Rows.
    pub n: usize,
    /// Columns.
    pub d: usize,
    /// Estimated peak memory of computing it, bytes.
    pub memory_bytes: u64,
    /// The encoded request.
    pub payload: Bytes,
    /// Id of the HTTP request.
    pub request_id: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Makes repeats harmless.
    pub idempotency: Option<Idempotency>,
    /// The caller's own name for the job.
    pub custom_id: Option<String>,
    /// Where to report its end.
    pub callback_url: Option<String>,
}

/// An accepted job.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The job as it was when accepted, or as it is now for a replay.
    pub job: Job,
    /// The idempotency key was known: no new job was made.
    pub replayed: bool,
    /// The caller's quota with the job's reservation, where it was seen whole.
    pub usage: Option<UsageView>,
}

impl Engine {
    /// Accepts a job. When this returns, the job is durable and will reach a terminal state.
    ///
    /// # Errors
    /// No room in the quota, a reused idempotency key, or a failed adapter. After
    /// [`PortError::Unavailable`] the job may have been accepted.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, SubmitError> {
        let now = self.now();
        // Known repeats need no payload written.
        if let Some(job) = self.replay(&submission, now).await? {
            return Ok(Submitted {
                job,
                replayed: true,
                usage: None,
            });
        }
        let id = JobId::from_random(self.id_bytes(now));
        let expires_at = now.plus_millis(
            self.config()
                .job_max_age_ms
                .saturating_add(submission.limits.result_ttl_ms),
        );
        let staged = self
            .stage(&id, "payload", submission.payload.clone(), expires_at)
            .await?;
        let job = self.new_job(id, &submission, staged.reference.clone(), now, expires_at);
        let outcome = self
            .accept(&submission, job, &staged, now)
            .instrument(tracing::info_span!(target: TRACE, "store submit", otel.kind = "client"))
            .await;
        if !matches!(&outcome, Ok(submitted) if !submitted.replayed) && !may_have_happened(&outcome)
        {
            // Best effort: the sweeper finds what this misses.
            if let Err(error) = self.delete_blob(&staged.reference).await {
                tracing::warn!(%error, blob = staged.reference.name, "payload of a refused job left for the sweeper");
            }
        }
        if let Ok(submitted) = &outcome {
            self.inner.outbox_changed.notify_queue(submitted.job.queue);
        }
        outcome
    }

    async fn accept(
        &self,
        submission: &Submission,
        job: Job,
        staged: &Staged,
        now: Timestamp,
    ) -> Result<Submitted, SubmitError> {
        let shards = self.config().quota_shards.max(1);
        let preferred = (self.inner.ports.entropy.next_u64() % u64::from(shards)) as u32;
        match self
            .accept_on(submission, &job, staged, now, vec![preferred])
            .await
        {
            // The shard's slice is used up, but others may have room: look at all of them.
            Err(SubmitError::Quota(_)) if shards > 1 => {
                self.accept_on(submission, &job, staged, now, (0..shards).collect())
                    .await
            }
            other => other,
        }
    }

    async fn accept_on(
        &self,
        submission: &Submission,
        job: &Job,
        staged: &Staged,
        now: Timestamp,
        shards: Vec<u32>,
    ) -> Result<Submitted, SubmitError> {
        let engine = self.clone();
        let submission = submission.clone();
        let job = job.clone();
        let content = staged.write.clone();
        let virtual_time = self.virtual_time(job.queue);
        let job_key = DocKey::new(Collection::Jobs, job.id.as_str());
        let mut reads: Vec<DocKey> = shards
            .iter()
            .map(|shard| meter_key(&job.key_id, *shard))
            .collect();
        reads.push(job_key.clone());
        let replay_key = submission
            .idempotency
            .as_ref()
            .map(|i| record_key(&job.key_id, &i.key));
        reads.extend(replay_key.clone());
        let submitted = self
            .store()
            .transaction(reads, move |snapshot| {
                if let Some(key) = &replay_key
                    && let Some(job_id) = known(snapshot, key, &submission, now)?
                {
                    return Ok((Vec::new(), Accepted::Replayed(job_id)));
                }
                if let Some(existing) = snapshot.get::<Job>(&job_key)? {
                    // A repeat of this very transaction whose first outcome was unknown.
                    return Ok((Vec::new(), Accepted::New(Box::new(existing), None)));
                }
                let mut job = job.clone();
                let mut meters = shards
                    .iter()
                    .map(|shard| meter_in(snapshot, &job.key_id, *shard))
                    .collect::<Result<Vec<_>, _>>()?;
                job.reservation =
                    engine.reserve(&mut meters, job.units, &submission.limits, now)?;
                if let Some(meter) = meters.first_mut() {
                    job.tag = meter
                        .lanes
                        .entry(job.queue)
                        .or_default()
                        .enter(virtual_time, job.units.get());
                    job.lane_shard = meter.shard;
                }
                let mut writes = vec![Write::create(job_key.clone(), &job)?];
                for meter in &meters {
                    writes.push(Write::put(meter_key(&meter.key_id, meter.shard), meter)?);
                }
                let entry = OutboxEntry::dispatch(&job, now, now);
                writes.push(Write::put(
                    DocKey::new(Collection::Outbox, &entry.id),
                    &entry,
                )?);
                writes.extend(content.clone());
                if let (Some(key), Some(idempotency)) = (&replay_key, &submission.idempotency) {
                    let record = IdempotencyRecord {
                        key_id: job.key_id.clone(),
                        request_hash: idempotency.request_hash.clone(),
                        job_id: Some(job.id.clone()),
                        work: None,
                        expires_at: now.plus_millis(idempotency::REPLAY_MS),
                    };
                    writes.push(Write::put(key.clone(), &record)?);
                }
                let usage = engine.whole_view(&meters, &submission.limits, now);
                Ok((writes, Accepted::New(Box::new(job), usage)))
            })
            .await
            .map_err(SubmitError::from)?;
        match submitted {
            Accepted::New(job, usage) => Ok(Submitted {
                job: *job,
                replayed: false,
                usage,
            }),
            Accepted::Replayed(job_id) => Ok(Submitted {
                job: self.replayed_job(&job_id).await?,
                replayed: true,
                usage: None,
            }),
        }
    }

    /// Takes `units` from the meters, from the first alone if it has room, else from each in turn.
    pub(crate) fn reserve(
        &self,
        meters: &mut [Meter],
        units: Units,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Reservation, QuotaExceeded> {
        let periods = self.periods(now);
        let shards = self.config().quota_shards.max(1);
        let room: Vec<Units> = meters
            .iter()
            .map(|meter| {
                meter.room(
                    &slice_of(limits, meter.shard, shards),
                    periods.window,
                    &periods.month,
                )
            })
            .collect();
        if room.iter().copied().sum::<Units>() < units {
            return Err(self.exceeded(meters, units, limits, &periods));
        }
        let mut parts = BTreeMap::new();
        let mut left = units;
        for (meter, room) in meters.iter_mut().zip(room) {
            let part = room.min(left);
            // A part of zero still opens the period, so that a job of no units has a meter.
            if part == Units::ZERO && !(parts.is_empty() && left == Units::ZERO) {
                continue;
            }
            let slice = slice_of(limits, meter.shard, shards);
            if meter
                .reserve(part, &slice, periods.window, &periods.month)
                .is_ok()
            {
                parts.insert(meter.shard, part);
                left = left.minus(part);
            }
        }
        Ok(Reservation {
            window: periods.window,
            month: periods.month,
            parts,
        })
    }

    fn exceeded(
        &self,
        meters: &[Meter],
        units: Units,
        limits: &Limits,
        periods: &Periods,
    ) -> QuotaExceeded {
        let usage = self.usage_view(meters, limits, periods);
        let month_is_short = usage.month.remaining().is_some_and(|left| left < units);
        let (period, resets_at) = if month_is_short {
            (Exceeded::Month, usage.month.resets_at)
        } else {
            (Exceeded::Window, usage.window.resets_at)
        };
        QuotaExceeded {
            period,
            needed: units,
            resets_at,
            usage: Box::new(usage),
        }
    }

    async fn replay(
        &self,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<Option<Job>, SubmitError> {
        let Some(idempotency) = &submission.idempotency else {
            return Ok(None);
        };
        let key = record_key(&submission.key_id, &idempotency.key);
        let Some(value) = self.store().get(&key).await? else {
            return Ok(None);
        };
        let snapshot = Snapshot::new([(key.clone(), value)]);
        match known(&snapshot, &key, submission, now).map_err(SubmitError::from)? {
            Some(job_id) => Ok(Some(self.replayed_job(&job_id).await?)),
            None => Ok(None),
        }
    }

    /// Jobs may be kept for a shorter time than the keys that made them.
    async fn replayed_job(&self, job_id: &JobId) -> Result<Job, SubmitError> {
        let key = DocKey::new(Collection::Jobs, job_id.as_str());
        self.store().fetch(&key).await?.ok_or(SubmitError::JobGone)
    }

    fn new_job(
        &self,
        id: JobId,
        submission: &Submission,
        payload: oscillink_domain::job::ContentRef,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Job {
        let deadline_at = now.plus_millis(self.config().job_max_age_ms);
        let queue = match submission.kind {
            _ if submission.limits.priority => QueueName::Priority,
            JobKind::Diffusion => QueueName::Diffusion,
            JobKind::Settle | JobKind::Chain => QueueName::Settle,
        };
        Job {
            id,
            key_id: submission.key_id.clone(),
            key_hash: submission.key_hash.clone(),
            tier: submission.tier,
            kind: submission.kind,
            status: JobStatus::Queued,
            live: true,
            queue,
            n: submission.n,
            d: submission.d,
            units: Units::of(submission.n, submission.d),
            memory_bytes: submission.memory_bytes,
            created_at: now,
            started_at: None,
            completed_at: None,
            expires_at,
            deadline_at,
            due_at: now
                .plus_millis(self.config().redispatch_ms)
                .min(deadline_at),
            attempts: 0,
            generation: 0,
            dispatch: 0,
            lease_until: None,
            worker: None,
            progress: None,
            cancel_requested: false,
            payload,
            result: None,
            result_ttl_ms: submission.limits.result_ttl_ms,
            signs: Some((&submission.limits).into()),
            error: None,
            history: Vec::new(),
            dead_letter: false,
            reservation: Reservation::default(),
            tag: 0,
            lane_shard: 0,
            request_id: submission.request_id.clone(),
            traceparent: submission.traceparent.clone(),
            custom_id: submission.custom_id.clone(),
            callback_url: submission.callback_url.clone(),
            callback: None,
        }
    }
}

enum Accepted {
    New(Box<Job>, Option<UsageView>),
    Replayed(JobId),
}

fn record_key(key_id: &KeyId, idempotency_key: &str) -> DocKey {
    DocKey::new(
        Collection::Idempotency,
        idempotency::record_id(key_id, idempotency_key),
    )
}

/// The job that an earlier request with the same idempotency key made.
fn known(
    snapshot: &Snapshot,
    key: &DocKey,
    submission: &Submission,
    now: Timestamp,
) -> Result<Option<JobId>, TxError<SubmitError>> {
    let Some(record) = snapshot
        .get::<IdempotencyRecord>(key)?
        .filter(|r| now < r.expires_at)
    else {
        return Ok(None);
    };
    let same = submission
        .idempotency
        .as_ref()
        .is_some_and(|i| i.request_hash == record.request_hash);
    if same {
        // Without a job, the request was once answered at once: then nothing was submitted.
        Ok(record.job_id)
    } else {
        Err(TxError::Refused(SubmitError::IdempotencyMismatch))
    }
}

/// The store did not say whether the transaction took effect.
fn may_have_happened(outcome: &Result<Submitted, SubmitError>) -> bool {
    matches!(outcome, Err(SubmitError::Port(_)))
}

impl From<QuotaExceeded> for TxError<SubmitError> {
    fn from(error: QuotaExceeded) -> Self {
        Self::Refused(SubmitError::Quota(error))
    }
}
