//! What a key has used: its meters added up, and its ledger.

use oscillink_domain::quota::{Meter, Slice, Tally, window_of};
use oscillink_domain::{KeyId, LedgerRow, Limits, Timestamp, Units};
use oscillink_ports::{Collection, Cursor, DocKey, Op, PortError, Query, Snapshot, StoreExt};

use crate::Engine;
use crate::jobs::Page;

/// One period of the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodUsage {
    /// The limit; `None` is unlimited.
    pub limit: Option<Units>,
    /// Reserved and used.
    pub tally: Tally,
    /// When the period ends.
    pub resets_at: Timestamp,
}

impl PeriodUsage {
    /// What is left; `None` is unlimited.
    #[must_use]
    pub fn remaining(&self) -> Option<Units> {
        self.limit.map(|limit| limit.minus(self.tally.total()))
    }
}

/// A key's quota at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageView {
    /// The quota window.
    pub window: PeriodUsage,
    /// The calendar month (UTC).
    pub month: PeriodUsage,
    /// The month's name, `YYYY-MM`.
    pub period: String,
    /// Jobs accepted and not ended.
    pub live_jobs: u64,
}

/// The periods that `now` lies in.
pub(crate) struct Periods {
    pub window: i64,
    pub window_end: Timestamp,
    pub month: String,
}

impl Engine {
    pub(crate) fn periods(&self, now: Timestamp) -> Periods {
        let (window, window_end) = window_of(now, self.config().window_ms);
        Periods {
            window,
            window_end,
            month: now.month(),
        }
    }

    /// The key's quota now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn usage(&self, key_id: &KeyId, limits: &Limits) -> Result<UsageView, PortError> {
        let mut meters = Vec::new();
        for shard in 0..self.config().quota_shards.max(1) {
            meters.extend(
                self.store()
                    .fetch::<Meter>(&meter_key(key_id, shard))
                    .await?,
            );
        }
        Ok(self.usage_view(&meters, limits, &self.periods(self.now())))
    }

    /// The key's quota if these are all of its meters.
    pub(crate) fn whole_view(
        &self,
        meters: &[Meter],
        limits: &Limits,
        now: Timestamp,
    ) -> Option<UsageView> {
        (meters.len() == self.config().quota_shards.max(1) as usize)
            .then(|| self.usage_view(meters, limits, &self.periods(now)))
    }

    pub(crate) fn usage_view(
        &self,
        meters: &[Meter],
        limits: &Limits,
        periods: &Periods,
    ) -> UsageView {
        let add = |tallies: &mut dyn Iterator<Item = Tally>| {
            tallies.fold(Tally::default(), |a, b| Tally {
                reserved: a.reserved.plus(b.reserved),
                used: a.used.plus(b.used),
            })
        };
        UsageView {
            window: PeriodUsage {
                limit: limits.window_units,
                tally: add(&mut meters.iter().map(|m| m.window_tally(periods.window))),
                resets_at: periods.window_end,
            },
            month: PeriodUsage {
                limit: limits.monthly_units,
                tally: add(&mut meters.iter().map(|m| m.month_tally(&periods.month))),
                resets_at: month_end(&periods.month),
            },
            period: periods.month.clone(),
            live_jobs: meters
                .iter()
                .flat_map(|m| m.lanes.values())
                .map(|lane| lane.live_jobs)
                .sum(),
        }
    }

    /// The key's ledger, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn ledger(
        &self,
        key_id: &KeyId,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<LedgerRow>, PortError> {
        let query = Query::new(Collection::UsageLedger, "ts", limit)
            .filter("key_id", Op::Eq, key_id.as_str())
            .descending()
            .after(after);
        Page::parse(self.store().query(&query).await?)
    }
}

/// Address of a meter.
pub(crate) fn meter_key(key_id: &KeyId, shard: u32) -> DocKey {
    DocKey::new(Collection::Quota, format!("{key_id}.{shard}"))
}

/// A meter as a transaction read it, fresh if there is none yet.
pub(crate) fn meter_in(
    snapshot: &Snapshot,
    key_id: &KeyId,
    shard: u32,
) -> Result<Meter, PortError> {
    Ok(snapshot
        .get(&meter_key(key_id, shard))?
        .unwrap_or_else(|| Meter::new(key_id.clone(), shard)))
}

/// The slice of the limits that belongs to a shard.
pub(crate) fn slice_of(limits: &Limits, shard: u32, shards: u32) -> Slice {
    Slice::of(limits.window_units, limits.monthly_units, shard, shards)
}

/// The first moment of the month after `month` (`YYYY-MM`).
fn month_end(month: &str) -> Timestamp {
    let (year, number) = month.split_once('-').unwrap_or(("1970", "01"));
    let year: i32 = year.parse().unwrap_or(1970);
    let number: u32 = number.parse().unwrap_or(1);
    let (year, number) = if number >= 12 {
        (year + 1, 1)
    } else {
        (year, number + 1)
    };
    Timestamp::parse_rfc3339(&format!("{year:04}-{number:02}-01T00:00:00Z"))
        .unwrap_or(Timestamp::FAR_FUTURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_end_where_the_next_begins() {
        assert_eq!(month_end("2026-12").to_string(), "2027-01-01T00:00:00.000Z");
        assert_eq!(month_end("2026-02").to_string(), "2026-03-01T00:00:00.000Z");
    }
}
