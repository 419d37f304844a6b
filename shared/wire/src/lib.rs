//! The API's request and answer: parsing and checking, job payloads, running and serialising.
//!
//! The gateway (HTTP bodies), the worker (job payloads) and the command line (files) share this
//! crate, so that each rule of the API stands once. A [`SolveRequest`] exists only checked: it comes
//! from [`parse`] or from [`decode_payload`], and [`run`] turns it into a [`RunOutput`].

mod answer;
mod encoding;
mod error;
mod limits;
pub mod npy;
mod npz;
mod parse;
mod payload;
mod request;
mod run;

pub use answer::{
    Answer, BundleEntry, ChainStep, ChainVerdict, Diffused, Lam, Meta, Monthly, NullPointCounts,
    NullPointEntry, NumberArray, Quota, Receipt, ReceiptContext, Signature, Usage, WeakestStep,
};
pub use encoding::{ContentEncoding, decode_limited};
pub use error::{Counted, FieldError, WireError};
pub use limits::{MAX_CHAIN_NODES, MAX_ITERS, MAX_NEIGHBORS, SizeLimits};
pub use parse::{Body, Format, Parameters, parse};
pub use payload::{
    PAYLOAD_ALIGN, PayloadDecoder, decode as decode_payload, encode as encode_payload,
};
pub use request::{AnswerOptions, ArrayName, Operation, SignatureMode, SolveRequest};
pub use run::{RunContext, RunError, RunOutput, run, run_from};
