//! What a message of Stripe says, read from its JSON.
//!
//! Only what billing needs is read, from wherever the API versions of the last years put it, and
//! whatever else is there is left alone: a message of a version that is not known yet is understood
//! as long as these few fields keep their meaning.

use oscillink_domain::billing::{BillingId, Subscription, SubscriptionStatus};
use oscillink_domain::hash::Sha256Hex;
use oscillink_domain::{KeyId, Timestamp};
use serde_json::{Map, Value, json};

/// Metadata of subscriptions and sessions that names the key.
pub const KEY_METADATA: &str = "oscillink_key_id";

/// The message cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What is known of a message before it is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The document that it is stored as.
    pub id: String,
    /// Its type, `unreadable` without one.
    pub event_type: String,
    /// Whether real money is meant, if it says so.
    pub livemode: Option<bool>,
}

impl Envelope {
    /// Reads the envelope of any signed body. A body without a usable id gets one made of its
    /// content, so that it is kept once.
    #[must_use]
    pub fn of(raw: &str) -> Self {
        let value: Value = serde_json::from_str(raw).unwrap_or_default();
        let id = value["id"].as_str().and_then(|id| id.parse().ok());
        let id = id.map_or_else(
            || format!("raw_{}", Sha256Hex::of(raw.as_bytes())),
            |id: BillingId| id.as_str().to_owned(),
        );
        let event_type = value["type"].as_str().unwrap_or("unreadable");
        Self {
            id,
            event_type: event_type.chars().take(100).collect(),
            livemode: value["livemode"].as_bool(),
        }
    }
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// Nothing that concerns billing.
    Ignored(&'static str),
    /// To look at a subscription.
    Look(Box<Look>),
}

/// A subscription to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Which.
    pub subscription: BillingId,
    /// Who pays, if the message says.
    pub customer: Option<BillingId>,
    /// The key, if the message says.
    pub key_id: Option<KeyId>,
    /// The subscription's state, if the message has it.
    pub stated: Option<Subscription>,
    /// When the message was made.
    pub at: Timestamp,
    /// What is to be announced: type and content.
    pub news: Option<(&'static str, Map<String, Value>)>,
}

impl Notice {
    /// Reads a message.
    ///
    /// # Errors
    /// It is not JSON, or a message of a type that concerns billing lacks what is needed.
    pub fn read(raw: &str) -> Result<Self, Unreadable> {
        let event: Value =
            serde_json::from_str(raw).map_err(|e| Unreadable(format!("not JSON: {e}")))?;
        let kind = event["type"]
            .as_str()
            .ok_or_else(|| Unreadable("the event has no type".to_owned()))?;
        let object = &event["data"]["object"];
        let at = || {
            let seconds = event["created"].as_i64();
            seconds
                .map(|s| Timestamp::from_millis(s.saturating_mul(1_000)))
                .ok_or_else(|| Unreadable("created: missing".to_owned()))
        };
        match kind {
            "customer.subscription.created"
            | "customer.subscription.updated"
            | "customer.subscription.deleted"
            | "customer.subscription.trial_will_end" => {
                of_subscription(object, at()?, kind.ends_with("trial_will_end"))
            }
            "invoice.payment_succeeded" => of_invoice(object, at()?, false),
            "invoice.payment_failed" => of_invoice(object, at()?, true),
            "checkout.session.completed" => of_session(object, at()?),
            _ => Ok(Self::Ignored("not a type that billing handles")),
        }
    }
}

fn of_subscription(object: &Value, at: Timestamp, trial: bool) -> Result<Notice, Unreadable> {
    let stated = subscription(object)?;
    let news = trial.then(|| {
        let end = stated.trial_end.map(|end| end.to_string());
        let content = content(&[
            ("subscriptionId", json!(stated.id)),
            ("customerId", json!(stated.customer)),
            ("trialEnd", json!(end)),
        ]);
        ("billing.trial_will_end", content)
    });
    Ok(Notice::Look(Box::new(Look {
        subscription: stated.id.clone(),
        customer: Some(stated.customer.clone()),
        key_id: stated.key_id.clone(),
        stated: Some(stated),
        at,
        news,
    })))
}

fn of_invoice(object: &Value, at: Timestamp, failed: bool) -> Result<Notice, Unreadable> {
    let details = [
        &object["parent"]["subscription_details"],
        &object["subscription_details"],
    ];
    let named = [
        &object["subscription"],
        &details[0]["subscription"],
        &object["lines"]["data"][0]["subscription"],
        &object["lines"]["data"][0]["parent"]["subscription_item_details"]["subscription"],
    ];
    let Some(subscription) = named.into_iter().find_map(reference) else {
        return Ok(Notice::Ignored("an invoice without a subscription"));
    };
    let customer = reference(&object["customer"]);
    let news = failed.then(|| {
        let next = object["next_payment_attempt"].as_i64();
        let next = next.map(|s| Timestamp::from_millis(s.saturating_mul(1_000)).to_string());
        let content = content(&[
            ("subscriptionId", json!(subscription)),
            ("customerId", json!(customer)),
            ("invoiceId", object["id"].clone()),
            ("attempt", object["attempt_count"].clone()),
            ("nextAttempt", json!(next)),
        ]);
        ("billing.payment_failed", content)
    });
    Ok(Notice::Look(Box::new(Look {
        subscription,
        customer,
        key_id: details.into_iter().find_map(key_of),
        stated: None,
        at,
        news,
    })))
}

fn of_session(object: &Value, at: Timestamp) -> Result<Notice, Unreadable> {
    let Some(subscription) = reference(&object["subscription"]) else {
        return Ok(Notice::Ignored("a checkout without a subscription"));
    };
    let reference_id = object["client_reference_id"].as_str();
    let referred = reference_id.and_then(|text| text.parse().ok());
    Ok(Notice::Look(Box::new(Look {
        subscription,
        customer: reference(&object["customer"]),
        key_id: key_of(object).or(referred),
        stated: None,
        at,
        news: None,
    })))
}

/// Reads a subscription as Stripe writes it.
///
/// # Errors
/// Names the field that is missing.
pub fn subscription(object: &Value) -> Result<Subscription, Unreadable> {
    let missing = |field: &str| Unreadable(format!("data.object.{field}: missing or not usable"));
    let items = object["items"]["data"].as_array();
    let items = items.map_or(&[][..], Vec::as_slice);
    let price = |item: &Value| reference(&item["price"]).or_else(|| reference(&item["plan"]));
    let seconds = |value: &Value| {
        let seconds = value.as_i64()?;
        Some(Timestamp::from_millis(seconds.saturating_mul(1_000)))
    };
    let period_ends = items.iter().map(|item| &item["current_period_end"]);
    // A status that is not known is read as such: it is worth nothing.
    let status: Option<SubscriptionStatus> = serde_json::from_value(object["status"].clone()).ok();
    Ok(Subscription {
        id: reference(&object["id"]).ok_or_else(|| missing("id"))?,
        customer: reference(&object["customer"]).ok_or_else(|| missing("customer"))?,
        status: status.ok_or_else(|| missing("status"))?,
        prices: items.iter().filter_map(price).collect(),
        key_id: key_of(object),
        current_period_end: seconds(&object["current_period_end"])
            .or_else(|| period_ends.filter_map(seconds).max()),
        trial_end: seconds(&object["trial_end"]),
        cancel_at_period_end: object["cancel_at_period_end"].as_bool().unwrap_or(false),
    })
}

/// An id, given as such or as the object that has it.
fn reference(value: &Value) -> Option<BillingId> {
    let text = value.as_str().or_else(|| value["id"].as_str())?;
    text.parse().ok()
}

fn key_of(object: &Value) -> Option<KeyId> {
    object["metadata"][KEY_METADATA].as_str()?.parse().ok()
}

fn content(fields: &[(&str, Value)]) -> Map<String, Value> {
    let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
    fields.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, object: Value) -> String {
        json!({"id": "evt_1", "type": kind, "created": 1_790_000_000, "livemode": false,
            "api_version": "2031-01-01.future", "data": {"object": object}, "new_field": [1]})
        .to_string()
    }

    fn look(kind: &str, object: Value) -> Look {
        match Notice::read(&event(kind, object)) {
            Ok(Notice::Look(look)) => *look,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_subscription_is_read_from_old_and_new_versions() {
        let key = KeyId::from_random([3; 16]);
        let old = look(
            "customer.subscription.updated",
            json!({"id": "sub_1", "customer": {"id": "cus_1", "object": "customer"},
                "status": "past_due", "current_period_end": 20, "metadata": {KEY_METADATA: key},
                "items": {"data": [{"plan": {"id": "price_pro"}}]}}),
        );
        let new = look(
            "customer.subscription.updated",
            json!({"id": "sub_1", "customer": "cus_1", "status": "past_due",
                "metadata": {KEY_METADATA: key},
                "items": {"data": [{"price": {"id": "price_pro"}, "current_period_end": 20}]}}),
        );
        assert_eq!(old, new);
        let stated = new.stated.unwrap();
        assert_eq!(stated.key_id, Some(key));
        assert_eq!(
            stated.current_period_end,
            Some(Timestamp::from_millis(20_000))
        );
        let odd = look(
            "customer.subscription.created",
            json!({"id": "sub_1", "customer": "cus_1", "status": "hibernating"}),
        );
        assert_eq!(odd.stated.unwrap().status, SubscriptionStatus::Unknown);
    }

    #[test]
    fn invoices_name_their_subscription_in_several_places() {
        for object in [
            json!({"subscription": "sub_1"}),
            json!({"subscription": {"id": "sub_1"}}),
            json!({"parent": {"subscription_details": {"subscription": "sub_1"}}}),
            json!({"lines": {"data": [{"parent": {"subscription_item_details":
                {"subscription": "sub_1"}}}]}}),
        ] {
            let look = look("invoice.payment_failed", object);
            assert_eq!(look.subscription.as_str(), "sub_1");
            assert_eq!(look.news.unwrap().0, "billing.payment_failed");
        }
        let bare = Notice::read(&event("invoice.payment_failed", json!({"id": "in_1"})));
        assert!(matches!(bare, Ok(Notice::Ignored(_))));
    }

    #[test]
    fn what_is_broken_is_named_and_what_is_unknown_is_ignored() {
        let no_customer = event("customer.subscription.created", json!({"id": "sub_1"}));
        let error = Notice::read(&no_customer).unwrap_err();
        assert!(error.0.contains("customer"), "{error}");
        assert!(Notice::read("{").is_err());
        assert!(Notice::read("{}").is_err());
        let other = Notice::read(&event("radar.something.new", json!(null)));
        assert!(matches!(other, Ok(Notice::Ignored(_))));
        let envelope = Envelope::of("not json");
        assert!(envelope.id.starts_with("raw_") && envelope.livemode.is_none());
        assert_eq!(
            Envelope::of(r#"{"id":"evt/../1"}"#).event_type,
            "unreadable"
        );
    }
}
