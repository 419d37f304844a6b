//! One shutdown signal for every loop and server of the process.

use tokio::sync::watch;

/// Waits for shutdown. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Begins shutdown. Dropping it begins shutdown too, so that a wait can never outlive its cause.
#[derive(Debug)]
pub struct ShutdownHandle(watch::Sender<bool>);

impl Shutdown {
    /// A signal and the handle that raises it.
    #[must_use]
    pub fn new() -> (ShutdownHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownHandle(sender), Self(receiver))
    }

    /// Completes once shutdown has begun.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // An error means that the handle is gone, which counts as shutdown.
        let _ = receiver.wait_for(|begun| *begun).await;
    }

    /// Whether shutdown has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl ShutdownHandle {
    /// Begins shutdown.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// Completes at the first SIGTERM or SIGINT.
///
/// # Errors
/// The process may not install signal handlers.
pub async fn on_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_sees_it_also_after_the_fact() {
        let (handle, shutdown) = Shutdown::new();
        assert!(!shutdown.has_begun());
        let early = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        handle.begin();
        early.await.unwrap();
        shutdown.clone().wait().await;
        assert!(shutdown.has_begun());
    }

    #[tokio::test]
    async fn a_lost_handle_is_shutdown() {
        let (handle, shutdown) = Shutdown::new();
        drop(handle);
        shutdown.wait().await;
    }
}
