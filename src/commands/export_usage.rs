//! `oscillink export-usage`: the signed usage files of days that are over.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oscillink_domain::Timestamp;
use oscillink_engine::{Engine, ExportError, ExportReport};

use crate::exit::{Exit, Failure};
use crate::output::{Output, note};
use crate::wiring::open_backend;

const HELP: &str = "\
Writes one file for each key with usage on a day that is over, signed with RECEIPT_HMAC_SECRET, to \
the blobs of the server: exports/usage/DAY/KEY/000001.ndjson. What is written stays as it is: a \
repeat writes nothing, or a further part with rows that came late. A server with billing does this \
by itself every day. --out also copies the files of these days, earlier ones too, into a folder; \
`oscillink verify FILE` checks one.

Works on the server's data folder, or with OSCILLINK_BACKEND=gcp and the variables of the roles on \
the cloud. May run beside the server.

Examples:
  oscillink export-usage
  oscillink export-usage --day 2026-01-31 --days 31 --out january";

const DAY_MS: i64 = 24 * 3_600_000;
/// Files listed at once.
const PAGE: usize = 1_000;

/// Arguments of `export-usage`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Last UTC day to export [default: yesterday]
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// How many days, ending with that one
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// Copy the files of these days into this folder, as DAY/KEY/000001.ndjson
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Data folder [default: ~/.local/share/oscillink]
    #[arg(long, env = "OSCILLINK_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// Writes and reports.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let variables = |name: &str| std::env::var(name).ok();
    let engine = open_backend(args.data_dir.clone(), &variables).await?;
    if engine.config().ledger_secret.is_none() {
        return Err(
            Failure::usage("RECEIPT_HMAC_SECRET is not set: the files must be signed").into(),
        );
    }
    let last = args.day.clone().unwrap_or_else(|| engine.yesterday());
    let report = engine
        .export_days(&last, args.days)
        .await
        .map_err(explain)?;
    if let Some(out) = &args.out {
        copy(&engine, &last, args.days, out).await?;
    }
    show(&report, output)?;
    if report.failed.is_empty() {
        return Ok(());
    }
    let text = format!("{} keys could not be exported", report.failed.len());
    Err(Failure::new(Exit::Failed, text).into())
}

async fn copy(engine: &Engine, last: &str, days: u32, out: &Path) -> Result<()> {
    let last = Timestamp::parse_rfc3339(&format!("{last}T00:00:00Z"))?;
    let blobs = &engine.ports().blobs;
    for back in 0..i64::from(days) {
        let day = last.plus_millis(-back * DAY_MS).day();
        let mut after: Option<String> = None;
        loop {
            let prefix = format!("exports/usage/{day}/");
            let names = blobs.list(&prefix, after.as_deref(), PAGE).await?;
            for name in &names {
                let place = out.join(name.trim_start_matches("exports/usage/"));
                let context = || format!("--out {}", place.display());
                if let Some(folder) = place.parent() {
                    fs::create_dir_all(folder).with_context(context)?;
                }
                fs::write(&place, blobs.get(name).await?).with_context(context)?;
            }
            if names.len() < PAGE {
                break;
            }
            after = names.last().cloned();
        }
    }
    Ok(())
}

fn explain(error: ExportError) -> anyhow::Error {
    match error {
        ExportError::Day(_) | ExportError::NotOver(_) => {
            Failure::usage(format!("--day: {error}")).into()
        }
        other => other.into(),
    }
}

fn show(report: &ExportReport, output: Output) -> Result<()> {
    if output.json() {
        return output.print_json(report);
    }
    for (key_id, why) in &report.failed {
        note(format!("{key_id}: {why}"));
    }
    for file in &report.files {
        output.line(file)?;
    }
    let (files, rows) = (report.files.len(), report.rows);
    note(format!("{files} files written with {rows} rows"));
    Ok(())
}
