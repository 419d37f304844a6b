//! The all-in-one server: every role in one process, over the embedded adapters.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oscillink_adapters::embedded::{self, Embedded, EmbeddedConfig};
use oscillink_engine::{Engine, EngineConfig, NewKey, Ports};
use oscillink_gateway::{Gateway, ServeOptions, router, serve};
use oscillink_ports::{Entropy as _, OsClock, TaskTarget};
use oscillink_telemetry::{Metrics, Shutdown, ShutdownHandle, StoreTotals};
use oscillink_worker::{InProcess, Worker};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dev_key::DevKey;
use super::entropy::OsEntropy;
use super::listen::{bind, reachable};
use super::offline::unopened;
use super::telemetry::count_ends;
use super::traced::{TracedBus, TracedQueue};
use super::{backlog, billing};
use crate::data_dir;
use crate::exit::Failure;
use crate::settings::ServerSettings;

/// How long running jobs may go on after a signal before they are handed back; handing back takes
/// the same time at the most. Together with the rest this stays below the ten seconds that
/// orchestrators give.
const GRACE: Duration = Duration::from_secs(4);
/// Memory for payloads and results that were just written: they are wanted again at once.
const RECENT_CONTENT_BYTES: usize = 8 << 20;
/// How long everything else may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(9);

/// A server that is running.
pub struct Server {
    addr: SocketAddr,
    url: String,
    dev_key: Option<DevKey>,
    embedded: Embedded,
    worker: Worker,
    shutdown: ShutdownHandle,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the data folder and serves it. When this returns, the port answers.
    pub async fn start(settings: ServerSettings) -> Result<Self> {
        let clock = Arc::new(OsClock);
        let config = EmbeddedConfig {
            database: settings.database,
            ..EmbeddedConfig::new(&settings.data_dir)
        };
        let embedded = embedded::open(&config, clock.clone()).map_err(unopened)?;
        let ports = Ports {
            store: embedded.store.clone(),
            blobs: embedded.blobs.clone(),
            queue: Arc::new(TracedQueue(embedded.queue.clone())),
            bus: Arc::new(TracedBus(embedded.bus.clone())),
            clock,
            entropy: Arc::new(OsEntropy),
        };
        let mut rules = EngineConfig {
            time_ordered_ids: true,
            recent_content_bytes: RECENT_CONTENT_BYTES,
            ..settings.engine.clone()
        };
        if rules.callback_secret.is_none() {
            let mut random = [0; 32];
            OsEntropy.fill(&mut random);
            let kept = data_dir::callback_secret(&settings.data_dir, random);
            rules.callback_secret = Some(kept.context("the callback secret cannot be kept")?);
        }
        let engine = Engine::new(ports, rules);
        for seed in &settings.seeds {
            let new = NewKey {
                name: "configured".to_owned(),
                tier: seed.tier,
                overrides: Default::default(),
            };
            engine.seed_key(&seed.key, new).await?;
        }
        let dev_key = DevKey::of(&engine, &settings).await?;
        let listener = listen(&settings, dev_key.is_some()).await?;
        let addr = listener.local_addr()?;

        let store = embedded.store.clone();
        let metrics = Metrics::with_store(move || {
            let counts = store.counts();
            StoreTotals {
                transactions: counts.transactions,
                commits: counts.commits,
            }
        });
        count_ends(&engine, &metrics);
        let (shutdown, signal) = Shutdown::new();
        let worker = Worker::new(engine.clone(), settings.worker, metrics.clone())?;
        let billing = settings
            .billing
            .map(|config| billing::billing(engine.clone(), config, metrics.clone()))
            .transpose()?;
        let gateway = Gateway::new(
            settings.gateway,
            engine.clone(),
            metrics.clone(),
            signal.clone(),
        )?;
        gateway.subscribe().await?;

        let mut tasks = JoinSet::new();
        let (relay, relay_signal) = (engine.clone(), signal.clone());
        tasks.spawn(async move {
            relay
                .run_relay(async move { relay_signal.wait().await })
                .await;
        });
        tasks.spawn(backlog::watch(
            engine.clone(),
            metrics,
            signal.clone(),
            backlog::EVERY,
        ));
        let sweeper_signal = signal.clone();
        tasks.spawn(async move {
            engine
                .run_sweeper(async move { sweeper_signal.wait().await })
                .await;
        });
        let served = worker.config().queues.clone();
        let target: Arc<dyn TaskTarget> = Arc::new(InProcess::new(worker.clone()));
        embedded
            .queue
            .start(|queue| served.contains(&queue).then(|| Arc::clone(&target)));
        let options = ServeOptions::from(gateway.config());
        let mut app = router(gateway);
        if let Some(billing) = billing {
            billing::run(&billing, &mut tasks, &signal);
            app = app.merge(oscillink_webhook::routes(billing));
        }
        tasks.spawn(serve(listener, app, signal, options));
        Ok(Self {
            url: format!("http://{}", reachable(addr)),
            addr,
            dev_key,
            embedded,
            worker,
            shutdown,
            tasks,
        })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where a client on this machine reaches it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The development key, when there is one.
    pub const fn dev_key(&self) -> Option<&DevKey> {
        self.dev_key.as_ref()
    }

    /// Completes when a part of the server ends although no one asked it to.
    pub async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the server broke"),
            _ => anyhow::anyhow!("a part of the server ended by itself"),
        }
    }

    /// Stops: takes nothing new, finishes or hands back what runs, ends every part.
    pub async fn drain(mut self) -> Result<()> {
        self.shutdown.begin();
        let parts = async {
            while let Some(outcome) = self.tasks.join_next().await {
                outcome.context("a part of the server broke")?;
            }
            anyhow::Ok(())
        };
        let (_, drained, parts) = tokio::join!(
            self.worker.drain(GRACE),
            self.embedded.drain(STOP_LIMIT),
            timeout(STOP_LIMIT, parts),
        );
        if !drained {
            tracing::warn!("some deliveries were cut off; they are repeated at the next start");
        }
        match parts {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!("some connections were cut off");
                Ok(())
            }
        }
    }
}

/// Binds the port: loopback only while the development key is in force.
async fn listen(settings: &ServerSettings, development: bool) -> Result<TcpListener> {
    let host = match (settings.host, development) {
        (Some(host), true) if !host.is_loopback() => {
            let text = format!(
                "OSCILLINK_HOST is {host}, but without a key of your own the server listens on this \
                 machine only: make one with `oscillink keys create`, or set OSCILLINK_API_KEYS"
            );
            return Err(Failure::usage(text).into());
        }
        (Some(host), _) => host,
        (None, true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (None, false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    bind(host, settings.port).await
}
