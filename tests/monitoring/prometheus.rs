//! A Prometheus of the test's own, on a port that is free, and what it answers.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files;
use crate::support::{DEADLINE, eventually};

/// A running Prometheus with our rules.
pub struct Prometheus {
    child: Child,
    url: String,
    http: Client,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it; `target` is scraped and the rules are evaluated every second.
    pub fn start(target: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, log) = (dir.path().join("prometheus.yml"), dir.path().join("log"));
        let scrapes: Vec<Value> = target
            .iter()
            .map(|target| json!({"job_name": "oscillink", "static_configs": [{"targets": [target]}]}))
            .collect();
        // JSON is YAML.
        let text = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": files::rules(),
            "scrape_configs": scrapes,
        });
        fs::write(&config, text.to_string()).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let url = eventually("Prometheus' start", || {
            let said = fs::read_to_string(&log).unwrap();
            assert!(
                child.try_wait().unwrap().is_none(),
                "Prometheus ended: {said}"
            );
            let line = said
                .lines()
                .find(|line| line.contains("\"Listening on\""))?;
            Some(format!("http://{}", line.rsplit_once("address=")?.1))
        });
        let this = Self {
            child,
            url,
            http: Client::builder().timeout(DEADLINE).build().unwrap(),
            _dir: dir,
        };
        eventually("Prometheus' readiness", || {
            let ready = this.http.get(format!("{}/-/ready", this.url)).send();
            ready
                .is_ok_and(|answer| answer.status().is_success())
                .then_some(())
        });
        this
    }

    /// An answer's data; what it says about a mistake ends the test.
    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), parameters);
        let answer = self.http.get(url.unwrap()).send().unwrap();
        let mut body: Value = answer.json().unwrap();
        assert_eq!(body["status"], "success", "{path} {parameters:?}: {body}");
        assert_eq!(body["warnings"], Value::Null, "{path} {parameters:?}");
        body["data"].take()
    }

    /// The values of a label; `__name__` is the metrics' names.
    pub fn values_of(&self, label: &str) -> Vec<String> {
        let values = self.ask(&format!("/api/v1/label/{label}/values"), &[]);
        serde_json::from_value(values).unwrap()
    }

    /// Every rule of a type, `recording` or `alerting`.
    pub fn rules(&self, kind: &str) -> Vec<Value> {
        let groups = self.ask("/api/v1/rules", &[]);
        let groups = groups["groups"].as_array().unwrap().clone();
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap());
        rules.filter(|rule| rule["type"] == kind).cloned().collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Gone already: an error that does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
