//! Settings from variables: read with their defaults, and everything that is wrong gathered, so
//! that one start names every variable to mend. Where the variables come from is the caller's.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

/// Most threads, or things done at once, that a setting may ask for: beyond it a machine only takes
/// turns, and far beyond it has no memory left.
pub const MAX_PARALLEL: usize = 1024;

/// A source of variables.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Variables that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// Reads settings from variables.
pub struct Lookup<'a> {
    variables: &'a Variables<'a>,
    errors: Vec<String>,
}

impl<'a> Lookup<'a> {
    /// Reads from `variables`.
    #[must_use]
    pub fn new(variables: &'a Variables<'a>) -> Self {
        Self {
            variables,
            errors: Vec::new(),
        }
    }

    /// The settings, if every variable could be used.
    ///
    /// # Errors
    /// Names every variable that could not.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError(self.errors))
        }
    }

    /// Notes that the variable `name` cannot be used.
    pub fn refuse(&mut self, name: &str, detail: impl Display) {
        self.errors.push(format!("{name} {detail}"));
    }

    /// A variable's text, trimmed. An empty variable counts as not set.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.variables)(name)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// A setting that may be absent.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse(name, format_args!("cannot be used: {error}"));
                None
            }
        }
    }

    /// A setting with a default.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// A number of things, at least one.
    pub fn count(&mut self, name: &str, default: usize) -> usize {
        let value = self.parsed(name, default);
        if value == 0 {
            self.refuse(name, "must be at least 1");
        }
        value
    }

    /// A number of threads, or of things done at once: at least one and at most
    /// [`MAX_PARALLEL`]. A default made of the machine's cores is taken as it is.
    pub fn parallel(&mut self, name: &str, default: usize) -> usize {
        let value = self.optional(name).unwrap_or(default);
        if value == 0 {
            self.refuse(name, "must be at least 1");
        }
        if value > MAX_PARALLEL.max(default) {
            self.refuse(name, format_args!("must be at most {MAX_PARALLEL}"));
        }
        value
    }

    /// A size in bytes, at least one.
    pub fn bytes(&mut self, name: &str, default: usize) -> usize {
        self.count(name, default)
    }

    /// A time in whole seconds, at least one.
    pub fn seconds(&mut self, name: &str, default: Duration) -> Duration {
        let seconds = self.parsed(name, default.as_secs());
        if seconds == 0 {
            self.refuse(name, "must be at least 1 second");
        }
        Duration::from_secs(seconds)
    }

    /// A time in milliseconds.
    pub fn millis(&mut self, name: &str, default: Duration) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.parsed(name, default))
    }

    /// A switch.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).as_deref() {
            None => default,
            Some("1" | "true" | "yes" | "on") => true,
            Some("0" | "false" | "no" | "off") => false,
            Some(_) => {
                self.refuse(name, "must be true or false");
                default
            }
        }
    }

    /// A secret of at least `min_bytes`. Its text never goes into an error.
    pub fn secret(&mut self, name: &str, min_bytes: usize) -> Option<SecretString> {
        let text = self.text(name)?;
        if text.len() < min_bytes {
            self.refuse(name, format_args!("must have at least {min_bytes} bytes"));
        }
        Some(SecretString::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_named_at_once_and_secrets_are_not_shown() {
        let variables = |name: &str| match name {
            "A" => Some("x".to_owned()),
            "B" => Some(" 7 ".to_owned()),
            "C" => Some("hunter2".to_owned()),
            "D" => Some("  ".to_owned()),
            _ => None,
        };
        let mut read = Lookup::new(&variables);
        assert_eq!(read.count("A", 3), 3);
        assert_eq!(read.count("B", 3), 7);
        assert_eq!(read.count("D", 3), 3, "empty is not set");
        assert!(read.secret("C", 16).is_some());
        let text = read.finish(()).unwrap_err().to_string();
        assert!(
            text.contains("A cannot be used") && text.contains("C must have at least 16"),
            "{text}"
        );
        assert!(!text.contains("hunter2"));
    }
}
