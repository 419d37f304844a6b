//! One parameter's value before its type is known, from JSON or from a URL query.

use std::borrow::Cow;
use std::str::FromStr;

use serde_json::value::RawValue;

/// A value. Numbers stay text, so that they are converted once, by the correctly rounding parser.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    /// An object, or a list inside a list: no parameter has such a value.
    Nested,
}

impl<'a> Value<'a> {
    pub(crate) fn from_json(raw: &'a RawValue) -> Self {
        Self::from_text(raw.get(), true)
    }

    /// A query's value: numbers, booleans and null read as such, the rest as text, several separated
    /// by commas as a list.
    pub(crate) fn from_query(text: &'a str) -> Self {
        if text.contains(',') {
            return Self::List(text.split(',').map(Self::from_query).collect());
        }
        match text {
            "" | "null" => Self::Null,
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ if is_number(text) => Self::Number(text),
            _ => Self::Text(Cow::Borrowed(text)),
        }
    }

    fn from_text(text: &'a str, lists: bool) -> Self {
        match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => {
                serde_json::from_str::<Cow<'a, str>>(text).map_or(Self::Nested, Self::Text)
            }
            Some(b'[') if lists => {
                serde_json::from_str::<Vec<&RawValue>>(text).map_or(Self::Nested, |items| {
                    let items = items.into_iter();
                    Self::List(items.map(|raw| Self::from_text(raw.get(), false)).collect())
                })
            }
            Some(b'-' | b'0'..=b'9') => Self::Number(text),
            _ => Self::Nested,
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn float(&self) -> Result<f64, String> {
        match self {
            Self::Number(text) => text.parse().map_err(|_| self.expected("a number")),
            _ => Err(self.expected("a number")),
        }
    }

    pub(crate) fn count(&self) -> Result<usize, String> {
        match self {
            Self::Number(text) => {
                whole(text).ok_or_else(|| "must be a whole number that is not negative".to_owned())
            }
            _ => Err(self.expected("a whole number")),
        }
    }

    pub(crate) fn integer(&self) -> Result<i64, String> {
        match self {
            Self::Number(text) => {
                whole(text).ok_or_else(|| "must be a whole number of at most 64 bits".to_owned())
            }
            _ => Err(self.expected("a whole number")),
        }
    }

    pub(crate) fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Bool(flag) => Ok(*flag),
            _ => Err(self.expected("true or false")),
        }
    }

    pub(crate) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(self.expected("a string")),
        }
    }

    /// `None` for null, otherwise what `read` makes of it.
    pub(crate) fn optional<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.is_null() {
            Ok(None)
        } else {
            read(self).map(Some)
        }
    }

    fn expected(&self, what: &str) -> String {
        let got = match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Nested => "an object or a nested list",
        };
        format!("must be {what}, got {got}")
    }
}

/// A whole number however it is written: clients that know only doubles write `6.0`, and JSON Schema
/// counts that as an integer. Doubles are taken as far as they tell whole numbers apart.
fn whole<T: FromStr + TryFrom<i64>>(text: &str) -> Option<T> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        let is_whole = value.fract() == 0.0 && value.abs() <= EXACT;
        is_whole.then(|| T::try_from(value as i64).ok())?
    })
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
}
