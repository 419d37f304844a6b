//! The run while it goes: a block that is drawn anew on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::record::{Latency, Track};
use crate::scenario::show_duration;
use crate::world::World;

/// Between two drawings on a terminal.
const REDRAW: Duration = Duration::from_millis(500);
/// Between two lines elsewhere.
const LINE: Duration = Duration::from_secs(10);

/// Shows the run until the task is aborted.
pub(super) fn show(world: &Rc<World>, wanted: bool) -> JoinHandle<()> {
    let world = Rc::clone(world);
    tokio::task::spawn_local(async move {
        if !wanted {
            return;
        }
        let terminal = std::io::stderr().is_terminal();
        let mut ticks = tokio::time::interval(if terminal { REDRAW } else { LINE });
        let mut drawn = 0;
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let lines = if terminal {
                block(&world)
            } else {
                vec![line(&world)]
            };
            let mut text = String::new();
            if drawn > 0 && terminal {
                text = format!("\x1b[{drawn}A");
            }
            for line in &lines {
                // Clears what was there before.
                let clear = if terminal { "\x1b[K" } else { "" };
                text = format!("{text}{line}{clear}\n");
            }
            drawn = lines.len();
            let mut out = std::io::stderr().lock();
            // Without a reader there is nobody to tell.
            let _ = out.write_all(text.as_bytes());
        }
    })
}

fn quantile(latency: &Latency, share: f64) -> String {
    show_duration(Duration::from_secs_f64(latency.quantile_s(share)))
}

fn clock(world: &World) -> String {
    let elapsed = world.start.elapsed();
    let left = world.scenario.duration.saturating_sub(elapsed);
    let state = match (left.is_zero(), elapsed < world.scenario.warm_up) {
        (true, _) => "waiting for the rest",
        (_, true) => "warming up",
        _ => "running",
    };
    format!(
        "{:>5.0} s, {state}, {} under way",
        elapsed.as_secs_f64(),
        world.in_flight.get()
    )
}

fn line(world: &World) -> String {
    let recorder = world.recorder.borrow();
    let all = &recorder.all;
    format!(
        "{}: {} ok, {} errors, {} unsent, p50 {}, p99 {}",
        clock(world),
        all.ok,
        all.errors,
        all.unsent,
        quantile(&all.latency, 0.5),
        quantile(&all.latency, 0.99)
    )
}

fn block(world: &World) -> Vec<String> {
    let recorder = world.recorder.borrow();
    let duration = world.scenario.duration.as_secs_f64();
    let part = (world.start.elapsed().as_secs_f64() / duration).min(1.0);
    let full = (part * 40.0) as usize;
    let bar = format!("[{}{}]", "=".repeat(full), " ".repeat(40 - full));
    let head = format!("{} {bar} {}", world.scenario.name, clock(world));
    let columns = format!(
        "{:<14}{:>9}{:>8}{:>8}{:>8}{:>10}{:>10}{:>10}",
        "flow", "ok", "last", "errors", "unsent", "p50", "p95", "p99"
    );
    let mut lines = vec![head, columns];
    let flows = world.scenario.flows.iter().zip(&recorder.flows);
    lines.extend(flows.map(|(flow, track)| row(&flow.name, track)));
    lines.push(row("all", &recorder.all));
    lines
}

fn row(name: &str, track: &Track) -> String {
    let parts = &track.intervals;
    // The last part is still filling.
    let last = parts
        .len()
        .checked_sub(2)
        .map_or(0, |place| parts[place].ok);
    format!(
        "{name:<14}{:>9}{last:>8}{:>8}{:>8}{:>10}{:>10}{:>10}",
        track.ok,
        track.errors,
        track.unsent,
        quantile(&track.latency, 0.5),
        quantile(&track.latency, 0.95),
        quantile(&track.latency, 0.99)
    )
}
