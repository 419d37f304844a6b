//! The part of `oscillink verify` that checks signed usage files.

use anyhow::Result;
use oscillink_domain::billing::{ExportHeader, ExportLine};
use oscillink_engine::{ExportSummary, verify_export};
use secrecy::SecretString;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Whether a file says of itself that it is a usage file.
pub fn is_export(file: &[u8]) -> bool {
    let first = file.split(|byte| *byte == b'\n').next().unwrap_or_default();
    matches!(
        serde_json::from_slice(first),
        Ok(ExportLine::Header(header)) if header.format.split('/').next() == ExportHeader::FORMAT.split('/').next()
    )
}

/// Checks hashes, chain and totals, and the signature when there are secrets.
pub fn run(file: &[u8], secrets: &[SecretString], output: Output) -> Result<()> {
    match verify_export(file, secrets) {
        Ok(summary) => report(&summary, output),
        Err(error) => {
            let reason = error.to_string();
            if output.json() {
                output.print_json(&json!({"verified": false, "reason": reason}))?;
            }
            Err(Failure::new(Exit::Failed, format!("not verified: {reason}")).into())
        }
    }
}

fn report(summary: &ExportSummary, output: Output) -> Result<()> {
    if output.json() {
        let mut told = serde_json::to_value(summary)?;
        told["verified"] = json!(true);
        return output.print_json(&told);
    }
    let says = if summary.signed {
        "every row, the chain, the totals and the signature are right"
    } else {
        "every row, the chain and the totals are right; the signature was NOT checked"
    };
    output.line(format!("{} {says}", output.good("verified:")))?;
    let header = &summary.header;
    let mut rows = vec![
        ("key", header.key_id.to_string()),
        ("day", format!("{}, part {}", header.day, header.part)),
        ("rows", summary.rows.to_string()),
        ("units", summary.units.to_string()),
    ];
    for segment in &summary.segments {
        let (from, to) = (segment.from_seq, segment.to_seq);
        rows.push((
            "segment",
            format!("chain {}, rows {from} to {to}", segment.chain),
        ));
    }
    let rows = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value]);
    output.table(&["of", "value"], rows)
}
