//! A bus in memory that remembers what was published.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use oscillink_domain::Event;
use oscillink_domain::event::Topic;
use oscillink_ports::{Bus, EventHandler, PortError};

use crate::faults::Faults;

/// One publication: topic, ordering key, event.
type Published = (Topic, String, Event);

/// Remembers publications. Clones share them.
#[derive(Clone)]
pub struct MemoryBus {
    published: Arc<Mutex<Vec<Published>>>,
    heard: Arc<AtomicBool>,
    faults: Faults,
}

impl MemoryBus {
    /// Nothing published.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self {
            published: Arc::default(),
            heard: Arc::new(AtomicBool::new(true)),
            faults,
        }
    }

    /// Whether there is anyone who may hear of events; at first there is.
    pub fn set_heard(&self, heard: bool) {
        self.heard.store(heard, Ordering::Relaxed);
    }

    /// All publications in order.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn may_be_heard(&self, _: Topic) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    async fn publish(
        &self,
        topic: Topic,
        ordering_key: &str,
        event: &Event,
    ) -> Result<(), PortError> {
        self.faults
            .call(|| {
                let mut published = self
                    .published
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                published.push((topic, ordering_key.to_owned(), event.clone()));
                Ok(())
            })
            .await
    }

    async fn subscribe(
        &self,
        _: Topic,
        _: &str,
        _: bool,
        _: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        Err(PortError::Refused {
            detail: "the bus in memory has no subscriptions; read what was published".into(),
        })
    }

    async fn subscribe_dead_letters(
        &self,
        _: Topic,
        _: Arc<dyn EventHandler>,
    ) -> Result<(), PortError> {
        Err(PortError::Refused {
            detail: "the bus in memory has no subscriptions".into(),
        })
    }
}
