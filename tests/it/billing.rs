//! Billing in the all-in-one server: signed events over HTTP, operators' routes, the command line.
//! What needs Stripe's API is in `billing_stripe`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oscillink_testkit::stripe::{event, sign, subscription};
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::support::{Server, eventually, ok, run, stderr};

pub const SECRET: &str = "whsec_of_the_stories";
pub const ADMIN: &str = "an operator's secret";
const UPDATED: &str = "customer.subscription.updated";
/// Variables that switch billing on, without Stripe's API.
pub const EVENTS: [(&str, &str); 4] = [
    ("STRIPE_WEBHOOK_SECRET", SECRET),
    (
        "OSCILLINK_STRIPE_PRICE_MAP",
        "price_pro:pro;price_ent:enterprise",
    ),
    ("OSCILLINK_STRIPE_LIVEMODE", "false"),
    ("OSCILLINK_ADMIN_SECRET", ADMIN),
];

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// A server with billing and one key on the free tier, which is the server's key.
pub fn server_with_free_key(variables: &[(&str, &str)]) -> (Server, String) {
    let mut server = Server::start_with(variables);
    let body = json!({"name": "customer", "tier": "free"});
    let made = ok(admin(&server, "POST", "/keys", Some(&body)));
    server.key = made["api_key"].as_str().unwrap().to_owned();
    (server, made["key_id"].as_str().unwrap().to_owned())
}

pub fn admin(server: &Server, method: &str, path: &str, body: Option<&Value>) -> Response {
    let path = format!("/v1/admin{path}");
    let request = match method {
        "GET" => server.get(&path),
        _ => server.post(&path).json(body.unwrap_or(&Value::Null)),
    };
    request.header("x-admin-secret", ADMIN).send().unwrap()
}

/// Delivers an event as Stripe does.
pub fn deliver(server: &Server, id: &str, kind: &str, created: i64, object: &Value) -> Response {
    let raw = event(id, kind, created, object);
    let header = sign(&raw, SECRET, now());
    let request = server
        .post("/stripe/webhook")
        .header("stripe-signature", header);
    request.body(raw).send().unwrap()
}

/// Status of a request that only paid tiers may make.
pub fn diffusion(server: &Server) -> u16 {
    let body = json!({"Y": [[1, 0], [0.9, 0.1], [0, 1]], "psi": [1, 0.2], "diffusion": {}});
    let answer = server.post("/v1/settle/diffusion").json(&body).send();
    answer.unwrap().status().as_u16()
}

fn sub(status: &str, price: &str, key_id: &str) -> Value {
    let metadata = json!({"oscillink_key_id": key_id});
    subscription("sub_1", "cus_1", status, price, &metadata)
}

/// Also against a deployment, where gateway and billing are processes of their own and the news goes
/// over the bus: `OSCILLINK_SERVER`, `OSCILLINK_BILLING_URL` and their secrets name it.
mod anywhere {
    use super::*;

    #[test]
    fn what_is_paid_for_opens_within_a_second_and_closes_when_it_is_not() {
        let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let deployed = given("OSCILLINK_SERVER").zip(given("OSCILLINK_BILLING_URL"));
        let mut server = match &deployed {
            Some(_) => Server::anywhere(),
            None => Server::start_with(&EVENTS),
        };
        let billing = deployed.map_or_else(|| server.url.clone(), |(_, url)| url);
        let secret = given("STRIPE_WEBHOOK_SECRET").unwrap_or_else(|| SECRET.to_owned());
        let operator = given("OSCILLINK_ADMIN_SECRET").unwrap_or_else(|| ADMIN.to_owned());

        let made = server.post("/v1/admin/keys");
        let made = made.header("x-admin-secret", operator);
        let made = ok(made
            .json(&json!({"name": "customer", "tier": "free"}))
            .send()
            .unwrap());
        server.key = made["api_key"].as_str().unwrap().to_owned();
        let key_id = made["key_id"].as_str().unwrap();
        let metadata = json!({"oscillink_key_id": key_id});
        let (id, customer) = (format!("sub_{key_id}"), format!("cus_{key_id}"));
        assert_eq!(diffusion(&server), 402);
        let http = reqwest::blocking::Client::new();
        let states = ["active", "past_due", "active", "canceled"];
        for (number, (status, opens)) in (1..).zip(states.into_iter().zip([200, 402, 200, 402])) {
            let object = subscription(&id, &customer, status, "price_pro", &metadata);
            let raw = event(
                &format!("evt_{key_id}_{number}"),
                UPDATED,
                now() + number,
                &object,
            );
            let header = sign(&raw, &secret, now());
            let request = http.post(format!("{billing}/stripe/webhook"));
            let request = request.header("stripe-signature", header).body(raw);
            let asked = Instant::now();
            assert_eq!(request.send().unwrap().status(), 200);
            eventually("the key's new tier", || {
                (diffusion(&server) == opens).then_some(())
            });
            let took = asked.elapsed();
            println!("{status}: in force at the gateway {took:?} after the event was sent");
            assert!(took < Duration::from_secs(1), "{status}: {took:?}");
        }
    }
}

#[test]
fn an_event_that_got_its_200_survives_a_crash_and_is_handled_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let server = Server::start_in(&dir, &EVENTS);
    let made = ok(admin(
        &server,
        "POST",
        "/keys",
        Some(&json!({"name": "c", "tier": "free"})),
    ));
    let key_id = made["key_id"].as_str().unwrap();
    for number in 0..20 {
        let object = sub("active", "price_pro", key_id);
        let answer = deliver(&server, &format!("evt_{number}"), UPDATED, now(), &object);
        assert_eq!(answer.status(), 200);
    }
    server.kill();
    let mut server = Server::start_in(&dir, &EVENTS);
    server.key = made["api_key"].as_str().unwrap().to_owned();
    eventually("the handling of every event", || {
        let page = ok(admin(
            &server,
            "GET",
            "/webhook-events?status=processed&limit=100",
            None,
        ));
        (page["items"].as_array().unwrap().len() == 20).then_some(())
    });
    assert_eq!(diffusion(&server), 200);
}

#[test]
fn a_failed_event_is_listed_mended_and_replayed_by_an_operator() {
    let (server, key_id) = server_with_free_key(&EVENTS);
    let object = sub("active", "price_new", &key_id);
    assert_eq!(
        deliver(&server, "evt_1", UPDATED, now(), &object).status(),
        200
    );
    let failed = eventually("the failure", || {
        let page = ok(admin(&server, "GET", "/webhook-events?status=failed", None));
        page["items"].get(0).cloned()
    });
    assert_eq!(failed["id"], "evt_1");
    assert!(
        failed["error"].as_str().unwrap().contains("price_new"),
        "{failed}"
    );
    let shown = ok(admin(&server, "GET", "/webhook-events/evt_1", None));
    assert!(shown["raw"].as_str().unwrap().contains("price_new"));

    // The price gets its tier, the server is started anew, the event is replayed.
    let dir = server.dir.clone();
    let key = server.key.clone();
    let kept = server.keep_folder();
    let prices = ("OSCILLINK_STRIPE_PRICE_MAP", "price_pro:pro;price_new:pro");
    let variables: Vec<_> = EVENTS
        .into_iter()
        .filter(|v| v.0 != prices.0)
        .chain([prices])
        .collect();
    let mut server = Server::start_in(&dir, &variables);
    server.key = key;
    let told = ok(admin(&server, "GET", "/prices", None));
    assert_eq!(
        told["items"][1],
        json!({"price": "price_new", "tier": "pro"})
    );
    assert_eq!(diffusion(&server), 402);
    let replayed = ok(admin(
        &server,
        "POST",
        "/webhook-events/evt_1/replay",
        Some(&json!({})),
    ));
    assert_eq!(replayed["outcome"], "opened");
    eventually("the key's new tier", || {
        (diffusion(&server) == 200).then_some(())
    });
    drop((server, kept));
}

#[test]
fn what_is_not_stripes_is_refused_and_not_kept() {
    let server = Server::start_with(&EVENTS);
    let raw = event("evt_1", UPDATED, now(), &json!({}));
    let changed = raw.replace("evt_1", "evt_2");
    let live = raw.replace("\"livemode\":false", "\"livemode\":true");
    let huge = raw.replace("{}", &format!("\"{}\"", "x".repeat(300_000)));
    let signed = |raw: &str| sign(raw, SECRET, now());
    for (body, header, status) in [
        (&changed, signed(&raw), 400),
        (&raw, sign(&raw, "whsec_other", now()), 400),
        (&raw, sign(&raw, SECRET, now() - 301), 400),
        (&raw, "nonsense".to_owned(), 400),
        (&live, signed(&live), 400),
        (&huge, signed(&huge), 413),
    ] {
        let request = server
            .post("/stripe/webhook")
            .header("stripe-signature", &header);
        let answer = request.body(body.clone()).send().unwrap();
        assert_eq!(answer.status(), status, "{header}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let id = answer.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let problem: Value = answer.json().unwrap();
        assert_eq!(problem["request_id"], id);
    }
    let page = ok(admin(&server, "GET", "/webhook-events", None));
    assert_eq!(page["items"], json!([]));
}

#[test]
fn billing_that_is_set_up_by_half_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let with = |variables: &[(&str, &str)]| {
        run(|command| {
            let args = ["serve", "--port", "0", "--data-dir"];
            command
                .args(args)
                .arg(folder.path())
                .envs(variables.iter().copied());
        })
    };
    let half = with(&[("STRIPE_WEBHOOK_SECRET", SECRET)]);
    assert_eq!(half.status.code(), Some(2));
    assert!(stderr(&half).contains("OSCILLINK_STRIPE_PRICE_MAP must be set"));
    if cfg!(not(feature = "stripe")) {
        let mut variables = EVENTS.to_vec();
        variables.push(("STRIPE_API_KEY", "sk_test_0123456789"));
        let refused = with(&variables);
        assert_eq!(refused.status.code(), Some(2));
        let text = stderr(&refused);
        assert!(text.contains("built without Stripe's client"), "{text}");
        assert!(!text.contains("sk_test"), "{text}");
    }
}

#[test]
fn a_server_without_billing_has_no_billing_routes() {
    let server = Server::start();
    for path in ["/stripe/webhook", "/billing/cli/start"] {
        assert_eq!(server.post(path).send().unwrap().status(), 404);
    }
}
