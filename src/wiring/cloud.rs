//! One role of the service in this process, over the Google Cloud adapters.
//!
//! Gateways also run the relay and the sweeper: both are safe to run any number of times at once.

mod push_auth;
mod webhook;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oscillink_adapters::gcp::{self, Gcp, GcpConfig};
use oscillink_engine::{Engine, EngineConfig, NewKey, Ports};
use oscillink_gateway::{Config as GatewayConfig, Gateway, ServeOptions};
use oscillink_ports::OsClock;
use oscillink_telemetry::{Metrics, Shutdown, ShutdownHandle};
use oscillink_worker::{Worker, WorkerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::backlog;
use super::entropy::OsEntropy;
use super::listen::{bind, reachable};
use super::telemetry::count_ends;
use super::traced::{TracedBus, TracedQueue};
use crate::settings::{RoleSettings, Seed};
use push_auth::PushTokens;

/// See [`super::server`]: running jobs get this long, and as long again to be handed back.
const GRACE: Duration = Duration::from_secs(4);
/// How long everything else may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// The engine over Google Cloud, for commands and roles.
pub struct Cloud {
    gcp: Gcp,
    /// The use cases.
    pub engine: Engine,
}

impl Cloud {
    /// Connects to everything that the configuration names.
    pub async fn connect(config: GcpConfig, engine: EngineConfig) -> Result<Self> {
        let gcp = gcp::connect(config).await?;
        let ports = Ports {
            store: gcp.store.clone(),
            blobs: gcp.blobs.clone(),
            queue: Arc::new(TracedQueue(gcp.queue.clone())),
            bus: Arc::new(TracedBus(gcp.bus.clone())),
            clock: Arc::new(OsClock),
            entropy: Arc::new(OsEntropy),
        };
        Ok(Self {
            gcp,
            engine: Engine::new(ports, engine),
        })
    }
}

/// A role that is running.
pub struct Role {
    addr: SocketAddr,
    cloud: Cloud,
    worker: Option<Worker>,
    shutdown: ShutdownHandle,
    tasks: JoinSet<()>,
}

impl Role {
    /// Starts a gateway. When this returns, the port answers.
    pub async fn gateway(
        settings: RoleSettings,
        config: GatewayConfig,
        seeds: &[Seed],
    ) -> Result<Self> {
        let cloud = Cloud::connect(settings.gcp, settings.engine).await?;
        for seed in seeds {
            let new = NewKey {
                name: "configured".to_owned(),
                tier: seed.tier,
                overrides: Default::default(),
            };
            cloud.engine.seed_key(&seed.key, new).await?;
        }
        let (shutdown, signal) = Shutdown::new();
        let options = ServeOptions::from(&config);
        let metrics = Metrics::new();
        count_ends(&cloud.engine, &metrics);
        let gateway = Gateway::new(
            config,
            cloud.engine.clone(),
            metrics.clone(),
            signal.clone(),
        )?;
        gateway.subscribe().await?;
        let listener = bind(settings.host.unwrap_or(EVERYWHERE), settings.port).await?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        let (relay, relay_signal) = (cloud.engine.clone(), signal.clone());
        tasks.spawn(async move {
            relay
                .run_relay(async move { relay_signal.wait().await })
                .await
        });
        let (sweeper, sweeper_signal) = (cloud.engine.clone(), signal.clone());
        tasks.spawn(async move {
            sweeper
                .run_sweeper(async move { sweeper_signal.wait().await })
                .await
        });
        tasks.spawn(backlog::watch(
            cloud.engine.clone(),
            metrics,
            signal.clone(),
            backlog::EVERY_REMOTE,
        ));
        tasks.spawn(oscillink_gateway::serve(
            listener,
            oscillink_gateway::router(gateway),
            signal,
            options,
        ));
        Ok(Self {
            addr,
            cloud,
            worker: None,
            shutdown,
            tasks,
        })
    }

    /// Starts a worker pool's instance. When this returns, the port answers.
    pub async fn worker(settings: RoleSettings, config: WorkerConfig) -> Result<Self> {
        let tokens = PushTokens::new(settings.gcp.oidc(&config.queues));
        let cloud = Cloud::connect(settings.gcp, settings.engine).await?;
        let metrics = Metrics::new();
        count_ends(&cloud.engine, &metrics);
        let worker = Worker::new(cloud.engine.clone(), config, metrics)?;
        let router = oscillink_worker::router(worker.clone(), Some(Arc::new(tokens)));
        let (shutdown, signal) = Shutdown::new();
        let listener = bind(settings.host.unwrap_or(EVERYWHERE), settings.port).await?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_internal(listener, router, signal));
        Ok(Self {
            addr,
            cloud,
            worker: Some(worker),
            shutdown,
            tasks,
        })
    }

    /// Where a client on this machine reaches it.
    pub fn url(&self) -> String {
        format!("http://{}", reachable(self.addr))
    }

    /// Completes when a part ends although no one asked it to.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the service broke"),
            _ => anyhow::anyhow!("a part of the service ended by itself"),
        }
    }

    /// Stops: takes nothing new, finishes or hands back what runs, ends every part.
    pub async fn drain(mut self) -> Result<()> {
        self.shutdown.begin();
        let parts = async {
            while let Some(outcome) = self.tasks.join_next().await {
                outcome.context("a part of the service broke")?;
            }
            anyhow::Ok(())
        };
        let worker = async {
            if let Some(worker) = &self.worker {
                worker.drain(GRACE).await;
            }
        };
        let ((), cleaned, parts) = tokio::join!(
            worker,
            self.cloud.gcp.shutdown(STOP_LIMIT),
            timeout(STOP_LIMIT, parts)
        );
        if !cleaned {
            tracing::warn!("this process's own subscription was not removed; it expires by itself");
        }
        parts.unwrap_or(Ok(()))
    }
}

const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Serves the task endpoint, which only the platform's own front end reaches: it bounds connections
/// and slow clients, and the router bounds bodies.
async fn serve_internal(listener: TcpListener, router: axum::Router, signal: Shutdown) {
    let served =
        axum::serve(listener, router).with_graceful_shutdown(async move { signal.wait().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the task endpoint ended");
    }
}
