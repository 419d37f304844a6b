//! Faults of correctness.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Faults that are told in full; the rest is counted.
const MAX_TOLD: usize = 50;

/// What was violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A job was accepted and is not there.
    LostJob,
    /// A job was accepted and has not ended.
    UnfinishedJob,
    /// A job's end changed after it had been seen.
    ChangedEnd,
    /// One submission made several jobs, or several submissions one.
    DoubledJob,
    /// A job that nobody submitted, or whose submission was refused.
    UnknownJob,
    /// Work was done and is not in the ledger.
    MissingRow,
    /// Work is in the ledger more than once.
    DoubledRow,
    /// A ledger row for work that was not done, or not sent.
    UnknownRow,
    /// A ledger row with another number of units.
    WrongUnits,
    /// The ledger's chain has a gap.
    BrokenChain,
    /// An answer that is not what the problem's solution is.
    WrongResult,
    /// A job ended and its callback did not come.
    MissingCallback,
    /// An event's callback came more than once, or a job had several events.
    DoubledCallback,
    /// A callback's signature is not right.
    BadSignature,
    /// The server did not stop by itself, or said that something was wrong.
    BadStop,
    /// The check itself could not be made.
    NotChecked,
}

/// The faults of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Violations {
    /// How many of each kind.
    pub counts: BTreeMap<Kind, u64>,
    /// The first ones in words.
    pub told: Vec<String>,
}

impl Violations {
    /// Adds one.
    pub fn add(&mut self, kind: Kind, detail: impl Into<String>) {
        *self.counts.entry(kind).or_default() += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(detail.into());
        }
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
