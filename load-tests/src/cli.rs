//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use oscillink_load_tests::chaos::ProcessId;

/// Load, correctness under load, and chaos, over public HTTP.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0    every threshold held and nothing was lost or doubled
  1    a threshold did not hold, or a disturbance could not be carried out
  2    usage: an unknown flag, a scenario with a field at fault
  3    something was lost, doubled or wrong, whatever the latencies
  4    the run could not be made: no server, no key, no root for a small disk
  130  interrupted";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario
    Run(Box<Run>),
    /// Check a scenario without running it
    Check {
        /// The scenario
        scenario: PathBuf,
    },
    /// Show a report again, or write it in another form
    Report {
        /// A report as JSON
        report: PathBuf,
        #[command(flatten)]
        outputs: Outputs,
    },
    /// Compare two reports
    Compare {
        /// The report to compare with
        before: PathBuf,
        /// The report to judge
        after: PathBuf,
        /// Fail when a percentile of latency has grown, or throughput fallen, by more than this,
        /// percent
        #[arg(long, value_name = "PERCENT")]
        fail_above: Option<f64>,
    },
}

#[derive(Debug, Args)]
pub struct Run {
    /// The scenario
    pub scenario: PathBuf,
    /// Base address of the service
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "serve",
        required_unless_present = "serve"
    )]
    pub target: Option<String>,
    /// Start this program (`oscillink`) with a folder and keys of its own
    #[arg(long, value_name = "PROGRAM")]
    pub serve: Option<PathBuf>,
    /// A tenant's key; the variable OSCILLINK_LOAD_KEYS takes `name=key` separated by commas
    #[arg(long = "key", value_name = "TENANT=KEY", env = "OSCILLINK_LOAD_KEYS", value_parser = pair, value_delimiter = ',', hide_env_values = true)]
    pub keys: Vec<(String, String)>,
    /// Opens /metrics where it is protected
    #[arg(
        long,
        value_name = "SECRET",
        env = "OSCILLINK_ADMIN_SECRET",
        hide_env_values = true
    )]
    pub admin_secret: Option<String>,
    /// Length of the run instead of the scenario's; its points in time move with it
    #[arg(long, value_name = "TIME", value_parser = oscillink_load_tests::scenario::parse_run_length)]
    pub duration: Option<std::time::Duration>,
    /// Where to listen for callbacks
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub callback_listen: SocketAddr,
    /// Base address at which the service reaches the receiver of callbacks
    #[arg(long, value_name = "URL")]
    pub callback_url: Option<String>,
    /// A secret (`whsec_…`) that signs callbacks, beside those that the service tells
    #[arg(
        long = "callback-secret",
        value_name = "SECRET",
        env = "OSCILLINK_LOAD_CALLBACK_SECRET",
        hide_env_values = true
    )]
    pub callback_secrets: Vec<String>,
    /// Base address of the webhook service
    #[arg(long, value_name = "URL", requires = "stripe_secret")]
    pub stripe_url: Option<String>,
    /// Path of its endpoint
    #[arg(long, value_name = "PATH", default_value = "/stripe/webhook")]
    pub stripe_path: String,
    /// The endpoint's signing secret
    #[arg(
        long,
        value_name = "SECRET",
        env = "STRIPE_WEBHOOK_SECRET",
        hide_env_values = true
    )]
    pub stripe_secret: Option<String>,
    /// A process that chaos may disturb, by its id or by a file that holds it; with a minus sign its group
    #[arg(long = "process", value_name = "NAME=PID|NAME=@FILE", value_parser = process)]
    pub processes: Vec<(String, ProcessId)>,
    /// A command that chaos may run
    #[arg(long = "hook", value_name = "NAME=COMMAND", value_parser = pair)]
    pub hooks: Vec<(String, String)>,
    /// Do not show the run while it goes
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub outputs: Outputs,
}

/// Files that a report is written to.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the series as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the report as one HTML file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn process(text: &str) -> Result<(String, ProcessId), String> {
    let (name, value) = pair(text)?;
    let id = match value.strip_prefix('@') {
        Some(path) => ProcessId::InFile(path.into()),
        None => ProcessId::Known(value.parse().map_err(|_| "write NAME=PID or NAME=@FILE")?),
    };
    Ok((name, id))
}
