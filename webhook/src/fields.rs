//! Small bodies and queries as named texts. All that billing's calls take is text; whatever is wrong
//! with it is told with its field's name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::error::Problem;
use crate::router::SMALL_BODY_BYTES;
use crate::state::Billing;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Named texts of a request, each taken once.
#[derive(Debug, Default)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field that may be absent.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.0.remove(name) else {
            return Ok(None);
        };
        let parsed = text.parse();
        parsed
            .map(Some)
            .map_err(|error: T::Err| Problem::field(name, error.to_string()))
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&mut self, name: &str) -> Result<String, Problem> {
        let text = self.0.remove(name);
        text.ok_or_else(|| Problem::field(name, "is missing"))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// There are fields that nobody asked for.
    pub fn finish(self) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            Some(name) => Err(Problem::field(shown(&name), "is not a known field")),
            None => Ok(()),
        }
    }

    fn of_json(bytes: &[u8]) -> Result<Self, Problem> {
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
        let object: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|error| Problem::field("body", format!("must be a JSON object: {error}")))?;
        let fields = object.into_iter().map(|(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(Problem::field(shown(&name), "must be a string")),
        });
        fields.collect::<Result<_, _>>().map(Self)
    }

    fn of_form(bytes: &[u8]) -> Result<Self, Problem> {
        let mut fields = Self::default();
        for (name, value) in form_urlencoded::parse(bytes) {
            let text = value.into_owned();
            if fields.0.insert(name.clone().into_owned(), text).is_some() {
                return Err(Problem::field(shown(&name), "is given twice"));
            }
        }
        Ok(fields)
    }
}

/// A name as it may be repeated to its sender.
fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}

/// Fields of a JSON object.
pub struct JsonFields(pub Fields);

impl FromRequest<Billing> for JsonFields {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, state: &Billing) -> Result<Self, Problem> {
        let bytes = small_body(request, state, JSON).await?;
        Fields::of_json(&bytes).map(Self)
    }
}

/// Fields of a form that a browser sent.
pub struct FormFields(pub Fields);

impl FromRequest<Billing> for FormFields {
    type Rejection = Problem;

    async fn from_request(request: Request<Body>, state: &Billing) -> Result<Self, Problem> {
        let bytes = small_body(request, state, FORM).await?;
        Fields::of_form(&bytes).map(Self)
    }
}

/// Fields of the address.
pub struct QueryFields(pub Fields);

impl FromRequestParts<Billing> for QueryFields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Billing) -> Result<Self, Problem> {
        Fields::of_form(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

async fn small_body(
    request: Request<Body>,
    state: &Billing,
    media: &'static str,
) -> Result<Bytes, Problem> {
    let given = request.headers().get(CONTENT_TYPE);
    let given = given.map(|kind| kind.as_bytes().to_ascii_lowercase());
    if given.is_some_and(|kind| !kind.starts_with(media.as_bytes())) {
        return Err(Problem::MediaType(media));
    }
    body(request, state, SMALL_BODY_BYTES).await
}

/// The whole body, below the limit that its route has.
pub async fn body(
    request: Request<Body>,
    state: &Billing,
    most_bytes: usize,
) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| {
        if error.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            return Problem::TooLarge { most_bytes };
        }
        Problem::field("body", "did not arrive whole")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: Result<impl std::fmt::Debug, Problem>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_name() {
        let mut fields = Fields::of_json(br#"{"tier":"gold","code":"x"}"#).unwrap();
        assert!(told(fields.optional::<oscillink_domain::Tier>("tier")).starts_with("tier: "));
        assert_eq!(fields.required("code").unwrap(), "x");
        assert!(told(fields.required("code")).starts_with("code: is missing"));
        let rest = Fields::of_form(b"a=1&b=2").unwrap();
        assert!(told(rest.finish()).starts_with("a: is not"));
        assert!(told(Fields::of_form(b"a=1&a=2")).starts_with("a: is given twice"));
        assert!(told(Fields::of_json(br#"{"code":[1]}"#)).starts_with("code: must be a string"));
        for bad in [&b"[]"[..], b"{", b"\xff", b"null"] {
            assert!(told(Fields::of_json(bad)).starts_with("body: "));
        }
        assert!(Fields::of_json(b"").unwrap().finish().is_ok());
    }
}
