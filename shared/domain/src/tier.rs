//! Tiers: what a key may do, as one table in code, each entry overridable per key.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::Units;

/// The plan that a key is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// No charge; small jobs, no diffusion.
    Free,
    /// As free, with a larger monthly cap.
    Beta,
    /// Paid; diffusion, signed receipts, larger problems.
    Pro,
    /// By contract; priority queue, signed usage, no monthly cap.
    Enterprise,
}

impl Tier {
    /// Every tier, lowest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Beta, Self::Pro, Self::Enterprise];

    /// The name used in configuration, storage and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Beta => "beta",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a tier; expected free, beta, pro or enterprise")]
pub struct UnknownTier(pub String);

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(text: &str) -> Result<Self, UnknownTier> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or_else(|| UnknownTier(text.to_owned()))
    }
}

/// The installation's limits, from configuration. Tiers scale them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Largest N of a synchronous request (`OSCILLINK_MAX_NODES`).
    pub max_nodes: usize,
    /// Largest D of a synchronous request (`OSCILLINK_MAX_DIM`).
    pub max_dim: usize,
    /// Largest N of a job, for tiers without a smaller limit of their own (`OSCILLINK_MAX_JOB_NODES`).
    pub max_job_nodes: usize,
    /// Largest D of a job (`OSCILLINK_MAX_JOB_DIM`).
    pub max_job_dim: usize,
    /// Units per quota window; `None` is unlimited (`OSCILLINK_KEY_NODE_UNITS_LIMIT`).
    pub window_units: Option<Units>,
    /// Monthly cap for every key instead of the tier's own (`OSCILLINK_MONTHLY_CAP`).
    pub monthly_units: Option<Units>,
    /// How long results of a job are kept, ms.
    pub result_ttl_ms: i64,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            max_nodes: 5_000,
            max_dim: 2_048,
            max_job_nodes: 200_000,
            max_job_dim: 16_384,
            window_units: None,
            monthly_units: None,
            result_ttl_ms: 24 * 3_600 * 1_000,
        }
    }
}

/// What one key may do: the tier's row of the table with the key's overrides applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Diffusion gates may be used.
    pub diffusion: bool,
    /// Receipts are signed when the request asks for it.
    pub signed_receipts: bool,
    /// Ledger rows carry a signature.
    pub signed_usage: bool,
    /// Jobs go to the priority queue.
    pub priority: bool,
    /// Largest N of a synchronous request.
    pub max_nodes: usize,
    /// Largest D of a synchronous request.
    pub max_dim: usize,
    /// Largest N of a job.
    pub max_job_nodes: usize,
    /// Largest D of a job, at least that of a synchronous request unless an override says otherwise.
    pub max_job_dim: usize,
    /// Units per quota window; `None` is unlimited.
    pub window_units: Option<Units>,
    /// Units per calendar month (UTC); `None` is unlimited.
    pub monthly_units: Option<Units>,
    /// How long results are kept, ms.
    pub result_ttl_ms: i64,
}

/// Per-key deviations from the tier's row; `None` keeps the tier's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// See [`Limits::diffusion`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diffusion: Option<bool>,
    /// See [`Limits::signed_receipts`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_receipts: Option<bool>,
    /// See [`Limits::signed_usage`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_usage: Option<bool>,
    /// See [`Limits::priority`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<bool>,
    /// See [`Limits::max_nodes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<usize>,
    /// See [`Limits::max_dim`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_dim: Option<usize>,
    /// See [`Limits::max_job_nodes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_job_nodes: Option<usize>,
    /// See [`Limits::max_job_dim`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_job_dim: Option<usize>,
    /// See [`Limits::window_units`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_units: Option<Units>,
    /// See [`Limits::monthly_units`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly_units: Option<Units>,
    /// How long results are kept, seconds; see [`Limits::result_ttl_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_ttl_s: Option<NonZeroU32>,
}

impl Limits {
    /// The table: the tier's row over the baseline, then the key's overrides.
    #[must_use]
    pub fn of(tier: Tier, base: &Baseline, overrides: &Overrides) -> Self {
        let half_more = |n: usize| n.saturating_add(n / 2);
        let mut limits = Self {
            diffusion: false,
            signed_receipts: false,
            signed_usage: false,
            priority: false,
            max_nodes: base.max_nodes,
            max_dim: base.max_dim,
            max_job_nodes: base.max_job_nodes,
            max_job_dim: base.max_job_dim,
            window_units: base.window_units,
            monthly_units: None,
            result_ttl_ms: base.result_ttl_ms,
        };
        match tier {
            Tier::Free | Tier::Beta => {
                limits.max_job_nodes = 1_000;
                let cap = if tier == Tier::Free {
                    5_000_000
                } else {
                    25_000_000
                };
                limits.monthly_units = Some(Units::new(cap));
            }
            Tier::Pro => {
                limits.diffusion = true;
                limits.signed_receipts = true;
                limits.max_nodes = half_more(base.max_nodes);
                limits.max_dim = half_more(base.max_dim);
                limits.monthly_units = Some(Units::new(50_000_000));
            }
            Tier::Enterprise => {
                limits.diffusion = true;
                limits.signed_receipts = true;
                limits.signed_usage = true;
                limits.priority = true;
                limits.max_nodes = half_more(base.max_nodes);
                limits.max_dim = half_more(base.max_dim);
                limits.result_ttl_ms = base.result_ttl_ms.saturating_mul(7);
            }
        }
        if tier != Tier::Enterprise && base.monthly_units.is_some() {
            limits.monthly_units = base.monthly_units;
        }
        limits.diffusion = overrides.diffusion.unwrap_or(limits.diffusion);
        limits.signed_receipts = overrides.signed_receipts.unwrap_or(limits.signed_receipts);
        limits.signed_usage = overrides.signed_usage.unwrap_or(limits.signed_usage);
        limits.priority = overrides.priority.unwrap_or(limits.priority);
        limits.max_nodes = overrides.max_nodes.unwrap_or(limits.max_nodes);
        limits.max_dim = overrides.max_dim.unwrap_or(limits.max_dim);
        limits.max_job_nodes = overrides.max_job_nodes.unwrap_or(limits.max_job_nodes);
        let job_dim = limits.max_job_dim.max(limits.max_dim);
        limits.max_job_dim = overrides.max_job_dim.unwrap_or(job_dim);
        limits.window_units = overrides.window_units.or(limits.window_units);
        limits.monthly_units = overrides.monthly_units.or(limits.monthly_units);
        let ttl_ms = overrides.result_ttl_s.map(|s| i64::from(s.get()) * 1_000);
        limits.result_ttl_ms = ttl_ms.unwrap_or(limits.result_ttl_ms);
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_tiers() {
        let base = Baseline::default();
        let of = |tier| Limits::of(tier, &base, &Overrides::default());
        let free = of(Tier::Free);
        assert!(!free.diffusion && !free.signed_receipts);
        assert_eq!(
            (free.max_job_nodes, free.monthly_units),
            (1_000, Some(Units::new(5_000_000)))
        );
        assert_eq!(of(Tier::Beta).monthly_units, Some(Units::new(25_000_000)));
        let pro = of(Tier::Pro);
        assert!(pro.diffusion && pro.signed_receipts && !pro.priority);
        assert_eq!((pro.max_nodes, pro.max_dim), (7_500, 3_072));
        let enterprise = of(Tier::Enterprise);
        assert!(enterprise.priority && enterprise.signed_usage);
        assert_eq!(enterprise.monthly_units, None);
    }

    #[test]
    fn overrides_win() {
        let overrides = Overrides {
            diffusion: Some(true),
            monthly_units: Some(Units::new(7)),
            ..Overrides::default()
        };
        let limits = Limits::of(Tier::Free, &Baseline::default(), &overrides);
        assert!(limits.diffusion);
        assert_eq!(limits.monthly_units, Some(Units::new(7)));
    }

    #[test]
    fn every_entry_of_the_table_has_an_override() {
        let given = serde_json::json!({
            "diffusion": true, "signed_receipts": true, "signed_usage": true, "priority": true,
            "max_nodes": 1, "max_dim": 2, "max_job_nodes": 3, "max_job_dim": 4,
            "window_units": 5, "monthly_units": 6, "result_ttl_s": 7,
        });
        let overrides: Overrides = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(serde_json::to_value(&overrides).unwrap(), given);
        let limits = Limits::of(Tier::Free, &Baseline::default(), &overrides);
        let expected = Limits {
            diffusion: true,
            signed_receipts: true,
            signed_usage: true,
            priority: true,
            max_nodes: 1,
            max_dim: 2,
            max_job_nodes: 3,
            max_job_dim: 4,
            window_units: Some(Units::new(5)),
            monthly_units: Some(Units::new(6)),
            result_ttl_ms: 7_000,
        };
        assert_eq!(limits, expected);
        // Overrides take away too, and none of a TTL of zero is meant.
        let less: Overrides =
            serde_json::from_str(r#"{"priority": false, "signed_receipts": false}"#).unwrap();
        let limits = Limits::of(Tier::Enterprise, &Baseline::default(), &less);
        assert!(!limits.priority && !limits.signed_receipts && limits.signed_usage);
        assert!(serde_json::from_str::<Overrides>(r#"{"result_ttl_s": 0}"#).is_err());
    }

    #[test]
    fn jobs_have_a_limit_of_columns_of_their_own() {
        let base = Baseline::default();
        // As keys were stored before there was one.
        let older = |text| serde_json::from_str::<Overrides>(text).unwrap();
        let of = |text| Limits::of(Tier::Pro, &base, &older(text)).max_job_dim;
        assert_eq!(of("{}"), 16_384);
        assert_eq!(of(r#"{"max_dim": 512}"#), 16_384);
        assert_eq!(of(r#"{"max_dim": 20000}"#), 20_000);
        assert_eq!(of(r#"{"max_dim": 20000, "max_job_dim": 100}"#), 100);
    }
}
