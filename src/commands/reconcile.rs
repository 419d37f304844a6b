//! `oscillink reconcile`: where Stripe, keys, ledger and meters disagree.

use std::path::PathBuf;

use anyhow::Result;
use oscillink_domain::billing::{Drift, DriftReport};
use oscillink_telemetry::Metrics;
use oscillink_webhook::{ApiError, UsageError};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::settings;
use crate::wiring::{billing, open_backend};

const HELP: &str = "\
Asks Stripe for every subscription and compares: subscriptions with accounts, what they are worth \
with the keys, the ledger with what was reported, what was reported this month with the meter \
(OSCILLINK_STRIPE_METER_ID), and lists billing events that failed. Changes nothing. Exit code 1 says \
that something disagrees.

Needs STRIPE_API_KEY and OSCILLINK_STRIPE_PRICE_MAP, and the data folder of the server, or \
OSCILLINK_BACKEND=gcp with the variables of the roles. May run beside the server.

Examples:
  oscillink reconcile
  oscillink reconcile --json | jq '.drift[]'";

/// Arguments of `reconcile`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Data folder [default: ~/.local/share/oscillink]
    #[arg(long, env = "OSCILLINK_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// Compares and reports.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let variables = |name: &str| std::env::var(name).ok();
    let config = settings::billing::for_command(&variables)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let engine = open_backend(args.data_dir.clone(), &variables).await?;
    let billing = billing(engine, config, Metrics::new())?;
    let report = billing.reconcile().await.map_err(explain)?;
    show(&report, output)?;
    if report.is_clean() {
        return Ok(());
    }
    let count = report.drift.len();
    Err(Failure::new(Exit::Failed, format!("{count} disagreements")).into())
}

fn explain(error: UsageError) -> anyhow::Error {
    let exit = match &error {
        UsageError::NoApi => Exit::Usage,
        UsageError::Api(ApiError::Unreachable(_)) => Exit::Unavailable,
        UsageError::Api(_) => Exit::Refused,
        UsageError::Port(_) | UsageError::Billing(_) => return error.into(),
    };
    Failure::new(exit, error.to_string()).into()
}

fn show(report: &DriftReport, output: Output) -> Result<()> {
    if output.json() {
        return output.print_json(report);
    }
    if !report.is_clean() {
        let headers = ["what", "key", "subject", "should be", "is"];
        output.table(&headers, report.drift.iter().map(row))?;
        output.line("")?;
    }
    let clean = if report.is_clean() {
        output.good("everything agrees")
    } else {
        output.bad(&format!("{} disagreements", report.drift.len()))
    };
    output.line(format!(
        "{clean}: {} keys and {} subscriptions compared",
        report.keys, report.subscriptions
    ))
}

fn row(drift: &Drift) -> Vec<String> {
    let key = drift.key_id.as_ref();
    vec![
        drift.kind.as_str().to_owned(),
        key.map_or_else(|| "-".to_owned(), ToString::to_string),
        drift.subject.clone(),
        drift.expected.clone(),
        drift.found.clone(),
    ]
}
