//! When the service was well: the basis of recovery times.

use std::time::Duration;

/// Length of a step.
const STEP: Duration = Duration::from_millis(100);
/// Steps that are judged together.
const WINDOW: usize = 10;
/// Share of bad arrivals in a window above which the service is unwell.
const UNWELL: f64 = 0.1;
/// Steps without an unwell window after which a disturbance is over.
const QUIET: usize = 30;

/// Good and bad arrivals in steps of 100 ms, by the time that they were meant to be sent.
#[derive(Debug, Clone, Default)]
pub struct Health {
    steps: Vec<(u32, u32)>,
}

/// What a disturbance did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Recovery {
    /// Errors and latencies stayed within their limits.
    Unnoticed,
    /// Arrivals from so long after the event on are answered as they should be.
    After(Duration),
    /// Not before the next event, or the end of the run.
    NotSeen,
}

impl Health {
    /// Adds an arrival.
    pub fn add(&mut self, intended: Duration, good: bool) {
        let place = (intended.as_nanos() / STEP.as_nanos()) as usize;
        if self.steps.len() <= place {
            self.steps.resize(place + 1, (0, 0));
        }
        let step = &mut self.steps[place];
        if good {
            step.0 += 1;
        } else {
            step.1 += 1;
        }
    }

    /// Is the second that begins here a bad one?
    fn unwell(&self, place: usize) -> bool {
        let window = &self.steps[place..place + WINDOW];
        let bad: u32 = window.iter().map(|step| step.1).sum();
        let all: u32 = window.iter().map(|step| step.0 + step.1).sum();
        f64::from(bad) > UNWELL * f64::from(all)
    }

    /// How long after `event` the service was well again, looking no further than `until`.
    #[must_use]
    pub fn recovery(&self, event: Duration, until: Duration) -> Recovery {
        let place = |time: Duration| (time.as_nanos() / STEP.as_nanos()) as usize;
        let end = place(until).min(self.steps.len());
        // A window that begins before the event belongs to the time before it, and one that is cut
        // short by the end would be judged by a few arrivals.
        let windows = place(event)..(end + 1).saturating_sub(WINDOW);
        let Some(first) = windows.clone().find(|place| self.unwell(*place)) else {
            return Recovery::Unnoticed;
        };
        let mut last = first;
        for place in first..windows.end {
            if self.unwell(place) {
                last = place;
            } else if place - last >= QUIET {
                break;
            }
        }
        // The window is unwell because of a bad step in it: the last one counts.
        let bad = (last..(last + WINDOW).min(end))
            .rev()
            .find(|place| self.steps[*place].1 > 0);
        let well = bad.unwrap_or(last) + 1;
        if well >= end {
            return Recovery::NotSeen;
        }
        Recovery::After((STEP * well as u32).saturating_sub(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bad: std::ops::Range<u64>) -> Health {
        let mut health = Health::default();
        for millisecond in (0..20_000).step_by(10) {
            let intended = Duration::from_millis(millisecond);
            health.add(intended, !bad.contains(&millisecond));
        }
        health
    }

    const EVENT: Duration = Duration::from_secs(5);
    const END: Duration = Duration::from_secs(20);

    #[test]
    fn recovery_is_when_arrivals_are_answered_well_again() {
        let after = Recovery::After(Duration::from_millis(1500));
        assert_eq!(run(5_000..6_500).recovery(EVENT, END), after);
        let late = Recovery::After(Duration::from_millis(3000));
        assert_eq!(run(7_000..8_000).recovery(EVENT, END), late);
    }

    #[test]
    fn what_does_not_end_is_not_a_recovery() {
        assert_eq!(run(5_000..20_000).recovery(EVENT, END), Recovery::NotSeen);
    }

    #[test]
    fn the_last_moment_is_not_judged_alone() {
        let mut health = run(5_000..6_500);
        health.add(Duration::from_millis(19_990), false);
        let after = Recovery::After(Duration::from_millis(1500));
        assert_eq!(health.recovery(EVENT, END), after);
    }

    #[test]
    fn single_bad_answers_are_no_disturbance() {
        assert_eq!(run(5_000..5_020).recovery(EVENT, END), Recovery::Unnoticed);
    }
}
