//! Takes every measurement of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Health, Latency, Outcome, Track};
use crate::scenario::{Metric, Scenario};

/// Parts that a run is shown in, about.
const PARTS: u32 = 240;
/// Latency that is "not recovered" where no threshold says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(1);

/// All measurements.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// By flow, in the scenario's order.
    pub flows: Vec<Track>,
    /// All flows together.
    pub all: Track,
    /// Single requests by name, from when they were really sent.
    pub requests: BTreeMap<&'static str, Latency>,
    /// How much later than meant the harness sent: its own lateness, not the server's.
    pub lateness: Latency,
    /// Errors and slow answers in fine steps, for recovery times.
    pub health: Health,
    /// Length of the parts in [`Track::intervals`].
    pub part: Duration,
    warm_up: Duration,
    limits: Vec<Duration>,
}

impl Recorder {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let part_s = (scenario.duration.as_secs_f64() / f64::from(PARTS)).ceil();
        let part = Duration::from_secs_f64(part_s.max(1.0));
        Self {
            flows: vec![Track::default(); scenario.flows.len()],
            all: Track::default(),
            requests: BTreeMap::new(),
            lateness: Latency::default(),
            health: Health::default(),
            part,
            warm_up: scenario.warm_up,
            limits: limits(scenario),
        }
    }

    /// The part of the run; its end belongs to it. So the last of evenly spaced arrivals, which comes at
    /// the very end, is in the last part.
    fn place(&self, intended: Duration) -> usize {
        (intended.as_nanos().saturating_sub(1) / self.part.as_nanos()) as usize
    }

    /// An arrival has ended. `intended` is when it was meant to be sent, from the run's start.
    pub fn done(&mut self, flow: usize, intended: Duration, latency: Duration, outcome: &Outcome) {
        let (place, warm) = (self.place(intended), intended < self.warm_up);
        self.flows[flow].done(place, warm, latency, outcome);
        self.all.done(place, warm, latency, outcome);
        let good = *outcome == Outcome::Ok && latency <= self.limits[flow];
        self.health.add(intended, good);
    }

    /// An arrival was not sent.
    pub fn not_sent(&mut self, flow: usize, intended: Duration) {
        let (place, warm) = (self.place(intended), intended < self.warm_up);
        self.flows[flow].not_sent(place, warm);
        self.all.not_sent(place, warm);
        self.health.add(intended, false);
    }

    /// A single request has been answered.
    pub fn request(&mut self, name: &'static str, latency: Duration) {
        self.requests.entry(name).or_default().record(latency);
    }
}

/// What counts as slow, for each flow: its loosest latency threshold.
fn limits(scenario: &Scenario) -> Vec<Duration> {
    let of_flow = |name: &str| {
        let thresholds = scenario.thresholds.iter();
        let limits = thresholds.filter_map(|threshold| match threshold.metric {
            Metric::Latency(_) if threshold.flow == name => Some(threshold.limit),
            _ => None,
        });
        limits.reduce(f64::max).map(Duration::from_secs_f64)
    };
    let all = of_flow("all");
    let flows = scenario.flows.iter();
    flows
        .map(|flow| of_flow(&flow.name).or(all).unwrap_or(DEFAULT_LIMIT))
        .collect()
}
