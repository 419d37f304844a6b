//! Where a small document or a query is at fault, and why, in the API's words.
//!
//! `serde` tells both as texts for programmers. The place comes from `serde_path_to_error`; the texts,
//! whose forms `serde` keeps, are put into plain words here.

use oscillink_wire::FieldError;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// A JSON object as `T`; errors name the field by its path.
pub fn document<T: DeserializeOwned>(text: &[u8]) -> Result<T, FieldError> {
    if text.trim_ascii_start().first() != Some(&b'{') {
        // Values in a row would be taken for fields in their order.
        return Err(FieldError::new("body", "must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| explain(&error.path().to_string(), error.inner(), "body"))?;
    json.end().map_err(|error| explain(".", &error, "body"))?;
    Ok(value)
}

/// The pairs of a query as `T`, whose fields are texts.
pub fn query<T: DeserializeOwned>(pairs: Vec<(String, String)>) -> Result<T, FieldError> {
    let mut members = serde_json::Map::new();
    for (name, text) in pairs {
        if members.insert(name.clone(), text.into()).is_some() {
            return Err(FieldError::new(name, "is given twice"));
        }
    }
    serde_path_to_error::deserialize(serde_json::Value::Object(members))
        .map_err(|error| explain(&error.path().to_string(), error.inner(), "query"))
}

/// `whole` names the document where no field is at fault.
fn explain(path: &str, error: &serde_json::Error, whole: &str) -> FieldError {
    let text = error.to_string();
    if matches!(
        error.classify(),
        Category::Syntax | Category::Eof | Category::Io
    ) {
        return FieldError::new(whole, format!("is not JSON: {text}"));
    }
    let text = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(text, _)| text);
    let path = if path == "." { "" } else { path };
    let (member, detail) = in_plain_words(text, whole);
    let field = match member {
        // Some of these errors have the member's own path, others that of the object it is in.
        Some(member) if path != member && !path.ends_with(&format!(".{member}")) => {
            format!("{path}{}{member}", if path.is_empty() { "" } else { "." })
        }
        _ if path.is_empty() => whole.to_owned(),
        _ => path.to_owned(),
    };
    FieldError::new(field, detail)
}

/// The member of the object at fault, where the text names one, and what is wrong.
fn in_plain_words<'a>(text: &'a str, whole: &str) -> (Option<&'a str>, String) {
    for (start, detail) in [
        ("missing field ", "is missing"),
        ("duplicate field ", "is given twice"),
    ] {
        if let Some(name) = text.strip_prefix(start) {
            return (Some(name.trim_matches('`')), detail.to_owned());
        }
    }
    if let Some(rest) = text.strip_prefix("unknown field `") {
        let (name, expected) = rest.split_once("`, ").unwrap_or((rest, ""));
        let known = listed(expected);
        let thing = if whole == "query" {
            "parameter"
        } else {
            "field"
        };
        let detail = format!("is not a {thing}; expected one of {known}");
        return (Some(name), detail);
    }
    if text.starts_with("unknown variant ") {
        let expected = text.rsplit_once("`, expected ").map_or("", |(_, e)| e);
        return (None, format!("must be one of {}", listed(expected)));
    }
    let wrong = text.starts_with("invalid type: ") || text.starts_with("invalid value: ");
    if let (true, Some((_, expected))) = (wrong, text.rsplit_once(", expected ")) {
        return (None, format!("must be {}", kind(expected)));
    }
    (None, text.to_owned())
}

/// The names between back quotes.
fn listed(expected: &str) -> String {
    let names: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    names.join(", ")
}

/// What `serde` and the types of Rust call a value.
fn kind(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, 0 or more, and not too large",
        "isize" | "i64" | "i32" => "a whole number, and not too large",
        "f64" | "f32" => "a number",
        "a string" | "string" | "string or map" => "a text",
        "a boolean" => "true or false",
        // Enums and structs have names of their own.
        text if text.starts_with("struct ") || text == "a map" => "an object",
        text if text.starts_with("enum ") || text == "variant identifier" => "a text",
        text if text.starts_with("a sequence") => "a list",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Size {
        Small,
        Large,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        count: Option<usize>,
        share: Option<f64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Outer {
        name: String,
        size: Option<Size>,
        on: Option<bool>,
        inner: Option<Inner>,
        list: Option<Vec<i64>>,
    }

    #[test]
    fn errors_name_the_field_by_its_path_in_plain_words() {
        let whole = "a whole number, 0 or more, and not too large";
        for (text, expected) in [
            ("{}", "name: is missing".to_owned()),
            (r#"{"name": 5}"#, "name: must be a text".to_owned()),
            (
                r#"{"name": "a", "name": "b"}"#,
                "name: is given twice".to_owned(),
            ),
            (
                r#"{"name": "a", "size": "at line 1"}"#,
                "size: must be one of small, large".to_owned(),
            ),
            (
                r#"{"name": "a", "size": "b`, expected `c"}"#,
                "size: must be one of small, large".to_owned(),
            ),
            (
                r#"{"name": "a", "on": "yes"}"#,
                "on: must be true or false".to_owned(),
            ),
            (
                r#"{"name": "a", "inner": {"count": -1}}"#,
                format!("inner.count: must be {whole}"),
            ),
            (
                r#"{"name": "a", "inner": {"count": "many"}}"#,
                format!("inner.count: must be {whole}"),
            ),
            (
                r#"{"name": "a", "inner": {"share": []}}"#,
                "inner.share: must be a number".to_owned(),
            ),
            (
                r#"{"name": "a", "inner": {"speed": 1}}"#,
                "inner.speed: is not a field; expected one of count, share".to_owned(),
            ),
            (
                r#"{"name": "a", "inner": {"count": 1, "count": 1}}"#,
                "inner.count: is given twice".to_owned(),
            ),
            (
                r#"{"name": "a", "inner": 3}"#,
                "inner: must be an object".to_owned(),
            ),
            (
                r#"{"name": "a", "list": [1, "b"]}"#,
                "list[1]: must be a whole number, and not too large".to_owned(),
            ),
            (r#"["a"]"#, "body: must be a JSON object".to_owned()),
        ] {
            let problem = document::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(problem.to_string(), expected, "{text}");
        }
        for broken in ["{", r#"{"name": }"#, r#"{"name": "a"} x"#] {
            let problem = document::<Outer>(broken.as_bytes()).unwrap_err();
            assert!(
                problem.to_string().starts_with("body: is not JSON: "),
                "{broken}"
            );
        }
    }

    #[test]
    fn pairs_of_a_query_are_known_and_given_once() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read")]
        struct Page {
            limit: Option<String>,
        }
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
            query::<Page>(pairs.collect()).map_err(|problem| problem.to_string())
        };
        of(&[("limit", "5")]).unwrap();
        assert_eq!(
            of(&[("limit", "5"), ("limit", "6")]).unwrap_err(),
            "limit: is given twice"
        );
        assert_eq!(
            of(&[("offset", "5")]).unwrap_err(),
            "offset: is not a parameter; expected one of limit"
        );
        assert_eq!(
            of(&[("a.b", "5")]).unwrap_err(),
            "a.b: is not a parameter; expected one of limit"
        );
    }
}
