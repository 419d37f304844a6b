//! `oscillink get`: a job, its result, or one of its arrays.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::client::{JobView, ServerArgs};
use crate::exit::{Exit, Failure};
use crate::output::Output;

const HELP: &str = "\
Examples:
  oscillink get job_…                                    where it stands, and its result
  oscillink get job_… --json | jq .result.bundle
  oscillink get job_… --array ustar --out settled.npy    an array named at submission";

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// One array of the result as .npy: u, ustar or gates
    #[arg(long, value_name = "NAME")]
    array: Option<String>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Fetches and prints.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let client = args.server.client()?;
    if let Some(name) = &args.array {
        if args.out.is_none() && std::io::stdout().is_terminal() {
            return Err(
                Failure::usage("an array is not for a terminal: give --out FILE.npy").into(),
            );
        }
        let bytes = client.array(&args.id, name).await?;
        return write(args.out.as_ref(), &bytes);
    }
    let body = client.job(&args.id, None).await?;
    match &args.out {
        Some(_) => write(args.out.as_ref(), &serde_json::to_vec(&body)?),
        None => print(&body, output),
    }
}

fn write(out: Option<&PathBuf>, bytes: &[u8]) -> Result<()> {
    match out {
        Some(path) => fs::write(path, bytes).with_context(|| path.display().to_string()),
        None => Ok(std::io::stdout().lock().write_all(bytes)?),
    }
}

/// Prints a job that has ended; anything but a result is a failure.
pub fn print_ended(body: &Value, output: Output) -> Result<()> {
    print(body, output)?;
    let job = JobView::of(body)?;
    if job.status == "done" {
        return Ok(());
    }
    let mut text = format!("job {} ended as {}", job.job_id, job.status);
    if let Some(error) = &job.error {
        text += &format!(": {}", error.detail);
    }
    Err(Failure::new(Exit::Failed, text).into())
}

/// Prints a job.
fn print(body: &Value, output: Output) -> Result<()> {
    if output.json() {
        return output.print_json(body);
    }
    let job = JobView::of(body)?;
    let mut rows = vec![
        vec!["job".to_owned(), job.job_id.clone()],
        vec!["kind".to_owned(), job.kind.clone()],
        vec!["status".to_owned(), output.status(&job.status)],
    ];
    let mut put = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| vec![name.to_owned(), value]));
    };
    put("created", job.created.clone());
    put("completed", job.completed.clone());
    put("units", job.units.map(|units| units.to_string()));
    put(
        "progress",
        job.progress
            .as_ref()
            .map(|p| format!("{} {:.0} %", p.stage, 100.0 * p.fraction)),
    );
    put(
        "error",
        job.error.as_ref().map(|error| output.bad(&error.detail)),
    );
    let result = body.get("result").filter(|result| result.is_object());
    if let Some(result) = result {
        let number = |path: &str| result.pointer(path).and_then(Value::as_f64);
        put(
            "state_sig",
            result
                .get("state_sig")
                .and_then(Value::as_str)
                .map(str::to_owned),
        );
        put(
            "ΔH",
            number("/receipt/deltaH_total").map(|x| format!("{x:.6}")),
        );
        let nulls = result
            .pointer("/receipt/null_points")
            .and_then(Value::as_array);
        put("null points", nulls.map(|points| points.len().to_string()));
        put(
            "time",
            number("/timings_ms/total_settle_ms").map(|ms| format!("{ms:.1} ms")),
        );
    }
    output.table(&["", ""], rows)?;
    match result
        .and_then(|result| result.get("bundle"))
        .and_then(Value::as_array)
    {
        Some(bundle) => {
            output.line("")?;
            let field = |item: &Value, name: &str| {
                item.get(name)
                    .and_then(Value::as_f64)
                    .map_or_else(String::new, |x| format!("{x:.4}"))
            };
            let rows = bundle.iter().enumerate().map(|(place, item)| {
                let id = item.get("id").map_or_else(String::new, Value::to_string);
                vec![
                    (place + 1).to_string(),
                    id,
                    field(item, "score"),
                    field(item, "align"),
                ]
            });
            output.table(&["", "row", "score", "align"], rows)
        }
        None => Ok(()),
    }
}
