//! Doubles written the way Python's `repr` writes them.
//!
//! Both languages choose the shortest decimal that reads back as the same double, and among those
//! the closest. They differ when two are equally close: Python takes the one whose last digit is
//! even. That is not rare here, because float32 values widened to double have short binary
//! fractions.

use super::canonical::append;

/// Appends `number`: plain notation from 1e-4 to below 1e16, otherwise a signed exponent of at
/// least two digits.
pub(super) fn write_float(out: &mut String, number: f64) {
    if number.is_nan() {
        out.push_str("NaN");
        return;
    }
    if number.is_sign_negative() {
        out.push('-');
    }
    if number.is_infinite() {
        out.push_str("Infinity");
        return;
    }
    let decimal = Decimal::shortest(number.abs());
    if (-4..16).contains(&decimal.exponent) {
        decimal.write_plain(out);
    } else {
        decimal.write_scientific(out);
    }
}

/// `d.ddd * 10^exponent`, at most seventeen digits.
struct Decimal {
    digits: Text,
    exponent: i32,
}

/// A short text on the stack.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn as_str(&self) -> &str {
        // Only whole ASCII texts are written; an empty text would not parse as a number.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.length
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let places = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        places.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Writes at most 32 bytes: the longest double in scientific notation has 24.
fn short(text: std::fmt::Arguments<'_>) -> Text {
    let mut short = Text::default();
    std::fmt::Write::write_fmt(&mut short, text).expect("a double takes fewer bytes");
    short
}

impl Decimal {
    fn shortest(number: f64) -> Self {
        let shortest = Self::parse(&short(format_args!("{number:e}")));
        if !shortest.may_be_tied(number) {
            return shortest;
        }
        // Correct rounding to the same number of digits breaks ties to even, as Python does.
        let text = short(format_args!("{number:.*e}", shortest.digits.len() - 1));
        if text.as_str().parse() == Ok(number) {
            Self::parse(&text)
        } else {
            shortest
        }
    }

    /// Takes apart what `{:e}` writes.
    fn parse(text: &Text) -> Self {
        let (mantissa, exponent) = text.as_str().split_once('e').unwrap_or(("0", "0"));
        let mut digits = Text::default();
        for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
            digits.bytes[digits.length] = digit;
            digits.length += 1;
        }
        Self {
            digits,
            exponent: exponent.parse().unwrap_or_default(),
        }
    }

    /// Whether `number` can lie halfway between two decimals of this length. With `places` digits
    /// after the point, halfway means `number * 10^places` is half an odd integer, so the lowest
    /// set bit of `number` has weight `2^-(places + 1)`.
    fn may_be_tied(&self, number: f64) -> bool {
        let bits = number.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        let biased = (bits >> 52) as i32;
        let (mantissa, biased) = if biased == 0 {
            (fraction, 1)
        } else {
            (fraction | (1 << 52), biased)
        };
        let lowest_bit = biased - 1075 + mantissa.trailing_zeros() as i32;
        let places = self.digits.len() as i32 - 1 - self.exponent;
        lowest_bit == -(places + 1)
    }

    fn write_plain(&self, out: &mut String) {
        let digits = self.digits.as_str();
        if self.exponent < 0 {
            out.push_str("0.");
            for _ in 1..-self.exponent {
                out.push('0');
            }
            out.push_str(digits);
            return;
        }
        let whole = self.exponent as usize + 1;
        let known = whole.min(digits.len());
        out.push_str(&digits[..known]);
        for _ in known..whole {
            out.push('0');
        }
        out.push('.');
        out.push_str(if known < digits.len() {
            &digits[known..]
        } else {
            "0"
        });
    }

    fn write_scientific(&self, out: &mut String) {
        let digits = self.digits.as_str();
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        let sign = if self.exponent < 0 { '-' } else { '+' };
        append(out, format_args!("e{sign}{:02}", self.exponent.abs()));
    }
}
