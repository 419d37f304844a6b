//! Signed usage files on the command line: a day written once, each file checked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oscillink_adapters::embedded::{EmbeddedConfig, open};
use oscillink_domain::tier::Overrides;
use oscillink_domain::{ApiKey, Limits, Tier, Timestamp};
use oscillink_engine::{Engine, EngineConfig, NewKey, Ports, SyncWork};
use oscillink_ports::OsClock;
use oscillink_testkit::{ManualClock, SeededEntropy};
use serde_json::json;

use crate::billing::now;
use crate::support::{json_of, run, stderr};

const HMAC: (&str, &str) = ("RECEIPT_HMAC_SECRET", "s3cret of receipts");
const DAY_MS: i64 = 24 * 3_600_000;

/// A data folder whose server had some work two days ago.
async fn worked_two_days_ago(dir: &Path) -> String {
    let then = Timestamp::from_millis(now() * 1_000 - 2 * DAY_MS);
    let embedded = open(&EmbeddedConfig::new(dir), Arc::new(OsClock)).unwrap();
    let ports = Ports {
        store: embedded.store.clone(),
        blobs: embedded.blobs.clone(),
        queue: embedded.queue.clone(),
        bus: embedded.bus.clone(),
        clock: Arc::new(ManualClock::at(then)),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let engine = Engine::new(ports, EngineConfig::default());
    let new = NewKey {
        name: "customer".into(),
        tier: Tier::Pro,
        overrides: Overrides::default(),
    };
    let key = ApiKey::from_random([3; 32]);
    let record = engine.seed_key(&key, new).await.unwrap();
    for row in 0..5 {
        let work = SyncWork {
            key_id: record.key_id.clone(),
            key_hash: key.hash(),
            tier: Tier::Pro,
            limits: Limits::of(Tier::Pro, &engine.config().baseline, &Overrides::default()),
            row_id: format!("row_{row}"),
            request_id: format!("row_{row}"),
            event: "settle".into(),
            n: 10,
            d: row + 1,
            diffusion: false,
        };
        engine.charge(&work, 1.0).await.unwrap();
    }
    // It holds the folder too.
    drop(engine);
    assert!(embedded.close(Duration::from_secs(10)).await);
    then.day()
}

#[test]
fn a_day_is_exported_once_and_its_file_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let day = runtime.block_on(worked_two_days_ago(&dir));
    let export = |secret: Option<(&str, &str)>, day: &str| {
        run(|command| {
            command
                .args(["export-usage", "--day", day, "--data-dir"])
                .arg(&dir)
                .arg("--out")
                .arg(folder.path().join("out"));
            command.envs(secret);
        })
    };
    assert_eq!(
        export(None, &day).status.code(),
        Some(2),
        "unsigned files are not made"
    );
    let today = Timestamp::from_millis(now() * 1_000).day();
    assert_eq!(
        export(Some(HMAC), &today).status.code(),
        Some(2),
        "the day is not over"
    );
    let report = json_of(&export(Some(HMAC), &day));
    assert_eq!(
        (&report["rows"], report["files"].as_array().unwrap().len()),
        (&json!(5), 1)
    );
    let again = json_of(&export(Some(HMAC), &day));
    assert_eq!((&again["rows"], &again["files"]), (&json!(0), &json!([])));

    let name = report["files"][0].as_str().unwrap();
    let name = name.trim_start_matches("exports/usage/");
    let file = folder.path().join("out").join(name);
    let verify = |file: &Path, secret: Option<(&str, &str)>, more: &[&str]| {
        run(|command| {
            command.arg("verify").arg(file).args(more).envs(secret);
        })
    };
    let told = json_of(&verify(&file, Some(HMAC), &[]));
    assert_eq!(
        (&told["signed"], &told["rows"], &told["units"]),
        (&json!(true), &json!(5), &json!(150))
    );
    assert_eq!(
        json_of(&verify(&file, None, &["--hashes-only"]))["signed"],
        false
    );
    assert_eq!(verify(&file, None, &[]).status.code(), Some(2));
    let other = ("RECEIPT_HMAC_SECRET", "another");
    assert_eq!(verify(&file, Some(other), &[]).status.code(), Some(1));

    let text = std::fs::read_to_string(&file).unwrap();
    let cut: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("row_2"))
        .collect();
    for changed in [
        text.replace("\"units\":10,", "\"units\":11,"),
        cut,
        text.replace("\"part\":1", "\"part\":7"),
    ] {
        assert_ne!(changed, text);
        let path = folder.path().join("changed.ndjson");
        std::fs::write(&path, changed).unwrap();
        let refused = verify(&path, Some(HMAC), &[]);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    }
}
