//! Usage to Stripe's meters, and the comparison of everything with Stripe.

use std::collections::{BTreeMap, BTreeSet};

use oscillink_domain::billing::{Account, BillingId, DriftReport};
use oscillink_domain::{Timestamp, Units};
use oscillink_engine::{BillingError, ProviderView};
use oscillink_ports::{Cursor, PortError};

use crate::api::{ApiError, StripeApi};
use crate::state::Billing;

const PAGE: usize = 200;
/// Batches of one chain in one report, so that every key gets its turn.
const BATCHES_PER_CHAIN: usize = 200;
/// Pages of subscriptions read for a comparison.
const MAX_PAGES: usize = 10_000;

/// What a report of usage did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UsageReport {
    /// Batches that Stripe took.
    pub batches: u64,
    /// Units in them.
    pub units: u64,
    /// Batches that Stripe refused.
    pub refused: u64,
}

/// A report or a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// There is no way to ask Stripe.
    #[error("STRIPE_API_KEY is not set")]
    NoApi,
    /// A call to Stripe failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A use case failed.
    #[error(transparent)]
    Billing(#[from] BillingError),
}

impl Billing {
    /// Reports what is in the ledger and was not reported, for every key with a customer. May be
    /// broken off and repeated at will: a batch is reserved before it is sent, and sent again with
    /// the same identifier.
    ///
    /// # Errors
    /// Stripe does not answer, or the store failed; what was not reported is next time.
    pub async fn report_usage(&self) -> Result<UsageReport, UsageError> {
        let api = self.api().ok_or(UsageError::NoApi)?;
        let mut report = UsageReport::default();
        let Some(meter_event) = self.config().meter_event.clone() else {
            return Ok(report);
        };
        let mut after = None;
        loop {
            let (accounts, next) = self.accounts(after).await?;
            for account in accounts.iter().filter(|account| account.customer.is_some()) {
                for chain in 0..self.engine().config().quota_shards.max(1) {
                    self.report_chain(api, &meter_event, account, chain, &mut report)
                        .await?;
                }
            }
            after = next;
            if after.is_none() {
                return Ok(report);
            }
        }
    }

    async fn report_chain(
        &self,
        api: &dyn StripeApi,
        meter_event: &str,
        account: &Account,
        chain: u32,
        report: &mut UsageReport,
    ) -> Result<(), UsageError> {
        let engine = self.engine();
        for _ in 0..BATCHES_PER_CHAIN {
            let Some(batch) = engine.next_meter_batch(account, chain).await? else {
                return Ok(());
            };
            match api.report_usage(meter_event, &batch).await {
                Ok(()) => {
                    report.batches += 1;
                    report.units += batch.units.get();
                    engine
                        .meter_batch_sent(&account.key_id, chain, &batch.identifier)
                        .await?;
                }
                // What is wrong is our own access to Stripe, not this batch: it stays as it is.
                Err(
                    error @ ApiError::Refused {
                        status: 401 | 403, ..
                    },
                ) => return Err(error.into()),
                Err(ApiError::Refused { status, detail }) => {
                    report.refused += 1;
                    let problem = format!("Stripe refused it ({status}): {detail}");
                    tracing::warn!(batch = batch.identifier, problem, "usage was refused");
                    engine
                        .set_meter_batch_aside(&account.key_id, chain, &batch.identifier, &problem)
                        .await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Compares Stripe, accounts, keys, ledger and meters. Changes nothing.
    ///
    /// # Errors
    /// Stripe does not answer, or the store failed.
    pub async fn reconcile(&self) -> Result<DriftReport, UsageError> {
        let api = self.api().ok_or(UsageError::NoApi)?;
        let mut view = ProviderView::default();
        let mut last: Option<BillingId> = None;
        for _ in 0..MAX_PAGES {
            let page = api.subscriptions(last.as_ref()).await?;
            last = page.items.last().map(|item| item.id.clone());
            view.subscriptions.extend(page.items);
            if !page.more || last.is_none() {
                break;
            }
        }
        if let Some(meter) = &self.config().meter_id {
            view.metered = Some(self.metered(api, meter).await?);
        }
        let rules = &self.config().rules;
        Ok(self.engine().drift(rules, &view).await?)
    }

    /// This month's total of every customer.
    async fn metered(
        &self,
        api: &dyn StripeApi,
        meter: &BillingId,
    ) -> Result<BTreeMap<BillingId, Units>, UsageError> {
        let now = self.engine().now();
        let minute = now.as_millis().div_euclid(60_000) + 1;
        let end = Timestamp::from_millis(minute * 60_000);
        let start = Timestamp::parse_rfc3339(&format!("{}-01T00:00:00Z", now.month()));
        let start = start.map_err(PortError::corrupt)?;
        let mut customers = BTreeSet::new();
        let mut after = None;
        loop {
            let (accounts, next) = self.accounts(after).await?;
            customers.extend(accounts.into_iter().filter_map(|account| account.customer));
            after = next;
            if after.is_none() {
                break;
            }
        }
        let mut totals = BTreeMap::new();
        for customer in customers {
            let units = api.metered(meter, &customer, start, end).await?;
            totals.insert(customer, units);
        }
        Ok(totals)
    }

    /// A page of accounts, by the keys they are for.
    async fn accounts(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<Account>, Option<Cursor>), PortError> {
        let keys = self.engine().keys(PAGE, after).await?;
        let mut accounts = Vec::new();
        for key in &keys.items {
            accounts.extend(self.engine().account(&key.key_id).await?);
        }
        Ok((accounts, keys.next))
    }
}
