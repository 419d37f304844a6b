//! An emulator as a process of its own, which never outlives this one.
//!
//! `OSCILLINK_FIRESTORE_EMULATOR` and `OSCILLINK_PUBSUB_EMULATOR` name the programs; without them the
//! installed Cloud SDK is asked.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http;

/// Time for an emulator to answer its first request.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Runs a command, and kills it with everything it started once the other end of the standard input
/// closes: when the bench is done, when a test panics, when this process is killed.
const GUARDED: &str = r#""$@" </dev/null & read -r _; kill -KILL 0"#;

/// Why an emulator is not running.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// It is not installed.
    #[error("{0}")]
    Missing(String),
    /// It is installed and does not work.
    #[error("{0}")]
    Broken(String),
}

/// Whether a missing emulator is a failure: `OSCILLINK_REQUIRE_EMULATORS=1`.
#[must_use]
pub fn required() -> bool {
    std::env::var("OSCILLINK_REQUIRE_EMULATORS").is_ok_and(|value| value == "1")
}

/// A running emulator.
pub struct Emulator {
    guard: Child,
    port: u16,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Emulator {
    /// Google's Firestore emulator.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn firestore() -> Result<Self, Trouble> {
        let own = "cloud-firestore-emulator/cloud_firestore_emulator";
        let program = program("OSCILLINK_FIRESTORE_EMULATOR", own)?;
        Self::start(&program, |port| {
            vec![
                "start".to_owned(),
                "--host=127.0.0.1".to_owned(),
                format!("--port={port}"),
            ]
        })
    }

    /// Google's Pub/Sub emulator.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn pubsub() -> Result<Self, Trouble> {
        let own = "pubsub-emulator/bin/cloud-pubsub-emulator";
        let program = program("OSCILLINK_PUBSUB_EMULATOR", own)?;
        Self::start(&program, |port| {
            vec!["--host=127.0.0.1".to_owned(), format!("--port={port}")]
        })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it anew at the same address, empty.
    ///
    /// # Errors
    /// It does not start again.
    pub fn restart(&mut self) -> Result<(), Trouble> {
        self.stop();
        self.guard = guarded(&self.program, &self.arguments)?;
        self.answered()
    }

    /// Its process group.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.guard.id()
    }

    /// Stops it in its tracks (SIGSTOP): connections stay, nothing is answered.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn freeze(&self) -> Result<(), Trouble> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn thaw(&self) -> Result<(), Trouble> {
        self.signal("-CONT")
    }

    /// Signals the guard's process group.
    fn signal(&self, signal: &str) -> Result<(), Trouble> {
        let group = format!("-{}", self.group());
        let sent = Command::new("kill").args([signal, "--", &group]).status();
        match sent {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Trouble::Broken(format!("kill {signal}: {status}"))),
            Err(error) => Err(Trouble::Broken(format!("kill {signal}: {error}"))),
        }
    }

    fn start(program: &Path, arguments: impl Fn(u16) -> Vec<String>) -> Result<Self, Trouble> {
        let port = free_port();
        let arguments = arguments(port);
        let guard = guarded(program, &arguments)?;
        let mut emulator = Self {
            guard,
            port,
            program: program.to_owned(),
            arguments,
        };
        emulator.answered()?;
        Ok(emulator)
    }

    /// Waits for the first answer.
    fn answered(&mut self) -> Result<(), Trouble> {
        let began = Instant::now();
        while http::get(&self.address(), "/").is_err() {
            if began.elapsed() > START_TIMEOUT {
                return Err(Trouble::Broken(format!(
                    "{} does not answer",
                    self.program.display()
                )));
            }
            if let Ok(Some(status)) = self.guard.try_wait() {
                return Err(Trouble::Broken(format!(
                    "{} ended: {status}",
                    self.program.display()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn stop(&mut self) {
        // A frozen guard would not notice; one that has ended cannot be signalled.
        let _ = self.thaw();
        // Closing its standard input has the guard kill its process group, itself included.
        drop(self.guard.stdin.take());
        // It has ended, or was never there: either is what was wanted.
        let _ = self.guard.wait();
    }
}

fn guarded(program: &Path, arguments: &[String]) -> Result<Child, Trouble> {
    // Both find their parts relative to where they lie.
    let folder = program.parent().unwrap_or(Path::new("/"));
    Command::new("sh")
        .args(["-c", GUARDED, "sh"])
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Trouble::Broken(format!("{} does not start: {error}", program.display())))
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The program that the variable names, or the one of the installed Cloud SDK.
fn program(variable: &str, own: &str) -> Result<PathBuf, Trouble> {
    let program = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => sdk_root()?.join("platform").join(own),
    };
    if program.is_file() {
        Ok(program)
    } else {
        Err(Trouble::Missing(format!(
            "no emulator at {}; {variable} can name one",
            program.display()
        )))
    }
}

fn sdk_root() -> Result<PathBuf, Trouble> {
    let asked = Command::new("gcloud")
        .args(["info", "--format=value(installation.sdk_root)"])
        .output();
    let answer =
        asked.map_err(|error| Trouble::Missing(format!("no Cloud SDK: gcloud: {error}")))?;
    let root = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    if root.is_empty() {
        let detail = "no Cloud SDK: gcloud does not tell its folder";
        return Err(Trouble::Missing(detail.to_owned()));
    }
    Ok(PathBuf::from(root))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("an address").port()
}
