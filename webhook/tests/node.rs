//! Events signed by Stripe's own library for Node (`stripe` from npm, `generateTestHeaderString`)
//! against the running router.
//!
//! Without Node, npm or the registry the test shows as ignored; `OSCILLINK_REQUIRE_NODE=1` makes
//! their absence a failure.

#![allow(clippy::print_stderr, reason = "it says why the test is ignored")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use oscillink_domain::billing::EventStatus;
use oscillink_engine::{Engine, EngineConfig, EventFilter, Ports};
use oscillink_ports::OsClock;
use oscillink_telemetry::Metrics;
use oscillink_testkit::{Faults, MemoryBlobs, MemoryBus, MemoryQueue, MemoryStore, SeededEntropy};
use oscillink_webhook::{Billing, Config, router};
use serde_json::{Value, json};

/// The library's version; raised by hand, so that the test says the same everywhere.
const LIBRARY: &str = "stripe@23.1.0";
const SECRET: &str = "whsec_from_node";
const OLD_SECRET: &str = "whsec_from_node_old";

/// Signs one event in several ways and tells what the endpoint answered.
const SCRIPT: &str = r#"
const Stripe = require('stripe');
const stripe = new (Stripe.default ?? Stripe)('sk_test_not_used');
const { URL_, SECRET, OLD_SECRET } = process.env;
const payload = JSON.stringify({
  id: 'evt_node', object: 'event', type: 'customer.created', created: 1, livemode: false,
  api_version: '2099-01-01.later', data: { object: { name: 'Zoë – ünïcode', nested: [1, 2.5] } },
}, null, 2);
const now = Math.floor(Date.now() / 1000);
const sign = (secret, timestamp = now) =>
  stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
const send = async (body, header) => {
  const answer = await fetch(URL_, { method: 'POST', body, headers: { 'Stripe-Signature': header } });
  return { status: answer.status, body: await answer.json() };
};
(async () => {
  const results = {
    signed: await send(payload, sign(SECRET)),
    replayed: await send(payload, sign(SECRET)),
    old_secret: await send(payload, sign(OLD_SECRET)),
    rotating: await send(payload, `${sign('whsec_unknown')},${sign(SECRET).split(',')[1]}`),
    changed_byte: await send(payload.replace('2.5', '2.6'), sign(SECRET)),
    wrong_secret: await send(payload, sign('whsec_wrong')),
    old_timestamp: await send(payload, sign(SECRET, now - 400)),
  };
  console.log(JSON.stringify(results));
})().catch((error) => { console.error(error); process.exit(1); });
"#;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let required = std::env::var("OSCILLINK_REQUIRE_NODE").is_ok_and(|value| value == "1");
    // Listing tests must not install anything.
    let library = if arguments.list {
        Ok(PathBuf::new())
    } else {
        library()
    };
    let missing = library.as_ref().err().cloned();
    if let Some(reason) = &missing {
        eprintln!("ignored without Stripe's library for Node: {reason}");
    }
    let trial = Trial::test("events_signed_by_stripes_library_for_node", move || {
        signed_by_node(&library?)
    });
    let trial = trial.with_ignored_flag(missing.is_some() && !required);
    libtest_mimic::run(&arguments, vec![trial]).exit();
}

/// A folder that has the library, installed there if it was not.
fn library() -> Result<PathBuf, String> {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    };
    run("node", &["--version"])?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    let marker = folder.join("installed");
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == LIBRARY) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let place = folder.to_string_lossy();
    run(
        "npm",
        &[
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            &place,
            LIBRARY,
        ],
    )?;
    std::fs::write(&marker, LIBRARY).map_err(|error| error.to_string())?;
    Ok(folder)
}

fn service() -> Result<Billing, Failed> {
    let config = Config::from_lookup(&|name| match name {
        "STRIPE_WEBHOOK_SECRET" => Some(SECRET.to_owned()),
        "STRIPE_WEBHOOK_SECRET_OLD" => Some(OLD_SECRET.to_owned()),
        "OSCILLINK_STRIPE_PRICE_MAP" => Some("price_1:pro".to_owned()),
        "OSCILLINK_STRIPE_LIVEMODE" => Some("false".to_owned()),
        _ => None,
    })?;
    let ports = Ports {
        store: Arc::new(MemoryStore::new(Faults::none())),
        blobs: Arc::new(MemoryBlobs::new(Faults::none())),
        queue: Arc::new(MemoryQueue::new(Faults::none())),
        bus: Arc::new(MemoryBus::new(Faults::none())),
        clock: Arc::new(OsClock),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let engine = Engine::new(ports, EngineConfig::default());
    Ok(Billing::new(engine, config, None, Metrics::new()))
}

fn signed_by_node(folder: &Path) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let billing = service()?;
    let app = router(billing.clone());
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}/stripe/webhook", listener.local_addr()?);
    runtime.spawn(async move { axum::serve(listener, app).await });
    let output = Command::new("node")
        .args(["-e", SCRIPT])
        .current_dir(folder)
        .envs([
            ("URL_", url.as_str()),
            ("SECRET", SECRET),
            ("OLD_SECRET", OLD_SECRET),
        ])
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let results: Value = serde_json::from_slice(&output.stdout)?;
    for (case, status, duplicate) in [
        ("signed", 200, json!(false)),
        ("replayed", 200, json!(true)),
        ("old_secret", 200, json!(true)),
        ("rotating", 200, json!(true)),
        ("changed_byte", 400, json!(null)),
        ("wrong_secret", 400, json!(null)),
        ("old_timestamp", 400, json!(null)),
    ] {
        let result = &results[case];
        assert_eq!(result["status"], status, "{case}: {result}");
        assert_eq!(result["body"]["duplicate"], duplicate, "{case}: {result}");
    }
    let engine = billing.engine();
    let kept = runtime.block_on(engine.webhook_events(EventFilter::default(), 10, None))?;
    assert_eq!(kept.items.len(), 1);
    assert_eq!(kept.items[0].status, EventStatus::Received);
    assert!(kept.items[0].raw.contains("Zoë – ünïcode"));
    runtime.block_on(async { billing.handle_due().await })?;
    Ok(())
}
