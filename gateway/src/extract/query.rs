//! Query strings and path segments with errors in the API's form.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use oscillink_domain::JobId;
use serde::de::DeserializeOwned;

use super::fault;
use crate::error::{Kind, Problem};

/// A query string as `T`, whose fields are optional texts. It must deny unknown fields, so that a slip
/// in a name is told.
#[derive(Clone, Copy, Debug)]
pub struct Queried<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Queried<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::field("query", error.body_text()))?;
        let value = fault::query(pairs).map_err(|error| Problem::fields(vec![error]))?;
        Ok(Self(value))
    }
}

/// The job that the path names. What cannot be an id names no job.
#[derive(Clone, Debug)]
pub struct JobPath(pub JobId);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(no_such_job)
    }
}

/// The answer for jobs that do not exist, or belong to someone else.
pub fn no_such_job() -> Problem {
    Problem::new(Kind::NotFound, "there is no such job")
}
