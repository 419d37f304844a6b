//! Which plots there are.

use super::axis::{Axis, Unit};
use super::plot::{Band, Line, Plot};
use crate::report::{Load, Point, Report};

/// Appends all plots.
pub(super) fn all(out: &mut String, report: &Report) -> std::fmt::Result {
    latency(report).write(out)?;
    throughput(report).write(out)?;
    if report.flows.len() > 1 {
        by_flow(report).write(out)?;
    }
    distribution(report).write(out)?;
    let queues = gauges(report, |name| name.contains("queue_depth"));
    let ages = gauges(report, |name| name.contains("oldest_age"));
    let pools = gauges(report, |name| {
        let pool = ["_in_flight", "_pool_", "_in_use", "_waiting", "_permits"];
        pool.iter().any(|part| name.contains(part))
    });
    let memory = gauges(report, |name| name.ends_with("_bytes"));
    let plots = [
        (
            "Queue depth",
            "Jobs waiting or running, by queue",
            "jobs",
            Unit::Count,
            queues,
        ),
        (
            "Oldest job",
            "Age of the oldest job, by queue",
            "age",
            Unit::Time,
            ages,
        ),
        (
            "Pool use",
            "Work under way in the service and in the harness",
            "under way",
            Unit::Count,
            pools,
        ),
        (
            "Memory",
            "What the processes and their pools hold",
            "memory",
            Unit::Bytes,
            memory,
        ),
    ];
    for (title, note, label, unit, lines) in plots {
        if !lines.is_empty() {
            over_time(report, title, note, (label, unit), lines).write(out)?;
        }
    }
    Ok(())
}

fn bands(report: &Report) -> Vec<Band> {
    let chaos = report.chaos.iter();
    chaos
        .map(|chaos| Band {
            from: chaos.began_s,
            to: chaos.ended_s,
            label: chaos.label.clone(),
        })
        .collect()
}

fn over_time(
    report: &Report,
    title: &str,
    note: &str,
    (y_label, y_unit): (&'static str, Unit),
    lines: Vec<Line>,
) -> Plot {
    Plot {
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::exact(report.duration_s, Unit::Time),
        x_unit: Unit::Time,
        x_label: "time since the start",
        y: Axis::linear(values(&lines).fold(0.0, f64::max), y_unit),
        y_unit,
        y_label,
        lines,
        bands: bands(report),
        warm_up: report.warm_up_s,
    }
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    let points = lines.iter().flat_map(|line| &line.points);
    points.filter_map(|(_, y)| *y)
}

fn logarithmic(mut plot: Plot) -> Plot {
    let positive = || values(&plot.lines).filter(|value| *value > 0.0);
    let (least, most) = (
        positive().fold(f64::INFINITY, f64::min),
        positive().fold(0.0, f64::max),
    );
    plot.y = match least.is_finite() {
        true => Axis::logarithmic(least, most, Unit::Latency),
        false => Axis::logarithmic(0.001, 1.0, Unit::Latency),
    };
    plot
}

fn line(name: &str, load: &Load, value: impl Fn(&Point) -> Option<f64>) -> Line {
    Line {
        name: name.to_owned(),
        points: load
            .series
            .iter()
            .map(|point| (point.at_s, value(point)))
            .collect(),
        filled: false,
    }
}

fn latency(report: &Report) -> Plot {
    let all = &report.all;
    let lines = vec![
        line("p50", all, |point| point.p50_s),
        line("p95", all, |point| point.p95_s),
        line("p99", all, |point| point.p99_s),
        line("max", all, |point| point.max_s),
    ];
    let note = "All flows, from the time that requests were meant to be sent; logarithmic";
    logarithmic(over_time(
        report,
        "Latency",
        note,
        ("latency", Unit::Latency),
        lines,
    ))
}

fn by_flow(report: &Report) -> Plot {
    let flows = report.flows.iter();
    let lines = flows
        .map(|load| line(&load.name, load, |point| point.p95_s))
        .collect();
    let note =
        "95th percentile of each flow, to the last thing that its client waits for; logarithmic";
    logarithmic(over_time(
        report,
        "Latency by flow",
        note,
        ("p95", Unit::Latency),
        lines,
    ))
}

fn throughput(report: &Report) -> Plot {
    let rate = |count: u64| Some(count as f64 / report.part_s);
    let mut lines = vec![
        line("successes", &report.all, |point| rate(point.ok)),
        line("errors", &report.all, |point| rate(point.errors)),
        line("unsent", &report.all, |point| rate(point.unsent)),
    ];
    lines[0].filled = true;
    let note = "By the time that requests were meant to be sent";
    over_time(
        report,
        "Throughput",
        note,
        ("per second", Unit::Count),
        lines,
    )
}

fn distribution(report: &Report) -> Plot {
    let nines = |share: f64| -(1.0 - share).log10();
    let flows = report.flows.iter();
    let lines: Vec<Line> = flows
        .map(|load| {
            let points = load.distribution.iter();
            Line {
                name: load.name.clone(),
                points: points
                    .map(|(share, latency)| (nines(*share), Some(*latency)))
                    .collect(),
                filled: false,
            }
        })
        .collect();
    let points = lines.iter().flat_map(|line| &line.points);
    let most = points.map(|(x, _)| *x).fold(1.0, f64::max);
    let note = "How many of a flow's requests were faster; each step to the right is one more nine";
    let mut plot = over_time(
        report,
        "Distribution",
        note,
        ("latency", Unit::Latency),
        lines,
    );
    plot.x = Axis::exact(most.ceil(), Unit::Nines);
    plot.x_unit = Unit::Nines;
    plot.x_label = "share of requests";
    plot.bands.clear();
    plot.warm_up = 0.0;
    logarithmic(plot)
}

fn gauges(report: &Report, wanted: impl Fn(&str) -> bool) -> Vec<Line> {
    let series = report
        .gauges
        .iter()
        .filter(|(name, _)| wanted(name.split('{').next().unwrap_or(name)));
    series
        .map(|(name, points)| Line {
            name: short(name),
            points: points.iter().map(|(x, y)| (*x, Some(*y))).collect(),
            filled: false,
        })
        .collect()
}

/// A gauge's name without what all have in common; only the label of a labelled one.
fn short(name: &str) -> String {
    match name.split_once('{') {
        Some((_, labels)) => {
            let values = labels.split('"').skip(1).step_by(2);
            values.collect::<Vec<_>>().join(" ")
        }
        None => name.trim_start_matches("oscillink_").replace('_', " "),
    }
}
