//! Settings of the callback pool.

use std::time::Duration;

use oscillink_domain::settings::Lookup;

/// Most callbacks under way, whatever is asked for.
const MOST_PLACES: usize = 4_096;

/// Longest attempt: with its wait for a turn it must end before the queue takes it for lost.
const LONGEST: Duration = Duration::from_secs(15);

/// Settings of the callback pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackConfig {
    /// Callbacks may go to private addresses, and over http (`OSCILLINK_CALLBACK_ALLOW_PRIVATE`).
    pub allow_private: bool,
    /// Time for one attempt, from resolving the name to the answer's status
    /// (`OSCILLINK_CALLBACK_TIMEOUT` seconds).
    pub timeout: Duration,
    /// Callbacks under way at once (`OSCILLINK_CALLBACK_CONCURRENCY`).
    pub max_concurrent: usize,
    /// Of these, to one host (`OSCILLINK_CALLBACK_HOST_CONCURRENCY`).
    pub max_per_host: usize,
}

impl Default for CallbackConfig {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout: Duration::from_secs(10),
            max_concurrent: 64,
            max_per_host: 8,
        }
    }
}

impl CallbackConfig {
    /// From variables.
    pub(crate) fn read(read: &mut Lookup<'_>) -> Self {
        let defaults = Self::default();
        let timeout = read.seconds("OSCILLINK_CALLBACK_TIMEOUT", defaults.timeout);
        if timeout > LONGEST {
            let detail = format_args!("must be at most {} seconds", LONGEST.as_secs());
            read.refuse("OSCILLINK_CALLBACK_TIMEOUT", detail);
        }
        Self {
            timeout,
            allow_private: read.flag("OSCILLINK_CALLBACK_ALLOW_PRIVATE", defaults.allow_private),
            max_concurrent: read
                .parallel("OSCILLINK_CALLBACK_CONCURRENCY", defaults.max_concurrent),
            max_per_host: read
                .parallel("OSCILLINK_CALLBACK_HOST_CONCURRENCY", defaults.max_per_host),
        }
    }

    pub(super) fn places(&self) -> usize {
        self.max_concurrent.clamp(1, MOST_PLACES)
    }
}
