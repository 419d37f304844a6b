//! The JSON body: one pass, strict about names, types and repetition.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::blocks::Block;
use super::draft::Draft;
use super::faults::Faults;
use super::matrix::{MatrixSeed, VectorSeed, coordinate, index, weight};
use super::parameters::{assign, canonical};
use super::value::Value;
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
    let faults = Faults::default();
    let mut draft = Draft::default();
    let visitor = DocumentVisitor {
        faults: &faults,
        mode,
        limits,
        body_bytes: bytes.len(),
        draft: &mut draft,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let outcome = deserializer
        .deserialize_any(visitor)
        .and_then(|()| deserializer.end());
    match outcome {
        Ok(()) => Ok(draft),
        Err(error) => Err(explain(bytes, &error, faults)),
    }
}

fn explain(bytes: &[u8], error: &serde_json::Error, faults: Faults) -> WireError {
    let noted = faults
        .into_first()
        .unwrap_or_else(|| WireError::field("body", error.to_string()));
    match noted {
        WireError::BadRequest { mut errors } if error.is_syntax() && at_nan(bytes, error) => {
            for error in &mut errors {
                "is not finite (NaN and Infinity are not JSON)".clone_into(&mut error.detail);
            }
            WireError::BadRequest { errors }
        }
        other => other,
    }
}

/// Whether the parser stumbled over `NaN` or `Infinity`, which Python writes without being asked.
fn at_nan(bytes: &[u8], error: &serde_json::Error) -> bool {
    let line_start = bytes
        .split_inclusive(|b| *b == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    let at = line_start + error.column();
    (at.saturating_sub(2)..=at).any(|start| {
        let rest = bytes.get(start..).unwrap_or_default();
        rest.starts_with(b"NaN") || rest.starts_with(b"Infinity")
    })
}

struct DocumentVisitor<'a> {
    faults: &'a Faults,
    mode: Mode,
    limits: &'a SizeLimits,
    body_bytes: usize,
    draft: &'a mut Draft,
}

impl<'de> Visitor<'de> for DocumentVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with Y, psi, params, options and so on")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = self.path(&name);
            let Some(path) = path else {
                return Err(self.faults.refuse(name, unknown(FIELDS)));
            };
            if seen.contains(&path) {
                return Err(self.faults.refuse(path, "is given twice"));
            }
            if let Err(error) = self.field(&name, &mut map) {
                self.faults.note(|| path, &error);
                return Err(error);
            }
            seen.push(path);
        }
        Ok(())
    }
}

impl DocumentVisitor<'_> {
    /// The field that `name` stands for, `None` if there is no such field.
    fn path(&self, name: &str) -> Option<String> {
        let known = FIELDS.contains(&name) && (self.mode == Mode::Request || name != "Y");
        if known {
            return Some(name.to_owned());
        }
        (self.mode == Mode::Parameters)
            .then(|| canonical(name))
            .flatten()
    }

    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let (faults, limits) = (self.faults, self.limits);
        let vector = |field, counted, limit, convert| VectorSeed {
            faults,
            field,
            counted,
            limit,
            convert,
        };
        let draft = &mut *self.draft;
        match name {
            "Y" => {
                draft.y = map.next_value_seed(MatrixSeed {
                    faults,
                    limits,
                    body_bytes: self.body_bytes,
                })?;
            }
            "psi" => {
                let seed = vector("psi", Counted::Columns, limits.max_dim, coordinate);
                draft.psi = map.next_value_seed(seed)?;
            }
            "gates" => {
                let seed = vector("gates", Counted::Rows, limits.max_nodes, weight);
                draft.gates = map.next_value_seed(seed)?;
            }
            "chain_weights" => {
                let seed = vector(
                    "chain_weights",
                    Counted::ChainNodes,
                    MAX_CHAIN_NODES,
                    weight,
                );
                draft.chain_weights = map.next_value_seed(seed)?;
            }
            "chain" => {
                draft.chain = map.next_value_seed(VectorSeed {
                    faults,
                    field: "chain",
                    counted: Counted::ChainNodes,
                    limit: MAX_CHAIN_NODES,
                    convert: index,
                })?;
            }
            "params" => {
                map.next_value_seed(BlockSeed::new(faults, &mut draft.params))?;
            }
            "options" => {
                map.next_value_seed(BlockSeed::new(faults, &mut draft.options))?;
            }
            "diffusion" if self.mode == Mode::Request => {
                let mut block = draft.diffusion.take().unwrap_or_default();
                let given = map.next_value_seed(BlockSeed::new(faults, &mut block))?;
                draft.diffusion = given.then_some(block);
            }
            "diffusion" => {
                let raw = map.next_value::<&RawValue>()?;
                if raw.get().starts_with('{') {
                    let mut block = draft.diffusion.take().unwrap_or_default();
                    BlockSeed::new(faults, &mut block)
                        .deserialize(raw)
                        .map_err(A::Error::custom)?;
                    draft.diffusion = Some(block);
                } else {
                    self.assign(name, raw)?;
                }
            }
            _ => {
                let raw = map.next_value::<&RawValue>()?;
                self.assign(name, raw)?;
            }
        }
        Ok(())
    }

    fn assign<E: Error>(&mut self, name: &str, raw: &RawValue) -> Result<(), E> {
        assign(self.draft, name, &Value::from_json(raw))
            .map_err(|error| self.faults.stop(error.into()))
    }
}

/// Reads a parameter block; says whether it was there rather than null.
struct BlockSeed<'a, B> {
    faults: &'a Faults,
    block: &'a mut B,
}

impl<'a, B: Block> BlockSeed<'a, B> {
    fn new(faults: &'a Faults, block: &'a mut B) -> Self {
        Self { faults, block }
    }
}

impl<'de, B: Block> DeserializeSeed<'de> for BlockSeed<'_, B> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, B: Block> Visitor<'de> for BlockSeed<'_, B> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = || format!("{}.{name}", B::PATH);
            if !B::NAMES.contains(&name.as_str()) {
                return Err(self.faults.refuse(path(), unknown(B::NAMES)));
            }
            if seen.contains(&name) {
                return Err(self.faults.refuse(path(), "is given twice"));
            }
            let raw = map.next_value::<&RawValue>().inspect_err(|error| {
                self.faults.note(path, error);
            })?;
            self.block
                .set(&name, &Value::from_json(raw))
                .map_err(|detail| self.faults.refuse(path(), detail))?;
            seen.push(name);
        }
        Ok(true)
    }
}

fn unknown(names: &[&str]) -> String {
    format!("is not a field; expected one of {}", names.join(", "))
}
