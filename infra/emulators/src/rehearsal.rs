//! A deployment on this machine: emulators, and each service as a process of its own.

mod supervise;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::{Emulator, ObjectServer, TasksEmulator};

/// The key that the rehearsal's gateway makes.
pub const KEY: &str = "rehearsal-key-0123456789";
/// Opens what is for operators.
pub const ADMIN_SECRET: &str = "rehearsal-admin-secret";
/// Signs the rehearsal's receipts.
pub const RECEIPT_SECRET: &str = "rehearsal-receipt-secret";
/// What the callback secrets of the rehearsal's keys are derived from.
const CALLBACK_SECRET: &str = "rehearsal-callback-secret-of-32-bytes";
/// Signs the rehearsal's billing events.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_rehearsal";
/// Time for a service to answer.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for a service to drain.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// A service of the deployment.
pub struct Service {
    /// Its name in messages.
    pub name: &'static str,
    role: &'static str,
    port: u16,
    variables: Vec<(String, String)>,
    child: Child,
}

impl Service {
    /// The kind of job that it computes, if it does.
    #[must_use]
    pub fn computes(&self) -> Option<&'static str> {
        self.name.strip_suffix(" pool")
    }
}

/// Further variables of the deployment's processes.
#[derive(Default)]
pub struct Variables {
    /// For every service.
    pub all: Vec<(String, String)>,
    /// For the worker pools.
    pub workers: Vec<(String, String)>,
}

/// The deployment.
pub struct Rehearsal {
    program: PathBuf,
    shared: Vec<(String, String)>,
    services: Vec<Service>,
    gateway: String,
    billing: String,
    firestore: Emulator,
    pubsub: Emulator,
    tasks: TasksEmulator,
    _objects: ObjectServer,
}

impl Rehearsal {
    /// Starts emulators and services of `program`, built with the `gcp` feature.
    ///
    /// # Errors
    /// An emulator is missing or a service does not start.
    pub async fn start(program: &Path, more: Variables) -> Result<Self> {
        let (firestore, pubsub) = tokio::task::spawn_blocking(|| {
            // Both take seconds to start; neither needs the other.
            std::thread::scope(|scope| {
                let firestore = scope.spawn(Emulator::firestore);
                (firestore.join(), Emulator::pubsub())
            })
        })
        .await?;
        let firestore = firestore.map_err(|_| anyhow::anyhow!("the emulator's thread broke"))??;
        let pubsub = pubsub?;
        let tasks = TasksEmulator::start(queues()).await?;
        let objects = ObjectServer::start().await?;
        let [gateway, settle, diffusion, billing] = free_ports()?;
        let local = |port: u16| format!("http://127.0.0.1:{port}");
        let shared = [
            ("OSCILLINK_BACKEND", "gcp".to_owned()),
            ("OSCILLINK_HOST", "127.0.0.1".to_owned()),
            ("FIRESTORE_PROJECT", "rehearsal".to_owned()),
            ("FIRESTORE_EMULATOR_HOST", host(&firestore.address())),
            ("PUBSUB_EMULATOR_HOST", host(&pubsub.address())),
            ("OSCILLINK_TASKS_ENDPOINT", tasks.address().to_owned()),
            ("OSCILLINK_TASKS_LOCATION", "local".to_owned()),
            (
                "OSCILLINK_TASKS_SERVICE_ACCOUNT",
                "tasks@rehearsal.iam.gserviceaccount.com".to_owned(),
            ),
            ("OSCILLINK_OIDC_JWKS_URL", tasks.jwks_url()),
            ("OSCILLINK_BLOB_URL", "gs://rehearsal".to_owned()),
            ("OSCILLINK_BLOB_ENDPOINT", objects.address().to_owned()),
            ("OSCILLINK_WORKER_URL", local(settle)),
            ("OSCILLINK_WORKER_URL_DIFFUSION", local(diffusion)),
            ("RECEIPT_HMAC_SECRET", RECEIPT_SECRET.to_owned()),
            ("OSCILLINK_CALLBACK_SECRET", CALLBACK_SECRET.to_owned()),
            ("OSCILLINK_LOG", "warn".to_owned()),
        ];
        let mut shared = named(shared);
        shared.extend(more.all);
        let mut rehearsal = Self {
            program: program.to_owned(),
            shared,
            services: Vec::new(),
            gateway: local(gateway),
            billing: local(billing),
            firestore,
            pubsub,
            tasks,
            _objects: objects,
        };
        let keys = named([
            ("OSCILLINK_API_KEYS", KEY.to_owned()),
            ("OSCILLINK_KEY_TIERS", format!("{KEY}:pro")),
            ("OSCILLINK_ADMIN_SECRET", ADMIN_SECRET.to_owned()),
        ]);
        let queues = |queues: &str| {
            let mut variables = named([("OSCILLINK_WORKER_QUEUES", queues.to_owned())]);
            variables.extend(more.workers.iter().cloned());
            variables
        };
        rehearsal.spawn("gateway", "gateway", gateway, keys)?;
        rehearsal.spawn(
            "settle pool",
            "worker",
            settle,
            queues("settle,priority,callback"),
        )?;
        rehearsal.spawn("diffusion pool", "worker", diffusion, queues("diffusion"))?;
        // Without a key for Stripe's API: events are taken at their word.
        let events = named([
            ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("OSCILLINK_STRIPE_PRICE_MAP", "price_pro:pro".to_owned()),
            ("OSCILLINK_STRIPE_LIVEMODE", "false".to_owned()),
        ]);
        rehearsal.spawn("billing", "webhook", billing, events)?;
        rehearsal.all_ready().await?;
        Ok(rehearsal)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.gateway
    }

    /// Where billing listens.
    #[must_use]
    pub fn billing_url(&self) -> &str {
        &self.billing
    }

    /// The services, in a fixed order.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Ends a service as a crash would, and starts it anew.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn crash(&mut self, index: usize) -> Result<()> {
        let service = &mut self.services[index];
        service.child.kill().await?;
        service.child = launch(
            &self.program,
            service.role,
            service.port,
            &self.shared,
            &service.variables,
        )?;
        self.ready(index).await
    }

    /// Has the task queue lose everything that it holds.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn lose_tasks(&mut self) -> Result<()> {
        let restarted = self.tasks.restart().await;
        restarted.context("the task queue's emulator")
    }

    /// Has the bus lose everything that it holds, its topics and subscriptions too.
    ///
    /// # Errors
    /// It does not start again.
    pub fn lose_events(&mut self) -> Result<()> {
        Ok(tokio::task::block_in_place(|| self.pubsub.restart())?)
    }

    /// Has the document store lose everything that it holds.
    ///
    /// # Errors
    /// It does not start again.
    pub fn lose_documents(&mut self) -> Result<()> {
        Ok(tokio::task::block_in_place(|| self.firestore.restart())?)
    }

    /// Has the document store answer nobody for this long.
    ///
    /// # Errors
    /// It cannot be stopped or go on.
    pub async fn freeze_documents(&self, time: Duration) -> Result<()> {
        self.firestore.freeze()?;
        sleep(time).await;
        Ok(self.firestore.thaw()?)
    }

    /// Waits until every service says that it is ready.
    ///
    /// # Errors
    /// One is not, in time.
    pub async fn all_ready(&mut self) -> Result<()> {
        for index in 0..self.services.len() {
            self.ready(index).await?;
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        name: &'static str,
        role: &'static str,
        port: u16,
        variables: Vec<(String, String)>,
    ) -> Result<()> {
        let child = launch(&self.program, role, port, &self.shared, &variables)?;
        self.services.push(Service {
            name,
            role,
            port,
            variables,
            child,
        });
        Ok(())
    }

    async fn ready(&mut self, index: usize) -> Result<()> {
        let service = &mut self.services[index];
        let url = format!("http://127.0.0.1:{}/ready", service.port);
        let began = Instant::now();
        loop {
            let answered = reqwest::get(&url)
                .await
                .is_ok_and(|answer| answer.status().is_success());
            if answered {
                return Ok(());
            }
            if let Some(status) = service.child.try_wait()? {
                bail!("{} ended at its start: {status}", service.name);
            }
            if began.elapsed() > START_TIMEOUT {
                bail!("{} is not ready after {START_TIMEOUT:?}", service.name);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks every service to stop (SIGTERM) and checks that each ends well and in time.
    ///
    /// # Errors
    /// A service did not end, or not with success.
    pub async fn stop(mut self) -> Result<()> {
        for service in &self.services {
            let pid = service
                .child
                .id()
                .context("the service has ended by itself")?;
            let asked = Command::new("kill")
                .args(["-TERM", &pid.to_string()])
                .status()
                .await?;
            if !asked.success() {
                bail!("{} could not be asked to stop", service.name);
            }
        }
        for service in &mut self.services {
            let status: ExitStatus = timeout(STOP_TIMEOUT, service.child.wait())
                .await
                .with_context(|| {
                    format!("{} did not stop within {STOP_TIMEOUT:?}", service.name)
                })??;
            if !status.success() {
                bail!("{} ended with {status}", service.name);
            }
        }
        Ok(())
    }
}

fn named<const N: usize>(variables: [(&str, String); N]) -> Vec<(String, String)> {
    variables
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The queues of the deployment, named in full.
fn queues() -> Vec<String> {
    ["settle", "diffusion", "priority", "callback"]
        .map(|queue| format!("projects/rehearsal/locations/local/queues/oscillink-{queue}"))
        .into()
}

fn launch(
    program: &Path,
    role: &str,
    port: u16,
    shared: &[(String, String)],
    own: &[(String, String)],
) -> Result<Child> {
    Command::new(program)
        .arg(role)
        .envs(shared.iter().chain(own).cloned())
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} {role} does not start", program.display()))
}

fn host(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    for _ in 0..N {
        listeners.push(TcpListener::bind("127.0.0.1:0")?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
