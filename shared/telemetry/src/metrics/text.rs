//! Metrics as text, in the form that the scraper asks for.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of the text that a scraper with this `Accept` gets.
#[must_use]
pub fn media_type(accept: Option<&str>) -> &'static str {
    match accept {
        Some(accept) if accept.contains("application/openmetrics-text") => OPEN_METRICS,
        _ => PROMETHEUS,
    }
}

pub(super) fn encode(registry: &Registry, accept: Option<&str>) -> Result<String, fmt::Error> {
    let mut open_metrics = String::new();
    text::encode(&mut open_metrics, registry)?;
    if media_type(accept) == OPEN_METRICS {
        return Ok(open_metrics);
    }
    prometheus(&open_metrics)
}

/// OpenMetrics as the text that Prometheus had before: a counter's family has its samples' name,
/// and there are neither units nor exemplars.
fn prometheus(open_metrics: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').ok_or(fmt::Error)?;
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, text)) = help.take().filter(|(described, _)| *described == name) {
                writeln!(out, "# HELP {name}{suffix} {text}")?;
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            let sample = line.split_once(" # {").map_or(line, |(sample, _)| sample);
            writeln!(out, "{sample}")?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_text_has_counters_under_their_samples_names_and_no_exemplars() {
        let old = prometheus(
            "# HELP a_jobs Jobs.\n# TYPE a_jobs counter\na_jobs_total{kind=\"x\"} 1\n\
             # HELP a_time_seconds Time.\n# TYPE a_time_seconds histogram\n# UNIT a_time_seconds seconds\n\
             a_time_seconds_bucket{le=\"1.0\"} 1 # {trace_id=\"ab\"} 0.5 17\n\
             # HELP a_build The program.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n# EOF\n",
        );
        assert_eq!(
            old.unwrap(),
            "# HELP a_jobs_total Jobs.\n# TYPE a_jobs_total counter\na_jobs_total{kind=\"x\"} 1\n\
             # HELP a_time_seconds Time.\n# TYPE a_time_seconds histogram\n\
             a_time_seconds_bucket{le=\"1.0\"} 1\n\
             # HELP a_build_info The program.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n"
        );
        let accepted = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        assert_eq!(media_type(Some(accepted)), OPEN_METRICS);
        assert_eq!(media_type(Some("*/*")), PROMETHEUS);
    }
}
