//! Keeps the first fault of a parse with its path, which serde's own errors cannot carry.

use std::cell::RefCell;
use std::fmt::Display;

use serde::de;

use crate::error::WireError;

#[derive(Default)]
pub(crate) struct Faults(RefCell<Option<WireError>>);

impl Faults {
    /// Notes where a parser error happened, unless a place nearer to it has been noted.
    pub(crate) fn note(&self, field: impl FnOnce() -> String, detail: &impl Display) {
        let mut slot = self.0.borrow_mut();
        if slot.is_none() {
            *slot = Some(WireError::field(field(), detail.to_string()));
        }
    }

    /// Stops the parse with `error`.
    pub(crate) fn stop<E: de::Error>(&self, error: WireError) -> E {
        self.0.borrow_mut().get_or_insert(error);
        E::custom("see the noted fault")
    }

    /// Stops the parse with a field at fault.
    pub(crate) fn refuse<E: de::Error>(&self, field: String, detail: impl Into<String>) -> E {
        self.stop(WireError::field(field, detail))
    }

    pub(crate) fn into_first(self) -> Option<WireError> {
        self.0.into_inner()
    }
}
