//! Disturbs the service at the planned times, and notes when that really was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::scenario::{Action, Disturbance};
use crate::server::{Server, fill, signal, unfill};

/// A period of throttling.
const PERIOD: Duration = Duration::from_millis(50);
/// Longest a hook may run.
const HOOK_TIMEOUT: Duration = Duration::from_secs(120);

/// What disturbances work on.
#[derive(Default)]
pub struct Stage {
    /// The server that the harness started.
    pub server: Option<Rc<RefCell<Option<Server>>>>,
    /// Process ids by name; a file is read each time, because processes come and go.
    pub processes: BTreeMap<String, ProcessId>,
    /// Commands by name, for `sh -c`.
    pub hooks: BTreeMap<String, String>,
}

/// Where a process id comes from.
#[derive(Debug, Clone)]
pub enum ProcessId {
    /// It is known; negative: of a process group.
    Known(i32),
    /// It is in a file.
    InFile(PathBuf),
}

/// A disturbance that has happened.
#[derive(Debug, Clone)]
pub struct Mark {
    /// What it was.
    pub label: String,
    /// When it began, from the run's start.
    pub began: Duration,
    /// When it was over: the process runs again, the disk has room again.
    pub ended: Duration,
    /// Why it did not work.
    pub error: Option<String>,
}

impl Stage {
    /// Says what a scenario's disturbances lack.
    ///
    /// # Errors
    /// A process, a hook or a small disk is missing.
    pub fn check(&self, chaos: &[Disturbance]) -> anyhow::Result<()> {
        for (index, disturbance) in chaos.iter().enumerate() {
            let known = match (&disturbance.action, disturbance.action.process()) {
                (Action::Hook { name }, _) => self.hooks.contains_key(name),
                (_, Some("server")) if self.server.is_some() => true,
                (Action::FillDisk { .. } | Action::ClockSkew { .. }, _) => false,
                (_, Some(name)) => self.processes.contains_key(name),
                _ => true,
            };
            if !known {
                let what = disturbance.action.label();
                bail!(
                    "chaos[{index}]: {what}: give --serve, --process NAME=PID or --hook NAME=COMMAND"
                );
            }
            if matches!(disturbance.action, Action::FillDisk { .. }) && self.disk().is_err() {
                bail!("chaos[{index}]: fill-disk needs server.tmpfs_mib");
            }
        }
        Ok(())
    }

    /// Carries out a disturbance.
    pub async fn act(&self, action: &Action, start: Instant) -> Mark {
        let began = start.elapsed();
        let result = self.carry_out(action).await;
        Mark {
            label: action.label(),
            began,
            ended: start.elapsed(),
            error: result.err().map(|error| format!("{error:#}")),
        }
    }

    async fn carry_out(&self, action: &Action) -> anyhow::Result<()> {
        match action {
            Action::Kill { process, down } => self.kill(process, *down).await,
            Action::Pause { process, length } => {
                let pid = self.pid(process)?;
                signal(pid, Signal::STOP)?;
                tokio::time::sleep(*length).await;
                signal(pid, Signal::CONT)
            }
            Action::Throttle {
                process,
                length,
                share,
            } => throttle(self.pid(process)?, *length, *share).await,
            Action::FillDisk { length } => {
                let disk = self.disk()?;
                let folder = disk.clone();
                tokio::task::spawn_blocking(move || fill(&folder)).await??;
                tokio::time::sleep(*length).await;
                unfill(&disk).context("giving the room back")
            }
            Action::ClockSkew { length, offset_s } => {
                self.skew(*offset_s)?;
                tokio::time::sleep(*length).await;
                self.skew(0.0)
            }
            Action::Hook { name } => self.hook(name).await,
        }
    }

    async fn kill(&self, process: &str, down: Duration) -> anyhow::Result<()> {
        let Some(server) = self.server.as_ref().filter(|_| process == "server") else {
            // Whoever supervises the process starts it again.
            return signal(self.pid(process)?, Signal::KILL);
        };
        // Taken out while it is away, so that nobody borrows it over a wait.
        let mut taken = server
            .borrow_mut()
            .take()
            .context("the server is being disturbed")?;
        taken.kill()?;
        tokio::time::sleep(down).await;
        let started = taken.start_again().await;
        *server.borrow_mut() = Some(taken);
        started
    }

    fn with_server<T>(&self, use_it: impl FnOnce(&Server) -> T) -> anyhow::Result<T> {
        let server = self
            .server
            .as_ref()
            .context("the server is not the harness's own")?;
        let server = server.borrow();
        Ok(use_it(
            server.as_ref().context("the server is being disturbed")?,
        ))
    }

    fn pid(&self, process: &str) -> anyhow::Result<i32> {
        if process == "server" && self.server.is_some() {
            return self.with_server(Server::pid);
        }
        match self.processes.get(process) {
            Some(ProcessId::Known(pid)) => Ok(*pid),
            Some(ProcessId::InFile(path)) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("process id of {process} in {}", path.display()))?;
                text.trim()
                    .parse()
                    .with_context(|| format!("{}", path.display()))
            }
            None => bail!("no process is called {process}"),
        }
    }

    fn disk(&self) -> anyhow::Result<PathBuf> {
        let folder = self.with_server(|server| server.small_disk().map(PathBuf::from))?;
        folder.context("the server's disk is the machine's")
    }

    fn skew(&self, offset_s: f64) -> anyhow::Result<()> {
        self.with_server(|server| server.skew_clock(offset_s))?
    }

    async fn hook(&self, name: &str) -> anyhow::Result<()> {
        let command = self.hooks.get(name).context("no such hook")?;
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", command])
            .kill_on_drop(true)
            .spawn()?;
        let status = tokio::time::timeout(HOOK_TIMEOUT, child.wait())
            .await
            .with_context(|| format!("did not end within {HOOK_TIMEOUT:?}"))??;
        if !status.success() {
            bail!("ended with {status}");
        }
        Ok(())
    }
}

async fn throttle(pid: i32, length: Duration, share: f64) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        signal(pid, Signal::STOP)?;
        tokio::time::sleep(PERIOD.mul_f64(1.0 - share)).await;
        signal(pid, Signal::CONT)?;
        tokio::time::sleep(PERIOD.mul_f64(share)).await;
    }
    Ok(())
}
