//! What every Prometheus client tells of its process, read when metrics are scraped.

use std::fmt;
use std::fs;
use std::sync::LazyLock;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// When the first registry was made, which is when the process began to serve.
static STARTED: LazyLock<f64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
});

/// Encodes the process's figures. Outside Linux there is its start only.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// Figures of `/proc/self`.
struct Figures {
    cpu_seconds: f64,
    resident_bytes: u64,
    threads: u64,
    open_files: u64,
}

impl Figures {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything; the fields come behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        let (user, system) = (number(11)?, number(12)?);
        let pages = number(21)?;
        Some(Self {
            cpu_seconds: (user + system) as f64 / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: pages * rustix::param::page_size() as u64,
            threads: number(17)?,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        })
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let start = ConstGauge::new(*STARTED);
        let metric = encoder.encode_descriptor(
            "process_start_time",
            "When the process began to serve, Unix time",
            Some(&Unit::Seconds),
            start.metric_type(),
        )?;
        start.encode(metric)?;
        let Some(figures) = Figures::read() else {
            return Ok(());
        };
        let cpu = ConstCounter::new(figures.cpu_seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu",
            "Processor time of the process",
            Some(&Unit::Seconds),
            cpu.metric_type(),
        )?;
        cpu.encode(metric)?;
        let gauges = [
            (
                "process_resident_memory",
                "Memory in use",
                Some(Unit::Bytes),
                figures.resident_bytes,
            ),
            ("process_threads", "Threads", None, figures.threads),
            (
                "process_open_fds",
                "Open file descriptors",
                None,
                figures.open_files,
            ),
        ];
        for (name, help, unit, value) in gauges {
            let gauge = ConstGauge::new(value);
            let metric =
                encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
