//! The programs that tests need, and what happens without them.

use std::env;
use std::process::Command;

use libtest_mimic::{Completion, Trial};

/// A program that may be missing.
pub struct Program {
    /// Its command.
    command: fn() -> String,
    /// Arguments with which it succeeds where it is of use.
    probe: &'static [&'static str],
    /// The variable that makes its absence a failure.
    required_by: &'static str,
}

/// bash and curl.
pub const SHELL: Program = Program {
    command: || "bash".to_owned(),
    probe: &["-c", "curl --version"],
    required_by: "OSCILLINK_REQUIRE_PYTHON",
};

/// Python with its standard library.
pub const PYTHON: Program = Program {
    command: python,
    probe: &["-c", "import hashlib, hmac, json"],
    required_by: "OSCILLINK_REQUIRE_PYTHON",
};

/// Python with the client.
pub const PYTHON_CLIENT: Program = Program {
    command: python,
    probe: &["-c", "import oscillink_client"],
    required_by: "OSCILLINK_REQUIRE_PYTHON",
};

/// Node with `fetch`.
pub const NODE: Program = Program {
    command: || "node".to_owned(),
    probe: &["-e", "fetch"],
    required_by: "OSCILLINK_REQUIRE_NODE",
};

/// Prometheus and promtool.
pub const PROMETHEUS: Program = Program {
    command: || "sh".to_owned(),
    probe: &["-c", "prometheus --version && promtool --version"],
    required_by: "OSCILLINK_REQUIRE_PROMETHEUS",
};

/// Terraform, without any provider.
pub const TERRAFORM: Program = Program {
    command: || "terraform".to_owned(),
    probe: &["version"],
    required_by: "OSCILLINK_REQUIRE_TERRAFORM",
};

/// The interpreter to use.
pub fn python() -> String {
    env::var("OSCILLINK_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

impl Program {
    fn missing(&self) -> Option<String> {
        let command = (self.command)();
        let probe = Command::new(&command).args(self.probe).output();
        match probe {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let last = text.lines().last().unwrap_or_default();
                Some(format!("{command}: {last}"))
            }
            Err(error) => Some(format!("{command}: {error}")),
        }
    }
}

/// A test that needs `program`.
pub fn needs(program: &'static Program, name: &str, test: fn()) -> Trial {
    Trial::ignorable_test(name, move || match program.missing() {
        None => {
            test();
            Ok(Completion::Completed)
        }
        Some(reason) if env::var(program.required_by).is_ok_and(|value| value == "1") => {
            Err(reason.into())
        }
        Some(reason) => Ok(Completion::ignored_with(reason)),
    })
}
