//! Who is told when a job ends: whichever use case ended it, once for each job.

use std::sync::OnceLock;

use oscillink_domain::Job;

use crate::Engine;

type Listener = Box<dyn Fn(&Job) + Send + Sync>;

/// The one that is told, if there is one.
#[derive(Default)]
pub(crate) struct Ended(OnceLock<Listener>);

impl Engine {
    /// Has `listener` told of every job that this engine ends, after it is durable. A crash in between
    /// tells no one: this is for metrics. Only the first listener counts.
    pub fn on_end(&self, listener: impl Fn(&Job) + Send + Sync + 'static) {
        // A second one is a mistake of the wiring that does no harm.
        let _ = self.inner.ended.0.set(Box::new(listener));
    }

    /// Tells of `job` if it has ended.
    pub(crate) fn tell_end(&self, job: &Job) {
        if let Some(listener) = self.inner.ended.0.get()
            && job.status.is_terminal()
        {
            listener(job);
        }
    }
}
