//! Signed usage files: one a key and day, and further ones for rows that were late.

use std::collections::BTreeSet;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use oscillink_domain::billing::{ExportFooter, ExportHeader, ExportLine, Segment, segments_of};
use oscillink_domain::hash::hex;
use oscillink_domain::{KeyId, LedgerRow, Sha256Hex, Timestamp, Units};
use oscillink_ports::{Collection, Op, PortError, Query};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::Engine;
use crate::jobs::Page;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const PAGE: usize = 1_000;
/// Rows of one file at the most; what is left goes into the next part.
const FILE_ROWS: usize = 100_000;

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExportReport {
    /// Names of the files.
    pub files: Vec<String>,
    /// Rows in them.
    pub rows: u64,
    /// Keys whose earlier files of a day are not what they say, so that none was added, and why.
    pub failed: Vec<(KeyId, String)>,
}

/// What a checked file says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ExportSummary {
    /// The first line.
    pub header: ExportHeader,
    /// How many rows.
    pub rows: u64,
    /// Their units.
    pub units: Units,
    /// The segments of chains.
    pub segments: Vec<Segment>,
    /// Whether a signature was checked; without a secret only the hashes were.
    pub signed: bool,
}

/// Why a file was not written, or is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Not a day.
    #[error("{0:?} is not a day, YYYY-MM-DD")]
    Day(String),
    /// The day is not over.
    #[error("{0} is not over; its file would not be complete")]
    NotOver(String),
    /// A line that is not of the format, or in the wrong place.
    #[error("line {line}: {detail}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// The file was changed or cut.
    #[error("{0}")]
    Changed(String),
    /// The signature is missing or not by any of the secrets.
    #[error("the signature is not by the secret given")]
    Signature,
    /// An adapter failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Engine {
    /// Writes the usage files of a day that is over, for every key. What was written stays as it
    /// is; a repeat writes only rows that came since, so it can be broken off and repeated at will.
    ///
    /// # Errors
    /// The day is not over, or an adapter failed.
    pub async fn export_usage(&self, day: &str) -> Result<ExportReport, ExportError> {
        self.export_days(day, 1).await
    }

    /// The last day that is over.
    #[must_use]
    pub fn yesterday(&self) -> String {
        self.now().plus_millis(-DAY_MS).day()
    }

    /// Does as [`Engine::export_usage`] for `days` days, the last of which is `last`. A key whose
    /// files cannot be trusted does not keep the others from theirs.
    ///
    /// # Errors
    /// The last day is not over, or an adapter failed.
    pub async fn export_days(&self, last: &str, days: u32) -> Result<ExportReport, ExportError> {
        let last_start = Timestamp::parse_rfc3339(&format!("{last}T00:00:00Z"))
            .map_err(|_| ExportError::Day(last.to_owned()))?;
        if self.now() < last_start.plus_millis(DAY_MS) {
            return Err(ExportError::NotOver(last.to_owned()));
        }
        let mut report = ExportReport::default();
        for back in (0..i64::from(days)).rev() {
            self.export_all(last_start.plus_millis(-back * DAY_MS), &mut report)
                .await?;
        }
        Ok(report)
    }

    async fn export_all(
        &self,
        start: Timestamp,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        let day = start.day();
        let mut after = None;
        loop {
            let keys = self.keys(PAGE, after).await?;
            for key in &keys.items {
                match self.export_key(&key.key_id, &day, start, report).await {
                    Err(ExportError::Port(error)) => return Err(error.into()),
                    Err(error) => {
                        let why = format!("{day}: {error}");
                        report.failed.push((key.key_id.clone(), why));
                    }
                    Ok(()) => {}
                }
            }
            after = keys.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn export_key(
        &self,
        key_id: &KeyId,
        day: &str,
        start: Timestamp,
        report: &mut ExportReport,
    ) -> Result<(), ExportError> {
        let prefix = format!("exports/usage/{day}/{key_id}/");
        let blobs = &self.inner.ports.blobs;
        let mut written = BTreeSet::new();
        let mut part = 0;
        for name in blobs.list(&prefix, None, PAGE).await? {
            let file = blobs.get(&name).await?;
            let summary = verify_export(&file, &[])?;
            part = summary.header.part;
            for s in summary.segments {
                written.extend((s.from_seq..=s.to_seq).map(|seq| (s.chain, seq)));
            }
        }
        let mut rows = self.rows_of_day(key_id, start).await?;
        rows.retain(|row| !written.contains(&(row.chain, row.seq)));
        rows.sort_by_key(|row| (row.chain, row.seq));
        for rows in rows.chunks(FILE_ROWS) {
            part += 1;
            let header = ExportHeader {
                format: ExportHeader::FORMAT.to_owned(),
                key_id: key_id.clone(),
                day: day.to_owned(),
                part,
            };
            let file = render(header, rows, self.config().ledger_secret.as_ref())?;
            let name = format!("{prefix}{part:06}.ndjson");
            match blobs.create(&name, Bytes::from(file)).await {
                Ok(()) => {
                    report.files.push(name);
                    report.rows += rows.len() as u64;
                }
                // Another process exports the same day: its next run or ours finds what is missing.
                Err(PortError::AlreadyExists { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn rows_of_day(
        &self,
        key_id: &KeyId,
        start: Timestamp,
    ) -> Result<Vec<LedgerRow>, PortError> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let query = Query::new(Collection::UsageLedger, "ts", PAGE)
                .filter("key_id", Op::Eq, key_id.as_str())
                .filter("ts", Op::Ge, start.as_millis())
                .filter("ts", Op::Lt, start.plus_millis(DAY_MS).as_millis())
                .after(after);
            let page: Page<LedgerRow> = Page::parse(self.store().query(&query).await?)?;
            rows.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(rows);
            }
        }
    }
}

/// The file's text.
fn render(
    header: ExportHeader,
    rows: &[LedgerRow],
    secret: Option<&SecretString>,
) -> Result<String, PortError> {
    let line = |line: &ExportLine| serde_json::to_string(line).map_err(PortError::corrupt);
    let mut text = line(&ExportLine::Header(header))? + "\n";
    for row in rows {
        text += &line(&ExportLine::Row(Box::new(row.clone())))?;
        text.push('\n');
    }
    let mut footer = ExportFooter {
        rows: rows.len() as u64,
        units: rows.iter().map(|row| row.units).sum(),
        segments: segments_of(rows),
        sha256: Sha256Hex::of(text.as_bytes()),
        signature: None,
    };
    footer.signature = secret.map(|secret| sign(&footer, secret));
    text += &line(&ExportLine::Footer(footer))?;
    text.push('\n');
    Ok(text)
}

fn mac(footer: &ExportFooter, secret: &SecretString) -> Hmac<Sha256> {
    // Invariant: HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(footer.canonical().as_bytes());
    mac
}

fn sign(footer: &ExportFooter, secret: &SecretString) -> String {
    hex(&mac(footer, secret).finalize().into_bytes())
}

/// Checks a usage file: every row's hash, the chain between rows, totals, the hash of the whole and,
/// with `secrets`, the signature by any of them.
///
/// # Errors
/// What is wrong, with its line.
pub fn verify_export(file: &[u8], secrets: &[SecretString]) -> Result<ExportSummary, ExportError> {
    let wrong = |line: usize, detail: String| ExportError::Line { line, detail };
    let text = std::str::from_utf8(file)
        .map_err(|error| ExportError::Changed(format!("not text: {error}")))?;
    let mut header = None;
    let mut footer: Option<(ExportFooter, usize)> = None;
    let mut rows: Vec<LedgerRow> = Vec::new();
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        let parsed: ExportLine =
            serde_json::from_str(line).map_err(|error| wrong(number, error.to_string()))?;
        match parsed {
            _ if footer.is_some() => return Err(wrong(number, "after the last line".into())),
            ExportLine::Header(first) if index == 0 && first.format == ExportHeader::FORMAT => {
                header = Some(first);
            }
            ExportLine::Header(_) => return Err(wrong(number, "unexpected header".into())),
            _ if index == 0 => return Err(wrong(number, "a header is expected".into())),
            ExportLine::Row(row) if row.digest() != row.hash => {
                return Err(wrong(number, format!("row {} was changed", row.id)));
            }
            ExportLine::Row(row) => rows.push(*row),
            ExportLine::Footer(last) => footer = Some((last, offset)),
        }
        offset += line.len();
    }
    let (Some(header), Some((footer, end))) = (header, footer) else {
        return Err(ExportError::Changed("the file is cut short".into()));
    };
    let changed = |what: &str| Err(ExportError::Changed(what.to_owned()));
    if Sha256Hex::of(&file[..end]) != footer.sha256 {
        return changed("the content does not give the hash of the last line");
    }
    let total: Units = rows.iter().map(|row| row.units).sum();
    if (footer.rows, footer.units) != (rows.len() as u64, total) {
        return changed("the totals are not those of the rows");
    }
    if rows.iter().any(|row| row.key_id != header.key_id) {
        return changed("a row is of another key");
    }
    if segments_of(&rows) != footer.segments || broken(&footer.segments) {
        return changed("the rows do not follow each other as the last line says");
    }
    let signature = footer.signature.as_deref().and_then(unhex);
    let signed = secrets.iter().any(|secret| {
        let signature = signature.as_deref();
        signature.is_some_and(|bytes| mac(&footer, secret).verify_slice(bytes).is_ok())
    });
    if !signed && !secrets.is_empty() {
        return Err(ExportError::Signature);
    }
    Ok(ExportSummary {
        header,
        rows: footer.rows,
        units: footer.units,
        segments: footer.segments,
        signed,
    })
}

/// Whether a segment begins where the one before ends, which would make them one if the hashes fit.
fn broken(segments: &[Segment]) -> bool {
    segments.windows(2).any(|pair| {
        pair[0].chain == pair[1].chain && pair[0].to_seq.saturating_add(1) >= pair[1].from_seq
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}
