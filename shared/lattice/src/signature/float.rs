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

/// `d.ddd * 10^exponent`.
struct Decimal {
    digits: String,
    exponent: i32,
}

impl Decimal {
    fn shortest(number: f64) -> Self {
        let shortest = Self::parse(&format!("{number:e}"));
        if !shortest.may_be_tied(number) {
            return shortest;
        }
        // Correct rounding to the same number of digits breaks ties to even, as Python does.
        let text = format!("{number:.*e}", shortest.digits.len() - 1);
        if text.parse() == Ok(number) {
            Self::parse(&text)
        } else {
            shortest
        }
    }

    /// Takes apart what `{:e}` writes.
    fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        Self {
            digits: mantissa.chars().filter(char::is_ascii_digit).collect(),
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
        if self.exponent < 0 {
            out.push_str("0.");
            for _ in 1..-self.exponent {
                out.push('0');
            }
            out.push_str(&self.digits);
            return;
        }
        let whole = self.exponent as usize + 1;
        let known = whole.min(self.digits.len());
        out.push_str(&self.digits[..known]);
        for _ in known..whole {
            out.push('0');
        }
        out.push('.');
        out.push_str(if known < self.digits.len() {
            &self.digits[known..]
        } else {
            "0"
        });
    }

    fn write_scientific(&self, out: &mut String) {
        out.push_str(&self.digits[..1]);
        if self.digits.len() > 1 {
            out.push('.');
            out.push_str(&self.digits[1..]);
        }
        let sign = if self.exponent < 0 { '-' } else { '+' };
        append(out, format_args!("e{sign}{:02}", self.exponent.abs()));
    }
}
