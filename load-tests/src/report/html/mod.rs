//! The report as one HTML file: styles, plots and the little script are inside, and its content
//! security policy forbids it to ask for anything.

mod axis;
mod escape;
mod plot;
mod plots;
mod tables;

use std::fmt::Write as _;

use super::Report;
use escape::escape;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("hover.js");

/// Writes the page.
#[must_use]
pub fn html(report: &Report) -> String {
    let mut out = String::new();
    page(&mut out, report).expect("writing to a string does not fail");
    out
}

fn page(out: &mut String, report: &Report) -> std::fmt::Result {
    let name = escape(&report.scenario);
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{name} – load report</title>\n\
         <style>{STYLE}</style></head><body>"
    )?;
    header(out, report)?;
    writeln!(out, "<main>")?;
    tables::summary(out, report)?;
    writeln!(out, "<div class=\"columns\">")?;
    tables::thresholds(out, report)?;
    tables::correctness(out, report)?;
    writeln!(out, "</div>")?;
    tables::chaos(out, report)?;
    tables::flows(out, report)?;
    writeln!(out, "<div class=\"plots\">")?;
    plots::all(out, report)?;
    writeln!(out, "</div>")?;
    tables::requests(out, report)?;
    tables::harness(out, report)?;
    writeln!(out, "</main><script>{SCRIPT}</script></body></html>")
}

fn header(out: &mut String, report: &Report) -> std::fmt::Result {
    let (class, word) = match (report.passed, report.correctness.passed) {
        (true, _) => ("pass", "passed"),
        (false, true) => ("fail", "failed"),
        (false, false) => ("fail", "incorrect"),
    };
    writeln!(
        out,
        "<header><div><h1>{}<span class=\"badge {class}\">{word}</span></h1><p>{}</p></div>\
         <dl><div><dt>started</dt><dd>{}</dd></div><div><dt>service</dt><dd>{}</dd></div>\
         <div><dt>length</dt><dd>{} s, the first {} s not counted</dd></div></dl>\
         <button id=\"theme\" title=\"dark or light\">◐</button></header>",
        escape(&report.scenario),
        escape(&report.description),
        escape(report.started.split('.').next().unwrap_or_default()),
        escape(&report.target),
        report.duration_s,
        report.warm_up_s
    )?;
    if report.interrupted {
        writeln!(out, "<p class=\"warning\">Interrupted before its end.</p>")?;
    }
    Ok(())
}
