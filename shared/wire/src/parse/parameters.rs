//! Parameters that come beside a body: from a URL query, a multipart part or command-line flags.

use super::blocks::{Block, DiffusionBlock, OptionsBlock, ParamsBlock};
use super::draft::Draft;
use super::json::{Mode, document};
use super::value::Value;
use crate::error::{FieldError, WireError};
use crate::limits::SizeLimits;

/// Most parameters of one request.
const MAX_ASSIGNMENTS: usize = 64;

/// Parameters that come beside a body.
///
/// Names are those of the request, dotted (`params.lamG`, `diffusion.gamma`) or bare where that is
/// unambiguous (`lamG`, `bundle_k`, `gamma`). `diffusion=true` switches diffusion on, and so does any
/// of its parameters. `psi_row=I` takes row I of `Y` as the query.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    document: Option<Vec<u8>>,
    assignments: Vec<(String, String)>,
}

impl Parameters {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `name=value`. A later value of the same name is an error when the request is parsed.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.assignments.push((name.into(), value.into()));
    }

    /// Sets the JSON document that accompanies an array body: the request without `Y`; parameters
    /// may also stand at its top level.
    pub fn set_document(&mut self, json: Vec<u8>) {
        self.document = Some(json);
    }

    /// From the pairs of a decoded URL query.
    pub fn from_query<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let assignments = pairs.into_iter().map(|(n, v)| (n.into(), v.into()));
        Self {
            document: None,
            assignments: assignments.collect(),
        }
    }

    pub(crate) fn refuse_document(&self) -> Result<(), WireError> {
        match self.document {
            Some(_) => Err(WireError::field(
                "params",
                "a JSON body holds its own parameters",
            )),
            None => Ok(()),
        }
    }

    /// The draft that the document gives.
    pub(crate) fn draft(&self, limits: &SizeLimits) -> Result<Draft, WireError> {
        match &self.document {
            Some(json) => document(json, Mode::Parameters, limits),
            None => Ok(Draft::default()),
        }
    }

    /// Puts the assignments on top of `draft`.
    pub(crate) fn apply(&self, draft: &mut Draft) -> Result<(), WireError> {
        if self.assignments.len() > MAX_ASSIGNMENTS {
            let detail = format!("has more than {MAX_ASSIGNMENTS} parameters");
            return Err(WireError::field("query", detail));
        }
        let mut seen = Vec::new();
        let mut errors = Vec::new();
        for (name, text) in &self.assignments {
            let Some(path) = canonical(name) else {
                errors.push(FieldError::new(name, "is not a parameter"));
                continue;
            };
            if seen.contains(&path) {
                errors.push(FieldError::new(path, "is given twice"));
                continue;
            }
            let value = if is_text(name) {
                Value::Text(text.into())
            } else {
                Value::from_query(text)
            };
            errors.extend(assign(draft, name, &value).err());
            seen.push(path);
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(WireError::BadRequest { errors })
        }
    }
}

enum Place<'a> {
    PsiRow,
    CallbackUrl,
    CustomId,
    Diffusion,
    InParams(&'a str),
    InOptions(&'a str),
    InDiffusion(&'a str),
}

fn place(name: &str) -> Option<Place<'_>> {
    let has = |names: &[&str], field| names.contains(&field);
    match name.split_once('.') {
        Some(("params", field)) if has(ParamsBlock::NAMES, field) => Some(Place::InParams(field)),
        Some(("options", field)) if has(OptionsBlock::NAMES, field) => {
            Some(Place::InOptions(field))
        }
        Some(("diffusion", field)) if has(DiffusionBlock::NAMES, field) => {
            Some(Place::InDiffusion(field))
        }
        Some(_) => None,
        None => match name {
            "psi_row" => Some(Place::PsiRow),
            "callback_url" => Some(Place::CallbackUrl),
            "custom_id" => Some(Place::CustomId),
            "diffusion" => Some(Place::Diffusion),
            "beta" | "gamma" | "reuse_lattice_graph" => Some(Place::InDiffusion(name)),
            _ if has(ParamsBlock::NAMES, name) => Some(Place::InParams(name)),
            _ if has(OptionsBlock::NAMES, name) => Some(Place::InOptions(name)),
            _ => None,
        },
    }
}

/// The full path of the parameter that `name` stands for.
pub(crate) fn canonical(name: &str) -> Option<String> {
    Some(match place(name)? {
        Place::InParams(field) => format!("params.{field}"),
        Place::InOptions(field) => format!("options.{field}"),
        Place::InDiffusion(field) => format!("diffusion.{field}"),
        Place::PsiRow | Place::CallbackUrl | Place::CustomId | Place::Diffusion => name.to_owned(),
    })
}

/// Sets the parameter that `name` stands for. Null leaves what is there, and switches nothing on.
pub(crate) fn assign(draft: &mut Draft, name: &str, value: &Value<'_>) -> Result<(), FieldError> {
    let fault = |detail| FieldError::new(canonical(name).unwrap_or_default(), detail);
    let place = place(name).ok_or_else(|| FieldError::new(name, "is not a parameter"))?;
    if value.is_null() {
        return Ok(());
    }
    let text = |value: &Value<'_>| value.text().map(str::to_owned);
    let outcome = match place {
        Place::PsiRow => value.count().map(|row| draft.psi_row = Some(row)),
        Place::CallbackUrl => text(value).map(|url| draft.callback_url = Some(url)),
        Place::CustomId => text(value).map(|id| draft.custom_id = Some(id)),
        Place::Diffusion => value
            .flag()
            .map(|enable| draft.diffusion.get_or_insert_default().enable = enable),
        Place::InParams(field) => draft.params.set(field, value),
        Place::InOptions(field) => draft.options.set(field, value),
        Place::InDiffusion(field) => draft.diffusion.get_or_insert_default().set(field, value),
    };
    outcome.map_err(fault)
}

fn is_text(name: &str) -> bool {
    matches!(place(name), Some(Place::CallbackUrl | Place::CustomId))
}
