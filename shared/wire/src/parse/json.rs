//! The JSON body: one pass, strict about names, types and repetition.

use super::blocks::Block;
use super::draft::Draft;
use super::matrix::{coordinate, indices, matrix, vector, weight};
use super::parameters::{assign, canonical};
use super::reader::Reader;
use crate::error::{Counted, WireError};
use crate::limits::{MAX_CHAIN_NODES, SizeLimits};

const FIELDS: &[&str] = &[
    "Y",
    "psi",
    "gates",
    "chain",
    "chain_weights",
    "params",
    "options",
    "diffusion",
    "callback_url",
    "custom_id",
];

/// Which document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A whole request.
    Request,
    /// What goes along with arrays in a file: no `Y`; parameters may also stand at the top level.
    Parameters,
}

/// Reads a document into a draft.
pub(crate) fn document(bytes: &[u8], mode: Mode, limits: &SizeLimits) -> Result<Draft, WireError> {
    let mut document = Document {
        mode,
        limits,
        body_bytes: bytes.len(),
        draft: Draft::default(),
    };
    let mut seen = Vec::new();
    let mut reader = Reader::new(bytes);
    reader.object("body", |reader, name| {
        let path = document.path(&name);
        let path = path.ok_or_else(|| WireError::field(name.as_str(), unknown(FIELDS)))?;
        if seen.contains(&path) {
            return Err(WireError::field(path, "is given twice"));
        }
        document.field(&name, &path, reader)?;
        seen.push(path);
        Ok(())
    })?;
    reader.end()?;
    Ok(document.draft)
}

struct Document<'l> {
    mode: Mode,
    limits: &'l SizeLimits,
    body_bytes: usize,
    draft: Draft,
}

impl Document<'_> {
    /// The field that `name` stands for, `None` if there is no such field.
    fn path(&self, name: &str) -> Option<String> {
        if FIELDS.contains(&name) && (self.mode == Mode::Request || name != "Y") {
            return Some(name.to_owned());
        }
        match self.mode {
            Mode::Request => None,
            Mode::Parameters => canonical(name),
        }
    }

    fn field(&mut self, name: &str, path: &str, reader: &mut Reader<'_>) -> Result<(), WireError> {
        let limits = self.limits;
        let draft = &mut self.draft;
        match name {
            "Y" => draft.y = matrix(reader, limits, self.body_bytes)?,
            "psi" => {
                let limit = (Counted::Columns, limits.max_dim);
                draft.psi = vector(reader, name, limit, coordinate)?;
            }
            "gates" => {
                let limit = (Counted::Rows, limits.max_nodes);
                draft.gates = vector(reader, name, limit, weight)?;
            }
            "chain_weights" => {
                let limit = (Counted::ChainNodes, MAX_CHAIN_NODES);
                draft.chain_weights = vector(reader, name, limit, weight)?;
            }
            "chain" => draft.chain = indices(reader, name, MAX_CHAIN_NODES)?,
            "params" => {
                block(reader, &mut draft.params)?;
            }
            "options" => {
                block(reader, &mut draft.options)?;
            }
            "diffusion" if self.mode == Mode::Request || reader.at_object() => {
                let mut given = draft.diffusion.take().unwrap_or_default();
                if block(reader, &mut given)? {
                    draft.diffusion = Some(given);
                }
            }
            _ => assign(draft, name, &reader.value(path)?)?,
        }
        Ok(())
    }
}

/// Reads a parameter block; says whether it was there rather than null.
fn block<B: Block>(reader: &mut Reader<'_>, block: &mut B) -> Result<bool, WireError> {
    if reader.take_null() {
        return Ok(false);
    }
    let mut seen = Vec::new();
    reader.object(B::PATH, |reader, name| {
        let path = format!("{}.{name}", B::PATH);
        if !B::NAMES.contains(&name.as_str()) {
            return Err(WireError::field(path, unknown(B::NAMES)));
        }
        if seen.contains(&name) {
            return Err(WireError::field(path, "is given twice"));
        }
        let value = reader.value(&path)?;
        block
            .put(&name, &value)
            .map_err(|detail| WireError::field(path, detail))?;
        seen.push(name);
        Ok(())
    })?;
    Ok(true)
}

fn unknown(names: &[&str]) -> String {
    format!("is not a field; expected one of {}", names.join(", "))
}
