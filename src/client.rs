//! The API's client: one method per route that the command line uses, errors as exit codes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use oscillink_domain::ApiKey;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::data_dir;
use crate::exit::{Exit, Failure};

/// Where the server is and who asks.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// The server
    #[arg(
        long,
        env = "OSCILLINK_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_parser = server_address,
        help_heading = "Server"
    )]
    server: Url,
    /// The API key [default: the key that a server on this machine keeps in its data folder]
    #[arg(
        long,
        env = "OSCILLINK_API_KEY",
        value_name = "KEY",
        hide_env_values = true,
        help_heading = "Server"
    )]
    api_key: Option<String>,
    /// Data folder of a server on this machine
    #[arg(
        long,
        env = "OSCILLINK_DATA_DIR",
        value_name = "FOLDER",
        help_heading = "Server"
    )]
    data_dir: Option<PathBuf>,
}

impl ServerArgs {
    /// A client for these arguments.
    pub fn client(&self) -> Result<Client> {
        let key = match self.api_key.as_deref() {
            Some(text) if !text.is_empty() => {
                let key = ApiKey::parse(text);
                Some(key.ok_or_else(|| Failure::usage("the API key is not of a key's form"))?)
            }
            _ if is_local(&self.server) => {
                data_dir::dev_key(&data_dir::resolve(self.data_dir.clone()))
            }
            _ => None,
        };
        let key = key.ok_or_else(|| {
            Failure::new(
                Exit::Refused,
                "no API key: give --api-key or set OSCILLINK_API_KEY",
            )
        })?;
        Client::new(self.server.clone(), &key)
    }
}

/// An address that the client can speak to.
fn server_address(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("the scheme must be http or https, not {other}")),
    }
}

fn is_local(server: &Url) -> bool {
    match server.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

/// A job as the API shows it, the parts that are shown in tables.
#[derive(Clone, Debug, Deserialize)]
pub struct JobView {
    /// Identity.
    pub job_id: String,
    /// What it computes.
    #[serde(default)]
    pub kind: String,
    /// Where it stands.
    pub status: String,
    /// When it was accepted.
    #[serde(default)]
    pub created: Option<String>,
    /// When it ended.
    #[serde(default)]
    pub completed: Option<String>,
    /// N·D.
    #[serde(default)]
    pub units: Option<u64>,
    /// How far it is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<JobError>,
}

/// How far a job is.
#[derive(Clone, Debug, Deserialize)]
pub struct Progress {
    /// The stage at work.
    pub stage: String,
    /// Fraction of that stage.
    pub fraction: f64,
}

/// Why a job failed.
#[derive(Clone, Debug, Deserialize)]
pub struct JobError {
    /// For people.
    #[serde(default)]
    pub detail: String,
}

impl JobView {
    /// From the API's answer.
    pub fn of(body: &Value) -> Result<Self> {
        Self::deserialize(body).context("the server's answer is not a job")
    }

    /// Whether it will not change any more.
    pub fn is_terminal(&self) -> bool {
        !matches!(self.status.as_str(), "queued" | "running")
    }
}

/// A client of one server with one key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the server at `base`.
    pub fn new(base: Url, key: &ApiKey) -> Result<Self> {
        let mut value =
            HeaderValue::from_str(key.reveal()).context("the API key is not a header's value")?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-api-key"), value)]);
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("oscillink/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(90))
            .build()
            .context("the HTTP client cannot start")?;
        Ok(Self { http, base })
    }

    /// A request for `path` with `query`.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<RequestBuilder> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url))
    }

    /// Sends a request; an error answer becomes a [`Failure`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| {
            let reason = root_cause(&error);
            Failure::new(
                Exit::Unavailable,
                format!("no answer from {}: {reason}", self.base),
            )
        })?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(refusal(status, &body).into())
    }

    /// GET of a JSON document.
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value> {
        let request = self.request(Method::GET, path, query)?;
        let request = request.header(ACCEPT, "application/json");
        json(self.send(request).await?).await
    }

    /// One job; with `wait_s` the server answers when it has changed or the time is over.
    pub async fn job(&self, id: &str, wait_s: Option<u64>) -> Result<Value> {
        let query: Vec<_> = wait_s
            .map(|s| ("wait", s.to_string()))
            .into_iter()
            .collect();
        self.get(&format!("/v1/jobs/{}", segment(id)?), &query)
            .await
    }

    /// Cancels a job.
    pub async fn cancel(&self, id: &str) -> Result<Value> {
        let path = format!("/v1/jobs/{}", segment(id)?);
        json(self.send(self.request(Method::DELETE, &path, &[])?).await?).await
    }

    /// One array of a job's result as npy.
    pub async fn array(&self, id: &str, name: &str) -> Result<Vec<u8>> {
        let path = format!("/v1/jobs/{}/result", segment(id)?);
        let request = self.request(Method::GET, &path, &[("array", name.to_owned())])?;
        let response = self
            .send(request.header(ACCEPT, "application/x-npy"))
            .await?;
        Ok(response
            .bytes()
            .await
            .context("the answer was cut short")?
            .to_vec())
    }
}

/// The body of an answer as JSON.
pub async fn json(response: Response) -> Result<Value> {
    let body = response.bytes().await.context("the answer was cut short")?;
    serde_json::from_slice(&body).context("the server's answer is not JSON")
}

/// A job id as one segment of a path.
fn segment(id: &str) -> Result<&str> {
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if fits {
        Ok(id)
    } else {
        Err(Failure::new(Exit::NotFound, format!("{id:?} is not the id of a job")).into())
    }
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    errors: Vec<FieldProblem>,
}

#[derive(Deserialize)]
struct FieldProblem {
    field: String,
    detail: String,
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let exit = match status.as_u16() {
        401 | 402 | 403 | 429 => Exit::Refused,
        404 => Exit::NotFound,
        408 | 502..=504 => Exit::Unavailable,
        400..=499 => Exit::BadInput,
        _ => Exit::Failed,
    };
    let mut text = format!("{} ", status.as_u16());
    text += if problem.detail.is_empty() {
        status.canonical_reason().unwrap_or("refused")
    } else {
        &problem.detail
    };
    for FieldProblem { field, detail } in &problem.errors {
        if !problem.detail.contains(detail.as_str()) {
            text += &format!("\n  {field}: {detail}");
        }
    }
    if !problem.request_id.is_empty() {
        text += &format!(" (request {})", problem.request_id);
    }
    Failure::new(exit, text)
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_become_exit_codes_and_name_the_field() {
        let body = br#"{"detail":"the request has errors","request_id":"req_1",
            "errors":[{"field":"Y[0][1]","detail":"is not finite"}]}"#;
        let failure = refusal(StatusCode::BAD_REQUEST, body);
        assert_eq!(failure.exit, Exit::BadInput);
        let text = failure.to_string();
        assert!(
            text.contains("Y[0][1]: is not finite") && text.contains("req_1"),
            "{text}"
        );
        for (status, exit) in [
            (401, Exit::Refused),
            (402, Exit::Refused),
            (404, Exit::NotFound),
            (413, Exit::BadInput),
            (429, Exit::Refused),
            (500, Exit::Failed),
            (503, Exit::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refusal(status, b"").exit, exit, "{status}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |text: &str| is_local(&text.parse().unwrap());
        assert!(
            local("http://127.0.0.1:8080") && local("http://localhost") && local("http://[::1]:1")
        );
        assert!(!local("https://api.example.com") && !local("http://10.0.0.1"));
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert!(segment("job_0aZ").is_ok());
        for bad in ["", "..", "a/b", "a?b", "a%2f"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
    }
}
