//! Drops events that no one took for so long that no one will.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::subscriptions::Shared;
use super::tables;
use crate::embedded::database::Database;

/// Events removed in one step of the writer.
const EXPIRE_PORTION: usize = 500;
/// Pause between looking for events to remove.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// Removes events that no one took in time, for as long as the bus is there.
pub(super) async fn run(database: Weak<Database>, shared: Arc<Shared>) {
    while let Some(database) = database.upgrade() {
        let before = shared.clock.now().plus_millis(-shared.config.retention_ms);
        let after = Arc::clone(&shared);
        let expired = database
            .write_then(
                move |batch| Ok(tables::expire(batch.connection, before, EXPIRE_PORTION)?),
                move |gone| {
                    let Ok(gone) = gone else { return };
                    if !gone.is_empty() {
                        tracing::warn!(events = gone.len(), "events that no one took were dropped");
                        let gone: HashSet<i64> = gone.iter().copied().collect();
                        for subscription in after.all_subscriptions() {
                            subscription.pending().forget(&gone);
                        }
                    }
                },
            )
            .await;
        drop(database);
        if !expired.is_ok_and(|gone| gone.len() >= EXPIRE_PORTION) {
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }
}
