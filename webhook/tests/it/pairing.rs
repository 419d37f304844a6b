//! Buying: pairing with a command line, the page that shows the key, the customer's page, cancelling.

use axum::body::Body;
use axum::http::Request;
use oscillink_domain::{ApiKey, Tier};
use serde_json::{Value, json};

use crate::harness::{House, event, key_id, sub};

impl House {
    async fn start(&self, body: &Value, key: Option<&str>) -> Value {
        let answer = self.post_json("/billing/cli/start", body, key).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn poll(&self, code: &Value) -> Value {
        let body = json!({ "code": code });
        self.post_json("/billing/cli/poll", &body, None)
            .await
            .json()
    }

    /// The visitor pays the last checkout that was started; no webhook tells of it.
    fn pay(&self) {
        let mut remote = self.stripe.remote();
        let new = remote.checkouts.last().unwrap().clone();
        let session = format!("cs_test_{}", remote.checkouts.len());
        remote
            .sessions
            .insert(session, Some("sub_1".parse().unwrap()));
        drop(remote);
        self.stripe
            .set(&sub("active", new.price.as_str(), Some(&new.key_id)));
    }
}

#[tokio::test]
async fn a_command_line_starts_waits_and_gets_the_key_once() {
    let house = House::new();
    let started = house.start(&json!({}), None).await;
    assert_eq!(started["tier"], "pro");
    let code = &started["code"];
    assert!(
        started["checkout_url"]
            .as_str()
            .unwrap()
            .starts_with("https://checkout.")
    );
    assert_eq!(house.poll(code).await["status"], "pending");
    house.pay();
    assert_eq!(
        house.poll(code).await["status"],
        "pending",
        "the webhook has its time first"
    );
    house.clock.advance(6_000);
    let ready = house.poll(code).await;
    assert_eq!(
        (&ready["status"], &ready["tier"]),
        (&json!("ready"), &json!("pro"))
    );
    let key = ApiKey::parse(ready["api_key"].as_str().unwrap()).unwrap();
    let record = house.engine.find_key(&key.hash()).await.unwrap().unwrap();
    assert_eq!(record.tier, Tier::Pro);
    assert_eq!(house.poll(code).await, json!({"status": "claimed"}));
    for (_, document) in house.store.all(oscillink_ports::Collection::Contents) {
        let text = document.to_string();
        assert!(!text.contains(key.reveal()) && !text.contains(code.as_str().unwrap()));
    }
}

#[tokio::test]
async fn codes_that_are_not_known_or_too_old_open_nothing() {
    let house = House::new();
    let started = house.start(&json!({"tier": "enterprise"}), None).await;
    for code in ["", "pair_", &format!("pair_{}", "a".repeat(43))] {
        let answer = house
            .post_json("/billing/cli/poll", &json!({"code": code}), None)
            .await;
        assert_eq!(answer.status, 404);
    }
    house.clock.advance(3 * 24 * 3_600_000);
    let body = json!({ "code": started["code"] });
    assert_eq!(
        house
            .post_json("/billing/cli/poll", &body, None)
            .await
            .status,
        404
    );
    for wrong in [
        json!({"tier": "beta"}),
        json!({"tier": "pro", "price": "price_ent"}),
        json!({"x": 1}),
    ] {
        assert_eq!(
            house
                .post_json("/billing/cli/start", &wrong, None)
                .await
                .status,
            400
        );
    }
}

#[tokio::test]
async fn checkouts_started_in_a_minute_are_bounded() {
    let house = House::new();
    for _ in 0..60 {
        house.start(&json!({}), None).await;
    }
    let refused = house
        .post_json("/billing/cli/start", &json!({}), None)
        .await;
    assert_eq!(refused.status, 429);
    assert!(refused.headers.contains_key("retry-after"));
    house.clock.advance(61_000);
    house.start(&json!({}), None).await;
}

#[tokio::test]
async fn the_page_shows_the_key_once_when_asked_and_tells_nobody() {
    let house = House::new();
    let answer = house.post_form("/billing/checkout", "tier=pro").await;
    assert_eq!(answer.status, 303);
    let path = "/billing/success?session_id=cs_test_1";
    let form = "session_id=cs_test_1";
    let early = house.post_form("/billing/success", form).await;
    assert!(early.text.contains("One moment"), "{}", early.text);
    house.pay();
    house.clock.advance(6_000);
    for _ in 0..2 {
        let page = house.get(path).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("ok_"), "opening the page shows no key");
        assert_private(&page);
    }
    let shown = house.post_form("/billing/success", form).await;
    let start = shown.text.find("ok_").expect("a key");
    let key = ApiKey::parse(&shown.text[start..start + 46]).unwrap();
    assert!(house.engine.find_key(&key.hash()).await.unwrap().is_some());
    assert_private(&shown);
    let again = house.post_form("/billing/success", form).await;
    assert_eq!(again.status, 410);
    assert!(!again.text.contains("ok_"));
    assert_eq!(house.get(path).await.status, 410);
    for unknown in ["cs_test_9", "%3Cscript%3E", "..%2F.."] {
        let page = house
            .get(&format!("/billing/success?session_id={unknown}"))
            .await;
        assert_eq!(page.status, 404);
        assert!(!page.text.contains("script"));
    }
}

/// Nothing for caches, other sites or scripts; usable without sight, colour or a mouse.
fn assert_private(page: &crate::harness::Answer) {
    let header = |name: &str| page.headers[name].to_str().unwrap();
    assert!(header("cache-control").contains("no-store"));
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    for needed in [
        "<html lang=\"en\">",
        "<title>",
        "<main>",
        "<h1>",
        "name=\"viewport\"",
    ] {
        assert!(page.text.contains(needed), "{needed} is missing");
    }
    for banned in ["<script", "http://", "https://", "src=", "onclick", "<a "] {
        assert!(!page.text.contains(banned), "{banned} is there");
    }
}

#[tokio::test]
async fn the_holder_of_a_key_upgrades_manages_and_cancels_it() {
    let house = House::new();
    let new = oscillink_engine::NewKey {
        name: "mine".into(),
        tier: Tier::Free,
        overrides: Default::default(),
    };
    let issued = house.engine.create_key(new).await.unwrap();
    let key = issued.secret.reveal();
    assert_eq!(
        house
            .post_json("/billing/portal", &json!({}), None)
            .await
            .status,
        401
    );
    assert_eq!(
        house
            .post_json("/billing/portal", &json!({}), Some(key))
            .await
            .status,
        404
    );
    let started = house.start(&json!({}), Some(key)).await;
    house.pay();
    house.clock.advance(6_000);
    let upgraded = house.poll(&started["code"]).await;
    assert_eq!(upgraded["status"], "upgraded");
    assert!(upgraded.get("api_key").is_none());
    let record = house
        .engine
        .key(&issued.record.key_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.tier, Tier::Pro);
    let twice = house
        .post_json("/billing/cli/start", &json!({}), Some(key))
        .await;
    assert_eq!(twice.status, 409);
    let portal = house
        .post_json("/billing/portal", &json!({}), Some(key))
        .await;
    assert!(portal.json()["url"].as_str().unwrap().contains("cus_1"));

    let later = house
        .post_json("/billing/cancel", &json!({}), Some(key))
        .await
        .json();
    assert_eq!(later["subscriptions"][0]["ended"], false);
    assert!(later["subscriptions"][0]["ends"].is_string());
    let tier = || async {
        let record = house
            .engine
            .key(&issued.record.key_id)
            .await
            .unwrap()
            .unwrap();
        record.tier
    };
    assert_eq!(
        tier().await,
        Tier::Pro,
        "what was paid for is used up first"
    );
    let now = house
        .post_json("/billing/cancel", &json!({"when": "now"}), Some(key))
        .await;
    assert_eq!(now.json()["subscriptions"][0]["ended"], true);
    assert_eq!(tier().await, Tier::Free);
}

#[tokio::test]
async fn a_key_is_known_however_its_scheme_is_written_and_an_unusable_one_is_not_none() {
    let house = House::new();
    let new = oscillink_engine::NewKey {
        name: "mine".into(),
        tier: Tier::Free,
        overrides: Default::default(),
    };
    let issued = house.engine.create_key(new).await.unwrap();
    let send = async |path: &str, name: &str, value: &[u8]| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header(name, value)
            .body(Body::from("{}"))
            .unwrap();
        house.send(request).await.status
    };
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", issued.secret.reveal());
        let status = send("/billing/cli/start", "authorization", value.as_bytes()).await;
        assert_eq!(status, 200, "{scheme}");
        let bought_for = house
            .stripe
            .remote()
            .checkouts
            .last()
            .unwrap()
            .key_id
            .clone();
        assert_eq!(bought_for, issued.record.key_id, "{scheme}");
        let status = send("/billing/portal", "authorization", value.as_bytes()).await;
        assert_eq!(status, 404, "{scheme}: known, and without a subscription");
    }
    let checkouts = house.stripe.remote().checkouts.len();
    let unusable: [(&str, &[u8]); 6] = [
        ("x-api-key", b"ok_\xff\xfe"),
        ("x-api-key", b""),
        ("authorization", b"Bearer \xff"),
        ("authorization", b"Bearer"),
        ("authorization", b"Basic b2s6b2s="),
        ("authorization", issued.secret.reveal().as_bytes()),
    ];
    for (name, value) in unusable {
        for path in ["/billing/cli/start", "/billing/portal", "/billing/cancel"] {
            let status = send(path, name, value).await;
            assert_eq!(status, 401, "{path} with {name}: {value:?}");
        }
    }
    assert_eq!(house.stripe.remote().checkouts.len(), checkouts);
}

#[tokio::test]
async fn a_subscription_that_stripe_no_longer_has_is_over_and_the_others_end_too() {
    let house = House::new();
    let key_id = key_id();
    let mut second = sub("active", "price_ent", Some(&key_id));
    second["id"] = json!("sub_2");
    for (id, state) in [
        ("evt_1", sub("active", "price_pro", Some(&key_id))),
        ("evt_2", second),
    ] {
        house.stripe.set(&state);
        let kind = "customer.subscription.updated";
        house.deliver(&event(id, kind, 0, &state)).await;
    }
    house.handle_all().await;
    let rotated = house.engine.rotate_key(&key_id, 0).await.unwrap();
    let key = rotated.secret.reveal();
    house.stripe.remote().subscriptions.remove("sub_1");
    house.clock.advance(60_000);
    let now = json!({"when": "now"});
    let answer = house.post_json("/billing/cancel", &now, Some(key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let ended = answer.json();
    let ended = ended["subscriptions"].as_array().unwrap();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|one| one["ended"] == true), "{ended:?}");
    let record = house.engine.key(&key_id).await.unwrap().unwrap();
    assert_eq!(record.tier, Tier::Free);
    let again = house.post_json("/billing/cancel", &now, Some(key)).await;
    assert_eq!(again.status, 404, "nothing is left to cancel");
}
