//! Element types and their conversion.

/// What kind of number an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Signed,
    Unsigned,
}

impl Kind {
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Float => 'f',
            Self::Signed => 'i',
            Self::Unsigned => 'u',
        }
    }
}

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DType {
    pub(crate) kind: Kind,
    /// Bytes: 1, 2, 4 or 8.
    pub(crate) size: usize,
    pub(crate) big_endian: bool,
}

impl DType {
    /// Reads a type descriptor such as `<f4`.
    pub(crate) fn parse(descr: &str) -> Result<Self, String> {
        let unsupported = || {
            format!(
                "has dtype {descr:?}; expected float16, float32, float64 or, for a chain, integers"
            )
        };
        let mut chars = descr.chars();
        let big_endian = match chars.next() {
            Some('<' | '|') => false,
            Some('>') => true,
            Some('=') => cfg!(target_endian = "big"),
            _ => return Err(unsupported()),
        };
        let kind = match chars.next() {
            Some('f') => Kind::Float,
            Some('i') => Kind::Signed,
            Some('u') => Kind::Unsigned,
            _ => return Err(unsupported()),
        };
        let size = match (kind, chars.as_str()) {
            (Kind::Signed | Kind::Unsigned, "1") => 1,
            (_, "2") => 2,
            (_, "4") => 4,
            (_, "8") => 8,
            _ => return Err(unsupported()),
        };
        Ok(Self {
            kind,
            size,
            big_endian,
        })
    }

    /// Appends the floats in `bytes` as float32.
    pub(crate) fn floats(self, bytes: &[u8], out: &mut Vec<f32>) {
        match (self.size, self.big_endian) {
            (2, false) => convert(bytes, out, |b| half(u16::from_le_bytes(b))),
            (2, true) => convert(bytes, out, |b| half(u16::from_be_bytes(b))),
            (4, false) => convert(bytes, out, f32::from_le_bytes),
            (4, true) => convert(bytes, out, f32::from_be_bytes),
            (_, false) => convert(bytes, out, |b| f64::from_le_bytes(b) as f32),
            (_, true) => convert(bytes, out, |b| f64::from_be_bytes(b) as f32),
        }
    }

    /// Appends the integers in `bytes`, rounded beyond 2⁵³, where they are out of range for every use.
    pub(crate) fn integers(self, bytes: &[u8], out: &mut Vec<f64>) {
        let signed = self.kind == Kind::Signed;
        let unused = 64 - 8 * self.size as u32;
        out.extend(bytes.chunks_exact(self.size).map(|element| {
            let mut raw = [0; 8];
            for (place, byte) in element.iter().enumerate() {
                let place = if self.big_endian {
                    self.size - 1 - place
                } else {
                    place
                };
                raw[place] = *byte;
            }
            let bits = u64::from_le_bytes(raw);
            if signed {
                ((bits << unused) as i64 >> unused) as f64
            } else {
                bits as f64
            }
        }));
    }
}

fn convert<const SIZE: usize>(bytes: &[u8], out: &mut Vec<f32>, read: impl Fn([u8; SIZE]) -> f32) {
    out.extend(bytes.as_chunks().0.iter().map(|element| read(*element)));
}

/// A half-precision float. The exponent is moved by multiplication, which handles subnormals too.
fn half(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let value = if bits & 0x7c00 == 0x7c00 {
        f32::from_bits(magnitude | 0x7f80_0000)
    } else {
        f32::from_bits(magnitude) * 2_f32.powi(112)
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_by_definition() {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
            let expected = match exponent {
                31 if mantissa > 0.0 => f64::NAN,
                31 => sign * f64::INFINITY,
                0 => sign * mantissa * 2_f64.powi(-24),
                _ => sign * (1024.0 + mantissa) * 2_f64.powi(exponent - 25),
            };
            let got = f64::from(half(bits));
            assert!(
                got == expected || (got.is_nan() && expected.is_nan()),
                "{bits:04x}"
            );
        }
    }

    #[test]
    fn integers_keep_their_sign_and_order_of_bytes() {
        let integer = |descr, bytes: &[u8]| {
            let mut out = Vec::new();
            DType::parse(descr).unwrap().integers(bytes, &mut out);
            out[0]
        };
        let float = |descr, bytes: &[u8]| {
            let mut out = Vec::new();
            DType::parse(descr).unwrap().floats(bytes, &mut out);
            out[0]
        };
        assert_eq!(integer("<i2", &[0xfe, 0xff]), -2.0);
        assert_eq!(integer(">u2", &[0x01, 0x02]), 258.0);
        assert_eq!(integer("|i1", &[0x80]), -128.0);
        assert_eq!(integer("<i8", &[7, 0, 0, 0, 0, 0, 0, 0]), 7.0);
        assert_eq!(float(">f4", &1.5_f32.to_be_bytes()), 1.5);
        assert_eq!(float("<f8", &(-0.25_f64).to_le_bytes()), -0.25);
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for descr in [
            "|O", "<U8", "<c8", "|b1", "<f3", "<f16", "f4", "", "<i", "<M8[ns]",
        ] {
            assert!(
                DType::parse(descr).unwrap_err().contains("dtype"),
                "{descr}"
            );
        }
    }
}
