//! The header: magic, version, length and a Python dictionary literal.

use std::io::Read;

use super::MAGIC;
use super::element::DType;

/// Longest header, bytes. numpy's own limit for untrusted files is 10,000.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most dimensions that are read before the count is refused.
const MAX_DIMENSIONS: usize = 8;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) dtype: DType,
    pub(crate) fortran_order: bool,
    pub(crate) shape: Vec<u64>,
}

impl Header {
    /// Reads the header of versions 1, 2 and 3.
    pub(crate) fn read(reader: &mut impl Read) -> Result<Self, String> {
        let cut_short = |_| "is cut short: its npy header is not complete".to_owned();
        let mut lead = [0; 8];
        reader.read_exact(&mut lead).map_err(cut_short)?;
        let [.., major, _minor] = lead;
        if !lead.starts_with(MAGIC) {
            return Err("is not an npy array".to_owned());
        }
        let length = match major {
            1 => {
                let mut bytes = [0; 2];
                reader.read_exact(&mut bytes).map_err(cut_short)?;
                usize::from(u16::from_le_bytes(bytes))
            }
            2 | 3 => {
                let mut bytes = [0; 4];
                reader.read_exact(&mut bytes).map_err(cut_short)?;
                u32::from_le_bytes(bytes) as usize
            }
            _ => return Err(format!("has npy version {major}, expected 1, 2 or 3")),
        };
        if length > MAX_HEADER_BYTES {
            return Err(format!("has an npy header of {length} bytes"));
        }
        let mut text = vec![0; length];
        reader.read_exact(&mut text).map_err(cut_short)?;
        let text = std::str::from_utf8(&text).map_err(|_| "has a malformed npy header")?;
        Literal(text).header()
    }
}

/// A reader of the dictionary literal.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, String> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.take('}') {
            let name = self.string()?;
            self.expect(':')?;
            let repeated = match name {
                // A structured type is a list of pairs; an object is `|O`.
                "descr" if self.peek() == Some('[') => {
                    return Err("has a structured dtype; expected plain floats".to_owned());
                }
                "descr" => dtype.replace(DType::parse(self.string()?)?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(malformed()),
            };
            if repeated || !(self.take(',') || self.peek() == Some('}')) {
                return Err(malformed());
            }
        }
        if !self.0.trim().is_empty() {
            return Err(malformed());
        }
        match (dtype, fortran_order, shape) {
            (Some(dtype), Some(fortran_order), Some(shape)) => Ok(Header {
                dtype,
                fortran_order,
                shape,
            }),
            _ => Err(malformed()),
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.0 = self.0.trim_start();
        self.0.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.0 = &self.0[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(malformed())
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = self
            .peek()
            .filter(|c| matches!(c, '\'' | '"'))
            .ok_or_else(malformed)?;
        let (text, rest) = self.0[1..].split_once(quote).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(malformed())
    }

    fn tuple(&mut self) -> Result<Vec<u64>, String> {
        let mut items = Vec::new();
        self.expect('(')?;
        while !self.take(')') {
            self.peek();
            let end = self
                .0
                .find(|c: char| !c.is_ascii_digit())
                .ok_or_else(malformed)?;
            let (digits, rest) = self.0.split_at(end);
            if digits.is_empty() || items.len() == MAX_DIMENSIONS {
                return Err(malformed());
            }
            // Beyond 64 bits it is beyond every limit too.
            items.push(digits.parse().unwrap_or(u64::MAX));
            // Python 2 wrote long integers with a suffix.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if !(self.take(',') || self.peek() == Some(')')) {
                return Err(malformed());
            }
        }
        Ok(items)
    }
}

fn malformed() -> String {
    "has a malformed npy header".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Header, String> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        Header::read(&mut bytes.as_slice())
    }

    #[test]
    fn reads_what_numpy_writes() {
        let one = header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }     \n");
        let one = one.unwrap();
        assert_eq!(
            (one.shape.as_slice(), one.fortran_order),
            (&[3, 4][..], false)
        );
        let other = header("{\"shape\":(7,),\"fortran_order\":True,\"descr\":\">f8\"}").unwrap();
        assert_eq!((other.shape.as_slice(), other.dtype.size), (&[7][..], 8));
        assert!(other.dtype.big_endian && other.fortran_order);
        assert!(
            header("{'descr':'<f8','fortran_order':False,'shape':()}")
                .unwrap()
                .shape
                .is_empty()
        );
    }

    #[test]
    fn refuses_everything_else_without_panicking() {
        for bad in [
            "",
            "{",
            "{}",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} x",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
            "{'descr': '<f4', 'é",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4)}",
        ] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
