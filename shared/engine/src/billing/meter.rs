//! Usage for the provider's meters: batches of ledger rows, reserved before they are sent.

use oscillink_domain::billing::{Account, BillingId, MeterBatch, MeterProgress};
use oscillink_domain::{KeyId, LedgerRow, Timestamp};
use oscillink_ports::{Collection, DocKey, Op, PortError, Query, StoreExt, Write};

use super::BillingError;
use crate::Engine;
use crate::jobs::Page;

/// Rows of one batch at the most.
const BATCH_ROWS: usize = 1_000;
/// Reservations that only skip rows, before the caller gets its turn again.
const SKIPS: usize = 100;
/// Why a batch is not sent any more.
const DOUBTFUL: &str = "not known whether Stripe took it, and too old to send again";

impl Engine {
    /// How far a chain of a key has been reported.
    ///
    /// # Errors
    /// The store failed.
    pub async fn meter_progress(
        &self,
        key_id: &KeyId,
        chain: u32,
    ) -> Result<MeterProgress, PortError> {
        let found = self.store().fetch(&progress_key(key_id, chain)).await?;
        Ok(found.unwrap_or_else(|| MeterProgress::new(key_id.clone(), chain)))
    }

    /// The batch to send now: the pending one, or the next. `None` when everything is reported.
    /// A pending batch that can no longer be sent safely is set aside first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn next_meter_batch(
        &self,
        account: &Account,
        chain: u32,
    ) -> Result<Option<MeterBatch>, BillingError> {
        let Some(customer) = &account.customer else {
            return Ok(None);
        };
        for _ in 0..SKIPS {
            let progress = self.meter_progress(&account.key_id, chain).await?;
            if let Some(batch) = &progress.pending {
                if progress.may_send(self.now()) {
                    return Ok(Some(batch.clone()));
                }
                let id = batch.identifier.clone();
                self.set_meter_batch_aside(&account.key_id, chain, &id, DOUBTFUL)
                    .await?;
                continue;
            }
            let rows = self
                .rows_after(&account.key_id, chain, progress.seq)
                .await?;
            if rows.is_empty() {
                return Ok(None);
            }
            self.reserve_batch(
                &account.key_id,
                chain,
                rows,
                customer.clone(),
                account.created_at,
            )
            .await?;
        }
        Ok(None)
    }

    /// Notes that the provider took a batch.
    ///
    /// # Errors
    /// The store failed; sending the batch again is safe.
    pub async fn meter_batch_sent(
        &self,
        key_id: &KeyId,
        chain: u32,
        identifier: &str,
    ) -> Result<(), BillingError> {
        let id = identifier.to_owned();
        self.change_progress(key_id, chain, move |progress| progress.sent(&id))
            .await
    }

    /// Notes that a batch cannot be sent.
    ///
    /// # Errors
    /// The store failed.
    pub async fn set_meter_batch_aside(
        &self,
        key_id: &KeyId,
        chain: u32,
        identifier: &str,
        problem: &str,
    ) -> Result<(), BillingError> {
        let (id, problem) = (identifier.to_owned(), problem.to_owned());
        self.change_progress(key_id, chain, move |progress| {
            progress.set_aside(&id, &problem)
        })
        .await
    }

    /// Rows of a chain behind `seq`, in order.
    pub(super) async fn rows_after(
        &self,
        key_id: &KeyId,
        chain: u32,
        seq: u64,
    ) -> Result<Vec<LedgerRow>, PortError> {
        let next = i64::try_from(seq.saturating_add(1)).unwrap_or(i64::MAX);
        let query = Query::new(Collection::UsageLedger, "seq", BATCH_ROWS)
            .filter("key_id", Op::Eq, key_id.as_str())
            .filter("chain", Op::Eq, i64::from(chain))
            .filter("seq", Op::Ge, next);
        Ok(Page::parse(self.store().query(&query).await?)?.items)
    }

    async fn reserve_batch(
        &self,
        key_id: &KeyId,
        chain: u32,
        rows: Vec<LedgerRow>,
        customer: BillingId,
        metered_from: Timestamp,
    ) -> Result<(), BillingError> {
        let now = self.now();
        self.change_progress(key_id, chain, move |progress| {
            // Rows were read before: another process may have reserved them by now, and then the
            // first of them does not follow and nothing is reserved.
            progress.reserve(&rows, &customer, metered_from, now)
        })
        .await
    }

    async fn change_progress(
        &self,
        key_id: &KeyId,
        chain: u32,
        change: impl Fn(&mut MeterProgress) -> bool + Send + Sync + 'static,
    ) -> Result<(), BillingError> {
        let key = progress_key(key_id, chain);
        let key_id = key_id.clone();
        self.store()
            .transaction(vec![key.clone()], move |snapshot| {
                let mut progress = snapshot
                    .get(&key)?
                    .unwrap_or_else(|| MeterProgress::new(key_id.clone(), chain));
                let mut writes = Vec::new();
                if change(&mut progress) {
                    writes.push(Write::put(key.clone(), &progress)?);
                }
                Ok((writes, ()))
            })
            .await
            .map_err(BillingError::from)
    }
}

fn progress_key(key_id: &KeyId, chain: u32) -> DocKey {
    DocKey::new(Collection::Customers, format!("meter.{key_id}.{chain}"))
}
