//! Inner loops over one or two rows: fixed order, sixteen running float32 sums.

const LANES: usize = 16;

/// Columns after which float32 sums are moved to double, to bound their rounding error.
const SEGMENT: usize = 512;

/// Sums `term(k)` over all columns; `term` sees equal positions of both rows.
#[inline(always)]
fn sum_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(SEGMENT).zip(b.chunks(SEGMENT)) {
        let mut lanes = [0.0_f32; LANES];
        let (a_blocks, a_rest) = a.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        for (x, y) in a_blocks.iter().zip(b_blocks) {
            for lane in 0..LANES {
                lanes[lane] += term(x[lane], y[lane]);
            }
        }
        for (lane, (x, y)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *lane += term(*x, *y);
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
    }
    total
}

/// `sum (a*scale)(b*scale)`.
pub(crate) fn dot(a: &[f32], b: &[f32], scale: f32) -> f64 {
    sum_pairs(a, b, |x, y| (x * scale) * (y * scale))
}

/// `|a*left - b*right|^2`.
pub(crate) fn distance(a: &[f32], left: f32, b: &[f32], right: f32) -> f64 {
    sum_pairs(a, b, |x, y| {
        let difference = x * left - y * right;
        difference * difference
    })
}

/// `|(a-b)*left - (c-d)*right|^2`.
pub(crate) fn difference_distance(
    [a, b]: [&[f32]; 2],
    left: f32,
    [c, d]: [&[f32]; 2],
    right: f32,
) -> f64 {
    let mut total = 0.0;
    for start in (0..a.len()).step_by(SEGMENT) {
        let end = (start + SEGMENT).min(a.len());
        let mut lanes = [0.0_f32; LANES];
        let (a, b, c, d) = (
            &a[start..end],
            &b[start..end],
            &c[start..end],
            &d[start..end],
        );
        let (a_blocks, a_rest) = a.as_chunks::<LANES>();
        let (b_blocks, b_rest) = b.as_chunks::<LANES>();
        let (c_blocks, c_rest) = c.as_chunks::<LANES>();
        let (d_blocks, d_rest) = d.as_chunks::<LANES>();
        for (((a, b), c), d) in a_blocks.iter().zip(b_blocks).zip(c_blocks).zip(d_blocks) {
            for lane in 0..LANES {
                let difference = (a[lane] - b[lane]) * left - (c[lane] - d[lane]) * right;
                lanes[lane] += difference * difference;
            }
        }
        for lane in 0..a_rest.len() {
            let difference =
                (a_rest[lane] - b_rest[lane]) * left - (c_rest[lane] - d_rest[lane]) * right;
            lanes[lane] += difference * difference;
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
    }
    total
}
