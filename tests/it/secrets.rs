//! No secret reaches the output of a server: a run with all of them, at the noisiest level, and a
//! search through everything that the process prints and exports.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oscillink_testkit::stripe::{event, sign, subscription};
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::receiver::receiver;
use crate::support::{DEADLINE, Server, eventually, npy, ok};

const SEEDED: &str = "seeded-key-GoodNightMoon";
const UNKNOWN: &str = "unknown-key-LittleOldLady";
const MALFORMED: &str = "short";
const ADMIN: &str = "admin-secret-RedBalloon";
const RECEIPT: &str = "receipt-secret-QuietOldLady";
const CALLBACK: &str = "callback-secret-bowl-full-of-mush-and-a-brush";
const STRIPE_KEY: &str = "sk_test_TwoLittleKittens";
const WEBHOOK: &str = "whsec_PairOfMittens1234";
const REDIS: &str = "redis-password-LittleToyhouse";
const COLLECTOR: &str = "collector-token-YoungMouse";
const URL_USER: &str = "url-password-ThreeBears";
const URL_QUERY: &str = "url-token-CowJumping";
const IDEMPOTENCY: &str = "idempotency-key-TellerOfTales";

/// Numbers of a payload that nothing else would print.
const NUMBERS: [f32; 4] = [0.813_574_2, -0.579_135_7, 0.691_357_9, -0.135_792_5];

struct Run {
    server: Server,
    /// Secrets, the made ones among them, with what they are.
    secrets: Vec<(String, String)>,
}

impl Run {
    fn keep(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 5, "{what} is too short to search for");
        self.secrets.push((what.to_owned(), secret.to_owned()));
    }

    fn admin(&self, method: reqwest::Method, path: &str) -> reqwest::blocking::RequestBuilder {
        let url = format!("{}/v1/admin{path}", self.server.url);
        let client = reqwest::blocking::Client::new();
        client.request(method, url).header("x-admin-secret", ADMIN)
    }

    /// Keys made, rotated and refused.
    fn keys(&mut self) {
        let made = self.admin(reqwest::Method::POST, "/keys");
        let made = ok(made
            .json(&json!({"name": "made", "tier": "pro"}))
            .send()
            .unwrap());
        let key = made["api_key"].as_str().unwrap().to_owned();
        self.keep("a key that an operator made", &key);
        let request = |key: &str| {
            let url = format!("{}/v1/keys/self", self.server.url);
            let client = reqwest::blocking::Client::new();
            client
                .get(url)
                .header(AUTHORIZATION, format!("Bearer {key}"))
        };
        ok(request(&key).send().unwrap());
        for wrong in [UNKNOWN, MALFORMED] {
            assert_eq!(request(wrong).send().unwrap().status(), 401);
        }
        let wrong = self.server.get("/v1/admin/keys");
        let wrong = wrong.header("x-admin-secret", UNKNOWN).send().unwrap();
        assert!(wrong.status().is_client_error());
        let rotated = ok(self.server.post("/v1/keys/self/rotate").send().unwrap());
        let fresh = rotated["api_key"].as_str().unwrap().to_owned();
        self.keep("a rotated key", &fresh);
        self.server.key = fresh;
        let secret = self.server.fetch("/v1/keys/self/callback-secret");
        let secret = secret["secret"].as_str().unwrap().to_owned();
        self.keep("a callback secret", secret.trim_start_matches("whsec_"));
    }

    /// Payloads that are computed, refused and unreadable.
    fn payloads(&self) {
        let rows = vec![NUMBERS.to_vec(); 6];
        let body = json!({"Y": rows, "psi": NUMBERS});
        let settle = || {
            self.server
                .post("/v1/settle")
                .header("idempotency-key", IDEMPOTENCY)
        };
        ok(settle().json(&body).send().unwrap());
        let mut other = body.clone();
        other["psi"][0] = json!(7);
        assert_eq!(settle().json(&other).send().unwrap().status(), 422);
        let post = |body: String| {
            let request = self.server.post("/v1/settle").body(body);
            request
                .header("content-type", "application/json")
                .send()
                .unwrap()
        };
        let text = body.to_string();
        assert_eq!(post(text.replacen("]]", "],", 1)).status(), 400);
        assert_eq!(post(text.replacen("psi", "phi", 1)).status(), 400);
        let mut uneven = body;
        uneven["Y"][1] = json!([NUMBERS[0]]);
        assert_eq!(post(uneven.to_string()).status(), 400);
        let job = self.server.submit_npy(&npy(&rows));
        assert_eq!(self.server.ended(&job)["status"], "done");
    }

    /// A callback that is refused, and one that is taken, to addresses that hold secrets.
    fn callbacks(&self) {
        let (address, incoming) = receiver();
        let away = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let url = |address| format!("http://user:{URL_USER}@{address}/hook?token={URL_QUERY}");
        for address in [address, away] {
            let body = json!({"Y": [NUMBERS, NUMBERS], "callback_url": url(address)});
            let accepted = self
                .server
                .post("/v1/jobs/settle")
                .json(&body)
                .send()
                .unwrap();
            if accepted.status() == 400 {
                // User names in addresses may be refused; then the token alone.
                let url = format!("http://{address}/hook?token={URL_QUERY}");
                let body = json!({"Y": [NUMBERS, NUMBERS], "callback_url": url});
                ok(self
                    .server
                    .post("/v1/jobs/settle")
                    .json(&body)
                    .send()
                    .unwrap());
            }
        }
        incoming.recv_timeout(DEADLINE).unwrap().answer(204);
    }

    /// Stripe's events, one with a signature that is none.
    fn events(&self) {
        let now = crate::billing::now();
        let object = subscription(
            "sub_1",
            "cus_1",
            "active",
            "price_pro",
            &json!({"oscillink_key_id": "key_0"}),
        );
        let raw = event("evt_1", "customer.subscription.updated", now, &object);
        for (secret, status) in [(WEBHOOK, 200), (UNKNOWN, 400)] {
            let request = self.server.post("/stripe/webhook").body(raw.clone());
            let request = request.header("stripe-signature", sign(&raw, secret, now));
            assert_eq!(request.send().unwrap().status(), status);
        }
    }

    /// The key in a header of HTTP/2, whose frames are logged by others.
    fn over_http2(&self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(self.server.addr())
                .await
                .unwrap();
            let io = TokioIo::new(stream);
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            let body = json!({"Y": [NUMBERS, NUMBERS]}).to_string();
            let request = hyper::Request::post(format!("{}/v1/settle", self.server.url))
                .header("x-api-key", &self.server.key)
                .header("x-admin-secret", ADMIN)
                .header("idempotency-key", IDEMPOTENCY.to_owned() + "2")
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
        });
    }
}

/// Fails with the line in which a secret is.
fn search(output: &str, what: &str, secret: &str) {
    let found = output.lines().find(|line| line.contains(secret));
    assert!(found.is_none(), "{what} was printed or exported: {found:?}");
}

fn full_run(log: &Path, more: &[(&str, &str)]) -> (Vec<(String, String)>, String) {
    let redis = format!("redis://:{REDIS}@127.0.0.1:1/0");
    let variables = [
        ("OSCILLINK_LOG", "trace"),
        ("OSCILLINK_API_KEYS", SEEDED),
        ("OSCILLINK_KEY_TIERS", &format!("{SEEDED}:pro")),
        ("OSCILLINK_ADMIN_SECRET", ADMIN),
        ("RECEIPT_HMAC_SECRET", RECEIPT),
        ("OSCILLINK_CALLBACK_SECRET", CALLBACK),
        ("OSCILLINK_CALLBACK_ALLOW_PRIVATE", "true"),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK),
        ("OSCILLINK_STRIPE_PRICE_MAP", "price_pro:pro"),
        ("OSCILLINK_STRIPE_LIVEMODE", "false"),
        ("OSCILLINK_REDIS_URL", &redis),
        ("OSCILLINK_RATE_LIMIT", "100000"),
    ];
    let mut variables = variables.to_vec();
    variables.extend(more);
    let mut server = Server::start_logged(log, &variables);
    server.key = SEEDED.to_owned();
    let fixed = [
        ("the seeded key", SEEDED),
        ("an unknown key", UNKNOWN),
        ("the admin secret", ADMIN),
        ("the receipts' secret", RECEIPT),
        ("the callbacks' secret", CALLBACK),
        ("the webhook's secret", WEBHOOK.trim_start_matches("whsec_")),
        ("Stripe's key", STRIPE_KEY),
        ("Redis' password", REDIS),
        ("the collector's token", COLLECTOR),
        ("a password in an address", URL_USER),
        ("a token in an address", URL_QUERY),
        ("an idempotency key", IDEMPOTENCY),
    ];
    let mut run = Run {
        server,
        secrets: Vec::new(),
    };
    for (what, secret) in fixed {
        run.keep(what, secret);
    }
    for number in NUMBERS {
        // Whatever the precision, these digits are the same.
        run.keep("a payload's number", &number.abs().to_string()[..7]);
    }
    run.keys();
    run.payloads();
    run.callbacks();
    run.events();
    run.over_http2();
    let text = eventually("the callbacks' attempts", || {
        let text = fs::read_to_string(log).unwrap();
        let delivered = text.contains("delivered") && text.contains("no connection");
        delivered.then_some(text)
    });
    assert!(text.lines().any(is_trace), "the level is the noisiest");
    assert!(run.server.terminate().success());
    (run.secrets, fs::read_to_string(log).unwrap())
}

/// A line of another crate's most detailed level, which only the noisiest filter lets through.
fn is_trace(line: &str) -> bool {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    line["target"]
        .as_str()
        .is_some_and(|target| target.starts_with("h2"))
}

#[test]
fn no_secret_is_printed_or_exported() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut more: Vec<(&str, &str)> = Vec::new();
    #[cfg(feature = "stripe")]
    let runtime = tokio::runtime::Runtime::new().unwrap();
    #[cfg(feature = "stripe")]
    let stripe = runtime
        .block_on(oscillink_testkit::stripe::FakeStripe::start())
        .unwrap();
    #[cfg(feature = "stripe")]
    let base = stripe.url();
    #[cfg(feature = "stripe")]
    more.extend([
        ("STRIPE_API_KEY", STRIPE_KEY),
        ("OSCILLINK_STRIPE_API_BASE", &base),
        ("OSCILLINK_PUBLIC_URL", "https://billing.example"),
    ]);
    #[cfg(feature = "otlp")]
    let collector = oscillink_emulators::collector::Collector::start().unwrap();
    #[cfg(feature = "otlp")]
    let (endpoint, headers) = (
        collector.endpoint(),
        format!("authorization=Bearer%20{COLLECTOR}"),
    );
    #[cfg(feature = "otlp")]
    more.extend([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", &*headers),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ]);
    more.push(("OSCILLINK_LOG_FORMAT", "json"));
    let (secrets, mut output) = full_run(&log, &more);
    #[cfg(feature = "otlp")]
    {
        assert!(collector.spans().len() > 20);
        output.push_str(&collector.text());
    }
    for (what, secret) in &secrets {
        search(&output, what, secret);
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let found = std::panic::catch_unwind(|| {
        search("a line\nwith a hidden-word in it", "it", "hidden-word")
    });
    assert!(found.is_err());
}
