//! Small documents that the writer used lately, as they stand in the tables.
//!
//! A job's record and its key's meter are read and written again and again in short order; found
//! here, they need not be looked up.

use std::collections::HashMap;
use std::sync::Arc;

use oscillink_ports::DocKey;

use super::field::Field;

/// A document as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) text: Arc<str>,
    /// Those that have a column, in the order of their columns.
    pub(super) fields: Vec<Field>,
}

/// A document in its table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) rowid: i64,
    pub(super) document: Document,
}

impl Row {
    /// About the memory that keeping it takes.
    fn bytes(&self) -> usize {
        self.document.text.len() + BYTES_BESIDE_TEXT
    }
}

/// Larger documents are not kept: they are written once and read by others.
const MAX_KEPT_BYTES: usize = 8 << 10;
/// What a document takes beside its text: fields, key, places in the tables.
const BYTES_BESIDE_TEXT: usize = 600;

/// The documents used lately, in two generations: when the younger is full, the older one goes.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashMap<DocKey, Row>,
    young_bytes: usize,
    old: HashMap<DocKey, Row>,
    max_bytes: usize,
}

impl Recent {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    /// The document, if it was used lately.
    pub(super) fn get(&self, key: &DocKey) -> Option<Row> {
        self.young.get(key).or_else(|| self.old.get(key)).cloned()
    }

    /// Notes the document as it stands in the table now; `None` when it is not there.
    pub(super) fn note(&mut self, key: DocKey, row: Option<Row>) {
        self.old.remove(&key);
        if let Some(before) = self.young.remove(&key) {
            self.young_bytes -= before.bytes();
        }
        let Some(row) = row.filter(|row| row.document.text.len() <= MAX_KEPT_BYTES) else {
            return;
        };
        self.young_bytes += row.bytes();
        self.young.insert(key, row);
        if self.young_bytes * 2 > self.max_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }

    /// Forgets everything: someone else has written, or a commit failed.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.young_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use oscillink_ports::Collection;

    use super::*;

    fn key(n: usize) -> DocKey {
        DocKey::new(Collection::Jobs, n.to_string())
    }

    fn row(n: usize, bytes: usize) -> Row {
        let document = Document {
            text: "x".repeat(bytes).into(),
            fields: Vec::new(),
        };
        Row {
            rowid: n as i64,
            document,
        }
    }

    #[test]
    fn keeps_what_was_used_lately_within_its_bytes() {
        let mut recent = Recent::new(80 * (BYTES_BESIDE_TEXT + 1));
        for n in 0..100 {
            recent.note(key(0), Some(row(n, 1)));
            recent.note(key(n + 1), Some(row(n, 1)));
            let kept = recent.young.len() + recent.old.len();
            assert!(kept <= 82, "{kept}");
        }
        assert_eq!(recent.get(&key(0)).unwrap().rowid, 99);
        assert!(recent.get(&key(100)).is_some());
        assert!(recent.get(&key(1)).is_none());
        recent.note(key(100), None);
        assert!(recent.get(&key(100)).is_none());
        recent.note(key(0), Some(row(5, MAX_KEPT_BYTES + 1)));
        assert!(recent.get(&key(0)).is_none());
        recent.clear();
        assert!(recent.get(&key(99)).is_none());
    }
}
