//! How often, how long and with what pauses a call is tried again.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::Instant;

/// Bounds of the tries of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Tries at the most.
    pub max_attempts: u32,
    /// Pause after the first try; it doubles with each, and is shortened at random by up to half.
    pub min_pause: Duration,
    /// Longest pause.
    pub max_pause: Duration,
    /// Time for all tries together.
    pub max_total: Duration,
}

/// The tries of one operation under way.
#[derive(Debug)]
pub(super) struct Trying {
    tries: Tries,
    attempts: u32,
    deadline: Instant,
}

impl Trying {
    pub(super) fn new(tries: Tries) -> Self {
        Self {
            tries,
            attempts: 1,
            deadline: Instant::now() + tries.max_total,
        }
    }

    /// When the time for all tries is over.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for the next try; `false` when there is none, because tries or time have run out.
    pub(super) async fn again(&mut self) -> bool {
        let pause = self.pause();
        if self.attempts >= self.tries.max_attempts || Instant::now() + pause >= self.deadline {
            return false;
        }
        self.attempts += 1;
        tokio::time::sleep(pause).await;
        true
    }

    fn pause(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(20);
        let full = self.tries.min_pause.saturating_mul(1 << doublings);
        full.min(self.tries.max_pause).mul_f64(1.0 - 0.5 * random())
    }
}

/// A number from 0 to 1. Spreads retries; not for secrets.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIES: Tries = Tries {
        max_attempts: 4,
        min_pause: Duration::from_millis(10),
        max_pause: Duration::from_millis(25),
        max_total: Duration::from_secs(1),
    };

    #[tokio::test(start_paused = true)]
    async fn tries_are_counted_and_pauses_bounded() {
        let began = Instant::now();
        let mut trying = Trying::new(TRIES);
        let mut tries = 1;
        while trying.again().await {
            tries += 1;
        }
        assert_eq!(tries, 4);
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(5 + 10 + 12) && took <= Duration::from_millis(60),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn time_runs_out() {
        let mut trying = Trying::new(Tries {
            max_attempts: 1_000,
            max_total: Duration::from_millis(100),
            ..TRIES
        });
        let began = Instant::now();
        while trying.again().await {}
        assert!(began.elapsed() < Duration::from_millis(100));
    }
}
