//! The result of a job: its answer, or one of its arrays.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use oscillink_domain::job::ContentRef;
use oscillink_domain::{Job, JobStatus};
use oscillink_ports::PortError;
use oscillink_wire::{ArrayName, Operation, decode_payload, npy};
use serde::Deserialize;

use crate::budget::Share;
use crate::error::{Kind, Problem};
use crate::extract::{Accepted, Caller, JobPath, Queried, no_such_job};
use crate::state::Gateway;

/// Bytes handed to the connection at a time.
const CHUNK: usize = 256 * 1024;

/// Media type of arrays.
const NPY: &str = "application/x-npy";

/// The query of `GET /v1/jobs/{id}/result`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultQuery {
    array: Option<String>,
}

/// `GET /v1/jobs/{id}/result`
pub async fn get(
    State(app): State<Gateway>,
    caller: Caller,
    JobPath(id): JobPath,
    Queried(query): Queried<ResultQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let array = query
        .array
        .as_deref()
        .map(str::parse::<ArrayName>)
        .transpose();
    let array = array.map_err(|detail| Problem::field("array", detail))?;
    if array.is_some() && Accepted::of(&headers, NPY).is_refused() {
        let detail = "an array is application/x-npy, which Accept refuses";
        return Err(Problem::new(Kind::NotAcceptable, detail));
    }
    let job = app
        .engine()
        .job(&caller.key_id, &id)
        .await?
        .ok_or_else(no_such_job)?;
    let (bytes, share, media) = match find(&job, array)? {
        Found::Kept(content, media) => {
            let (bytes, share) = load(&app, content).await?;
            (bytes, share, media)
        }
        Found::Derived(name, answer) => {
            let (bytes, share) = derive(&app, &caller, &job, name, answer).await?;
            (bytes, share, NPY)
        }
    };
    let length = bytes.len();
    let mut response = Response::new(chunks(bytes, share));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response.into_response())
}

/// Where what is asked for comes from.
enum Found<'a> {
    /// It is kept, as this media type.
    Kept(&'a ContentRef, &'static str),
    /// It is computed again; the answer tells whether that comes out the same.
    Derived(ArrayName, &'a ContentRef),
}

/// Reads a content, as held memory.
async fn load(app: &Gateway, content: &ContentRef) -> Result<(Bytes, Share), Problem> {
    let length = usize::try_from(content.len).unwrap_or(usize::MAX);
    let mut share = app.budget().share();
    share.grow_to(length).await?;
    let bytes = app.engine().content(content).await;
    let bytes = bytes.map_err(|error| match error {
        PortError::NotFound { .. } => Problem::new(Kind::NotFound, "the result has expired"),
        other => other.into(),
    })?;
    Ok((bytes, share))
}

/// Computes an array of a small job again from its payload. The same input gives the same bits.
async fn derive(
    app: &Gateway,
    caller: &Caller,
    job: &Job,
    name: ArrayName,
    answer: &ContentRef,
) -> Result<(Bytes, Share), Problem> {
    #[derive(Deserialize)]
    struct Signed {
        state_sig: String,
    }
    let (payload, share) = load(app, &job.payload).await?;
    let (answer, _) = load(app, answer).await?;
    let signed: Signed = serde_json::from_slice(&answer).map_err(PortError::corrupt)?;
    let request = decode_payload(&payload).map_err(PortError::corrupt)?;
    let output = app
        .inline()
        .run(request, Operation::from(job.kind), app.run_context(caller))
        .await?;
    let same = output.answer.state_sig == signed.state_sig;
    let array = output.arrays.get(&name).filter(|_| same).ok_or_else(|| {
        let detail = "the job was computed by another version of this service; submit it again";
        Problem::new(Kind::Conflict, detail)
    })?;
    Ok((Bytes::from(npy::write(array)), share))
}

/// What is asked for, if the job has it.
fn find(job: &Job, array: Option<ArrayName>) -> Result<Found<'_>, Problem> {
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
        None => Ok(Found::Kept(&result.answer, "application/json")),
        Some(name) if result.derived.contains(name.as_str()) => {
            Ok(Found::Derived(name, &result.answer))
        }
        Some(name) => {
            let array = result.arrays.get(name.as_str()).ok_or_else(|| {
                let detail = format!("the job's options.array did not ask for {name}");
                Problem::new(Kind::NotFound, detail)
            })?;
            Ok(Found::Kept(array, NPY))
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
