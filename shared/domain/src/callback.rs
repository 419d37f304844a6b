//! Completion callbacks: where they may go, and how far one's delivery is.

mod address;
mod delivery;

pub use address::{check_url, is_public};
pub use delivery::{Attempted, Callback, CallbackStatus, MAX_REDELIVERIES, Redelivered};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Which of a key's callback secrets are in force. The secrets themselves are derived, not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackSecrets {
    /// Raised by every rotation.
    pub generation: u32,
    /// Until then the secret of the generation before signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<Timestamp>,
    /// What the last rotation was named by, so that a repeat of it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_id: Option<String>,
}

impl CallbackSecrets {
    /// Generations whose secrets sign at `now`, newest first.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Vec<u32> {
        let previous = self.previous_until.filter(|until| now < *until);
        let previous = previous.and(self.generation.checked_sub(1));
        std::iter::once(self.generation).chain(previous).collect()
    }

    /// After the rotation that `effect_id` names; the present secret signs on until `previous_until`.
    #[must_use]
    pub fn rotated(&self, effect_id: &str, previous_until: Timestamp) -> Self {
        if self.effect_id.as_deref() == Some(effect_id) {
            return self.clone();
        }
        Self {
            generation: self.generation.saturating_add(1),
            previous_until: Some(previous_until),
            effect_id: Some(effect_id.to_owned()),
        }
    }

    /// Whether nothing was ever rotated: then nothing needs to be stored.
    #[must_use]
    pub fn is_first(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sign_during_the_overlap_and_a_repeat_rotates_once() {
        let at = Timestamp::from_millis;
        let first = CallbackSecrets::default();
        assert_eq!(first.in_force(at(0)), [0]);
        let second = first.rotated("a", at(10));
        assert_eq!(second.rotated("a", at(99)), second);
        assert_eq!(second.in_force(at(9)), [1, 0]);
        assert_eq!(second.in_force(at(10)), [1]);
        let third = second.rotated("b", at(5));
        assert_eq!(third.in_force(at(0)), [2, 1]);
    }
}
