//! One JSON object a line, with the fields that Cloud Logging gives a meaning of their own.

use std::fmt;
use std::io::Write as _;

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::is_for_traces;
use crate::context::{TraceParent, current};

/// The span's field that holds a caller's trace context; used while the process makes no traces.
const TRACEPARENT: &str = "traceparent";

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

/// Fields of a span or an event. There are few: looking through them is quicker than a map.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl<S, W> Layer<S> for Cloud<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut fields = Fields::default();
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        let line = self.line(event.metadata(), fields);
        // There is no one to tell that standard error is gone.
        let _ = self.writer.make_writer().write_all(&line);
    }
}

impl<W> Cloud<W> {
    fn line(&self, metadata: &Metadata<'_>, mut fields: Fields) -> Vec<u8> {
        let mut time = String::with_capacity(32);
        // Without a clock there is a line without a time.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut line = Line::begin();
        line.put("severity", &Value::from(severity(metadata.level())));
        line.put("time", &Value::from(time));
        if let Some(message) = fields.take("message") {
            line.put("message", &message);
        }
        line.put("target", &Value::from(metadata.target()));
        if let Some(http) = http_request(&mut fields) {
            line.put("httpRequest", &http);
        }
        let callers = fields.take(TRACEPARENT);
        let callers = callers.and_then(|text| TraceParent::parse(text.as_str()?));
        if let Some(trace) = current().or(callers) {
            self.name_trace(&mut line, trace);
        }
        for (name, value) in &fields.0 {
            line.put(name, value);
        }
        line.end()
    }

    fn name_trace(&self, line: &mut Line, context: TraceParent) {
        let span_id = format!("{:016x}", context.span_id);
        let names = match &self.project {
            Some(project) => {
                let trace = format!("projects/{project}/traces/{:032x}", context.trace_id);
                line.put("logging.googleapis.com/trace", &Value::from(trace));
                (
                    "logging.googleapis.com/spanId",
                    "logging.googleapis.com/trace_sampled",
                )
            }
            None => {
                let trace = format!("{:032x}", context.trace_id);
                line.put("trace_id", &Value::from(trace));
                ("span_id", "trace_sampled")
            }
        };
        line.put(names.0, &Value::from(span_id));
        line.put(names.1, &Value::from(context.sampled));
    }
}

/// What Cloud Logging shows of a request, for the line that tells its answer.
fn http_request(fields: &mut Fields) -> Option<Value> {
    const STATUS: &str = "http.response.status_code";
    let seconds = fields.get("duration_ms")?.as_f64()? / 1e3;
    let status = fields.take(STATUS)?;
    Some(json!({
        "requestMethod": fields.take("http.request.method"),
        // The pattern, since paths name jobs.
        "requestUrl": fields.take("http.route"),
        "status": status,
        "latency": format!("{seconds:.6}s"),
    }))
}

const fn severity(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// A line being written.
struct Line(Vec<u8>);

impl Line {
    fn begin() -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.push(b'{');
        Self(bytes)
    }

    fn put(&mut self, name: &str, value: &Value) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        // Texts and numbers always have a form in JSON.
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend(b"}\n");
        self.0
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if is_for_traces(name) {
            return;
        }
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(place).1)
    }

    /// Adds an outer span's fields; the inner value of a name stands.
    fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

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
