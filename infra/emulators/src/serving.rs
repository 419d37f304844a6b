//! A server in the background that ends with its owner.

use tokio::task::JoinHandle;

/// A task in the background that ends with its owner.
pub struct Serving(JoinHandle<()>);

impl Serving {
    /// Begins it.
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
