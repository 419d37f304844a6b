//! From bytes to a checked request: JSON, npy and npz bodies, with parameters from elsewhere on top.

mod blocks;
mod draft;
mod json;
mod matrix;
mod number;
mod parameters;
mod reader;
mod value;

pub(crate) use blocks::{DiffusionBlock, OptionsBlock, ParamsBlock};
pub use draft::Body;
pub(crate) use draft::Draft;
pub(crate) use json::{Mode, document};
pub(crate) use matrix::{complaint, coordinate, index, is_usable, weight};
pub use parameters::Parameters;

use crate::error::WireError;
use crate::limits::SizeLimits;
use crate::{npy, npz};

/// The form of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The request as a JSON object.
    Json,
    /// `Y` as written by `numpy.save`.
    Npy,
    /// `Y` and other arrays by name as written by `numpy.savez` or `numpy.savez_compressed`.
    Npz,
}

impl Format {
    /// The format that the first bytes tell, JSON when they tell nothing.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Self {
        if bytes.starts_with(npy::MAGIC) {
            Self::Npy
        } else if bytes.starts_with(b"PK") {
            Self::Npz
        } else {
            Self::Json
        }
    }
}

/// Parses and checks a body. `parameters` stand above what a JSON body says; for the array formats
/// they are all there is besides the arrays.
///
/// # Errors
/// The fields at fault, or the limit exceeded.
pub fn parse(
    format: Format,
    bytes: &[u8],
    parameters: Parameters,
    limits: &SizeLimits,
) -> Result<Body, WireError> {
    let mut draft = match format {
        Format::Json => {
            parameters.refuse_document()?;
            document(bytes, Mode::Request, limits)?
        }
        Format::Npy => {
            let mut draft = parameters.draft(limits)?;
            draft.y = Some(npy::read_matrix(bytes, "Y", limits)?);
            draft
        }
        Format::Npz => {
            let mut draft = parameters.draft(limits)?;
            npz::read(bytes, &mut draft, limits)?;
            draft
        }
    };
    parameters.apply(&mut draft)?;
    draft.check()
}
