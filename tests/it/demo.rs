//! The demo ends well and says what it promises.

use crate::support::{json_of, run};

#[test]
fn it_exits_0_and_tells_the_story() {
    let output = run(|c| {
        c.arg("demo");
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for part in [
        "music critic: a critic of musical performances",
        "by cosine",
        "the bundle",
        "ΔH = ",
        "null points",
        "verified",
        "ledger",
        "row 2: diffusion",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "too wide: {line}");
    }
}

#[test]
fn as_json_it_holds_what_can_be_checked() {
    let told = json_of(&run(|c| {
        c.args(["demo", "--json", "--query", "bouillabaisse"]);
    }));
    assert!(
        told["query"]["text"]
            .as_str()
            .unwrap()
            .starts_with("bouillabaisse:")
    );
    let jobs = told["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 2);
    for (job, kind) in jobs.iter().zip(["settle", "diffusion"]) {
        assert_eq!(job["kind"], kind);
        assert_eq!(job["bundle"].as_array().unwrap().len(), 6);
        assert!(job["deltaH_total"].as_f64().unwrap() > 0.0);
        assert_eq!(job["signed"]["deltaH_total"], job["deltaH_total"]);
        assert_eq!(job["ledger_row"]["job_id"], job["job_id"]);
        assert_eq!(job["ledger_row"]["units"], job["N"].as_u64().unwrap() * 384);
    }
    assert_eq!(
        jobs[1]["ledger_row"]["prev_hash"],
        jobs[0]["ledger_row"]["hash"]
    );
}

#[test]
fn an_unknown_query_is_not_found() {
    let output = run(|c| {
        c.args(["demo", "--query", "zzzz-no-such-entry"]);
    });
    assert_eq!(output.status.code(), Some(5));
}
