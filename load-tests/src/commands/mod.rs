//! One function a command.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use oscillink_load_tests::report::{self, Report};
use oscillink_load_tests::run::{Callbacks, Keys, Options, Stripe, run as run_scenario};
use oscillink_load_tests::scenario::{Scenario, ScenarioError};

use crate::cli::{Cli, Command, Outputs, Run};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// A threshold did not hold, or a disturbance could not be carried out.
    Thresholds = 1,
    /// The scenario or the command line is at fault.
    Usage = 2,
    /// Something was lost, doubled or wrong.
    Incorrect = 3,
    /// The run could not be made.
    Impossible = 4,
    /// Stopped by its user.
    Interrupted = 130,
}

impl Exit {
    /// What an error ends the program with.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.downcast_ref::<ScenarioError>().is_some() {
            Self::Usage
        } else {
            Self::Impossible
        }
    }

    fn of_report(report: &Report) -> Self {
        if !report.correctness.passed {
            Self::Incorrect
        } else if report.interrupted {
            Self::Interrupted
        } else if !report.passed {
            Self::Thresholds
        } else {
            Self::Ok
        }
    }
}

/// Does what the command line says.
///
/// # Errors
/// It could not be done at all.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Run(command) => measure(*command),
        Command::Check { scenario } => {
            let scenario = Scenario::load(&scenario)?;
            let (flows, thresholds) = (scenario.flows.len(), scenario.thresholds.len());
            print(&format!(
                "{}: {flows} flows, {thresholds} thresholds\n",
                scenario.name
            ))?;
            Ok(Exit::Ok)
        }
        Command::Report {
            report: path,
            outputs,
        } => {
            let report = read(&path)?;
            write(&report, &outputs)?;
            print(&report::text(&report))?;
            Ok(Exit::of_report(&report))
        }
        Command::Compare {
            before,
            after,
            fail_above,
        } => {
            let compared = report::compare::compare(&read(&before)?, &read(&after)?);
            print(&compared.text())?;
            let limit = fail_above.unwrap_or(f64::INFINITY) / 100.0;
            Ok(if compared.worst() > limit {
                Exit::Thresholds
            } else {
                Exit::Ok
            })
        }
    }
}

fn measure(command: Run) -> anyhow::Result<Exit> {
    let mut scenario = Scenario::load(&command.scenario)?;
    if let Some(duration) = command.duration {
        scenario = scenario.scaled_to(duration);
    }
    let outputs = command.outputs;
    // Before the run: hours of measuring must not end with a report that has no place.
    for path in [&outputs.json, &outputs.csv, &outputs.html] {
        path.as_deref().map_or(Ok(()), try_to_write)?;
    }
    let stripe_path = command.stripe_path;
    let stripe = command.stripe_url.zip(command.stripe_secret);
    let mut options = Options {
        target: command.target,
        serve: command.serve,
        keys: Keys::Named(command.keys.into_iter().collect()),
        admin_secret: command.admin_secret,
        callbacks: Callbacks {
            listen: command.callback_listen,
            public: command.callback_url,
            secrets: command.callback_secrets,
        },
        stripe: stripe.map(|(url, secret)| Stripe {
            url,
            path: stripe_path,
            secret,
        }),
        stage: Default::default(),
        live: !command.quiet,
    };
    options.stage.processes = command.processes.into_iter().collect();
    options.stage.hooks = command.hooks.into_iter().collect();
    let report = run_scenario(scenario, options)?;
    write(&report, &outputs)?;
    print(&report::text(&report))?;
    Ok(Exit::of_report(&report))
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let named = || path.display().to_string();
    let text = std::fs::read(path).with_context(named)?;
    serde_json::from_slice(&text).with_context(named)
}

fn write(report: &Report, outputs: &Outputs) -> anyhow::Result<()> {
    let forms = [
        (&outputs.json, serde_json::to_string_pretty(report)?),
        (&outputs.csv, report::csv(report)),
        (&outputs.html, report::html(report)),
    ];
    for (path, text) in forms {
        if let Some(path) = path {
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Finds out whether a file can be written, and leaves it as it is.
fn try_to_write(path: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(path);
    if found
        .as_ref()
        .is_ok_and(|found| !found.is_file() && !found.is_dir())
    {
        // A pipe or a device: opening it alone may have effects.
        return Ok(());
    }
    let mut options = std::fs::OpenOptions::new();
    let opened = options.append(true).create(true).open(path);
    opened.with_context(|| path.display().to_string())?;
    if found.is_err() {
        std::fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
