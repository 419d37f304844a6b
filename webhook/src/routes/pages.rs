//! Pages for browsers that come back from a checkout. No script, nothing from elsewhere, nothing
//! kept: the address holds the session's id, which fetches the key, so the page must not tell it to
//! anybody. The key is shown when a button is pressed, not when the page is opened, so that looking
//! ahead (a link scanner, a reload) does not use it up.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use oscillink_domain::billing::{BillingId, Pairing};
use oscillink_domain::{KeyRecord, KeyStatus};
use oscillink_engine::Claimed;
use sha2::{Digest, Sha256};

use super::pairing::claim;
use crate::error::Problem;
use crate::fields::{Fields, FormFields, QueryFields};
use crate::state::Billing;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.125rem/1.6 system-ui,sans-serif;margin:0 auto;max-width:40rem;padding:2rem 1rem}\
code{display:block;font:1rem/1.6 ui-monospace,monospace;padding:1rem;border:2px solid;\
overflow-wrap:anywhere;user-select:all}\
button{font:inherit;padding:.75rem 1.25rem;border:2px solid;border-radius:.25rem;cursor:pointer}\
:focus-visible{outline:3px solid;outline-offset:3px}";

/// What a page may do: this style, and forms to this place.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    )
});

/// `GET /billing/success`: what happens next, and a button that shows the key.
pub async fn success(
    State(billing): State<Billing>,
    QueryFields(fields): QueryFields,
) -> Result<Response, Problem> {
    let Some((session_id, pairing)) = find(&billing, fields).await? else {
        return Ok(unknown());
    };
    if pairing.claimed_at.is_some() {
        return Ok(shown_before());
    }
    let (says, button) = if pairing.existing {
        ("Your key gets its new plan.", "Check my key")
    } else if pairing.for_cli {
        (
            "Go back to your terminal: it fetches the key by itself. Only if it is gone, show the key \
             here instead. It is shown once, in one of the two places.",
            "Show the key here",
        )
    } else {
        (
            "Your API key is ready to be shown. It is shown once: have a safe place for it at hand.",
            "Show my key",
        )
    };
    // The session's id is a `BillingId`: nothing in it is markup.
    let content = format!(
        "<h1>Thank you</h1><p>{says}</p><form method=\"post\" action=\"/billing/success\">\
         <input type=\"hidden\" name=\"session_id\" value=\"{session_id}\">\
         <button type=\"submit\">{button}</button></form>"
    );
    Ok(page(StatusCode::OK, "Thank you", &content))
}

/// `POST /billing/success`: the key, once.
pub async fn reveal(
    State(billing): State<Billing>,
    FormFields(fields): FormFields,
) -> Result<Response, Problem> {
    let Some((session_id, pairing)) = find(&billing, fields).await? else {
        return Ok(unknown());
    };
    Ok(match claim(&billing, &pairing).await? {
        Claimed::Key(issued) => {
            let content = format!(
                "<h1>Your API key</h1><p id=\"about\">Copy it now: it is not stored and cannot be \
                 shown again.</p><code tabindex=\"0\" aria-describedby=\"about\">{}</code>{}\
                 <p>Send it as the header <samp>X-API-Key</samp>.</p>",
                issued.secret.reveal(),
                plan(&issued.record),
            );
            page(StatusCode::OK, "Your API key", &content)
        }
        Claimed::Upgraded(record) => {
            let content = format!("<h1>Your plan has changed</h1>{}", plan(&record));
            page(StatusCode::OK, "Your plan has changed", &content)
        }
        Claimed::Waiting => {
            let content = format!(
                "<h1>One moment</h1><p role=\"status\">The payment is being confirmed, which takes a \
                 few seconds.</p><form method=\"post\" action=\"/billing/success\"><input \
                 type=\"hidden\" name=\"session_id\" value=\"{session_id}\">\
                 <button type=\"submit\">Try again</button></form>"
            );
            page(StatusCode::OK, "One moment", &content)
        }
        Claimed::AlreadyShown => shown_before(),
        Claimed::Unknown => unknown(),
    })
}

/// `GET /billing/given-up`: the checkout was left.
pub async fn given_up() -> Response {
    let content = "<h1>Nothing was bought</h1><p>You left the checkout and were not charged. You can \
                   close this page, or start again where you came from.</p>";
    page(StatusCode::OK, "Nothing was bought", content)
}

/// The session that a browser comes back from, and its pairing.
async fn find(
    billing: &Billing,
    mut fields: Fields,
) -> Result<Option<(BillingId, Pairing)>, Problem> {
    let session_id = fields.required("session_id")?;
    // Whatever else is in the address does not matter: things are added to links.
    // Whatever cannot be a session's id is not looked up, nor put into a page.
    let Ok(id) = session_id.parse::<BillingId>() else {
        return Ok(None);
    };
    let pairing = billing.engine().pairing_of_session(id.as_str()).await?;
    Ok(pairing.map(|pairing| (id, pairing)))
}

fn plan(record: &KeyRecord) -> String {
    let pending = if record.status == KeyStatus::Pending {
        " It works as soon as we have activated it; we get in touch."
    } else {
        ""
    };
    format!("<p>Plan: <strong>{}</strong>.{pending}</p>", record.tier)
}

fn shown_before() -> Response {
    let content = "<h1>The key was shown before</h1><p>Each key is shown once. If it was you: use the \
                   copy you made. If not, ask the operator of this service to replace the key.</p>";
    page(StatusCode::GONE, "The key was shown before", content)
}

fn unknown() -> Response {
    let content = "<h1>There is nothing here</h1><p>This checkout is not known, or it is too long \
                   ago.</p>";
    page(StatusCode::NOT_FOUND, "There is nothing here", content)
}

fn page(status: StatusCode, title: &str, content: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"referrer\" \
         content=\"no-referrer\"><meta name=\"robots\" content=\"noindex\"><title>{title} – \
         Oscillink</title><style>{STYLE}</style></head><body><main>{content}</main></body></html>"
    );
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store, max-age=0"),
        (header::PRAGMA, "no-cache"),
    ];
    (status, headers, Html(html)).into_response()
}
