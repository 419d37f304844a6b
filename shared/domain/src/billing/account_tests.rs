//! The account's rules, one by one.

use super::*;
use crate::id::KeyId;
use crate::key::{KeyRecord, KeyStatus};
use crate::tier::{Overrides, Tier};
use crate::time::Timestamp;

fn prices() -> PriceMap {
    "price_pro:pro;price_ent:enterprise".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn account() -> Account {
    Account::new(KeyId::from_random([1; 16]), Tier::Free, at(0))
}

fn sub(id: &str, status: SubscriptionStatus, price: &str) -> Subscription {
    Subscription {
        id: id.parse().unwrap(),
        customer: "cus_1".parse().unwrap(),
        status,
        prices: vec!["price_metered".parse().unwrap(), price.parse().unwrap()],
        key_id: None,
        current_period_end: None,
        trial_end: None,
        cancel_at_period_end: false,
    }
}

fn key() -> KeyRecord {
    KeyRecord {
        key_id: KeyId::from_random([1; 16]),
        name: String::new(),
        tier: Tier::Free,
        status: KeyStatus::Active,
        overrides: Overrides::default(),
        secrets: Vec::new(),
        callback_secrets: Default::default(),
        created_at: at(0),
        updated_at: at(0),
        event_tag: 0,
    }
}

fn told(seconds: i64) -> Seen {
    Seen::Told {
        at: at(seconds),
        reach: Reach::NotConfigured,
    }
}

fn overheard(seconds: i64) -> Seen {
    Seen::Told {
        at: at(seconds),
        reach: Reach::Unreachable,
    }
}

use SubscriptionStatus::{Active, Canceled, Incomplete, PastDue, Trialing};

#[test]
fn states_give_tiers_and_lapses_take_them() {
    let mut account = account();
    for (status, tier) in [
        (Incomplete, Tier::Free),
        (Trialing, Tier::Pro),
        (PastDue, Tier::Free),
        (Active, Tier::Pro),
        (Canceled, Tier::Free),
    ] {
        let state = sub("sub_1", status, "price_pro");
        let seen = Seen::Fetched { at: at(1) };
        assert_eq!(account.observe(state, seen, &prices()), Ok(Observed::Taken));
        let given = account.entitlement(DelinquencyPolicy::Free);
        assert_eq!((given.tier, given.status), (tier, KeyStatus::Active));
    }
    let given = account.entitlement(DelinquencyPolicy::Suspend);
    assert_eq!(given.status, KeyStatus::Suspended);
}

#[test]
fn a_price_without_a_tier_is_an_error_and_changes_nothing() {
    let mut account = account();
    let before = account.clone();
    let seen = Seen::Fetched { at: at(1) };
    let error = account.observe(sub("sub_1", Active, "price_new"), seen, &prices());
    assert!(error.unwrap_err().to_string().contains("price_new"));
    assert_eq!(account, before);
    // What is not paid for needs no price.
    let ended = account.observe(sub("sub_1", Canceled, "price_new"), seen, &prices());
    assert_eq!(ended, Ok(Observed::Taken));
}

#[test]
fn without_a_provider_to_ask_the_newest_message_counts_and_ties_give_less() {
    let mut account = account();
    let mut tell = |status, seconds| {
        let state = sub("sub_1", status, "price_pro");
        account.observe(state, told(seconds), &prices()).unwrap()
    };
    assert_eq!(tell(Active, 10), Observed::Taken);
    assert_eq!(tell(PastDue, 9), Observed::Stale);
    assert_eq!(tell(PastDue, 10), Observed::Taken);
    assert_eq!(tell(Active, 10), Observed::Stale);
    assert_eq!(tell(Active, 11), Observed::Taken);
    assert_eq!(tell(Canceled, 12), Observed::Taken);
    assert_eq!(
        tell(Active, 13),
        Observed::Stale,
        "what ended does not return"
    );
}

#[test]
fn while_the_provider_does_not_answer_a_message_may_only_lower() {
    let mut account = account();
    let mut see = |status, seen| {
        let state = sub("sub_1", status, "price_pro");
        account.observe(state, seen, &prices()).unwrap()
    };
    assert_eq!(see(Active, overheard(10)), Observed::Withheld);
    assert_eq!(see(Active, Seen::Fetched { at: at(20) }), Observed::Taken);
    assert_eq!(see(Canceled, overheard(19)), Observed::Stale);
    assert_eq!(see(PastDue, overheard(21)), Observed::Taken);
    assert_eq!(see(Active, overheard(22)), Observed::Withheld);
    assert_eq!(see(Active, Seen::Fetched { at: at(23) }), Observed::Taken);
}

#[test]
fn the_best_of_several_subscriptions_counts() {
    let mut account = account();
    let seen = Seen::Fetched { at: at(1) };
    for state in [
        sub("sub_old", Canceled, "price_ent"),
        sub("sub_new", Active, "price_pro"),
    ] {
        account.observe(state, seen, &prices()).unwrap();
    }
    let given = account.entitlement(DelinquencyPolicy::Suspend);
    assert_eq!((given.tier, given.status), (Tier::Pro, KeyStatus::Active));
    assert_eq!(account.live().count(), 1);
}

#[test]
fn enterprise_waits_for_an_operator_and_stays_activated_through_a_lapse() {
    let (mut account, mut key) = (account(), key());
    let mut see = |key: &mut KeyRecord, status| {
        account.note_approval(key);
        let seen = Seen::Fetched { at: at(1) };
        let state = sub("sub_1", status, "price_ent");
        account.observe(state, seen, &prices()).unwrap();
        account.give(key, DelinquencyPolicy::Free, at(2));
        (key.tier, key.status)
    };
    let pending = (Tier::Enterprise, KeyStatus::Pending);
    assert_eq!(see(&mut key, Active), pending);
    assert_eq!(see(&mut key, Active), pending);
    key.status = KeyStatus::Active;
    assert_eq!(see(&mut key, PastDue), (Tier::Free, KeyStatus::Active));
    assert_eq!(see(&mut key, Active), (Tier::Enterprise, KeyStatus::Active));
}

#[test]
fn what_an_operator_suspended_or_revoked_billing_does_not_open() {
    let (mut account, mut key) = (account(), key());
    let mut see = |key: &mut KeyRecord, status| {
        account.note_approval(key);
        let seen = Seen::Fetched { at: at(1) };
        let state = sub("sub_1", status, "price_pro");
        account.observe(state, seen, &prices()).unwrap();
        account.give(key, DelinquencyPolicy::Suspend, at(2));
        (key.tier, key.status)
    };
    key.status = KeyStatus::Suspended;
    assert_eq!(see(&mut key, Active), (Tier::Pro, KeyStatus::Suspended));
    assert_eq!(see(&mut key, PastDue), (Tier::Free, KeyStatus::Suspended));
    assert_eq!(see(&mut key, Active), (Tier::Pro, KeyStatus::Suspended));
    key.status = KeyStatus::Active;
    assert_eq!(see(&mut key, PastDue), (Tier::Free, KeyStatus::Suspended));
    assert_eq!(see(&mut key, Active), (Tier::Pro, KeyStatus::Active));
    key.status = KeyStatus::Revoked;
    assert_eq!(see(&mut key, PastDue), (Tier::Pro, KeyStatus::Revoked));
}

#[test]
fn a_tier_that_is_not_sold_is_what_a_key_falls_back_to() {
    let mut account = Account::new(KeyId::from_random([1; 16]), Tier::Beta, at(0));
    let seen = Seen::Fetched { at: at(1) };
    let state = sub("sub_1", Canceled, "price_pro");
    account.observe(state, seen, &prices()).unwrap();
    assert_eq!(
        account.entitlement(DelinquencyPolicy::Free).tier,
        Tier::Beta
    );
    let paid_before = Account::new(KeyId::from_random([1; 16]), Tier::Pro, at(0));
    assert_eq!(paid_before.base, Tier::Free);
}
