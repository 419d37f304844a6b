//! From measurements to a report.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{
    Chaos, Correctness, Environment, FORMAT, Harness, Load, Point, Quantiles, Report, Summary,
};
use super::verdict::verdict;
use crate::books::{Totals, Violations};
use crate::chaos::Mark;
use crate::record::{Latency, Recorder, Recovery, Track};
use crate::scenario::{Arrivals, Scenario};
use crate::scrape::Points;

/// What a run leaves behind.
pub struct Ended<'a> {
    /// What was done.
    pub scenario: &'a Scenario,
    /// What was measured.
    pub recorder: &'a Recorder,
    /// When it began.
    pub started: String,
    /// Base address of the service.
    pub target: String,
    /// Stopped early.
    pub interrupted: bool,
    /// The service's gauges.
    pub gauges: BTreeMap<String, Points>,
    /// Disturbances.
    pub marks: Vec<Mark>,
    /// Sums.
    pub totals: Totals,
    /// Faults.
    pub violations: Violations,
    /// What could not be checked.
    pub unchecked: Vec<String>,
    /// Connections made.
    pub connections: u64,
    /// Processor time of the harness.
    pub cpu: Duration,
    /// From the first arrival to the last check.
    pub total: Duration,
}

/// Makes the report.
#[must_use]
pub fn build(ended: Ended<'_>) -> Report {
    let (scenario, recorder) = (ended.scenario, ended.recorder);
    let counted_s = (scenario.duration - scenario.warm_up).as_secs_f64();
    let part_s = recorder.part.as_secs_f64();
    let all = load("all", "all flows", "", &recorder.all, counted_s, part_s);
    let flows = scenario.flows.iter().zip(&recorder.flows);
    let flows: Vec<Load> = flows
        .map(|(flow, track)| {
            let closed = matches!(flow.arrivals, Arrivals::Closed { .. });
            let arrivals = if closed { "closed" } else { "open" };
            let kind = format!("{:?}", flow.kind).to_lowercase();
            load(&flow.name, &kind, arrivals, track, counted_s, part_s)
        })
        .collect();
    let verdicts: Vec<_> = scenario
        .thresholds
        .iter()
        .map(|threshold| {
            let mut flows = scenario.flows.iter().zip(&recorder.flows);
            let track = match flows.find(|(flow, _)| flow.name == threshold.flow) {
                Some((_, track)) => track,
                None => &recorder.all,
            };
            verdict(threshold, track, counted_s)
        })
        .collect();
    let chaos = chaos(&ended.marks, recorder, scenario.duration);
    let correct = ended.violations.is_empty();
    let disturbed = chaos.iter().all(|one| one.error.is_none());
    let held = verdicts.iter().all(|verdict| verdict.passed);
    let requests = recorder.requests.iter();
    Report {
        format: FORMAT,
        scenario: scenario.name.clone(),
        description: scenario.description.clone(),
        started: ended.started,
        target: ended.target,
        duration_s: scenario.duration.as_secs_f64(),
        warm_up_s: scenario.warm_up.as_secs_f64(),
        interrupted: ended.interrupted,
        passed: correct && held && disturbed && !ended.interrupted,
        verdicts,
        all,
        flows,
        requests: requests
            .map(|(name, one)| ((*name).to_owned(), quantiles(one)))
            .collect(),
        part_s,
        gauges: ended.gauges,
        chaos,
        correctness: Correctness {
            passed: correct,
            totals: ended.totals,
            violations: ended.violations,
            unchecked: ended.unchecked,
        },
        harness: Harness {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lateness: quantiles(&recorder.lateness),
            connections: ended.connections,
            cpu_s: ended.cpu.as_secs_f64(),
            total_s: ended.total.as_secs_f64(),
        },
        environment: Environment::here(),
    }
}

fn load(
    name: &str,
    kind: &str,
    arrivals: &str,
    track: &Track,
    counted_s: f64,
    part_s: f64,
) -> Load {
    let series = track.intervals.iter().enumerate();
    Load {
        name: name.to_owned(),
        kind: kind.to_owned(),
        arrivals: arrivals.to_owned(),
        summary: Summary {
            arrivals: track.arrivals(),
            ok: track.ok,
            errors: track.errors,
            unsent: track.unsent,
            error_rate: track.error_rate(),
            throughput: track.ok as f64 / counted_s,
            latency: quantiles(&track.latency),
        },
        outcomes: track.tallies.clone(),
        series: series
            .map(|(place, interval)| Point {
                at_s: place as f64 * part_s,
                ok: interval.ok,
                errors: interval.errors,
                unsent: interval.unsent,
                p50_s: interval.quantile_s(0.5),
                p95_s: interval.quantile_s(0.95),
                p99_s: interval.quantile_s(0.99),
                max_s: interval.quantile_s(1.0),
            })
            .collect(),
        distribution: distribution(&track.latency),
    }
}

/// Latency at shares that come ever closer to one, as far as there are measurements for it.
fn distribution(latency: &Latency) -> Vec<(f64, f64)> {
    let shares = (0..=50).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 10.0));
    let known = shares.take_while(|share| (1.0 - share) * latency.count() as f64 >= 1.0);
    known
        .map(|share| (share, latency.quantile_s(share)))
        .collect()
}

fn quantiles(latency: &Latency) -> Quantiles {
    Quantiles {
        count: latency.count(),
        mean_s: latency.mean_s(),
        p50_s: latency.quantile_s(0.5),
        p90_s: latency.quantile_s(0.9),
        p95_s: latency.quantile_s(0.95),
        p99_s: latency.quantile_s(0.99),
        p999_s: latency.quantile_s(0.999),
        max_s: latency.quantile_s(1.0),
    }
}

fn chaos(marks: &[Mark], recorder: &Recorder, end: Duration) -> Vec<Chaos> {
    let next = |place: usize| marks.get(place + 1).map_or(end, |next| next.began);
    let marks = marks.iter().enumerate();
    marks
        .map(|(place, mark)| {
            let recovery = recorder.health.recovery(mark.began, next(place));
            Chaos {
                label: mark.label.clone(),
                began_s: mark.began.as_secs_f64(),
                ended_s: mark.ended.as_secs_f64(),
                noticed: recovery != Recovery::Unnoticed,
                recovered_after_s: match recovery {
                    Recovery::After(time) => Some(time.as_secs_f64()),
                    Recovery::Unnoticed => Some(0.0),
                    Recovery::NotSeen => None,
                },
                error: mark.error.clone(),
            }
        })
        .collect()
}
