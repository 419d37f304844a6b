//! What the benchmarks share: the real binary as a server, and keep-alive connections to it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A server of the benchmark, stopped when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ours and it is idle: nothing is lost by ending it at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts with an empty folder and these variables.
    #[allow(dead_code, reason = "not every benchmark does")]
    pub fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_printing(variables, Stdio::inherit())
    }

    /// The same with its log lines thrown away, once they are written.
    #[allow(dead_code, reason = "not every benchmark does")]
    pub fn start_quiet(variables: &[(&str, &str)]) -> Self {
        Self::start_printing(variables, Stdio::null())
    }

    fn start_printing(variables: &[(&str, &str)], stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Another build of the program may be measured, too.
        let program = std::env::var_os("OSCILLINK_BENCH_PROGRAM");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_oscillink").into());
        let mut child = Command::new(program)
            .args(["serve", "--port", "0", "--json"])
            .env("OSCILLINK_DATA_DIR", folder.path())
            .env("RUST_LOG", "warn")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the server says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let url = said["url"].as_str().expect("an address").to_owned();
        let address = url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self {
            child,
            address,
            folder,
        }
    }

    /// The data folder.
    #[allow(dead_code, reason = "not every benchmark looks into it")]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process as a crash would.
    #[allow(dead_code, reason = "not every benchmark does")]
    pub fn kill(&mut self) {
        self.child.kill().expect("a process of ours");
        self.child.wait().expect("its end");
    }
}

/// One keep-alive connection.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects.
    pub async fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request and gives the whole answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> (StatusCode, Bytes) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.0.ready().await.expect("a living connection");
        let response: Response<_> = self.0.send_request(request).await.expect("an answer");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body");
        (status, body.to_bytes())
    }

    /// A metric's value; `None` while the server does not have it.
    pub async fn metric(&mut self, name: &str) -> Option<f64> {
        let (_, body) = self.send("GET", "/metrics", &[], Bytes::new()).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
    }
}
