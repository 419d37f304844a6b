//! A token bucket: bounds how many deliveries start in a second.

use std::time::Duration;

use tokio::time::Instant;

/// The share of a second's deliveries that may start at once.
const BURST_SECONDS: f64 = 0.1;

/// Tokens that fill up at the queue's rate.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            // Cut to what a bucket of its rate holds when it is first asked.
            tokens: f64::INFINITY,
            filled_at: now,
        }
    }

    /// Takes a token, or says how long until there is one; `None` is never.
    pub(super) fn take(&mut self, per_second: f64, now: Instant) -> Result<(), Option<Duration>> {
        if per_second.is_nan() || per_second <= 0.0 {
            return Err(None);
        }
        let most = (per_second * BURST_SECONDS).max(1.0);
        let elapsed = now.duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * per_second).min(most);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / per_second;
        Err(Some(Duration::from_secs_f64(wait.min(3600.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_no_more_than_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let started = (0..10_000)
            .filter(|ms| {
                bucket
                    .take(50.0, start + Duration::from_millis(*ms))
                    .is_ok()
            })
            .count();
        assert!((499..=506).contains(&started), "{started} in ten seconds");
    }

    #[test]
    fn a_rate_of_nothing_starts_nothing() {
        let mut bucket = Bucket::new(Instant::now());
        assert_eq!(bucket.take(0.0, Instant::now()), Err(None));
        assert_eq!(bucket.take(f64::NAN, Instant::now()), Err(None));
    }
}
