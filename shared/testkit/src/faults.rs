//! Faults of adapters, chosen by a seeded generator and counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oscillink_ports::PortError;

use crate::random::SplitMix64;
use crate::schedule::give_way;

/// How often each fault strikes: once in so many calls, 0 for never.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    /// The call fails without effect.
    pub fail_before: u32,
    /// The call takes effect and then fails: its outcome is unknown to the caller.
    pub fail_after: u32,
    /// A transaction's decision is run an extra time on a snapshot that is then thrown away.
    pub conflict: u32,
}

/// How often each fault struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// See [`FaultRates::fail_before`].
    pub failed_before: u64,
    /// See [`FaultRates::fail_after`].
    pub failed_after: u64,
    /// See [`FaultRates::conflict`].
    pub conflicts: u64,
}

#[derive(Debug)]
struct State {
    random: SplitMix64,
    rates: FaultRates,
    counts: FaultCounts,
}

/// The source of faults, shared by adapters.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// Faults at `rates`, chosen by `seed`.
    #[must_use]
    pub fn new(seed: u64, rates: FaultRates) -> Self {
        let random = SplitMix64::new(seed);
        Self(Arc::new(Mutex::new(State {
            random,
            rates,
            counts: FaultCounts::default(),
        })))
    }

    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::new(0, FaultRates::default())
    }

    /// Changes the rates; all zero ends the faults.
    pub fn set_rates(&self, rates: FaultRates) {
        self.state().rates = rates;
    }

    /// What struck so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        self.state().counts
    }

    /// Runs `effect` as an adapter call: gives way before and after it, and may fail at either.
    pub(crate) async fn call<T>(
        &self,
        effect: impl FnOnce() -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        give_way().await;
        {
            let mut state = self.state();
            let rate = state.rates.fail_before;
            if state.random.once_in(rate) {
                state.counts.failed_before += 1;
                return Err(PortError::unavailable("injected before the effect"));
            }
        }
        let outcome = effect();
        give_way().await;
        let mut state = self.state();
        let rate = state.rates.fail_after;
        if outcome.is_ok() && state.random.once_in(rate) {
            state.counts.failed_after += 1;
            return Err(PortError::unavailable("injected after the effect"));
        }
        outcome
    }

    /// Whether a transaction meets a conflict now.
    pub(crate) fn conflict(&self) -> bool {
        let mut state = self.state();
        let rate = state.rates.conflict;
        let strikes = state.random.once_in(rate);
        state.counts.conflicts += u64::from(strikes);
        strikes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
