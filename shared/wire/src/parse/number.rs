//! JSON numbers as float32, correctly rounded.

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that always fit into 64 bits.
const MAX_DIGITS: usize = 19;

/// Reads the number at the front of `text`; gives it with its length. `None`: there is no number.
#[inline]
pub(crate) fn read(text: &[u8]) -> Option<(f32, usize)> {
    let number = scan(text)?;
    let value = quick(&number).unwrap_or_else(|| slow(&text[..number.length]));
    Some((value, number.length))
}

struct Scanned {
    negative: bool,
    /// The digits, without point and exponent, modulo 2⁶⁴.
    mantissa: u64,
    /// How many there are.
    digits: usize,
    exponent: i64,
    length: usize,
}

/// Takes a number apart by JSON's grammar.
#[inline]
fn scan(text: &[u8]) -> Option<Scanned> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut mantissa = 0;
    let mut at = digits(text, start, &mut mantissa);
    let whole = at - start;
    if whole == 0 || (whole > 1 && text[start] == b'0') {
        return None;
    }
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        let end = digits(text, at + 1, &mut mantissa);
        fraction = end - at - 1;
        if fraction == 0 {
            return None;
        }
        at = end;
    }
    // Cannot overflow: a body has far fewer than 2⁶³ bytes.
    let mut exponent = -(fraction as i64);
    if let Some(b'e' | b'E') = text.get(at) {
        let negative = text.get(at + 1) == Some(&b'-');
        let signed = negative || text.get(at + 1) == Some(&b'+');
        let first = at + 1 + usize::from(signed);
        let mut power = 0;
        at = digits(text, first, &mut power);
        if at == first {
            return None;
        }
        // Longer exponents take the slow way, which knows what they come to.
        let power = if at - first > 9 {
            i64::from(i32::MAX)
        } else {
            power as i64
        };
        exponent += if negative { -power } else { power };
    }
    Some(Scanned {
        negative,
        mantissa,
        digits: whole + fraction,
        exponent,
        length: at,
    })
}

/// Adds digits to `mantissa` from `at` on; gives the place behind them.
#[inline]
fn digits(text: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let chunk = u64::from_le_bytes(*chunk);
        if !is_eight_digits(chunk) {
            break;
        }
        *mantissa = mantissa
            .wrapping_mul(100_000_000)
            .wrapping_add(eight_digits(chunk));
        at += 8;
    }
    while let Some(byte @ b'0'..=b'9') = text.get(at) {
        *mantissa = mantissa
            .wrapping_mul(10)
            .wrapping_add(u64::from(byte - b'0'));
        at += 1;
    }
    at
}

#[inline]
fn is_eight_digits(chunk: u64) -> bool {
    let high = chunk & 0xf0f0_f0f0_f0f0_f0f0;
    let carried = chunk.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    high == 0x3030_3030_3030_3030 && carried == high
}

/// Eight ASCII digits, the first in the lowest byte: pairs, then fours, then all.
#[inline]
fn eight_digits(chunk: u64) -> u64 {
    let ones = chunk & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10) + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

/// The value, when a double tells for sure which float32 is nearest.
///
/// Digits and power of ten are each at most half a unit in the last place away from the truth, so
/// the quotient or product is within two units. Rounded again to 24 bits this is correct unless the
/// double lies that close to the middle between two float32.
#[inline]
fn quick(number: &Scanned) -> Option<f32> {
    const TAIL: u64 = (1 << 29) - 1;
    const MIDDLE: u64 = 1 << 28;
    const DOUBT: u64 = 4;
    if number.digits > MAX_DIGITS {
        return None;
    }
    let power = *POWERS.get(usize::try_from(number.exponent.unsigned_abs()).ok()?)?;
    let digits = number.mantissa as f64;
    let value = if number.exponent < 0 {
        digits / power
    } else {
        digits * power
    };
    // Near the ends of float32's range its spacing is another.
    let ordinary = value == 0.0 || (1e-30..1e30).contains(&value);
    let certain = (value.to_bits() & TAIL).abs_diff(MIDDLE) > DOUBT;
    let value = if number.negative { -value } else { value };
    (ordinary && certain).then_some(value as f32)
}

#[cold]
fn slow(text: &[u8]) -> f32 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    // The grammar of JSON's numbers is part of Rust's.
    text.parse().unwrap_or(f32::NAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Option<f32> {
        read(text.as_bytes())
            .filter(|(_, length)| *length == text.len())
            .map(|(value, _)| value)
    }

    #[test]
    fn the_grammar_is_jsons() {
        for good in [
            "0",
            "-0",
            "1",
            "10",
            "0.5",
            "1e5",
            "1E+5",
            "1e-5",
            "-1.25e2",
            "123456789012345678901234567890",
            "0.00000000000000000000000000000000000000000000001",
            "1e400",
            "1e-400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "16777217",
            "16777219",
            "3.4028235e38",
            "3.4028236e38",
            "1e-45",
            "7.006492321624085e-46",
            "7.006492321624086e-46",
            "1.00000005960464477539062500001",
            "1.000000059604644775390625",
            "0.1000000014901161193847656250",
        ] {
            assert_eq!(
                all(good).unwrap().to_bits(),
                good.parse::<f32>().unwrap().to_bits(),
                "{good}"
            );
        }
        for bad in [
            "", "-", "+1", "01", "-01", ".5", "1.", "1.e5", "1e", "1e+", "00", "NaN", "x", "--1",
        ] {
            assert_eq!(all(bad), None, "{bad}");
        }
        assert_eq!(read(b"12345678,"), Some((12_345_678.0, 8)));
        assert_eq!(read(b"1234567:9"), Some((1_234_567.0, 7)));
    }

    proptest! {
        #[test]
        fn every_number_is_the_nearest_float32(
            digits in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?",
        ) {
            let expected = digits.parse::<f32>().unwrap();
            prop_assert_eq!(all(&digits).unwrap().to_bits(), expected.to_bits());
        }

        #[test]
        fn floats_written_in_any_way_come_back(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            for text in [format!("{value}"), format!("{value:e}"), format!("{:?}", f64::from(value))] {
                prop_assert_eq!(all(&text).unwrap().to_bits(), bits, "{}", text);
            }
        }

        #[test]
        fn doubles_near_the_middle_of_two_floats_are_rounded_right(bits in any::<u32>(), off in -6_i64..6) {
            let value = f64::from(f32::from_bits(bits & 0x7fff_ffff));
            prop_assume!(value.is_finite() && value > 1e-37);
            let middle = f64::from_bits((value.to_bits() + (1 << 28)).wrapping_add_signed(off));
            let text = format!("{middle:e}");
            prop_assert_eq!(all(&text).unwrap(), text.parse::<f32>().unwrap(), "{}", text);
        }
    }
}
