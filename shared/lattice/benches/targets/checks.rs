//! How long a run may go on without looking whether it has been cancelled.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ndarray::Array2;
use oscillink_lattice::{Observer, Stage};

/// Remembers the longest time between two checks, and the stage last heard of.
struct Watch(Mutex<Seen>);

struct Seen {
    last: Instant,
    stage: Stage,
    longest: (f64, Stage),
}

impl Watch {
    fn see(&self, stage: Option<Stage>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = seen.last.elapsed().as_secs_f64() * 1e3;
        if waited > seen.longest.0 {
            seen.longest = (waited, seen.stage);
        }
        seen.last = Instant::now();
        seen.stage = stage.unwrap_or(seen.stage);
    }
}

impl Observer for Watch {
    fn is_cancelled(&self) -> bool {
        self.see(None);
        false
    }

    fn progress(&self, stage: Stage, _: f32) {
        self.see(Some(stage));
    }
}

/// The longest wait in milliseconds, the stage before it, and how long the whole run took.
pub(crate) fn longest_wait(y: &Array2<f32>) -> ((f64, Stage), f64) {
    let started = Instant::now();
    let watch = Watch(Mutex::new(Seen {
        last: started,
        stage: Stage::Graph,
        longest: (0.0, Stage::Graph),
    }));
    let solution =
        oscillink_lattice::bench::run(y.view(), &watch).expect("nothing cancels the run");
    watch.see(None);
    let seen = watch.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(solution);
    (seen.longest, started.elapsed().as_secs_f64() * 1e3)
}
