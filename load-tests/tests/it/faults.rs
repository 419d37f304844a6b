//! A service that loses, doubles or miscounts is found out, however fast it is.

use oscillink_load_tests::books::Kind;
use oscillink_load_tests::scenario::Scenario;
use oscillink_load_tests::server::Server;

use crate::proxy::{Fault, start};
use crate::support::{Ran, run, server_program};
use crate::{Needs, Story};

pub const STORIES: &[Story] = &[
    ("an_honest_proxy_changes_nothing", Needs::Server, honest),
    ("a_lost_job_fails_the_run", Needs::Server, lost_job),
    ("work_done_twice_fails_the_run", Needs::Server, doubled_work),
    (
        "a_missing_ledger_row_fails_the_run",
        Needs::Server,
        dropped_row,
    ),
    ("other_units_fail_the_run", Needs::Server, other_units),
    ("a_wrong_result_fails_the_run", Needs::Server, wrong_result),
    (
        "an_end_that_changes_fails_the_run",
        Needs::Server,
        changed_end,
    ),
];

const SCENARIO: &str = r#"
name = "spoilt"
duration = "1s"
[bounds]
drain = "30s"
[[tenants]]
name = "pro"
tier = "pro"
[[problems]]
name = "small"
rows = 32
dims = 16
count = 4
[[flows]]
name = "inline"
kind = "settle"
problem = "small"
arrivals = { shape = "constant", rate = 10 }
"#;

const JOBS: &str = r#"
[[flows]]
name = "jobs"
kind = "poll"
problem = "small"
arrivals = { shape = "constant", rate = 10 }
"#;

/// Runs through a proxy with a fault, on a fresh server.
fn through(fault: Fault, scenario: &str) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let parsed = Scenario::parse(scenario).unwrap();
    let program = server_program().unwrap();
    let server = runtime.block_on(Server::start(&program, &parsed)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.toml");
    std::fs::write(&path, scenario).unwrap();
    let proxy = start(&server.url, fault);
    let key = format!("pro={}", server.keys[0]);
    let ran = run(&path, &["--target", &proxy, "--key", &key]);
    runtime.block_on(server.stop()).unwrap();
    ran
}

fn found(fault: Fault, scenario: &str, kind: Kind) {
    let ran = through(fault, scenario);
    assert_eq!(ran.code, 3, "{fault:?}: {}", ran.output);
    let violations = ran.report().correctness.violations;
    assert_eq!(violations.of(kind), 1, "{fault:?}: {}", ran.output);
}

fn both() -> String {
    format!("{SCENARIO}{JOBS}")
}

fn honest() {
    let ran = through(Fault::None, &both());
    assert_eq!(ran.code, 0, "{}", ran.output);
    assert_eq!(ran.report().correctness.totals.rows, 20);
}

fn lost_job() {
    let jobs_only = SCENARIO.replace("kind = \"settle\"", "kind = \"poll\"");
    found(Fault::LoseJob, &jobs_only, Kind::LostJob);
}

fn doubled_work() {
    found(Fault::DoubleWork, SCENARIO, Kind::DoubledRow);
}

fn dropped_row() {
    found(Fault::DropRow, SCENARIO, Kind::MissingRow);
}

fn other_units() {
    found(Fault::OtherUnits, SCENARIO, Kind::WrongUnits);
}

fn wrong_result() {
    found(Fault::WrongResult, SCENARIO, Kind::WrongResult);
}

fn changed_end() {
    let jobs_only = SCENARIO.replace("kind = \"settle\"", "kind = \"poll\"");
    found(Fault::ChangeEnd, &jobs_only, Kind::ChangedEnd);
}
