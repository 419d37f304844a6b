//! `oscillink serve`: every role in this process, on a folder of this machine.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oscillink_telemetry::on_signal;
use serde_json::json;

use crate::output::{Output, note};
use crate::settings::ServerSettings;
use crate::wiring::{DevKey, FLUSH_LIMIT, Server, telemetry};

const HELP: &str = "\
Accepts work over HTTP, stores it durably in the data folder, computes it and meters it, with no \
cloud and no account. A crash or a restart loses nothing that was accepted. SIGTERM or Ctrl-C hands \
running work back and ends within 10 seconds.

With no key configured and an empty data folder the server listens on this machine only, makes one \
key, shows it once and keeps it in the folder's file dev-key (mode 0600), where the other commands \
find it.

Every flag is also a variable; docs/configuration.md lists all of them.

Examples:
  oscillink serve
  PORT=9000 OSCILLINK_DATA_DIR=/var/lib/oscillink oscillink serve
  oscillink serve --port 0 --ready-file /tmp/ready.json";

/// One table of flags and the variables they stand for.
macro_rules! flags {
    ($($field:ident = $variable:literal $value:literal $help:literal;)+) => {
        /// Arguments of `serve`.
        #[derive(Debug, clap::Args)]
        #[command(after_help = HELP)]
        pub struct Args {
            $(
                #[doc = $help]
                #[arg(long, env = $variable, value_name = $value, hide_env_values = true)]
                $field: Option<String>,
            )+
            /// Write {"url", "addr", "key_file"} to this file once the server answers
            #[arg(long, value_name = "FILE")]
            ready_file: Option<PathBuf>,
        }

        impl Args {
            /// A variable's value: the flag, else the environment.
            fn variable(&self, name: &str) -> Option<String> {
                match name {
                    $($variable => self.$field.clone(),)+
                    _ => std::env::var(name).ok(),
                }
            }
        }
    };
}

flags! {
    port = "PORT" "PORT" "Port to listen on, 0 for any free one [default: 8080]";
    host = "OSCILLINK_HOST" "ADDRESS" "Address to listen on [default: 127.0.0.1 with the development key, else 0.0.0.0]";
    data_dir = "OSCILLINK_DATA_DIR" "FOLDER" "Data folder [default: ~/.local/share/oscillink]";
    api_keys = "OSCILLINK_API_KEYS" "K1,K2" "Keys to make at start, for development";
    key_tiers = "OSCILLINK_KEY_TIERS" "K:TIER;…" "Tiers of those keys [default: free]";
    max_nodes = "OSCILLINK_MAX_NODES" "N" "Most rows of a synchronous request [default: 5000]";
    max_dim = "OSCILLINK_MAX_DIM" "D" "Most columns of a synchronous request [default: 2048]";
    key_node_units_limit = "OSCILLINK_KEY_NODE_UNITS_LIMIT" "UNITS" "Units (N·D) of a key in a window, 0 for no limit [default: 0]";
    key_node_units_window = "OSCILLINK_KEY_NODE_UNITS_WINDOW" "S" "Length of that window, seconds [default: 3600]";
    monthly_cap = "OSCILLINK_MONTHLY_CAP" "UNITS" "Units of a key in a month [default: by tier]";
    rate_limit = "OSCILLINK_RATE_LIMIT" "N" "Requests of all clients in a window, 0 for no limit [default: 0]";
    rate_window = "OSCILLINK_RATE_WINDOW" "S" "Length of that window, seconds [default: 60]";
    ip_rate_limit = "OSCILLINK_IP_RATE_LIMIT" "N" "Requests of one address in a window [default: 0]";
    ip_rate_window = "OSCILLINK_IP_RATE_WINDOW" "S" "Length of that window, seconds [default: 60]";
    trust_xff = "OSCILLINK_TRUST_XFF" "COUNT" "Proxies in front that append to X-Forwarded-For [default: 0]";
    admin_secret = "OSCILLINK_ADMIN_SECRET" "SECRET" "Opens the routes for operators";
    metrics_protected = "OSCILLINK_METRICS_PROTECTED" "BOOL" "Ask for the admin secret at /metrics [default: false]";
    cors_allow_origins = "OSCILLINK_CORS_ALLOW_ORIGINS" "ORIGINS" "Origins that browsers may call from, * for all";
    receipt_secret = "RECEIPT_HMAC_SECRET" "SECRET" "Signs receipts";
    worker_threads = "OSCILLINK_WORKER_THREADS" "N" "Threads that compute jobs [default: all cores]";
    worker_memory_bytes = "OSCILLINK_WORKER_MEMORY_BYTES" "BYTES" "Memory that jobs may take together [default: 4 GiB]";
}

/// Serves until a signal ends it.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let telemetry = telemetry(&|name| args.variable(name), "oscillink")?;
    let outcome = serve(args, output).await;
    telemetry.flush(FLUSH_LIMIT).await;
    outcome
}

async fn serve(args: &Args, output: Output) -> Result<()> {
    let settings = ServerSettings::from_lookup(&|name| args.variable(name))?;
    // Listened for before anything starts, so that no signal finds the default handler.
    let signal = tokio::spawn(on_signal());
    let mut server = Server::start(settings).await?;
    announce(&server, output)?;
    if let Some(path) = &args.ready_file {
        write_ready(path, &server)?;
    }
    tokio::select! {
        received = signal => received.context("the signal handler")??,
        error = server.failed() => return Err(error),
    }
    if std::io::stderr().is_terminal() {
        note("stopping: running work is finished or handed back");
    }
    server.drain().await
}

fn announce(server: &Server, output: Output) -> Result<()> {
    if output.json() {
        return output.print_json(&ready(server));
    }
    let url = server.url();
    output.line(format!("Oscillink listens on {}", output.bold(url)))?;
    let key = match server.dev_key() {
        Some(DevKey { key, path, fresh }) => {
            if *fresh {
                output.line(format!(
                    "API key (shown this once): {}",
                    output.accent(key.reveal())
                ))?;
            }
            output.line(format!("The API key is kept in {}", path.display()))?;
            format!("$(cat '{}')", path.display())
        }
        None => "$OSCILLINK_API_KEY".to_owned(),
    };
    output.line("")?;
    output.line(if server.dev_key().is_some() {
        "Try it:"
    } else {
        "Try it, with one of your keys in OSCILLINK_API_KEY:"
    })?;
    output.line(format!(
        "  curl -s {url}/v1/settle -H \"X-API-Key: {key}\" -H 'Content-Type: application/json' \
         -d '{{\"Y\":[[1,0],[0.9,0.1],[0,1]],\"psi\":[1,0.2],\"options\":{{\"bundle_k\":2}}}}'"
    ))?;
    output.line("")?;
    output.line(output.dim("Ctrl-C stops it; what was accepted goes on at the next start."))
}

fn ready(server: &Server) -> serde_json::Value {
    json!({
        "event": "ready",
        "url": server.url(),
        "addr": server.addr().to_string(),
        "key_file": server.dev_key().map(|key| key.path.clone()),
    })
}

/// Written beside and moved into place: whoever waits for the file finds all of it.
fn write_ready(path: &Path, server: &Server) -> Result<()> {
    let fresh = path.with_extension("tmp");
    let context = || format!("--ready-file {}", path.display());
    fs::write(&fresh, ready(server).to_string()).with_context(context)?;
    fs::rename(&fresh, path).with_context(context)
}
