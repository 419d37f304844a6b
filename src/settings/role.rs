//! Settings of a role over Google Cloud.

use std::net::IpAddr;

use oscillink_adapters::gcp::GcpConfig;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use oscillink_engine::EngineConfig;

use super::{DEFAULT_PORT, Seed, seeds};
use crate::exit::Failure;

/// Meters of one key, so that no document is written too often.
const QUOTA_SHARDS: &str = "8";
/// Tasks of one queue under way at once; Cloud Tasks holds them for the pool's instances.
const DISPATCH_WINDOW: &str = "256";

/// What every role needs.
#[derive(Clone, Debug)]
pub struct RoleSettings {
    /// Address to listen on; everywhere when not given.
    pub host: Option<IpAddr>,
    /// Port to listen on.
    pub port: u16,
    /// The rules' settings.
    pub engine: EngineConfig,
    /// The backends.
    pub gcp: GcpConfig,
}

impl RoleSettings {
    /// From variables, with defaults fit for a distributed store.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<(Self, Vec<Seed>), Failure> {
        Self::read(variables, GcpConfig::from_lookup)
    }

    /// The same for what makes and serves no tasks: billing, and operators' commands.
    pub fn without_tasks(variables: &Variables<'_>) -> Result<Self, Failure> {
        let (settings, _) = Self::read(variables, GcpConfig::without_tasks)?;
        Ok(settings)
    }

    fn read(
        variables: &Variables<'_>,
        backends: fn(&Variables<'_>) -> Result<GcpConfig, ConfigError>,
    ) -> Result<(Self, Vec<Seed>), Failure> {
        let with_defaults = |name: &str| {
            variables(name).or_else(|| match name {
                "OSCILLINK_QUOTA_SHARDS" => Some(QUOTA_SHARDS.to_owned()),
                "OSCILLINK_DISPATCH_WINDOW" => Some(DISPATCH_WINDOW.to_owned()),
                _ => None,
            })
        };
        let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
        let mut read = Lookup::new(variables);
        let backend = read.parsed("OSCILLINK_BACKEND", "embedded".to_owned());
        if backend != "gcp" {
            let detail = "must be gcp: one role by itself needs the cloud; `serve` runs all roles on this machine";
            read.refuse("OSCILLINK_BACKEND", detail);
        }
        let host = read.optional("OSCILLINK_HOST");
        let port = read.parsed("PORT", DEFAULT_PORT);
        let seeds = seeds::read(&mut read);
        let (host, port, seeds) = read.finish((host, port, seeds)).map_err(|e| usage(&e))?;
        let engine = EngineConfig::from_lookup(&with_defaults).map_err(|e| usage(&e))?;
        let gcp = backends(&with_defaults).map_err(|e| usage(&e))?;
        Ok((
            Self {
                host,
                port,
                engine,
                gcp,
            },
            seeds,
        ))
    }
}
