//! `make cloud-local`: rehearses a deployment on this machine and runs the demo through it.
//!
//! Starts Google's Firestore and Pub/Sub emulators, the Cloud Tasks emulator and a local object
//! store, then gateway, worker pools and webhook as separate processes on the Google Cloud adapters.
//! Runs a command against them, the demo unless told otherwise, and stops everything.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use oscillink_emulators::chaos::{VARIABLES, begin_anew, storm};
use oscillink_emulators::collector::Collector;
use oscillink_emulators::rehearsal::{
    ADMIN_SECRET, KEY, RECEIPT_SECRET, Rehearsal, Variables, WEBHOOK_SECRET,
};
use oscillink_emulators::{Trouble, required, traces};
use tokio::process::Command;

/// Rehearses a deployment on this machine.
#[derive(Parser)]
struct Args {
    /// The `oscillink` program, built with the `gcp` feature
    #[arg(long, default_value = "target/debug/oscillink")]
    program: PathBuf,
    /// Keep running until Ctrl-C instead of running a command
    #[arg(long)]
    serve: bool,
    /// Crash each service in turn under load and check the books, instead of running a command
    #[arg(long, conflicts_with_all = ["serve", "command"])]
    chaos: bool,
    /// Follow one trace through the services, instead of running a command
    #[arg(long, conflicts_with_all = ["serve", "chaos", "command"])]
    traces: bool,
    /// Rounds of crashes
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Without emulators on this machine say so and succeed, unless OSCILLINK_REQUIRE_EMULATORS=1
    #[arg(long)]
    if_installed: bool,
    /// Start again what ends while the command runs, and keep process ids in files of this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "chaos")]
    supervise: Option<PathBuf>,
    /// A further variable of every service
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// A further variable of the worker pools
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    worker_env: Vec<(String, String)>,
    /// The command to run against it; OSCILLINK_SERVER and OSCILLINK_API_KEY tell it where
    #[arg(last = true)]
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    say("starting emulators and services");
    let quick = args.chaos.then_some(VARIABLES).into_iter().flatten();
    let mut variables = Variables {
        all: args.env,
        workers: args.worker_env,
    };
    let quick = quick.map(|(name, value)| (name.to_owned(), value.to_owned()));
    variables.all.extend(quick);
    let collector = args.traces.then(Collector::start).transpose()?;
    let traced = collector.iter().flat_map(traces::variables);
    variables
        .all
        .extend(traced.map(|(name, value)| (name.to_owned(), value)));
    let mut rehearsal = match Rehearsal::start(&args.program, variables).await {
        Err(error) if args.if_installed && !required() && is_missing(&error) => {
            say(&format!("ignored: {error}"));
            return Ok(ExitCode::SUCCESS);
        }
        started => started?,
    };
    for service in rehearsal.services() {
        say(&format!("{} is ready", service.name));
    }
    say(&format!(
        "gateway at {} (X-API-Key: {KEY})",
        rehearsal.url()
    ));
    if let Some(collector) = &collector {
        let spans = traces::follow(&rehearsal, collector).await?;
        say(&format!("one trace of {spans} spans through all services"));
        rehearsal.stop().await?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.chaos {
        let outcome = storm(&mut rehearsal, args.rounds).await?;
        say(&format!(
            "the books balance after {} rounds of crashes: {outcome:?}",
            args.rounds
        ));
        let outcome = begin_anew(&mut rehearsal).await?;
        say(&format!(
            "and after the loss of every document: {outcome:?}"
        ));
        rehearsal.stop().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut command = args.command.into_iter();
    let mut run = match command.next() {
        Some(program) => Command::new(program),
        None => {
            let mut demo = Command::new(&args.program);
            demo.args(["demo", "--server", rehearsal.url()]);
            demo
        }
    };
    run.args(command)
        .env("OSCILLINK_SERVER", rehearsal.url())
        .env("OSCILLINK_API_KEY", KEY)
        .env("RECEIPT_HMAC_SECRET", RECEIPT_SECRET)
        .env("OSCILLINK_BILLING_URL", rehearsal.billing_url())
        .env("OSCILLINK_ADMIN_SECRET", ADMIN_SECRET)
        .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET);
    let work = async {
        if args.serve {
            tokio::signal::ctrl_c().await?;
            return Ok(0);
        }
        let status = run.status().await.context("the command does not start")?;
        Ok(status.code().unwrap_or(1))
    };
    let code = match &args.supervise {
        None => work.await,
        Some(folder) => tokio::select! {
            code = work => code,
            Err(error) = rehearsal.supervise(folder) => Err(error),
        },
    }?;
    // What was disturbed last may still be starting.
    rehearsal.all_ready().await?;
    rehearsal.stop().await?;
    say("every service drained and ended well");
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Trouble::Missing(_)))
}

#[expect(
    clippy::print_stderr,
    reason = "a command line tool speaks on standard error"
)]
fn say(text: &str) {
    eprintln!("cloud-local: {text}");
}
