//! `oscillink keys`: API keys in the store of a data folder, also while its server runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use oscillink_domain::{KeyId, KeyRecord, KeyStatus, Tier};
use oscillink_engine::{Engine, IssuedKey, KeyError, NewKey};
use serde_json::{Value, json};

use crate::data_dir;
use crate::exit::{Exit, Failure};
use crate::output::{Output, note};
use crate::wiring::{expect_database, open_offline};

/// Keys of one page when listing.
const PAGE: usize = 200;

const HELP: &str = "\
Works on the store in the data folder, which `create` makes if need be; a server that is running \
notices within a second. A secret is shown once, when it is made: only its hash is stored.

Examples:
  oscillink keys create --tier pro --name search-team
  oscillink keys list
  oscillink keys rotate key_… --overlap 3600
  oscillink keys revoke key_…";

/// Arguments of `keys`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Data folder [default: ~/.local/share/oscillink]
    #[arg(long, global = true, env = "OSCILLINK_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and show its secret, once
    Create {
        /// Plan of the key: free, beta, pro or enterprise
        #[arg(long, default_value = "pro", value_name = "TIER")]
        tier: Tier,
        /// A name for people
        #[arg(long, default_value = "", value_name = "NAME")]
        name: String,
        /// Activate an enterprise key, which otherwise starts pending
        #[arg(long)]
        activate: bool,
    },
    /// List keys, newest first
    List,
    /// Activate a key that is pending or suspended
    Activate {
        /// The key's id, not its secret
        #[arg(value_name = "KEY_ID")]
        id: KeyId,
    },
    /// End a key for good
    Revoke {
        /// The key's id, not its secret
        #[arg(value_name = "KEY_ID")]
        id: KeyId,
    },
    /// Give a key a new secret; the old one goes on working for a while
    Rotate {
        /// The key's id, not its secret
        #[arg(value_name = "KEY_ID")]
        id: KeyId,
        /// How long the old secret goes on working, seconds
        #[arg(long, default_value_t = 86_400, value_name = "S")]
        overlap: u32,
    },
}

/// Does it.
pub async fn run(args: &Args, output: Output) -> Result<()> {
    let data_dir = data_dir::resolve(args.data_dir.clone());
    if !matches!(args.action, Action::Create { .. }) {
        expect_database(&data_dir)?;
    }
    let engine = open_offline(&data_dir)?;
    match &args.action {
        Action::Create {
            tier,
            name,
            activate,
        } => {
            let new = NewKey {
                name: name.clone(),
                tier: *tier,
                overrides: Default::default(),
            };
            let mut issued = engine.create_key(new).await.map_err(explain)?;
            if *activate && issued.record.status != KeyStatus::Active {
                let id = issued.record.key_id.clone();
                let active = engine.set_key_status(&id, KeyStatus::Active).await;
                issued.record = active.map_err(explain)?;
            }
            show_secret(&issued, output)
        }
        Action::List => list(&engine, output).await,
        Action::Activate { id } => {
            let active = engine.set_key_status(id, KeyStatus::Active).await;
            show_record(&active.map_err(explain)?, output)
        }
        Action::Revoke { id } => {
            let revoked = engine.set_key_status(id, KeyStatus::Revoked).await;
            show_record(&revoked.map_err(explain)?, output)
        }
        Action::Rotate { id, overlap } => {
            let rotated = engine.rotate_key(id, i64::from(*overlap) * 1_000).await;
            show_secret(&rotated.map_err(explain)?, output)
        }
    }
}

fn explain(error: KeyError) -> anyhow::Error {
    match &error {
        KeyError::NotFound => Failure::new(Exit::NotFound, error.to_string()).into(),
        KeyError::Revoked => Failure::new(Exit::Failed, error.to_string()).into(),
        KeyError::Port(_) => error.into(),
    }
}

async fn list(engine: &Engine, output: Output) -> Result<()> {
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let page = engine.keys(PAGE, after).await?;
        records.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if output.json() {
        let items: Vec<Value> = records.iter().map(view).collect();
        return output.print_json(&json!({"items": items}));
    }
    if records.is_empty() {
        note("no keys");
        return Ok(());
    }
    let rows = records.iter().map(|record| {
        let status = status_of(record);
        let status = match record.status {
            KeyStatus::Active => output.good(&status),
            _ => output.bad(&status),
        };
        let tier = record.tier.to_string();
        let created = record.created_at.to_string();
        vec![
            record.key_id.to_string(),
            record.name.clone(),
            tier,
            status,
            created,
        ]
    });
    output.table(&["key", "name", "tier", "status", "created"], rows)
}

fn show_secret(issued: &IssuedKey, output: Output) -> Result<()> {
    if output.json() {
        let mut value = view(&issued.record);
        value["key"] = issued.secret.reveal().into();
        return output.print_json(&value);
    }
    note("The secret is shown this once; keep it safe:");
    output.line(issued.secret.reveal())?;
    show_record(&issued.record, output)
}

fn show_record(record: &KeyRecord, output: Output) -> Result<()> {
    if output.json() {
        return output.print_json(&view(record));
    }
    output.line(format!(
        "{} {} {}",
        output.bold(record.key_id.as_str()),
        record.tier,
        status_of(record)
    ))
}

fn view(record: &KeyRecord) -> Value {
    json!({
        "key_id": record.key_id,
        "name": record.name,
        "tier": record.tier,
        "status": record.status,
        "created": record.created_at.to_string(),
        "updated": record.updated_at.to_string(),
        "secrets": record.secrets.len(),
    })
}

fn status_of(record: &KeyRecord) -> String {
    match record.status {
        KeyStatus::Active => "active",
        KeyStatus::Pending => "pending",
        KeyStatus::Suspended => "suspended",
        KeyStatus::Revoked => "revoked",
    }
    .to_owned()
}
