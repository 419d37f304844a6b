//! The port's rules for documents, and the form in which they are stored.

use std::sync::Arc;

use oscillink_ports::{Body, DocKey, MAX_DOCUMENT_BYTES, PortError};
use serde_json::Value;

use super::field;
use super::recent::Document;
use crate::embedded::error::EmbeddedError;

const MAX_ID_LEN: usize = 200;

/// Refuses an id that is not 1 to 200 characters of `[A-Za-z0-9._-]`.
pub(super) fn check_id(key: &DocKey) -> Result<(), PortError> {
    let valid = (1..=MAX_ID_LEN).contains(&key.id.len())
        && key
            .id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if valid {
        Ok(())
    } else {
        let start: String = key.id.chars().take(40).collect();
        Err(PortError::Refused {
            detail: format!("{:?} is not a document id", start),
        })
    }
}

/// A document to be stored.
pub(super) fn document(key: &DocKey, body: Body) -> Result<Document, PortError> {
    let refused = |detail: String| PortError::Refused {
        detail: format!("{key}: {detail}"),
    };
    let text = body.into_text()?;
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(refused(format!(
            "{} bytes are more than the {MAX_DOCUMENT_BYTES} of a document",
            text.len()
        )));
    }
    let fields = field::of(&text, key.collection.indexed_fields())
        .map_err(|_| refused("a document is a JSON object".to_owned()))?;
    Ok(Document { text, fields })
}

/// A document that is stored.
pub(super) fn stored(key: &DocKey, text: Arc<str>) -> Result<Document, EmbeddedError> {
    let fields = field::of(&text, key.collection.indexed_fields());
    let fields = fields.map_err(|error| EmbeddedError::malformed(key.to_string(), error))?;
    Ok(Document { text, fields })
}

/// The tree of a stored text.
pub(super) fn parse(text: &[u8], key: &DocKey) -> Result<Value, EmbeddedError> {
    serde_json::from_slice(text).map_err(|error| EmbeddedError::malformed(key.to_string(), error))
}
