//! `oscillink list`: jobs, newest first.

use anyhow::Result;
use serde_json::Value;

use crate::client::{JobView, ServerArgs};
use crate::output::{Output, note};

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only jobs that stand here: queued, running, done, error, cancelled, expired
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only jobs of this kind: settle, diffusion, chain
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only jobs accepted at or after this time, for example 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Most jobs to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Continue where an earlier list ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let mut query = vec![("limit", args.limit.to_string())];
    let filters = [
        ("status", &args.status),
        ("kind", &args.kind),
        ("since", &args.since),
        ("cursor", &args.cursor),
    ];
    for (name, value) in filters {
        query.extend(value.clone().map(|value| (name, value)));
    }
    let body = args.server.client()?.get("/v1/jobs", &query).await?;
    if output.json() {
        return output.print_json(&body);
    }
    let items = body.get("items").and_then(Value::as_array);
    let jobs: Vec<JobView> = items
        .into_iter()
        .flatten()
        .map(JobView::of)
        .collect::<Result<_>>()?;
    if jobs.is_empty() {
        note("no jobs");
        return Ok(());
    }
    let rows = jobs.into_iter().map(|job| {
        let status = output.status(&job.status);
        let units = job
            .units
            .map_or_else(String::new, |units| units.to_string());
        vec![
            job.job_id,
            job.kind,
            status,
            job.created.unwrap_or_default(),
            units,
        ]
    });
    output.table(&["job", "kind", "status", "created", "units"], rows)?;
    if let Some(cursor) = body.get("next_cursor").and_then(Value::as_str) {
        note(format!("more: --cursor {cursor}"));
    }
    Ok(())
}
