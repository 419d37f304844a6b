//! The pause before a task is delivered again.

use oscillink_ports::QueueLimits;

/// Pause after `failures` failed deliveries (from 1), ms: it doubles `max_doublings` times, then grows
/// by the same amount each time, up to the longest, as Cloud Tasks does it.
pub(super) fn pause_ms(limits: &QueueLimits, failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(limits.max_doublings).min(40);
    let steps = i64::from(failures.saturating_sub(1).saturating_sub(doublings));
    let doubled = limits.min_backoff_ms.max(0).saturating_mul(1 << doublings);
    doubled
        .saturating_mul(steps.saturating_add(1))
        .min(limits.max_backoff_ms)
        .max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_then_grows_evenly_then_stays() {
        let limits = QueueLimits {
            min_backoff_ms: 10,
            max_backoff_ms: 300,
            max_doublings: 3,
            ..QueueLimits::default()
        };
        let pauses: Vec<i64> = (1..=8).map(|n| pause_ms(&limits, n)).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 240, 300, 300]);
        assert_eq!(pause_ms(&limits, u32::MAX), 300);
    }
}
