//! Which origins browsers may call from.

use std::str::FromStr;

use axum::http::{HeaderValue, Uri};

/// Which origins browsers may call from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// None: browsers keep to same-origin calls.
    None,
    /// Every origin. No credentials are involved: keys go in a header.
    Any,
    /// These.
    List(Vec<HeaderValue>),
}

impl FromStr for Origins {
    type Err = String;

    /// `*`, or origins separated by commas.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(str::trim).filter(|o| !o.is_empty());
        origins
            .map(origin)
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let refuse = || format!("{text:?} is not an origin such as https://app.example.com");
    let uri: Uri = text.parse().map_err(|_| refuse())?;
    let is_origin = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.authority().is_some()
        && uri.path_and_query().is_none_or(|p| p.as_str() == "/")
        && !text.ends_with('/');
    if !is_origin {
        return Err(refuse());
    }
    HeaderValue::from_str(text).map_err(|_| refuse())
}
