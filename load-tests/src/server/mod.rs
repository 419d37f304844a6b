//! A server of the harness's own: the all-in-one program in a temporary folder, with keys of every
//! tenant, stopped by its process id.

mod disk;
mod faketime;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::scenario::{Action, Scenario};
use disk::Disk;
pub use disk::{fill, unfill};
use faketime::FakeTime;

/// Longest a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest a stop may take; the server promises 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often it is looked whether the server is ready, or gone.
const LOOK: Duration = Duration::from_millis(10);

/// A running server.
pub struct Server {
    program: PathBuf,
    dir: TempDir,
    disk: Option<Disk>,
    clock: Option<FakeTime>,
    env: BTreeMap<String, String>,
    child: Child,
    /// Its base address.
    pub url: String,
    /// Keys by tenant.
    pub keys: Vec<String>,
    /// Opens its operators' routes.
    pub admin_secret: String,
}

impl Server {
    /// Starts the program for a scenario.
    ///
    /// # Errors
    /// It does not start, or what the scenario needs of this machine is not there.
    pub async fn start(program: &Path, scenario: &Scenario) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("a temporary folder")?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let disk = match scenario.server_tmpfs_bytes {
            Some(bytes) => Some(Disk::mount(&data, bytes)?),
            None => None,
        };
        let skewed = |action: &Action| matches!(action, Action::ClockSkew { .. });
        let clock = match scenario.chaos.iter().any(|one| skewed(&one.action)) {
            true => Some(FakeTime::new(&dir.path().join("clock"))?),
            false => None,
        };
        let keys = scenario
            .tenants
            .iter()
            .map(|tenant| Ok(format!("load-{}-{}", tenant.name, random_text()?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let tiers = keys.iter().zip(&scenario.tenants);
        let tiers: Vec<_> = tiers
            .map(|(key, tenant)| format!("{key}:{}", tenant.tier))
            .collect();
        let admin_secret = random_text()?;
        let mut env = scenario.server_env.clone();
        env.insert("OSCILLINK_ADMIN_SECRET".to_owned(), admin_secret.clone());
        env.insert("OSCILLINK_API_KEYS".to_owned(), keys.join(","));
        env.insert("OSCILLINK_KEY_TIERS".to_owned(), tiers.join(";"));
        env.entry("OSCILLINK_LOG".to_owned())
            .or_insert_with(|| "warn".to_owned());
        let (child, url) = launch(program, dir.path(), &env, clock.as_ref(), 0).await?;
        Ok(Self {
            program: program.to_owned(),
            dir,
            disk,
            clock,
            env,
            child,
            url,
            keys,
            admin_secret,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Ends it as a crash would.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on the same port and folder.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let port = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let port = port.context("the server's address has a port")?;
        let (program, dir) = (self.program.clone(), self.dir.path().to_owned());
        let (child, _) = launch(&program, &dir, &self.env, self.clock.as_ref(), port).await?;
        self.child = child;
        Ok(())
    }

    /// Puts its clock off by so many seconds.
    ///
    /// # Errors
    /// The scenario did not ask for it at the start, or the file cannot be written.
    pub fn skew_clock(&self, offset_s: f64) -> anyhow::Result<()> {
        let clock = self
            .clock
            .as_ref()
            .context("the server's clock is the system's")?;
        clock.set(offset_s)
    }

    /// Its data folder on a memory file system.
    #[must_use]
    pub fn small_disk(&self) -> Option<&Path> {
        self.disk.as_ref().map(Disk::path)
    }

    /// Memory that the process holds, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).ok()?;
        let pages: u64 = status.split(' ').nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }

    /// Asks it to stop and waits for the end; after a while it is killed.
    ///
    /// # Errors
    /// It had to be killed, or said that something was wrong.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        signal(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the server ended with {status}");
            }
            if Instant::now() >= deadline {
                bail!("the server did not stop within {STOP_TIMEOUT:?}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone after `stop`; the errors say just that.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.disk = None;
    }
}

async fn launch(
    program: &Path,
    dir: &Path,
    env: &BTreeMap<String, String>,
    clock: Option<&FakeTime>,
    port: u16,
) -> anyhow::Result<(Child, String)> {
    let ready = dir.join("ready.json");
    if ready.exists() {
        std::fs::remove_file(&ready)?;
    }
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("server.log"))?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("OSCILLINK_") || text.starts_with("RECEIPT_") || text == "PORT" {
            command.env_remove(&name);
        }
    }
    command
        .args([
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--ready-file",
        ])
        .arg(&ready)
        .env("OSCILLINK_DATA_DIR", dir.join("data"))
        .envs(env)
        .envs(clock.map(FakeTime::variables).into_iter().flatten())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // A group of its own: Ctrl-C is for the harness, which stops the server afterwards.
        .process_group(0);
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let text = std::fs::read(&ready).unwrap_or_default();
        if let Ok(ready) = serde_json::from_slice::<serde_json::Value>(&text)
            && let Some(url) = ready["url"].as_str()
        {
            return Ok((child, url.to_owned()));
        }
        if let Some(status) = child.try_wait()? {
            let log = std::fs::read_to_string(dir.join("server.log")).unwrap_or_default();
            bail!(
                "the server ended at its start with {status}: {}",
                log.trim()
            );
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("the server was not ready within {START_TIMEOUT:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sends a signal to a process by its id, or to a process group by its id with a minus sign.
///
/// # Errors
/// There is no such process, or it is not ours.
pub fn signal(id: i32, signal: Signal) -> anyhow::Result<()> {
    // 0 would be our own group, and -1 everybody.
    let process = Some(id.saturating_abs()).filter(|id| *id > 1);
    let process = process.and_then(Pid::from_raw);
    let process = process.with_context(|| format!("{id} is no process id"))?;
    let sent = match id < 0 {
        true => kill_process_group(process, signal),
        false => kill_process(process, signal),
    };
    sent.with_context(|| format!("signal to process {id}"))
}

/// Sixteen characters that nobody guesses.
///
/// # Errors
/// The system gives no randomness.
pub fn random_text() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_signalled_as_a_whole_and_never_everybody() {
        for id in [0, 1, -1, i32::MIN] {
            assert!(signal(id, Signal::KILL).is_err(), "{id}");
        }
        let mut leader = Command::new("sh")
            .args(["-c", "sleep 600 & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let group = -leader.id().cast_signed();
        signal(group, Signal::KILL).unwrap();
        assert!(!leader.wait().unwrap().success());
        // Its child went with it: the group is empty once the system has collected it.
        while signal(group, Signal::KILL).is_ok() {
            std::thread::yield_now();
        }
    }
}
