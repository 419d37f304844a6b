//! HMAC-SHA256 signatures over receipt payloads.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use super::canonical::{Value, to_canonical_json};
use super::hex;
use crate::params::Params;
use crate::solution::Receipt;

/// Name of the only algorithm.
pub const ALGORITHM: &str = "HMAC-SHA256";

/// Version written into payloads as `sig_v`.
pub const SIGNATURE_VERSION: i64 = 1;

/// How much of a receipt is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// State signature and energy drop.
    #[default]
    Minimal,
    /// Also the stationary solve, the weights and the graph settings.
    Extended,
}

impl Mode {
    /// The name written into payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Extended => "extended",
        }
    }
}

/// A payload and its signature, as carried in `meta.signature`.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedPayload {
    /// [`ALGORITHM`].
    pub algorithm: String,
    /// What is signed.
    pub payload: Value,
    /// Lower-case hex digest.
    pub signature: String,
}

/// What a verifier insists on besides a valid signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Required {
    /// The payload's mode.
    pub mode: Option<Mode>,
    /// The payload's `sig_v`.
    pub sig_v: Option<i64>,
}

/// Why a signature was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// The block names another algorithm.
    #[error("the algorithm is not {ALGORITHM}")]
    Algorithm,
    /// The payload's mode is not the required one.
    #[error("the signature mode is not the required one")]
    Mode,
    /// The payload's version is not the required one.
    #[error("the signature version is not the required one")]
    Version,
    /// No secret gives this signature.
    #[error("the signature does not match")]
    Signature,
}

/// `{sig_v, mode: "minimal", state_sig, deltaH_total}`.
pub fn minimal_payload(receipt: &Receipt) -> Value {
    Value::object([
        ("sig_v", SIGNATURE_VERSION.into()),
        ("mode", Mode::Minimal.as_str().into()),
        ("state_sig", receipt.meta.state_sig.as_str().into()),
        ("deltaH_total", receipt.delta_h_total.into()),
    ])
}

/// The minimal payload plus stationary solve, weights and graph settings.
pub fn extended_payload(receipt: &Receipt, params: &Params, k_effective: usize) -> Value {
    let lambdas = params.lambdas();
    Value::object([
        ("sig_v", SIGNATURE_VERSION.into()),
        ("mode", Mode::Extended.as_str().into()),
        ("state_sig", receipt.meta.state_sig.as_str().into()),
        ("deltaH_total", receipt.delta_h_total.into()),
        ("ustar_iters", receipt.meta.ustar_iters.into()),
        ("ustar_res", receipt.meta.ustar_res.into()),
        ("ustar_converged", receipt.meta.ustar_converged.into()),
        (
            "params",
            Value::object([
                ("lamG", lambdas.g.into()),
                ("lamC", lambdas.c.into()),
                ("lamQ", lambdas.q.into()),
                ("lamP", lambdas.p.into()),
            ]),
        ),
        (
            "graph",
            Value::object([
                ("k", k_effective.into()),
                ("deterministic_k", params.deterministic_k().into()),
                ("neighbor_seed", params.neighbor_seed().into()),
            ]),
        ),
    ])
}

/// Signs the minimal payload of a receipt.
pub fn sign_minimal(receipt: &Receipt, secret: &[u8]) -> SignedPayload {
    sign(minimal_payload(receipt), secret)
}

/// Signs the extended payload of a receipt.
pub fn sign_extended(
    receipt: &Receipt,
    params: &Params,
    k_effective: usize,
    secret: &[u8],
) -> SignedPayload {
    sign(extended_payload(receipt, params, k_effective), secret)
}

/// Signs any payload.
pub fn sign(payload: Value, secret: &[u8]) -> SignedPayload {
    let signature = hex(&digest(&payload, secret).finalize().into_bytes());
    SignedPayload {
        algorithm: ALGORITHM.to_owned(),
        payload,
        signature,
    }
}

/// Checks a signature against each secret in constant time and returns the index of the one that
/// made it. Several secrets allow rotation.
///
/// # Errors
/// Says which of algorithm, signature, mode and version was not accepted. Mode and version are
/// only looked at in payloads whose signature is valid.
pub fn verify(
    secrets: &[&[u8]],
    signed: &SignedPayload,
    required: Required,
) -> Result<usize, VerifyError> {
    if signed.algorithm != ALGORITHM {
        return Err(VerifyError::Algorithm);
    }
    let claimed = unhex(&signed.signature).ok_or(VerifyError::Signature)?;
    let mut matching = None;
    for (index, secret) in secrets.iter().enumerate() {
        // Every secret is tried, so that time does not tell which one matched.
        if digest(&signed.payload, secret)
            .verify_slice(&claimed)
            .is_ok()
            && matching.is_none()
        {
            matching = Some(index);
        }
    }
    let matching = matching.ok_or(VerifyError::Signature)?;
    let mode = signed.payload.get("mode");
    if required
        .mode
        .is_some_and(|wanted| mode != Some(&wanted.as_str().into()))
    {
        return Err(VerifyError::Mode);
    }
    let version = signed.payload.get("sig_v");
    if required
        .sig_v
        .is_some_and(|wanted| version != Some(&wanted.into()))
    {
        return Err(VerifyError::Version);
    }
    Ok(matching)
}

fn digest(payload: &Value, secret: &[u8]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(to_canonical_json(payload).as_bytes());
    mac
}

/// Decodes lower-case hex; anything else is not a signature this crate writes.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?))
        .collect()
}
