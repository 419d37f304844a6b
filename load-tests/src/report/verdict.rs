//! Thresholds against measurements.

use std::time::Duration;

use super::Verdict;
use crate::record::Track;
use crate::scenario::{Metric, Threshold, show_duration};

/// Judges a threshold.
pub(super) fn verdict(threshold: &Threshold, track: &Track, counted_s: f64) -> Verdict {
    let measured = match threshold.metric {
        Metric::Latency(share) => track.latency.quantile_s(share),
        Metric::Mean => track.latency.mean_s(),
        Metric::ErrorRate => track.error_rate(),
        Metric::Throughput => track.ok as f64 / counted_s,
        Metric::Unsent => track.unsent as f64,
    };
    // A latency without a single measurement is no success.
    let is_latency = matches!(threshold.metric, Metric::Latency(_) | Metric::Mean);
    let none = is_latency && track.latency.count() == 0;
    Verdict {
        flow: threshold.flow.clone(),
        condition: threshold.text.clone(),
        measured: match threshold.metric {
            _ if none => "nothing".to_owned(),
            Metric::ErrorRate => format!("{:.3} %", measured * 100.0),
            Metric::Throughput => format!("{measured:.1}/s"),
            Metric::Unsent => format!("{measured}"),
            _ => show_duration(Duration::from_secs_f64(measured)),
        },
        passed: !none && threshold.comparison.holds(measured, threshold.limit),
    }
}
