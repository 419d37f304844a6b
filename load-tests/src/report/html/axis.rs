//! Axes: where values stand, where the ticks are and what they say.

use std::time::Duration;

use crate::scenario::show_duration;

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds, shown with the unit that suits.
    Latency,
    /// A second of a run.
    Time,
    /// A plain number.
    Count,
    /// Bytes.
    Bytes,
    /// A share, as the number of nines: 1 is 90 %, 2 is 99 %.
    Nines,
}

impl Unit {
    /// A value in words.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Latency => {
                let text = show_duration(Duration::from_secs_f64(value.max(0.0)));
                match text.split_once(' ') {
                    Some((number, unit)) if number.contains('.') => {
                        let number = number.trim_end_matches('0').trim_end_matches('.');
                        format!("{number} {unit}")
                    }
                    _ => text,
                }
            }
            Self::Time => format!("{} s", trimmed(value)),
            Self::Count => trimmed(value),
            Self::Bytes => format!("{} MiB", trimmed(value / f64::from(1 << 20))),
            Self::Nines if value <= 0.0 => "0 %".to_owned(),
            Self::Nines => {
                let percent = 100.0 * (1.0 - 10_f64.powf(-value));
                let digits = (value - 2.0).ceil().max(0.0) as usize;
                format!("{percent:.digits$} %")
            }
        }
    }
}

fn trimmed(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        _ => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// An axis of some pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    least: f64,
    most: f64,
    logarithmic: bool,
    unit: Unit,
}

impl Axis {
    /// From 0 to a round number above the largest value.
    pub(super) fn linear(largest: f64, unit: Unit) -> Self {
        let most = if largest > 0.0 { largest } else { 1.0 };
        let step = step(most, unit);
        Self {
            least: 0.0,
            most: (most / step - 1e-9).ceil() * step,
            logarithmic: false,
            unit,
        }
    }

    /// From 0 to exactly this.
    pub(super) const fn exact(most: f64, unit: Unit) -> Self {
        Self {
            least: 0.0,
            most,
            logarithmic: false,
            unit,
        }
    }

    /// Over the powers of ten that hold these values.
    pub(super) fn logarithmic(smallest: f64, largest: f64, unit: Unit) -> Self {
        let smallest = smallest.max(1e-9);
        let least = 10_f64.powf((smallest.log10() + 1e-9).floor());
        let most = 10_f64.powf((largest.max(smallest).log10() - 1e-9).ceil());
        Self {
            least,
            most: most.max(least * 10.0),
            logarithmic: true,
            unit,
        }
    }

    /// Where a value stands, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.least) / self.least).log10() / (self.most / self.least).log10()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        place.clamp(0.0, 1.0)
    }

    /// Values with a tick.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = (self.most / self.least).log10().round() as i32;
            return (0..=powers)
                .map(|power| self.least * 10_f64.powi(power))
                .collect();
        }
        let step = step(self.most, self.unit);
        let count = (self.most / step + 1e-9) as usize;
        (0..=count).map(|tick| tick as f64 * step).collect()
    }
}

/// A round distance between some six ticks.
fn step(most: f64, unit: Unit) -> f64 {
    if unit == Unit::Nines {
        return 1.0;
    }
    let scale = if unit == Unit::Bytes {
        f64::from(1 << 20)
    } else {
        1.0
    };
    let rough = most / scale / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough);
    let step = factor.unwrap_or(10.0) * power * scale;
    // Half a request does not exist.
    if unit == Unit::Count {
        step.max(1.0)
    } else {
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_every_value() {
        let axis = Axis::linear(47.0, Unit::Count);
        assert_eq!(axis.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        let latencies = Axis::logarithmic(0.0012, 0.9, Unit::Latency);
        let shown: Vec<_> = latencies
            .ticks()
            .iter()
            .map(|t| Unit::Latency.show(*t))
            .collect();
        assert_eq!(shown, ["1 ms", "10 ms", "100 ms", "1 s"]);
        assert!((latencies.place(0.01) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn shares_are_shown_by_their_nines() {
        let shown: Vec<_> = (0..5)
            .map(|nines| Unit::Nines.show(f64::from(nines)))
            .collect();
        assert_eq!(shown, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }
}
