//! What the stories share: the binary, a server of it, a client, and waiting with a deadline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that should happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The real binary, with nothing of this process's settings.
pub fn oscillink() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oscillink"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OSCILLINK_")
            || text.starts_with("RECEIPT_")
            || text.starts_with("STRIPE_")
            || text.starts_with("OTEL_")
            || text == "RUST_LOG"
            || text == "PORT"
        {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn run(configure: impl FnOnce(&mut Command)) -> Output {
    let mut command = oscillink();
    configure(&mut command);
    command.output().unwrap()
}

/// Standard output as JSON, after exit code 0.
pub fn json_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks `ready` again and again until it answers.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within {DEADLINE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running `oscillink serve` with a data folder of its own, or one that runs already.
pub struct Server {
    /// Its process, if it is ours.
    child: Option<Child>,
    /// Where it listens.
    pub url: String,
    /// Its development key.
    pub key: String,
    /// The data folder.
    pub dir: PathBuf,
    http: Client,
    _owned: Option<TempDir>,
}

impl Server {
    /// Starts with an empty folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The server that `OSCILLINK_SERVER` names, or one of our own with an empty folder.
    pub fn anywhere() -> Self {
        let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (given("OSCILLINK_SERVER"), given("OSCILLINK_API_KEY")) {
            (Some(url), Some(key)) => Self {
                child: None,
                url,
                key,
                dir: PathBuf::new(),
                http: Client::builder().timeout(DEADLINE).build().unwrap(),
                _owned: None,
            },
            _ => Self::start(),
        }
    }

    /// Starts with an empty folder and these variables.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let mut server = Self::start_in(&path, variables);
        server._owned = Some(dir);
        server
    }

    /// Starts with an empty folder, and has everything that it prints written to `log`.
    pub fn start_logged(log: &Path, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let log = fs::File::create(log).unwrap();
        let output = (log.try_clone().unwrap().into(), log.into());
        let mut server = Self::start_printing(&path, variables, output);
        server._owned = Some(dir);
        server
    }

    /// Starts in a folder that outlives the server.
    pub fn start_in(dir: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_printing(dir, variables, (Stdio::null(), Stdio::inherit()))
    }

    fn start_printing(
        dir: &Path,
        variables: &[(&str, &str)],
        (stdout, stderr): (Stdio, Stdio),
    ) -> Self {
        fs::create_dir_all(dir).unwrap();
        let ready_file = dir.join("ready.json");
        let _ = fs::remove_file(&ready_file);
        let mut child = oscillink()
            .args(["serve", "--port", "0", "--ready-file"])
            .arg(&ready_file)
            .env("OSCILLINK_DATA_DIR", dir)
            .env("OSCILLINK_LOG", "warn")
            .envs(variables.iter().copied())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let ready: Value = eventually("the server's start", || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the server ended at its start"
            );
            serde_json::from_slice(&fs::read(&ready_file).ok()?).ok()
        });
        let key_file = ready["key_file"].as_str();
        let key = key_file.map(|path| fs::read_to_string(path).unwrap().trim().to_owned());
        Self {
            child: Some(child),
            url: ready["url"].as_str().unwrap().to_owned(),
            key: key.unwrap_or_default(),
            dir: dir.to_owned(),
            http: Client::builder().timeout(DEADLINE).build().unwrap(),
            _owned: None,
        }
    }

    /// The address, for raw connections.
    pub fn addr(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A POST with the server's key.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http
            .post(format!("{}{path}", self.url))
            .header("x-api-key", &self.key)
    }

    /// A GET with the server's key.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http
            .get(format!("{}{path}", self.url))
            .header("x-api-key", &self.key)
    }

    /// A DELETE with the server's key.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.http
            .delete(format!("{}{path}", self.url))
            .header("x-api-key", &self.key)
    }

    /// GET of JSON that must succeed.
    pub fn fetch(&self, path: &str) -> Value {
        ok(self.get(path).send().unwrap())
    }

    /// Submits a job and gives its id.
    pub fn submit(&self, kind: &str, request: &Value) -> String {
        self.accepted(self.post(&format!("/v1/jobs/{kind}")).json(request))
    }

    /// Submits a settle job of a matrix as npy and gives its id.
    pub fn submit_npy(&self, matrix: &[u8]) -> String {
        let request = self.post("/v1/jobs/settle?psi_row=0&bundle_k=8");
        let request = request.header("content-type", "application/x-npy");
        self.accepted(request.body(matrix.to_vec()))
    }

    fn accepted(&self, request: RequestBuilder) -> String {
        let accepted = request.send().unwrap();
        assert_eq!(accepted.status(), 202);
        let location = accepted.headers()["location"].to_str().unwrap().to_owned();
        let job: Value = accepted.json().unwrap();
        let id = job["job_id"].as_str().unwrap().to_owned();
        assert!(location.ends_with(&id), "{location}");
        assert_eq!(job["status"], "queued");
        id
    }

    /// The job once it has ended.
    pub fn ended(&self, id: &str) -> Value {
        eventually("the job's end", || {
            let job = self.fetch(&format!("/v1/jobs/{id}?wait=5"));
            let live = ["queued", "running"].contains(&job["status"].as_str().unwrap());
            (!live).then_some(job)
        })
    }

    /// Every ledger row of the server's key.
    pub fn ledger(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut path = "/v1/usage/ledger?limit=100".to_owned();
        loop {
            let page = self.fetch(&path);
            rows.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/usage/ledger?limit=100&cursor={cursor}"),
                None => return rows,
            }
        }
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process of our own").id()
    }

    /// Memory in use, KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends the process as a crash would, while others still use it.
    pub fn kill_now(&self) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Ends the process as a crash would, and gives its folder to whoever starts the next one.
    pub fn keep_folder(mut self) -> Option<TempDir> {
        let folder = self._owned.take();
        self.kill();
        folder
    }

    /// Ends the process as a crash would.
    pub fn kill(mut self) {
        let child = self.child.as_mut().expect("a process of our own");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits for the end.
    pub fn terminate(mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let child = self.child.as_mut().expect("a process of our own");
        eventually("the server's end", || child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already ended servers give an error that does not matter.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The JSON of an answer that must be a success.
pub fn ok(response: Response) -> Value {
    let status = response.status();
    let text = response.text().unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// `rows` × `columns` numbers that look random and are the same every time.
pub fn matrix(rows: usize, columns: usize) -> Vec<Vec<f32>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..rows)
        .map(|_| (0..columns).map(|_| next()).collect())
        .collect()
}

/// A matrix as `numpy.save` writes it.
pub fn npy(rows: &[Vec<f32>]) -> Vec<u8> {
    let shape = format!("({}, {})", rows.len(), rows.first().map_or(0, Vec::len));
    let mut out = npy_header(&shape);
    out.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    out
}

/// The head of an npy file of that shape.
pub fn npy_header(shape: &str) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out
}
