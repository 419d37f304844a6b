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

use super::{BillingError, BillingRules, account_key, customer_key, event_key};
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

/// Which key a customer pays for.
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

    /// Takes note of a subscription's state and gives the key what it is now entitled to.
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
        let (rules, now) = (rules.clone(), self.now());
        let source = self.config().source.clone();
        let applied = self
            .store()
            .transaction(reads, move |snapshot| {
                decide(snapshot, &rules, &change, now, &source)
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
    account.note_approval(&key);
    let observed = account.observe(change.state.clone(), change.seen, &rules.prices);
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
        account.version += 1;
        account.updated_at = now;
        let changed = account.give(&mut key, rules.delinquency, now);
        if changed || stored_key.is_none() {
            let version = account.version.to_string();
            let id = event_id(&["billing", change.key_id.as_str(), &version]);
            let event = change_event(&key, id, now, source);
            out.events.push((Topic::EntitlementEvents, event));
        }
        out.put(
            customer_key(&change.state.customer),
            &CustomerDocument {
                key_id: change.key_id.clone(),
            },
        )?;
    }
    if let Some(event) = &mut event {
        out.close(event, &applied, observed.ok(), change, now, source)?;
    }
    if let Some((_, first)) = out.events.first() {
        let id = first.event_id.as_str().to_owned();
        let events = std::mem::take(&mut out.events);
        let tag = key.next_event_tag(now);
        let entry = OutboxEntry::announce(id, change.key_id.as_str(), events, tag, now);
        out.put(DocKey::new(Collection::Outbox, &entry.id), &entry)?;
        out.put(record_key(&change.key_id), &key)?;
    }
    out.put(account_key(&change.key_id), &account)?;
    Ok((out.writes, applied))
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
