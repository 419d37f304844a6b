//! The npz format: a zip archive of npy arrays named `Y`, `psi`, `gates`, `chain`, `chain_weights`.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::error::{Counted, WireError};
use crate::limits::{MAX_CHAIN_NODES, SizeLimits};
use crate::npy::Source;
use crate::parse::{Draft, coordinate, weight};

const NAMES: [&str; 5] = ["Y", "psi", "gates", "chain", "chain_weights"];

/// Reads the arrays into `draft`.
///
/// Nothing is unpacked beyond the elements that an array's header promises, and that only within
/// the limits; what an entry says of its own size is not trusted.
pub(crate) fn read(bytes: &[u8], draft: &mut Draft, limits: &SizeLimits) -> Result<(), WireError> {
    let malformed = |error: zip::result::ZipError| {
        WireError::field("body", format!("is not a readable npz archive: {error}"))
    };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
    if archive.len() > NAMES.len() {
        let detail = format!(
            "has {} arrays; expected at most {}",
            archive.len(),
            NAMES.len()
        );
        return Err(WireError::field("body", detail));
    }
    let mut budget = limits.max_decompressed_bytes;
    for place in 0..archive.len() {
        let entry = archive.by_index(place).map_err(malformed)?;
        let name = entry.name().map_err(malformed)?.into_owned();
        let name = name.trim_end_matches(".npy");
        let Some(field) = NAMES.into_iter().find(|known| *known == name) else {
            let detail = format!("is not an array; expected {}", NAMES.join(", "));
            return Err(WireError::field(name, detail));
        };
        let claimed = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        if claimed > budget {
            let limit = limits.max_decompressed_bytes;
            return Err(WireError::too_large("body", Counted::Bytes, limit));
        }
        budget -= claimed;
        // Up to 1,032 bytes come of one compressed one.
        let hint = claimed.min(bytes.len().saturating_mul(1_032));
        array(entry.take(claimed as u64), field, hint, draft, limits)?;
    }
    Ok(())
}

fn array(
    reader: impl Read,
    field: &'static str,
    hint: usize,
    draft: &mut Draft,
    limits: &SizeLimits,
) -> Result<(), WireError> {
    let source = Source::new(reader, field, hint)?;
    let given_before = match field {
        "Y" => draft.y.replace(source.matrix(limits)?).is_some(),
        "psi" => {
            let psi = source.vector((Counted::Columns, limits.max_dim), coordinate)?;
            draft.psi.replace(psi).is_some()
        }
        "gates" => {
            let gates = source.vector((Counted::Rows, limits.max_nodes), weight)?;
            draft.gates.replace(gates).is_some()
        }
        "chain_weights" => {
            let weights = source.vector((Counted::ChainNodes, MAX_CHAIN_NODES), weight)?;
            draft.chain_weights.replace(weights).is_some()
        }
        _ => draft.chain.replace(source.indices()?).is_some(),
    };
    if given_before {
        return Err(WireError::field(field, "is given twice"));
    }
    Ok(())
}
