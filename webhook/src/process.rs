//! Handling of stored events: read, ask Stripe for the subscription, let the engine decide.
//!
//! Whatever goes wrong on the way leaves the event open, to be tried again, or closed with its error,
//! to be mended and replayed. Handling an event twice, or two at once, has the effects of one.

use oscillink_domain::KeyId;
use oscillink_domain::billing::{BillingId, EventStatus, Reach, Seen, Subscription};
use oscillink_engine::{Announcement, Applied, BillingError, Change};
use oscillink_ports::PortError;
use serde_json::{Value, json};

use crate::api::ApiError;
use crate::event::{Look, Notice};
use crate::state::Billing;

/// Times that a subscription is fetched again because something else changed its account.
const FETCHES: u32 = 6;
/// Tries before an event whose key is not known counts as failed: the checkout that names the key
/// may come after it, but not hours after.
const UNLINKED_TRIES: u32 = 8;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its effects are in place.
    Processed,
    /// There was nothing to do.
    Ignored,
    /// It is kept with its error.
    Failed,
    /// It stays open and is tried again.
    PutOff,
    /// It was closed before.
    AlreadyClosed,
}

impl Outcome {
    /// The metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processed => "processed",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::PutOff => "put_off",
            Self::AlreadyClosed => "already_closed",
        }
    }
}

/// What Stripe said of a subscription.
enum Asked {
    /// This.
    Is(Subscription, Seen),
    /// Nothing, for a reason that may pass.
    Silent(String),
    /// That nothing can be said, ever.
    Never(String),
}

impl Billing {
    /// Handles a stored event.
    ///
    /// # Errors
    /// The store failed; the event stays as it is.
    pub async fn handle(&self, id: &str) -> Result<Outcome, BillingError> {
        let event = self.engine().webhook_event(id).await?;
        let event = event.ok_or(BillingError::NoSuchEvent)?;
        if !event.is_open() {
            return Ok(Outcome::AlreadyClosed);
        }
        let look = match Notice::read(&event.raw) {
            Ok(Notice::Look(look)) => look,
            Ok(Notice::Ignored(why)) => {
                return self.close(id, EventStatus::Ignored, why.to_owned()).await;
            }
            Err(error) => return self.close(id, EventStatus::Failed, error.0).await,
        };
        let outcome = self.look(id, &look, event.attempts).await?;
        Ok(outcome)
    }

    /// Brings what is known of a subscription up to date, without an event.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh(
        &self,
        subscription: &BillingId,
        key_id: &KeyId,
    ) -> Result<Applied, BillingError> {
        let mut key_id = key_id.clone();
        for _ in 0..FETCHES {
            let version = self.version(&key_id).await?;
            match self.ask(subscription).await {
                Asked::Is(state, seen) => {
                    if let Some(other) = moved(&state, seen, &key_id) {
                        key_id = other;
                        continue;
                    }
                    let change = Change {
                        event_id: None,
                        key_id: key_id.clone(),
                        state,
                        seen,
                        version,
                        announcement: None,
                    };
                    let rules = &self.config().rules;
                    match self.engine().apply_subscription(rules, change).await? {
                        Applied::Superseded => {}
                        applied => return Ok(applied),
                    }
                }
                Asked::Silent(_) => return Ok(Applied::PutOff),
                Asked::Never(error) => return Ok(Applied::Failed(error)),
            }
        }
        Ok(Applied::Superseded)
    }

    async fn look(&self, id: &str, look: &Look, attempts: u32) -> Result<Outcome, BillingError> {
        let mut key_id = self.key_of(look).await?;
        for _ in 0..FETCHES {
            let version = match &key_id {
                Some(key_id) => self.version(key_id).await?,
                None => 0,
            };
            let asked = match self.ask(&look.subscription).await {
                Asked::Silent(why) => self.told(look, key_id.as_ref(), why).await?,
                asked => asked,
            };
            let (state, seen) = match asked {
                Asked::Is(state, seen) => (state, seen),
                Asked::Silent(why) if key_id.is_some() => return self.put_off(id, why).await,
                Asked::Silent(why) => return self.unlinked(id, look, attempts, &why).await,
                Asked::Never(why) => return self.close(id, EventStatus::Failed, why).await,
            };
            let Some(known) = &key_id else {
                // The subscription itself may say, or its customer be known by now. What was
                // fetched before the account was read does not count: once more.
                key_id = match state.key_id.clone() {
                    Some(key_id) => Some(key_id),
                    None => self.engine().key_of_customer(&state.customer).await?,
                };
                if key_id.is_none() {
                    let why = "nothing says which key it is for";
                    return self.unlinked(id, look, attempts, why).await;
                }
                continue;
            };
            if let Some(other) = moved(&state, seen, known) {
                key_id = Some(other);
                continue;
            }
            let change = Change {
                event_id: Some(id.to_owned()),
                key_id: known.clone(),
                state,
                seen,
                version,
                announcement: announcement(look, known),
            };
            let rules = &self.config().rules;
            return Ok(
                match self.engine().apply_subscription(rules, change).await? {
                    Applied::Superseded => continue,
                    Applied::Done => Outcome::Processed,
                    Applied::AlreadyClosed => Outcome::AlreadyClosed,
                    Applied::PutOff => Outcome::PutOff,
                    Applied::Failed(error) => {
                        tracing::warn!(event = id, error, "a billing event failed");
                        Outcome::Failed
                    }
                },
            );
        }
        let why = "other changes to the account came in between, again and again";
        self.put_off(id, why.to_owned()).await
    }

    /// What Stripe says now.
    async fn ask(&self, subscription: &BillingId) -> Asked {
        let Some(api) = self.api() else {
            return Asked::Silent("there is no key for Stripe's API".to_owned());
        };
        let at = self.engine().now();
        match api.subscription(subscription).await {
            Ok(Some(state)) => Asked::Is(state, Seen::Fetched { at }),
            Ok(None) => Asked::Never(format!("Stripe has no subscription {subscription}")),
            Err(ApiError::Unreachable(why)) => Asked::Silent(why),
            Err(error) => Asked::Silent(error.to_string()),
        }
    }

    /// What the event itself says, when Stripe says nothing.
    async fn told(
        &self,
        look: &Look,
        key_id: Option<&KeyId>,
        why: String,
    ) -> Result<Asked, PortError> {
        let reach = if self.api().is_some() {
            Reach::Unreachable
        } else {
            Reach::NotConfigured
        };
        if let Some(stated) = &look.stated {
            let seen = Seen::Told { at: look.at, reach };
            return Ok(Asked::Is(stated.clone(), seen));
        }
        let Some(key_id) = key_id.filter(|_| reach == Reach::NotConfigured) else {
            return Ok(Asked::Silent(why));
        };
        // An invoice or a checkout, and nobody to ask: what is known stays as it is.
        let holder = self
            .engine()
            .key_of_subscription(&look.subscription)
            .await?;
        let account = self
            .engine()
            .account(holder.as_ref().unwrap_or(key_id))
            .await?;
        let known = account.and_then(|mut a| a.subscriptions.remove(look.subscription.as_str()));
        Ok(known.map_or(Asked::Silent(why), |known| {
            let seen = Seen::Told {
                at: known.as_of,
                reach,
            };
            Asked::Is(known.state, seen)
        }))
    }

    async fn key_of(&self, look: &Look) -> Result<Option<KeyId>, PortError> {
        if let Some(key_id) = &look.key_id {
            if let Some(customer) = &look.customer {
                // Other messages about the same customer may not name the key.
                self.engine().link_customer(customer, key_id).await?;
            }
            return Ok(Some(key_id.clone()));
        }
        // One customer may pay for several keys: what is known of the subscription itself counts more.
        let holder = self
            .engine()
            .key_of_subscription(&look.subscription)
            .await?;
        match (holder, &look.customer) {
            (None, Some(customer)) => self.engine().key_of_customer(customer).await,
            (holder, _) => Ok(holder),
        }
    }

    async fn version(&self, key_id: &KeyId) -> Result<u64, PortError> {
        let account = self.engine().account(key_id).await?;
        Ok(account.map_or(0, |account| account.version))
    }

    async fn unlinked(
        &self,
        id: &str,
        look: &Look,
        attempts: u32,
        why: &str,
    ) -> Result<Outcome, BillingError> {
        let subscription = &look.subscription;
        let error = format!("no key is known for subscription {subscription}: {why}");
        if attempts >= UNLINKED_TRIES {
            return self.close(id, EventStatus::Failed, error).await;
        }
        self.put_off(id, error).await
    }

    async fn close(
        &self,
        id: &str,
        status: EventStatus,
        note: String,
    ) -> Result<Outcome, BillingError> {
        if status == EventStatus::Failed {
            tracing::warn!(event = id, error = note, "a billing event failed");
        }
        let engine = self.engine();
        engine.close_webhook_event(id, status, Some(note)).await?;
        Ok(if status == EventStatus::Failed {
            Outcome::Failed
        } else {
            Outcome::Ignored
        })
    }

    async fn put_off(&self, id: &str, why: String) -> Result<Outcome, BillingError> {
        self.engine().put_off_webhook_event(id, why).await?;
        Ok(Outcome::PutOff)
    }
}

/// The key that Stripe now says the subscription is for, if it is another one.
fn moved(state: &Subscription, seen: Seen, key_id: &KeyId) -> Option<KeyId> {
    let stated = state.key_id.as_ref()?;
    (matches!(seen, Seen::Fetched { .. }) && stated != key_id).then(|| stated.clone())
}

fn announcement(look: &Look, key_id: &KeyId) -> Option<Announcement> {
    let (event_type, content) = look.news.as_ref()?;
    let mut content = content.clone();
    content.insert("keyId".to_owned(), json!(key_id));
    Some(Announcement {
        event_type,
        data: Value::Object(content),
    })
}
