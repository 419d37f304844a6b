//! The conformance suite: the traits' promises as checks that every adapter runs.
//!
//! An adapter's tests name each check through [`conformance_tests!`](crate::conformance_tests). A
//! check that an adapter cannot run is listed as ignored, with its reason; one that is left out is a
//! failure. Checks share a backend with others and with earlier runs, so each works under names of
//! its own. They wait for conditions, with a timeout that fails, and never rely on a pause.

// A check that does not hold panics: that is its purpose.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod blob;
pub mod bus;
pub mod queue;
pub mod store;

use std::any::Any;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a backend needs to stay alive, a temporary folder for example.
pub type Keep = Box<dyn Any + Send + Sync>;

/// How long a check waits for something that must happen.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits for `future`, at most [`TIMEOUT`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {TIMEOUT:?}: {what}"),
    }
}

/// Asks again until `ask` gives something, at most [`TIMEOUT`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    within(what, async {
        loop {
            if let Some(value) = ask().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// A number that no other call, also of another run, is likely to give.
#[must_use]
pub fn unique_number() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(COUNTER.fetch_add(1, Ordering::Relaxed));
    hasher.finish()
}

/// A name that no other call is likely to give.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", unique_number())
}

/// Makes a test of each check of a suite, and one that fails if a check is missing.
///
/// ```ignore
/// conformance_tests! {
///     suite: oscillink_ports::conformance::blob,
///     fixture: open_blobs,
///     checks: [reads_back_what_was_created, deletes_are_idempotent],
///     ignored: { create_never_replaces: "the emulator replaces" },
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    (
        suite: $suite:path,
        fixture: $fixture:path,
        checks: [$($check:ident),* $(,)?],
        ignored: { $($ignored:ident : $reason:literal),* $(,)? } $(,)?
    ) => {
        use $suite as suite;

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                suite::$check(&$fixture().await).await;
            }
        )*

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = $reason]
            async fn $ignored() {
                suite::$ignored(&$fixture().await).await;
            }
        )*

        #[test]
        fn names_every_check() {
            let mut named = [$(stringify!($check),)* $(stringify!($ignored),)*];
            let mut all = suite::CHECKS.to_vec();
            named.sort_unstable();
            all.sort_unstable();
            assert_eq!(named.as_slice(), all, "every check must be listed, if only as ignored");
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{blob, bus, queue, store};

    #[test]
    fn the_lists_of_checks_are_complete() {
        let suites = [
            (include_str!("conformance/blob.rs"), blob::CHECKS),
            (include_str!("conformance/bus.rs"), bus::CHECKS),
            (
                concat!(
                    include_str!("conformance/queue/tasks.rs"),
                    include_str!("conformance/queue/limits.rs"),
                ),
                queue::CHECKS,
            ),
            (
                concat!(
                    include_str!("conformance/store.rs"),
                    include_str!("conformance/store/transactions.rs"),
                    include_str!("conformance/store/queries.rs"),
                ),
                store::CHECKS,
            ),
        ];
        for (source, checks) in suites {
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .filter_map(|rest| rest.split('(').next())
                .collect();
            assert_eq!(written, checks);
        }
    }
}
