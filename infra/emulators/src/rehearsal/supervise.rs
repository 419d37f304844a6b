//! Starts again what has ended, as a platform would, and tells whoever disturbs it the process ids.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::{Rehearsal, Service, launch};

/// How often it is looked whether a service has ended.
const LOOK: Duration = Duration::from_millis(50);
/// What a platform needs until it starts another instance.
const ABSENCE: Duration = Duration::from_secs(1);

impl Rehearsal {
    /// Keeps every service running until it is dropped. `folder` has a file for each service
    /// (`gateway`, `settle-pool`, …) with its process id, and one for each emulator (`documents`,
    /// `events`) with that of its process group, which has a minus sign.
    ///
    /// # Errors
    /// A service cannot be started, or its id not be written.
    pub async fn supervise(&mut self, folder: &Path) -> Result<Infallible> {
        std::fs::create_dir_all(folder)?;
        for (name, emulator) in [("documents", &self.firestore), ("events", &self.pubsub)] {
            write(folder, name, &format!("-{}", emulator.group()))?;
        }
        for service in &self.services {
            note(folder, service)?;
        }
        loop {
            sleep(LOOK).await;
            for service in &mut self.services {
                if service.child.try_wait()?.is_some() {
                    sleep(ABSENCE).await;
                    let (role, port) = (service.role, service.port);
                    service.child =
                        launch(&self.program, role, port, &self.shared, &service.variables)?;
                    note(folder, service)?;
                }
            }
        }
    }
}

fn note(folder: &Path, service: &Service) -> Result<()> {
    let id = service.child.id().context("it was started just now")?;
    write(folder, &service.name.replace(' ', "-"), &id.to_string())
}

/// In one step: whoever reads meanwhile sees the old id or the new one.
fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| path.display().to_string())
}
