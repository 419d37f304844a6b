//! The Cloud Tasks emulator in this process: real pushes over HTTP, with signed tokens.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::Serving;

/// The issuer that Google's tokens have.
const ISSUER: &str = "https://accounts.google.com";

/// Time for the address of an emulator that has ended to be free again.
const REBIND_TIMEOUT: Duration = Duration::from_secs(10);

fn serve(listener: TcpListener, queues: Vec<String>) -> Serving {
    Serving::spawn(async move {
        // Its end is seen by those who call it.
        drop(cloud_tasks_emulator::serve(listener, ISSUER.to_owned(), queues).await);
    })
}

/// A running emulator; it ends with its owner.
pub struct TasksEmulator {
    address: String,
    queues: Vec<String>,
    /// `None` while it is being restarted.
    serving: Option<Serving>,
}

impl TasksEmulator {
    /// Starts on a free port with these queues, named in full.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(queues: Vec<String>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let serving = Some(serve(listener, queues.clone()));
        Ok(Self {
            address,
            queues,
            serving,
        })
    }

    /// Ends it with everything that it held, and starts it anew at the same address.
    ///
    /// # Errors
    /// The address cannot be had again.
    pub async fn restart(&mut self) -> std::io::Result<()> {
        self.serving = None;
        let address = self.address.trim_start_matches("http://").to_owned();
        // Freed once the aborted task has been dropped.
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(error) if began.elapsed() > REBIND_TIMEOUT => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        self.serving = Some(serve(listener, self.queues.clone()));
        Ok(())
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
