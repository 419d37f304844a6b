//! Runs as they should be, and what they measure.

use crate::support::{program, run, run_served, run_text, shipped};
use crate::{Needs, Story};

pub const STORIES: &[Story] = &[
    (
        "every_kind_of_use_for_ten_seconds",
        Needs::Server,
        every_kind_of_use,
    ),
    ("a_pause_that_a_closed_loop_hides", Needs::Server, a_pause),
    ("callbacks_come_once", Needs::Server, callbacks),
    ("a_threshold_that_does_not_hold", Needs::Server, a_threshold),
    (
        "a_field_at_fault_is_named",
        Needs::Nothing,
        a_field_at_fault,
    ),
    (
        "what_cannot_be_done_is_told_before_the_run",
        Needs::Nothing,
        before_the_run,
    ),
    (
        "no_server_is_no_failure_of_a_threshold",
        Needs::Nothing,
        no_server,
    ),
    (
        "shipped_scenarios_are_valid",
        Needs::Nothing,
        shipped_are_valid,
    ),
];

fn every_kind_of_use() {
    let ran = run_served(&shipped("quick.toml"));
    assert_eq!(ran.code, 0, "{}", ran.output);
    let report = ran.report();
    assert!(report.passed && report.correctness.passed);
    let totals = &report.correctness.totals;
    assert_eq!(totals.units_sent, totals.units_charged);
    assert_eq!(totals.rows, totals.answered + totals.accepted);
    assert_eq!(totals.ends.keys().collect::<Vec<_>>(), ["done"]);
    // Every flow did what it is for: about 200 + 50 synchronous, and jobs by poll, events and batch.
    // Arrivals are those of independent clients, so their number varies by some tens.
    assert!(
        totals.answered >= 150 && totals.accepted >= 90,
        "{totals:?}"
    );
    assert!(
        report
            .gauges
            .keys()
            .any(|name| name.contains("queue_depth"))
    );
    let lines = std::fs::read_to_string(ran.file("report.csv")).unwrap();
    assert!(lines.lines().count() > 6 * 9, "{lines}");
    let json = ran.file("report.json").display().to_string();
    let same = program(&["compare", &json, &json, "--fail-above", "0"]);
    assert_eq!(same.status.code(), Some(0));
}

/// The server stands still for a second. Every request that should have been sent meanwhile waited;
/// clients in a closed loop sent one each and saw nothing.
fn a_pause() {
    let ran = run_text(
        r#"
name = "pause"
duration = "5s"
[bounds]
timeout = "10s"
[[flows]]
name = "open"
kind = "probe"
arrivals = { shape = "constant", rate = 200 }
[[flows]]
name = "closed"
kind = "probe"
arrivals = { shape = "closed", users = 2, pause = "1ms" }
[[chaos]]
at = "2s"
action = "pause"
for = "1s"
[thresholds]
all = ["error_rate<=0%"]
"#,
    );
    assert_eq!(ran.code, 0, "{}", ran.output);
    let report = ran.report();
    let (open, closed) = (&report.flows[0].summary, &report.flows[1].summary);
    assert_eq!(open.arrivals, 1000);
    // A fifth of the arrivals fell into the pause and waited half a second on average.
    assert!(open.latency.p90_s > 0.35, "{open:?}");
    assert!(
        open.latency.max_s > 0.9 && open.latency.mean_s > 0.07,
        "{open:?}"
    );
    // However slow the machine: hundreds of answers, of which two have waited.
    assert!(closed.latency.p99_s < open.latency.p90_s, "{closed:?}");
    assert!(ran.output.contains("do not show pauses"), "{}", ran.output);
}

fn callbacks() {
    let ran = run_served(&shipped("callbacks.toml"));
    assert_eq!(ran.code, 0, "{}", ran.output);
    let totals = ran.report().correctness.totals;
    assert!(totals.accepted > 20, "{totals:?}");
    assert_eq!(
        (totals.callbacks, totals.callbacks_again),
        (totals.accepted, 0)
    );
    assert!(!ran.output.contains("not checked"), "{}", ran.output);
}

fn a_threshold() {
    let ran = run_text(
        r#"
name = "impossible"
duration = "1s"
[[flows]]
name = "health"
kind = "probe"
arrivals = { shape = "constant", rate = 50 }
[thresholds]
health = ["p50<1us", "error_rate<1%"]
"#,
    );
    assert_eq!(ran.code, 1, "{}", ran.output);
    assert!(ran.output.contains("FAIL health p50<1us"), "{}", ran.output);
    assert!(
        ran.output.contains("pass health error_rate<1%"),
        "{}",
        ran.output
    );
}

fn a_field_at_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.toml");
    let head = "name = 'x'\nduration = '5s'\n[[flows]]\nname = 'f'\n";
    let faults = [
        (
            "kind = 'probe'\narrivals = { shape = 'constant', rate = 0 }",
            "flows.f.arrivals.rate",
        ),
        (
            "kind = 'probe'\narrivals = { shape = 'constant', speed = 1 }",
            "speed",
        ),
        (
            "kind = 'settle'\narrivals = { shape = 'constant', rate = 1 }",
            "flows.f.problem",
        ),
        ("kind = 'dance'", "dance"),
        (
            "kind = 'probe'\narrivals = { shape = 'constant', rate = 1 }\n[thresholds]\ng = []",
            "thresholds.g",
        ),
        (
            "kind = 'probe'\narrivals = { shape = 'constant', rate = 1 }\n[[chaos]]\nat = '1s'\naction = 'pause'",
            "chaos[0].for",
        ),
    ];
    for (text, named) in faults {
        std::fs::write(&path, format!("{head}{text}\n")).unwrap();
        let output = program(&["check", &path.display().to_string()]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(named), "{named}: {told}");
    }
}

fn before_the_run() {
    let scenario = shipped("quick.toml").display().to_string();
    let nowhere = ["run", &scenario, "--target", "http://127.0.0.1:9"];
    for length in ["0s", "99ms", "200h"] {
        let output = program(&[&nowhere[..], &["--duration", length]].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("within 100ms and a week"), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.json");
    std::fs::write(&kept, "{}").unwrap();
    let (kept, fresh) = (kept.display().to_string(), dir.path().join("fresh.csv"));
    let fresh_path = fresh.display().to_string();
    let outputs = ["--json", &kept, "--csv", &fresh_path];
    let wrong = ["--html", "/proc/unwritable.html"];
    let output = program(&[&nowhere[..], &outputs, &wrong].concat());
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("/proc/unwritable.html"), "{text}");
    assert_eq!(text.matches("os error").count(), 1, "{text}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "{}");
    assert!(!fresh.exists(), "no report, no file");

    let broken = dir.path().join("broken.toml");
    std::fs::write(&broken, "name = ").unwrap();
    let output = program(&["check", &broken.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.matches("TOML parse error").count(), 1, "{text}");
}

fn no_server() {
    // Port 9 discards, where it is served at all.
    let ran = run(&shipped("health.toml"), &["--target", "http://127.0.0.1:9"]);
    assert_eq!(ran.code, 4, "{}", ran.output);
}

fn shipped_are_valid() {
    let folder = shipped("");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let output = program(&["check", &path.display().to_string()]);
        assert!(output.status.success(), "{}: {output:?}", path.display());
    }
}
