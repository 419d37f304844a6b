//! The totals of an embedded store, read when metrics are scraped.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;

/// What an embedded store has written since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTotals {
    /// Transactions.
    pub transactions: u64,
    /// Commits, each with one sync of the disk; one carries many transactions.
    pub commits: u64,
}

/// Encodes what its function gives.
pub(crate) struct StoreCollector(pub(crate) Box<dyn Fn() -> StoreTotals + Send + Sync>);

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCollector").finish_non_exhaustive()
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = (self.0)();
        let counters = [
            (
                "store_transactions",
                "Transactions written",
                totals.transactions,
            ),
            (
                "store_commits",
                "Commits, each with one sync of the disk",
                totals.commits,
            ),
        ];
        for (name, help, total) in counters {
            let counter = ConstCounter::new(total);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}
