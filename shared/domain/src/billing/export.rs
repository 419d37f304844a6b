//! The daily usage file of one key: a header line, the rows, a footer line that is signed.
//!
//! Rows keep their hashes, so each is checked by itself, and rows that follow each other in a chain
//! are checked against each other. The footer names the segments of chains that the file holds: the
//! files of successive days continue each other where one segment's first row follows another's last.

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;
use crate::id::KeyId;
use crate::ledger::LedgerRow;
use crate::units::Units;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// `oscillink-usage/1`.
    pub format: String,
    /// The key.
    pub key_id: KeyId,
    /// The UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// Which file of the day, from 1; later ones hold rows that were late.
    pub part: u32,
}

impl ExportHeader {
    /// Name and version of the format.
    pub const FORMAT: &'static str = "oscillink-usage/1";
}

/// Rows of one chain that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The chain.
    pub chain: u32,
    /// First row.
    pub from_seq: u64,
    /// Last row.
    pub to_seq: u64,
    /// Hash of the row before the first.
    pub prev_hash: Sha256Hex,
    /// Hash of the last row.
    pub hash: Sha256Hex,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFooter {
    /// How many rows.
    pub rows: u64,
    /// Their units.
    pub units: Units,
    /// The segments of chains.
    pub segments: Vec<Segment>,
    /// SHA-256 of every byte before this line.
    pub sha256: Sha256Hex,
    /// HMAC-SHA256 over this line's canonical JSON without `signature`, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl ExportFooter {
    /// The text that is signed: keys sorted, no white space, without `signature`.
    #[must_use]
    pub fn canonical(&self) -> String {
        let unsigned = Self {
            signature: None,
            ..self.clone()
        };
        // A JSON value's object has its keys sorted.
        let value = serde_json::to_value(&unsigned).unwrap_or_default();
        sorted(&value).to_string()
    }
}

fn sorted(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let fields = names.into_iter().map(|n| (n.clone(), sorted(&fields[n])));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ExportLine {
    /// The first.
    Header(ExportHeader),
    /// A row of the ledger.
    Row(Box<LedgerRow>),
    /// The last.
    Footer(ExportFooter),
}

/// The segments that `rows` form, in the order of chain and number.
#[must_use]
pub fn segments_of(rows: &[LedgerRow]) -> Vec<Segment> {
    let mut sorted: Vec<&LedgerRow> = rows.iter().collect();
    sorted.sort_by_key(|row| (row.chain, row.seq));
    let mut segments: Vec<Segment> = Vec::new();
    for row in sorted {
        let follows = |last: &&mut Segment| {
            last.chain == row.chain && last.to_seq + 1 == row.seq && last.hash == row.prev_hash
        };
        match segments.last_mut().filter(follows) {
            Some(last) => {
                last.to_seq = row.seq;
                last.hash = row.hash.clone();
            }
            None => segments.push(Segment {
                chain: row.chain,
                from_seq: row.seq,
                to_seq: row.seq,
                prev_hash: row.prev_hash.clone(),
                hash: row.hash.clone(),
            }),
        }
    }
    segments
}
