//! Stories about the harness: the real program, against the real server. What needs something that
//! is not there is shown as ignored.

#![allow(
    clippy::unwrap_used,
    reason = "stories state their expectations with unwrap; clippy knows only those marked as tests"
)]

mod chaos;
mod faults;
mod proxy;
mod report;
mod runs;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// What a story needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The harness alone.
    Nothing,
    /// The server's program.
    Server,
    /// The server's program, and leave to mount a file system.
    Root,
    /// The server's program and Chromium.
    Chromium,
}

impl Needs {
    fn are_there(self) -> bool {
        let server = support::server_program().is_some();
        match self {
            Self::Nothing => true,
            Self::Server => server,
            Self::Root => server && rustix::process::geteuid().is_root(),
            Self::Chromium => {
                let required = std::env::var_os("OSCILLINK_REQUIRE_CHROMIUM").is_some();
                server && (required || report::chromium().is_some())
            }
        }
    }
}

/// A story.
pub type Story = (&'static str, Needs, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The stories measure time on few processors: one after another.
    arguments.test_threads = Some(1);
    let stories = [
        runs::STORIES,
        faults::STORIES,
        chaos::STORIES,
        report::STORIES,
    ];
    let trials = stories.concat().into_iter().map(|(name, needs, story)| {
        let run = move || -> Result<(), Failed> {
            story();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!needs.are_there())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
