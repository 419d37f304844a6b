//! Where a document lies: the full name that the API wants.

use oscillink_ports::{Collection, DocKey, PortError};

/// Longest id, characters.
const MAX_ID_LEN: usize = 200;
/// Begins the stored form of an id that Firestore reserves; no id contains it.
const ESCAPE: char = '~';

/// Names of one database's documents.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// `projects/…/databases/…/documents`.
    root: String,
}

impl Names {
    pub(super) fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The document's full name.
    ///
    /// # Errors
    /// The id is not 1 to 200 characters of `[A-Za-z0-9._-]`.
    pub(super) fn of(&self, key: &DocKey) -> Result<String, PortError> {
        let valid = (1..=MAX_ID_LEN).contains(&key.id.len())
            && key
                .id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !valid {
            let start: String = key.id.chars().take(40).collect();
            return Err(PortError::Refused {
                detail: format!("{start:?} is not a document id"),
            });
        }
        Ok(self.place(key.collection, &key.id))
    }

    /// The name that an id of any form has; for cursors, which need no document.
    pub(super) fn place(&self, collection: Collection, id: &str) -> String {
        let escape = if reserved(id) {
            ESCAPE.to_string()
        } else {
            String::new()
        };
        format!("{}/{}/{escape}{id}", self.root, collection.as_str())
    }

    /// The id in a document's full name.
    pub(super) fn id_of(name: &str) -> &str {
        let id = name.rsplit_once('/').map_or(name, |(_, id)| id);
        id.strip_prefix(ESCAPE).unwrap_or(id)
    }
}

/// Ids that the port allows and Firestore does not.
fn reserved(id: &str) -> bool {
    matches!(id, "." | "..") || (id.len() >= 4 && id.starts_with("__") && id.ends_with("__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_names() {
        let names = Names::new("projects/p/databases/(default)/documents");
        for id in ["job_1", ".", "..", "__x__", "____", "__", "_a_", "a.b-c"] {
            let name = names.of(&DocKey::new(Collection::Jobs, id)).unwrap();
            assert_eq!(Names::id_of(&name), id);
            let last = name.rsplit('/').next().unwrap();
            assert!(!reserved(last), "{last}");
        }
        let plain = names.of(&DocKey::new(Collection::Jobs, "job_1")).unwrap();
        assert_eq!(plain, "projects/p/databases/(default)/documents/jobs/job_1");
    }

    #[test]
    fn ids_outside_the_rules_are_refused() {
        let names = Names::new("root");
        for bad in ["", "a/b", "ä", "~a", &"x".repeat(201)] {
            let refused = names.of(&DocKey::new(Collection::Jobs, bad));
            assert!(matches!(refused, Err(PortError::Refused { .. })), "{bad:?}");
        }
    }
}
