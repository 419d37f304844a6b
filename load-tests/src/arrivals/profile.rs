//! Rates over time, and the arrivals that follow from them.

use std::time::Duration;

use crate::scenario::{Arrivals, Spacing};

/// A part of the run in which the rate changes linearly.
#[derive(Debug, Clone, Copy)]
struct Segment {
    start_s: f64,
    length_s: f64,
    from: f64,
    to: f64,
}

impl Segment {
    fn count(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length_s
    }

    /// When `count` arrivals of this segment have come, seconds from its start: the root of
    /// `from·t + slope/2·t² = count`, in the form that is stable for small slopes.
    fn time_of(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.length_s;
        let root = (self.from * self.from + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        2.0 * count / (self.from + root)
    }
}

/// Rates over a run.
#[derive(Debug, Clone)]
pub struct Profile {
    segments: Vec<Segment>,
}

impl Profile {
    /// The rates of a shape over a run of this length; none for a closed loop.
    #[must_use]
    pub fn of(arrivals: &Arrivals, duration: Duration) -> Option<Self> {
        let total = duration.as_secs_f64();
        let mut profile = Self {
            segments: Vec::new(),
        };
        match arrivals {
            Arrivals::Constant { rate } => profile.push(total, *rate, *rate),
            Arrivals::Ramp { from, to } => profile.push(total, *from, *to),
            Arrivals::Steps { rates } => {
                for rate in rates {
                    profile.push(total / rates.len() as f64, *rate, *rate);
                }
            }
            Arrivals::Spike {
                base,
                peak,
                at,
                length,
            } => {
                let (at, length) = (at.0.as_secs_f64(), length.0.as_secs_f64());
                profile.push(at, *base, *base);
                profile.push(length, *peak, *peak);
                profile.push(total - at - length, *base, *base);
            }
            Arrivals::Soak { rate, ramp } => {
                let ramp = ramp.0.as_secs_f64();
                profile.push(ramp, 0.0, *rate);
                profile.push(total - 2.0 * ramp, *rate, *rate);
                profile.push(ramp, *rate, 0.0);
            }
            Arrivals::Closed { .. } => return None,
        }
        Some(profile)
    }

    fn push(&mut self, length_s: f64, from: f64, to: f64) {
        let start_s = self
            .segments
            .last()
            .map_or(0.0, |last| last.start_s + last.length_s);
        if length_s > 0.0 {
            self.segments.push(Segment {
                start_s,
                length_s,
                from,
                to,
            });
        }
    }

    /// Arrivals that the whole run means to send, with regular spacing.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.segments.iter().map(Segment::count).sum()
    }

    /// The arrivals, in order, as times from the start.
    #[must_use]
    pub fn plan(&self, spacing: Spacing, seed: u64) -> Plan {
        Plan {
            segments: self.segments.clone(),
            place: 0,
            before: 0.0,
            target: 0.0,
            spacing,
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

/// The arrivals of a run, one after another.
#[derive(Debug, Clone)]
pub struct Plan {
    segments: Vec<Segment>,
    place: usize,
    /// Arrivals of the segments before `place`.
    before: f64,
    /// Where the next arrival is, in arrivals of the regular plan.
    target: f64,
    spacing: Spacing,
    random: fastrand::Rng,
}

impl Iterator for Plan {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.target += match self.spacing {
            Spacing::Even => 1.0,
            // Exponential distances make independent arrivals.
            Spacing::Poisson => -(1.0 - self.random.f64()).ln(),
        };
        loop {
            let segment = self.segments.get(self.place)?;
            let within = self.target - self.before;
            // Half a millionth of an arrival is rounding, not a missing arrival.
            if within <= segment.count() + 5e-7 {
                let time = segment.start_s + segment.time_of(within).min(segment.length_s);
                return Some(Duration::from_secs_f64(time));
            }
            self.before += segment.count();
            self.place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::parse_duration;

    fn plan(shape: &str, seconds: u64) -> Vec<f64> {
        let text = format!(
            "name = 'x'\nduration = '{seconds}s'\n[[flows]]\nname = 'f'\nkind = 'probe'\narrivals = {shape}"
        );
        let scenario = crate::scenario::Scenario::parse(&text).unwrap();
        let profile = Profile::of(&scenario.flows[0].arrivals, scenario.duration).unwrap();
        let plan: Vec<f64> = profile
            .plan(Spacing::Even, 0)
            .map(|time| time.as_secs_f64())
            .collect();
        assert_eq!(plan.len(), profile.expected().round() as usize, "{shape}");
        assert!(plan.windows(2).all(|pair| pair[0] <= pair[1]));
        plan
    }

    fn between(plan: &[f64], from: f64, to: f64) -> usize {
        plan.iter()
            .filter(|time| **time > from && **time <= to)
            .count()
    }

    #[test]
    fn a_constant_rate_is_regular() {
        let plan = plan("{ shape = 'constant', rate = 100 }", 10);
        assert_eq!(plan.len(), 1000);
        assert!((plan[249] - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_ramp_grows_linearly() {
        let plan = plan("{ shape = 'ramp', from = 0, to = 100 }", 10);
        assert_eq!(plan.len(), 500);
        assert_eq!(between(&plan, 0.0, 5.0), 125);
    }

    #[test]
    fn steps_and_spikes_change_at_once() {
        let steps = plan("{ shape = 'steps', rates = [10, 0, 30] }", 30);
        assert_eq!(
            [
                between(&steps, 0.0, 10.0),
                between(&steps, 10.0, 20.0),
                between(&steps, 20.0, 30.0)
            ],
            [100, 0, 300]
        );
        let spike = plan(
            "{ shape = 'spike', base = 10, peak = 500, at = '4s', length = '1s' }",
            10,
        );
        assert_eq!(between(&spike, 4.0, 5.0), 500);
        assert_eq!(between(&spike, 5.0, 10.0), 50);
    }

    #[test]
    fn a_soak_is_reached_and_left_slowly() {
        let plan = plan("{ shape = 'soak', rate = 100, ramp = '2s' }", 10);
        assert_eq!(between(&plan, 0.0, 2.0), 100);
        assert_eq!(between(&plan, 2.0, 8.0), 600);
        assert_eq!(between(&plan, 8.0, 10.0), 100);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_independent_clients() {
        let arrivals = Arrivals::Constant { rate: 1000.0 };
        let profile = Profile::of(&arrivals, parse_duration("100s").unwrap()).unwrap();
        let times: Vec<f64> = profile
            .plan(Spacing::Poisson, 1)
            .map(|time| time.as_secs_f64())
            .collect();
        assert!((times.len() as f64 - 1e5).abs() < 1.5e3, "{}", times.len());
        // For exponential distances the standard deviation equals the mean.
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05);
    }
}
