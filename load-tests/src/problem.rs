//! The problems that are sent: clusters of vectors around a query, the same for the same seed.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::scenario::{BodyForm, ProblemSpec};

/// A matrix and a query, with the parameters that requests carry.
#[derive(Debug, Clone)]
pub struct Problem {
    /// N.
    pub rows: usize,
    /// D.
    pub dims: usize,
    /// Row after row.
    pub y: Vec<f32>,
    /// The query, equal to row 0, so that `psi_row=0` says the same.
    pub psi: Vec<f32>,
    /// `params.kneighbors`.
    pub neighbors: usize,
    /// `options.bundle_k`.
    pub bundle: usize,
    /// `diffusion.enable`.
    pub diffusion: bool,
}

impl Problem {
    /// The `index`th problem of a set, with or without diffusion gates.
    #[must_use]
    pub fn generate(spec: &ProblemSpec, seed: u64, index: usize, diffusion: bool) -> Self {
        let size = (spec.rows as u64) << 32 | spec.dims as u64;
        let mut random =
            fastrand::Rng::with_seed(seed ^ size.rotate_left(17) ^ (index as u64) << 8);
        let clusters = 8.min(spec.rows);
        let centres: Vec<f32> = (0..clusters * spec.dims)
            .map(|_| random.f32() * 2.0 - 1.0)
            .collect();
        // Multiples of 1/64 have one decimal form whatever writes them; signatures are made of it.
        let psi: Vec<f32> = centres[..spec.dims]
            .iter()
            .map(|value| (value * 64.0).round() / 64.0)
            .collect();
        let mut y = psi.clone();
        for row in 1..spec.rows {
            let centre = &centres[row % clusters * spec.dims..][..spec.dims];
            y.extend(centre.iter().map(|value| {
                let moved = value + (random.f32() - 0.5) * 0.8;
                (moved * 10_000.0).round() / 10_000.0
            }));
        }
        Self {
            rows: spec.rows,
            dims: spec.dims,
            y,
            psi,
            neighbors: spec.neighbors,
            bundle: spec.bundle,
            diffusion,
        }
    }

    /// N·D.
    #[must_use]
    pub fn units(&self) -> u64 {
        (self.rows * self.dims) as u64
    }

    /// The members of a request's JSON object, without its braces.
    #[must_use]
    pub fn json_members(&self) -> String {
        let mut text = String::with_capacity(self.y.len() * 8 + 256);
        text.push_str("\"Y\":[");
        for (index, row) in self.y.chunks(self.dims).enumerate() {
            if index > 0 {
                text.push(',');
            }
            write_numbers(&mut text, row);
        }
        text.push_str("],\"psi\":");
        write_numbers(&mut text, &self.psi);
        let (neighbors, bundle) = (self.neighbors, self.bundle);
        append(
            &mut text,
            format_args!(
                ",\"params\":{{\"kneighbors\":{neighbors}}},\"options\":{{\"bundle_k\":{bundle}}}"
            ),
        );
        // The routes for diffusion do without it unless the request asks for it.
        if self.diffusion {
            text.push_str(",\"diffusion\":{\"enable\":true}");
        }
        text
    }

    /// The matrix as `numpy.save` writes it.
    #[must_use]
    pub fn npy(&self) -> Vec<u8> {
        let mut header = format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
            self.rows, self.dims
        );
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let length = u16::try_from(header.len()).expect("the header is some dozens of bytes");
        bytes.extend(length.to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(self.y.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// Body, media type and query of a request.
    #[must_use]
    pub fn body(&self, form: BodyForm) -> Body {
        match form {
            BodyForm::Json => Body {
                bytes: format!("{{{}}}", self.json_members()).into(),
                media_type: "application/json",
                query: String::new(),
            },
            BodyForm::Npy => Body {
                bytes: self.npy().into(),
                media_type: "application/x-npy",
                query: format!(
                    "psi_row=0&kneighbors={}&bundle_k={}{}",
                    self.neighbors,
                    self.bundle,
                    match self.diffusion {
                        true => "&diffusion.enable=true",
                        false => "",
                    }
                ),
            },
        }
    }
}

/// A request's body with what goes with it.
#[derive(Debug, Clone)]
pub struct Body {
    /// The bytes, shared by all requests that send it.
    pub bytes: Bytes,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// Parameters in the query.
    pub query: String,
}

fn write_numbers(text: &mut String, numbers: &[f32]) {
    text.push('[');
    for (index, number) in numbers.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        append(text, format_args!("{comma}{number}"));
    }
    text.push(']');
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string does not fail");
}
