//! Logs and traces of a role, and what its metrics are told by the engine.

use std::time::Duration;

use anyhow::Result;
use oscillink_domain::settings::Variables;
use oscillink_domain::{Job, JobKind, JobStatus};
use oscillink_engine::Engine;
use oscillink_telemetry::metrics::{KindLabel, KindStatus, StatusLabel};
use oscillink_telemetry::{Config, Metrics, Telemetry, init};

use crate::exit::Failure;

/// How long spans that wait for export may hold up the end, after everything else has ended.
pub const FLUSH_LIMIT: Duration = Duration::from_millis(800);

/// Begins logs and traces; `service` names the process in traces unless a variable does.
pub fn telemetry(variables: &Variables<'_>, service: &str) -> Result<Telemetry> {
    let config = Config::from_lookup(variables, service);
    let config = config.map_err(|error| Failure::usage(error.to_string()))?;
    let telemetry = init(&config).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(telemetry)
}

/// Counts the jobs that `engine` ends.
pub fn count_ends(engine: &Engine, metrics: &Metrics) {
    let metrics = metrics.clone();
    engine.on_end(move |job| count_end(&metrics, job));
}

fn count_end(metrics: &Metrics, job: &Job) {
    let kind = job.kind.as_str();
    let status = job.status.as_str();
    let ended = KindStatus { kind, status };
    metrics.jobs.get_or_create(&ended).inc();
    if job.dead_letter {
        let label = KindLabel { kind };
        metrics.job_dead_letters.get_or_create(&label).inc();
    }
    // Those that are done are counted with the time of their gates.
    if job.kind == JobKind::Diffusion && job.status == JobStatus::Error {
        let label = StatusLabel { status: "error" };
        metrics.diffusion_requests.get_or_create(&label).inc();
    }
}
