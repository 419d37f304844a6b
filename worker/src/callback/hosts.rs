//! Turns at a receiver: a slow one gets so many callbacks at once and leaves the other places free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Turns by host. Hosts without callbacks under way are forgotten.
#[derive(Debug)]
pub(super) struct Hosts {
    most: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A turn, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    hosts: &'a Hosts,
    host: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Hosts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            hosts: Mutex::default(),
        }
    }

    /// A turn at `host`, waiting for it up to `wait`.
    pub(super) async fn turn(&self, host: &str, wait: Duration) -> Option<Turn<'_>> {
        let places = Arc::clone(
            self.hosts()
                .entry(host.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(self.most))),
        );
        // Made before the wait, so that the host is forgotten also when the wait is given up.
        let mut turn = Turn {
            hosts: self,
            host: host.to_owned(),
            permit: None,
        };
        turn.permit = timeout(wait, places.acquire_owned()).await.ok()?.ok();
        turn.permit.is_some().then_some(turn)
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut hosts = self.hosts.hosts();
        // Those who wait hold the semaphore too.
        if hosts
            .get(&self.host)
            .is_some_and(|places| Arc::strong_count(places) == 1)
        {
            hosts.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_host_has_so_many_turns_and_none_is_remembered_after() {
        let hosts = Hosts::new(2);
        let wait = Duration::from_secs(1);
        let first = hosts.turn("a", wait).await.unwrap();
        let second = hosts.turn("a", wait).await.unwrap();
        assert!(hosts.turn("a", wait).await.is_none());
        let other = hosts.turn("b", wait).await.unwrap();
        drop(first);
        drop(hosts.turn("a", wait).await.unwrap());
        drop((second, other));
        assert!(hosts.hosts().is_empty());
    }
}
