//! The API's description: the committed one is the generated one, it names every method of every
//! route, and real answers keep to it.

use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request};
use oscillink_domain::Tier;
use oscillink_gateway::{Config, openapi};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::harness::{Answer, House, request, rows};

const SECRET: &str = "an operator's secret";

fn house() -> House {
    let config = Config {
        admin_secret: Some(SecretString::from(SECRET)),
        ..Config::default()
    };
    House::with(config, Default::default())
}

/// `UPDATE_OPENAPI=1 cargo test -p oscillink-gateway openapi` writes the file.
#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, openapi::DOCUMENT.as_str()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == *openapi::DOCUMENT,
        "docs/openapi.json is not what the code says; run \
         UPDATE_OPENAPI=1 cargo test -p oscillink-gateway openapi"
    );
}

#[tokio::test]
async fn the_most_neighbours_are_those_that_it_names() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let document = openapi::document();
    for (schema, block) in [("Params", "params"), ("Diffusion", "diffusion")] {
        let field = &document["components"]["schemas"][schema]["properties"]["kneighbors"];
        let most = field["maximum"].as_u64().unwrap();
        let with = |k| json!({"Y": [[1, 2], [2, 1]], block: {"kneighbors": k}}).to_string();
        let answer = house.post(&key, "/v1/settle", &with(most)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let refused = house.post(&key, "/v1/settle", &with(most + 1)).await;
        assert_eq!(refused.status, 400);
        let field = &refused.json()["errors"][0]["field"];
        assert_eq!(*field, format!("{block}.kneighbors"));
    }
}

#[tokio::test]
async fn every_method_of_every_route_is_described() {
    let house = house();
    let document = openapi::document();
    for (path, described) in document["paths"].as_object().unwrap() {
        let real = path
            .replace("{id}", "x")
            .replace("{queue}", "x")
            .replace("{file}", "x");
        let trace = Request::builder().method(Method::TRACE).uri(&real);
        let answer = house.send(trace.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").to_ascii_lowercase();
        let mut allowed: Vec<_> = allowed.split(',').filter(|m| *m != "head").collect();
        allowed.sort_unstable();
        let mut named: Vec<_> = described.as_object().unwrap().keys().collect();
        named.sort_unstable();
        assert_eq!(named, allowed, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(root: &Value, value: &Value) {
        if let Some(name) = value.get("$ref").and_then(Value::as_str) {
            let pointer = name.trim_start_matches('#');
            assert!(root.pointer(pointer).is_some(), "{name}");
        }
        match value {
            Value::Object(members) => members.values().for_each(|inner| walk(root, inner)),
            Value::Array(items) => items.iter().for_each(|inner| walk(root, inner)),
            _ => {}
        }
    }
    let document = openapi::document();
    walk(&document, &document);
}

/// Checks `value` against the part of JSON Schema that the document uses.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return check(root, target, value, place);
    }
    if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
        let reference = options.iter().find(|option| option.get("$ref").is_some());
        if let (Some(option), false) = (reference, value.is_null()) {
            check(root, option, value, place);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = types.contains(&found) || (found == "integer" && types.contains(&"number"));
    assert!(fits, "{place} is {found}, not {types:?}");
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (index, inner) in values.iter().enumerate() {
            check(root, items, inner, &format!("{place}[{index}]"));
        }
    }
    let Value::Object(members) = value else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(
            members.contains_key(required.as_str().unwrap()),
            "{place} lacks {required}"
        );
    }
    for (name, inner) in members {
        let place = format!("{place}.{name}");
        match (
            schema["properties"].get(name),
            schema.get("additionalProperties"),
        ) {
            (Some(described), _) => check(root, described, inner, &place),
            (None, Some(Value::Bool(false))) => panic!("{place} is not described"),
            (None, Some(described @ Value::Object(_))) => check(root, described, inner, &place),
            (None, _) => {}
        }
    }
}

fn keeps_to(schema: &str, answer: &Answer) {
    let root = openapi::document();
    let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
    check(&root, &reference, &answer.json(), schema);
}

#[tokio::test]
async fn real_answers_keep_to_it() {
    let house = house();
    let key = house.key(Tier::Pro).await;
    let body = format!(
        r#"{{"Y": {}, "chain": [0, 1, 2], "diffusion": {{}},
            "options": {{"bundle_k": 3, "array": ["u", "ustar", "gates"]}}}}"#,
        rows(12)
    );
    keeps_to("Answer", &house.post(&key, "/v1/settle", &body).await);
    keeps_to(
        "Answer",
        &house.post(&key, "/v1/chain/receipt", &body).await,
    );
    let job = house.post(&key, "/v1/jobs/settle", &body).await;
    keeps_to("Job", &job);
    let path = format!("/v1/jobs/{}", job.json()["job_id"].as_str().unwrap());
    keeps_to("Job", &house.get(&key, &path).await);
    for (path, schema) in [
        ("/v1/jobs", "JobList"),
        ("/v1/usage", "Usage"),
        ("/v1/usage/ledger", "LedgerList"),
        ("/v1/keys/self", "Key"),
        ("/health", "Health"),
        ("/ready", "Ready"),
        ("/v1/jobs/none", "Problem"),
    ] {
        keeps_to(schema, &house.get(&key, path).await);
    }
    keeps_to(
        "Problem",
        &house
            .post(&key, "/v1/settle", "{\"Y\": [[1], [2, 3]]}")
            .await,
    );
    keeps_to(
        "RotatedKey",
        &house.post(&key, "/v1/keys/self/rotate", "").await,
    );
    let admin = |method: Method, path: &str, body: &str| {
        let request = request(method, path, &key)
            .header("x-admin-secret", SECRET)
            .header("content-type", "application/json");
        house.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    for (path, schema) in [
        ("/v1/admin/keys", "AdminKeyList"),
        ("/v1/admin/tiers", "TierList"),
        ("/v1/admin/queues", "QueueList"),
        ("/v1/admin/jobs?queue=settle", "AdminJobList"),
        ("/v1/admin/jobs/dead-letters", "AdminJobList"),
    ] {
        keeps_to(schema, &admin(Method::GET, path, "").await);
    }
    for (path, body, schema) in [
        (
            "/v1/admin/keys",
            r#"{"name": "a", "tier": "free"}"#,
            "AdminKey",
        ),
        ("/v1/admin/queues/settle/pause", "", "Queue"),
        ("/v1/admin/jobs/retry", r#"{"all": true}"#, "RetriedMany"),
        ("/v1/admin/jobs/cancel", r#"{"all": true}"#, "CancelledMany"),
        ("/v1/admin/system/sweep", "", "Swept"),
    ] {
        keeps_to(schema, &admin(Method::POST, path, body).await);
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_outside() {
    let house = house();
    let key = house.key(Tier::Free).await;
    for path in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        let answer = house.get(&key, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(!text.contains("://"), "{path} names another server");
        assert!(
            answer
                .header("content-security-policy")
                .contains("script-src 'self'")
        );
    }
    house.get(&key, "/docs/other.js").await.problem(404);
    let document = house.get(&key, "/openapi.json").await;
    assert_eq!(document.json()["openapi"], "3.1.0");
    let again = request(Method::GET, "/openapi.json", &key)
        .header("if-none-match", document.header("etag"));
    assert_eq!(
        house.send(again.body(Body::empty()).unwrap()).await.status,
        304
    );
}
