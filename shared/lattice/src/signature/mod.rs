//! State and receipt signatures that any client with a JSON library can check (contract, 7).

mod canonical;
mod float;
mod receipt;
mod state;

pub use canonical::{Value, to_canonical_json};
pub use receipt::{
    ALGORITHM, Mode, Required, SIGNATURE_VERSION, SignedPayload, VerifyError, extended_payload,
    minimal_payload, sign, sign_extended, sign_minimal, verify,
};
pub(crate) use state::state_signature;

use sha2::{Digest, Sha256};

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
