//! The server's settings, from flags and environment. A setting that cannot be used names its variable.

pub mod billing;
#[cfg(feature = "gcp")]
mod role;
mod seeds;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use oscillink_adapters::embedded::DatabaseConfig;
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use oscillink_engine::EngineConfig;
use oscillink_gateway::Config as GatewayConfig;
use oscillink_webhook::Config as BillingConfig;
use oscillink_worker::WorkerConfig;
use secrecy::SecretString;

use crate::data_dir;
use crate::exit::Failure;

#[cfg(feature = "gcp")]
pub use role::RoleSettings;
pub use seeds::Seed;

/// Port when none is given.
const DEFAULT_PORT: u16 = 8080;
const GIB: u64 = 1 << 30;

/// What the all-in-one server needs to know.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Address to listen on; loopback or everywhere when not given (see [`crate::wiring::Server`]).
    pub host: Option<IpAddr>,
    /// Port to listen on, 0 for a free one.
    pub port: u16,
    /// The data folder.
    pub data_dir: PathBuf,
    /// How the database is driven.
    pub database: DatabaseConfig,
    /// Keys that configuration names.
    pub seeds: Vec<Seed>,
    /// The rules' settings.
    pub engine: EngineConfig,
    /// The worker's settings.
    pub worker: WorkerConfig,
    /// The gateway's settings.
    pub gateway: GatewayConfig,
    /// Billing's settings, where it is switched on.
    pub billing: Option<BillingConfig>,
}

impl ServerSettings {
    /// From any source of variables. Each part reads its own; all faults are told at once.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, Failure> {
        let mut faults = Vec::new();
        let own = Own::from_lookup(variables)
            .map_err(|e| faults.push(e.to_string()))
            .ok();
        let engine = EngineConfig::from_lookup(variables);
        let engine = engine.map_err(|e| faults.push(e.to_string())).ok();
        let worker = WorkerConfig::from_lookup(variables);
        let worker = worker.map_err(|e| faults.push(e.to_string())).ok();
        let gateway = GatewayConfig::from_lookup(variables);
        let gateway = gateway.map_err(|e| faults.push(e.to_string())).ok();
        let billing = billing::optional(variables);
        let billing = billing.map_err(|e| faults.push(e.to_string())).ok();
        match (own, engine, worker, gateway, billing) {
            (Some(own), Some(engine), Some(worker), Some(gateway), Some(billing)) => Ok(Self {
                host: own.host,
                port: own.port,
                data_dir: own.data_dir,
                database: own.database,
                seeds: own.seeds,
                engine,
                worker,
                gateway,
                billing,
            }),
            _ => {
                // Parts that read the same variable find the same fault.
                let mut told: Vec<&str> = Vec::new();
                for fault in faults.iter().flat_map(|text| text.split("; ")) {
                    if !told.contains(&fault) {
                        told.push(fault);
                    }
                }
                Err(Failure::usage(told.join("; ")))
            }
        }
    }

    /// For the demo: any free port, nothing from the environment.
    pub fn for_demo(data_dir: &Path, receipt_secret: SecretString) -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut worker = WorkerConfig::new("demo", threads, GIB);
        worker.receipt_secret = Some(receipt_secret.clone());
        Self {
            host: None,
            port: 0,
            data_dir: data_dir.to_owned(),
            database: DatabaseConfig::default(),
            seeds: Vec::new(),
            engine: EngineConfig::default(),
            worker,
            gateway: GatewayConfig {
                receipt_secret: Some(receipt_secret),
                ..GatewayConfig::default()
            },
            billing: None,
        }
    }
}

/// What belongs to no other part.
struct Own {
    host: Option<IpAddr>,
    port: u16,
    data_dir: PathBuf,
    database: DatabaseConfig,
    seeds: Vec<Seed>,
}

impl Own {
    fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let backend = read.parsed("OSCILLINK_BACKEND", "embedded".to_owned());
        if backend != "embedded" {
            read.refuse(
                "OSCILLINK_BACKEND",
                "must be embedded: `serve` has no other",
            );
        }
        let mut database = DatabaseConfig::default();
        database.group_commit = read.flag("OSCILLINK_GROUP_COMMIT", database.group_commit);
        let own = Self {
            host: read.optional("OSCILLINK_HOST"),
            port: read.parsed("PORT", DEFAULT_PORT),
            data_dir: data_dir::resolve(read.optional("OSCILLINK_DATA_DIR")),
            database,
            seeds: seeds::read(&mut read),
        };
        read.finish(own)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oscillink_domain::Units;

    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<ServerSettings, Failure> {
        let map: BTreeMap<_, _> = pairs.iter().copied().collect();
        ServerSettings::from_lookup(&|name| map.get(name).map(|text| (*text).to_owned()))
    }

    #[test]
    fn variables_are_read() {
        let settings = from(&[
            ("PORT", "0"),
            ("OSCILLINK_HOST", "::1"),
            ("OSCILLINK_DATA_DIR", "/tmp/x"),
            ("OSCILLINK_MAX_NODES", "10"),
            ("OSCILLINK_MONTHLY_CAP", "77"),
            ("OSCILLINK_KEY_NODE_UNITS_LIMIT", "0"),
            ("OSCILLINK_KEY_NODE_UNITS_WINDOW", "60"),
            ("OSCILLINK_WORKER_THREADS", "3"),
            ("RECEIPT_HMAC_SECRET", "s"),
        ])
        .unwrap();
        assert_eq!(
            (settings.port, settings.data_dir),
            (0, PathBuf::from("/tmp/x"))
        );
        assert!(settings.host.unwrap().is_loopback());
        let baseline = settings.engine.baseline;
        assert_eq!((baseline.max_nodes, baseline.window_units), (10, None));
        assert_eq!(baseline.monthly_units, Some(Units::new(77)));
        assert_eq!(settings.engine.window_ms, 60_000);
        assert_eq!(settings.worker.threads, 3);
        assert!(
            settings.worker.receipt_secret.is_some() && settings.gateway.receipt_secret.is_some()
        );
    }

    #[test]
    fn failures_name_every_variable_at_fault() {
        for (name, value) in [
            ("PORT", "http"),
            ("PORT", "65536"),
            ("OSCILLINK_HOST", "here"),
            ("OSCILLINK_BACKEND", "gcp"),
            ("OSCILLINK_MAX_NODES", "0"),
            ("OSCILLINK_MAX_DIM", "-1"),
            ("OSCILLINK_MONTHLY_CAP", "5M"),
            ("OSCILLINK_KEY_NODE_UNITS_WINDOW", "0"),
            ("OSCILLINK_API_KEYS", "short"),
            ("OSCILLINK_KEY_TIERS", "unknown-key:pro"),
            ("OSCILLINK_WORKER_MEMORY_BYTES", "1G"),
            ("OSCILLINK_RATE_LIMIT", "many"),
        ] {
            let failure = from(&[(name, value)]).unwrap_err();
            assert!(
                failure.to_string().contains(name),
                "{name}={value}: {failure}"
            );
        }
        let failure = from(&[("PORT", "x"), ("OSCILLINK_RATE_LIMIT", "y")]).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("PORT") && text.contains("OSCILLINK_RATE_LIMIT"),
            "{text}"
        );
    }
}
