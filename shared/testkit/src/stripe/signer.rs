//! Signs events as Stripe does.

use hmac::{Hmac, KeyInit, Mac};
use oscillink_domain::hash::hex;
use sha2::Sha256;

/// The `Stripe-Signature` header of `raw`, signed at `seconds` since 1970.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn sign(raw: impl AsRef<[u8]>, secret: &str, seconds: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(raw.as_ref());
    format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes()))
}
