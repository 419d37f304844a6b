//! What is known of the subscriptions of one key, and what the key is entitled to.
//!
//! Messages come twice, late and in any order. Two rules keep the account right:
//! - A state that was *fetched* from the provider is the newest there was when it was asked for. It
//!   is taken if no other state was taken since the account was read for it (the account's version
//!   is compared); otherwise it must be fetched again.
//! - A state that was *told* by a message is only as new as the message. Where the provider can be
//!   asked but does not answer, it may lower what a key has but never raise it. Where there is no
//!   provider to ask, the newest message counts, of two in the same second the one that gives less,
//!   and what has ended never comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::billing::{
    BillingId, DelinquencyPolicy, Entitlement, PriceMap, Standing, Subscription, UnknownPrice,
};
use crate::id::KeyId;
use crate::key::{KeyRecord, KeyStatus};
use crate::tier::Tier;
use crate::time::Timestamp;

/// Ended subscriptions remembered, so that late messages about them are known to be late.
const ENDED_KEPT: usize = 32;

/// How a state came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Asked for; `at` is when.
    Fetched {
        /// When it was asked for.
        at: Timestamp,
    },
    /// From a message made at `at`.
    Told {
        /// When the message was made, in whole seconds.
        at: Timestamp,
        /// Whether the provider could have been asked.
        reach: Reach,
    },
}

/// Why a state was told rather than fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The provider does not answer now.
    Unreachable,
    /// There is no way to ask the provider.
    NotConfigured,
}

/// What was done with a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It is what is known now.
    Taken,
    /// Something newer is known.
    Stale,
    /// It would give more, and only the provider itself may say so.
    Withheld,
}

/// A subscription as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its state.
    pub state: Subscription,
    /// How new that is.
    pub as_of: Timestamp,
    /// The tier that it pays for.
    pub grants: Tier,
    /// An operator has activated the key for this subscription (enterprise).
    #[serde(default)]
    pub approved: bool,
}

/// The billing side of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The key.
    pub key_id: KeyId,
    /// What the key falls back to when nothing is paid: free, or beta if it had that before.
    pub base: Tier,
    /// Who pays.
    pub customer: Option<BillingId>,
    /// The subscriptions by id.
    pub subscriptions: BTreeMap<String, Known>,
    /// What billing last gave the key.
    pub given: Option<Entitlement>,
    /// An operator suspended the key; billing does not lift that.
    #[serde(default)]
    pub held: bool,
    /// Grows with every change.
    pub version: u64,
    /// Usage from here on is metered.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Account {
    /// An account without subscriptions, for a key that has `tier` so far. From here on billing
    /// decides: a paid tier that was given by hand is not kept.
    #[must_use]
    pub fn new(key_id: KeyId, tier: Tier, now: Timestamp) -> Self {
        Self {
            key_id,
            base: if tier == Tier::Beta { tier } else { Tier::Free },
            customer: None,
            subscriptions: BTreeMap::new(),
            given: None,
            held: false,
            version: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// Takes note of a subscription's state, if it may.
    ///
    /// # Errors
    /// The state is paid for by prices that have no tier; nothing was changed.
    pub fn observe(
        &mut self,
        state: Subscription,
        seen: Seen,
        prices: &PriceMap,
    ) -> Result<Observed, UnknownPrice> {
        let grants = state.paid_tier(prices)?;
        let known = self.subscriptions.get(state.id.as_str());
        if let Some(refused) = refusal(known, &state, grants, seen) {
            return Ok(refused);
        }
        let approved = known.is_some_and(|known| known.approved);
        let (Seen::Fetched { at: as_of } | Seen::Told { at: as_of, .. }) = seen;
        self.customer = Some(state.customer.clone());
        let known = Known {
            as_of,
            grants,
            approved,
            state,
        };
        self.subscriptions
            .insert(known.state.id.as_str().to_owned(), known);
        self.forget_long_ended();
        Ok(Observed::Taken)
    }

    /// What the key is entitled to: the best that any of its subscriptions pays for.
    #[must_use]
    pub fn entitlement(&self, policy: DelinquencyPolicy) -> Entitlement {
        let best = self.subscriptions.values().map(|known| known.grants).max();
        let tier = best.map_or(self.base, |best| best.max(self.base));
        let owes = || {
            let mut all = self.subscriptions.values();
            all.any(|k| {
                matches!(
                    k.state.status.standing(),
                    Standing::Delinquent | Standing::Ended
                )
            })
        };
        let status = match tier {
            Tier::Enterprise if !self.approved() => KeyStatus::Pending,
            _ if !self.pays() && policy == DelinquencyPolicy::Suspend && owes() => {
                KeyStatus::Suspended
            }
            _ => KeyStatus::Active,
        };
        Entitlement { tier, status }
    }

    /// Whether any subscription is paid for.
    #[must_use]
    pub fn pays(&self) -> bool {
        let mut all = self.subscriptions.values();
        all.any(|k| k.state.status.standing() == Standing::Good)
    }

    /// The subscriptions that have not ended.
    pub fn live(&self) -> impl Iterator<Item = &Known> {
        let all = self.subscriptions.values();
        all.filter(|k| k.state.status.standing() != Standing::Ended)
    }

    /// Gives `key` what it is entitled to. What operators did to the key is noted first: they
    /// activate enterprise keys, and what they suspended stays suspended. Returns whether the key
    /// changed. A revoked key never does.
    pub fn give(&mut self, key: &mut KeyRecord, policy: DelinquencyPolicy, now: Timestamp) -> bool {
        let suspended = key.status == KeyStatus::Suspended;
        let by_billing = |given: Entitlement| given.status == KeyStatus::Suspended;
        self.held = suspended && (self.held || !self.given.is_some_and(by_billing));
        let entitled = self.entitlement(policy);
        self.given = Some(entitled);
        if key.status == KeyStatus::Revoked {
            return false;
        }
        let status = if self.held {
            key.status
        } else {
            entitled.status
        };
        if (key.tier, key.status) == (entitled.tier, status) {
            return false;
        }
        (key.tier, key.status) = (entitled.tier, status);
        key.updated_at = now;
        true
    }

    /// Notes that an operator activated the key, if one did. Called with the key as it was found,
    /// before a new state is observed: what was activated stays so through a lapse of payment.
    pub fn note_approval(&mut self, key: &KeyRecord) {
        if key.tier == Tier::Enterprise && key.status == KeyStatus::Active {
            let enterprise = |known: &&mut Known| known.grants == Tier::Enterprise;
            self.subscriptions
                .values_mut()
                .filter(enterprise)
                .for_each(|known| known.approved = true);
        }
    }

    fn approved(&self) -> bool {
        let mut all = self.subscriptions.values();
        all.any(|known| known.grants == Tier::Enterprise && known.approved)
    }

    fn forget_long_ended(&mut self) {
        let mut ended: Vec<(Timestamp, String)> = self
            .subscriptions
            .iter()
            .filter(|(_, k)| k.state.status.standing() == Standing::Ended)
            .map(|(id, k)| (k.as_of, id.clone()))
            .collect();
        ended.sort();
        for (_, id) in ended.iter().rev().skip(ENDED_KEPT) {
            self.subscriptions.remove(id);
        }
    }
}

/// Why a state is not taken, if it is not.
fn refusal(
    known: Option<&Known>,
    state: &Subscription,
    grants: Tier,
    seen: Seen,
) -> Option<Observed> {
    let (at, reach) = match seen {
        Seen::Fetched { .. } => return None,
        Seen::Told { at, reach } => (at, reach),
    };
    let has = known.map_or(Tier::Free, |known| known.grants);
    let older = known.is_some_and(|known| at < known.as_of);
    let ended = known.is_some_and(|k| k.state.status.standing() == Standing::Ended);
    let revives = ended && state.status.standing() != Standing::Ended;
    let tie_gives_more = known.is_some_and(|known| {
        at == known.as_of && worth(state, grants) > worth(&known.state, known.grants)
    });
    if older || revives || tie_gives_more {
        return Some(Observed::Stale);
    }
    (reach == Reach::Unreachable && grants >= has).then_some(Observed::Withheld)
}

/// Order of states told in the same second: less comes first.
fn worth(state: &Subscription, grants: Tier) -> (Tier, u8) {
    let standing = match state.status.standing() {
        Standing::Ended => 0,
        Standing::Delinquent => 1,
        Standing::Waiting => 2,
        Standing::Good => 3,
    };
    (grants, standing)
}
