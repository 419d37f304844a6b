//! Fields of spans and events, each value as JSON text from the moment it is recorded.

use std::fmt;
use std::ops::Range;

use serde::Serialize;
use tracing::field::{Field, Visit};

use super::is_for_traces;

/// Fields of a span or an event. There are few: looking through them is quicker than a map.
pub(super) struct Fields {
    text: Vec<u8>,
    /// Names, and where in `text` the values are.
    places: Vec<(&'static str, Range<usize>)>,
}

impl Fields {
    /// None yet; room for those of a request.
    pub(super) fn new() -> Self {
        Self {
            text: Vec::with_capacity(256),
            places: Vec::with_capacity(16),
        }
    }

    /// The value of a field, as JSON.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, place) = self.places.iter().find(|(known, _)| *known == name)?;
        Some(&self.text[place.clone()])
    }

    /// Each field once, in the order in which they were first recorded.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let value = |(name, place): &(_, Range<usize>)| (*name, &self.text[place.clone()]);
        self.places.iter().map(value)
    }

    /// Adds an outer span's fields; the inner value of a name stands.
    pub(super) fn inherit(&mut self, outer: &Self) {
        let base = self.text.len();
        self.text.extend_from_slice(&outer.text);
        for (name, place) in &outer.places {
            if self.get(name).is_none() {
                self.places
                    .push((name, base + place.start..base + place.end));
            }
        }
    }

    fn put(&mut self, field: &Field, value: impl Serialize) {
        let name = field.name();
        if is_for_traces(name) {
            return;
        }
        let start = self.text.len();
        // Texts and numbers always have a form in JSON.
        let _ = serde_json::to_writer(&mut self.text, &value);
        let place = start..self.text.len();
        match self.places.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = place,
            None => self.places.push((name, place)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
