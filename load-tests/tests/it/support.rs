//! The programs, and what they leave.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use oscillink_load_tests::report::Report;
use tempfile::TempDir;

/// The server's program: `OSCILLINK_BIN`, or the one that was built beside the tests.
pub fn server_program() -> Option<PathBuf> {
    let given = std::env::var_os("OSCILLINK_BIN").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_BIN_EXE_oscillink-load")).with_file_name("oscillink");
    Some(given.unwrap_or_else(beside)).filter(|path| path.exists())
}

/// A scenario of this crate.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(name)
}

/// A run of the program.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// What it said.
    pub output: String,
    dir: TempDir,
}

impl Ran {
    /// Its report.
    pub fn report(&self) -> Report {
        let text = std::fs::read(self.file("report.json")).expect(&self.output);
        serde_json::from_slice(&text).unwrap()
    }

    /// A file that it wrote.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Runs the program with these arguments.
pub fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oscillink-load"))
        .args(arguments)
        .env_remove("OSCILLINK_LOAD_KEYS")
        .env_remove("OSCILLINK_ADMIN_SECRET")
        .output()
        .unwrap()
}

/// Runs a scenario and keeps all forms of its report.
pub fn run(scenario: &Path, arguments: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (json, csv, html) = (at("report.json"), at("report.csv"), at("report.html"));
    let path = scenario.display().to_string();
    let mut all = vec![
        "run", &path, "--json", &json, "--csv", &csv, "--html", &html,
    ];
    all.extend(arguments);
    let output = program(&all);
    Ran {
        code: output.status.code().unwrap_or(-1),
        output: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        dir,
    }
}

/// Runs a scenario on a server of its own.
pub fn run_served(scenario: &Path) -> Ran {
    let server = server_program().unwrap().display().to_string();
    run(scenario, &["--serve", &server])
}

/// Runs a scenario that is given as text on a server of its own.
pub fn run_text(text: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    run_served(&path)
}
