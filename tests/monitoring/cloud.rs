//! Google Cloud Monitoring: dashboard and alert policies, made from Grafana's dashboard and
//! Prometheus' rules, so that there is one source of each. Recording rules are written out, for Cloud
//! Run has nothing that would evaluate them.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::prometheus::Prometheus;
use crate::{dashboard as grafana, files};

const DASHBOARD: &str = "infra/monitoring/cloud/dashboard.json";
const POLICIES: &str = "infra/monitoring/cloud/alert-policies.json";
/// Columns of Cloud Monitoring's mosaic for one of Grafana's.
const COLUMNS: u64 = 2;

/// Name and expression of each recording rule, as the file has them.
fn recorded() -> Vec<(String, String)> {
    let rules = files::text("infra/monitoring/prometheus/rules/recording.yml");
    let after = |name: &'static str| {
        rules
            .lines()
            .filter_map(move |line| Some(line.trim().strip_prefix(name)?.trim().to_owned()))
    };
    let pairs: Vec<_> = after("- record:").zip(after("expr:")).collect();
    assert!(pairs.len() >= 10);
    pairs
}

fn written_out(expression: &str) -> String {
    let rules = recorded().into_iter();
    rules.fold(expression.to_owned(), |text, (name, meaning)| {
        text.replace(&name, &format!("({meaning})"))
    })
}

/// Cloud Monitoring's unit (of UCUM) for one of Grafana's.
fn unit(grafana: &str) -> &'static str {
    match grafana {
        "s" => "s",
        "ms" => "ms",
        "bytes" => "By",
        "percentunit" => "10^2.%",
        "reqps" | "ops" => "1/s",
        _ => "1",
    }
}

fn widget(panel: &Value) -> Value {
    let unit = unit(panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap());
    let query = |target: &Value| {
        let query = written_out(target["expr"].as_str().unwrap());
        json!({"prometheusQuery": query, "unitOverride": unit})
    };
    let targets = panel["targets"].as_array().unwrap();
    if panel["type"] == "stat" {
        let scorecard = json!({"timeSeriesQuery": query(&targets[0]), "sparkChartView": {"sparkChartType": "SPARK_LINE"}});
        return json!({"title": panel["title"], "scorecard": scorecard});
    }
    let stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal";
    let kind = if stacked { "STACKED_AREA" } else { "LINE" };
    let sets: Vec<Value> = targets
        .iter()
        .map(|target| {
            let legend = target["legendFormat"].as_str().unwrap();
            let legend = legend.replace("{{", "${metric.labels.").replace("}}", "}");
            json!({"timeSeriesQuery": query(target), "plotType": kind, "targetAxis": "Y1", "legendTemplate": legend})
        })
        .collect();
    json!({"title": panel["title"], "xyChart": {"dataSets": sets, "yAxis": {"scale": "LINEAR"}}})
}

/// Cloud Monitoring's dashboard shows the panels of Grafana's.
pub fn dashboard() {
    let tiles: Vec<Value> = grafana::panels()
        .iter()
        .map(|panel| {
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            json!({
                "xPos": at("x") * COLUMNS, "yPos": at("y") * COLUMNS,
                "width": at("w") * COLUMNS, "height": at("h") * COLUMNS,
                "widget": widget(panel),
            })
        })
        .collect();
    let layout = json!({"columns": 24 * COLUMNS, "tiles": tiles});
    files::same(
        DASHBOARD,
        &json!({"displayName": "Oscillink Cloud", "mosaicLayout": layout}),
    );
}

/// Cloud Monitoring's policies are Prometheus' alerts.
pub fn policies() {
    let prometheus = Prometheus::start(None);
    let source = files::text("infra/monitoring/prometheus/rules/alerts.yml");
    let mut policies = Map::new();
    for alert in prometheus.rules("alerting") {
        let name = alert["name"].as_str().unwrap();
        let seconds = alert["duration"].as_f64().unwrap();
        assert!(source.contains(name) && seconds % 30.0 == 0.0, "{name}");
        let runbook = alert["annotations"]["runbook_url"].as_str().unwrap();
        let pages = alert["labels"]["severity"] == "page";
        let policy = json!({
            "severity": if pages { "CRITICAL" } else { "WARNING" },
            "query": written_out(alert["query"].as_str().unwrap()),
            "duration": format!("{seconds:.0}s"),
            "documentation": format!("What to do: {runbook}"),
        });
        policies.insert(name.to_owned(), policy);
    }
    files::same(POLICIES, &policies.into());
}

/// Every expression of both.
pub fn expressions() -> Vec<String> {
    let mut found = Vec::new();
    collect(&files::json(DASHBOARD), &mut found);
    collect(&files::json(POLICIES), &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == "query" || name == "prometheusQuery" => {
                        found.push(text.to_owned())
                    }
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Terraform's files are in its own format; that they parse is part of it.
pub fn terraform() {
    let output = Command::new("terraform")
        .args(["fmt", "-check", "-diff", "-recursive"])
        .arg(files::at("infra/terraform"))
        .env_remove("TF_CLI_CONFIG_FILE")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
