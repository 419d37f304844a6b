//! The `oscillink` binary: every role of the service and its command line in one program.

mod cli;
mod client;
mod commands;
mod data_dir;
mod exit;
mod output;
mod problem;
mod settings;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::exit::{Exit, exit_of, is_broken_pipe};
use crate::output::note;

/// Threads that hand requests to each other allocate here and free there.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = commands::run(Cli::parse());
    let exit = match outcome {
        Ok(()) => Exit::Ok,
        Err(error) if is_broken_pipe(&error) => Exit::Ok,
        Err(error) => {
            note(format!("oscillink: {error:#}"));
            exit_of(&error)
        }
    };
    ExitCode::from(exit as u8)
}
