//! How far the delivery of a callback is. It is kept with the ended job and changes after its end.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How often a callback may be asked for again: each time is a call to someone else's server.
pub const MAX_REDELIVERIES: u32 = 100;
/// Longest reason that is kept, characters.
const MAX_DETAIL: usize = 200;

/// Where a callback stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallbackStatus {
    /// To be delivered, or delivered again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Every attempt failed: a dead letter.
    Undelivered,
}

/// A job's callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// Where it stands.
    pub status: CallbackStatus,
    /// Number of the newest dispatch, raised when it is asked for again: older tasks are stale.
    pub dispatch: u32,
    /// Attempts since the job ended.
    pub attempts: u32,
    /// Of these, failures of the newest dispatch.
    pub failures: u32,
    /// When it was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Timestamp>,
    /// What the receiver last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the receiver took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}

/// What an attempt to deliver came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The receiver's status, if it answered.
    pub status: Option<u16>,
    /// Why it counts as failed; `None`: the receiver took it.
    pub error: Option<String>,
    /// Trying again cannot help: the address is not one that callbacks may go to.
    pub is_final: bool,
}

/// What asking for a callback again leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redelivered {
    /// It is to be dispatched again.
    Again(Callback),
    /// It was asked for too often.
    TooOften,
}

impl Default for Callback {
    /// A callback that is to be delivered.
    fn default() -> Self {
        Self {
            status: CallbackStatus::Pending,
            dispatch: 0,
            attempts: 0,
            failures: 0,
            last_attempt_at: None,
            last_status: None,
            last_error: None,
            delivered_at: None,
        }
    }
}

impl Callback {
    /// Whether the task of `dispatch` still has something to do.
    #[must_use]
    pub fn awaits(&self, dispatch: u32) -> bool {
        self.status == CallbackStatus::Pending && self.dispatch == dispatch
    }

    /// After an attempt at `now`; `max_attempts` failures of one dispatch end it.
    #[must_use]
    pub fn after(&self, attempted: &Attempted, now: Timestamp, max_attempts: u32) -> Self {
        let mut next = self.clone();
        next.attempts = self.attempts.saturating_add(1);
        next.last_attempt_at = Some(now);
        next.last_status = attempted.status;
        next.last_error = attempted
            .error
            .as_ref()
            .map(|text| text.chars().take(MAX_DETAIL).collect());
        if attempted.error.is_none() {
            next.status = CallbackStatus::Delivered;
            next.delivered_at = Some(now);
            return next;
        }
        next.failures = self.failures.saturating_add(1);
        if attempted.is_final || next.failures >= max_attempts {
            next.status = CallbackStatus::Undelivered;
        }
        next
    }

    /// To be delivered once more, whatever became of it before.
    #[must_use]
    pub fn again(&self) -> Redelivered {
        if self.dispatch >= MAX_REDELIVERIES {
            return Redelivered::TooOften;
        }
        Redelivered::Again(Self {
            status: CallbackStatus::Pending,
            dispatch: self.dispatch + 1,
            failures: 0,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempted(error: Option<&str>) -> Attempted {
        Attempted {
            status: Some(if error.is_some() { 500 } else { 204 }),
            error: error.map(str::to_owned),
            is_final: false,
        }
    }

    #[test]
    fn failures_end_it_and_asking_again_begins_anew() {
        let at = Timestamp::from_millis;
        let first = Callback::default().after(&attempted(Some("no")), at(1), 2);
        assert!(first.awaits(0));
        let dead = first.after(&attempted(Some("no")), at(2), 2);
        assert_eq!(
            (dead.status, dead.attempts),
            (CallbackStatus::Undelivered, 2)
        );
        let Redelivered::Again(again) = dead.again() else {
            panic!("once more is allowed");
        };
        assert!(again.awaits(1) && !again.awaits(0), "old tasks are stale");
        let done = again.after(&attempted(None), at(3), 2);
        assert_eq!(done.status, CallbackStatus::Delivered);
        assert_eq!(
            (done.attempts, done.last_error, done.delivered_at),
            (3, None, Some(at(3)))
        );
    }

    #[test]
    fn a_final_failure_ends_it_at_once_and_asking_is_bounded() {
        let refused = Attempted {
            is_final: true,
            ..attempted(Some(&"x".repeat(500)))
        };
        let mut callback = Callback::default().after(&refused, Timestamp::from_millis(1), 9);
        assert_eq!(callback.status, CallbackStatus::Undelivered);
        assert_eq!(callback.last_error.as_ref().map(String::len), Some(200));
        let mut asked = 0;
        while let Redelivered::Again(next) = callback.again() {
            callback = next;
            asked += 1;
        }
        assert_eq!(asked, MAX_REDELIVERIES);
    }
}
