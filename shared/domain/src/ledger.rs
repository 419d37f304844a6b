//! The usage ledger: one row per piece of work done, rows of one key chained by hash.
//!
//! A row's hash is SHA-256 over its canonical JSON without `hash` and `signature`: keys sorted, no
//! white space. `prev_hash` is the hash of the row before it in the same chain, so a row cannot be
//! changed, dropped or inserted without every later hash changing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;
use crate::id::KeyId;
use crate::tier::Tier;
use crate::time::Timestamp;
use crate::units::Units;

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Number of rows in the chain.
    pub seq: u64,
    /// Hash of the last row, zero for an empty chain.
    pub hash: Sha256Hex,
}

/// What a row records, before it is chained.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Job id or request id: the row's document id.
    pub id: String,
    /// When the work was done.
    pub ts: Timestamp,
    /// The key.
    pub key_id: KeyId,
    /// Hash of the secret used.
    pub key_hash: Sha256Hex,
    /// Set for jobs.
    pub job_id: Option<String>,
    /// The request that asked for it.
    pub request_id: String,
    /// What was done: `settle`, `diffusion`, `chain`, `receipt`, `bundle`.
    pub event: String,
    /// Rows.
    pub n: usize,
    /// Columns.
    pub d: usize,
    /// N·D.
    pub units: Units,
    /// Time of computation, ms.
    pub duration_ms: f64,
    /// Tier at acceptance.
    pub tier: Tier,
    /// Whether diffusion gates were computed.
    pub diffusion: bool,
}

/// A row of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Job id or request id: the row's document id.
    pub id: String,
    /// When the work was done, ms since the epoch.
    pub ts: Timestamp,
    /// The key.
    pub key_id: KeyId,
    /// Hash of the secret used.
    pub key_hash: Sha256Hex,
    /// Set for jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The request that asked for it.
    pub request_id: String,
    /// What was done.
    pub event: String,
    /// Rows.
    #[serde(rename = "N")]
    pub n: usize,
    /// Columns.
    #[serde(rename = "D")]
    pub d: usize,
    /// N·D.
    pub units: Units,
    /// Time of computation, ms, three decimals.
    pub duration_ms: f64,
    /// Tier at acceptance.
    pub tier: Tier,
    /// Whether diffusion gates were computed.
    pub diffusion: bool,
    /// Which of the key's chains, from 0; a key has one unless its meter is sharded.
    pub chain: u32,
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hash of the row before.
    pub prev_hash: Sha256Hex,
    /// Hash of this row.
    pub hash: Sha256Hex,
    /// HMAC-SHA256 over `hash` for tiers with signed usage, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl LedgerRow {
    /// Chains `usage` behind `head`, which moves on to the new row.
    #[must_use]
    pub fn append(usage: Usage, chain: u32, head: &mut ChainHead) -> Self {
        let mut row = Self {
            id: usage.id,
            ts: usage.ts,
            key_id: usage.key_id,
            key_hash: usage.key_hash,
            job_id: usage.job_id,
            request_id: usage.request_id,
            event: usage.event,
            n: usage.n,
            d: usage.d,
            units: usage.units,
            duration_ms: (usage.duration_ms * 1e3).round() / 1e3,
            tier: usage.tier,
            diffusion: usage.diffusion,
            chain,
            seq: head.seq + 1,
            prev_hash: head.hash.clone(),
            hash: Sha256Hex::zero(),
            signature: None,
        };
        row.hash = row.digest();
        *head = ChainHead {
            seq: row.seq,
            hash: row.hash.clone(),
        };
        row
    }

    /// The hash that the row's content gives.
    #[must_use]
    pub fn digest(&self) -> Sha256Hex {
        Sha256Hex::of(self.canonical().as_bytes())
    }

    /// The text that is hashed: the row without `hash` and `signature`, keys sorted, no white space;
    /// Python's `json.dumps(row, sort_keys=True, separators=(",", ":"))` gives the same.
    #[must_use]
    pub fn canonical(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let sorted: BTreeMap<_, _> = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !matches!(name.as_str(), "hash" | "signature"))
            .collect();
        serde_json::to_string(&sorted).unwrap_or_default()
    }
}

/// Where a chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A row's content does not give its hash.
    #[error("row {id} was changed: its content does not give its hash")]
    Content {
        /// The row.
        id: String,
    },
    /// A row does not follow the one before it.
    #[error("row {id} (chain {chain}, seq {seq}) does not follow the row before it")]
    Link {
        /// The row.
        id: String,
        /// Its chain.
        chain: u32,
        /// Its place.
        seq: u64,
    },
}

/// Checks that `rows`, in any order, form whole chains from the first row of each.
///
/// # Errors
/// The first row that breaks its chain.
pub fn verify_chains(rows: &[LedgerRow]) -> Result<(), BrokenChain> {
    let mut sorted: Vec<&LedgerRow> = rows.iter().collect();
    sorted.sort_by(|a, b| (&a.key_id, a.chain, a.seq).cmp(&(&b.key_id, b.chain, b.seq)));
    let mut heads: BTreeMap<(&KeyId, u32), (u64, Sha256Hex)> = BTreeMap::new();
    for row in sorted {
        if row.digest() != row.hash {
            return Err(BrokenChain::Content { id: row.id.clone() });
        }
        let head = heads
            .entry((&row.key_id, row.chain))
            .or_insert((0, Sha256Hex::zero()));
        if row.seq != head.0 + 1 || row.prev_hash != head.1 {
            return Err(BrokenChain::Link {
                id: row.id.clone(),
                chain: row.chain,
                seq: row.seq,
            });
        }
        *head = (row.seq, row.hash.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(id: &str) -> Usage {
        Usage {
            id: id.into(),
            ts: Timestamp::from_millis(1),
            key_id: KeyId::from_random([1; 16]),
            key_hash: Sha256Hex::of(b"k"),
            job_id: None,
            request_id: id.into(),
            event: "settle".into(),
            n: 2,
            d: 3,
            units: Units::of(2, 3),
            duration_ms: 1.234_56,
            tier: Tier::Pro,
            diffusion: false,
        }
    }

    fn chain(len: usize) -> Vec<LedgerRow> {
        let mut head = ChainHead {
            seq: 0,
            hash: Sha256Hex::zero(),
        };
        (0..len)
            .map(|i| LedgerRow::append(usage(&format!("r{i}")), 0, &mut head))
            .collect()
    }

    #[test]
    fn a_whole_chain_verifies_in_any_order() {
        let mut rows = chain(5);
        rows.reverse();
        verify_chains(&rows).unwrap();
        assert!(rows[0].canonical().contains("\"duration_ms\":1.235"));
        assert!(!rows[0].canonical().contains("\"hash\""));
    }

    #[test]
    fn any_change_breaks_it() {
        let mut changed = chain(4);
        changed[1].units = Units::new(1);
        assert!(matches!(verify_chains(&changed), Err(BrokenChain::Content { id }) if id == "r1"));
        let mut dropped = chain(4);
        dropped.remove(2);
        assert!(matches!(
            verify_chains(&dropped),
            Err(BrokenChain::Link { seq: 4, .. })
        ));
        let mut beheaded = chain(4);
        beheaded.remove(0);
        assert!(verify_chains(&beheaded).is_err());
    }
}
