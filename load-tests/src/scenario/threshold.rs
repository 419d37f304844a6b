//! What must hold at the end of a run, written as in k6: `p95<250ms`, `error_rate<1%`.

use std::fmt;

use super::parse_duration;

/// A condition on one flow, or on all together.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The flow's name, or `all`.
    pub flow: String,
    /// What is measured.
    pub metric: Metric,
    /// How it compares.
    pub comparison: Comparison,
    /// With what: seconds, a share of one, arrivals a second or a number.
    pub limit: f64,
    /// As it was written.
    pub text: String,
}

/// What a threshold looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// A percentile of latency from the intended time; `1.0` is the largest.
    Latency(f64),
    /// Mean latency.
    Mean,
    /// Share of arrivals that ended in an error, unsent ones among them.
    ErrorRate,
    /// Successes a second.
    Throughput,
    /// Arrivals that were never sent.
    Unsent,
}

/// Direction of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Does `measured` meet the limit?
    #[must_use]
    pub fn holds(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Below => measured < limit,
            Self::AtMost => measured <= limit,
            Self::Above => measured > limit,
            Self::AtLeast => measured >= limit,
        }
    }
}

impl Metric {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "mean" => Self::Mean,
            "max" => Self::Latency(1.0),
            "error_rate" => Self::ErrorRate,
            "throughput" => Self::Throughput,
            "unsent" => Self::Unsent,
            _ => {
                let percentile: f64 = name.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percentile).then_some(())?;
                Self::Latency(percentile / 100.0)
            }
        })
    }

    fn parse_limit(self, text: &str) -> Result<f64, String> {
        let number = |text: &str| {
            let number: f64 = text
                .trim()
                .parse()
                .map_err(|_| format!("{text:?} is no number"))?;
            if number.is_finite() && number >= 0.0 {
                Ok(number)
            } else {
                Err(format!("{text:?} is out of range"))
            }
        };
        match self {
            Self::Latency(_) | Self::Mean => parse_duration(text).map(|time| time.as_secs_f64()),
            Self::ErrorRate => match text.strip_suffix('%') {
                Some(percent) => number(percent).map(|percent| percent / 100.0),
                None => number(text),
            },
            Self::Throughput => number(text.strip_suffix("/s").unwrap_or(text)),
            Self::Unsent => number(text),
        }
    }
}

impl Threshold {
    /// Reads `metric op limit` for a flow.
    pub(super) fn parse(flow: &str, text: &str) -> Result<Self, String> {
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let at = compact
            .find(['<', '>'])
            .ok_or_else(|| format!("{text:?} compares nothing: write p95<250ms"))?;
        let (name, rest) = compact.split_at(at);
        let (comparison, limit) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(limit), _) => (Comparison::AtMost, limit),
            (_, Some(limit)) => (Comparison::AtLeast, limit),
            _ if rest.starts_with('<') => (Comparison::Below, &rest[1..]),
            _ => (Comparison::Above, &rest[1..]),
        };
        let metric = Metric::parse(name).ok_or_else(|| {
            format!("{name:?} is no metric: p50, p95, p99.9, max, mean, error_rate, throughput or unsent")
        })?;
        Ok(Self {
            flow: flow.to_owned(),
            metric,
            comparison,
            limit: metric.parse_limit(limit)?,
            text: compact,
        })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.flow, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_k6_writes_them() {
        let threshold = Threshold::parse("inline", "p99.9 <= 1.5s").unwrap();
        let Metric::Latency(share) = threshold.metric else {
            panic!("a percentile");
        };
        assert!((share - 0.999).abs() < 1e-12);
        assert_eq!(threshold.comparison, Comparison::AtMost);
        assert!((threshold.limit - 1.5).abs() < 1e-12);
        let errors = Threshold::parse("all", "error_rate<1%").unwrap();
        assert!((errors.limit - 0.01).abs() < 1e-12);
        let throughput = Threshold::parse("all", "throughput>20/s").unwrap();
        assert!(throughput.comparison.holds(20.1, throughput.limit));
        assert!(!throughput.comparison.holds(20.0, throughput.limit));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "p95",
            "p101<1s",
            "speed>3",
            "p95<5",
            "error_rate<x%",
            "unsent<NaN",
        ] {
            assert!(Threshold::parse("all", text).is_err(), "{text}");
        }
    }
}
