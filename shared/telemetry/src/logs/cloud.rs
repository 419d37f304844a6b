//! One JSON object a line, with the fields that Cloud Logging gives a meaning of their own.

use std::io::Write as _;

use serde::Serialize;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use crate::context::{TraceParent, recorded};

/// The span's field that holds a caller's trace context; used while the process makes no traces.
const TRACEPARENT: &str = "traceparent";
/// The field that an event's text is in.
const MESSAGE: &str = "message";

/// Writes events with the fields of the spans around them.
pub(crate) struct Cloud<W> {
    project: Option<String>,
    writer: W,
}

impl<W> Cloud<W> {
    /// Lines that name their traces in `project`.
    pub(crate) fn new(project: Option<String>, writer: W) -> Self {
        Self { project, writer }
    }
}

impl<S, W> Layer<S> for Cloud<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::new();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut fields);
        let mut trace = recorded();
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(outer) = extensions.get::<Fields>() {
                fields.inherit(outer);
            }
            // That of a trace which is not recorded is kept beside its span.
            trace = trace.or_else(|| extensions.get().copied());
        }
        let line = self.line(event.metadata(), &fields, trace);
        // There is no one to tell that standard error is gone.
        let _ = self.writer.make_writer().write_all(&line);
    }
}

impl<W> Cloud<W> {
    fn line(
        &self,
        metadata: &Metadata<'_>,
        fields: &Fields,
        trace: Option<TraceParent>,
    ) -> Vec<u8> {
        let mut time = String::with_capacity(32);
        // Without a clock there is a line without a time.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut line = Line::begin(1024);
        line.put("severity", severity(metadata.level()));
        line.put("time", &time);
        if let Some(message) = fields.get(MESSAGE) {
            line.put_json(MESSAGE, message);
        }
        line.put("target", metadata.target());
        let told = match RequestFields::of(fields) {
            Some(http) => {
                http.put(&mut line);
                &RequestFields::NAMES[..]
            }
            None => &[],
        };
        let callers = fields.get(TRACEPARENT).and_then(callers);
        if let Some(trace) = trace.or(callers) {
            self.name_trace(&mut line, trace);
        }
        for (name, value) in fields.iter() {
            if name != MESSAGE && name != TRACEPARENT && !told.contains(&name) {
                line.put_json(name, value);
            }
        }
        line.end()
    }

    fn name_trace(&self, line: &mut Line, context: TraceParent) {
        let (trace_id, span_id) = (context.trace_id, context.span_id);
        let names = match &self.project {
            Some(project) => {
                let trace = format_args!("projects/{project}/traces/{trace_id:032x}");
                line.put("logging.googleapis.com/trace", trace);
                (
                    "logging.googleapis.com/spanId",
                    "logging.googleapis.com/trace_sampled",
                )
            }
            None => {
                line.put_hex("trace_id", &trace_id.to_be_bytes());
                ("span_id", "trace_sampled")
            }
        };
        line.put_hex(names.0, &span_id.to_be_bytes());
        line.put(names.1, context.sampled);
    }
}

fn callers(traceparent: &[u8]) -> Option<TraceParent> {
    let text: &str = serde_json::from_slice(traceparent).ok()?;
    TraceParent::parse(text)
}

/// What Cloud Logging shows of a request, for the line that tells its answer. The values are JSON.
struct RequestFields<'a> {
    status: &'a [u8],
    method: Option<&'a [u8]>,
    /// The pattern, since paths name jobs.
    route: Option<&'a [u8]>,
    seconds: f64,
}

impl<'a> RequestFields<'a> {
    const NAMES: [&'static str; 3] = [
        "http.response.status_code",
        "http.request.method",
        "http.route",
    ];

    fn of(fields: &'a Fields) -> Option<Self> {
        let milliseconds: f64 = serde_json::from_slice(fields.get("duration_ms")?).ok()?;
        let [status, method, route] = Self::NAMES.map(|name| fields.get(name));
        Some(Self {
            status: status?,
            method,
            route,
            seconds: milliseconds / 1e3,
        })
    }

    fn put(&self, line: &mut Line) {
        let mut inner = Line::begin(128);
        if let Some(method) = self.method {
            inner.put_json("requestMethod", method);
        }
        if let Some(route) = self.route {
            inner.put_json("requestUrl", route);
        }
        inner.put_json("status", self.status);
        inner.put("latency", format_args!("{:.6}s", self.seconds));
        line.put_json("httpRequest", &inner.close());
    }
}

const fn severity(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// An object being written. Names are the program's own: they need no escaping.
struct Line(Vec<u8>);

impl Line {
    fn begin(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(b'{');
        Self(bytes)
    }

    fn name(&mut self, name: &str) {
        let before: &[u8] = if self.0.len() > 1 { b",\"" } else { b"\"" };
        self.0.extend_from_slice(before);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn put(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        // Texts and numbers always have a form in JSON.
        let _ = serde_json::to_writer(&mut self.0, &value);
    }

    fn put_hex(&mut self, name: &str, value: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.name(name);
        self.0.push(b'"');
        for byte in value {
            let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
            self.0.extend_from_slice(&digits);
        }
        self.0.push(b'"');
    }

    fn put_json(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(value);
    }

    fn close(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn end(self) -> Vec<u8> {
        let mut bytes = self.close();
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(project: Option<&str>, events: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let cloud = Cloud::new(project.map(str::to_owned), move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(cloud);
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn answer() {
        let traceparent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            request_id = "req_1",
            http.request.method = "POST",
            http.route = "/v1/settle",
            http.response.status_code = tracing::field::Empty,
            traceparent,
            N = tracing::field::Empty,
        );
        span.record("N", 80);
        span.record("http.response.status_code", 200);
        span.in_scope(|| {
            tracing::warn!(error = %"quote \" and\nline", "within");
            tracing::info!(duration_ms = 1.5, "answered");
        });
        tracing::error!(N = 3, "outside");
    }

    #[test]
    fn lines_have_the_fields_of_cloud_logging_and_of_their_spans() {
        let lines = written(Some("p"), answer);
        let [within, answered, outside] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(within["severity"], "WARNING");
        assert_eq!(within["message"], "within");
        assert_eq!(within["error"], "quote \" and\nline");
        assert_eq!(within["http.route"], "/v1/settle");
        assert_eq!(answered["severity"], "INFO");
        assert!(
            answered["time"].as_str().unwrap().ends_with('Z'),
            "{answered}"
        );
        assert_eq!(
            (&answered["N"], &answered["request_id"]),
            (&json!(80), &json!("req_1"))
        );
        assert_eq!(
            answered["httpRequest"],
            json!({"requestMethod": "POST", "requestUrl": "/v1/settle", "status": 200, "latency": "0.001500s"})
        );
        assert_eq!(answered["duration_ms"], 1.5);
        assert_eq!(
            answered["logging.googleapis.com/trace"],
            format!("projects/p/traces/{TRACE_ID}")
        );
        assert_eq!(
            answered["logging.googleapis.com/spanId"],
            "00f067aa0ba902b7"
        );
        assert_eq!(answered["logging.googleapis.com/trace_sampled"], true);
        for absent in [
            "otel.kind",
            "traceparent",
            "http.route",
            "http.response.status_code",
        ] {
            assert!(answered.get(absent).is_none(), "{absent} in {answered}");
        }
        assert_eq!(
            (&outside["severity"], &outside["N"]),
            (&json!("ERROR"), &json!(3))
        );
        assert!(outside.get("logging.googleapis.com/trace").is_none());
    }

    #[test]
    fn without_a_project_the_trace_has_plain_names() {
        let lines = written(None, answer);
        assert_eq!(lines[1]["trace_id"], TRACE_ID);
        assert_eq!(lines[1]["span_id"], "00f067aa0ba902b7");
    }
}
