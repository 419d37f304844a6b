//! Small contents that this process staged lately, to be read again without the store.
//!
//! Where gateway and worker are one process, a payload is wanted moments after it was written. A
//! content never changes under its name, and only a job whose transaction took effect names it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Contents by name, the oldest given up first.
#[derive(Debug, Default)]
pub(crate) struct RecentContents {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_name: HashMap<String, Bytes>,
    order: VecDeque<String>,
    bytes: usize,
}

impl RecentContents {
    /// Keeps up to `max_bytes` of contents; 0 keeps none.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            kept: Mutex::default(),
        }
    }

    /// Keeps a content.
    pub(crate) fn put(&self, name: &str, content: &Bytes) {
        if content.len() > self.max_bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += content.len();
        if let Some(before) = kept.by_name.insert(name.to_owned(), content.clone()) {
            kept.bytes -= before.len();
        } else {
            kept.order.push_back(name.to_owned());
        }
        while kept.bytes > self.max_bytes {
            let Some(oldest) = kept.order.pop_front() else {
                return;
            };
            if let Some(gone) = kept.by_name.remove(&oldest) {
                kept.bytes -= gone.len();
            }
        }
    }

    /// A content, if it is still here.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_name.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_given_up() {
        let recent = RecentContents::new(10);
        for name in ["a", "b", "c"] {
            recent.put(name, &Bytes::from_static(b"1234"));
        }
        assert_eq!(recent.get("a"), None);
        assert_eq!(recent.get("c"), Some(Bytes::from_static(b"1234")));
        recent.put("d", &Bytes::from_static(b"more than there is room"));
        assert_eq!(recent.get("d"), None);
        assert!(recent.get("b").is_some());
    }

    #[test]
    fn a_content_staged_again_counts_once() {
        let recent = RecentContents::new(10);
        for _ in 0..5 {
            recent.put("a", &Bytes::from_static(b"1234"));
        }
        recent.put("b", &Bytes::from_static(b"1234"));
        assert!(recent.get("a").is_some());
    }
}
