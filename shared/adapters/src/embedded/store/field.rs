//! The fields of a document that have a column: a string, an integer, or a boolean as 0 or 1. Anything
//! else is NULL, which no query finds.

use std::fmt;

use oscillink_ports::Operand;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// A column's value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Field {
    #[default]
    Absent,
    Integer(i64),
    Text(String),
}

/// The values of `names` in the JSON object `text`, in that order.
///
/// # Errors
/// The text is not a JSON object. One that is broken behind the last of the fields may pass.
pub(super) fn of(text: &str, names: &[&str]) -> serde_json::Result<Vec<Field>> {
    let mut found = Found {
        names,
        fields: vec![Field::Absent; names.len()],
        left: names.len(),
    };
    let mut document = serde_json::Deserializer::from_str(text);
    match document.deserialize_map(&mut found) {
        // The rest of the document was not looked at, which the parser reports.
        Err(_) if found.left == 0 && !names.is_empty() => Ok(found.fields),
        Err(error) => Err(error),
        Ok(()) => Ok(found.fields),
    }
}

struct Found<'n> {
    names: &'n [&'n str],
    fields: Vec<Field>,
    left: usize,
}

impl<'de> Visitor<'de> for &mut Found<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Name<'de>>()? {
            match self.names.iter().position(|wanted| name.is(wanted)) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(place) => {
                    self.fields[place] = map.next_value()?;
                    self.left = self.left.saturating_sub(1);
                    if self.left == 0 {
                        return Err(A::Error::custom("no more is needed"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A field's name, which is borrowed unless it has escapes.
enum Name<'de> {
    Plain(&'de str),
    Escaped(String),
}

impl Name<'_> {
    fn is(&self, wanted: &str) -> bool {
        match self {
            Self::Plain(name) => *name == wanted,
            Self::Escaped(name) => name == wanted,
        }
    }
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name::Plain(name))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name::Escaped(name.to_owned()))
            }
        }
        deserializer.deserialize_str(Any)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field, E> {
        Ok(Field::Integer(i64::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field, E> {
        Ok(Field::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field, E> {
        Ok(i64::try_from(value).map_or(Field::Absent, Field::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Absent)
    }

    fn visit_str<E>(self, value: &str) -> Result<Field, E> {
        Ok(Field::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Field, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Absent)
    }
}

impl From<&Operand> for Field {
    /// What a query compares with.
    fn from(operand: &Operand) -> Self {
        match operand {
            Operand::Bool(value) => Self::Integer(i64::from(*value)),
            Operand::Int(value) => Self::Integer(*value),
            Operand::Text(value) => Self::Text(value.clone()),
        }
    }
}

impl ToSql for Field {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Absent => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_wherever_they_stand() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let text = r#"{"x":{"a":1},"b":true,"a":-3,"e":[1],"\u0063":"t","d":1.5,"f":18446744073709551615}"#;
        let expected = vec![
            Field::Integer(-3),
            Field::Integer(1),
            Field::Text("t".to_owned()),
            Field::Absent,
            Field::Absent,
            Field::Absent,
        ];
        assert_eq!(of(text, &names).unwrap(), expected);
        assert_eq!(of("{}", &names).unwrap(), vec![Field::Absent; 6]);
        assert_eq!(of(r#"{"a":null}"#, &["a"]).unwrap(), vec![Field::Absent]);
        assert_eq!(of("{}", &[]).unwrap(), vec![]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "1", "null", "", "{", r#"{"a":"#, r#"{"b" 1}"#] {
            assert!(of(text, &["a"]).is_err(), "{text}");
        }
    }
}
