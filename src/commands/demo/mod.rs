//! `oscillink demo`: the whole service on real text embeddings, start to finish, then exit.

mod data;
mod job;
mod report;

use anyhow::{Context as _, Result};
use oscillink_domain::ApiKey;
use oscillink_ports::Entropy as _;
use secrecy::SecretString;
use serde_json::json;

use self::data::Glosses;
use self::job::Ask;
use crate::client::Client;
use crate::commands::submit::Kind;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::settings::ServerSettings;
use crate::wiring::{OsEntropy, Server};

/// Rows that plain cosine hands to the settle job.
const CANDIDATES: usize = 24;
/// Rows of each bundle.
const BUNDLE: usize = 6;

const HELP: &str = "\
Starts the whole service on a free port of this machine with an empty temporary data folder, submits \
a settle job and a diffusion job over HTTP, shows what came back beside plain cosine search, and \
exits. Nothing is left behind. The texts are from WordNet 3.0 (licence: demo/LICENSE.wordnet.txt).

Examples:
  oscillink demo
  oscillink demo --query bouillabaisse
  oscillink demo --json | jq .jobs[0].bundle";

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The entry that is the query: its headword, or part of its text
    #[arg(long, value_name = "WORD", default_value = "music critic")]
    query: String,
    /// A server to use instead of one started for the demo; its key is OSCILLINK_API_KEY and its
    /// receipts are checked with RECEIPT_HMAC_SECRET
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// The server that the demo talks to.
struct Host {
    client: Client,
    url: String,
    secret: SecretString,
    own: Option<(Server, tempfile::TempDir)>,
}

impl Host {
    /// A server of our own in a temporary folder, on any free port.
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut random = [0; 32];
        OsEntropy.fill(&mut random);
        // Made as keys are made: any text nobody can guess will do.
        let secret = SecretString::from(ApiKey::from_random(random).reveal().to_owned());
        let settings = ServerSettings::for_demo(folder.path(), secret.clone());
        let server = Server::start(settings).await?;
        let key = server
            .dev_key()
            .context("an empty data folder gets a development key")?;
        let client = Client::new(server.url().parse()?, &key.key)?;
        Ok(Self {
            client,
            url: server.url().to_owned(),
            secret,
            own: Some((server, folder)),
        })
    }

    /// A server that runs already.
    fn given(url: &str) -> Result<Self> {
        let variable = |name: &str| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.ok_or_else(|| Failure::usage(format!("--server needs {name}")))
        };
        let key = ApiKey::parse(&variable("OSCILLINK_API_KEY")?)
            .ok_or_else(|| Failure::usage("OSCILLINK_API_KEY is not a key"))?;
        let secret = SecretString::from(variable("RECEIPT_HMAC_SECRET")?);
        let client = Client::new(url.parse()?, &key)?;
        Ok(Self {
            client,
            url: url.to_owned(),
            secret,
            own: None,
        })
    }
}

/// Tells the story.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let glosses = Glosses::load()?;
    let query = glosses
        .find(&args.query)
        .ok_or_else(|| Failure::new(Exit::NotFound, format!("no entry says {:?}", args.query)))?;
    let nearest = glosses.nearest(query);

    let host = match &args.server {
        Some(url) => Host::given(url)?,
        None => Host::start().await?,
    };
    let (client, secret) = (&host.client, &host.secret);
    if !output.json() {
        report::opening(
            output,
            glosses.text(query),
            glosses.len(),
            glosses.dim(),
            &host.url,
            host.own.is_some(),
        )?;
    }

    let settle = Ask {
        kind: Kind::Settle,
        query,
        rows: &nearest[..CANDIDATES],
        bundle: BUNDLE,
        params: json!({}),
        diffusion: None,
    };
    let settled = job::tell(client, &glosses, &settle, secret, output).await?;
    if !output.json() {
        let intro = format!(
            "Search first, then settle: the {CANDIDATES} entries nearest to the query form the net. \
             In green what plain search would not have shown."
        );
        report::job(output, 1, "Settle the neighbourhood", &intro, &settled)?;
    }

    let diffusion = Ask {
        kind: Kind::Diffusion,
        query,
        rows: &nearest,
        bundle: BUNDLE,
        // A light touch: gates decide who is pulled, and springs only show who moves together.
        params: json!({"lamC": 0.01, "lamQ": 0.5}),
        diffusion: Some(json!({"gamma": 1.0})),
    };
    let diffused = job::tell(client, &glosses, &diffusion, secret, output).await?;
    if let Some((server, folder)) = host.own {
        server.drain().await?;
        folder.close()?;
    }
    if output.json() {
        return output.print_json(&json!({
            "query": {"row": query, "text": glosses.text(query)},
            "jobs": [settled, diffused],
        }));
    }
    let intro = format!(
        "No search at all: all {} entries form the net. The query seeps through it like dye, and how \
         much reaches an entry opens its gate: only the query's surroundings are pulled.",
        nearest.len()
    );
    report::job(
        output,
        2,
        "Let the query find its own neighbourhood",
        &intro,
        &diffused,
    )?;
    report::closing(output)
}
