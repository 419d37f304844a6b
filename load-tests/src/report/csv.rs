//! One line for each flow and part of the run.

use std::fmt::Write as _;

use super::{Load, Report};

/// The series of all flows as a table. Empty cells: no latency in that part.
#[must_use]
pub fn csv(report: &Report) -> String {
    let mut text = "flow,at_s,ok,errors,unsent,p50_s,p95_s,p99_s,max_s\n".to_owned();
    for load in report.flows.iter().chain([&report.all]) {
        lines(&mut text, load);
    }
    text
}

fn lines(text: &mut String, load: &Load) {
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for point in &load.series {
        let line = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{}",
            load.name,
            point.at_s,
            point.ok,
            point.errors,
            point.unsent,
            cell(point.p50_s),
            cell(point.p95_s),
            cell(point.p99_s),
            cell(point.max_s)
        );
        line.expect("writing to a string does not fail");
    }
}
