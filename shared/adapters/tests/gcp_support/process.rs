//! An emulator as a process of its own, which never outlives this one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Missing;

/// Time for an emulator to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Runs a command, and kills it with everything it started once the other end of the standard input
/// closes: when the bench is done, when a test panics, when this process is killed.
const GUARDED: &str = r#""$@" </dev/null & read -r _; kill -KILL 0"#;

/// A running emulator.
pub struct Emulator {
    guard: Child,
    port: u16,
    program: PathBuf,
    arguments: fn(u16) -> Vec<String>,
}

impl Emulator {
    /// Google's Firestore emulator.
    pub fn firestore() -> Result<Self, Missing> {
        let own = "cloud-firestore-emulator/cloud_firestore_emulator";
        let program = program("OSCILLINK_FIRESTORE_EMULATOR", own)?;
        let arguments = |port| {
            let (host, port) = ("--host=127.0.0.1".to_owned(), format!("--port={port}"));
            vec!["start".to_owned(), host, port]
        };
        Ok(Self::start(&program, arguments, free_port()))
    }

    /// Google's Pub/Sub emulator.
    pub fn pubsub() -> Result<Self, Missing> {
        let own = "pubsub-emulator/bin/cloud-pubsub-emulator";
        let program = program("OSCILLINK_PUBSUB_EMULATOR", own)?;
        let arguments = |port| vec!["--host=127.0.0.1".to_owned(), format!("--port={port}")];
        Ok(Self::start(&program, arguments, free_port()))
    }

    /// `http://host:port`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it anew at the same address, empty.
    /// Kills it, its data with it, and starts it anew at the same address.
    pub fn restart(&mut self) {
        self.kill();
        *self = Self::start(&self.program, self.arguments, self.port);
    }

    /// What is installed must start: anything else is a failure, not an absence.
    fn start(program: &Path, arguments: fn(u16) -> Vec<String>, port: u16) -> Self {
        // Both find their parts relative to where they lie.
        let folder = program.parent().unwrap_or(Path::new("/"));
        let guard = Command::new("sh")
            .args(["-c", GUARDED, "sh"])
            .arg(program)
            .args(arguments(port))
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let mut emulator = Self {
            guard,
            port,
            program: program.to_owned(),
            arguments,
        };
        let began = Instant::now();
        while get(&emulator.address(), "/").is_err() {
            let waited = began.elapsed();
            assert!(
                waited < START_TIMEOUT,
                "{} does not answer",
                program.display()
            );
            if let Ok(Some(status)) = emulator.guard.try_wait() {
                panic!("{} ended: {status}", program.display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    fn kill(&mut self) {
        // Closing its standard input has the guard kill its process group, itself included.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program that the variable names, or the one of the installed Cloud SDK.
fn program(variable: &str, own: &str) -> Result<PathBuf, Missing> {
    let program = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => sdk_root()?.join("platform").join(own),
    };
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!(
            "no emulator at {}; {variable} can name one",
            program.display()
        ))
    }
}

fn sdk_root() -> Result<PathBuf, Missing> {
    let asked = Command::new("gcloud")
        .args(["info", "--format=value(installation.sdk_root)"])
        .output();
    let answer = asked.map_err(|error| format!("no Cloud SDK: gcloud: {error}"))?;
    let root = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if root.is_empty() {
        return Err("no Cloud SDK: gcloud does not tell its folder".to_owned());
    }
    Ok(PathBuf::from(root))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("an address").port()
}

/// What a server answers to a GET, head and body.
pub fn get(address: &str, path: &str) -> std::io::Result<String> {
    ask(address, &format!("GET {path} HTTP/1.0"), "")
}

/// What a server answers to a POST of JSON, head and body.
pub fn post(address: &str, path: &str, json: &str) -> std::io::Result<String> {
    ask(address, &format!("POST {path} HTTP/1.0"), json)
}

fn ask(address: &str, line: &str, body: &str) -> std::io::Result<String> {
    let host = address.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "{line}\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer owner\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    // The emulators keep the connection open, whatever they are asked.
    while !is_whole(&answer) {
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    String::from_utf8(answer).map_err(std::io::Error::other)
}

/// Whether an answer is complete, by its length or its last chunk.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    match length.and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with("0\r\n\r\n"),
    }
}
