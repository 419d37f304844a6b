//! The result of a job: its answer, or one of its arrays.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use oscillink_domain::job::ContentRef;
use oscillink_domain::{Job, JobStatus};
use oscillink_ports::PortError;
use oscillink_wire::ArrayName;
use serde::Deserialize;

use crate::budget::Share;
use crate::error::{Kind, Problem};
use crate::extract::{Caller, JobPath, Queried, no_such_job};
use crate::state::Gateway;

/// Bytes handed to the connection at a time.
const CHUNK: usize = 256 * 1024;

/// The query of `GET /v1/jobs/{id}/result`.
#[derive(Debug, Deserialize)]
pub struct ResultQuery {
    array: Option<String>,
}

/// `GET /v1/jobs/{id}/result`
pub async fn get(
    State(app): State<Gateway>,
    caller: Caller,
    JobPath(id): JobPath,
    Queried(query): Queried<ResultQuery>,
) -> Result<Response, Problem> {
    let array = query
        .array
        .as_deref()
        .map(str::parse::<ArrayName>)
        .transpose();
    let array = array.map_err(|detail| Problem::field("array", detail))?;
    let job = app
        .engine()
        .job(&caller.key_id, &id)
        .await?
        .ok_or_else(no_such_job)?;
    let (content, media) = content(&job, array)?;
    let length = usize::try_from(content.len).unwrap_or(usize::MAX);
    let mut share = app.budget().share();
    share.grow_to(length).await?;
    let bytes = app
        .engine()
        .content(content)
        .await
        .map_err(|error| match error {
            PortError::NotFound { .. } => Problem::new(Kind::NotFound, "the result has expired"),
            other => other.into(),
        })?;
    let mut response = Response::new(chunks(bytes, share));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response.into_response())
}

/// What is asked for, if the job has it.
fn content(job: &Job, array: Option<ArrayName>) -> Result<(&ContentRef, &'static str), Problem> {
    let result = match (&job.result, job.status) {
        (Some(result), JobStatus::Done) => result,
        (_, status) => {
            let reason = job
                .error
                .as_ref()
                .map_or(String::new(), |e| format!(": {}", e.detail));
            let detail = format!("the job is {status} and has no result{reason}");
            let problem = Problem::new(Kind::Conflict, detail);
            // A job that has not ended may have a result soon.
            let live = !status.is_terminal();
            return Err(if live {
                problem.retry_after(1)
            } else {
                problem
            });
        }
    };
    match array {
        None => Ok((&result.answer, "application/json")),
        Some(name) => {
            let array = result.arrays.get(name.as_str()).ok_or_else(|| {
                let detail = format!("the job's options.array did not ask for {name}");
                Problem::new(Kind::NotFound, detail)
            })?;
            Ok((array, "application/x-npy"))
        }
    }
}

/// Bytes in pieces, counted as held until the last piece has gone to the connection.
fn chunks(bytes: Bytes, share: Share) -> Body {
    Body::from_stream(unfold((bytes, share), |(mut bytes, share)| async move {
        if bytes.is_empty() {
            return None;
        }
        let piece = bytes.split_to(CHUNK.min(bytes.len()));
        Some((Ok::<_, std::convert::Infallible>(piece), (bytes, share)))
    }))
}
