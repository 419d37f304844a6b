//! Disturbances of a run: when, what, for how long.

use std::time::Duration;

use super::ScenarioError;
use super::raw::RawChaos;

/// A disturbance.
#[derive(Debug, Clone, PartialEq)]
pub struct Disturbance {
    /// When it begins, from the start of the run.
    pub at: Duration,
    /// What it is.
    pub action: Action,
}

/// What is disturbed. Processes are named: `server` is the one that the harness has started, others
/// are given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Kills the process (SIGKILL) and starts it again after `down`.
    Kill {
        /// The process.
        process: String,
        /// How long it stays away. Only `server` is started again by the harness.
        down: Duration,
    },
    /// Stops the process (SIGSTOP) for a while.
    Pause {
        /// The process.
        process: String,
        /// How long.
        length: Duration,
    },
    /// Lets the process run only a part of the time: slow storage, a slow neighbour.
    Throttle {
        /// The process.
        process: String,
        /// How long.
        length: Duration,
        /// Part of the time that it runs, above 0 and below 1.
        share: f64,
    },
    /// Fills the server's memory file system to the last byte for a while.
    FillDisk {
        /// How long.
        length: Duration,
    },
    /// Puts the server's clock off for a while.
    ClockSkew {
        /// How long.
        length: Duration,
        /// How far, seconds; negative is into the past.
        offset_s: f64,
    },
    /// Runs a command given on the command line, and waits for its end.
    Hook {
        /// Its name.
        name: String,
    },
}

impl Action {
    /// What the report calls it.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Kill { process, .. } => format!("kill {process}"),
            Self::Pause { process, length } => format!("pause {process} {length:?}"),
            Self::Throttle {
                process,
                length,
                share,
            } => format!("throttle {process} to {:.0} % {length:?}", share * 100.0),
            Self::FillDisk { length } => format!("fill disk {length:?}"),
            Self::ClockSkew { length, offset_s } => {
                format!("clock {offset_s:+} s for {length:?}")
            }
            Self::Hook { name } => format!("hook {name}"),
        }
    }

    /// The process that it is about.
    #[must_use]
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::Kill { process, .. }
            | Self::Pause { process, .. }
            | Self::Throttle { process, .. } => Some(process),
            Self::FillDisk { .. } | Self::ClockSkew { .. } => Some("server"),
            Self::Hook { .. } => None,
        }
    }
}

/// Fields of an entry that its action has not asked for yet.
struct Fields {
    raw: RawChaos,
    path: String,
}

impl Fields {
    fn error(&self, name: &str, detail: &str) -> ScenarioError {
        ScenarioError::field(format!("{}.{name}", self.path), detail)
    }

    fn length(&mut self) -> Result<Duration, ScenarioError> {
        match self.raw.length.take() {
            Some(time) if time.0 > Duration::ZERO => Ok(time.0),
            _ => Err(self.error("for", "say how long, for example \"2s\"")),
        }
    }

    fn process(&mut self) -> String {
        self.raw
            .process
            .take()
            .unwrap_or_else(|| "server".to_owned())
    }

    fn share(&mut self) -> Result<f64, ScenarioError> {
        match self.raw.share.take() {
            Some(share) if share > 0.0 && share < 1.0 => Ok(share),
            _ => Err(self.error("share", "a number above 0 and below 1")),
        }
    }

    fn offset_s(&mut self) -> Result<f64, ScenarioError> {
        let text = self.raw.offset.take().unwrap_or_default();
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1.0, rest),
            None => (1.0, text.as_str()),
        };
        match super::parse_duration(rest) {
            Ok(time) if time > Duration::ZERO => Ok(sign * time.as_secs_f64()),
            _ => Err(self.error("offset", "a time with a sign, for example \"-90s\"")),
        }
    }

    fn hook(&mut self) -> Result<String, ScenarioError> {
        let name = self.raw.hook.take();
        name.ok_or_else(|| self.error("hook", "name a command given with --hook NAME=COMMAND"))
    }

    fn nothing_left(&self) -> Result<(), ScenarioError> {
        let left = [
            ("for", self.raw.length.is_some()),
            ("process", self.raw.process.is_some()),
            ("hook", self.raw.hook.is_some()),
            ("share", self.raw.share.is_some()),
            ("offset", self.raw.offset.is_some()),
        ];
        match left.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(self.error(name, "this action has no such field")),
            None => Ok(()),
        }
    }
}

/// Checks one entry of `[[chaos]]`.
pub(super) fn checked(raw: RawChaos, index: usize) -> Result<Disturbance, ScenarioError> {
    let at = raw.at.0;
    let name = raw.action.clone();
    let path = format!("chaos[{index}]");
    let mut fields = Fields { raw, path };
    let action = match name.as_str() {
        "kill" => Action::Kill {
            process: fields.process(),
            down: fields
                .raw
                .length
                .take()
                .map_or(Duration::ZERO, |time| time.0),
        },
        "pause" => Action::Pause {
            process: fields.process(),
            length: fields.length()?,
        },
        "throttle" => Action::Throttle {
            process: fields.process(),
            length: fields.length()?,
            share: fields.share()?,
        },
        "fill-disk" => Action::FillDisk {
            length: fields.length()?,
        },
        "clock-skew" => Action::ClockSkew {
            length: fields.length()?,
            offset_s: fields.offset_s()?,
        },
        "hook" => Action::Hook {
            name: fields.hook()?,
        },
        _ => {
            let known = "kill, pause, throttle, fill-disk, clock-skew or hook";
            return Err(fields.error("action", &format!("{name:?} is not known: {known}")));
        }
    };
    fields.nothing_left()?;
    Ok(Disturbance { at, action })
}
