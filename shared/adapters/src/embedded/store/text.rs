//! The JSON text of a document.
//!
//! It is what `serde_json` writes. A string that needs no escapes, and most of a large payload is
//! one, is recognised many bytes at a time and copied whole: the writer's thread is where all
//! transactions meet, so its time counts.

use std::fmt::Write as _;

use serde_json::Value;

/// The text of `value`.
pub(super) fn of(value: &Value) -> String {
    let mut out = String::with_capacity(estimate(value));
    write_value(&mut out, value);
    out
}

fn estimate(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(items) => 2 + items.iter().map(estimate).sum::<usize>(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| name.len() + 4 + estimate(value);
            2 + fields.iter().map(field).sum::<usize>()
        }
        _ => 8,
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (n, (name, value)) in fields.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write_value(out, value);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    if needs_no_escape(text.as_bytes()) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // A string always serialises.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

fn needs_no_escape(bytes: &[u8]) -> bool {
    let special = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
    // Without an early exit inside a chunk, so that it compiles to vector instructions.
    bytes.chunks(128).all(|chunk| {
        !chunk
            .iter()
            .fold(false, |found, byte| found | special(byte))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_what_serde_json_writes() {
        let all_ascii: String = (0u8..128).map(char::from).collect();
        let mut values = vec![
            json!(null),
            json!([
                true,
                false,
                0,
                -1,
                i64::MIN,
                u64::MAX,
                0.1,
                1e300,
                -0.0,
                1.0
            ]),
            json!({"": "", "a\"b": {"c": [[], {}, [1, [2]]]}, "ü": "\u{1F980}"}),
            json!(all_ascii),
        ];
        // One special character at every place around the borders of a chunk.
        for place in 0..300 {
            let mut text = "x".repeat(300);
            text.replace_range(place..=place, "\\");
            values.push(json!([text]));
        }
        for value in values {
            assert_eq!(of(&value), serde_json::to_string(&value).unwrap());
        }
    }
}
