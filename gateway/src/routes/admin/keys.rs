//! Keys of customers: make, look, change, rotate, revoke; what they have used.

use std::fmt::Formatter;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as get_route, post as post_route};
use axum::{Extension, Json};
use oscillink_domain::tier::Overrides;
use oscillink_domain::{ApiKey, KeyId, KeyRecord, KeyStatus, Tier};
use oscillink_engine::{IssuedKey, KeyError, NewKey};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;

use super::once::{EffectId, ShowsSecret};
use crate::error::{Kind, Problem};
use crate::extract::{Admin, Document, Queried};
use crate::openapi::{self as api, Api, Operation};
use crate::routes::keys::{RotateBody, RotateQuery, overlap_ms};
use crate::routes::lists::{PageQuery, opaque};
use crate::routes::usage::{self, LedgerQuery};
use crate::routes::views::{KeyView, ListView, UsageAnswer};
use crate::state::Gateway;

const MAX_NAME_BYTES: usize = 200;

/// A key as operators see it.
#[derive(Serialize)]
struct AdminKey<'a> {
    #[serde(flatten)]
    key: KeyView<'a>,
    overrides: &'a Overrides,
    updated: String,
    /// The secret, the one time that it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

impl<'a> AdminKey<'a> {
    fn of(app: &Gateway, record: &'a KeyRecord) -> Self {
        let limits = record.limits(&app.engine().config().baseline);
        Self {
            key: KeyView::of(record, &limits),
            overrides: &record.overrides,
            updated: record.updated_at.to_string(),
            api_key: None,
        }
    }

    fn issued(app: &Gateway, issued: &'a IssuedKey) -> Self {
        let api_key = Some(issued.secret.reveal());
        Self {
            api_key,
            ..Self::of(app, &issued.record)
        }
    }
}

/// The body of `POST /v1/admin/keys`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    name: String,
    tier: Tier,
    #[serde(default, deserialize_with = "overrides")]
    overrides: Option<Overrides>,
}

/// Overrides as an object: a list of values without names is not meant.
fn overrides<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Overrides>, D::Error> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Option<Overrides>;

        fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
            Overrides::deserialize(MapAccessDeserializer::new(members)).map(Some)
        }
    }

    deserializer.deserialize_any(Object)
}

/// `POST /v1/admin/keys`: enterprise keys start pending.
pub async fn create(
    State(app): State<Gateway>,
    _: Admin,
    effect: Option<Extension<EffectId>>,
    Document(create): Document<Create>,
) -> Result<Response, Problem> {
    let new = NewKey {
        name: name(create.name)?,
        tier: create.tier,
        overrides: create.overrides.unwrap_or_default(),
    };
    let issued = match effect {
        None => app.engine().create_key(new).await,
        Some(Extension(effect)) => {
            let (key_id, secret) = (effect.key_id(), effect.secret(&app));
            app.engine().create_key_as(key_id, secret, new).await
        }
    };
    let issued = issued.map_err(refused)?;
    let view = Json(AdminKey::issued(&app, &issued));
    Ok((StatusCode::CREATED, Extension(ShowsSecret), view).into_response())
}

/// `GET /v1/admin/keys`: newest first.
pub async fn list(
    State(app): State<Gateway>,
    _: Admin,
    Queried(page): Queried<PageQuery>,
) -> Result<Response, Problem> {
    let page = app.engine().keys(page.limit()?, page.cursor()?).await?;
    let items = page.items.iter().map(|record| AdminKey::of(&app, record));
    let next_cursor = opaque(page.next.as_ref());
    let items = items.collect();
    Ok(Json(ListView { items, next_cursor }).into_response())
}

/// `GET /v1/admin/keys/{id}`
pub async fn get(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&app, &id).await?;
    Ok(Json(AdminKey::of(&app, &record)).into_response())
}

/// The body of `PATCH /v1/admin/keys/{id}`: what is left out stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    name: Option<String>,
    tier: Option<Tier>,
    status: Option<KeyStatus>,
    #[serde(default, deserialize_with = "overrides")]
    overrides: Option<Overrides>,
}

/// `PATCH /v1/admin/keys/{id}`
pub async fn change(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
    Document(change): Document<Change>,
) -> Result<Response, Problem> {
    let name = change.name.map(name).transpose()?;
    let (tier, status, overrides) = (change.tier, change.status, change.overrides);
    let key_id = key_id(&id)?;
    let record = app.engine().change_key(&key_id, move |record| {
        record.name = name.clone().unwrap_or_else(|| record.name.clone());
        record.tier = tier.unwrap_or(record.tier);
        record.status = status.unwrap_or(record.status);
        let overrides = overrides.clone();
        record.overrides = overrides.unwrap_or_else(|| record.overrides.clone());
    });
    let record = record.await.map_err(refused)?;
    forget(&app, &record);
    Ok(Json(AdminKey::of(&app, &record)).into_response())
}

/// `POST /v1/admin/keys/{id}/rotate`
pub async fn rotate(
    State(app): State<Gateway>,
    _: Admin,
    effect: Option<Extension<EffectId>>,
    Path(id): Path<String>,
    Queried(query): Queried<RotateQuery>,
    Document(body): Document<RotateBody>,
) -> Result<Response, Problem> {
    let (key_id, overlap_ms) = (key_id(&id)?, overlap_ms(&query, &body)?);
    let issued = match effect {
        None => app.engine().rotate_key(&key_id, overlap_ms).await,
        Some(Extension(effect)) => {
            let secret = effect.secret(&app);
            app.engine()
                .rotate_key_to(&key_id, overlap_ms, secret)
                .await
        }
    };
    let issued = issued.map_err(refused)?;
    forget(&app, &issued.record);
    let view = Json(AdminKey::issued(&app, &issued));
    Ok((Extension(ShowsSecret), view).into_response())
}

/// `POST /v1/admin/keys/{id}/revoke`, `DELETE /v1/admin/keys/{id}`: final; doing it again changes nothing.
pub async fn revoke(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&app, &id).await?;
    let outcome = app
        .engine()
        .set_key_status(&record.key_id, KeyStatus::Revoked)
        .await;
    let record = match outcome {
        Ok(record) => record,
        Err(KeyError::Revoked) => record,
        Err(error) => return Err(refused(error)),
    };
    forget(&app, &record);
    Ok(Json(AdminKey::of(&app, &record)).into_response())
}

/// The body of `POST /v1/admin/keys/introspect`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introspect {
    api_key: String,
}

/// `POST /v1/admin/keys/introspect`: which key a secret opens.
pub async fn introspect(
    State(app): State<Gateway>,
    _: Admin,
    Document(asked): Document<Introspect>,
) -> Result<Response, Problem> {
    let none = || Problem::new(Kind::NotFound, "the secret opens no key");
    let hash = ApiKey::parse(&asked.api_key).ok_or_else(none)?.hash();
    let record = app.engine().find_key(&hash).await?.ok_or_else(none)?;
    Ok(Json(AdminKey::of(&app, &record)).into_response())
}

/// `GET /v1/admin/keys/{id}/usage`
pub async fn usage(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let record = find(&app, &id).await?;
    let limits = record.limits(&app.engine().config().baseline);
    let usage = app.engine().usage(&record.key_id, &limits).await?;
    Ok(Json(UsageAnswer::of(&record, &usage)).into_response())
}

/// `GET /v1/admin/keys/{id}/ledger`
pub async fn ledger(
    State(app): State<Gateway>,
    _: Admin,
    Path(id): Path<String>,
    Queried(query): Queried<LedgerQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = find(&app, &id).await?;
    usage::ledger_of(&app, &record.key_id, query, &headers).await
}

async fn find(app: &Gateway, id: &str) -> Result<KeyRecord, Problem> {
    let found = app.engine().key(&key_id(id)?).await?;
    found.ok_or_else(no_such_key)
}

/// Here at once, on other instances when the event arrives.
fn forget(app: &Gateway, record: &KeyRecord) {
    for secret in &record.secrets {
        app.keys().invalidate(&secret.hash);
    }
}

fn key_id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|_| no_such_key())
}

fn no_such_key() -> Problem {
    Problem::new(Kind::NotFound, "there is no such key")
}

fn name(name: String) -> Result<String, Problem> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(name);
    }
    let detail = format!("must have 1 to {MAX_NAME_BYTES} bytes");
    Err(Problem::field("name", detail))
}

fn refused(error: KeyError) -> Problem {
    match error {
        KeyError::NotFound => no_such_key(),
        KeyError::Revoked => Problem::new(Kind::Conflict, error.to_string()),
        KeyError::Port(port) => port.into(),
    }
}

pub(super) fn describe(api: Api) -> Api {
    let key = |method: Operation| method.path("id", "The key's id");
    let shown = "The key with its secret";
    let json = "application/json";
    let listed = api::get("admin", "adminListKeys", "Keys, newest first");
    let made = api::post(
        "admin",
        "adminCreateKey",
        "A new key; enterprise keys start pending",
    );
    let asked = api::post("admin", "adminIntrospect", "Which key a secret opens");
    let one = api::get("admin", "adminGetKey", "A key");
    let changed = api::patch(
        "admin",
        "adminChangeKey",
        "Change name, tier, status or overrides",
    );
    let ended = api::delete("admin", "adminDeleteKey", "Revoke for good");
    let revoked = api::post("admin", "adminRevokeKey", "Revoke for good");
    let rotated = api::post("admin", "adminRotateKey", "A new secret for a key");
    let used = api::get("admin", "adminUsage", "What a key has used");
    let rows = api::get("admin", "adminLedger", "A key's ledger, newest first");
    let name = json!({"name": "Acme", "tier": "pro"});
    let example = json!({"tier": "enterprise", "status": "active"});
    let overlap = json!({"type": "integer", "minimum": 0, "maximum": 2_592_000, "default": 86_400});
    let format = json!({"type": "string", "enum": ["json", "csv"]});
    let listed = listed.paged().ok("A page", "AdminKeyList");
    let made = made.idempotent().body(json, "KeyCreate", name);
    let made = made.answers(201, shown, "AdminKey", &[]);
    let asked = asked.idempotent();
    let asked = asked.body(json, "Introspect", json!({"api_key": "ok_…"}));
    let changed = key(changed).body(json, "KeyChange", example).may_be_empty();
    let rotated = key(rotated).idempotent();
    let rotated = rotated.query("overlap_seconds", "How long the old secret works", overlap);
    let rotated = rotated.body(json, "Rotation", json!({"overlap_seconds": 3_600}));
    let rotated = rotated.may_be_empty();
    let rows = key(rows).paged().query("format", "The form", format);
    api.route("/keys", get_route(list).post(create), [listed, made])
        .route(
            "/keys/introspect",
            post_route(introspect),
            [asked.ok("The key", "AdminKey")],
        )
        .route(
            "/keys/{id}",
            get_route(get).patch(change).delete(revoke),
            [
                key(one).ok("The key", "AdminKey"),
                changed.ok("The key", "AdminKey").problems(&[409]),
                key(ended).ok("The key", "AdminKey"),
            ],
        )
        .route(
            "/keys/{id}/rotate",
            post_route(rotate),
            [rotated.ok(shown, "AdminKey").problems(&[409])],
        )
        .route(
            "/keys/{id}/revoke",
            post_route(revoke),
            [key(revoked).idempotent().ok("The key", "AdminKey")],
        )
        .route(
            "/keys/{id}/usage",
            get_route(usage),
            [key(used).ok("Usage", "Usage")],
        )
        .route(
            "/keys/{id}/ledger",
            get_route(ledger),
            [rows
                .ok("A page", "LedgerList")
                .content(200, "text/csv", json!({"type": "string"}))],
        )
}
