//! `oscillink verify`: whether a receipt's signature is ours and covers what the receipt says, and
//! whether a usage file is whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use oscillink_domain::settings::Lookup;
use oscillink_lattice::signature::{Mode, Required, SignedPayload, Value as Canonical, verify};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::verify_export;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::problem::read_input;

const HELP: &str = "\
FILE holds a receipt, an answer of the API, a whole job with its result, or a usage file as \
`oscillink export-usage` writes it; - reads standard input. \
The secret comes from RECEIPT_HMAC_SECRET; during a rotation RECEIPT_HMAC_SECRET_OLD is accepted too.

Checked are the signature itself and that the signed values are those the receipt shows; of a usage \
file every row, the chain between rows, the totals, the hash of the whole and the signature. Without \
the secret --hashes-only checks all but the signature. Exit code 1 says that it does not verify.

Examples:
  RECEIPT_HMAC_SECRET=… oscillink verify answer.json --require-mode extended
  oscillink verify 000001.ndjson --hashes-only";

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The receipt as JSON, or the usage file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Of a usage file, check all but the signature: for those who do not have the secret
    #[arg(long)]
    hashes_only: bool,
    /// Accept only this signature mode
    #[arg(long, value_enum, value_name = "MODE")]
    require_mode: Option<RequiredMode>,
    /// Accept only this signature version
    #[arg(long, value_name = "N")]
    require_version: Option<i64>,
}

/// A signature mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RequiredMode {
    /// State signature and energy drop
    Minimal,
    /// Also the end state's solve, the parameters and the graph's
    Extended,
}

impl From<RequiredMode> for Mode {
    fn from(mode: RequiredMode) -> Self {
        match mode {
            RequiredMode::Minimal => Self::Minimal,
            RequiredMode::Extended => Self::Extended,
        }
    }
}

/// Verifies and reports.
pub fn run(args: &Args, output: Output) -> Result<()> {
    let variables = |name: &str| std::env::var(name).ok();
    let mut read = Lookup::new(&variables);
    let known: Vec<(&str, SecretString)> = [
        ("current", "RECEIPT_HMAC_SECRET"),
        ("old", "RECEIPT_HMAC_SECRET_OLD"),
    ]
    .into_iter()
    .filter_map(|(age, name)| Some((age, read.secret(name, 1)?)))
    .collect();
    let file = read_input(&args.file)?;
    let is_export = verify_export::is_export(&file);
    if is_export && args.hashes_only {
        return verify_export::run(&file, &[], output);
    }
    if known.is_empty() {
        return Err(Failure::usage("RECEIPT_HMAC_SECRET is not set").into());
    }
    if is_export {
        let secrets: Vec<SecretString> = known.into_iter().map(|(_, secret)| secret).collect();
        return verify_export::run(&file, &secrets, output);
    }
    let secrets: Vec<&SecretString> = known.iter().map(|(_, secret)| secret).collect();
    let document: Value = serde_json::from_slice(&file)
        .map_err(|error| Failure::bad_input(format!("not JSON: {error}")))?;
    let receipt = find_receipt(&document)
        .ok_or_else(|| Failure::bad_input("there is no receipt in this document"))?;
    let required = Required {
        mode: args.require_mode.map(Mode::from),
        sig_v: args.require_version,
    };
    match check_receipt(receipt, &secrets, required) {
        Ok(verified) => report(&verified, known[verified.secret].0, output),
        Err(reason) => {
            if output.json() {
                output.print_json(&json!({"verified": false, "reason": reason}))?;
            }
            Err(Failure::new(Exit::Failed, format!("not verified: {reason}")).into())
        }
    }
}

/// What a valid signature vouches for.
#[derive(Debug, PartialEq)]
pub struct Verified {
    /// The signed values.
    pub payload: Value,
    /// Which of the secrets signed it.
    pub secret: usize,
}

/// Checks a receipt's signature, and that what was signed is what the receipt shows.
pub fn check_receipt(
    receipt: &Value,
    secrets: &[&SecretString],
    required: Required,
) -> Result<Verified, String> {
    let block = receipt
        .pointer("/meta/signature")
        .ok_or("the receipt is not signed")?;
    let text = |name: &str| {
        block
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let payload = block.get("payload").ok_or("the signature has no payload")?;
    let signed = SignedPayload {
        algorithm: text("algorithm"),
        payload: canonical(payload),
        signature: text("signature"),
    };
    let secrets: Vec<&[u8]> = secrets
        .iter()
        .map(|s| s.expose_secret().as_bytes())
        .collect();
    let secret = verify(&secrets, &signed, required).map_err(|error| error.to_string())?;
    let shown = [
        ("deltaH_total", receipt.get("deltaH_total")),
        ("state_sig", receipt.pointer("/meta/state_sig")),
        ("ustar_iters", receipt.pointer("/meta/ustar_iters")),
        ("ustar_res", receipt.pointer("/meta/ustar_res")),
        ("ustar_converged", receipt.pointer("/meta/ustar_converged")),
    ];
    for (name, shown) in shown {
        if let Some(signed) = payload.get(name)
            && shown != Some(signed)
        {
            return Err(format!(
                "the receipt's {name} is not the one that was signed"
            ));
        }
    }
    Ok(Verified {
        payload: payload.clone(),
        secret,
    })
}

/// The receipt in a receipt, an answer, or a job with its result.
fn find_receipt(document: &Value) -> Option<&Value> {
    ["", "/receipt", "/result/receipt"]
        .into_iter()
        .filter_map(|path| document.pointer(path))
        .find(|candidate| candidate.get("deltaH_total").is_some())
}

fn canonical(value: &Value) -> Canonical {
    match value {
        Value::Null => Canonical::Null,
        Value::Bool(flag) => Canonical::Bool(*flag),
        Value::Number(number) => number
            .as_i128()
            .map(Canonical::Int)
            .or_else(|| number.as_f64().map(Canonical::Float))
            .unwrap_or(Canonical::Null),
        Value::String(text) => Canonical::Text(text.clone()),
        Value::Array(items) => Canonical::Array(items.iter().map(canonical).collect()),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.clone(), canonical(value)));
            Canonical::Object(members.collect::<BTreeMap<_, _>>())
        }
    }
}

fn report(verified: &Verified, secret: &str, output: Output) -> Result<()> {
    if output.json() {
        return output
            .print_json(&json!({"verified": true, "secret": secret, "payload": verified.payload}));
    }
    output.line(format!(
        "{} the signature is valid, made with the {secret} secret",
        output.good("verified:")
    ))?;
    let members = verified.payload.as_object().into_iter().flatten();
    output.table(
        &["signed", "value"],
        members.map(|(name, value)| vec![name.clone(), value.to_string()]),
    )
}
