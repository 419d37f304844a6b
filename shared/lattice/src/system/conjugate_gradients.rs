//! Conjugate gradients over panels of columns, all run to the same iteration count.
//!
//! The stopping rule looks at every column: stop after the first iteration at which the largest
//! column residual is within the tolerance. Panels run on their own to their first such iteration;
//! those that stopped earlier than the last are then resumed. If a resumed panel's residual has
//! risen above the tolerance in between, all go on to the next candidate.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::operator::Shifted;
use super::panel::{Input, Line, Panel};
use crate::arena::{Buffer, Pooled};
use crate::error::SolveError;
use crate::exec::Exec;
use crate::observer::Stage;

/// When to stop.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) tol: f64,
    pub(crate) max_iters: usize,
}

/// Outcome over all panels.
pub(crate) struct Run<const LINES: usize>
where
    Line<LINES>: Pooled,
{
    pub(crate) panels: Vec<Panel<LINES>>,
    pub(crate) iters: usize,
    pub(crate) residual: f64,
}

/// Solves for all columns. At least one iteration is always done.
pub(crate) fn solve<const LINES: usize>(
    shifted: &Shifted<'_>,
    input: &Input<'_>,
    limits: Limits,
    stage: Stage,
    exec: Exec<'_>,
) -> Result<Run<LINES>, SolveError>
where
    Line<LINES>: Pooled,
{
    let width = Panel::<LINES>::COLUMNS;
    let count = input.columns.div_ceil(width);
    let mut panels: Vec<Panel<LINES>> = (0..count).map(|_| Panel::default()).collect();
    let done = AtomicUsize::new(0);
    exec.each_with(&mut panels, Buffer::default, |image, index, panel| {
        exec.check()?;
        *panel = Panel::start(shifted, input, index * width, exec.level());
        advance(panel, shifted, image, exec, |panel| {
            panel.iters() == limits.max_iters || reached(panel, limits.tol)
        })?;
        let finished = done.fetch_add(1, Ordering::Relaxed) + 1;
        exec.progress(stage, finished as f32 / count as f32);
        Ok(())
    })?;
    let mut iters = furthest(&panels);
    loop {
        exec.each_with(&mut panels, Buffer::default, |image, _, panel| {
            advance(panel, shifted, image, exec, |panel| panel.iters() >= iters)
        })?;
        if iters == limits.max_iters || panels.iter().all(|panel| reached(panel, limits.tol)) {
            break;
        }
        exec.each_with(&mut panels, Buffer::default, |image, _, panel| {
            if reached(panel, limits.tol) {
                return Ok(());
            }
            advance(panel, shifted, image, exec, |panel| {
                panel.iters() == limits.max_iters || reached(panel, limits.tol)
            })
        })?;
        iters = furthest(&panels);
    }
    let residual = panels
        .iter()
        .filter_map(|panel| panel.history.last())
        .fold(0.0, worst);
    for panel in &mut panels {
        panel.release();
    }
    Ok(Run {
        panels,
        iters,
        residual,
    })
}

/// Iterates until `stop` holds; a fresh panel is always iterated once.
fn advance<const LINES: usize>(
    panel: &mut Panel<LINES>,
    shifted: &Shifted<'_>,
    image: &mut Buffer<Line<LINES>>,
    exec: Exec<'_>,
    stop: impl Fn(&Panel<LINES>) -> bool,
) -> Result<(), SolveError>
where
    Line<LINES>: Pooled,
{
    while panel.iters() == 0 || !stop(panel) {
        exec.check()?;
        panel.iterate(shifted, image, exec.level());
    }
    Ok(())
}

fn reached<const LINES: usize>(panel: &Panel<LINES>, tol: f64) -> bool
where
    Line<LINES>: Pooled,
{
    panel
        .history
        .last()
        .is_some_and(|residual| *residual <= tol)
}

fn furthest<const LINES: usize>(panels: &[Panel<LINES>]) -> usize
where
    Line<LINES>: Pooled,
{
    panels.iter().map(Panel::iters).max().unwrap_or(0)
}

/// Maximum that keeps a NaN instead of hiding it.
fn worst(a: f64, b: &f64) -> f64 {
    if *b > a || b.is_nan() { *b } else { a }
}
