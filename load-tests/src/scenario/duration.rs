//! Times as people write them: `250ms`, `1.5s`, `2m`, `8h`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Longest time that can be written, seconds.
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// How long a run may be: long enough to measure, short enough for its books.
pub(super) const RUN_LENGTHS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(7 * 24 * 3600);
/// What is said of other lengths.
pub(super) const RUN_LENGTH_FAULT: &str = "must be within 100ms and a week";

/// Reads a number with one of the units `us`, `ms`, `s`, `m`, `h`.
///
/// # Errors
/// Says what is expected instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(|| format!("{text:?} has no unit: write 250ms, 1.5s, 2m or 8h"))?;
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit:?} is no unit: us, ms, s, m or h")),
    };
    let number: f64 = number
        .trim()
        .parse()
        .map_err(|_| format!("{number:?} is no number"))?;
    let seconds = number * seconds_per_unit;
    if seconds.is_nan() || !(0.0..=LONGEST_S).contains(&seconds) {
        return Err(format!("{text:?} is not within nothing and 30 days"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads how long a run is to be.
///
/// # Errors
/// Says what is expected instead.
pub fn parse_run_length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text)?;
    RUN_LENGTHS
        .contains(&length)
        .then_some(length)
        .ok_or_else(|| RUN_LENGTH_FAULT.to_owned())
}

/// Writes a time with a unit that suits it and three digits.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        _ if seconds == 0.0 => "0".to_owned(),
        _ if seconds < 1e-3 => format!("{} µs", three_digits(seconds * 1e6)),
        _ if seconds < 1.0 => format!("{} ms", three_digits(seconds * 1e3)),
        _ if seconds < 120.0 => format!("{} s", three_digits(seconds)),
        _ => format!("{} min", three_digits(seconds / 60.0)),
    }
}

/// At least three digits, no more than two behind the point.
fn three_digits(number: f64) -> String {
    match number {
        _ if number < 10.0 => format!("{number:.2}"),
        _ if number < 100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration(" 0s "), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "5", "s", "-1s", "1d", "1e400s", "NaNs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_shown_with_a_unit_that_suits_them() {
        assert_eq!(show_duration(Duration::from_micros(950)), "950 µs");
        assert_eq!(show_duration(Duration::from_millis(12)), "12.0 ms");
        assert_eq!(show_duration(Duration::from_secs(90)), "90.0 s");
    }
}
