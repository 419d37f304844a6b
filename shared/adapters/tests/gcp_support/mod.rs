//! The bench that the tests run on: a runtime, and the emulators, each started when first asked for.

pub mod blobs;
pub mod bus;
pub mod infra;
pub mod oidc;
pub mod queue;
pub mod quota;
pub mod store;

use std::sync::{Arc, OnceLock};

use libtest_mimic::{Completion, Failed, Trial};
use oscillink_emulators::{Emulator, Trouble, required};
use oscillink_ports::conformance::unique;
use tokio::runtime::{Builder, Runtime};

/// Shared by all tests of a run.
pub struct Bench {
    runtime: Runtime,
    firestore: OnceLock<Result<Emulator, Trouble>>,
    pubsub: OnceLock<Result<Emulator, Trouble>>,
}

impl Bench {
    pub fn new() -> Arc<Self> {
        let runtime = Builder::new_multi_thread().enable_all().build();
        Arc::new(Self {
            runtime: runtime.expect("a runtime"),
            firestore: OnceLock::new(),
            pubsub: OnceLock::new(),
        })
    }

    /// `http://host:port` of the Firestore emulator.
    pub fn firestore(&self) -> Result<String, Trouble> {
        let emulator = self.firestore.get_or_init(Emulator::firestore).as_ref();
        emulator.map(Emulator::address).map_err(Clone::clone)
    }

    /// `http://host:port` of the Pub/Sub emulator.
    pub fn pubsub(&self) -> Result<String, Trouble> {
        let emulator = self.pubsub.get_or_init(Emulator::pubsub).as_ref();
        emulator.map(Emulator::address).map_err(Clone::clone)
    }
}

/// A project that no other test uses: what is in it is the test's own.
pub fn project() -> String {
    unique("test")
}

/// A test that needs `resource`. Without it the test is ignored, or fails where emulators are
/// required.
pub fn trial<R, F>(
    bench: &Arc<Bench>,
    name: &str,
    resource: impl FnOnce(&Bench) -> Result<R, Trouble> + Send + 'static,
    test: impl FnOnce(R) -> F + Send + 'static,
) -> Trial
where
    F: Future<Output = ()>,
{
    let bench = Arc::clone(bench);
    Trial::ignorable_test(name, move || match resource(&bench) {
        Ok(resource) => {
            bench.runtime.block_on(test(resource));
            Ok(Completion::Completed)
        }
        Err(Trouble::Missing(why)) if !required() => Ok(Completion::ignored_with(why)),
        Err(trouble) => Err(Failed::from(trouble)),
    })
}

/// A test of each check of a conformance suite, and one that fails if a check is missing.
#[macro_export]
macro_rules! conformance_trials {
    (
        $bench:expr, $suite:ident,
        resource: $resource:expr,
        fixture: $fixture:expr,
        checks: [$($check:ident),* $(,)?] $(,)?
    ) => {{
        let mut named = vec![$(stringify!($check)),*];
        let mut trials = vec![$(
            $crate::gcp_support::trial(
                $bench,
                concat!(stringify!($suite), "::", stringify!($check)),
                $resource,
                |resource| async move {
                    let fixture = $fixture(resource, stringify!($check)).await;
                    $suite::$check(&fixture).await;
                },
            )
        ),*];
        let name = concat!(stringify!($suite), "::names_every_check");
        trials.push(libtest_mimic::Trial::test(name, move || {
            let mut all = $suite::CHECKS.to_vec();
            named.sort_unstable();
            all.sort_unstable();
            assert_eq!(named, all, "every check must be listed");
            Ok(())
        }));
        trials
    }};
}
