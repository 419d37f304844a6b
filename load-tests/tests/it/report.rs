//! The report in a real browser.

use std::path::PathBuf;
use std::process::Command;

use crate::support::run_text;
use crate::{Needs, Story};

pub const STORIES: &[Story] = &[(
    "the_report_opens_in_chromium_and_asks_for_nothing",
    Needs::Chromium,
    opens_in_chromium,
)];

/// The browser, where there is one.
pub fn chromium() -> Option<PathBuf> {
    let places = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

fn opens_in_chromium() {
    let ran = run_text(
        r#"
name = "browser"
description = "<script>alert(1)</script>"
duration = "2s"
[[flows]]
name = "health"
kind = "probe"
arrivals = { shape = "constant", rate = 50 }
[[chaos]]
at = "1s"
action = "pause"
for = "200ms"
"#,
    );
    assert_eq!(ran.code, 0, "{}", ran.output);
    let (page, log, profile) = (
        ran.file("report.html"),
        ran.file("net.json"),
        ran.file("profile"),
    );
    let output = Command::new(chromium().expect("OSCILLINK_REQUIRE_CHROMIUM is set"))
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args(["--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(
        dom.contains("<h1>browser"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // The script ran: it is what fills in the marker. Text of the scenario stays text.
    assert!(dom.contains("data-ready"), "the page's script did not run");
    assert!(dom.contains("&lt;script&gt;alert(1)"));
    assert!(dom.matches("<svg").count() >= 4);
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("\"constants\""),
        "the browser kept a log of its network"
    );
    // What the browser asks for itself, the time for example, has no origin.
    let of_the_page = |line: &&str| {
        line.contains("\"initiator\":\"") && !line.contains("\"initiator\":\"not an origin\"")
    };
    for request in log.lines().filter(of_the_page) {
        for scheme in ["\"url\":\"http://", "\"url\":\"https://", "\"url\":\"ws"] {
            assert!(
                !request.contains(scheme),
                "something outside was asked for: {request}"
            );
        }
    }
}
