//! From parsed JSON to the values signatures are made over.

use oscillink_lattice::signature::Value;
use serde_json::Value as Json;

pub(crate) fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number.as_i64().map_or_else(
            || Value::Float(number.as_f64().unwrap()),
            |integer| Value::Int(integer.into()),
        ),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(to_value).collect()),
        Json::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| (key.clone(), to_value(member)))
                .collect(),
        ),
    }
}
