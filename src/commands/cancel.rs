//! `oscillink cancel`: stops a job.

use anyhow::Result;

use crate::client::{JobView, ServerArgs};
use crate::output::Output;

const HELP: &str = "\
A queued job is cancelled at once and its units are returned. A running one stops at its next check \
point; `oscillink wait` tells when. One that has ended stays as it is.";

/// Arguments of `cancel`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Cancels and prints where the job stands.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let body = args.server.client()?.cancel(&args.id).await?;
    if output.json() {
        return output.print_json(&body);
    }
    let job = JobView::of(&body)?;
    let text = match job.status.as_str() {
        "running" => "running, stops at its next check point".to_owned(),
        status => output.status(status),
    };
    output.line(format!("{} {text}", output.bold(&job.job_id)))
}
