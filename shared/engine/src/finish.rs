//! The end of a job: record, quota, ledger row and event in one transaction.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit as _, Mac as _};
use oscillink_domain::event::Topic;
use oscillink_domain::hash::hex;
use oscillink_domain::ledger::Usage;
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::{Event, EventId, Job, JobKind, JobStatus, LedgerRow, Sha256Hex, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, Snapshot, Write};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::Sha256;

use crate::Engine;
use crate::callback::callback_write;
use crate::usage::{meter_in, meter_key};

/// The documents that ending `job` needs to have read.
pub(crate) fn finish_reads(job: &Job) -> Vec<DocKey> {
    let mut reads = vec![job_key(job)];
    reads.extend(
        shards_of(job)
            .into_iter()
            .map(|shard| meter_key(&job.key_id, shard)),
    );
    reads
}

/// Address of a job's record.
pub(crate) fn job_key(job: &Job) -> DocKey {
    DocKey::new(Collection::Jobs, job.id.as_str())
}

fn shards_of(job: &Job) -> BTreeSet<u32> {
    job.reservation
        .parts
        .keys()
        .copied()
        .chain([job.lane_shard])
        .collect()
}

impl Engine {
    /// The writes that make `ended` final: the record, the quota settled (done) or returned
    /// (otherwise), a ledger row for work done, and the completion event. The row's document id is
    /// the job's, so a second one cannot exist.
    pub(crate) fn finish_writes(
        &self,
        snapshot: &Snapshot,
        ended: &Job,
        duration_ms: f64,
        now: Timestamp,
    ) -> Result<Vec<Write>, PortError> {
        let done = ended.status == JobStatus::Done;
        let mut writes = vec![Write::put(job_key(ended), ended)?];
        let mut row = None;
        let chain = ended
            .reservation
            .parts
            .keys()
            .next()
            .copied()
            .unwrap_or(ended.lane_shard);
        for shard in shards_of(ended) {
            let mut meter = meter_in(snapshot, &ended.key_id, shard)?;
            if done {
                meter.settle(&ended.reservation);
            } else {
                meter.give_back(&ended.reservation);
            }
            if shard == ended.lane_shard
                && let Some(lane) = meter.lanes.get_mut(&ended.queue)
            {
                lane.leave();
            }
            if done && shard == chain {
                let appended =
                    LedgerRow::append(job_usage(ended, duration_ms, now), chain, &mut meter.head);
                let signs = ended.signs(&self.config().baseline);
                row = Some(self.signed(appended, signs.usage));
            }
            writes.push(Write::put(meter_key(&ended.key_id, shard), &meter)?);
        }
        if let Some(row) = &row {
            writes.push(Write::create(
                DocKey::new(Collection::UsageLedger, &row.id),
                row,
            )?);
        }
        if let Some(entry) = self.completion_entry(ended, row.as_ref(), now) {
            writes.push(Write::put(
                DocKey::new(Collection::Outbox, &entry.id),
                &entry,
            )?);
        }
        writes.extend(callback_write(ended, now)?);
        Ok(writes)
    }

    /// Signs a row's hash for keys with signed usage.
    pub(crate) fn signed(&self, mut row: LedgerRow, signed_usage: bool) -> LedgerRow {
        if let Some(secret) = self
            .config()
            .ledger_secret
            .as_ref()
            .filter(|_| signed_usage)
            && let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        {
            mac.update(row.hash.as_str().as_bytes());
            row.signature = Some(hex(&mac.finalize().into_bytes()));
        }
        row
    }

    /// The intent to tell of the end; `None` when no one can hear of it.
    fn completion_entry(
        &self,
        ended: &Job,
        row: Option<&LedgerRow>,
        now: Timestamp,
    ) -> Option<OutboxEntry> {
        let source = &self.config().source;
        let traceparent = ended.traceparent.as_deref();
        let bus = &self.inner.ports.bus;
        let id = completion_id(ended);
        let mut events = Vec::new();
        if bus.may_be_heard(Topic::JobEvents) {
            let data = json!({
                "jobId": ended.id,
                "keyId": ended.key_id,
                "kind": ended.kind,
                "status": ended.status,
                "attempts": ended.attempts,
                "units": ended.units,
                "error": ended.error,
            });
            let event_type = format!("job.{}", ended.status);
            let event = Event::new(id.clone(), &event_type, now, source, data);
            events.push((Topic::JobEvents, event.traced(traceparent)));
        }
        if let Some(row) = row.filter(|_| bus.may_be_heard(Topic::UsageEvents)) {
            let event = usage_event(row, now, source).traced(traceparent);
            events.push((Topic::UsageEvents, event));
        }
        let id = id.as_str().to_owned();
        (!events.is_empty()).then(|| OutboxEntry::publish(id, ended.key_id.as_str(), events, now))
    }
}

/// The event that goes with a ledger row.
pub(crate) fn usage_event(row: &LedgerRow, now: Timestamp, source: &str) -> Event {
    let data = serde_json::to_value(row).unwrap_or_default();
    Event::new(
        event_id(&["usage", &row.id]),
        "usage.recorded",
        now,
        source,
        data,
    )
}

/// The id of the event that tells of a job's end, the same however often it is told.
pub(crate) fn completion_id(job: &Job) -> EventId {
    event_id(&["job", job.id.as_str(), "ended"])
}

/// The id of the event that these parts name; the same parts give the same id.
pub(crate) fn event_id(parts: &[&str]) -> EventId {
    EventId::from_digest(&Sha256Hex::of_parts(
        parts.iter().map(|part| part.as_bytes()),
    ))
}

fn job_usage(job: &Job, duration_ms: f64, now: Timestamp) -> Usage {
    Usage {
        id: job.id.as_str().to_owned(),
        ts: now,
        key_id: job.key_id.clone(),
        key_hash: job.key_hash.clone(),
        job_id: Some(job.id.as_str().to_owned()),
        request_id: job.request_id.clone(),
        event: job.kind.as_str().to_owned(),
        n: job.n,
        d: job.d,
        units: job.units,
        duration_ms,
        tier: job.tier,
        diffusion: job.kind == JobKind::Diffusion,
    }
}
