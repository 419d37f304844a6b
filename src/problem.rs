//! The problem on the command line: a file, and the flags that stand above what it says.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use oscillink_wire::{Format, Parameters};

use crate::exit::{Exit, Failure};

/// Flags that name parameters of the API; each stands above the same parameter in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ProblemArgs {
    /// Take row I of the vectors as the query
    #[arg(long, value_name = "I", help_heading = "Problem")]
    psi_row: Option<usize>,
    /// Return a bundle of K rows
    #[arg(long, value_name = "K", help_heading = "Problem")]
    bundle: Option<usize>,
    /// Compute gates by diffusion from the query
    #[arg(long, help_heading = "Problem")]
    diffusion: bool,
    /// Neighbours per row
    #[arg(long, value_name = "K", help_heading = "Parameters")]
    kneighbors: Option<usize>,
    /// Pull towards the anchors, above 0
    #[arg(long = "lamG", value_name = "X", help_heading = "Parameters")]
    lam_g: Option<f64>,
    /// Pull towards the neighbours
    #[arg(long = "lamC", value_name = "X", help_heading = "Parameters")]
    lam_c: Option<f64>,
    /// Pull towards the query
    #[arg(long = "lamQ", value_name = "X", help_heading = "Parameters")]
    lam_q: Option<f64>,
    /// Pull along the chain
    #[arg(long = "lamP", value_name = "X", help_heading = "Parameters")]
    lam_p: Option<f64>,
    /// Say in the signature that the graph must be deterministic (it always is)
    #[arg(long, help_heading = "Parameters")]
    deterministic_k: bool,
    /// Break exact ties between neighbours by this seed
    #[arg(
        long,
        value_name = "SEED",
        allow_negative_numbers = true,
        help_heading = "Parameters"
    )]
    neighbor_seed: Option<i64>,
    /// Length of the settle step, above 0
    #[arg(long, value_name = "X", help_heading = "Parameters")]
    dt: Option<f64>,
    /// Most iterations of the settle step
    #[arg(long, value_name = "N", help_heading = "Parameters")]
    max_iters: Option<usize>,
    /// Residual at which the settle step stops
    #[arg(long, value_name = "X", help_heading = "Parameters")]
    tol: Option<f64>,
    /// Scale of the diffusion source; implies --diffusion
    #[arg(long, value_name = "X", help_heading = "Parameters")]
    beta: Option<f64>,
    /// Screening of the diffusion: larger is more local; implies --diffusion
    #[arg(long, value_name = "X", help_heading = "Parameters")]
    gamma: Option<f64>,
    /// Neighbours per row in the diffusion's graph; implies --diffusion
    #[arg(long, value_name = "K", help_heading = "Parameters")]
    diffusion_kneighbors: Option<usize>,
    /// Diffuse over the lattice graph; implies --diffusion
    #[arg(long, help_heading = "Parameters")]
    reuse_lattice_graph: bool,
    /// Leave the receipt out
    #[arg(long, help_heading = "Answer")]
    no_receipt: bool,
    /// How much the receipt says: full or light
    #[arg(long, value_name = "DETAIL", help_heading = "Answer")]
    receipt_detail: Option<String>,
    /// How much the signature covers: minimal or extended
    #[arg(long, value_name = "MODE", help_heading = "Answer")]
    signature_mode: Option<String>,
    /// Arrays to return: u, ustar, gates (several with commas)
    #[arg(long, value_name = "NAME", help_heading = "Answer")]
    pub array: Option<String>,
}

impl ProblemArgs {
    /// The flags given, by the API's names.
    pub fn assignments(&self) -> Vec<(&'static str, String)> {
        fn put<T: ToString>(
            out: &mut Vec<(&'static str, String)>,
            name: &'static str,
            value: Option<T>,
        ) {
            out.extend(value.map(|value| (name, value.to_string())));
        }
        let on = |flag: bool| flag.then_some(true);
        let mut out = Vec::new();
        put(&mut out, "psi_row", self.psi_row);
        put(&mut out, "options.bundle_k", self.bundle);
        put(&mut out, "diffusion", on(self.diffusion));
        put(&mut out, "params.kneighbors", self.kneighbors);
        put(&mut out, "params.lamG", self.lam_g);
        put(&mut out, "params.lamC", self.lam_c);
        put(&mut out, "params.lamQ", self.lam_q);
        put(&mut out, "params.lamP", self.lam_p);
        put(&mut out, "params.deterministic_k", on(self.deterministic_k));
        put(&mut out, "params.neighbor_seed", self.neighbor_seed);
        put(&mut out, "options.dt", self.dt);
        put(&mut out, "options.max_iters", self.max_iters);
        put(&mut out, "options.tol", self.tol);
        put(&mut out, "diffusion.beta", self.beta);
        put(&mut out, "diffusion.gamma", self.gamma);
        put(&mut out, "diffusion.kneighbors", self.diffusion_kneighbors);
        put(
            &mut out,
            "diffusion.reuse_lattice_graph",
            on(self.reuse_lattice_graph),
        );
        put(
            &mut out,
            "options.include_receipt",
            self.no_receipt.then_some(false),
        );
        put(
            &mut out,
            "options.receipt_detail",
            self.receipt_detail.as_ref(),
        );
        put(
            &mut out,
            "options.signature_mode",
            self.signature_mode.as_ref(),
        );
        put(&mut out, "options.array", self.array.as_ref());
        out
    }

    /// The flags given, for the parser of requests.
    pub fn parameters(&self) -> Parameters {
        Parameters::from_query(self.assignments())
    }

    /// Whether diffusion is asked for by flags.
    pub fn wants_diffusion(&self) -> bool {
        self.assignments()
            .iter()
            .any(|(name, _)| name.starts_with("diffusion"))
    }
}

/// The form of the input, where its first bytes should not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputFormat {
    /// The request body of the API
    Json,
    /// A matrix written by numpy.save
    Npy,
    /// Arrays written by numpy.savez
    Npz,
}

impl From<InputFormat> for Format {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Json => Self::Json,
            InputFormat::Npy => Self::Npy,
            InputFormat::Npz => Self::Npz,
        }
    }
}

/// Where the problem comes from.
#[derive(Clone, Debug, clap::Args)]
pub struct InputArgs {
    /// Vectors as .npy or .npz, or a request as .json; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Form of the input [default: told from its first bytes]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<InputFormat>,
}

impl InputArgs {
    /// The input and its form.
    pub fn read(&self) -> Result<(Format, Vec<u8>)> {
        let bytes = read_input(&self.file)?;
        let format = self
            .format
            .map_or_else(|| Format::sniff(&bytes), Into::into);
        Ok((format, bytes))
    }
}

/// A file's bytes, or standard input's for `-`.
pub fn read_input(file: &Path) -> Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("standard input")?;
        return Ok(bytes);
    }
    fs::read(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::BadInput,
        };
        Failure::new(exit, format!("{}: {error}", file.display())).into()
    })
}
