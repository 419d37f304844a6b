//! One file per subcommand, and the switch between them.

#[cfg(feature = "bench")]
pub mod bench;
pub mod cancel;
pub mod demo;
pub mod export_usage;
pub mod get;
pub mod keys;
pub mod list;
pub mod reconcile;
pub mod role;
pub mod serve;
pub mod solve;
pub mod submit;
pub mod verify;
mod verify_export;
pub mod wait;

use anyhow::{Context as _, Result};

use crate::cli::{Cli, Command};
use crate::output::Output;

/// Runs the command.
pub fn run(cli: Cli) -> Result<()> {
    let display = cli.display;
    let output = Output::new(display);
    match cli.command {
        Command::Solve(args) => solve::run(&args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => bench::run(&args, output),
        Command::Verify(args) => verify::run(&args, output),
        Command::Demo(args) => block_on(demo::run(&args, output.prose(display))),
        Command::Serve(args) => block_on(serve::run(&args, output)),
        Command::Gateway(args) => block_on(role::gateway(&args)),
        Command::Worker(args) => block_on(role::worker(&args)),
        Command::Webhook(args) => block_on(role::webhook(&args)),
        Command::Reconcile(args) => block_on(reconcile::run(&args, output)),
        Command::ExportUsage(args) => block_on(export_usage::run(&args, output)),
        Command::Submit(args) => block_on(submit::run(&args, output)),
        Command::Get(args) => block_on(get::run(&args, output)),
        Command::Wait(args) => block_on(wait::run(&args, output)),
        Command::Cancel(args) => block_on(cancel::run(&args, output)),
        Command::List(args) => block_on(list::run(&args, output)),
        Command::Keys(args) => block_on(keys::run(&args, output)),
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")?
        .block_on(command)
}
