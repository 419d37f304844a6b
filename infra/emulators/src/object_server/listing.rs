//! Listing, page by page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Shared;

/// Names of a page at the most, far fewer than the service's, so that pages are turned.
const MAX_PAGE: usize = 5;

pub(super) async fn list(
    State(shared): State<Shared>,
    Path(bucket): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    // A listing goes on behind a name; the token of a next page is that name.
    let after = text("start-after").max(text("continuation-token"));
    let limit = text("max-keys").parse().unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let own = format!("{bucket}/");
    let stored = shared.lock();
    let mut found = stored
        .objects
        .iter()
        .filter_map(|(key, object)| Some((key.strip_prefix(&own)?, object)))
        .filter(|(name, _)| name.starts_with(text("prefix")) && *name > after);
    let page: Vec<_> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>");
    for (name, object) in &page {
        // Names are of [A-Za-z0-9._/-]: nothing to escape. Writing to a string does not fail.
        let _ = write!(
            xml,
            "<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>\"1\"</ETag><Size>{}</Size></Contents>",
            object.bytes.len()
        );
    }
    let _ = write!(xml, "<IsTruncated>{more}</IsTruncated>");
    if let Some((last, _)) = page.last().filter(|_| more) {
        let _ = write!(xml, "<NextContinuationToken>{last}</NextContinuationToken>");
    }
    xml.push_str("</ListBucketResult>");
    ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}
