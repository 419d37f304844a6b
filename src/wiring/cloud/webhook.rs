//! The role `webhook`: billing's routes and loops, and publishing of what they decide.

use anyhow::Result;
use oscillink_gateway::ServeOptions;
use oscillink_telemetry::{Metrics, Shutdown};
use oscillink_webhook::Config;
use tokio::task::JoinSet;

use super::super::billing;
use super::super::listen::bind;
use super::{Cloud, EVERYWHERE, Role};
use crate::settings::RoleSettings;

impl Role {
    /// Starts billing. When this returns, the port answers.
    pub async fn webhook(settings: RoleSettings, config: Config) -> Result<Self> {
        let cloud = Cloud::connect(settings.gcp, settings.engine).await?;
        let (shutdown, signal) = Shutdown::new();
        let billing = billing::billing(cloud.engine.clone(), config, Metrics::new())?;
        let listener = bind(settings.host.unwrap_or(EVERYWHERE), settings.port).await?;
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        billing::run(&billing, &mut tasks, &signal);
        let (relay, relay_signal) = (cloud.engine.clone(), signal.clone());
        tasks.spawn(async move {
            relay
                .run_event_relay(async move { relay_signal.wait().await })
                .await;
        });
        tasks.spawn(oscillink_gateway::serve(
            listener,
            oscillink_webhook::router(billing),
            signal,
            ServeOptions::default(),
        ));
        Ok(Self {
            addr,
            cloud,
            worker: None,
            shutdown,
            tasks,
        })
    }
}
