//! One attempt over HTTP: bounded in time, no redirects, no proxies, nothing kept of the answer but
//! its status.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oscillink_domain::Timestamp;
use oscillink_domain::callback::Attempted;
use oscillink_engine::PendingCallback;
use oscillink_telemetry::{TRACE, current_traceparent};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url, redirect};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::config::CallbackConfig;
use super::resolve::{NotPublic, PublicOnly};

const USER_AGENT: &str = concat!("Oscillink/", env!("CARGO_PKG_VERSION"));
/// How long a receiver's connection is kept for its next callback.
const KEEP: Duration = Duration::from_secs(15);

/// Sends callbacks.
pub(super) struct Sender {
    allow_private: bool,
    timeout: Duration,
    /// Made when first needed: most servers start without a callback to send.
    client: OnceLock<Result<Client, String>>,
}

impl Sender {
    pub(super) fn new(config: &CallbackConfig) -> Self {
        Self {
            allow_private: config.allow_private,
            timeout: config.timeout,
            client: OnceLock::new(),
        }
    }

    /// Sends `callback` to `url`, signed at `now`.
    pub(super) async fn send(
        &self,
        url: Url,
        callback: &PendingCallback,
        now: Timestamp,
    ) -> Attempted {
        let client = self
            .client
            .get_or_init(|| client(self.allow_private, self.timeout));
        let client = match client {
            Ok(client) => client,
            Err(detail) => {
                tracing::error!(detail, "the client for callbacks cannot be made");
                return failed(None, "the sender is not able to send".to_owned());
            }
        };
        let span = tracing::info_span!(
            target: TRACE,
            "POST",
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = "POST",
            http.response.status_code = Empty,
            server.address = url.host_str(),
        );
        let attempted = self
            .post(client, url, callback, now)
            .instrument(span.clone())
            .await;
        if let Some(status) = attempted.status {
            span.record("http.response.status_code", status);
        }
        if attempted.error.is_some() {
            span.record("otel.status_code", "error");
        }
        attempted
    }

    async fn post(
        &self,
        client: &Client,
        url: Url,
        callback: &PendingCallback,
        now: Timestamp,
    ) -> Attempted {
        let (timestamp, signature) = callback.signature(now);
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &callback.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(callback.body.clone());
        if let Some(traceparent) = current_traceparent(callback.traceparent.as_deref()) {
            request = request.header("traceparent", traceparent);
        }
        match request.send().await {
            // The body is not read: dropping the answer closes what it does not fit into.
            Ok(answer) if answer.status().is_success() => Attempted {
                status: Some(answer.status().as_u16()),
                error: None,
                is_final: false,
            },
            Ok(answer) => {
                let status = answer.status();
                let detail = if status.is_redirection() {
                    format!("the receiver answered {status}; redirects are not followed")
                } else {
                    format!("the receiver answered {status}")
                };
                failed(Some(status.as_u16()), detail)
            }
            Err(error) => failed(None, self.reason(&error)),
        }
    }

    /// Why there was no answer, without the address: its query may hold secrets.
    fn reason(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no answer within {} s", self.timeout.as_secs_f32());
        }
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<NotPublic>() {
                return inner.to_string();
            }
            match inner.source() {
                Some(deeper) => cause = Some(deeper),
                // The innermost says it best: "Connection refused", "certificate expired".
                None => return format!("no connection: {inner}"),
            }
        }
        "no connection".to_owned()
    }
}

fn failed(status: Option<u16>, detail: String) -> Attempted {
    Attempted {
        status,
        error: Some(detail),
        is_final: false,
    }
}

fn client(allow_private: bool, timeout: Duration) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(redirect::Policy::none())
        // A proxy would resolve names by itself, past the check.
        .no_proxy()
        .pool_idle_timeout(KEEP)
        .pool_max_idle_per_host(2);
    if !allow_private {
        builder = builder.dns_resolver(Arc::new(PublicOnly));
    }
    builder.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://localhost:{port}/");
        let sender = Sender::new(&CallbackConfig::default());
        let guarded = client(false, Duration::from_secs(5)).unwrap();
        let error = guarded.post(&url).send().await.unwrap_err();
        assert_eq!(sender.reason(&error), "the host has no public address");
        let open = client(true, Duration::from_secs(5)).unwrap();
        let (accepted, _) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(5), listener.accept()),
            tokio::time::timeout(Duration::from_millis(200), open.post(&url).send()),
        );
        // The first connection that arrives is the unguarded client's: the guarded one made none.
        accepted.unwrap().unwrap();
    }
}
