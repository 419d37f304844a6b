//! Billing with a server that answers like Stripe's API: buying, managing and cancelling as a user
//! does it, hostile input, and the comparison with Stripe.

use std::process::Output;

use oscillink_testkit::stripe::FakeStripe;
use reqwest::blocking::{Client, Response};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::billing::{EVENTS, admin, deliver, diffusion, now, server_with_free_key};
use crate::support::{Server, eventually, json_of, ok, run, stderr};

const PUBLIC: &str = "https://billing.example";
const API_KEY: (&str, &str) = ("STRIPE_API_KEY", "sk_test_0123456789");

/// A server of ours and a Stripe.
struct Shop {
    server: Server,
    /// The id of the server's key.
    key_id: String,
    stripe: FakeStripe,
    base: String,
    /// Follows no redirects.
    browser: Client,
    _runtime: Runtime,
}

impl Shop {
    fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let stripe = runtime.block_on(FakeStripe::start()).unwrap();
        let base = stripe.url();
        let mut variables = EVENTS.to_vec();
        variables.extend([
            API_KEY,
            ("OSCILLINK_STRIPE_API_BASE", base.as_str()),
            ("OSCILLINK_PUBLIC_URL", PUBLIC),
        ]);
        let (server, key_id) = server_with_free_key(&variables);
        Self {
            server,
            key_id,
            base,
            stripe,
            browser: Client::builder().redirect(Policy::none()).build().unwrap(),
            _runtime: runtime,
        }
    }

    /// A call without a key.
    fn call(&self, path: &str, body: &Value) -> Response {
        let url = format!("{}{path}", self.server.url);
        self.browser.post(url).json(body).send().unwrap()
    }

    /// A form of a browser.
    fn form(&self, path: &str, body: &str) -> Response {
        let request = self.browser.post(format!("{}{path}", self.server.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body.to_owned()).send().unwrap()
    }

    fn page(&self, path: &str) -> Response {
        let request = self.browser.get(format!("{}{path}", self.server.url));
        request.send().unwrap()
    }

    /// The visitor pays the checkout, and Stripe tells of it.
    fn pay(&self, session: &str) -> Value {
        let made = self.stripe.pay(session);
        let kind = "customer.subscription.created";
        let id = format!("evt_{session}");
        assert_eq!(deliver(&self.server, &id, kind, now(), &made).status(), 200);
        made
    }

    fn reconcile(&self, more: &[&str]) -> Output {
        run(|command| {
            command.arg("reconcile").args(more);
            command.env("OSCILLINK_DATA_DIR", &self.server.dir);
            command.env("OSCILLINK_STRIPE_API_BASE", &self.base);
            command.envs(
                EVENTS
                    .into_iter()
                    .filter(|v| v.0 != "STRIPE_WEBHOOK_SECRET"),
            );
            command.envs([API_KEY]);
        })
    }
}

fn session_of(url: &str) -> String {
    url.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_terminal_buys_a_key_and_uses_it() {
    let mut shop = Shop::open();
    let started = ok(shop.call("/billing/cli/start", &json!({"tier": "pro"})));
    let code = json!({"code": started["code"]});
    let session = session_of(started["checkout_url"].as_str().unwrap());
    {
        let state = shop.stripe.state();
        let call = state.calls.last().unwrap();
        let success = &call.form["success_url"];
        assert_eq!(
            success,
            &format!("{PUBLIC}/billing/success?session_id={{CHECKOUT_SESSION_ID}}")
        );
        assert!(call.idempotency_key.is_some());
    }
    assert_eq!(
        ok(shop.call("/billing/cli/poll", &code))["status"],
        "pending"
    );
    shop.pay(&session);
    let ready = eventually("the key", || {
        let answer = ok(shop.call("/billing/cli/poll", &code));
        (answer["status"] == "ready").then_some(answer)
    });
    assert_eq!(ready["tier"], "pro");
    shop.server.key = ready["api_key"].as_str().unwrap().to_owned();
    assert_eq!(diffusion(&shop.server), 200);
    let again = ok(shop.call("/billing/cli/poll", &code));
    assert_eq!(again, json!({"status": "claimed"}), "the key is shown once");
    let page = shop.page(&format!("/billing/success?session_id={session}"));
    assert_eq!(page.status(), 410);
}

#[test]
fn a_browser_buys_a_key_without_script() {
    let mut shop = Shop::open();
    let sent = shop.form("/billing/checkout", "tier=pro");
    assert_eq!(sent.status(), 303);
    let session = session_of(sent.headers()["location"].to_str().unwrap());
    shop.pay(&session);
    let address = format!("/billing/success?session_id={session}&utm_source=mail");
    for _ in 0..2 {
        let page = shop.page(&address);
        assert_eq!(page.status(), 200);
        let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
        assert!(header("cache-control").contains("no-store"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert!(header("content-security-policy").contains("default-src 'none'"));
        let text = page.text().unwrap();
        assert!(!text.contains("ok_") && !text.contains("<script"), "{text}");
        assert!(text.contains("<html lang=\"en\">") && text.contains("<h1>"));
    }
    let form = format!("session_id={session}");
    let shown = eventually("the key", || {
        let text = shop.form("/billing/success", &form).text().unwrap();
        text.contains("ok_").then_some(text)
    });
    let at = shown.find("ok_").unwrap();
    shop.server.key = shown[at..at + 46].to_owned();
    assert_eq!(diffusion(&shop.server), 200);
    assert_eq!(shop.form("/billing/success", &form).status(), 410, "once");
}

#[test]
fn a_customer_upgrades_manages_and_cancels() {
    let shop = Shop::open();
    let post = |path: &str, body: Value| shop.server.post(path).json(&body).send().unwrap();
    assert_eq!(
        post("/billing/portal", json!({})).status(),
        404,
        "nothing is bought yet"
    );
    let started = ok(post("/billing/cli/start", json!({})));
    shop.pay(&session_of(started["checkout_url"].as_str().unwrap()));
    let code = json!({"code": started["code"]});
    eventually("the upgrade", || {
        let answer = ok(shop.call("/billing/cli/poll", &code));
        assert!(answer.get("api_key").is_none());
        (answer["status"] == "upgraded").then_some(())
    });
    eventually("diffusion", || {
        (diffusion(&shop.server) == 200).then_some(())
    });
    assert_eq!(
        post("/billing/cli/start", json!({})).status(),
        409,
        "bought already"
    );
    let portal = ok(post("/billing/portal", json!({})));
    assert!(
        portal["url"]
            .as_str()
            .unwrap()
            .starts_with("https://billing.stripe.example/")
    );

    let later = ok(post("/billing/cancel", json!({"when": "period_end"})));
    assert_eq!(later["subscriptions"][0]["ended"], false);
    assert!(later["subscriptions"][0]["ends"].is_string());
    assert_eq!(
        diffusion(&shop.server),
        200,
        "what was paid for is used up first"
    );
    let at_once = ok(post("/billing/cancel", json!({"when": "now"})));
    assert_eq!(at_once["subscriptions"][0]["ended"], true);
    eventually("the end", || (diffusion(&shop.server) == 402).then_some(()));
    let state = shop.stripe.state();
    let writes = state
        .calls
        .iter()
        .filter(|call| !call.what.starts_with("GET"));
    let without: Vec<_> = writes
        .filter(|call| call.idempotency_key.is_none())
        .collect();
    assert!(
        without.iter().all(|call| call.what.contains("portal")),
        "{without:?}"
    );
}

#[test]
fn hostile_input_is_told_which_field_is_wrong_and_breaks_nothing() {
    let shop = Shop::open();
    let unknown_code = format!("pair_{}", "a".repeat(43));
    let long = "x".repeat(5_000);
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let start = "/billing/cli/start";
    let poll = "/billing/cli/poll";
    let cases: Vec<(&str, &str, String, u16, Option<&str>)> = vec![
        (
            poll,
            json,
            json!({"code": "nonsense"}).to_string(),
            404,
            Some("code"),
        ),
        (
            poll,
            json,
            json!({"code": unknown_code}).to_string(),
            404,
            Some("code"),
        ),
        (
            poll,
            json,
            json!({"code": 7}).to_string(),
            400,
            Some("code"),
        ),
        (poll, json, "{}".to_owned(), 400, Some("code")),
        (poll, json, "[1]".to_owned(), 400, Some("body")),
        (poll, json, "{\"code\":".to_owned(), 400, Some("body")),
        (poll, json, "\u{0}".to_owned(), 400, Some("body")),
        (poll, "text/xml", "<x/>".to_owned(), 415, None),
        (poll, json, json!({"code": long}).to_string(), 413, None),
        (
            start,
            json,
            json!({"tier": "gold"}).to_string(),
            400,
            Some("tier"),
        ),
        (
            start,
            json,
            json!({"tier": "beta"}).to_string(),
            400,
            Some("tier"),
        ),
        (
            start,
            json,
            json!({"price": "../x"}).to_string(),
            400,
            Some("price"),
        ),
        (
            start,
            json,
            json!({"tier": "pro", "price": "price_ent"}).to_string(),
            400,
            Some("price"),
        ),
        (
            start,
            json,
            json!({"colour": "red"}).to_string(),
            400,
            Some("colour"),
        ),
        (
            "/billing/checkout",
            form,
            "tier=pro&tier=pro".to_owned(),
            400,
            Some("tier"),
        ),
        ("/billing/checkout", json, "{}".to_owned(), 415, None),
        (
            "/billing/success",
            form,
            String::new(),
            400,
            Some("session_id"),
        ),
        (
            "/billing/cancel",
            json,
            json!({"when": "never"}).to_string(),
            400,
            Some("when"),
        ),
        (
            "/billing/portal",
            json,
            json!({"x": "y"}).to_string(),
            400,
            Some("x"),
        ),
        ("/billing/portal", json, String::new(), 401, None),
        ("/billing/cancel", json, String::new(), 401, None),
    ];
    for (path, kind, body, status, field) in cases {
        let request = shop.browser.post(format!("{}{path}", shop.server.url));
        let sent = request
            .header("content-type", kind)
            .body(body.clone())
            .send()
            .unwrap();
        let short: String = body.chars().take(60).collect();
        let says = format!("{path} {kind} {short}");
        assert_eq!(sent.status(), status, "{says}");
        assert_eq!(
            sent.headers()["content-type"],
            "application/problem+json",
            "{says}"
        );
        let problem: Value = sent.json().unwrap();
        assert!(
            problem["detail"].is_string() && problem["request_id"].is_string(),
            "{says}"
        );
        assert_eq!(
            problem["errors"][0]["field"].as_str(),
            field,
            "{says}: {problem}"
        );
    }
    for (path, status) in [
        ("/billing/success", 400),
        ("/billing/success?session_id=%00", 404),
        ("/billing/cancel", 405),
    ] {
        assert_eq!(shop.page(path).status(), status, "{path}");
    }
    assert!(
        shop.stripe.state().calls.is_empty(),
        "none of it reached Stripe"
    );
}

#[test]
fn while_stripe_does_not_answer_nothing_is_granted_and_nobody_is_told_a_lie() {
    let shop = Shop::open();
    shop.stripe.state().failing = Some((1_000, 503));
    let refused = shop.call("/billing/cli/start", &json!({}));
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let metadata = json!({"oscillink_key_id": shop.key_id});
    let object =
        oscillink_testkit::stripe::subscription("sub_1", "cus_1", "active", "price_pro", &metadata);
    let kind = "customer.subscription.created";
    assert_eq!(
        deliver(&shop.server, "evt_1", kind, now(), &object).status(),
        200
    );
    eventually("a try", || {
        let event = ok(admin(&shop.server, "GET", "/webhook-events/evt_1", None));
        (event["attempts"].as_u64().unwrap() > 0).then_some(())
    });
    assert_eq!(diffusion(&shop.server), 402);
    shop.stripe.put_subscription(object);
    shop.stripe.state().failing = None;
    eventually("the upgrade", || {
        (diffusion(&shop.server) == 200).then_some(())
    });
}

#[test]
fn reconcile_tells_drift_by_its_exit_code() {
    let shop = Shop::open();
    let clean = json_of(&shop.reconcile(&["--json"]));
    assert_eq!(clean["drift"], json!([]));
    let metadata = json!({"oscillink_key_id": shop.key_id});
    let object = |status| {
        oscillink_testkit::stripe::subscription("sub_1", "cus_1", status, "price_pro", &metadata)
    };
    shop.stripe.put_subscription(object("active"));
    let kind = "customer.subscription.created";
    deliver(&shop.server, "evt_1", kind, now(), &object("active"));
    eventually("the upgrade", || {
        (diffusion(&shop.server) == 200).then_some(())
    });
    assert_eq!(json_of(&shop.reconcile(&[]))["subscriptions"], 1);

    // A lapse that no event told of.
    shop.stripe.put_subscription(object("past_due"));
    let drift = shop.reconcile(&[]);
    assert_eq!(drift.status.code(), Some(1), "{}", stderr(&drift));
    let report: Value = serde_json::from_slice(&drift.stdout).unwrap();
    let kinds: Vec<_> = report["drift"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["subscription", "key"]);
    assert_eq!(report["drift"][0]["key_id"], shop.key_id);

    shop.stripe.state().failing = Some((100, 503));
    assert_eq!(shop.reconcile(&[]).status.code(), Some(6));
}
