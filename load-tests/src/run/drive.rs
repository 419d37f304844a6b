//! Sends what is due, in open or closed loops, and watches the service meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::arrivals::{Pacer, Profile};
use crate::chaos::Stage;
use crate::flows::arrive;
use crate::http::Client;
use crate::scenario::Arrivals;
use crate::scrape::Gauges;
use crate::world::{Arrival, World};

/// Arrivals that may be sent in one go before others get their turn.
const BURST: u32 = 32;
/// Time for what is under way when the run is interrupted.
const INTERRUPTED_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(5);
/// Longest a read of the gauges may take.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs all flows until their last arrival has ended, or the run's patience has.
pub(super) async fn all_flows(world: &Rc<World>) -> anyhow::Result<()> {
    let interrupted = {
        let world = Rc::clone(world);
        tokio::task::spawn_local(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                world.stopped.set(true);
            }
        })
    };
    let mut flows = Vec::new();
    for (place, flow) in world.scenario.flows.iter().enumerate() {
        let world = Rc::clone(world);
        flows.push(match Profile::of(&flow.arrivals, world.scenario.duration) {
            Some(profile) => tokio::task::spawn_local(open_loop(world, place, profile)),
            None => tokio::task::spawn_local(closed_loop(world, place)),
        });
    }
    for flow in flows {
        flow.await??;
    }
    // The requests' own time limits end them after the run's patience; this is beyond those.
    let limit = world.deadline() + world.scenario.bounds.timeout + INTERRUPTED_GRACE;
    let mut limit_if_stopped = None;
    while world.in_flight.get() > 0 && Instant::now() < limit {
        if world.stopped.get() {
            let limit = *limit_if_stopped.get_or_insert(Instant::now() + INTERRUPTED_GRACE);
            if Instant::now() > limit {
                break;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    interrupted.abort();
    Ok(())
}

/// Sends each arrival when it is due, whatever has become of those before.
async fn open_loop(world: Rc<World>, flow: usize, profile: Profile) -> anyhow::Result<()> {
    let pacer = Pacer::new()?;
    let spec = &world.scenario.flows[flow];
    let plan = profile.plan(spec.spacing, world.scenario.seed ^ flow as u64);
    let mut burst = 0;
    for (number, intended) in plan.enumerate() {
        let due = world.start + intended;
        if Instant::now() < due {
            pacer.until(due).await?;
            burst = 0;
        } else if burst == BURST {
            tokio::task::yield_now().await;
            burst = 0;
        }
        burst += 1;
        if world.stopped.get() {
            break;
        }
        let lateness = Instant::now().saturating_duration_since(due);
        world.recorder.borrow_mut().lateness.record(lateness);
        if world.in_flight.get() >= world.scenario.bounds.in_flight {
            world.recorder.borrow_mut().not_sent(flow, intended);
            continue;
        }
        let number = number as u64;
        let arrival = Arrival {
            flow,
            number,
            intended,
        };
        let world = Rc::clone(&world);
        world.in_flight.set(world.in_flight.get() + 1);
        tokio::task::spawn_local(async move {
            arrive(&world, arrival).await;
            world.in_flight.set(world.in_flight.get() - 1);
        });
    }
    Ok(())
}

/// Each user sends when its last request has been answered. Latency is from the sending.
async fn closed_loop(world: Rc<World>, flow: usize) -> anyhow::Result<()> {
    let Arrivals::Closed { users, pause } = world.scenario.flows[flow].arrivals else {
        return Ok(());
    };
    let pause = pause.map_or(Duration::ZERO, |pause| pause.0);
    let one = |user: usize| {
        let world = Rc::clone(&world);
        async move {
            tokio::time::sleep_until(world.start.into()).await;
            for number in 0.. {
                let intended = world.start.elapsed();
                if intended >= world.scenario.duration || world.stopped.get() {
                    return;
                }
                let number = number * users as u64 + user as u64;
                let arrival = Arrival {
                    flow,
                    number,
                    intended,
                };
                arrive(&world, arrival).await;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    };
    let users: Vec<JoinHandle<()>> = (0..users)
        .map(|user| tokio::task::spawn_local(one(user)))
        .collect();
    for user in users {
        user.await?;
    }
    Ok(())
}

/// Reads of the service's gauges.
pub(super) struct Watch {
    pub gauges: Rc<RefCell<Gauges>>,
    pub task: JoinHandle<()>,
}

/// Reads the gauges now and then, on a connection of its own.
pub(super) fn watch(world: &Rc<World>, stage: &Rc<Stage>, admin_secret: Option<String>) -> Watch {
    let gauges = Rc::new(RefCell::new(Gauges::default()));
    let client = Client::new(world.client.target().clone(), 1, SCRAPE_TIMEOUT);
    let (part, start) = (world.recorder.borrow().part, world.start);
    let (noted, stage, world) = (Rc::clone(&gauges), Rc::clone(stage), Rc::clone(world));
    let task = tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval_at(start.into(), part);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let at_s = start.elapsed().as_secs_f64();
            let read = Gauges::read(&client, admin_secret.as_deref()).await;
            let mut noted = noted.borrow_mut();
            noted.note(at_s, read);
            let under_way = world.in_flight.get() as f64;
            noted.add("harness_in_flight".to_owned(), at_s, under_way);
            let server = stage.server.as_ref().map(|server| server.borrow());
            let memory = server.and_then(|server| server.as_ref()?.memory_bytes());
            if let Some(bytes) = memory {
                noted.add("server_memory_bytes".to_owned(), at_s, bytes as f64);
            }
        }
    });
    Watch { gauges, task }
}
