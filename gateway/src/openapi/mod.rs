//! The API's description (OpenAPI 3.1), put together by the code that builds the router: a route cannot
//! be added without saying what it does.

mod operation;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};

pub use operation::{Operation, delete, get, patch, post};

use crate::state::Gateway;

/// What answers and bodies look like.
const SCHEMAS: &str = include_str!("schemas.json");

/// The whole document as text.
pub static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&sorted(document())).unwrap_or_default();
    text.push('\n');
    text
});

/// The same with the members of every object by name. How `serde_json` orders them depends on what
/// other crates of a build ask of it; the file must not.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().collect();
            let each = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(each.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Routes under a common prefix, with their description.
pub struct Api {
    prefix: &'static str,
    router: Router<Gateway>,
    paths: Map<String, Value>,
}

impl Api {
    /// No routes yet.
    pub fn under(prefix: &'static str) -> Self {
        Self {
            prefix,
            router: Router::new(),
            paths: Map::new(),
        }
    }

    /// Adds a route, each of its methods described.
    pub fn route<const N: usize>(
        mut self,
        path: &str,
        methods: MethodRouter<Gateway>,
        operations: [Operation; N],
    ) -> Self {
        self.router = self.router.route(path, methods);
        let described = operations.into_iter().map(Operation::into_entry);
        let full = format!("{}{path}", self.prefix);
        self.paths.insert(full, Value::Object(described.collect()));
        self
    }

    /// The routes, below the prefix.
    pub fn into_router(self) -> Router<Gateway> {
        self.router
    }
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let parts = [
        crate::table::v1(),
        crate::table::admin(),
        crate::table::probes(),
    ];
    let paths: Map<String, Value> = parts.into_iter().flat_map(|api| api.paths).collect();
    // The file is a part of the program, and a test reads it.
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oscillink Cloud",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Settles embedding vectors into their most coherent state. Keys go in X-API-Key or \
                Authorization: Bearer. Errors are problem documents (RFC 9457); docs/api.md explains each type.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "settle", "description": "Computed while the client waits"},
            {"name": "jobs", "description": "Durable jobs"},
            {"name": "account", "description": "The caller's own key and usage"},
            {"name": "admin", "description": "For operators; absent where OSCILLINK_ADMIN_SECRET is not set"},
            {"name": "probes", "description": "Health, metrics and this document"}
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "adminSecret": {"type": "apiKey", "in": "header", "name": "X-Admin-Secret"}
            },
            "headers": headers(),
            "responses": operation::responses(),
            "schemas": schemas,
        }
    })
}

fn headers() -> Value {
    let text =
        |description: &str| json!({"description": description, "schema": {"type": "string"}});
    let number = |description: &str| json!({"description": description, "schema": {"type": "integer", "minimum": 0}});
    json!({
        "X-Request-Id": text("The request's id: the client's own if it has a usable form"),
        "RateLimit": text("What is left of each limit, for example \"units\";r=70;t=61"),
        "RateLimit-Policy": text("The limits in force, for example \"units\";q=100"),
        "Retry-After": number("Seconds after which the request is worth repeating"),
        "Idempotency-Replayed": text("true: the answer was given before"),
        "X-Cache": text("hit or miss, for tiers with the result cache"),
        "X-Quota-Remaining": number("Units left in the quota window"),
        "X-Monthly-Remaining": number("Units left this month"),
        "Location": text("Path of the job"),
        "ETag": text("Names the job's state")
    })
}
