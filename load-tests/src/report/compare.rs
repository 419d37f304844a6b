//! Two reports side by side.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Load, Report};
use crate::scenario::show_duration;

/// A figure in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Flow.
    pub flow: String,
    /// What.
    pub metric: &'static str,
    /// In the first report.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// Is more of it better?
    pub more_is_better: bool,
}

impl Change {
    /// How much worse it has become, as a share of what it was; negative is better.
    #[must_use]
    pub fn worse(&self) -> f64 {
        if self.before == 0.0 {
            return if self.after > 0.0 && !self.more_is_better {
                f64::INFINITY
            } else {
                0.0
            };
        }
        let change = self.after / self.before - 1.0;
        if self.more_is_better { -change } else { change }
    }
}

/// All figures that both reports have.
#[derive(Debug, Clone)]
pub struct Comparison {
    changes: Vec<Change>,
    notes: Vec<String>,
}

/// Compares flow by flow.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let mut notes = Vec::new();
    if before.scenario != after.scenario {
        let (one, other) = (&before.scenario, &after.scenario);
        notes.push(format!("different scenarios: {one} and {other}"));
    }
    if before.environment.processor != after.environment.processor {
        notes.push("different machines".to_owned());
    }
    let loads = |report: &Report| -> Vec<Load> {
        report.flows.iter().chain([&report.all]).cloned().collect()
    };
    let others = loads(after);
    let mut changes = Vec::new();
    for load in loads(before) {
        match others.iter().find(|other| other.name == load.name) {
            Some(other) => changes.extend(changes_of(&load, other)),
            None => notes.push(format!("{} is only in the first", load.name)),
        }
    }
    Comparison { changes, notes }
}

fn changes_of(before: &Load, after: &Load) -> Vec<Change> {
    let (one, other) = (&before.summary, &after.summary);
    let (a, b) = (&one.latency, &other.latency);
    let figures = [
        ("throughput", one.throughput, other.throughput),
        ("error rate", one.error_rate, other.error_rate),
        ("p50", a.p50_s, b.p50_s),
        ("p95", a.p95_s, b.p95_s),
        ("p99", a.p99_s, b.p99_s),
    ];
    figures
        .into_iter()
        .map(|(metric, before_value, after_value)| Change {
            flow: before.name.clone(),
            metric,
            before: before_value,
            after: after_value,
            more_is_better: metric == "throughput",
        })
        .collect()
}

impl Comparison {
    /// The largest change for the worse, as a share; 0 when nothing is worse.
    #[must_use]
    pub fn worst(&self) -> f64 {
        self.changes.iter().map(Change::worse).fold(0.0, f64::max)
    }

    /// A table for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out)
            .expect("writing to a string does not fail");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        let columns = ("flow", "figure", "before", "after", "change");
        let (flow, figure, before, after, change) = columns;
        writeln!(
            out,
            "{flow:<14}{figure:<12}{before:>12}{after:>12}{change:>10}"
        )?;
        for change in &self.changes {
            let shown = |value: f64| match change.metric {
                "throughput" => format!("{value:.1}/s"),
                "error rate" => format!("{:.3} %", value * 100.0),
                _ => show_duration(Duration::from_secs_f64(value)),
            };
            let sign = if change.more_is_better { -1.0 } else { 1.0 };
            let percent = match change.worse() * sign * 100.0 {
                much if much.is_infinite() => "new".to_owned(),
                percent => format!("{percent:+.1} %"),
            };
            writeln!(
                out,
                "{:<14}{:<12}{:>12}{:>12}{percent:>10}",
                change.flow,
                change.metric,
                shown(change.before),
                shown(change.after)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(more_is_better: bool, before: f64, after: f64) -> f64 {
        let change = Change {
            flow: "f".to_owned(),
            metric: "p95",
            before,
            after,
            more_is_better,
        };
        change.worse()
    }

    #[test]
    fn worse_is_slower_or_less() {
        assert!((change(false, 1.0, 1.5) - 0.5).abs() < 1e-12);
        assert!((change(true, 100.0, 80.0) - 0.2).abs() < 1e-12);
        assert!(change(false, 1.0, 0.5) < 0.0);
        assert!(change(false, 0.0, 0.1).is_infinite());
    }
}
