//! Disturbances of the all-in-one server: nothing is lost, and the report says how long it took.

use crate::support::{Ran, run_served, run_text, shipped};
use crate::{Needs, Story};

pub const STORIES: &[Story] = &[
    ("a_killed_server_loses_nothing", Needs::Server, killed),
    ("a_full_disk_loses_nothing", Needs::Root, full_disk),
    (
        "a_disturbance_that_cannot_be_carried_out",
        Needs::Server,
        impossible,
    ),
];

fn assert_correct(ran: &Ran) {
    let report = ran.report();
    assert!(report.correctness.passed, "{}", ran.output);
    for chaos in &report.chaos {
        assert_eq!(chaos.error, None, "{}", ran.output);
    }
}

fn killed() {
    let ran = run_served(&shipped("chaos-embedded.toml"));
    assert_correct(&ran);
    assert_eq!(ran.code, 0, "{}", ran.output);
    let report = ran.report();
    let kill = report
        .chaos
        .iter()
        .find(|chaos| chaos.label == "kill server")
        .unwrap();
    assert!(kill.noticed, "{}", ran.output);
    let recovery = kill.recovered_after_s.expect("the server came back");
    // It was away for a second at least. How long its start takes is the machine's.
    assert!(recovery >= 0.9, "{}", ran.output);
}

fn full_disk() {
    let ran = run_served(&shipped("chaos-disk.toml"));
    assert_correct(&ran);
    let report = ran.report();
    let full = &report.chaos[0];
    assert!(full.noticed, "{}", ran.output);
    // Whoever comes back gets his work done: nothing stays refused once there is room.
    let ends = &report.correctness.totals.ends;
    assert_eq!(ends.keys().collect::<Vec<_>>(), ["done"], "{}", ran.output);
    let jobs = report.flows.iter().filter(|flow| flow.kind == "poll");
    for flow in jobs {
        assert_eq!(flow.summary.errors, 0, "{}", ran.output);
    }
    assert!(full.recovered_after_s.is_some(), "{}", ran.output);
}

fn impossible() {
    let ran = run_text(
        r#"
name = "impossible"
duration = "1s"
[[flows]]
name = "health"
kind = "probe"
arrivals = { shape = "constant", rate = 10 }
[[chaos]]
at = "500ms"
action = "kill"
process = "worker"
"#,
    );
    assert_eq!(ran.code, 4, "{}", ran.output);
    assert!(ran.output.contains("chaos[0]"), "{}", ran.output);
}
