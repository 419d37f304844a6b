//! Going on where another run was cut off.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;
use oscillink_lattice::{
    Checkpoint, DiffusionParams, Observer, Plan, Problem, Solution, SolveError, Stage, Unobserved,
    solve, solve_from,
};

use crate::data::{duplicated, gaussian, near_ties, params, query};
use crate::determinism::{everything, fingerprint};

/// Cuts a run off after some tiles of its searches, wants a checkpoint whenever it is asked, and
/// counts the tiles that were done.
struct Cutting {
    after: usize,
    tiles: AtomicUsize,
    kept: Mutex<Option<Vec<u8>>>,
}

impl Cutting {
    fn after(tiles: usize) -> Self {
        Self {
            after: tiles,
            tiles: AtomicUsize::new(0),
            kept: Mutex::new(None),
        }
    }

    fn tiles(&self) -> usize {
        self.tiles.load(Ordering::Relaxed)
    }
}

impl Observer for Cutting {
    fn is_cancelled(&self) -> bool {
        self.tiles() >= self.after
    }

    fn progress(&self, stage: Stage, _: f32) {
        self.tiles
            .fetch_add(usize::from(stage == Stage::Graph), Ordering::Relaxed);
    }

    fn wants_checkpoint(&self) -> bool {
        true
    }

    fn keep_checkpoint(&self, checkpoint: Vec<u8>) {
        *self.kept.lock().unwrap() = Some(checkpoint);
    }
}

/// Rows enough for several blocks.
const ROWS: usize = 1100;

fn run(
    y: &Array2<f32>,
    plan: &Plan,
    checkpoint: Option<&Checkpoint>,
    observer: &dyn Observer,
) -> Result<Solution, SolveError> {
    let psi = query(y);
    let problem = Problem::new(y.view(), Some(psi.view()), None, None, params(7)).unwrap();
    solve_from(checkpoint, &problem, plan, observer)
}

fn plan() -> Plan {
    Plan {
        chain_receipt: None,
        ..everything()
    }
}

/// What is kept of a run that is cut off after `tiles`.
fn cut_off(y: &Array2<f32>, plan: &Plan, tiles: usize) -> Vec<u8> {
    let observer = Cutting::after(tiles);
    let outcome = run(y, plan, None, &observer);
    assert_eq!(outcome.map(|_| ()), Err(SolveError::Cancelled));
    observer.kept.into_inner().unwrap().unwrap()
}

#[test]
fn a_run_that_goes_on_ends_with_the_same_bits() {
    for y in [
        gaussian(ROWS, 40, 1),
        near_ties(ROWS, 24, 1e-6, 2),
        duplicated(ROWS, 30, 5, 3),
    ] {
        let whole = Cutting::after(usize::MAX);
        let expected = fingerprint(run(&y, &plan(), None, &whole).unwrap());
        for tiles in 1..whole.tiles() {
            let kept = cut_off(&y, &plan(), tiles);
            let checkpoint = Checkpoint::from_bytes(&kept).unwrap();
            let rest = Cutting::after(usize::MAX);
            let solution = run(&y, &plan(), Some(&checkpoint), &rest).unwrap();
            assert!(fingerprint(solution) == expected, "cut off after {tiles}");
            assert!(
                rest.tiles() <= whole.tiles() - tiles,
                "{} tiles after {tiles} of {}",
                rest.tiles(),
                whole.tiles()
            );
        }
    }
}

#[test]
fn a_run_may_be_cut_off_again_and_again() {
    let y = gaussian(ROWS, 40, 4);
    let expected = fingerprint(run(&y, &plan(), None, &Unobserved).unwrap());
    let mut checkpoint = None;
    for _ in 0..1000 {
        let observer = Cutting::after(2);
        match run(&y, &plan(), checkpoint.as_ref(), &observer) {
            Err(SolveError::Cancelled) => {
                let kept = observer.kept.into_inner().unwrap();
                checkpoint = kept
                    .and_then(|kept| Checkpoint::from_bytes(&kept))
                    .or(checkpoint);
            }
            other => panic!("two tiles are not the whole run: {other:?}"),
        }
        let rest = Cutting::after(usize::MAX);
        let solution = run(&y, &plan(), checkpoint.as_ref(), &rest).unwrap();
        assert!(fingerprint(solution) == expected);
        if rest.tiles() <= 1 {
            return;
        }
    }
    panic!("the search never ends");
}

#[test]
fn of_two_searches_the_one_that_is_done_is_not_repeated() {
    let y = gaussian(ROWS, 16, 5);
    let shuffled = Plan {
        diffusion: Some(DiffusionParams::default().with_neighbor_seed(Some(3))),
        ..plan()
    };
    let whole = Cutting::after(usize::MAX);
    let expected = fingerprint(run(&y, &shuffled, None, &whole).unwrap());
    let first = Cutting::after(usize::MAX);
    run(&y, &plan(), None, &first).unwrap();
    assert!(whole.tiles() > first.tiles(), "two searches");
    let kept = cut_off(&y, &shuffled, first.tiles() + 1);
    let checkpoint = Checkpoint::from_bytes(&kept).unwrap();
    let rest = Cutting::after(usize::MAX);
    let solution = run(&y, &shuffled, Some(&checkpoint), &rest).unwrap();
    assert!(fingerprint(solution) == expected);
    assert!(rest.tiles() < first.tiles());
}

#[test]
fn what_another_run_has_left_is_ignored() {
    let y = gaussian(ROWS, 40, 6);
    let mut other = y.clone();
    other[[700, 3]] += 1.0;
    let whole = Cutting::after(usize::MAX);
    let expected = fingerprint(run(&y, &plan(), None, &whole).unwrap());
    for foreign in [
        cut_off(&other, &plan(), 5),
        cut_off(&y.slice(ndarray::s![..ROWS - 1, ..]).to_owned(), &plan(), 5),
    ] {
        let checkpoint = Checkpoint::from_bytes(&foreign).unwrap();
        let observer = Cutting::after(usize::MAX);
        let solution = run(&y, &plan(), Some(&checkpoint), &observer).unwrap();
        assert!(fingerprint(solution) == expected);
        assert_eq!(observer.tiles(), whole.tiles(), "all of it is done again");
    }
}

#[test]
fn bytes_that_are_cut_off_or_altered_are_no_checkpoint() {
    let kept = cut_off(&gaussian(ROWS, 8, 7), &plan(), 5);
    assert!(Checkpoint::from_bytes(&kept).is_some());
    for length in [0, 8, 32, 100, kept.len() - 1] {
        assert!(Checkpoint::from_bytes(&kept[..length]).is_none());
    }
    for place in [0, 9, 50, kept.len() / 2, kept.len() - 1] {
        let mut altered = kept.clone();
        altered[place] ^= 4;
        assert!(Checkpoint::from_bytes(&altered).is_none(), "byte {place}");
    }
}

#[test]
fn few_rows_are_never_asked_for_one() {
    let observer = Cutting::after(usize::MAX);
    let y = gaussian(60, 12, 8);
    let psi = query(&y);
    let problem = Problem::new(y.view(), Some(psi.view()), None, None, params(5)).unwrap();
    solve(&problem, &plan(), &observer).unwrap();
    assert!(observer.kept.into_inner().unwrap().is_none());
}
