//! The world of one seed: adapters, actors, faults, and what happened.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use oscillink_domain::job::RetryPolicy;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{JobId, KeyId, Limits, Sha256Hex, Tier, Timestamp, Units};
use oscillink_engine::{Engine, EngineConfig, Ports};
use oscillink_ports::Clock as _;
use oscillink_testkit::{
    FaultRates, Faults, ManualClock, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, Scheduler,
    SeededEntropy, SplitMix64,
};

use crate::actors;
use crate::invariants;

/// Processes of the world; a crash takes one.
pub const CLIENTS: u32 = 0;
pub const RELAY: u32 = 1;
pub const SWEEPER: u32 = 2;
pub const FIRST_WORKER: u32 = 10;
pub const WORKERS: u32 = 3;

/// What happened in a run, to prove that the faults struck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub counts: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn note(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Self) {
        for (what, times) in &other.counts {
            self.note(what, *times);
        }
    }

    /// Every kind of event must have occurred, or the simulation proves nothing.
    pub fn assert_everything_happened(&self) {
        for what in [
            "accepted",
            "refused by quota",
            "replayed",
            "submit outcome unknown",
            "cancelled while queued",
            "cancel requested while running",
            "done",
            "failed for good",
            "dead letters",
            "expired",
            "duplicate deliveries",
            "deliveries refused",
            "tasks lost",
            "stale writes refused",
            "handed back",
            "crashed submits",
            "crashed relays",
            "crashed sweepers",
            "crashed workers",
            "clock set back",
            "clock jumped ahead",
            "failed before effect",
            "failed after effect",
            "conflicts",
            "leases lost",
            "redispatched",
            "events repeated",
            "blobs written",
            "reserved over several shards",
            "synchronous charges",
        ] {
            assert!(
                self.counts.get(what).is_some_and(|n| *n > 0),
                "never happened: {what}"
            );
        }
    }
}

/// Shared by the actors of one world.
pub struct Shared {
    pub engine: Engine,
    pub store: MemoryStore,
    pub queue: MemoryQueue,
    pub blobs: MemoryBlobs,
    pub bus: MemoryBus,
    pub clock: ManualClock,
    pub random: RefCell<SplitMix64>,
    pub tally: RefCell<Tally>,
    /// Jobs whose acceptance a client saw.
    pub accepted: RefCell<BTreeSet<JobId>>,
    /// Requests charged, as their caller saw it.
    pub charged: RefCell<BTreeSet<String>>,
    /// Faults have ended: workers only succeed.
    pub calm: std::cell::Cell<bool>,
    pub keys: Vec<(KeyId, Limits)>,
}

impl Shared {
    pub fn note(&self, what: &'static str) {
        self.tally.borrow_mut().note(what, 1);
    }

    pub fn below(&self, bound: usize) -> usize {
        self.random.borrow_mut().below(bound)
    }

    pub fn once_in(&self, n: u32) -> bool {
        self.random.borrow_mut().once_in(n)
    }
}

pub struct World;

impl World {
    /// Runs the world of `seed` to its end and checks it.
    pub fn run(seed: u64) -> Tally {
        let mut random = SplitMix64::new(seed);
        let rates = FaultRates {
            fail_before: 25,
            fail_after: 25,
            conflict: 10,
        };
        let faults = Faults::new(random.next_u64(), rates);
        let shards = 1 + random.below(3) as u32;
        let shared = Rc::new(build(&mut random, &faults, shards));
        invariants::watch(&shared, shards);
        let mut scheduler = Scheduler::new();
        for client in 0..6 {
            scheduler.spawn(CLIENTS, actors::client(Rc::clone(&shared), client));
        }
        storm(&shared, &mut scheduler);
        faults.set_rates(FaultRates::default());
        shared.calm.set(true);
        invariants::live_jobs_have_a_future(&shared);
        run_dry(&shared, &mut scheduler);
        let counts = faults.counts();
        {
            let mut tally = shared.tally.borrow_mut();
            tally.note("failed before effect", counts.failed_before);
            tally.note("failed after effect", counts.failed_after);
            tally.note("conflicts", counts.conflicts);
            tally.note("blobs written", shared.blobs.names().len() as u64);
        }
        invariants::check_end(&shared);
        shared.tally.borrow().clone()
    }
}

fn build(random: &mut SplitMix64, faults: &Faults, shards: u32) -> Shared {
    let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
    let store = MemoryStore::new(faults.clone());
    let queue = MemoryQueue::new(faults.clone());
    let blobs = MemoryBlobs::new(faults.clone());
    let bus = MemoryBus::new(faults.clone());
    let ports = Ports {
        store: Arc::new(store.clone()),
        blobs: Arc::new(blobs.clone()),
        queue: Arc::new(queue.clone()),
        bus: Arc::new(bus.clone()),
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SeededEntropy::new(random.next_u64())),
    };
    let config = EngineConfig {
        window_ms: 3_600_000,
        quota_shards: shards,
        lease_ms: 5_000,
        redispatch_ms: 20_000,
        job_max_age_ms: 300_000,
        inline_content_bytes: 20,
        retry: RetryPolicy {
            max_attempts: 3,
            min_backoff_ms: 100,
            max_backoff_ms: 2_000,
            max_doublings: 3,
        },
        dispatch_window: 4,
        ..EngineConfig::default()
    };
    let limits = |window: u64| {
        let overrides = Overrides {
            window_units: Some(Units::new(window)),
            ..Overrides::default()
        };
        Limits::of(Tier::Pro, &config.baseline, &overrides)
    };
    let keys = vec![
        (KeyId::from_random([1; 16]), limits(60)),
        (KeyId::from_random([2; 16]), limits(1_000)),
    ];
    Shared {
        engine: Engine::new(ports, config),
        store,
        queue,
        blobs,
        bus,
        clock,
        random: RefCell::new(SplitMix64::new(random.next_u64())),
        tally: RefCell::default(),
        accepted: RefCell::default(),
        charged: RefCell::default(),
        calm: std::cell::Cell::new(false),
        keys,
    }
}

/// Steps actors at random while faults strike.
fn storm(shared: &Rc<Shared>, scheduler: &mut Scheduler<'_>) {
    for _ in 0..1_500 {
        match shared.below(100) {
            0 => crash(shared, scheduler),
            1 if shared.once_in(3) => {
                shared.note("clock jumped ahead");
                shared.clock.advance(1_000 * (1 + shared.below(60) as i64));
            }
            2 if shared.once_in(3) => {
                shared.note("clock set back");
                shared.clock.advance(-1_000 * (1 + shared.below(20) as i64));
            }
            3 => lose_a_task(shared),
            4..=6 => scheduler.spawn(RELAY, actors::relay(Rc::clone(shared))),
            7 => scheduler.spawn(SWEEPER, actors::sweeper(Rc::clone(shared))),
            8..=14 => deliver(shared, scheduler),
            _ if !scheduler.is_empty() => {
                shared.clock.advance(shared.below(40) as i64);
                let index = shared.below(scheduler.len());
                scheduler.step(index);
            }
            _ => {}
        }
    }
}

/// Without faults: everything that was accepted must come to its end by itself.
fn run_dry(shared: &Rc<Shared>, scheduler: &mut Scheduler<'_>) {
    for _ in 0..400 {
        while !scheduler.is_empty() {
            scheduler.step(0);
        }
        scheduler.spawn(RELAY, actors::relay(Rc::clone(shared)));
        scheduler.spawn(SWEEPER, actors::sweeper(Rc::clone(shared)));
        while !scheduler.is_empty() {
            scheduler.step(0);
        }
        for task in shared.queue.due(shared.clock.now()) {
            scheduler.spawn(
                FIRST_WORKER,
                actors::worker(Rc::clone(shared), task, "calm"),
            );
        }
        if invariants::nothing_left(shared) && scheduler.is_empty() {
            return;
        }
        shared.clock.advance(2_000);
    }
}

fn deliver(shared: &Rc<Shared>, scheduler: &mut Scheduler<'_>) {
    let due = shared.queue.due(shared.clock.now());
    if due.is_empty() {
        return;
    }
    let task = due[shared.below(due.len())].clone();
    let worker = FIRST_WORKER + shared.below(WORKERS as usize) as u32;
    if shared.once_in(5) {
        shared.note("duplicate deliveries");
        let other = FIRST_WORKER + shared.below(WORKERS as usize) as u32;
        scheduler.spawn(
            other,
            actors::worker(Rc::clone(shared), task.clone(), "second"),
        );
    }
    scheduler.spawn(worker, actors::worker(Rc::clone(shared), task, "first"));
}

fn lose_a_task(shared: &Shared) {
    let tasks = shared.queue.tasks();
    if !tasks.is_empty() && shared.once_in(2) {
        shared.note("tasks lost");
        shared.queue.remove(&tasks[shared.below(tasks.len())]);
    }
}

fn crash(shared: &Shared, scheduler: &mut Scheduler<'_>) {
    let (process, what) = match shared.below(4) {
        0 => (CLIENTS, "crashed submits"),
        1 => (RELAY, "crashed relays"),
        2 => (SWEEPER, "crashed sweepers"),
        _ => (
            FIRST_WORKER + shared.below(WORKERS as usize) as u32,
            "crashed workers",
        ),
    };
    // The clients' side dies rarely, or nothing would ever be submitted.
    if process == CLIENTS && !shared.once_in(6) {
        return;
    }
    if scheduler.crash(process) > 0 {
        shared.note(what);
    }
}

/// A hash that stands for a key's secret.
pub fn key_hash() -> Sha256Hex {
    Sha256Hex::of(b"secret")
}
