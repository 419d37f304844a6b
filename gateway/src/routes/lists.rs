//! Paging: opaque cursors and bounded pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oscillink_ports::Cursor;
use serde::Deserialize;

use crate::error::Problem;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// The part of a query that every list has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Most items.
    pub limit: Option<String>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// Items of the page.
    ///
    /// # Errors
    /// Not a number within bounds.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit else {
            return Ok(DEFAULT_LIMIT);
        };
        let limit = text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
        limit.ok_or_else(|| Problem::field("limit", format!("must be 1 to {MAX_LIMIT}")))
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// Not a cursor that this API gave.
    pub fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        cursor
            .map(Some)
            .ok_or_else(|| Problem::field("cursor", "must be a next_cursor of this list"))
    }
}

/// A cursor as the client sees it.
#[must_use]
pub fn opaque(cursor: Option<&Cursor>) -> Option<String> {
    let json = serde_json::to_vec(cursor?).ok()?;
    Some(URL_SAFE_NO_PAD.encode(json))
}

#[cfg(test)]
mod tests {
    use oscillink_ports::Operand;

    use super::*;

    #[test]
    fn cursors_come_back_and_nothing_else_does() {
        let cursor = Cursor {
            value: Operand::Int(5),
            id: "job_x".into(),
        };
        let query = |limit: Option<&str>, cursor: Option<String>| PageQuery {
            limit: limit.map(Into::into),
            cursor,
        };
        let text = opaque(Some(&cursor));
        assert_eq!(query(None, text).cursor().unwrap(), Some(cursor));
        assert_eq!(query(None, None).limit().unwrap(), DEFAULT_LIMIT);
        for bad in ["0", "101", "x", "-1", ""] {
            query(Some(bad), None).limit().unwrap_err();
        }
        for bad in ["", "!", "e30"] {
            query(None, Some(bad.into())).cursor().unwrap_err();
        }
    }
}
