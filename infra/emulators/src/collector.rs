//! A collector of OpenTelemetry traces: it takes what a program exports over OTLP and keeps it to be
//! looked at.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span as Exported, span::SpanKind};
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Span {
    /// The service that it is of.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: &'static str,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The same of the span above it; empty for none.
    pub parent_id: String,
    /// What it tells, as text.
    pub attributes: BTreeMap<String, String>,
    /// Its duration, nanoseconds.
    pub nanos: u64,
}

/// A running collector. It ends with the value.
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Kept>,
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Kept(Mutex<Vec<ExportTraceServiceRequest>>);

impl Collector {
    /// Starts on a free port, on a thread of its own.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let kept = Arc::new(Kept::default());
        let service = TraceServiceServer::from_arc(Arc::clone(&kept));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let incoming = TcpIncoming::from(listener);
            let served = Server::builder()
                .add_service(service)
                // An error means that the collector is gone, which ends it as well.
                .serve_with_incoming_shutdown(incoming, async { drop(stopped.await) });
            served.await.map_err(io::Error::other)
        };
        std::thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            address,
            kept,
            _stop: stop,
        })
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.kept.requests();
        let of_services = requests.iter().flat_map(|request| &request.resource_spans);
        of_services
            .flat_map(|one| {
                let attributes = one.resource.iter().flat_map(|r| &r.attributes);
                let attributes = texts(attributes);
                let service = attributes.get("service.name").cloned().unwrap_or_default();
                let spans = one.scope_spans.iter().flat_map(|scope| &scope.spans);
                spans.map(move |span| read(&service, span))
            })
            .collect()
    }

    /// Everything that came, as text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:?}", self.kept.requests())
    }
}

impl Kept {
    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(service: &str, span: &Exported) -> Span {
    Span {
        service: service.to_owned(),
        name: span.name.clone(),
        kind: match span.kind() {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
            SpanKind::Internal | SpanKind::Unspecified => "internal",
        },
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        attributes: texts(&span.attributes),
        nanos: span
            .end_time_unix_nano
            .saturating_sub(span.start_time_unix_nano),
    }
}

fn texts<'a>(attributes: impl IntoIterator<Item = &'a KeyValue>) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        any_value::Value::BoolValue(value) => value.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|pair| {
            let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
            (pair.key.clone(), value.map(text).unwrap_or_default())
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
