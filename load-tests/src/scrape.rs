//! The service's own gauges, read from `/metrics` while the load runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::http::Client;

/// Gauges followed at most.
const MAX_SERIES: usize = 64;

/// A gauge over time: seconds from the run's start, and values.
pub type Points = Vec<(f64, f64)>;

/// Gauges over time.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// By name and labels.
    pub series: BTreeMap<String, Points>,
    /// Reads that failed.
    pub failures: u64,
}

impl Gauges {
    /// Reads once.
    pub async fn read(client: &Client, admin_secret: Option<&str>) -> Option<Vec<(String, f64)>> {
        let mut request = client.request(http::Method::GET, "/metrics");
        if let Some(secret) = admin_secret {
            request = request.header("x-admin-secret", secret);
        }
        let request = request.body(http_body_util::Full::default()).ok()?;
        let answer = client.call(request).await.ok()?;
        let text = std::str::from_utf8(&answer.body).ok()?;
        answer.status.is_success().then(|| gauges(text))
    }

    /// Notes what was read at a time.
    pub fn note(&mut self, at_s: f64, read: Option<Vec<(String, f64)>>) {
        let Some(values) = read else {
            self.failures += 1;
            return;
        };
        for (name, value) in values {
            self.add(name, at_s, value);
        }
    }

    /// Notes one value.
    pub fn add(&mut self, name: String, at_s: f64, value: f64) {
        let room = self.series.len() < MAX_SERIES;
        if room || self.series.contains_key(&name) {
            self.series.entry(name).or_default().push((at_s, value));
        }
    }
}

/// Gauges in a text of Prometheus' format.
fn gauges(text: &str) -> Vec<(String, f64)> {
    let mut names = BTreeSet::new();
    let mut values = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            if let Some(name) = rest.strip_suffix(" gauge") {
                names.insert(name);
            }
            continue;
        }
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = series.split('{').next().unwrap_or(series);
        if let (true, Ok(value)) = (names.contains(name), value.parse()) {
            values.push((series.to_owned(), value));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    #[test]
    fn gauges_are_found_and_counters_left() {
        let text =
            "# TYPE a_depth gauge\na_depth{queue=\"settle\"} 3\n# TYPE b counter\nb_total 7\n";
        let expected = vec![("a_depth{queue=\"settle\"}".to_owned(), 3.0)];
        assert_eq!(super::gauges(text), expected);
    }
}
