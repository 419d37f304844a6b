//! The command line: what can be said, and the help that explains it.

use clap::{Parser, Subcommand};

use crate::commands;
use crate::exit::EXIT_CODES;
use crate::output::DisplayArgs;

const ABOUT: &str = "Settle embedding vectors into their most coherent state";

const LONG_ABOUT: &str = "\
Oscillink takes embedding vectors and a query and finds the state in which they agree best: every \
vector is pulled towards where it was, towards its nearest neighbours and towards the query. From \
the settled state it tells which rows belong together around the query (the bundle), what the pull \
changed (the receipt, signed if you like), and which rows resist (the null points).

This one program is the server, its client and an offline calculator.";

const EXAMPLES: &str = "\
Examples:
  oscillink demo                                 see the method at work, nothing to set up
  oscillink serve                                run the whole service on this machine
  oscillink solve vectors.npy --psi-row 0 --bundle 8
  oscillink submit vectors.npy --psi-row 0 --bundle 8 --diffusion --wait
  oscillink get job_… --array ustar --out settled.npy
  RECEIPT_HMAC_SECRET=… oscillink verify receipt.json";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "oscillink",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = EXAMPLES,
    after_long_help = const_format(),
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// How results are shown.
    #[command(flatten)]
    pub display: DisplayArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, those of a first look first.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the method on real text embeddings, start to finish, then exit
    Demo(commands::demo::Args),
    /// Run the whole service in this process, with no cloud and no account
    Serve(Box<commands::serve::Args>),
    /// Compute offline from a file and print the answer of the API
    Solve(commands::solve::Args),
    /// Measure how fast this machine computes, stage by stage
    #[cfg(feature = "bench")]
    Bench(commands::bench::Args),
    /// Hand a job to a server
    Submit(commands::submit::Args),
    /// Show a job, its result or one of its arrays
    Get(commands::get::Args),
    /// Wait until a job has ended
    Wait(commands::wait::Args),
    /// Stop a job
    Cancel(commands::cancel::Args),
    /// List jobs, newest first
    List(commands::list::Args),
    /// Run the HTTP API alone, over Google Cloud
    Gateway(commands::role::GatewayArgs),
    /// Run an instance of a worker pool alone, over Google Cloud
    Worker(commands::role::WorkerArgs),
    /// Run billing alone, over Google Cloud: Stripe's events, checkouts, usage to meters
    Webhook(commands::role::WebhookArgs),
    /// Make, list, rotate and revoke API keys
    Keys(commands::keys::Args),
    /// Check the signature of a receipt or of a usage file
    Verify(commands::verify::Args),
    /// Compare Stripe, keys, ledger and meters
    Reconcile(commands::reconcile::Args),
    /// Write the signed usage files of days that are over
    ExportUsage(commands::export_usage::Args),
}

fn const_format() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}
