//! `oscillink gateway|worker|webhook`: one role of the service in this process, over Google Cloud.

#[cfg(not(feature = "gcp"))]
use crate::exit::Failure;
use anyhow::Result;

/// What is said in `--help` of each role.
pub const HELP: &str = "\
Configured by variables only: OSCILLINK_BACKEND=gcp, FIRESTORE_PROJECT, OSCILLINK_BLOB_URL and the \
others of docs/configuration.md. SIGTERM hands running work back and ends within 10 seconds.";

/// Why there is no cloud.
#[cfg(not(feature = "gcp"))]
pub const NO_CLOUD: &str = "this program was built without the cloud adapters: build it with \
                            `--features gcp`, or run `oscillink serve`";

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// The HTTP API, with relay and sweeper.
    Gateway,
    /// A worker pool's instance.
    Worker,
    /// Billing.
    Webhook,
}

/// Arguments of `gateway`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct GatewayArgs {}

/// Arguments of `worker`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct WorkerArgs {
    /// Queues that this pool serves, of settle, diffusion and priority
    #[arg(long, env = "OSCILLINK_WORKER_QUEUES", value_name = "Q1,Q2")]
    queues: Option<String>,
}

/// Arguments of `webhook`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct WebhookArgs {}

/// Runs billing until a signal ends it.
pub async fn webhook(_: &WebhookArgs) -> Result<()> {
    run(RoleName::Webhook, None).await
}

/// Runs a gateway until a signal ends it.
pub async fn gateway(_: &GatewayArgs) -> Result<()> {
    run(RoleName::Gateway, None).await
}

/// Runs a worker until a signal ends it.
pub async fn worker(args: &WorkerArgs) -> Result<()> {
    run(RoleName::Worker, args.queues.as_deref()).await
}

#[cfg(not(feature = "gcp"))]
async fn run(_: RoleName, _: Option<&str>) -> Result<()> {
    Err(Failure::usage(NO_CLOUD).into())
}

#[cfg(feature = "gcp")]
async fn run(role: RoleName, queues: Option<&str>) -> Result<()> {
    use crate::wiring::{FLUSH_LIMIT, telemetry};

    let variable = |name: &str| std::env::var(name).ok();
    let service = match role {
        RoleName::Gateway => "oscillink-gateway",
        RoleName::Worker => "oscillink-worker",
        RoleName::Webhook => "oscillink-webhook",
    };
    let telemetry = telemetry(&variable, service)?;
    let outcome = serve(role, queues).await;
    telemetry.flush(FLUSH_LIMIT).await;
    outcome
}

#[cfg(feature = "gcp")]
async fn serve(role: RoleName, queues: Option<&str>) -> Result<()> {
    use anyhow::Context as _;
    use oscillink_gateway::Config as GatewayConfig;
    use oscillink_telemetry::on_signal;
    use oscillink_worker::WorkerConfig;

    use crate::exit::Failure;
    use crate::settings::RoleSettings;
    use crate::wiring::Role;

    let variable = |name: &str| std::env::var(name).ok();
    let lookup = |name: &str| match (name, queues) {
        ("OSCILLINK_WORKER_QUEUES", Some(queues)) => Some(queues.to_owned()),
        _ => variable(name),
    };
    let (settings, seeds) = match role {
        RoleName::Webhook => (RoleSettings::without_tasks(&lookup)?, Vec::new()),
        RoleName::Gateway | RoleName::Worker => RoleSettings::from_lookup(&lookup)?,
    };
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let signal = tokio::spawn(on_signal());
    let mut running = match role {
        RoleName::Gateway => {
            let config = GatewayConfig::from_lookup(&lookup).map_err(|e| usage(&e))?;
            Role::gateway(settings, config, &seeds).await?
        }
        RoleName::Worker => {
            let config = WorkerConfig::from_lookup(&lookup).map_err(|e| usage(&e))?;
            Role::worker(settings, config).await?
        }
        RoleName::Webhook => {
            let config = crate::settings::billing::required(&lookup).map_err(|e| usage(&e))?;
            Role::webhook(settings, config).await?
        }
    };
    tracing::info!(url = running.url(), ?role, "ready");
    tokio::select! {
        received = signal => received.context("the signal handler")??,
        error = running.failed() => return Err(error),
    }
    running.drain().await
}
