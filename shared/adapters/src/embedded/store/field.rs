//! A field's value as its column holds it: a string, an integer, or a boolean as 0 or 1. Anything
//! else is NULL, which no query finds.

use oscillink_ports::Operand;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::Value;

/// A column's value, borrowed from the document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Absent,
    Integer(i64),
    Text(&'a str),
}

impl<'a> Field<'a> {
    /// The value of `name` in `body`.
    pub(super) fn of(body: &'a Value, name: &str) -> Self {
        match body.get(name) {
            Some(Value::Bool(value)) => Self::Integer(i64::from(*value)),
            Some(Value::Number(value)) => value.as_i64().map_or(Self::Absent, Self::Integer),
            Some(Value::String(value)) => Self::Text(value),
            _ => Self::Absent,
        }
    }

    /// What a query compares with.
    pub(super) fn of_operand(operand: &'a Operand) -> Self {
        match operand {
            Operand::Bool(value) => Self::Integer(i64::from(*value)),
            Operand::Int(value) => Self::Integer(*value),
            Operand::Text(value) => Self::Text(value),
        }
    }
}

impl ToSql for Field<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Absent => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
        }))
    }
}
