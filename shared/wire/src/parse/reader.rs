//! A pull reader of JSON text: no intermediate values, no recursion, faults with the path of the field.
//!
//! Bodies are mostly numbers, and reading them is most of the work of a small request. What is not a
//! number (names, parameters, strings) is left to `serde_json`.

use serde_json::value::RawValue;

use super::number;
use super::value::Value;
use crate::error::WireError;

/// Reads JSON text from its front.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes `null` if it is next.
    pub(crate) fn take_null(&mut self) -> bool {
        let found = self.peek() == Some(b'n') && self.bytes[self.at..].starts_with(b"null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// Whether an object is next.
    pub(crate) fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Nothing may follow but white space.
    pub(crate) fn end(&mut self) -> Result<(), WireError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(WireError::field(
                "body",
                format!("goes on {}", self.place()),
            )),
        }
    }

    /// Reads an object, handing each name, with the reader before its value, to `field`.
    pub(crate) fn object(
        &mut self,
        path: &str,
        mut field: impl FnMut(&mut Self, String) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if !self.take(b'{') {
            return Err(self.mismatch(path, "an object"));
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.syntax(path, "a name"));
            }
            let raw = self.raw(path)?;
            let name = serde_json::from_str(raw.get());
            let name: String = name.map_err(|_| self.syntax(path, "a name"))?;
            if !self.take(b':') {
                return Err(self.syntax(path, "a colon"));
            }
            field(self, name)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax(path, "a comma or the end of the object"));
            }
        }
    }

    /// Reads a list, calling `item` with the reader before each item.
    #[inline]
    pub(crate) fn list(
        &mut self,
        path: impl Fn() -> String,
        what: &str,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if !self.take(b'[') {
            return Err(self.mismatch(&path(), what));
        }
        if self.take(b']') {
            return Ok(());
        }
        let mut index = 0;
        loop {
            item(self, index)?;
            index += 1;
            if self.take(b',') {
                continue;
            }
            if self.take(b']') {
                return Ok(());
            }
            return Err(self.syntax(&path(), "a comma or the end of the list"));
        }
    }

    /// Reads a number as float32, correctly rounded.
    #[inline]
    pub(crate) fn float32(&mut self, path: impl Fn() -> String) -> Result<f32, WireError> {
        self.peek();
        match number::read(&self.bytes[self.at..]) {
            Some((value, length)) => {
                self.at += length;
                Ok(value)
            }
            None => Err(self.mismatch(&path(), "a number")),
        }
    }

    /// Reads a parameter's value.
    pub(crate) fn value(&mut self, path: &str) -> Result<Value<'a>, WireError> {
        if self.at_nan() {
            return Err(self.mismatch(path, "a number"));
        }
        self.raw(path).map(Value::from_json)
    }

    /// Any value, its form checked.
    fn raw(&mut self, path: &str) -> Result<&'a RawValue, WireError> {
        let rest = &self.bytes[self.at..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(raw)) => {
                self.at += values.byte_offset();
                Ok(raw)
            }
            Some(Err(error)) => Err(WireError::field(path, format!("is not JSON: {error}"))),
            None => Err(self.syntax(path, "a value")),
        }
    }

    /// Something else than a value of the right kind is next.
    fn mismatch(&mut self, path: &str, what: &str) -> WireError {
        if self.at_nan() {
            return WireError::field(path, "is not finite (NaN and Infinity are not JSON)");
        }
        let got = match self.peek() {
            Some(b'n') => "null",
            Some(b't' | b'f') => "a boolean",
            Some(b'"') => "a string",
            Some(b'[') => "a list",
            Some(b'{') => "an object",
            Some(b'0'..=b'9') if what != "a number" => "a number",
            _ => return self.syntax(path, what),
        };
        WireError::field(path, format!("must be {what}, got {got}"))
    }

    /// Whether `NaN` or `Infinity` is next, which Python writes without being asked.
    fn at_nan(&mut self) -> bool {
        self.peek();
        let rest = &self.bytes[self.at..];
        let rest = rest.strip_prefix(b"-").unwrap_or(rest);
        rest.starts_with(b"NaN") || rest.starts_with(b"Infinity")
    }

    fn syntax(&mut self, path: &str, expected: &str) -> WireError {
        let detail = match self.peek() {
            None => format!("ends early: expected {expected}"),
            Some(_) => format!("is not JSON: expected {expected} {}", self.place()),
        };
        WireError::field(path, detail)
    }

    fn place(&self) -> String {
        let read = &self.bytes[..self.at];
        let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = read.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        format!("at line {line} column {column}")
    }
}
