//! `oscillink solve`: the whole computation offline, the API's answer on standard output.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use oscillink_domain::settings::Lookup;
use oscillink_lattice::{Observer, Stage};
use oscillink_wire::{
    Operation, RunContext, RunError, RunOutput, SizeLimits, npy, parse, run as compute,
};

use crate::exit::Failure;
use crate::output::{DisplayArgs, Output};
use crate::problem::{InputArgs, ProblemArgs};

const HELP: &str = "\
Prints the answer of the API as JSON. A .json file is the request body of POST /v1/settle; for a \
.npy or .npz file the flags say the rest. Flags stand above what a file says.

The receipt is signed when RECEIPT_HMAC_SECRET is set. OSCILLINK_RECEIPT_NULL_CAP=N keeps the N \
null points with the highest z.

Examples:
  oscillink solve vectors.npy --psi-row 0 --bundle 8
  oscillink solve request.json --diffusion --gamma 0.3
  oscillink solve vectors.npy --psi-row 0 --array ustar --out settled.npy
  cat request.json | oscillink solve -";

/// Arguments of `solve`.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    problem: ProblemArgs,
    /// Write the array to this .npy file instead of into the answer [array default: ustar]
    #[arg(long, value_name = "FILE.npy", help_heading = "Answer")]
    out: Option<PathBuf>,
    /// Most null points in the receipt, 0 for all [env: OSCILLINK_RECEIPT_NULL_CAP=]
    #[arg(long, value_name = "N", help_heading = "Answer")]
    null_cap: Option<usize>,
}

/// Computes and prints.
pub fn run(args: &Args) -> Result<()> {
    let mut problem = args.problem.clone();
    if args.out.is_some() {
        match problem.array.as_deref() {
            None => problem.array = Some("ustar".to_owned()),
            Some(names) if names.contains(',') => {
                return Err(Failure::usage("--out takes one array; --array names several").into());
            }
            Some(_) => {}
        }
    }
    let (format, bytes) = args.input.read()?;
    let body = parse(format, &bytes, problem.parameters(), &SizeLimits::NONE)
        .map_err(|error| Failure::bad_input(error.to_string()))?;
    drop(bytes);
    let context = context(args)?;
    let bar = Bar(Output::new(DisplayArgs::default()).progress("solving"));
    let computed = compute(&body.request, Operation::Settle, &context, &bar);
    bar.0.finish_and_clear();
    let output = computed.map_err(|error| match error {
        RunError::Invalid(field) => anyhow::Error::from(Failure::bad_input(field.to_string())),
        RunError::Cancelled => error.into(),
    })?;
    print(output, args.out.as_ref())
}

/// What the environment says: the secret that signs and the cap on null points.
fn context(args: &Args) -> Result<RunContext, Failure> {
    let variables = |name: &str| std::env::var(name).ok();
    let mut read = Lookup::new(&variables);
    let cap = read.optional("OSCILLINK_RECEIPT_NULL_CAP");
    let context = RunContext {
        receipt_secret: read.secret("RECEIPT_HMAC_SECRET", 1),
        null_cap: args.null_cap.or(cap).filter(|cap| *cap > 0),
    };
    read.finish(context)
        .map_err(|error| Failure::usage(error.to_string()))
}

fn print(output: RunOutput, out: Option<&PathBuf>) -> Result<()> {
    let answer = match out {
        None => output.into_answer_with_arrays(),
        Some(path) => {
            if let Some(array) = output.arrays.values().next() {
                fs::write(path, npy::write(array)).with_context(|| path.display().to_string())?;
            }
            output.answer
        }
    };
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    stdout.write_all(&answer.to_json()?)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

/// Shows the computation's progress.
struct Bar(ProgressBar);

impl Observer for Bar {
    fn progress(&self, stage: Stage, fraction: f32) {
        let (name, begin, end) = match stage {
            Stage::Diffusion => ("diffusing", 0, 300),
            Stage::Graph => ("finding neighbours", 300, 600),
            Stage::Settle => ("settling", 600, 750),
            Stage::Stationary => ("solving for the end state", 750, 900),
            Stage::Receipt => ("writing the receipt", 900, 1_000),
        };
        if self.0.is_hidden() {
            return;
        }
        let within = (f64::from(fraction) * f64::from(end - begin)) as u64;
        self.0.set_message(name);
        self.0.set_position(begin as u64 + within);
    }
}
