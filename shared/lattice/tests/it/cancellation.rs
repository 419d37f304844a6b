//! Stopping a run, and what its observer is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oscillink_lattice::{
    DiffusionParams, Observer, Params, Plan, Problem, ReceiptOptions, SolveError, Stage, solve,
};

use crate::data::{gaussian, params};

fn plan() -> Plan {
    Plan {
        receipt: Some(ReceiptOptions::default()),
        bundle_k: Some(4),
        diffusion: Some(DiffusionParams::default()),
        ..Plan::default()
    }
}

/// Cancels at the n-th time it is asked.
struct After {
    asked: AtomicUsize,
    limit: usize,
}

impl Observer for After {
    fn is_cancelled(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= self.limit
    }
}

#[test]
fn every_check_stops_the_run() {
    let y = gaussian(600, 40, 1);
    let problem = Problem::new(y.view(), None, None, None, params(6)).unwrap();
    let run = |limit| {
        let observer = After {
            asked: AtomicUsize::new(0),
            limit,
        };
        let outcome = solve(&problem, &plan(), &observer);
        (outcome.map(|_| ()), observer.asked.into_inner())
    };
    let (outcome, checks) = run(usize::MAX);
    assert_eq!(outcome, Ok(()));
    assert!(checks > 40, "only {checks} checks");
    for limit in 0..checks {
        assert_eq!(
            run(limit).0,
            Err(SolveError::Cancelled),
            "at check {limit} of {checks}"
        );
    }
}

/// Cancels some time after it was made and remembers when.
struct Deadline {
    at: Instant,
}

impl Observer for Deadline {
    fn is_cancelled(&self) -> bool {
        Instant::now() >= self.at
    }
}

#[test]
fn a_large_run_stops_soon() {
    let y = gaussian(30_000, 64, 2);
    let problem = Problem::new(y.view(), None, None, None, Params::default()).unwrap();
    let at = Instant::now() + Duration::from_millis(150);
    let outcome = solve(&problem, &plan(), &Deadline { at });
    assert_eq!(outcome.map(|_| ()), Err(SolveError::Cancelled));
    // Generous for a loaded machine; the work left at that point takes far longer.
    assert!(
        at.elapsed() < Duration::from_millis(500),
        "took {:?}",
        at.elapsed()
    );
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(Stage, f32)>>);

impl Observer for Recorder {
    fn progress(&self, stage: Stage, fraction: f32) {
        self.0.lock().unwrap().push((stage, fraction));
    }
}

#[test]
fn every_stage_reports_up_to_its_end() {
    for rows in [5, 700] {
        let y = gaussian(rows, 20, 3);
        let problem = Problem::new(y.view(), None, None, None, params(6)).unwrap();
        let recorder = Recorder::default();
        solve(&problem, &plan(), &recorder).unwrap();
        let reports = recorder.0.into_inner().unwrap();
        assert!(
            reports
                .iter()
                .all(|(_, fraction)| (0.0..=1.0).contains(fraction))
        );
        for stage in [
            Stage::Graph,
            Stage::Diffusion,
            Stage::Settle,
            Stage::Stationary,
            Stage::Receipt,
        ] {
            assert!(
                reports.contains(&(stage, 1.0)),
                "{stage:?} of {rows} rows has no end"
            );
        }
    }
}

/// Measures the run between any two checks by the time its own thread spent computing, which other
/// programs on the machine do not change.
struct Meter(Mutex<Metered>);

struct Metered {
    last: Duration,
    stage: Option<Stage>,
    longest: (Duration, Option<Stage>),
}

fn spent() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

impl Meter {
    fn see(&self, stage: Option<Stage>) {
        let mut metered = self.0.lock().unwrap();
        let now = spent();
        let gap = now - metered.last;
        if gap > metered.longest.0 {
            metered.longest = (gap, metered.stage);
        }
        metered.last = spent();
        metered.stage = stage.or(metered.stage);
    }
}

impl Observer for Meter {
    fn is_cancelled(&self) -> bool {
        self.see(None);
        false
    }

    fn progress(&self, stage: Stage, _: f32) {
        self.see(Some(stage));
    }
}

/// A run on one thread, so that nobody else checks meanwhile. What takes a twentieth of this run takes
/// less of one with more rows, where comparing all pairs outgrows everything else.
#[test]
fn no_part_of_a_run_goes_long_without_a_check() {
    let y = gaussian(12_000, 96, 5);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let (longest, total) = pool.install(|| {
        let problem = Problem::new(y.view(), None, None, None, params(8)).unwrap();
        let started = spent();
        let meter = Meter(Mutex::new(Metered {
            last: started,
            stage: None,
            longest: (Duration::ZERO, None),
        }));
        drop(solve(&problem, &plan(), &meter).unwrap());
        meter.see(None);
        (meter.0.into_inner().unwrap().longest, spent() - started)
    });
    println!("longest {longest:?} of {total:?}");
    assert!(longest.0 < total / 20, "{longest:?} of {total:?}");
}
