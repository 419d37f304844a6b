//! The page's tables.

use std::fmt::Write as _;
use std::time::Duration;

use super::escape::escape;
use crate::report::{Load, Quantiles, Report};
use crate::scenario::show_duration;

fn time(seconds: f64) -> String {
    show_duration(Duration::from_secs_f64(seconds))
}

fn badge(passed: bool) -> &'static str {
    match passed {
        true => "<span class=\"badge pass\">pass</span>",
        false => "<span class=\"badge fail\">fail</span>",
    }
}

/// The figures to see first.
pub(super) fn summary(out: &mut String, report: &Report) -> std::fmt::Result {
    let all = &report.all.summary;
    let cards = [
        (format!("{:.0}/s", all.throughput), "successes"),
        (time(all.latency.p50_s), "median latency"),
        (time(all.latency.p95_s), "95th percentile"),
        (time(all.latency.p99_s), "99th percentile"),
        (
            format!("{:.2} %", all.error_rate * 100.0),
            "errors and unsent",
        ),
        (all.unsent.to_string(), "never sent"),
    ];
    writeln!(out, "<section class=\"cards\">")?;
    for (figure, what) in cards {
        writeln!(out, "<div><b>{figure}</b><span>{what}</span></div>")?;
    }
    writeln!(out, "</section>")
}

/// Thresholds and what became of them.
pub(super) fn thresholds(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "<section><h2>Thresholds</h2><div class=\"scroll\"><table><tr><th>flow</th><th>condition</th>\
         <th class=\"n\">measured</th><th></th></tr>"
    )?;
    for verdict in &report.verdicts {
        writeln!(
            out,
            "<tr><td>{}</td><td><code>{}</code></td><td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&verdict.flow),
            escape(&verdict.condition),
            escape(&verdict.measured),
            badge(verdict.passed)
        )?;
    }
    writeln!(out, "</table></div></section>")
}

/// A large number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let groups = rest.as_bytes().chunks(3).map(String::from_utf8_lossy);
    let all: Vec<_> = (first > 0)
        .then(|| head.into())
        .into_iter()
        .chain(groups)
        .collect();
    all.join("\u{202f}")
}

/// What was sent against what the service says.
pub(super) fn correctness(out: &mut String, report: &Report) -> std::fmt::Result {
    let correctness = &report.correctness;
    let totals = &correctness.totals;
    let ends: Vec<String> = totals
        .ends
        .iter()
        .map(|(end, count)| format!("{count} {end}"))
        .collect();
    let rows = [
        ("answered at once", totals.answered.to_string()),
        ("jobs accepted", totals.accepted.to_string()),
        ("their ends", ends.join(", ")),
        ("refused or not arrived", totals.refused.to_string()),
        ("fate unknown to the client", totals.unknown.to_string()),
        ("units sent", grouped(totals.units_sent)),
        (
            "units charged",
            format!("{} in {} rows", grouped(totals.units_charged), totals.rows),
        ),
        (
            "callbacks",
            format!("{}, {} again", totals.callbacks, totals.callbacks_again),
        ),
    ];
    writeln!(
        out,
        "<section><h2>Correctness {}</h2><table>",
        badge(correctness.passed)
    )?;
    for (what, value) in rows {
        writeln!(
            out,
            "<tr><td>{what}</td><td class=\"n\">{}</td></tr>",
            escape(&value)
        )?;
    }
    for (kind, count) in &correctness.violations.counts {
        let kind = format!("{kind:?}");
        writeln!(
            out,
            "<tr class=\"bad\"><td>{kind}</td><td class=\"n\">{count}</td></tr>"
        )?;
    }
    writeln!(out, "</table>")?;
    if !correctness.violations.told.is_empty() {
        writeln!(out, "<details open><summary>Faults</summary><ul>")?;
        for told in &correctness.violations.told {
            writeln!(out, "<li>{}</li>", escape(told))?;
        }
        writeln!(out, "</ul></details>")?;
    }
    for unchecked in &correctness.unchecked {
        writeln!(
            out,
            "<p class=\"note\">Not checked: {}</p>",
            escape(unchecked)
        )?;
    }
    writeln!(out, "</section>")
}

/// Disturbances and recoveries.
pub(super) fn chaos(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.chaos.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section><h2>Chaos</h2><table><tr><th>what</th><th class=\"n\">began</th>\
         <th class=\"n\">lasted</th><th class=\"n\">well again after</th></tr>"
    )?;
    for chaos in &report.chaos {
        let recovery = match (&chaos.error, chaos.noticed, chaos.recovered_after_s) {
            (Some(error), _, _) => format!("not carried out: {error}"),
            (None, false, _) => "not noticed".to_owned(),
            (None, true, Some(after)) => time(after),
            (None, true, None) => "not seen".to_owned(),
        };
        writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:.1} s</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&chaos.label),
            chaos.began_s,
            time(chaos.ended_s - chaos.began_s),
            escape(&recovery)
        )?;
    }
    writeln!(
        out,
        "</table><p class=\"note\">From the beginning of the disturbance to the last arrival of it that \
         failed or was slower than the flow's loosest latency threshold.</p></section>"
    )
}

/// Every flow in numbers.
pub(super) fn flows(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        out,
        "<section><h2>Flows</h2><div class=\"scroll\"><table><tr><th>flow</th><th>kind</th>\
         <th>arrivals</th><th class=\"n\">ok</th><th class=\"n\">per s</th><th class=\"n\">errors</th>\
         <th class=\"n\">unsent</th><th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p95</th>\
         <th class=\"n\">p99</th><th class=\"n\">p99.9</th><th class=\"n\">max</th></tr>"
    )?;
    for load in report.flows.iter().chain([&report.all]) {
        flow(out, load)?;
    }
    writeln!(out, "</table></div>")?;
    if report.flows.iter().any(|load| load.arrivals == "closed") {
        writeln!(
            out,
            "<p class=\"warning\">Closed loops wait for each answer before they send again: they do \
             not show what clients would have suffered in a pause of the service.</p>"
        )?;
    }
    let errors = report.flows.iter().flat_map(|load| {
        let others = load.outcomes.iter().filter(|(label, _)| *label != "ok");
        others.map(|(label, count)| format!("{}: {count} × {label}", load.name))
    });
    let errors: Vec<String> = errors.collect();
    if !errors.is_empty() {
        writeln!(
            out,
            "<p class=\"note\">Errors: {}</p>",
            escape(&errors.join("; "))
        )?;
    }
    writeln!(out, "</section>")
}

fn flow(out: &mut String, load: &Load) -> std::fmt::Result {
    let summary = &load.summary;
    let class = if load.name == "all" {
        " class=\"sum\""
    } else {
        ""
    };
    writeln!(
        out,
        "<tr{class}><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td>{}</tr>",
        escape(&load.name),
        escape(&load.kind),
        escape(&load.arrivals),
        summary.ok,
        summary.throughput,
        summary.errors,
        summary.unsent,
        cells(&summary.latency)
    )
}

fn cells(latency: &Quantiles) -> String {
    let all = [
        latency.p50_s,
        latency.p90_s,
        latency.p95_s,
        latency.p99_s,
        latency.p999_s,
        latency.max_s,
    ];
    all.map(|seconds| format!("<td class=\"n\">{}</td>", time(seconds)))
        .concat()
}

/// Single requests.
pub(super) fn requests(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.requests.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<section><h2>Single requests</h2><p class=\"note\">From when they were really sent: the \
         service's own time, without the wait for a connection.</p><div class=\"scroll\"><table><tr>\
         <th>request</th><th class=\"n\">count</th><th class=\"n\">p50</th><th class=\"n\">p90</th>\
         <th class=\"n\">p95</th><th class=\"n\">p99</th><th class=\"n\">p99.9</th><th class=\"n\">max</th></tr>"
    )?;
    for (name, latency) in &report.requests {
        let (name, count) = (escape(name), latency.count);
        writeln!(
            out,
            "<tr><td>{name}</td><td class=\"n\">{count}</td>{}</tr>",
            cells(latency)
        )?;
    }
    writeln!(out, "</table></div></section>")
}

/// The harness itself.
pub(super) fn harness(out: &mut String, report: &Report) -> std::fmt::Result {
    let (harness, here) = (&report.harness, &report.environment);
    writeln!(
        out,
        "<section><h2>Harness</h2><p class=\"note\">Version {}, on {} × {} ({}). It sent {} later than \
         meant at the 99th percentile and {} at most, used {:.1} s of processor time in {:.1} s, and made \
         {} connections. Its own lateness is part of the latencies above.</p></section>",
        escape(&harness.version),
        here.processors,
        escape(&here.processor),
        escape(&here.system),
        time(harness.lateness.p99_s),
        time(harness.lateness.max_s),
        harness.cpu_s,
        harness.total_s,
        harness.connections
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn digits_are_grouped_from_the_right() {
        let shown = [7, 123, 1_234, 123_456, 12_345_678].map(super::grouped);
        let spaced = shown.map(|text| text.replace('\u{202f}', " "));
        assert_eq!(spaced, ["7", "123", "1 234", "123 456", "12 345 678"]);
    }
}
