//! Keeps a lease alive while its job is computed, and hears from the engine when to stop.

use std::sync::Arc;
use std::time::Duration;

use oscillink_engine::{Attempt, Engine, Heartbeat};
use tokio::time::{MissedTickBehavior, interval};

use crate::control::{Control, Stop};

/// Sends heartbeats until it is dropped or the lease is lost.
pub async fn keep(engine: Engine, attempt: Attempt, control: Arc<Control>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match engine.heartbeat(&attempt, control.progress()).await {
            Ok(Heartbeat::Continue) => {}
            Ok(Heartbeat::Cancel) => control.stop(Stop::Cancelled),
            Ok(Heartbeat::Lost) => {
                control.stop(Stop::LeaseLost);
                return;
            }
            // The lease outlasts several heartbeats: the next one may succeed.
            Err(error) => tracing::warn!(job_id = %attempt.job.id, %error, "heartbeat failed"),
        }
    }
}
