//! `POST /v1/jobs/batch`: one job a line, one answer a line.
//!
//! Lines are read, submitted and answered as they come, in their order. A line at fault costs itself
//! only. The answers wait for a client that sends everything before it reads anything: their number
//! and size are bounded by those of the lines.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, unfold};
use oscillink_domain::{JobKind, Sha256Hex};
use oscillink_engine::{Idempotency, Submitted};
use oscillink_wire::{Format, Parameters, parse};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::submit::accept;
use crate::error::{Document, Kind, Problem};
use crate::extract::{Batch, Caller, DIRECT_BYTES, Inbound, Line, Lines, ReadBody, ReadLimits};
use crate::request_id::RequestId;
use crate::state::Gateway;

/// Lines under way at once.
const CONCURRENCY: usize = 16;
/// Longest `custom_id` that is repeated when its line is refused, bytes.
const MAX_ECHO_BYTES: usize = 200;

/// What the lines of a batch share.
struct Context {
    app: Gateway,
    id: RequestId,
    caller: Caller,
    limits: ReadLimits,
    idempotency_key: Option<String>,
    traceparent: Option<String>,
}

/// `POST /v1/jobs/batch`
pub async fn post(
    State(app): State<Gateway>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    inbound: Inbound,
) -> Result<Response, Problem> {
    let Batch {
        mut lines,
        idempotency_key,
        traceparent,
    } = inbound.into_lines(&app).await?;
    // A batch that fails before its first line is answered as any other request.
    let first = lines.next().await?;
    let first = first.ok_or_else(|| Problem::field("body", "the batch has no lines"))?;
    let max_lines = app.config().batch_max_lines;
    let mut limits = ReadLimits::job(app.config(), &caller.limits);
    limits.max_bytes = limits.max_bytes.min(app.config().batch_line_bytes);
    let context = Arc::new(Context {
        app,
        id,
        caller,
        limits,
        idempotency_key,
        traceparent,
    });
    let (sender, receiver) = mpsc::channel(max_lines.saturating_add(1));
    let work = answer_all(context, first, lines, sender);
    tokio::spawn(work.instrument(tracing::Span::current()));
    let body = Body::from_stream(unfold(receiver, |mut receiver| async move {
        let answer: Bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(answer), receiver))
    }));
    let media = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, media)], body).into_response())
}

/// How far a batch has been read.
enum Reading {
    /// Up to the line of this number, which may be at hand.
    Wanted(Lines, Option<Line>, usize),
    /// As many lines as a batch may have; what follows is not wanted.
    TooMany(Lines),
    /// To its end, or to where it broke.
    Ended,
}

/// Answers lines until their end, or until nobody waits for answers.
async fn answer_all(context: Arc<Context>, first: Line, lines: Lines, sender: mpsc::Sender<Bytes>) {
    let work = Arc::clone(&context);
    let start = Reading::Wanted(lines, Some(first), 0);
    let lines = unfold(start, move |reading| {
        let context = Arc::clone(&work);
        async move {
            let (mut lines, first, index) = match reading {
                Reading::Wanted(lines, first, index) => (lines, first, index),
                Reading::TooMany(mut lines) => {
                    // A connection whose request is not read to its end takes no other.
                    while let Ok(Some(_)) = lines.next().await {}
                    return None;
                }
                Reading::Ended => return None,
            };
            let step = next(&context, &mut lines, first).await.transpose()?;
            let (step, rest) = match step {
                Ok(_) if index >= context.app.config().batch_max_lines => {
                    (Err(context.too_many()), Reading::TooMany(lines))
                }
                Ok(line) => (Ok(line), Reading::Wanted(lines, None, index + 1)),
                Err(problem) => (Err(problem), Reading::Ended),
            };
            Some(((index, step), rest))
        }
    });
    let answers = lines.map(|(index, step)| {
        let context = Arc::clone(&context);
        async move {
            match step {
                Ok(line) => context.line(index, line).await,
                // The last answer: what follows was not read.
                Err(problem) => context.refused(index, None, &problem),
            }
        }
    });
    let mut answers = std::pin::pin!(answers.buffered(CONCURRENCY));
    while let Some(answer) = answers.next().await {
        if sender.send(answer).await.is_err() {
            return;
        }
    }
}

/// The next line, unless the batch must end here.
async fn next(
    context: &Context,
    lines: &mut Lines,
    first: Option<Line>,
) -> Result<Option<Line>, Problem> {
    if first.is_some() {
        return Ok(first);
    }
    let shutdown = context.app.shutdown();
    tokio::select! {
        line = lines.next() => line,
        () = shutdown.wait() => {
            let detail = "the service is shutting down; send this line and those after it again";
            Err(Problem::new(Kind::Unavailable, detail).retry_after(2))
        }
    }
}

impl Context {
    fn too_many(&self) -> Problem {
        let max_lines = self.app.config().batch_max_lines;
        let detail = format!("a batch has at most {max_lines} lines; send the rest as another");
        Problem::new(Kind::TooLarge, detail)
    }

    /// Submits a line and gives its answer.
    async fn line(&self, index: usize, line: Line) -> Bytes {
        let Line::Whole(bytes) = line else {
            return self.refused(index, None, &self.too_long());
        };
        let envelope = Envelope::of(&bytes);
        let custom_id = envelope.custom_id.clone();
        match self.submit(index, bytes.clone(), envelope).await {
            Ok(submitted) => accepted(index, &submitted),
            Err(problem) => self.refused(index, custom_id.as_deref(), &problem),
        }
    }

    async fn submit(
        &self,
        index: usize,
        bytes: Bytes,
        envelope: Envelope,
    ) -> Result<Submitted, Problem> {
        let kind = envelope.kind?;
        let mut share = self.app.budget().share();
        // The line, and the numbers parsed from it.
        share.grow_to(bytes.len().saturating_mul(3)).await?;
        let length = bytes.len();
        let idempotency = self.idempotency_key.as_ref().map(|key| Idempotency {
            // Header values have no control characters: no key of a single request can be the same.
            key: format!("batch\0{key}\0{index}"),
            request_hash: Sha256Hex::of_parts([b"/v1/jobs/batch".as_slice(), &bytes]),
        });
        let (limits, request) = (self.limits.clone(), envelope.request);
        let work = move || {
            let text = request.as_deref().unwrap_or(&bytes);
            parse(Format::Json, text, Parameters::default(), &limits.size)
                .map_err(|error| limits.explain(error))
        };
        let parsed = if length <= DIRECT_BYTES {
            work()?
        } else {
            tokio::task::spawn_blocking(work).await.map_err(|_| {
                tracing::error!("reading a line panicked");
                let detail = "the line could not be read; it has been logged";
                Problem::new(Kind::Internal, detail)
            })??
        };
        share.shrink_to(4 * parsed.request.n() * parsed.request.d());
        let body = ReadBody {
            parsed,
            length,
            idempotency,
            digest: None,
            traceparent: self.traceparent.clone(),
            share,
        };
        accept(&self.app, &self.id, &self.caller, body, kind).await
    }

    fn too_long(&self) -> Problem {
        let max = self.app.config().batch_line_bytes;
        let detail = format!("a line has at most {max} bytes; send this job by itself");
        Problem::new(Kind::TooLarge, detail)
    }

    fn refused(&self, index: usize, custom_id: Option<&str>, problem: &Problem) -> Bytes {
        problem.count(self.app.metrics());
        write(&Refused {
            line: index,
            custom_id,
            status: problem.status().as_u16(),
            error: problem.document(&self.id.id, self.app.engine().now()),
        })
    }
}

/// The answer to a line that became a job.
#[derive(Serialize)]
struct Accepted<'a> {
    line: usize,
    custom_id: Option<&'a str>,
    status: u16,
    job_id: &'a str,
    kind: JobKind,
    /// An earlier request with this Idempotency-Key made the job.
    replayed: bool,
}

/// The answer to a line that did not.
#[derive(Serialize)]
struct Refused<'a> {
    line: usize,
    custom_id: Option<&'a str>,
    status: u16,
    error: Document<'a>,
}

fn accepted(index: usize, submitted: &Submitted) -> Bytes {
    write(&Accepted {
        line: index,
        custom_id: submitted.job.custom_id.as_deref(),
        status: 202,
        job_id: submitted.job.id.as_str(),
        kind: submitted.job.kind,
        replayed: submitted.replayed,
    })
}

fn write(answer: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// What a line says besides the request itself.
struct Envelope {
    custom_id: Option<String>,
    kind: Result<JobKind, Problem>,
    /// The request without `kind`; `None` when the line is the request.
    request: Option<Vec<u8>>,
}

impl Envelope {
    fn of(line: &[u8]) -> Self {
        // What is no JSON object is refused by the request's own parser, with the place of its error.
        let members =
            serde_json::from_slice::<Members<'_>>(line).map_or_else(|_| Vec::new(), |m| m.0);
        let mut kinds = members.iter().filter(|(name, _)| name == "kind");
        let kind = match (kinds.next(), kinds.next()) {
            (None, _) => Ok(JobKind::Settle),
            (Some(_), Some(_)) => Err(Problem::field("kind", "is given twice")),
            (Some((_, value)), None) => serde_json::from_str(value.get())
                .map_err(|_| Problem::field("kind", "must be settle, diffusion or chain")),
        };
        let custom_id = members.iter().find(|(name, _)| name == "custom_id");
        let custom_id = custom_id.and_then(|(_, value)| serde_json::from_str(value.get()).ok());
        let has_kind = members.iter().any(|(name, _)| name == "kind");
        Self {
            custom_id: custom_id.filter(|id: &String| id.len() <= MAX_ECHO_BYTES),
            kind,
            request: has_kind.then(|| without_kind(&members)),
        }
    }
}

/// Writes the members again, all but `kind`.
fn without_kind(members: &[(Cow<'_, str>, &RawValue)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in members.iter().filter(|(name, _)| name != "kind") {
        out.push(if out.is_empty() { b'{' } else { b',' });
        // A string always has a JSON form.
        out.extend(serde_json::to_vec(name).unwrap_or_default());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    out
}

/// An object's members as they stand, repetitions included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_taken_out_and_the_rest_stays_as_it_is() {
        let line = br#"{"custom_id": "a\u00e9", "kind" : "chain", "Y": [[1.50, 2]], "Y": 3}"#;
        let envelope = Envelope::of(line);
        assert_eq!(envelope.kind.unwrap(), JobKind::Chain);
        assert_eq!(envelope.custom_id.as_deref(), Some("a\u{e9}"));
        let request = String::from_utf8(envelope.request.unwrap()).unwrap();
        assert_eq!(
            request,
            "{\"custom_id\":\"a\\u00e9\",\"Y\":[[1.50, 2]],\"Y\":3}"
        );
    }

    #[test]
    fn lines_without_a_kind_or_form_go_on_as_they_are() {
        for line in ["{}", "{\"Y\": [[1]]}", "[", "nonsense", ""] {
            let envelope = Envelope::of(line.as_bytes());
            assert_eq!(envelope.kind.unwrap(), JobKind::Settle, "{line}");
            assert!(envelope.request.is_none());
        }
        for line in [
            "{\"kind\": 3}",
            "{\"kind\": \"lost\"}",
            "{\"kind\":\"chain\",\"kind\":\"chain\"}",
        ] {
            assert_eq!(
                Envelope::of(line.as_bytes()).kind.unwrap_err().status(),
                400
            );
        }
    }
}
