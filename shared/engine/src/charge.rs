//! Metering of synchronous work: checked before it is computed, charged before it is answered.

use oscillink_domain::event::Topic;
use oscillink_domain::ledger::Usage;
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::quota::Meter;
use oscillink_domain::{KeyId, LedgerRow, Limits, Sha256Hex, Tier, Units};
use oscillink_ports::{Collection, DocKey, StoreExt, TxError, Write};
use tracing::Instrument as _;

use crate::error::{ChargeError, QuotaExceeded};
use crate::finish::usage_event;
use crate::usage::{UsageView, meter_in, meter_key};
use crate::{Engine, TRACE};

/// A piece of synchronous work.
#[derive(Clone, Debug)]
pub struct SyncWork {
    /// The caller.
    pub key_id: KeyId,
    /// Hash of the secret used.
    pub key_hash: Sha256Hex,
    /// The caller's tier.
    pub tier: Tier,
    /// The caller's limits.
    pub limits: Limits,
    /// The ledger row's id. Random: a row that exists is a repeat of this very work, which is
    /// charged once.
    pub row_id: String,
    /// Id of the HTTP request, as the client knows it.
    pub request_id: String,
    /// What was done: `settle`, `receipt`, `bundle`, `chain`, `diffusion`.
    pub event: String,
    /// Rows.
    pub n: usize,
    /// Columns.
    pub d: usize,
    /// Whether diffusion gates were computed.
    pub diffusion: bool,
}

impl Engine {
    /// Whether the quota has room for `units` now, to refuse before computing. Room may be gone by
    /// the time of [`Engine::charge`], which decides.
    ///
    /// # Errors
    /// No room, or the store failed.
    pub async fn check_quota(
        &self,
        key_id: &KeyId,
        limits: &Limits,
        units: Units,
    ) -> Result<UsageView, ChargeError> {
        let shards = self.config().quota_shards.max(1);
        let mut meters = Vec::new();
        for shard in 0..shards {
            let found = self
                .store()
                .fetch::<Meter>(&meter_key(key_id, shard))
                .await?;
            meters.push(found.unwrap_or_else(|| Meter::new(key_id.clone(), shard)));
        }
        let usage = self.usage_view(&meters, limits, &self.periods(self.now()));
        self.reserve(&mut meters, units, limits, self.now())?;
        Ok(usage)
    }

    /// Charges work that took `duration_ms`: quota and ledger row in one transaction. Only after
    /// this succeeds may the answer be given.
    ///
    /// # Errors
    /// No room in the quota, or the store failed.
    pub async fn charge(
        &self,
        work: &SyncWork,
        duration_ms: f64,
    ) -> Result<UsageView, ChargeError> {
        let shards = self.config().quota_shards.max(1);
        let preferred = (self.inner.ports.entropy.next_u64() % u64::from(shards)) as u32;
        let charge = async {
            match self.charge_on(work, duration_ms, vec![preferred]).await {
                Err(ChargeError::Quota(_)) if shards > 1 => {
                    self.charge_on(work, duration_ms, (0..shards).collect())
                        .await
                }
                other => other,
            }
        };
        charge
            .instrument(tracing::info_span!(target: TRACE, "store charge", otel.kind = "client"))
            .await
    }

    async fn charge_on(
        &self,
        work: &SyncWork,
        duration_ms: f64,
        shards: Vec<u32>,
    ) -> Result<UsageView, ChargeError> {
        let engine = self.clone();
        let work = work.clone();
        let now = self.now();
        let row_key = DocKey::new(Collection::UsageLedger, &work.row_id);
        let mut reads: Vec<DocKey> = shards
            .iter()
            .map(|shard| meter_key(&work.key_id, *shard))
            .collect();
        reads.push(row_key.clone());
        let (key_id, limits) = (work.key_id.clone(), work.limits.clone());
        let is_whole = shards.len() == self.config().quota_shards.max(1) as usize;
        let seen = self
            .store()
            .transaction(reads, move |snapshot| {
                let mut meters = shards
                    .iter()
                    .map(|shard| meter_in(snapshot, &work.key_id, *shard))
                    .collect::<Result<Vec<_>, _>>()?;
                if snapshot.get::<LedgerRow>(&row_key)?.is_some() {
                    // A repeat of this very transaction whose first outcome was unknown.
                    let seen = engine.usage_view(&meters, &work.limits, &engine.periods(now));
                    return Ok((Vec::new(), seen));
                }
                let reservation =
                    engine.reserve(&mut meters, Units::of(work.n, work.d), &work.limits, now)?;
                meters
                    .iter_mut()
                    .for_each(|meter| meter.settle(&reservation));
                let mut writes = Vec::new();
                if let Some(meter) = meters
                    .iter_mut()
                    .find(|m| reservation.parts.contains_key(&m.shard))
                {
                    let chain = meter.shard;
                    let row = LedgerRow::append(
                        sync_usage(&work, duration_ms, now),
                        chain,
                        &mut meter.head,
                    );
                    let row = engine.signed(row, work.limits.signed_usage);
                    writes.push(Write::create(row_key.clone(), &row)?);
                    if engine.inner.ports.bus.may_be_heard(Topic::UsageEvents) {
                        let event = usage_event(&row, now, &engine.config().source);
                        let id = event.event_id.as_str().to_owned();
                        let events = vec![(Topic::UsageEvents, event)];
                        let entry = OutboxEntry::publish(id, work.key_id.as_str(), events, now);
                        let key = DocKey::new(Collection::Outbox, &entry.id);
                        writes.push(Write::put(key, &entry)?);
                    }
                }
                for meter in &meters {
                    writes.push(Write::put(meter_key(&meter.key_id, meter.shard), meter)?);
                }
                let seen = engine.usage_view(&meters, &work.limits, &engine.periods(now));
                Ok((writes, seen))
            })
            .await
            .map_err(ChargeError::from)?;
        if is_whole {
            return Ok(seen);
        }
        // The work is charged: what the client is told of its quota must not undo that.
        Ok(self.usage(&key_id, &limits).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the key's other meters could not be read; told of one alone");
            seen
        }))
    }
}

impl From<QuotaExceeded> for TxError<ChargeError> {
    fn from(error: QuotaExceeded) -> Self {
        Self::Refused(ChargeError::Quota(error))
    }
}

fn sync_usage(work: &SyncWork, duration_ms: f64, now: oscillink_domain::Timestamp) -> Usage {
    Usage {
        id: work.row_id.clone(),
        ts: now,
        key_id: work.key_id.clone(),
        key_hash: work.key_hash.clone(),
        job_id: None,
        request_id: work.request_id.clone(),
        event: work.event.clone(),
        n: work.n,
        d: work.d,
        units: Units::of(work.n, work.d),
        duration_ms,
        tier: work.tier,
        diffusion: work.diffusion,
    }
}
