//! A document as Firestore holds it: the JSON object's fields, and two of our own.
//!
//! `ttl` is a timestamp for the collection's TTL policy. `aside` holds, as the JSON text of an
//! object, the fields that cannot stand for themselves: those with names that Firestore or this
//! module reserves, values of indexed fields that queries must not find, and, for a document that
//! Firestore's own encoding would make too large, all that are not indexed.

use std::collections::HashMap;

use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{Document, Value as Stored};
use firestore::gcloud_sdk::prost_types::Timestamp;
use oscillink_ports::{Collection, DocKey, MAX_DOCUMENT_BYTES, Operand, PortError};
use serde_json::{Map, Value};

use super::value::{self, storable_name, stored};

/// Our field for Firestore's TTL policy.
pub(super) const TTL: &str = "ttl";
/// Our field for the fields that cannot stand for themselves.
const ASIDE: &str = "aside";
/// How long after `expires_at` Firestore may remove a document. The engine's sweeper removes it,
/// with what belongs to it, much earlier; this catches what a sweeper that did not run left behind.
const TTL_MARGIN_MS: i64 = 24 * 3_600_000;
/// Largest sum of the fields' sizes; Firestore's limit is 1 MiB with the document's name.
const MAX_STORED_BYTES: usize = 1_000_000;

/// The fields of `body`.
pub(super) fn encode(key: &DocKey, body: &Value) -> Result<HashMap<String, Stored>, PortError> {
    let refused = |detail: String| PortError::Refused {
        detail: format!("{key}: {detail}"),
    };
    let Value::Object(body) = body else {
        return Err(refused("a document is a JSON object".to_owned()));
    };
    let length = serde_json::to_string(body)
        .map_err(PortError::corrupt)?
        .len();
    if length > MAX_DOCUMENT_BYTES {
        return Err(refused(format!(
            "{length} bytes are more than the {MAX_DOCUMENT_BYTES} of a document"
        )));
    }
    let fields = split(body, |name, value| stands_for_itself(key, name, value));
    let size: usize = fields
        .iter()
        .map(|(name, value)| name.len() + 1 + value::size_bytes(value))
        .sum();
    if size <= MAX_STORED_BYTES {
        return Ok(fields);
    }
    Ok(split(body, |name, value| {
        indexed(key.collection, name) && stands_for_itself(key, name, value)
    }))
}

/// The fields, those for which `plain` holds as themselves and the others aside.
fn split(
    body: &Map<String, Value>,
    plain: impl Fn(&str, &Value) -> bool,
) -> HashMap<String, Stored> {
    let mut fields = HashMap::with_capacity(body.len() + 1);
    let mut aside = Map::new();
    for (name, value) in body {
        if plain(name, value) {
            fields.insert(name.clone(), value::encode(value));
        } else {
            aside.insert(name.clone(), value.clone());
        }
    }
    if !aside.is_empty() {
        fields.insert(ASIDE.to_owned(), value::as_text(&Value::Object(aside)));
    }
    if let Some(ttl) = ttl(body) {
        fields.insert(TTL.to_owned(), ttl);
    }
    fields
}

fn stands_for_itself(key: &DocKey, name: &str, value: &Value) -> bool {
    let ours = name == TTL || name == ASIDE;
    // A query must not find a null or a float where the port promises strings, integers, booleans.
    let queried = !indexed(key.collection, name) || Operand::from_value(value).is_some();
    !ours && storable_name(name) && queried
}

fn indexed(collection: Collection, name: &str) -> bool {
    collection.indexed_fields().contains(&name)
}

/// When Firestore may remove the document. Never while it is live: a job that is not ended must not
/// disappear, however late it is.
fn ttl(body: &Map<String, Value>) -> Option<Stored> {
    let live = body.get("live").and_then(Value::as_bool) == Some(true);
    let expires_ms = body
        .get("expires_at")
        .and_then(Value::as_i64)
        .filter(|_| !live)?;
    let ms = expires_ms.saturating_add(TTL_MARGIN_MS);
    // Years 1 to 9999.
    let valid = (-62_135_596_800_000..253_402_300_800_000).contains(&ms);
    valid.then(|| {
        stored(ValueType::TimestampValue(Timestamp {
            seconds: ms.div_euclid(1_000),
            nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
        }))
    })
}

/// The JSON object of a stored document.
pub(super) fn decode(key: &DocKey, document: Document) -> Result<Value, PortError> {
    let corrupt = |name: &str, error: value::Malformed| PortError::Corrupt {
        detail: format!("{key}: field {name}: {error}"),
    };
    let mut body = Map::new();
    let mut aside = None;
    for (name, value) in document.fields {
        match name.as_str() {
            TTL => {}
            ASIDE => aside = Some(value::decode(value).map_err(|e| corrupt(ASIDE, e))?),
            _ => {
                let value = value::decode(value).map_err(|e| corrupt(&name, e))?;
                body.insert(name, value);
            }
        }
    }
    if let Some(Value::Object(aside)) = aside {
        body.extend(aside);
    }
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> DocKey {
        DocKey::new(Collection::Jobs, "job")
    }

    fn round_trip(body: &Value) -> HashMap<String, Stored> {
        let fields = encode(&job(), body).unwrap();
        let document = Document {
            fields: fields.clone(),
            ..Document::default()
        };
        assert_eq!(&decode(&job(), document).unwrap(), body);
        fields
    }

    #[test]
    fn names_that_are_taken_are_set_aside() {
        let body = json!({"ttl": 1, "aside": [2], "__x__": 3, "": 4, "plain": 5});
        let fields = round_trip(&body);
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["aside", "plain"]);
    }

    #[test]
    fn indexed_fields_hold_only_what_queries_compare() {
        let fields =
            round_trip(&json!({"due_at": null, "created_at": 1.5, "tag": 1.5, "live": true}));
        assert!(!fields.contains_key("due_at") && !fields.contains_key("created_at"));
        assert!(fields.contains_key("tag") && fields.contains_key("live"));
    }

    #[test]
    fn an_ended_document_gets_a_ttl_and_a_live_one_does_not() {
        let ended = round_trip(&json!({"expires_at": 1_000, "live": false}));
        let at = Timestamp {
            seconds: 1 + TTL_MARGIN_MS / 1_000,
            nanos: 0,
        };
        assert_eq!(ended[TTL], stored(ValueType::TimestampValue(at)));
        assert!(round_trip(&json!({"expires_at": 1_000})).contains_key(TTL));
        assert!(!round_trip(&json!({"expires_at": 1_000, "live": true})).contains_key(TTL));
        assert!(!round_trip(&json!({"expires_at": "x"})).contains_key(TTL));
        assert!(!round_trip(&json!({"expires_at": i64::MAX})).contains_key(TTL));
    }

    #[test]
    fn a_document_that_swells_is_kept_as_text() {
        let numbers: Vec<u8> = vec![1; 300_000];
        let fields = round_trip(&json!({"numbers": numbers, "live": true}));
        assert!(!fields.contains_key("numbers") && fields.contains_key("live"));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in [json!([]), json!({"t": "x".repeat(MAX_DOCUMENT_BYTES)})] {
            let refused = encode(&job(), &bad);
            assert!(matches!(refused, Err(PortError::Refused { .. })));
        }
    }
}
