//! What everything in a run shares. One thread, so plain cells.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use crate::books::Books;
use crate::http::Client;
use crate::oracle::Judge;
use crate::problem::{Body, Problem};
use crate::receiver::Receiver;
use crate::record::Recorder;
use crate::scenario::{Flow, FlowKind, Scenario};

/// Where Stripe's events go and what signs them.
pub struct StripeTarget {
    /// The webhook service.
    pub client: Rc<Client>,
    /// Path of its endpoint.
    pub path: String,
    /// The endpoint's signing secret.
    pub secret: String,
}

/// A problem ready to be sent, with what its answers must say.
pub struct Prepared {
    /// N·D.
    pub units: u64,
    /// Body of a single request.
    pub body: Body,
    /// Members of a line of a batch.
    pub members: String,
    /// Checks answers.
    pub judge: Judge,
}

/// A run.
pub struct World {
    /// What is done.
    pub scenario: Scenario,
    /// Connections to the service.
    pub client: Rc<Client>,
    /// Of the webhook service.
    pub stripe: Option<StripeTarget>,
    /// Keys by tenant.
    pub keys: Vec<HeaderValue>,
    /// Problems by flow.
    pub prepared: Vec<Vec<Prepared>>,
    /// Measurements.
    pub recorder: RefCell<Recorder>,
    /// Work sent and answered.
    pub books: Rc<RefCell<Books>>,
    /// Takes callbacks.
    pub receiver: Option<Receiver>,
    /// The run's first moment.
    pub start: Instant,
    /// No more arrivals: interrupted.
    pub stopped: Cell<bool>,
    /// Arrivals under way.
    pub in_flight: Cell<usize>,
}

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Place in the scenario's flows.
    pub flow: usize,
    /// Place in its flow.
    pub number: u64,
    /// When it is meant to be sent, from the run's start.
    pub intended: Duration,
}

impl World {
    /// The flow of an arrival.
    #[must_use]
    pub fn flow(&self, arrival: Arrival) -> &Flow {
        &self.scenario.flows[arrival.flow]
    }

    /// The arrival's tenant: by weight, the same in every run.
    #[must_use]
    pub fn tenant(&self, arrival: Arrival) -> usize {
        let flow = self.flow(arrival);
        let weight = |tenant: usize| u64::from(self.scenario.tenants[tenant].weight);
        let total: u64 = flow.tenants.iter().map(|tenant| weight(*tenant)).sum();
        let mut place = draw(self.scenario.seed, arrival) % total.max(1);
        for &tenant in &flow.tenants {
            if place < weight(tenant) {
                return tenant;
            }
            place -= weight(tenant);
        }
        0
    }

    /// The arrival's problem, `line` lines further.
    #[must_use]
    pub fn problem(&self, arrival: Arrival, line: usize) -> &Prepared {
        let problems = &self.prepared[arrival.flow];
        let place = draw(self.scenario.seed ^ 1, arrival) as usize % problems.len();
        &problems[(place + line) % problems.len()]
    }

    /// Last moment at which work may still be waited for.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.start + self.scenario.duration + self.scenario.bounds.drain
    }

    /// Is it too late to wait any longer?
    #[must_use]
    pub fn over(&self) -> bool {
        self.stopped.get() || Instant::now() >= self.deadline()
    }

    /// Notes the time of a single request.
    pub fn request_took(&self, name: &'static str, since: Instant) {
        self.recorder.borrow_mut().request(name, since.elapsed());
    }
}

/// A number that looks random and belongs to the arrival.
fn draw(seed: u64, arrival: Arrival) -> u64 {
    let place = (arrival.flow as u64) << 48 | arrival.number;
    fastrand::Rng::with_seed(seed ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15)).u64(..)
}

/// Makes the problems of every flow, and solves the small ones.
#[must_use]
pub fn prepare(scenario: &Scenario) -> Vec<Vec<Prepared>> {
    let of_flow = |flow: &Flow| {
        let Some(place) = flow.problem else {
            return Vec::new();
        };
        let spec = &scenario.problems[place];
        let one = |index| {
            let problem = Problem::generate(spec, scenario.seed, index, flow.diffusion);
            let in_batch = flow.kind == FlowKind::Batch;
            Prepared {
                units: problem.units(),
                body: problem.body(spec.body),
                members: if in_batch {
                    problem.json_members()
                } else {
                    String::new()
                },
                judge: Judge::new(&problem),
            }
        };
        (0..spec.count).map(one).collect()
    };
    scenario.flows.iter().map(of_flow).collect()
}
