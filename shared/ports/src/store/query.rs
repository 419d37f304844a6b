//! Queries over one collection.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Collection;

/// A value to compare with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Operand {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
}

impl Operand {
    /// From a document's field.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(b) => Some(Self::Bool(*b)),
            Value::Number(n) => n.as_i64().map(Self::Int),
            Value::String(s) => Some(Self::Text(s.clone())),
            _ => None,
        }
    }
}

impl From<bool> for Operand {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Operand {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Operand {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal.
    Eq,
    /// Less than or equal.
    Le,
    /// Less than.
    Lt,
    /// Greater than or equal.
    Ge,
}

/// One condition on an indexed field. A document without the field does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The field.
    pub field: &'static str,
    /// The comparison.
    pub op: Op,
    /// The value.
    pub value: Operand,
}

/// Where a page ended: the order field's value and the id of its last document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Value of the order field.
    pub value: Operand,
    /// Document id.
    pub id: String,
}

/// Documents of one collection that meet all filters, ordered by `(order field, id)`.
///
/// A document without the order field is not found.
///
/// All filters but those on the order field must be equalities, and the equality fields followed by
/// the order field must be one of the collection's composite indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The collection.
    pub collection: Collection,
    /// The conditions.
    pub filters: Vec<Filter>,
    /// The field to order by.
    pub order_by: &'static str,
    /// Largest first.
    pub descending: bool,
    /// Most documents to return.
    pub limit: usize,
    /// Continue behind this place.
    pub after: Option<Cursor>,
}

impl Query {
    /// All documents of `collection` by `order_by`, ascending, at most `limit`.
    #[must_use]
    pub fn new(collection: Collection, order_by: &'static str, limit: usize) -> Self {
        Self {
            collection,
            filters: Vec::new(),
            order_by,
            descending: false,
            limit,
            after: None,
        }
    }

    /// With one more condition.
    #[must_use]
    pub fn filter(mut self, field: &'static str, op: Op, value: impl Into<Operand>) -> Self {
        self.filters.push(Filter {
            field,
            op,
            value: value.into(),
        });
        self
    }

    /// Largest first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Continue behind `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }
}

/// A page of documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryPage {
    /// Ids and bodies, in order.
    pub documents: Vec<(String, Value)>,
    /// Where the next page begins; `None` when this page was not full.
    pub next: Option<Cursor>,
}

impl QueryPage {
    /// A page of `documents` fetched for `query`, with its cursor.
    #[must_use]
    pub fn of(query: &Query, documents: Vec<(String, Value)>) -> Self {
        let next = documents
            .last()
            .filter(|_| documents.len() >= query.limit)
            .and_then(|(id, body)| {
                let value = Operand::from_value(body.get(query.order_by)?)?;
                Some(Cursor {
                    value,
                    id: id.clone(),
                })
            });
        Self { documents, next }
    }
}
