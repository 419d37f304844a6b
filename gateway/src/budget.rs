//! A bound on the bytes of bodies and results that are in memory at once, whoever sends them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::{Kind, Problem};

const GRAIN: usize = 64 * 1024;

/// How long a body waits for room before the client is sent away. Bodies that hold a part of the
/// budget while they wait for more must give up at some time.
const WAIT: Duration = Duration::from_secs(5);

/// The bytes that may be held.
#[derive(Clone, Debug)]
pub struct Budget {
    grains: Arc<Semaphore>,
    total: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
    grains: usize,
}

impl Budget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let total = bytes
            .div_ceil(GRAIN)
            .clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self {
            grains: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// An empty share.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            permit: None,
            grains: 0,
        }
    }
}

impl Share {
    /// Grows to at least `bytes`, waiting a while for room.
    ///
    /// # Errors
    /// There was none.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        // A thing larger than the whole budget may pass alone.
        let wanted = bytes.div_ceil(GRAIN).min(self.budget.total);
        let Some(more) = wanted.checked_sub(self.grains).filter(|more| *more > 0) else {
            return Ok(());
        };
        let grains = Arc::clone(&self.budget.grains);
        // The budget has at most u32::MAX grains.
        let acquire = grains.acquire_many_owned(u32::try_from(more).unwrap_or(u32::MAX));
        let permit = match timeout(WAIT, acquire).await {
            Ok(Ok(permit)) => permit,
            _ => {
                let detail = "too much data is being received at once; try again";
                return Err(Problem::new(Kind::Saturated, detail).retry_after(2));
            }
        };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            slot => *slot = Some(permit),
        }
        self.grains = wanted;
        Ok(())
    }

    /// Gives back what exceeds `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let wanted = bytes.div_ceil(GRAIN).min(self.grains);
        if let Some(held) = &mut self.permit {
            drop(held.split(self.grains - wanted));
        }
        self.grains = wanted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shares_wait_give_up_and_come_back() {
        let budget = Budget::new(4 * GRAIN);
        let mut first = budget.share();
        first.grow_to(3 * GRAIN).await.unwrap();
        let mut second = budget.share();
        second.grow_to(1).await.unwrap();
        let refused = second.grow_to(2 * GRAIN).await.unwrap_err();
        assert_eq!(refused.status(), 503);
        first.shrink_to(GRAIN);
        second.grow_to(3 * GRAIN).await.unwrap();
        drop((first, second));
        budget.share().grow_to(100 * GRAIN).await.unwrap();
        assert_eq!(budget.grains.available_permits(), 4);
    }
}
