//! Comparison of what the provider says with accounts, keys, ledger and meters. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use oscillink_domain::billing::{
    Account, BillingId, Drift, DriftKind, DriftReport, EventStatus, Subscription,
};
use oscillink_domain::{KeyId, KeyRecord, KeyStatus, Units};
use oscillink_ports::PortError;

use super::{BillingRules, EventFilter};
use crate::Engine;

const PAGE: usize = 500;
/// Usage younger than this may still be on its way to the meters.
const REPORTING_LAG_MS: i64 = 3_600_000;
/// Messages listed at the most.
const EVENTS: usize = 1_000;

/// What the provider says.
#[derive(Clone, Debug, Default)]
pub struct ProviderView {
    /// Every subscription, ended ones included.
    pub subscriptions: Vec<Subscription>,
    /// This month's total of each customer's meter, if usage is metered.
    pub metered: Option<BTreeMap<BillingId, Units>>,
}

impl Engine {
    /// Compares the provider's view with everything that is kept here.
    ///
    /// # Errors
    /// The store failed.
    pub async fn drift(
        &self,
        rules: &BillingRules,
        view: &ProviderView,
    ) -> Result<DriftReport, PortError> {
        let mut report = DriftReport {
            checked_at: self.now(),
            keys: 0,
            subscriptions: view.subscriptions.len() as u64,
            drift: Vec::new(),
        };
        let theirs: BTreeMap<&str, &Subscription> = view
            .subscriptions
            .iter()
            .map(|subscription| (subscription.id.as_str(), subscription))
            .collect();
        let mut known = BTreeSet::new();
        let mut payers: BTreeMap<BillingId, Payer> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = self.keys(PAGE, after).await?;
            for key in &page.items {
                let Some(account) = self.account(&key.key_id).await? else {
                    continue;
                };
                report.keys += 1;
                known.extend(account.subscriptions.keys().cloned());
                compare_subscriptions(&account, &theirs, &mut report.drift);
                compare_key(&account, key, &theirs, rules, &mut report.drift);
                let reported = self
                    .compare_usage(&account, view, &mut report.drift)
                    .await?;
                if let Some(customer) = account.customer {
                    let payer = payers.entry(customer).or_default();
                    payer.reported = payer.reported.plus(reported);
                    payer.keys.push(account.key_id);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        compare_meters(&payers, view, &self.now().month(), &mut report.drift);
        for unknown in view
            .subscriptions
            .iter()
            .filter(|s| !known.contains(s.id.as_str()))
        {
            // One that never was paid and is over concerns nobody.
            if unknown.status.standing() != oscillink_domain::billing::Standing::Ended {
                let found = format!("{:?}", unknown.status).to_lowercase();
                let kind = DriftKind::UnknownSubscription;
                push(
                    &mut report.drift,
                    kind,
                    unknown.key_id.as_ref(),
                    &unknown.id,
                    "an account",
                    found,
                );
            }
        }
        self.compare_events(&mut report.drift).await?;
        report
            .drift
            .sort_by(|a, b| (&a.key_id, a.kind, &a.subject).cmp(&(&b.key_id, b.kind, &b.subject)));
        Ok(report)
    }

    /// Compares the account's ledger with what it has reported; gives what that is this month.
    async fn compare_usage(
        &self,
        account: &Account,
        view: &ProviderView,
        drift: &mut Vec<Drift>,
    ) -> Result<Units, PortError> {
        if view.metered.is_none() {
            return Ok(Units::ZERO);
        }
        let now = self.now();
        let key_id = Some(&account.key_id);
        let mut reported = Units::ZERO;
        for chain in 0..self.config().quota_shards.max(1) {
            let progress = self.meter_progress(&account.key_id, chain).await?;
            let month = progress.reported.get(&now.month()).copied();
            reported = reported.plus(month.unwrap_or(Units::ZERO));
            for batch in &progress.set_aside {
                let why = batch.problem.clone().unwrap_or_default();
                let expected = format!("{} units reported", batch.units);
                push(
                    drift,
                    DriftKind::SetAside,
                    key_id,
                    &batch.identifier,
                    &expected,
                    why,
                );
            }
            let waiting = self
                .rows_after(&account.key_id, chain, progress.seq)
                .await?;
            let late = waiting.iter().filter(|row| {
                row.ts >= account.created_at && now.millis_since(row.ts) > REPORTING_LAG_MS
            });
            let units: Units = late.map(|row| row.units).sum();
            if units > Units::ZERO {
                let found = format!("{units} units waiting");
                let subject = format!("chain {chain}");
                push(
                    drift,
                    DriftKind::UnreportedUsage,
                    key_id,
                    &subject,
                    "nothing waiting",
                    found,
                );
            }
        }
        Ok(reported)
    }

    async fn compare_events(&self, drift: &mut Vec<Drift>) -> Result<(), PortError> {
        let failed = EventFilter {
            status: Some(EventStatus::Failed),
        };
        for event in self.webhook_events(failed, EVENTS, None).await?.items {
            let why = event.error.unwrap_or_default();
            push(drift, DriftKind::Event, None, &event.id, "processed", why);
        }
        Ok(())
    }
}

/// What a customer's keys have reported.
#[derive(Default)]
struct Payer {
    keys: Vec<KeyId>,
    reported: Units,
}

/// A customer's meter counts all of the customer's keys: only their sum can be compared.
fn compare_meters(
    payers: &BTreeMap<BillingId, Payer>,
    view: &ProviderView,
    month: &str,
    drift: &mut Vec<Drift>,
) {
    let Some(metered) = &view.metered else {
        return;
    };
    for (customer, payer) in payers {
        let total = metered.get(customer).copied();
        if let Some(total) = total.filter(|total| *total != payer.reported) {
            let key_id = payer.keys.first().filter(|_| payer.keys.len() == 1);
            let subject = match key_id {
                Some(_) => month.to_owned(),
                None => format!("{month}, {} keys of {customer}", payer.keys.len()),
            };
            let expected = format!("{} units", payer.reported);
            let found = format!("{total} units");
            push(drift, DriftKind::Meter, key_id, &subject, &expected, found);
        }
    }
}

fn compare_subscriptions(
    account: &Account,
    theirs: &BTreeMap<&str, &Subscription>,
    drift: &mut Vec<Drift>,
) {
    let key_id = Some(&account.key_id);
    for (id, known) in &account.subscriptions {
        let expected = |s: &Subscription| {
            let prices: Vec<&str> = s.prices.iter().map(BillingId::as_str).collect();
            format!("{:?} {}", s.status, prices.join(",")).to_lowercase()
        };
        match theirs.get(id.as_str()) {
            None => {
                let kind = DriftKind::MissingSubscription;
                push(drift, kind, key_id, id, "at Stripe", expected(&known.state));
            }
            Some(stated) if expected(stated) != expected(&known.state) => {
                let found = expected(&known.state);
                push(
                    drift,
                    DriftKind::Subscription,
                    key_id,
                    id,
                    &expected(stated),
                    found,
                );
            }
            Some(_) => {}
        }
    }
}

/// Whether the key has what the provider's subscriptions, not ours, give it.
fn compare_key(
    account: &Account,
    key: &KeyRecord,
    theirs: &BTreeMap<&str, &Subscription>,
    rules: &BillingRules,
    drift: &mut Vec<Drift>,
) {
    let mut should = account.clone();
    for known in should.subscriptions.values_mut() {
        if let Some(stated) = theirs.get(known.state.id.as_str()) {
            known.state = (*stated).clone();
            match stated.paid_tier(&rules.prices) {
                Ok(tier) => known.grants = tier,
                Err(error) => {
                    let found = error.to_string();
                    push(
                        drift,
                        DriftKind::Price,
                        Some(&key.key_id),
                        &stated.id,
                        "a tier",
                        found,
                    );
                }
            }
        }
    }
    should.note_approval(key);
    let given = should.entitlement(rules.delinquency);
    let kept = matches!(key.status, KeyStatus::Revoked) || should.held;
    if key.tier != given.tier || (!kept && key.status != given.status) {
        let text = |tier, status| format!("{tier} {status:?}").to_lowercase();
        let (expected, found) = (text(given.tier, given.status), text(key.tier, key.status));
        let id = key.key_id.as_str();
        push(
            drift,
            DriftKind::Key,
            Some(&key.key_id),
            id,
            &expected,
            found,
        );
    }
}

fn push(
    drift: &mut Vec<Drift>,
    kind: DriftKind,
    key_id: Option<&KeyId>,
    subject: impl std::fmt::Display,
    expected: &str,
    found: String,
) {
    drift.push(Drift {
        kind,
        key_id: key_id.cloned(),
        subject: subject.to_string(),
        expected: expected.to_owned(),
        found,
    });
}
