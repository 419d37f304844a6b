//! `oscillink submit`: hands a job to a server.

use anyhow::Result;
use clap::ValueEnum;
use oscillink_wire::Format;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use crate::client::{Client, JobView, ServerArgs, json};
use crate::commands::{get, wait};
use crate::output::{Output, note};
use crate::problem::{InputArgs, ProblemArgs};

const HELP: &str = "\
Prints the job as the server accepted it. From then on it is safe: the server finishes it whatever \
happens to this program. Flags stand above what a file says.

Examples:
  oscillink submit vectors.npy --psi-row 0 --bundle 8 --wait
  oscillink submit request.json --kind chain
  python make_vectors.py | oscillink submit - --psi-row 0";

/// Arguments of `submit`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// What to compute [default: diffusion if a flag asks for it, else settle]
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Problem")]
    kind: Option<Kind>,
    /// Wait until the job has ended and print its result
    #[arg(long)]
    wait: bool,
    /// Longest wait, seconds
    #[arg(long, value_name = "S", default_value_t = wait::DEFAULT_TIMEOUT_S, requires = "wait")]
    timeout: u64,
    /// Repeating a submission with the same key gives the first one's job
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Where the server reports the end of the job
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    #[command(flatten)]
    problem: ProblemArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// What a job computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Settle, with receipt and bundle
    Settle,
    /// Settle behind diffusion gates
    Diffusion,
    /// Chain receipt
    Chain,
}

impl Kind {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::Diffusion => "diffusion",
            Self::Chain => "chain",
        }
    }
}

/// Submits, and waits if asked to.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let client = args.server.client()?;
    let kind = args.kind.unwrap_or(if args.problem.wants_diffusion() {
        Kind::Diffusion
    } else {
        Kind::Settle
    });
    let (format, bytes) = args.input.read()?;
    let mut query = args.problem.assignments();
    query.extend(
        args.callback_url
            .iter()
            .map(|url| ("callback_url", url.clone())),
    );
    let accepted = submit(
        &client,
        kind,
        format,
        bytes,
        &query,
        args.idempotency_key.as_deref(),
    )
    .await?;
    let job = JobView::of(&accepted)?;
    if args.wait {
        let ended = wait::until_ended(&client, &job.job_id, args.timeout, output).await?;
        return get::print_ended(&ended, output);
    }
    if output.json() {
        return output.print_json(&accepted);
    }
    output.line(format!(
        "{} {}",
        output.bold(&job.job_id),
        output.status(&job.status)
    ))?;
    note(format!("follow it with: oscillink wait {}", job.job_id));
    Ok(())
}

/// Posts a job.
pub async fn submit(
    client: &Client,
    kind: Kind,
    format: Format,
    bytes: Vec<u8>,
    query: &[(&str, String)],
    idempotency_key: Option<&str>,
) -> Result<Value> {
    let content_type = match format {
        Format::Json => "application/json",
        Format::Npy => "application/x-npy",
        Format::Npz => "application/x-npz",
    };
    let path = format!("/v1/jobs/{}", kind.as_str());
    let mut request = client
        .request(Method::POST, &path, query)?
        .header(CONTENT_TYPE, content_type)
        .body(bytes);
    if let Some(key) = idempotency_key {
        request = request.header("idempotency-key", key);
    }
    json(client.send(request).await?).await
}
