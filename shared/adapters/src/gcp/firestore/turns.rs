//! Transactions of this process that read the same documents take turns.
//!
//! The server would let all but one of them run for nothing and fail, so that a document which many
//! want gets slower the more want it. Between processes it still decides who was first.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use oscillink_ports::DocKey;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Locks; documents share them by hash.
const LOCKS: usize = 4_096;

/// Whose turn it is.
pub(super) struct Turns(Vec<Arc<Mutex<()>>>);

/// The right to work on some documents.
pub(super) struct Turn(
    // Held for its drop alone.
    #[allow(dead_code)] Vec<OwnedMutexGuard<()>>,
);

impl Turns {
    pub(super) fn new() -> Self {
        Self((0..LOCKS).map(|_| Arc::default()).collect())
    }

    /// Waits, first come first served, until no other transaction works on any of `keys`.
    pub(super) async fn take(&self, keys: &[DocKey]) -> Turn {
        let mut places: Vec<usize> = keys.iter().map(place).collect();
        // Always in the same order, so that no two wait for each other.
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(Arc::clone(&self.0[place]).lock_owned().await);
        }
        Turn(held)
    }
}

fn place(key: &DocKey) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % LOCKS as u64) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oscillink_ports::Collection;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_those_that_share_a_document_wait() {
        let turns = Turns::new();
        let key = |id: &str| DocKey::new(Collection::Quota, id);
        let first = turns.take(&[key("a"), key("b"), key("a")]).await;
        drop(turns.take(&[key("c")]).await);
        let keys = [key("c"), key("b")];
        let second = turns.take(&keys);
        tokio::pin!(second);
        let early = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
        assert!(early.is_err());
        drop(first);
        drop(second.await);
    }
}
