//! Quota: units reserved when work is accepted, settled when it is done, returned when it is not.
//!
//! A meter belongs to one key. Where one document would be written too often, a key has several
//! meters (shards), each holding an equal slice of the limits; a reservation may then be spread
//! over shards. `used + reserved` of a period never exceeds the slice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;
use crate::id::KeyId;
use crate::job::QueueName;
use crate::ledger::ChainHead;
use crate::time::Timestamp;
use crate::units::Units;

/// Units of one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Held for work that is not done yet.
    pub reserved: Units,
    /// Spent.
    pub used: Units,
}

impl Tally {
    /// Reserved and used together.
    #[must_use]
    pub fn total(self) -> Units {
        self.reserved.plus(self.used)
    }
}

/// The limits in force for one reservation, already sliced for the meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Units per window; `None` is unlimited.
    pub window_units: Option<Units>,
    /// Units per month; `None` is unlimited.
    pub monthly_units: Option<Units>,
}

impl Slice {
    /// The part of the limits that belongs to `shard` of `shards`; the parts add up to the whole.
    #[must_use]
    pub fn of(window: Option<Units>, monthly: Option<Units>, shard: u32, shards: u32) -> Self {
        let part = |limit: Option<Units>| {
            limit.map(|units| {
                let (n, count) = (units.get(), u64::from(shards.max(1)));
                Units::new(n / count + u64::from(u64::from(shard) < n % count))
            })
        };
        Self {
            window_units: part(window),
            monthly_units: part(monthly),
        }
    }
}

/// What a piece of work holds of a meter, remembered with the work so that it can be given back to
/// the very period it was taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The window it was taken in.
    pub window: i64,
    /// The month it was taken in, `YYYY-MM`.
    pub month: String,
    /// Units taken, by shard.
    pub parts: BTreeMap<u32, Units>,
}

impl Reservation {
    /// Everything taken.
    #[must_use]
    pub fn units(&self) -> Units {
        self.parts.values().copied().sum()
    }
}

/// The period a limit ran out in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The quota window.
    Window,
    /// The month.
    Month,
}

/// One key's place in the fair order of one queue (start-time fair queueing).
///
/// Each job gets a start tag: the queue's virtual time, or the end of the key's own backlog when
/// that is later; the backlog then ends a job's cost further on. Jobs are dispatched by ascending
/// tag, so keys with a backlog take turns in proportion to cost, and a key without one goes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Jobs accepted and not ended.
    pub live_jobs: u64,
    /// End of the key's backlog in virtual time.
    pub finish_tag: u64,
}

impl Lane {
    /// Takes in a job of `cost` at the queue's virtual time and returns its start tag.
    pub fn enter(&mut self, virtual_time: u64, cost: u64) -> u64 {
        let backlog = if self.live_jobs == 0 {
            0
        } else {
            self.finish_tag
        };
        let tag = backlog.max(virtual_time);
        self.finish_tag = tag.saturating_add(cost.max(1));
        self.live_jobs += 1;
        tag
    }

    /// A job of the lane ended.
    pub fn leave(&mut self) {
        self.live_jobs = self.live_jobs.saturating_sub(1);
    }
}

/// One key's meter, or one shard of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// The key.
    pub key_id: KeyId,
    /// The shard, from 0.
    pub shard: u32,
    /// Number of the window that `current` counts: `now / window length`.
    pub window: i64,
    /// Units in that window.
    pub current: Tally,
    /// Units by month. Months with nothing reserved are dropped after the next two.
    pub months: BTreeMap<String, Tally>,
    /// The key's place in the fair order of each queue.
    #[serde(default)]
    pub lanes: BTreeMap<QueueName, Lane>,
    /// End of the key's ledger chain in this shard.
    pub head: ChainHead,
}

impl Meter {
    /// A meter that has counted nothing.
    #[must_use]
    pub fn new(key_id: KeyId, shard: u32) -> Self {
        Self {
            key_id,
            shard,
            window: 0,
            current: Tally::default(),
            months: BTreeMap::new(),
            lanes: BTreeMap::new(),
            head: ChainHead {
                seq: 0,
                hash: Sha256Hex::zero(),
            },
        }
    }

    /// The tally of the window that `now` lies in.
    #[must_use]
    pub fn window_tally(&self, window: i64) -> Tally {
        if self.window == window {
            self.current
        } else {
            Tally::default()
        }
    }

    /// The tally of a month.
    #[must_use]
    pub fn month_tally(&self, month: &str) -> Tally {
        self.months.get(month).copied().unwrap_or_default()
    }

    /// How many units this meter could still reserve, `u64::MAX` when unlimited.
    #[must_use]
    pub fn room(&self, slice: &Slice, window: i64, month: &str) -> Units {
        let left = |limit: Option<Units>, tally: Tally| {
            limit.map_or(Units::new(u64::MAX), |l| l.minus(tally.total()))
        };
        left(slice.window_units, self.window_tally(window))
            .min(left(slice.monthly_units, self.month_tally(month)))
    }

    /// Reserves `units`.
    ///
    /// # Errors
    /// The window or the month has no room for them; nothing changed.
    pub fn reserve(
        &mut self,
        units: Units,
        slice: &Slice,
        window: i64,
        month: &str,
    ) -> Result<(), Exceeded> {
        let over = |limit: Option<Units>, tally: Tally| {
            limit.is_some_and(|l| tally.total().plus(units) > l)
        };
        if over(slice.window_units, self.window_tally(window)) {
            return Err(Exceeded::Window);
        }
        if over(slice.monthly_units, self.month_tally(month)) {
            return Err(Exceeded::Month);
        }
        self.roll(window, month);
        self.current.reserved = self.current.reserved.plus(units);
        let tally = self.months.entry(month.to_owned()).or_default();
        tally.reserved = tally.reserved.plus(units);
        Ok(())
    }

    /// Turns the reservation's part in this shard into use.
    pub fn settle(&mut self, reservation: &Reservation) {
        self.release(reservation, true);
    }

    /// Gives the reservation's part in this shard back.
    pub fn give_back(&mut self, reservation: &Reservation) {
        self.release(reservation, false);
    }

    fn release(&mut self, reservation: &Reservation, spent: bool) {
        let Some(&units) = reservation.parts.get(&self.shard) else {
            return;
        };
        let apply = |tally: &mut Tally| {
            tally.reserved = tally.reserved.minus(units);
            if spent {
                tally.used = tally.used.plus(units);
            }
        };
        // A window that has passed took its count with it.
        if self.window == reservation.window {
            apply(&mut self.current);
        }
        apply(self.months.entry(reservation.month.clone()).or_default());
    }

    fn roll(&mut self, window: i64, month: &str) {
        if self.window != window {
            self.window = window;
            self.current = Tally::default();
        }
        while self.months.len() > 3 {
            let oldest = self
                .months
                .iter()
                .find(|(m, t)| m.as_str() < month && t.reserved == Units::ZERO)
                .map(|(m, _)| m.clone());
            let Some(oldest) = oldest else { break };
            self.months.remove(&oldest);
        }
    }
}

/// Number of the window that `now` lies in, and when it ends.
#[must_use]
pub fn window_of(now: Timestamp, window_ms: i64) -> (i64, Timestamp) {
    let length = window_ms.max(1);
    let number = now.as_millis().div_euclid(length);
    (
        number,
        Timestamp::from_millis((number + 1).saturating_mul(length)),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meter() -> Meter {
        Meter::new(KeyId::from_random([1; 16]), 0)
    }

    fn hold(units: u64) -> Reservation {
        Reservation {
            window: 1,
            month: "2026-01".into(),
            parts: [(0, Units::new(units))].into(),
        }
    }

    #[test]
    fn reserve_settle_and_return() {
        let slice = Slice {
            window_units: Some(Units::new(10)),
            monthly_units: Some(Units::new(15)),
        };
        let mut m = meter();
        m.reserve(Units::new(6), &slice, 1, "2026-01").unwrap();
        assert_eq!(
            m.reserve(Units::new(5), &slice, 1, "2026-01"),
            Err(Exceeded::Window)
        );
        m.give_back(&hold(6));
        m.reserve(Units::new(10), &slice, 1, "2026-01").unwrap();
        m.settle(&hold(10));
        assert_eq!(
            m.month_tally("2026-01"),
            Tally {
                reserved: Units::ZERO,
                used: Units::new(10)
            }
        );
        assert_eq!(
            m.reserve(Units::new(6), &slice, 2, "2026-01"),
            Err(Exceeded::Month)
        );
        m.reserve(Units::new(10), &slice, 2, "2026-02").unwrap();
    }

    #[test]
    fn a_return_reaches_the_period_it_was_taken_from() {
        let slice = Slice {
            window_units: Some(Units::new(10)),
            monthly_units: None,
        };
        let mut m = meter();
        m.reserve(Units::new(10), &slice, 1, "2026-01").unwrap();
        m.reserve(Units::new(10), &slice, 2, "2026-02").unwrap();
        m.give_back(&hold(10));
        assert_eq!(
            m.window_tally(2).reserved,
            Units::new(10),
            "the new window keeps its own"
        );
        assert_eq!(m.month_tally("2026-01").reserved, Units::ZERO);
    }

    #[test]
    fn a_backlog_takes_turns_with_a_newcomer() {
        let (mut heavy, mut light) = (Lane::default(), Lane::default());
        let heavy_tags: Vec<u64> = (0..5).map(|_| heavy.enter(0, 10)).collect();
        assert_eq!(heavy_tags, [0, 10, 20, 30, 40]);
        assert_eq!(
            light.enter(10, 10),
            10,
            "goes in beside the job being served, not behind all"
        );
        (0..5).for_each(|_| heavy.leave());
        assert_eq!(
            heavy.enter(12, 10),
            12,
            "an empty backlog holds nothing against its key"
        );
    }

    proptest! {
        #[test]
        fn slices_add_up_to_the_limit(limit in 0u64..1_000_000, shards in 1u32..40) {
            let sum: u64 = (0..shards)
                .map(|s| Slice::of(Some(Units::new(limit)), None, s, shards).window_units.unwrap().get())
                .sum();
            prop_assert_eq!(sum, limit);
        }
    }
}
