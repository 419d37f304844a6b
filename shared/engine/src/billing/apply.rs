//! A subscription's state becomes a key's entitlement: message, account, key and outgoing events in
//! one transaction.

use oscillink_domain::billing::{
    Account, BillingId, EventStatus, Observed, Reach, Seen, Subscription, WebhookEvent,
};
use oscillink_domain::event::Topic;
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{Event, KeyId, KeyRecord, KeyStatus, Tier, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, Snapshot, StoreExt, TxError, Write};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BillingError, BillingRules, account_key, customer_key, event_key, subscription_key};
use crate::Engine;
use crate::finish::event_id;
use crate::keys::{change_event, record_key};

/// News for the outside that goes with a message, whatever it does to the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// For example `billing.payment_failed`.
    pub event_type: &'static str,
    /// The event's content.
    pub data: Value,
}

/// A subscription's state to take note of.
#[derive(Clone, Debug)]
pub struct Change {
    /// The message that led to it, if one did. It is closed in the same transaction.
    pub event_id: Option<String>,
    /// The key that the subscription is for.
    pub key_id: KeyId,
    /// The state.
    pub state: Subscription,
    /// How it is known.
    pub seen: Seen,
    /// Version of the account before the state was fetched.
    pub version: u64,
    /// What is to be announced once the message is closed.
    pub announcement: Option<Announcement>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The effects are in place.
    Done,
    /// They were before: the message is closed.
    AlreadyClosed,
    /// Something else changed the account since the state was fetched: fetch it again.
    Superseded,
    /// The provider must be asked; the message stays open and is due later.
    PutOff,
    /// The state cannot be understood; the message is kept with this error.
    Failed(String),
}

/// Which key a customer pays for, or a subscription is for.
#[derive(Serialize, Deserialize)]
struct CustomerDocument {
    key_id: KeyId,
}

impl Engine {
    /// The billing side of a key.
    ///
    /// # Errors
    /// The store failed.
    pub async fn account(&self, key_id: &KeyId) -> Result<Option<Account>, PortError> {
        self.store().fetch(&account_key(key_id)).await
    }

    /// The key that a customer pays for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn key_of_customer(&self, customer: &BillingId) -> Result<Option<KeyId>, PortError> {
        let found: Option<CustomerDocument> = self.store().fetch(&customer_key(customer)).await?;
        Ok(found.map(|document| document.key_id))
    }

    /// The key that a subscription was last for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn key_of_subscription(
        &self,
        subscription: &BillingId,
    ) -> Result<Option<KeyId>, PortError> {
        let key = subscription_key(subscription);
        let found: Option<CustomerDocument> = self.store().fetch(&key).await?;
        Ok(found.map(|document| document.key_id))
    }

    /// Notes which key a customer pays for.
    ///
    /// # Errors
    /// The store failed.
    pub async fn link_customer(
        &self,
        customer: &BillingId,
        key_id: &KeyId,
    ) -> Result<(), PortError> {
        if self.key_of_customer(customer).await?.as_ref() == Some(key_id) {
            return Ok(());
        }
        let document = CustomerDocument {
            key_id: key_id.clone(),
        };
        let write = Write::put(customer_key(customer), &document)?;
        let written = self
            .store()
            .transaction::<_, BillingError>(Vec::new(), move |_| Ok((vec![write.clone()], ())))
            .await;
        match written {
            Ok(()) | Err(TxError::Refused(_)) => Ok(()),
            Err(TxError::Port(error)) => Err(error),
        }
    }

    /// Takes note of a subscription's state and gives the key what it is now entitled to. A key that
    /// the subscription was for before loses what it had by it, in the same transaction.
    ///
    /// # Errors
    /// No such message, or the store failed: the outcome is unknown, and the same call is safe.
    pub async fn apply_subscription(
        &self,
        rules: &BillingRules,
        change: Change,
    ) -> Result<Applied, BillingError> {
        let mut reads = vec![account_key(&change.key_id), record_key(&change.key_id)];
        reads.extend(change.event_id.as_deref().map(event_key));
        let holder = self.key_of_subscription(&change.state.id).await?;
        let former = holder.filter(|key_id| *key_id != change.key_id);
        reads.push(subscription_key(&change.state.id));
        if let Some(key_id) = &former {
            reads.extend([account_key(key_id), record_key(key_id)]);
        }
        let (rules, now) = (rules.clone(), self.now());
        let source = self.config().source.clone();
        let applied = self
            .store()
            .transaction(reads, move |snapshot| {
                decide(snapshot, &rules, &change, former.as_ref(), now, &source)
            })
            .await
            .map_err(BillingError::from)?;
        self.inner.outbox_changed.notify();
        Ok(applied)
    }
}

fn decide(
    snapshot: &Snapshot,
    rules: &BillingRules,
    change: &Change,
    former: Option<&KeyId>,
    now: Timestamp,
    source: &str,
) -> Result<(Vec<Write>, Applied), TxError<BillingError>> {
    let mut event = match &change.event_id {
        None => None,
        Some(id) => {
            let found = snapshot.get::<WebhookEvent>(&event_key(id))?;
            Some(found.ok_or(TxError::Refused(BillingError::NoSuchEvent))?)
        }
    };
    if event.as_ref().is_some_and(|event| !event.is_open()) {
        return Ok((Vec::new(), Applied::AlreadyClosed));
    }
    let stored_key = snapshot.get::<KeyRecord>(&record_key(&change.key_id))?;
    let mut key = stored_key
        .clone()
        .unwrap_or_else(|| new_key(&change.key_id, now));
    let mut account = snapshot
        .get::<Account>(&account_key(&change.key_id))?
        .unwrap_or_else(|| Account::new(change.key_id.clone(), key.tier, now));
    if matches!(change.seen, Seen::Fetched { .. }) && account.version != change.version {
        return Ok((Vec::new(), Applied::Superseded));
    }
    let holder = snapshot.get::<CustomerDocument>(&subscription_key(&change.state.id))?;
    let holder = holder.map(|document| document.key_id);
    if holder.as_ref().filter(|key_id| **key_id != change.key_id) != former {
        return Ok((Vec::new(), Applied::Superseded));
    }
    let mut former = former
        .map(|key_id| Former::read(snapshot, key_id))
        .transpose()?;
    account.note_approval(&key);
    let observed = if former
        .as_ref()
        .is_some_and(|former| former.knows_better(change))
    {
        Ok(Observed::Stale)
    } else {
        account.observe(change.state.clone(), change.seen, &rules.prices)
    };
    let must_ask = matches!(
        change.seen,
        Seen::Told {
            reach: Reach::Unreachable,
            ..
        }
    );
    let applied = match (&observed, must_ask) {
        (Err(error), _) => Applied::Failed(error.to_string()),
        (Ok(_), true) => Applied::PutOff,
        (Ok(_), false) => Applied::Done,
    };
    let mut out = Outgoing {
        writes: Vec::new(),
        events: Vec::new(),
    };
    if observed == Ok(Observed::Taken) {
        let is_new = stored_key.is_none();
        out.entitle(&mut account, &mut key, is_new, rules, now, source);
        let document = CustomerDocument {
            key_id: change.key_id.clone(),
        };
        out.put(customer_key(&change.state.customer), &document)?;
        if holder.as_ref() != Some(&change.key_id) {
            out.put(subscription_key(&change.state.id), &document)?;
        }
        if let Some(former) = &mut former {
            former.lose(&change.state.id, rules, now, source, &mut out.writes)?;
        }
    }
    if let Some(event) = &mut event {
        out.close(event, &applied, observed.ok(), change, now, source)?;
    }
    out.announce(&mut key, now)?;
    out.put(account_key(&change.key_id), &account)?;
    Ok((out.writes, applied))
}

/// The key that the subscription was for before.
struct Former {
    account: Account,
    key: KeyRecord,
}

impl Former {
    fn read(snapshot: &Snapshot, key_id: &KeyId) -> Result<Self, PortError> {
        let missing = |key: DocKey| PortError::Corrupt {
            detail: format!("a subscription is held for {key}, which is not there"),
        };
        let (account, key) = (account_key(key_id), record_key(key_id));
        Ok(Self {
            account: snapshot.get(&account)?.ok_or_else(|| missing(account))?,
            key: snapshot.get(&key)?.ok_or_else(|| missing(key))?,
        })
    }

    /// Whether the change is told by a message from before what this account knows.
    fn knows_better(&self, change: &Change) -> bool {
        let known = self.account.subscriptions.get(change.state.id.as_str());
        match change.seen {
            Seen::Told { at, .. } => known.is_some_and(|known| known.as_of > at),
            Seen::Fetched { .. } => false,
        }
    }

    /// Takes the subscription, and what the key has by it, away.
    fn lose(
        &mut self,
        subscription: &BillingId,
        rules: &BillingRules,
        now: Timestamp,
        source: &str,
        writes: &mut Vec<Write>,
    ) -> Result<(), PortError> {
        let mut out = Outgoing {
            writes: Vec::new(),
            events: Vec::new(),
        };
        self.account.subscriptions.remove(subscription.as_str());
        out.entitle(&mut self.account, &mut self.key, false, rules, now, source);
        out.announce(&mut self.key, now)?;
        out.put(account_key(&self.account.key_id), &self.account)?;
        writes.append(&mut out.writes);
        Ok(())
    }
}

/// What a transaction writes and announces.
struct Outgoing {
    writes: Vec<Write>,
    events: Vec<(Topic, Event)>,
}

impl Outgoing {
    fn put(&mut self, key: DocKey, body: &impl Serialize) -> Result<(), PortError> {
        self.writes.push(Write::put(key, body)?);
        Ok(())
    }

    /// Gives the key what its account is entitled to, and tells of it if that changed or is the first.
    fn entitle(
        &mut self,
        account: &mut Account,
        key: &mut KeyRecord,
        is_new: bool,
        rules: &BillingRules,
        now: Timestamp,
        source: &str,
    ) {
        account.version += 1;
        account.updated_at = now;
        let changed = account.give(key, rules.delinquency, now);
        if changed || is_new {
            let version = account.version.to_string();
            let id = event_id(&["billing", key.key_id.as_str(), &version]);
            let event = change_event(key, id, now, source);
            self.events.push((Topic::EntitlementEvents, event));
        }
    }

    /// Writes the intent to tell what there is to tell, and the key.
    fn announce(&mut self, key: &mut KeyRecord, now: Timestamp) -> Result<(), PortError> {
        let Some((_, first)) = self.events.first() else {
            return Ok(());
        };
        let id = first.event_id.as_str().to_owned();
        let events = std::mem::take(&mut self.events);
        let tag = key.next_event_tag(now);
        let entry = OutboxEntry::announce(id, key.key_id.as_str(), events, tag, now);
        self.put(DocKey::new(Collection::Outbox, &entry.id), &entry)?;
        self.put(record_key(&key.key_id), key)
    }

    /// Closes the message, or leaves it open for later. News goes out when it is closed, once: a
    /// closed message is never handled again.
    fn close(
        &mut self,
        event: &mut WebhookEvent,
        applied: &Applied,
        observed: Option<Observed>,
        change: &Change,
        now: Timestamp,
        source: &str,
    ) -> Result<(), PortError> {
        match applied {
            Applied::Failed(error) => event.settle(EventStatus::Failed, Some(error.clone()), now),
            Applied::PutOff => {
                let why = "Stripe does not answer; what it says is not known yet";
                event.put_off(why.to_owned(), now);
            }
            Applied::Done | Applied::AlreadyClosed | Applied::Superseded => {
                let stale = observed == Some(Observed::Stale);
                let note = stale.then(|| "newer state is known".to_owned());
                event.settle(EventStatus::Processed, note, now);
                if let Some(news) = &change.announcement {
                    let id = event_id(&["billing", news.event_type, &event.id]);
                    let data = news.data.clone();
                    let event = Event::new(id, news.event_type, now, source, data);
                    self.events.push((Topic::WebhookEvents, event));
                }
            }
        }
        self.put(event_key(&event.id), event)
    }
}

/// A key that was paid for and has no secret yet: pairing gives it one.
fn new_key(key_id: &KeyId, now: Timestamp) -> KeyRecord {
    KeyRecord {
        key_id: key_id.clone(),
        name: "subscription".to_owned(),
        tier: Tier::Free,
        status: KeyStatus::Active,
        overrides: Overrides::default(),
        secrets: Vec::new(),
        callback_secrets: Default::default(),
        created_at: now,
        updated_at: now,
        event_tag: 0,
    }
}
