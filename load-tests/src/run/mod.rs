//! A run, from its first arrival to its report.

mod drive;
mod keys;
mod live;
mod settle_up;
mod setup;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinHandle;

use crate::books::Kind;
use crate::chaos::{Mark, Stage};
use crate::report::{Ended, Report, build};
use crate::scenario::Scenario;
use crate::scrape::Gauges;
use crate::server::Server;
use crate::world::World;
pub use setup::{Callbacks, Keys, Stripe};

/// How a run is made, beside the scenario.
pub struct Options {
    /// Base address of the service; or
    pub target: Option<String>,
    /// the program to start.
    pub serve: Option<PathBuf>,
    /// Keys of an outside service.
    pub keys: Keys,
    /// Opens `/metrics`, makes and activates keys.
    pub admin_secret: Option<String>,
    /// Where callbacks come.
    pub callbacks: Callbacks,
    /// Where Stripe's events go.
    pub stripe: Option<Stripe>,
    /// What disturbances work on.
    pub stage: Stage,
    /// Show the run while it goes.
    pub live: bool,
}

/// Runs a scenario on this thread.
///
/// # Errors
/// It cannot be set up; what goes wrong in the run itself is in the report.
pub fn run(scenario: Scenario, options: Options) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, whole_run(scenario, options))
}

async fn whole_run(scenario: Scenario, mut options: Options) -> anyhow::Result<Report> {
    let server = match &options.serve {
        Some(program) => {
            let server = Server::start(program, &scenario).await?;
            options.target = Some(server.url.clone());
            options.keys = Keys::Given(server.keys.clone());
            options.admin_secret = Some(server.admin_secret.clone());
            Some(Rc::new(RefCell::new(Some(server))))
        }
        None => None,
    };
    options.stage.server.clone_from(&server);
    options.stage.check(&scenario.chaos)?;
    let setup = setup::set_up(scenario, &options).await?;
    let stage = Rc::new(std::mem::take(&mut options.stage));
    let mut report = measured(setup, stage, &options).await?;
    if let Some(server) = server.and_then(|server| server.borrow_mut().take())
        && let Err(error) = server.stop().await
    {
        // What was measured is not lost for it.
        report.incorrect(Kind::BadStop, format!("{error:#}"));
    }
    Ok(report)
}

async fn measured(
    setup: setup::Setup,
    stage: Rc<Stage>,
    options: &Options,
) -> anyhow::Result<Report> {
    let setup::Setup {
        world,
        before,
        mut unchecked,
    } = setup;
    let world = Rc::new(world);
    let started = jiff::Timestamp::now().to_string();
    let disturbances = disturb(&world, &stage);
    let gauges = drive::watch(&world, &stage, options.admin_secret.clone());
    let shown = live::show(&world, options.live);
    drive::all_flows(&world).await?;
    let mut marks = Vec::new();
    for disturbance in disturbances {
        marks.extend(disturbance.await?);
    }
    shown.abort();
    gauges.task.abort();
    let settled = settle_up::settle_up(&world, &before).await;
    unchecked.extend(settled.unchecked);
    let recorder = world.recorder.borrow();
    marks.sort_by_key(|mark| mark.began);
    let gauges: Gauges = gauges.gauges.borrow().clone();
    if gauges.series.is_empty() {
        unchecked.push("/metrics did not answer: no gauges of the service".to_owned());
    }
    Ok(build(Ended {
        scenario: &world.scenario,
        recorder: &recorder,
        started,
        target: world.client.target().url(),
        interrupted: world.stopped.get(),
        gauges: gauges.series,
        marks,
        totals: settled.totals,
        violations: settled.violations,
        unchecked,
        connections: world.client.opened(),
        cpu: cpu_time(),
        total: world.start.elapsed(),
    }))
}

/// Plans the disturbances. Each of them ends: hooks have a time limit, the rest a length.
fn disturb(world: &Rc<World>, stage: &Rc<Stage>) -> Vec<JoinHandle<Option<Mark>>> {
    let plan = world.scenario.chaos.clone().into_iter();
    plan.map(|disturbance| {
        let (stage, world) = (Rc::clone(stage), Rc::clone(world));
        tokio::task::spawn_local(async move {
            let start = world.start;
            tokio::time::sleep_until((start + disturbance.at).into()).await;
            match world.stopped.get() {
                true => None,
                false => Some(stage.act(&disturbance.action, start).await),
            }
        })
    })
    .collect()
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The run's clock begins a moment after this, so that the first arrivals are not late.
fn first_moment() -> Instant {
    Instant::now() + Duration::from_millis(50)
}
