//! Messages of the payment provider: stored as they came, closed once, listed and replayed.

use oscillink_domain::billing::{EventStatus, WebhookEvent};
use oscillink_ports::{Collection, Cursor, Op, PortError, Query, StoreExt, TxError, Write};

use super::{BillingError, event_key};
use crate::Engine;
use crate::jobs::Page;

/// Pages of open messages looked through in one search for due ones.
const DUE_PAGES: usize = 20;
const DUE_PAGE: usize = 200;

/// What storing a message found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New,
    /// It had come before; nothing was changed.
    Known(EventStatus),
}

/// What a replay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The message is open again and will be handled.
    Opened,
    /// It is open already.
    AlreadyOpen,
    /// Its effects are in place; there is nothing to replay.
    AlreadyProcessed,
}

/// Which messages to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventFilter {
    /// Only these.
    pub status: Option<EventStatus>,
}

impl Engine {
    /// Stores a message as it came. Durable when this returns; a repeat changes nothing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_webhook_event(
        &self,
        id: &str,
        event_type: &str,
        raw: &str,
    ) -> Result<Recorded, BillingError> {
        let event = WebhookEvent::received(
            id.to_owned(),
            event_type.to_owned(),
            raw.to_owned(),
            self.now(),
        );
        let key = event_key(id);
        self.store()
            .transaction::<_, BillingError>(vec![key.clone()], move |snapshot| {
                if let Some(known) = snapshot.get::<WebhookEvent>(&key)? {
                    return Ok((Vec::new(), Recorded::Known(known.status)));
                }
                Ok((vec![Write::create(key.clone(), &event)?], Recorded::New))
            })
            .await
            .map_err(BillingError::from)
    }

    /// A message by its id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn webhook_event(&self, id: &str) -> Result<Option<WebhookEvent>, PortError> {
        self.store().fetch(&event_key(id)).await
    }

    /// Messages, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn webhook_events(
        &self,
        filter: EventFilter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<WebhookEvent>, PortError> {
        let mut merged = Vec::new();
        // One list a status, merged: the cursor means the same place in each of them.
        for status in EventStatus::ALL {
            if filter.status.is_none_or(|wanted| wanted == status) {
                let query = Query::new(Collection::WebhookEvents, "received_at", limit)
                    .filter("status", Op::Eq, status.as_str())
                    .descending()
                    .after(after.clone());
                merged.extend(self.store().query(&query).await?.documents);
            }
        }
        let query = Query::new(Collection::WebhookEvents, "received_at", limit);
        merged.sort_by(|(a, x), (b, y)| {
            let time = |body: &serde_json::Value| body["received_at"].as_i64();
            (time(y), b).cmp(&(time(x), a))
        });
        merged.truncate(limit);
        Page::parse(oscillink_ports::QueryPage::of(&query, merged))
    }

    /// Ids of open messages that are due, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn due_webhook_events(&self, limit: usize) -> Result<Vec<String>, PortError> {
        let now = self.now().as_millis();
        let mut due = Vec::new();
        let mut after = None;
        for _ in 0..DUE_PAGES {
            let query = Query::new(Collection::WebhookEvents, "received_at", DUE_PAGE)
                .filter("status", Op::Eq, EventStatus::Received.as_str())
                .after(after);
            let page = self.store().query(&query).await?;
            let ids = page.documents.into_iter().filter_map(|(id, body)| {
                (body["due_at"].as_i64().is_none_or(|at| at <= now)).then_some(id)
            });
            due.extend(ids);
            after = page.next;
            if after.is_none() || due.len() >= limit {
                break;
            }
        }
        due.truncate(limit);
        Ok(due)
    }

    /// Closes an open message that has no effects: nothing to do, or nothing that can be done. One
    /// that is closed stays as it is.
    ///
    /// # Errors
    /// No such message, or the store failed.
    pub async fn close_webhook_event(
        &self,
        id: &str,
        status: EventStatus,
        note: Option<String>,
    ) -> Result<(), BillingError> {
        let now = self.now();
        self.change_open(id, move |event| event.settle(status, note.clone(), now))
            .await
    }

    /// Puts an open message off after a try that did not succeed.
    ///
    /// # Errors
    /// No such message, or the store failed.
    pub async fn put_off_webhook_event(&self, id: &str, why: String) -> Result<(), BillingError> {
        let now = self.now();
        self.change_open(id, move |event| event.put_off(why.clone(), now))
            .await
    }

    /// Opens a failed or ignored message again.
    ///
    /// # Errors
    /// No such message, or the store failed.
    pub async fn replay_webhook_event(&self, id: &str) -> Result<Replayed, BillingError> {
        let now = self.now();
        let key = event_key(id);
        self.store()
            .transaction(vec![key.clone()], move |snapshot| {
                let found = snapshot.get::<WebhookEvent>(&key)?;
                let mut event = found.ok_or(TxError::Refused(BillingError::NoSuchEvent))?;
                match event.status {
                    EventStatus::Processed => return Ok((Vec::new(), Replayed::AlreadyProcessed)),
                    EventStatus::Received => return Ok((Vec::new(), Replayed::AlreadyOpen)),
                    EventStatus::Failed | EventStatus::Ignored => {}
                }
                event.settle(EventStatus::Received, None, now);
                (event.due_at, event.attempts) = (now, 0);
                Ok((vec![Write::put(key.clone(), &event)?], Replayed::Opened))
            })
            .await
            .map_err(BillingError::from)
    }

    async fn change_open(
        &self,
        id: &str,
        change: impl Fn(&mut WebhookEvent) + Send + Sync + 'static,
    ) -> Result<(), BillingError> {
        let key = event_key(id);
        self.store()
            .transaction(vec![key.clone()], move |snapshot| {
                let found = snapshot.get::<WebhookEvent>(&key)?;
                let mut event = found.ok_or(TxError::Refused(BillingError::NoSuchEvent))?;
                if !event.is_open() {
                    return Ok((Vec::new(), ()));
                }
                change(&mut event);
                Ok((vec![Write::put(key.clone(), &event)?], ()))
            })
            .await
            .map_err(BillingError::from)
    }
}
