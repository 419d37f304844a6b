//! The Cloud Tasks emulator in this process: real pushes over HTTP, with signed tokens.

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The issuer that Google's tokens have.
const ISSUER: &str = "https://accounts.google.com";

/// A running emulator; it ends with its owner.
pub struct TasksEmulator {
    address: String,
    serving: JoinHandle<()>,
}

impl TasksEmulator {
    /// Starts on a free port.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            // Its end is seen by those who call it.
            drop(cloud_tasks_emulator::serve(listener, ISSUER.to_owned(), Vec::new()).await);
        });
        Ok(Self { address, serving })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where the keys of its tokens lie.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.address)
    }
}

impl Drop for TasksEmulator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
