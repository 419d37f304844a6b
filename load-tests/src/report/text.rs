//! The report for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Load, Report};
use crate::scenario::show_duration;

/// Some dozens of lines.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    write_all(&mut out, report).expect("writing to a string does not fail");
    out
}

fn time(seconds: f64) -> String {
    show_duration(Duration::from_secs_f64(seconds))
}

fn mark(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}

fn write_all(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "{:<14}{:>9}{:>9}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}",
        "flow", "ok", "per s", "errors", "unsent", "p50", "p95", "p99", "max"
    )?;
    for load in report.flows.iter().chain([&report.all]) {
        write_load(out, load)?;
    }
    for load in &report.flows {
        for (label, count) in load.outcomes.iter().filter(|(label, _)| *label != "ok") {
            writeln!(out, "  {}: {count} x {label}", load.name)?;
        }
    }
    let closed = report.flows.iter().any(|load| load.arrivals == "closed");
    if closed {
        writeln!(
            out,
            "closed loops wait for answers: they do not show pauses of the service"
        )?;
    }
    writeln!(
        out,
        "the harness sent {} late at most, {} at the 99th percentile, and used {:.1} s of processor time",
        time(report.harness.lateness.max_s),
        time(report.harness.lateness.p99_s),
        report.harness.cpu_s
    )?;
    for chaos in &report.chaos {
        let recovery = match (&chaos.error, chaos.noticed, chaos.recovered_after_s) {
            (Some(error), _, _) => format!("FAILED: {error}"),
            (None, false, _) => "not noticed".to_owned(),
            (None, true, Some(after)) => format!("recovered after {}", time(after)),
            (None, true, None) => "no recovery seen".to_owned(),
        };
        writeln!(
            out,
            "chaos at {:.1} s: {}: {recovery}",
            chaos.began_s, chaos.label
        )?;
    }
    write_correctness(out, report)?;
    for verdict in &report.verdicts {
        let (flow, condition) = (&verdict.flow, &verdict.condition);
        writeln!(
            out,
            "{} {flow} {condition}: {}",
            mark(verdict.passed),
            verdict.measured
        )?;
    }
    Ok(())
}

fn write_load(out: &mut String, load: &Load) -> std::fmt::Result {
    let summary = &load.summary;
    writeln!(
        out,
        "{:<14}{:>9}{:>9.1}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}",
        load.name,
        summary.ok,
        summary.throughput,
        summary.errors,
        summary.unsent,
        time(summary.latency.p50_s),
        time(summary.latency.p95_s),
        time(summary.latency.p99_s),
        time(summary.latency.max_s)
    )
}

fn write_correctness(out: &mut String, report: &Report) -> std::fmt::Result {
    let correctness = &report.correctness;
    let totals = &correctness.totals;
    writeln!(
        out,
        "{} correctness: {} answers and {} jobs {:?}; {} units sent, {} charged in {} rows; {} callbacks",
        mark(correctness.passed),
        totals.answered,
        totals.accepted,
        totals.ends,
        totals.units_sent,
        totals.units_charged,
        totals.rows,
        totals.callbacks
    )?;
    for (kind, count) in &correctness.violations.counts {
        writeln!(out, "  {kind:?}: {count}")?;
    }
    for told in correctness.violations.told.iter().take(10) {
        writeln!(out, "  {told}")?;
    }
    for unchecked in &correctness.unchecked {
        writeln!(out, "  not checked: {unchecked}")?;
    }
    Ok(())
}
