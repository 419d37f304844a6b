//! `oscillink wait`: until a job has ended.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::client::{Client, JobView, ServerArgs};
use crate::commands::get;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Longest wait when none is given.
pub const DEFAULT_TIMEOUT_S: u64 = 3_600;
/// Longest the server is asked to hold one request, seconds.
const LONG_POLL_S: u64 = 30;

const HELP: &str = "\
Prints the job with its result. Exit code 0 when it is done, 1 when it failed, was cancelled or \
expired, 6 when the time limit was reached first (the job goes on).";

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The job
    #[arg(value_name = "ID")]
    id: String,
    /// Longest wait, seconds
    #[arg(long, value_name = "S", default_value_t = DEFAULT_TIMEOUT_S)]
    timeout: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// Waits and prints the job.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let client = args.server.client()?;
    let job = until_ended(&client, &args.id, args.timeout, output).await?;
    get::print_ended(&job, output)
}

/// The job once it has ended, with a progress bar meanwhile.
pub async fn until_ended(
    client: &Client,
    id: &str,
    timeout_s: u64,
    output: Output,
) -> Result<Value> {
    let deadline = Instant::now() + Duration::from_secs(timeout_s);
    let bar = output.progress("waiting");
    // A bar wants news every second; without one the server may as well hold the request.
    let poll_s = if bar.is_hidden() { LONG_POLL_S } else { 1 };
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs();
        let asked = Instant::now();
        let body = client.job(id, Some(poll_s.min(left))).await?;
        let job = JobView::of(&body)?;
        if job.is_terminal() {
            bar.finish_and_clear();
            return Ok(body);
        }
        if Instant::now() >= deadline {
            let text = format!("job {id} is still {} after {timeout_s} s", job.status);
            return Err(Failure::new(Exit::Unavailable, text).into());
        }
        match &job.progress {
            Some(progress) => {
                bar.set_message(progress.stage.clone());
                bar.set_position(position(&progress.stage, progress.fraction));
            }
            None => bar.set_message(job.status.clone()),
        }
        // A server that answers at once instead of holding the request is not to be flooded.
        let pace = Duration::from_millis(200);
        tokio::time::sleep(pace.saturating_sub(asked.elapsed())).await;
    }
}

/// Place of a stage's fraction on a bar of 1000.
fn position(stage: &str, fraction: f64) -> u64 {
    let (begin, end) = match stage {
        "load" => (0, 50),
        "diffusion" => (50, 300),
        "graph" => (300, 600),
        "settle" => (600, 750),
        "stationary" => (750, 900),
        "receipt" => (900, 960),
        "bundle" => (960, 980),
        _ => (980, 1_000),
    };
    begin + (fraction.clamp(0.0, 1.0) * f64::from(end as u32 - begin as u32)) as u64
}
