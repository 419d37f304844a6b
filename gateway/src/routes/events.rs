//! `GET /v1/jobs/{id}/events`: a job's states as server-sent events, until its end.
//!
//! An event tells the job as it is, so none has to be kept for clients that come back: with
//! `Last-Event-ID` the stream begins with the first state that differs from the one named. A stream
//! holds one event at a time; a client that does not read stops it, and is given up with its
//! connection.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use oscillink_domain::{Job, JobId, KeyId, KeyStatus};
use oscillink_ports::PortError;
use tokio::time::{Instant, sleep_until};

use super::views::JobView;
use crate::error::{Kind, Problem};
use crate::extract::{Caller, JobPath, no_such_job};
use crate::state::Gateway;

/// Pauses between looks: short after a change, longer when nothing happens.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A comment goes out when nothing else did for so long: proxies end silent connections.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Longest stream; the client comes back with its last event's id.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Failed looks in a row after which the stream ends.
const MAX_FAILURES: u32 = 5;
/// Streams of one key.
const MAX_PER_KEY: usize = 64;
/// Streams of one process.
const MAX_STREAMS: usize = 4_096;

/// `GET /v1/jobs/{id}/events`
pub async fn get(
    State(app): State<Gateway>,
    caller: Caller,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = app.engine().job(&caller.key_id, &id).await?;
    let job = job.ok_or_else(no_such_job)?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    if job.status.is_terminal() && last == Some(event_id(&job).as_str()) {
        // Tells browsers not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = app.streams().enter(&caller.key_id)?;
    let now = Instant::now();
    let stream = Stream {
        app,
        caller,
        id,
        seen: last.map(str::to_owned),
        started: false,
        ended: false,
        pause: FIRST_PAUSE,
        failures: 0,
        heartbeat_at: now + HEARTBEAT,
        ends_at: now + LIFETIME,
        _place: place,
    };
    let body = Body::from_stream(unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    }));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        // Proxies that collect answers would hold events back.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    Ok((headers, body).into_response())
}

struct Stream {
    app: Gateway,
    caller: Caller,
    id: JobId,
    /// Id of the last event that the client has.
    seen: Option<String>,
    started: bool,
    ended: bool,
    pause: Duration,
    failures: u32,
    heartbeat_at: Instant,
    ends_at: Instant,
    _place: Place,
}

impl Stream {
    /// The next piece to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.started, true) {
            return Some(Bytes::from_static(b"retry: 2000\n\n"));
        }
        loop {
            if self.ended || self.app.shutdown().has_begun() || Instant::now() >= self.ends_at {
                return None;
            }
            if let Some(event) = self.look().await? {
                self.pause = FIRST_PAUSE;
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Some(event);
            }
            let wake_at = (Instant::now() + self.pause).min(self.ends_at);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            tokio::select! {
                () = sleep_until(wake_at) => {}
                () = self.app.shutdown().wait() => return None,
            }
            if Instant::now() >= self.heartbeat_at {
                if !self.may_still_look().await {
                    return None;
                }
                self.heartbeat_at = Instant::now() + HEARTBEAT;
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }

    /// The job's state if the client does not have it; `None` outside ends the stream.
    async fn look(&mut self) -> Option<Option<Bytes>> {
        let engine = self.app.engine();
        let job = match engine.job(&self.caller.key_id, &self.id).await {
            Ok(Some(job)) => job,
            // Removed: its result had expired.
            Ok(None) => return None,
            Err(error) => return self.failed(&error).then_some(None),
        };
        self.failures = 0;
        let id = event_id(&job);
        self.ended = job.status.is_terminal();
        if self.seen.as_deref() == Some(id.as_str()) {
            return Some(None);
        }
        let event = write(&id, self.seen.as_deref(), &job);
        self.seen = Some(id);
        Some(Some(event))
    }

    /// Whether to look again after a failure.
    fn failed(&mut self, error: &PortError) -> bool {
        self.failures += 1;
        tracing::debug!(%error, "a look at a job failed");
        self.failures < MAX_FAILURES
    }

    /// A key that was stopped meanwhile sees no more.
    async fn may_still_look(&self) -> bool {
        match self.app.keys().find(&self.caller.key_hash).await {
            Ok(record) => record.is_some_and(|record| record.status == KeyStatus::Active),
            Err(_) => true,
        }
    }
}

/// Names a state: another state of the job has another id.
fn event_id(job: &Job) -> String {
    let progress = job.progress.map_or(String::new(), |p| {
        format!("-{}-{}", p.stage, (p.fraction * 1_000.0) as u32)
    });
    format!("{}-{}{progress}", job.generation, job.status)
}

/// A `progress` event where only progress changed, else a `status` event with the whole job.
fn write(id: &str, seen: Option<&str>, job: &Job) -> Bytes {
    let state = format!("{}-{}", job.generation, job.status);
    let same_state = seen.is_some_and(|seen| {
        let rest = seen.strip_prefix(state.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    let (name, data) = match job.progress {
        Some(progress) if same_state => ("progress", serde_json::to_string(&progress)),
        _ => ("status", serde_json::to_string(&JobView::of(job, None))),
    };
    // Both have a JSON form, without line ends.
    let data = data.unwrap_or_default();
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}

/// Counts the streams that are open.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_key: HashMap<KeyId, usize>,
}

impl Streams {
    /// A place for one more stream of `key_id`.
    fn enter(&self, key_id: &KeyId) -> Result<Place, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= MAX_STREAMS {
            let detail = "too many event streams are open; poll with ?wait=30, or try again";
            return Err(Problem::new(Kind::Saturated, detail).retry_after(5));
        }
        let own = open.by_key.entry(key_id.clone()).or_default();
        if *own >= MAX_PER_KEY {
            let detail = format!(
                "a key has at most {MAX_PER_KEY} event streams open at once; close one, or poll with \
                 ?wait=30"
            );
            return Err(Problem::new(Kind::RateLimited, detail).retry_after(5));
        }
        *own += 1;
        open.total += 1;
        Ok(Place {
            streams: self.clone(),
            key_id: key_id.clone(),
        })
    }
}

/// A place, given back when dropped.
struct Place {
    streams: Streams,
    key_id: KeyId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = self.streams.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(own) = open.by_key.get_mut(&self.key_id) {
            *own -= 1;
            if *own == 0 {
                open.by_key.remove(&self.key_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let streams = Streams::default();
        let (one, two) = (KeyId::from_random([1; 16]), KeyId::from_random([2; 16]));
        let places: Vec<_> = (0..MAX_PER_KEY).map(|_| streams.enter(&one)).collect();
        assert_eq!(
            streams.enter(&one).err().map(|p| p.status().as_u16()),
            Some(429)
        );
        assert!(streams.enter(&two).is_ok());
        drop(places);
        assert!(streams.enter(&one).is_ok());
        assert!(streams.open.lock().unwrap().by_key.is_empty());
    }
}
