//! Every available level against the portable one, to the last bit. Runs under Miri too.

use super::{LANES, Lanes, Level, ROWS, Step, Strip};

/// A small generator (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Panels whose values lie within `reach` of zero.
    fn panels(&mut self, panels: usize, steps: usize, reach: i16) -> Vec<Step> {
        let mut value = || (self.next() % (2 * reach as u64 + 1)) as i64 - i64::from(reach);
        (0..panels * steps)
            .map(|_| Step(std::array::from_fn(|_| value() as i16)))
            .collect()
    }
}

/// The definition: one value at a time, in 64 bits.
fn plain(left: &[Step], row: usize, right: &[Step], lane: usize) -> i64 {
    left.iter()
        .zip(right)
        .flat_map(|(a, b)| (0..2).map(move |k| (a.0[2 * row + k], b.0[2 * lane + k])))
        .map(|(a, b)| i64::from(a) * i64::from(b))
        .sum()
}

#[test]
fn every_level_multiplies_exactly() {
    let mut numbers = Numbers(1);
    let shapes: &[(usize, usize)] = if cfg!(miri) {
        &[(1, 1), (2, 3), (4, 2)]
    } else {
        &[
            (1, 1),
            (1, 2),
            (2, 1),
            (2, 7),
            (3, 64),
            (4, 5),
            (5, 33),
            (7, 100),
            (15, 191),
        ]
    };
    for &(panels, steps) in shapes {
        // Largest values whose dot products stay below 2^31, and small ones.
        for reach in [
            3,
            (f64::from(i32::MAX) / (2 * steps) as f64)
                .sqrt()
                .min(32767.0) as i16,
        ] {
            let left = numbers.panels(1, steps, reach);
            let right = numbers.panels(panels, steps, reach);
            for half in 0..2 {
                let strip = Strip::new(&left, half, &right);
                let mut expected = vec![Lanes::splat(0); ROWS * panels];
                Level::Portable.multiply(&strip, &mut expected);
                for (index, lanes) in expected.iter().enumerate() {
                    let (row, panel) = (index / panels, index % panels);
                    for lane in 0..LANES {
                        let own = &right[panel * steps..(panel + 1) * steps];
                        let want = plain(&left, half * ROWS + row, own, lane);
                        assert_eq!(i64::from(lanes.0[lane]), want);
                    }
                }
                for level in Level::available() {
                    let mut got = vec![Lanes::splat(-1); ROWS * panels];
                    level.multiply(&strip, &mut got);
                    assert!(got == expected, "{} with {panels} x {steps}", level.name());
                }
            }
        }
    }
}

#[test]
fn every_level_marks_alike() {
    let mut numbers = Numbers(2);
    for round in 0..if cfg!(miri) { 3 } else { 200 } {
        let mut lanes = |spread: u64| {
            Lanes(std::array::from_fn(|_| {
                match numbers.next() % (spread + 2) {
                    0 => i32::MIN,
                    1 => i32::MAX,
                    other => other as i32 - (spread / 2) as i32,
                }
            }))
        };
        let products: Vec<Lanes> = (0..5).map(|_| lanes(6)).collect();
        let floors: Vec<Lanes> = (0..5).map(|_| lanes(9)).collect();
        let row_floor = [i32::MIN, -1, 0, 2, i32::MAX][round % 5];
        let mut expected = [0; 5];
        Level::Portable.mark(&products, row_floor, &floors, &mut expected);
        for (index, mark) in expected.iter().enumerate() {
            for lane in 0..LANES {
                let floor = floors[index].0[lane].min(row_floor);
                let want = products[index].0[lane] >= floor;
                assert_eq!(mark >> lane & 1 == 1, want);
            }
        }
        for level in Level::available() {
            let mut got = [0xaaaa; 5];
            level.mark(&products, row_floor, &floors, &mut got);
            assert_eq!(got, expected, "{}", level.name());
        }
    }
}

#[test]
fn the_environment_can_ask_for_less_but_not_for_more() {
    let available = Level::available();
    let best = *available.last().unwrap();
    assert_eq!(Level::choose(None), best);
    assert_eq!(Level::choose(Some("nonsense")), best);
    for level in available {
        assert_eq!(Level::choose(Some(level.name())), level);
    }
}
