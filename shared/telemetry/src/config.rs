//! Settings of logs and traces. Traces have the variables that every OpenTelemetry program has.

use std::time::Duration;

use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use tracing_subscriber::EnvFilter;
use url::Url;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line, in the form of Cloud Logging.
    Json,
    /// For people.
    Human,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            _ => Err("it is auto, json or human"),
        }
    }
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// A caller that decided is followed.
    pub parent_based: bool,
    /// Part of the other traces that is recorded, 0 to 1.
    pub ratio: f64,
}

/// Where traces go.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    /// The collector, OTLP over gRPC.
    pub endpoint: Url,
    /// The service's name in traces.
    pub service_name: String,
    /// Which are recorded.
    pub sampler: Sampler,
    /// Longest time of one export.
    pub timeout: Duration,
    /// Spans that wait for export at the most; more are dropped.
    pub max_queue: usize,
    /// Spans of one export at the most.
    pub max_batch: usize,
    /// Longest wait of a span for its export.
    pub delay: Duration,
}

/// Settings of logs and traces.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which lines are written, in the syntax of `RUST_LOG`.
    pub filter: String,
    /// Their form.
    pub format: LogFormat,
    /// Google Cloud project that log lines name their traces in.
    pub project: Option<String>,
    /// Where traces go; nowhere if not given.
    pub traces: Option<TraceConfig>,
}

/// Part of the traces recorded when neither caller nor operator decides. One in ten shows what is
/// slow and costs next to nothing.
const DEFAULT_RATIO: f64 = 0.1;

impl Config {
    /// From variables; `service` names the process in traces unless a variable does.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn from_lookup(variables: &Variables<'_>, service: &str) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let config = Self {
            filter: filter(&mut read),
            format: read.parsed("OSCILLINK_LOG_FORMAT", LogFormat::Auto),
            project: ["GOOGLE_CLOUD_PROJECT", "FIRESTORE_PROJECT"]
                .into_iter()
                .find_map(|name| read.text(name)),
            traces: traces(&mut read, service),
        };
        read.finish(config)
    }
}

fn filter(read: &mut Lookup<'_>) -> String {
    for name in ["OSCILLINK_LOG", "RUST_LOG"] {
        let Some(text) = read.text(name) else {
            continue;
        };
        if let Err(error) = EnvFilter::try_new(&text) {
            read.refuse(name, format_args!("cannot be used: {error}"));
        }
        return text;
    }
    "info".to_owned()
}

fn traces(read: &mut Lookup<'_>, service: &str) -> Option<TraceConfig> {
    let off = read.flag("OTEL_SDK_DISABLED", false);
    let exporter = one_of(read, "OTEL_TRACES_EXPORTER", &["otlp", "none"]);
    let endpoint = endpoint(read);
    if off || exporter == Some("none") {
        return None;
    }
    let endpoint = endpoint?;
    for name in [
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    ] {
        one_of(read, name, &["grpc"]);
    }
    let millis = |read: &mut Lookup<'_>, name, default| {
        let default = Duration::from_millis(default);
        let value = read.millis(name, default);
        if value.is_zero() {
            read.refuse(name, "must be at least 1 millisecond");
        }
        value
    };
    let max_queue = read.count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048);
    let max_batch = read.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512.min(max_queue));
    if max_batch > max_queue {
        let detail = "must not be above OTEL_BSP_MAX_QUEUE_SIZE";
        read.refuse("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", detail);
    }
    Some(TraceConfig {
        endpoint,
        service_name: read
            .text("OTEL_SERVICE_NAME")
            .unwrap_or_else(|| service.to_owned()),
        sampler: sampler(read),
        timeout: millis(read, "OTEL_EXPORTER_OTLP_TIMEOUT", 10_000),
        max_queue,
        max_batch,
        delay: millis(read, "OTEL_BSP_SCHEDULE_DELAY", 5_000),
    })
}

fn endpoint(read: &mut Lookup<'_>) -> Option<Url> {
    for name in [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        if read.text(name).is_none() {
            continue;
        }
        let url = read.optional::<Url>(name)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            read.refuse(name, "must be an address such as http://127.0.0.1:4317");
        }
        return Some(url);
    }
    None
}

fn sampler(read: &mut Lookup<'_>) -> Sampler {
    const NAME: &str = "OTEL_TRACES_SAMPLER";
    const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
    let mut ratio: f64 = read.parsed(ARGUMENT, DEFAULT_RATIO);
    if !(0.0..=1.0).contains(&ratio) {
        read.refuse(ARGUMENT, "must be between 0 and 1");
        ratio = DEFAULT_RATIO;
    }
    let kinds = [
        ("parentbased_traceidratio", true, ratio),
        ("parentbased_always_on", true, 1.0),
        ("parentbased_always_off", true, 0.0),
        ("traceidratio", false, ratio),
        ("always_on", false, 1.0),
        ("always_off", false, 0.0),
    ];
    let names = kinds.map(|(name, ..)| name);
    let chosen = one_of(read, NAME, &names).unwrap_or(names[0]);
    let found = kinds.iter().find(|(name, ..)| *name == chosen);
    let (_, parent_based, ratio) = *found.unwrap_or(&kinds[0]);
    Sampler {
        parent_based,
        ratio,
    }
}

/// The variable's value if it is one of `known`, which it must be.
fn one_of<'k>(read: &mut Lookup<'_>, name: &str, known: &[&'k str]) -> Option<&'k str> {
    let text = read.text(name)?;
    let found = known.iter().find(|value| **value == text).copied();
    if found.is_none() {
        read.refuse(name, format_args!("must be one of: {}", known.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = |name: &str| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Config::from_lookup(&variables, "oscillink")
    }

    const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    #[test]
    fn traces_are_on_when_there_is_somewhere_to_send_them() {
        assert!(with(&[]).unwrap().traces.is_none());
        let on = with(&[COLLECTOR]).unwrap().traces.unwrap();
        assert_eq!(on.service_name, "oscillink");
        assert!(on.sampler.parent_based && on.sampler.ratio < 1.0);
        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert!(with(&[COLLECTOR, off]).unwrap().traces.is_none());
        }
        let all = with(&[COLLECTOR, ("OTEL_TRACES_SAMPLER", "always_on")]);
        let sampler = all.unwrap().traces.unwrap().sampler;
        assert_eq!((sampler.parent_based, sampler.ratio), (false, 1.0));
    }

    #[test]
    fn failures_name_the_variable() {
        for (name, value) in [
            ("OSCILLINK_LOG", "oscillink=loud"),
            ("OSCILLINK_LOG_FORMAT", "xml"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://here"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "some"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3000"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_SDK_DISABLED", "perhaps"),
        ] {
            let error = with(&[(name, value), COLLECTOR]).unwrap_err().to_string();
            assert!(error.contains(name), "{name}={value}: {error}");
        }
    }
}
