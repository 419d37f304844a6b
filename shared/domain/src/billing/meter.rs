//! Reporting usage to the provider's meters: which rows of a chain have been reported.
//!
//! A chain's rows are numbered without gaps in the transaction that writes them, so "up to this
//! number" says exactly what was reported, whatever time the rows bear: a late row has a higher
//! number. A batch is reserved before it is sent; while it is pending nothing else of its chain is
//! reserved. Sending it again within [`RESEND_WITHIN_MS`] is safe, because the provider knows its
//! identifier; after that it is set aside for people to look at, so that nothing is billed twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::billing::BillingId;
use crate::hash::Sha256Hex;
use crate::id::KeyId;
use crate::ledger::LedgerRow;
use crate::time::Timestamp;
use crate::units::Units;

/// How long the provider certainly remembers an identifier (24 h), less a margin.
pub const RESEND_WITHIN_MS: i64 = 23 * 3_600 * 1_000;
/// Oldest time that the provider accepts for usage (35 days), less a margin.
pub const METER_MAX_AGE_MS: i64 = 34 * 24 * 3_600 * 1_000;
/// Months of totals kept.
const MONTHS_KEPT: usize = 14;
/// Batches set aside that are kept.
const SET_ASIDE_KEPT: usize = 100;

/// Consecutive rows of one chain within one UTC hour, reported as one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterBatch {
    /// Made of what the batch holds: the same rows have the same identifier.
    pub identifier: String,
    /// Who pays.
    pub customer: BillingId,
    /// First row.
    pub from_seq: u64,
    /// Last row.
    pub to_seq: u64,
    /// What is reported.
    pub units: Units,
    /// When it was used.
    pub at: Timestamp,
    /// When it was reserved; sent no earlier.
    pub reserved_at: Timestamp,
    /// Why it was set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How far one chain has been reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterProgress {
    /// The key.
    pub key_id: KeyId,
    /// The chain.
    pub chain: u32,
    /// Rows up to this one are reported, pending or set aside.
    pub seq: u64,
    /// The batch under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<MeterBatch>,
    /// Units reported, by month.
    #[serde(default)]
    pub reported: BTreeMap<String, Units>,
    /// Batches whose outcome is not known or that the provider refused.
    #[serde(default)]
    pub set_aside: Vec<MeterBatch>,
}

impl MeterProgress {
    /// Nothing reported.
    #[must_use]
    pub const fn new(key_id: KeyId, chain: u32) -> Self {
        Self {
            key_id,
            chain,
            seq: 0,
            pending: None,
            reported: BTreeMap::new(),
            set_aside: Vec::new(),
        }
    }

    /// Reserves the next batch of `rows`, which follow [`MeterProgress::seq`] in order, unless one is
    /// pending. Rows before `metered_from` pass without being reported. Returns whether anything
    /// changed.
    pub fn reserve(
        &mut self,
        rows: &[LedgerRow],
        customer: &BillingId,
        metered_from: Timestamp,
        now: Timestamp,
    ) -> bool {
        if self.pending.is_some() {
            return false;
        }
        let expected = self.seq + 1..;
        let rows = rows
            .iter()
            .zip(expected)
            .take_while(|(r, seq)| r.seq == *seq);
        let rows: Vec<&LedgerRow> = rows.map(|(row, _)| row).collect();
        let free = rows.iter().take_while(|row| row.ts < metered_from).count();
        if let Some(last) = free.checked_sub(1).and_then(|last| rows.get(last)) {
            self.seq = last.seq;
        }
        let Some(first) = rows.get(free) else {
            return free > 0;
        };
        let batch: Vec<&&LedgerRow> = rows[free..]
            .iter()
            .take_while(|row| row.ts >= metered_from && hour(row.ts) == hour(first.ts))
            .collect();
        let last = batch.last().map_or(first.seq, |row| row.seq);
        let newest = batch.iter().map(|row| row.ts).max().unwrap_or(first.ts);
        let oldest_accepted = now.plus_millis(-METER_MAX_AGE_MS);
        self.pending = Some(MeterBatch {
            identifier: identifier(&self.key_id, self.chain, first.seq, last),
            customer: customer.clone(),
            from_seq: first.seq,
            to_seq: last,
            units: batch.iter().map(|row| row.units).sum(),
            at: newest.max(oldest_accepted).min(now),
            reserved_at: now,
            problem: None,
        });
        self.seq = last;
        true
    }

    /// Whether the pending batch may still be sent (again).
    #[must_use]
    pub fn may_send(&self, now: Timestamp) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|batch| now.millis_since(batch.reserved_at) <= RESEND_WITHIN_MS)
    }

    /// The provider has taken the batch. Says whether it was this one that was pending.
    pub fn sent(&mut self, identifier: &str) -> bool {
        let Some(batch) = self.pending.take_if(|batch| batch.identifier == identifier) else {
            return false;
        };
        let month = self.reported.entry(batch.at.month()).or_default();
        *month = month.plus(batch.units);
        while self.reported.len() > MONTHS_KEPT {
            self.reported.pop_first();
        }
        true
    }

    /// The batch cannot be sent. Says whether it was this one that was pending.
    pub fn set_aside(&mut self, identifier: &str, problem: &str) -> bool {
        let Some(mut batch) = self.pending.take_if(|batch| batch.identifier == identifier) else {
            return false;
        };
        batch.problem = Some(problem.to_owned());
        self.set_aside.push(batch);
        if self.set_aside.len() > SET_ASIDE_KEPT {
            self.set_aside.remove(0);
        }
        true
    }
}

fn hour(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(3_600_000)
}

fn identifier(key_id: &KeyId, chain: u32, from: u64, to: u64) -> String {
    let digest = Sha256Hex::of_parts([
        key_id.as_str().as_bytes(),
        &chain.to_le_bytes(),
        &from.to_le_bytes(),
        &to.to_le_bytes(),
    ]);
    format!("oscillink-{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{ChainHead, Usage};
    use crate::tier::Tier;

    const HOUR: i64 = 3_600_000;

    fn rows(times: &[i64]) -> Vec<LedgerRow> {
        let mut head = ChainHead {
            seq: 0,
            hash: Sha256Hex::zero(),
        };
        let row = |ts: &i64| {
            let usage = Usage {
                id: format!("r{ts}"),
                ts: Timestamp::from_millis(*ts),
                key_id: KeyId::from_random([1; 16]),
                key_hash: Sha256Hex::of(b"k"),
                job_id: None,
                request_id: String::new(),
                event: "settle".into(),
                n: 1,
                d: 10,
                units: Units::new(10),
                duration_ms: 0.0,
                tier: Tier::Pro,
                diffusion: false,
            };
            LedgerRow::append(usage, 0, &mut head)
        };
        times.iter().map(row).collect()
    }

    #[test]
    fn batches_follow_each_other_and_hold_each_row_once() {
        let rows = rows(&[1, 2, HOUR, HOUR + 1, 5, 2 * HOUR]);
        let customer: BillingId = "cus_1".parse().unwrap();
        let now = Timestamp::from_millis(3 * HOUR);
        let mut progress = MeterProgress::new(KeyId::from_random([1; 16]), 0);
        let mut sent = Vec::new();
        loop {
            let next = &rows[progress.seq as usize..];
            if !progress.reserve(next, &customer, Timestamp::from_millis(2), now) {
                break;
            }
            assert!(!progress.reserve(next, &customer, Timestamp::default(), now));
            let batch = progress.pending.clone().unwrap();
            assert!(!progress.sent("another") && progress.sent(&batch.identifier));
            assert!(!progress.sent(&batch.identifier));
            sent.push((batch.from_seq, batch.to_seq, batch.units.get()));
        }
        // The first row is from before metering began; the fifth is late and has its own batch.
        assert_eq!(sent, [(2, 2, 10), (3, 4, 20), (5, 5, 10), (6, 6, 10)]);
        assert_eq!(progress.reported["1970-01"], Units::new(50));
    }

    #[test]
    fn what_is_too_old_to_send_again_is_set_aside() {
        let rows = rows(&[1]);
        let customer: BillingId = "cus_1".parse().unwrap();
        let mut progress = MeterProgress::new(KeyId::from_random([1; 16]), 0);
        let start = Timestamp::from_millis(40 * 24 * HOUR);
        assert!(progress.reserve(&rows, &customer, Timestamp::default(), start));
        let batch = progress.pending.clone().unwrap();
        assert_eq!(batch.at, start.plus_millis(-METER_MAX_AGE_MS));
        assert!(progress.may_send(start.plus_millis(RESEND_WITHIN_MS)));
        assert!(!progress.may_send(start.plus_millis(RESEND_WITHIN_MS + 1)));
        assert!(progress.set_aside(&batch.identifier, "nobody knows"));
        assert_eq!((progress.seq, progress.set_aside.len()), (1, 1));
        assert!(progress.reported.is_empty());
    }
}
