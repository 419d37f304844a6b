//! A JSON value as a Firestore value, and back without loss.
//!
//! Null, booleans, integers, floats, strings, lists and maps are stored as their own kind, so that
//! they can be queried and read in the console. What Firestore cannot hold is stored as bytes, the
//! value's JSON text: an integer beyond 63 bits, a list directly in a list, a map with a reserved,
//! empty or overlong key, and nesting beyond a depth. JSON has no bytes, so nothing is ambiguous.

use firestore::gcloud_sdk::google::firestore::v1::value::ValueType;
use firestore::gcloud_sdk::google::firestore::v1::{ArrayValue, MapValue, Value as Stored};
use serde_json::{Map, Number, Value};

/// Levels of lists and maps that are stored as such. Firestore's own limit is 20.
const MAX_DEPTH: usize = 16;
/// Longest name of a field, bytes.
const MAX_FIELD_NAME_LEN: usize = 1_500;

/// Whether Firestore takes `name` as a field's name.
pub(super) fn storable_name(name: &str) -> bool {
    let reserved = name.len() >= 4 && name.starts_with("__") && name.ends_with("__");
    (1..=MAX_FIELD_NAME_LEN).contains(&name.len()) && !reserved
}

/// A value that means `kind`.
pub(super) const fn stored(kind: ValueType) -> Stored {
    Stored {
        value_type: Some(kind),
    }
}

/// The value as bytes: its JSON text.
pub(super) fn as_text(value: &Value) -> Stored {
    stored(ValueType::BytesValue(value.to_string().into_bytes()))
}

/// The value as Firestore holds it.
pub(super) fn encode(value: &Value) -> Stored {
    encode_at(value, 0)
}

fn encode_at(value: &Value, depth: usize) -> Stored {
    match value {
        Value::Null => stored(ValueType::NullValue(0)),
        Value::Bool(value) => stored(ValueType::BooleanValue(*value)),
        Value::String(value) => stored(ValueType::StringValue(value.clone())),
        Value::Number(number) => encode_number(number).unwrap_or_else(|| as_text(value)),
        Value::Array(items) if depth < MAX_DEPTH => {
            let values = items.iter().map(|item| match item {
                Value::Array(_) => as_text(item),
                _ => encode_at(item, depth + 1),
            });
            stored(ValueType::ArrayValue(ArrayValue {
                values: values.collect(),
            }))
        }
        Value::Object(map) if depth < MAX_DEPTH && map.keys().all(|name| storable_name(name)) => {
            let fields = map
                .iter()
                .map(|(name, value)| (name.clone(), encode_at(value, depth + 1)));
            stored(ValueType::MapValue(MapValue {
                fields: fields.collect(),
            }))
        }
        Value::Array(_) | Value::Object(_) => as_text(value),
    }
}

/// `None` for what neither an integer nor a float of Firestore holds exactly.
fn encode_number(number: &Number) -> Option<Stored> {
    if let Some(integer) = number.as_i64() {
        return Some(stored(ValueType::IntegerValue(integer)));
    }
    let float = number.as_f64().filter(|_| number.is_f64())?;
    Some(stored(ValueType::DoubleValue(float)))
}

/// A stored value is not one that [`encode`] makes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a value of a kind that is not used here: {0}")]
    Kind(&'static str),
    #[error("a float that JSON does not have: {0}")]
    Float(f64),
    #[error("bytes that are not JSON text: {0}")]
    Text(#[from] serde_json::Error),
}

/// The JSON value of a stored one.
pub(super) fn decode(value: Stored) -> Result<Value, Malformed> {
    Ok(match value.value_type {
        Some(ValueType::NullValue(_)) => Value::Null,
        Some(ValueType::BooleanValue(value)) => Value::Bool(value),
        Some(ValueType::IntegerValue(value)) => Value::Number(value.into()),
        Some(ValueType::DoubleValue(value)) => {
            Value::Number(Number::from_f64(value).ok_or(Malformed::Float(value))?)
        }
        Some(ValueType::StringValue(value)) => Value::String(value),
        Some(ValueType::BytesValue(text)) => serde_json::from_slice(&text)?,
        Some(ValueType::ArrayValue(list)) => Value::Array(
            list.values
                .into_iter()
                .map(decode)
                .collect::<Result<_, _>>()?,
        ),
        Some(ValueType::MapValue(map)) => {
            let fields = map.fields.into_iter();
            Value::Object(
                fields
                    .map(|(name, value)| Ok((name, decode(value)?)))
                    .collect::<Result<Map<_, _>, Malformed>>()?,
            )
        }
        Some(ValueType::TimestampValue(_)) => return Err(Malformed::Kind("timestamp")),
        Some(_) => return Err(Malformed::Kind("another")),
        None => return Err(Malformed::Kind("none")),
    })
}

/// What a value counts towards Firestore's limit of a document's size, bytes.
pub(super) fn size_bytes(value: &Stored) -> usize {
    match &value.value_type {
        Some(ValueType::StringValue(text)) => text.len() + 1,
        Some(ValueType::BytesValue(bytes)) => bytes.len(),
        Some(ValueType::ArrayValue(list)) => list.values.iter().map(size_bytes).sum(),
        Some(ValueType::MapValue(map)) => map
            .fields
            .iter()
            .map(|(name, value)| name.len() + 1 + size_bytes(value))
            .sum::<usize>(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, n| match n % 2 {
            0 => json!({ "in": inner }),
            _ => json!([inner]),
        })
    }

    #[test]
    fn every_value_comes_back() {
        for value in [
            json!(null),
            json!(true),
            json!([0, -1, i64::MAX, i64::MIN, u64::MAX, u64::MAX - 1]),
            json!([0.1, -0.0, 1.0, 1e300, 5e-324, 123_456.789]),
            json!("ünïcode \u{0}"),
            json!([[1, [2]], [], {"a": [[{}]]}]),
            json!({"": 1, "ok": 2}),
            json!({"a": {"__name__": [1]}, "____": {}}),
            json!({"b": {"x".repeat(1_501): null}}),
            nested(3),
            nested(40),
        ] {
            let back = decode(encode(&value)).unwrap();
            assert_eq!(back, value);
            assert_eq!(back.to_string(), value.to_string());
        }
    }

    #[test]
    fn plain_values_are_stored_as_their_own_kind() {
        assert_eq!(
            encode(&json!(7)),
            stored(ValueType::IntegerValue(7)),
            "an integer"
        );
        assert_eq!(encode(&json!(7.0)), stored(ValueType::DoubleValue(7.0)));
        assert_eq!(
            encode(&json!(u64::MAX)),
            stored(ValueType::BytesValue(b"18446744073709551615".to_vec()))
        );
        let list = encode(&json!([1, [2]]));
        let inner = stored(ValueType::BytesValue(b"[2]".to_vec()));
        let Some(ValueType::ArrayValue(list)) = list.value_type else {
            panic!("not a list: {list:?}");
        };
        assert_eq!(list.values[1], inner);
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        for bad in [
            ValueType::DoubleValue(f64::NAN),
            ValueType::BytesValue(b"{".to_vec()),
            ValueType::ReferenceValue("x".to_owned()),
        ] {
            assert!(decode(stored(bad)).is_err());
        }
        assert!(decode(Stored::default()).is_err());
    }
}
