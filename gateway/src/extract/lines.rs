//! A body of lines (NDJSON), read one at a time: each line, their number and the whole are bounded.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use oscillink_wire::decode_limited;
use tokio::time::{Instant, timeout_at};

use super::body::{ReadLimits, read};
use super::inbound::{Inbound, encoding, idempotency_key, traceparent};
use crate::budget::Share;
use crate::error::{Kind, Problem};
use crate::state::Gateway;

/// Longest pause between two pieces of the body.
const IDLE: Duration = Duration::from_secs(15);
/// Lines are read as jobs are accepted, so the whole may take longer than other bodies.
const PATIENCE: u32 = 10;

/// A batch whose lines have not been read.
#[derive(Debug)]
pub struct Batch {
    /// The lines.
    pub lines: Lines,
    /// Makes repeats of the whole batch harmless.
    pub idempotency_key: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// One line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes, without the line's end.
    Whole(Bytes),
    /// Longer than a line may be; its bytes are gone.
    TooLong,
}

/// Reads lines.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line's end.
    scanned: usize,
    /// The present line is too long: nothing of it is kept.
    discarding: bool,
    received: usize,
    max_line_bytes: usize,
    max_bytes: usize,
    deadline: Instant,
    /// The memory that the buffer takes.
    _share: Share,
}

impl Inbound {
    /// The body as lines.
    ///
    /// # Errors
    /// Of another type, or too large by its own account.
    pub async fn into_lines(self, app: &Gateway) -> Result<Batch, Problem> {
        let config = app.config();
        check_media(&self)?;
        let idempotency_key = idempotency_key(&self.headers)?;
        let traceparent = traceparent(&self.headers).map(str::to_owned);
        let limits = ReadLimits::batch(config);
        let mut share = app.budget().share();
        let body = match encoding(&self.headers)? {
            None => {
                share.grow_to(config.batch_line_bytes).await?;
                self.body
            }
            Some(encoding) => {
                let bytes = read(self.body, &self.headers, &limits, config, &mut share).await?;
                share.grow_to(bytes.len() + limits.max_bytes).await?;
                let unfolded = decode_limited(encoding, &bytes, limits.max_bytes);
                let unfolded = unfolded.map_err(|e| limits.explain(e))?;
                share.shrink_to(unfolded.len());
                Body::from(unfolded)
            }
        };
        let lines = Lines {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
            discarding: false,
            received: 0,
            max_line_bytes: config.batch_line_bytes,
            max_bytes: limits.max_bytes,
            deadline: Instant::now() + config.body_timeout * PATIENCE,
            _share: share,
        };
        Ok(Batch {
            lines,
            idempotency_key,
            traceparent,
        })
    }
}

fn check_media(inbound: &Inbound) -> Result<(), Problem> {
    let Some(value) = inbound.headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let known = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/octet-stream",
    ];
    if known.iter().any(|name| name.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let detail = "a batch is application/x-ndjson: one JSON object a line";
    Err(Problem::new(Kind::UnsupportedMediaType, detail))
}

impl Lines {
    /// The next line that is not empty; `None` at the end.
    ///
    /// # Errors
    /// The body is too large, too slow or broken: there are no further lines.
    pub async fn next(&mut self) -> Result<Option<Line>, Problem> {
        loop {
            while let Some(line) = self.take_line() {
                if !is_blank(&line) {
                    return Ok(Some(line));
                }
            }
            if !self.fill().await? {
                return Ok(self.last_line());
            }
        }
    }

    /// A line that the buffer holds whole.
    fn take_line(&mut self) -> Option<Line> {
        let fresh = self.buffer.get(self.scanned..)?;
        let Some(place) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            if self.scanned > self.max_line_bytes {
                self.discarding = true;
            }
            if self.discarding {
                self.buffer.clear();
                self.scanned = 0;
            }
            return None;
        };
        let length = self.scanned + place;
        let line = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        self.scanned = 0;
        if std::mem::take(&mut self.discarding) || length > self.max_line_bytes {
            return Some(Line::TooLong);
        }
        Some(Line::Whole(line))
    }

    /// What stands behind the last line's end.
    fn last_line(&mut self) -> Option<Line> {
        self.scanned = 0;
        let line = Line::Whole(self.buffer.split().freeze());
        if std::mem::take(&mut self.discarding) {
            return Some(Line::TooLong);
        }
        Some(line).filter(|line| !is_blank(line))
    }

    /// Takes more of the body; `false` at its end.
    async fn fill(&mut self) -> Result<bool, Problem> {
        let deadline = self.deadline.min(Instant::now() + IDLE);
        let frame = match timeout_at(deadline, self.body.frame()).await {
            Err(_) => {
                let detail = "the batch did not arrive in time, or paused too long";
                return Err(Problem::new(Kind::RequestTimeout, detail));
            }
            Ok(None) => return Ok(false),
            Ok(Some(Err(_))) => {
                let detail = "the body ended before it was complete";
                return Err(Problem::field("body", detail));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            return Ok(true);
        };
        self.received = self.received.saturating_add(data.len());
        if self.received > self.max_bytes {
            let detail = format!("a batch has at most {} bytes; send several", self.max_bytes);
            return Err(Problem::new(Kind::TooLarge, detail));
        }
        self.buffer.extend_from_slice(&data);
        Ok(true)
    }
}

fn is_blank(line: &Line) -> bool {
    matches!(line, Line::Whole(bytes) if bytes.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::iter;

    use super::*;
    use crate::budget::Budget;

    fn lines(pieces: &[&'static str], max_line_bytes: usize, max_bytes: usize) -> Lines {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|text| Ok::<_, Infallible>(*text))
            .collect();
        Lines {
            body: Body::from_stream(iter(pieces)),
            buffer: BytesMut::new(),
            scanned: 0,
            discarding: false,
            received: 0,
            max_line_bytes,
            max_bytes,
            deadline: Instant::now() + Duration::from_secs(60),
            _share: Budget::new(1).share(),
        }
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let mut lines = lines(&["{\"a", "\"}\n\n  \r\nx", "y\n", "last"], 100, 100);
        let mut seen = Vec::new();
        while let Some(Line::Whole(line)) = lines.next().await.unwrap() {
            seen.push(line);
        }
        assert_eq!(seen, ["{\"a\"}", "xy", "last"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_itself_only() {
        let mut lines = lines(
            &["aaaa", "aaaa\nok\n", "bbbbbbbbb\nok\ncccccccc", "c"],
            6,
            100,
        );
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(line);
        }
        let ok = Line::Whole(Bytes::from_static(b"ok"));
        let expected = [Line::TooLong, ok.clone(), Line::TooLong, ok, Line::TooLong];
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn the_whole_is_bounded() {
        let mut lines = lines(&["a\n", "bb\n"], 6, 4);
        assert!(lines.next().await.unwrap().is_some());
        assert_eq!(lines.next().await.unwrap_err().status(), 413);
    }
}
