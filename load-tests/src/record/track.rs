//! The measurements of one flow, or of all together.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Outcome;

/// Longest latency that is told apart, ns: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
const GROWS: &str = "a histogram that resizes itself takes any value";
/// Different names of errors; beyond that they are counted together.
const MAX_TALLIES: usize = 32;

/// A histogram of latencies with three exact digits.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(with_digits(3))
    }
}

fn with_digits<T: hdrhistogram::Counter>(digits: u8) -> Histogram<T> {
    let mut histogram = Histogram::new(digits).expect("up to five digits are supported");
    histogram.auto(true);
    histogram
}

impl Latency {
    /// Adds a latency; above an hour it counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST_NS);
        self.0.record(ns.min(LONGEST_NS)).expect(GROWS);
    }

    /// Latency below which this share of all lies, seconds.
    #[must_use]
    pub fn quantile_s(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e9
    }

    /// Mean, seconds.
    #[must_use]
    pub fn mean_s(&self) -> f64 {
        self.0.mean() / 1e9
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

/// A part of the run.
#[derive(Debug, Clone)]
pub struct Interval {
    latency_us: Histogram<u32>,
    /// Successes.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Arrivals that were not sent.
    pub unsent: u64,
}

impl Default for Interval {
    fn default() -> Self {
        Self {
            latency_us: with_digits(2),
            ok: 0,
            errors: 0,
            unsent: 0,
        }
    }
}

impl Interval {
    /// Latency below which this share lies, seconds; none without a latency.
    #[must_use]
    pub fn quantile_s(&self, share: f64) -> Option<f64> {
        let seconds = || self.latency_us.value_at_quantile(share) as f64 / 1e6;
        (!self.latency_us.is_empty()).then(seconds)
    }
}

/// Measurements of one flow. Latencies, rates and tallies leave the warm-up out; intervals and the
/// numbers of arrivals have all.
#[derive(Debug, Clone, Default)]
pub struct Track {
    /// Latencies of successes, and of waits that ended without an answer.
    pub latency: Latency,
    /// The run in equal parts, by the time that arrivals were meant to be sent.
    pub intervals: Vec<Interval>,
    /// Outcomes by name.
    pub tallies: BTreeMap<String, u64>,
    /// Successes.
    pub ok: u64,
    /// Errors.
    pub errors: u64,
    /// Arrivals that were not sent because too many were under way.
    pub unsent: u64,
    /// Arrivals of the warm-up.
    pub warm_up: u64,
}

impl Track {
    pub(super) fn interval(&mut self, place: usize) -> &mut Interval {
        if self.intervals.len() <= place {
            self.intervals.resize_with(place + 1, Interval::default);
        }
        &mut self.intervals[place]
    }

    pub(super) fn done(&mut self, place: usize, warm: bool, latency: Duration, outcome: &Outcome) {
        let ok = *outcome == Outcome::Ok;
        let timed = ok || *outcome == Outcome::Timeout;
        let interval = self.interval(place);
        if ok {
            interval.ok += 1;
        } else {
            interval.errors += 1;
        }
        if timed {
            let us = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_NS / 1000);
            // Not `saturating_record`: that one does not grow, and a young histogram knows 2 µs at most.
            let grown = interval.latency_us.record(us.min(LONGEST_NS / 1000));
            grown.expect(GROWS);
        }
        if warm {
            self.warm_up += 1;
            return;
        }
        if timed {
            self.latency.record(latency);
        }
        if ok {
            self.ok += 1;
        } else {
            self.errors += 1;
        }
        self.tally(outcome.label());
    }

    pub(super) fn not_sent(&mut self, place: usize, warm: bool) {
        self.interval(place).unsent += 1;
        if warm {
            self.warm_up += 1;
        } else {
            self.unsent += 1;
        }
    }

    fn tally(&mut self, label: &str) {
        if let Some(count) = self.tallies.get_mut(label) {
            *count += 1;
        } else {
            let name = if self.tallies.len() < MAX_TALLIES {
                label
            } else {
                "others"
            };
            *self.tallies.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Arrivals that count: all but those of the warm-up.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.ok + self.errors + self.unsent
    }

    /// Share of arrivals that ended badly, unsent ones among them.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        let bad = self.errors + self.unsent;
        bad as f64 / self.arrivals().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_run_has_its_own_latencies() {
        let mut track = Track::default();
        for (place, ms) in [(0, 5), (0, 7), (2, 3_000)] {
            track.done(place, false, Duration::from_millis(ms), &Outcome::Ok);
        }
        let near = |place: usize, wanted: f64| {
            let found = track.intervals[place].quantile_s(1.0).unwrap();
            assert!((found / wanted - 1.0).abs() < 0.01, "{found} {wanted}");
        };
        near(0, 0.007);
        near(2, 3.0);
        assert_eq!(track.intervals[1].quantile_s(0.5), None);
    }
}
