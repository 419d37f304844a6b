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
    let number = number.abs();
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(number);
    if is_plain(number, shortest) {
        out.push_str(shortest);
        return;
    }
    let decimal = Decimal::new(number, shortest);
    if (-4..16).contains(&decimal.exponent) {
        decimal.write_plain(out);
    } else {
        decimal.write_scientific(out);
    }
}

/// Below this every whole number is a double.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Whether the shortest text is what Python writes: without exponent, and no other of its length is as
/// close.
fn is_plain(number: f64, shortest: &str) -> bool {
    if number == 0.0 || number == 1.0 {
        return true;
    }
    let Some((_, fraction)) = shortest.split_once('.') else {
        return false;
    };
    (1e-4..WHOLE).contains(&number)
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && !may_be_tied(number, fraction.len() as i32)
}

/// Whether `number` can lie halfway between two decimals with `places` digits after the point: that
/// means `number * 10^places` is half an odd integer, so the lowest set bit of `number` has weight
/// `2^-(places + 1)`.
fn may_be_tied(number: f64, places: i32) -> bool {
    let bits = number.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let biased = (bits >> 52) as i32;
    let (mantissa, biased) = if biased == 0 {
        (fraction, 1)
    } else {
        (fraction | (1 << 52), biased)
    };
    let lowest_bit = biased - 1075 + mantissa.trailing_zeros() as i32;
    lowest_bit == -(places + 1)
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
    /// The decimal to write for `number`, whose shortest text is given.
    fn new(number: f64, shortest: &str) -> Self {
        let shortest = Self::parse(shortest);
        let places = shortest.digits.len() as i32 - 1 - shortest.exponent;
        if !may_be_tied(number, places) {
            return shortest;
        }
        // Correct rounding to the same number of digits breaks ties to even, as Python does.
        let text = short(format_args!("{number:.*e}", shortest.digits.len() - 1));
        if text.as_str().parse() == Ok(number) {
            Self::parse(text.as_str())
        } else {
            shortest
        }
    }

    /// Takes apart a positive number with or without a point and an exponent.
    fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = || whole.bytes().chain(fraction.bytes());
        let leading = all().take_while(|digit| *digit == b'0').count();
        let mut digits = Text::default();
        for digit in all().skip(leading) {
            digits.bytes[digits.length] = digit;
            digits.length += 1;
        }
        while digits.length > 1 && digits.bytes[digits.length - 1] == b'0' {
            digits.length -= 1;
        }
        let exponent: i32 = exponent.parse().unwrap_or_default();
        Self {
            digits,
            exponent: exponent + whole.len() as i32 - 1 - leading as i32,
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::write_float;

    /// The significant digits of a text.
    fn digits(text: &str) -> String {
        let mantissa = text.split('e').next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    }

    fn written(number: f64) -> String {
        let mut text = String::new();
        write_float(&mut text, number);
        text
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn texts_are_shortest_and_read_back(bits: u64, single: u32, decimals in -2_000_000_i64..2_000_000) {
            for number in [
                f64::from_bits(bits),
                f64::from(f32::from_bits(single)),
                decimals as f64 / 1e6,
                f64::from(decimals as f32 / 1e6),
                decimals as f64 / 1024.0,
            ] {
                if number.is_finite() {
                    let text = written(number);
                    prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(number.to_bits()));
                    prop_assert_eq!(digits(&text).len(), digits(&format!("{number:e}")).len());
                }
            }
        }
    }

    #[test]
    fn short_ways_write_what_long_ways_do() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (1e-4, "0.0001"),
            (9.9e-5, "9.9e-05"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (5e-324, "5e-324"),
            // Halfway between two decimals of the shortest length; Python takes the even one.
            (9_007_199_254_740_994.0 * 256.0, "2.3058430092136945e+18"),
            (0.5, "0.5"),
        ] {
            assert_eq!(written(number), text);
        }
    }
}
