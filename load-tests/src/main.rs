//! The program `oscillink-load`: runs scenarios, shows and compares their reports.

mod cli;
mod commands;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            // Without a reader there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "oscillink-load: {error:#}");
            ExitCode::from(commands::Exit::of(&error) as u8)
        }
    }
}
