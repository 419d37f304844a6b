//! Stripe's signature over the raw body: `Stripe-Signature: t=…,v1=…,v1=…`.

use hmac::{Hmac, KeyInit, Mac};
use oscillink_domain::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Signatures looked at in one header; Stripe sends one for each live secret.
const MAX_SIGNATURES: usize = 8;

/// Why a body is not from Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header, or not of the form.
    #[error("the Stripe-Signature header is missing or malformed")]
    Malformed,
    /// Signed, but not by any of the secrets over this body.
    #[error("the signature is not over this body by any secret of this endpoint")]
    Mismatch,
    /// Signed too long ago, or too far in the future.
    #[error("the signature's time is outside the tolerance")]
    Tolerance,
}

/// Checks that `body` was signed by one of `secrets` within `tolerance_ms` of `now`.
///
/// # Errors
/// Why it was not. The time is only looked at when the signature is right.
pub fn verify(
    header: Option<&str>,
    body: &[u8],
    secrets: &[SecretString],
    now: Timestamp,
    tolerance_ms: i64,
) -> Result<(), SignatureError> {
    let (time, signatures) = parse(header.ok_or(SignatureError::Malformed)?)?;
    let signed = secrets.iter().any(|secret| {
        // Invariant: HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        // `verify_slice` compares in constant time.
        signatures
            .iter()
            .any(|signature| mac.clone().verify_slice(signature).is_ok())
    });
    if !signed {
        return Err(SignatureError::Mismatch);
    }
    let seconds: i64 = time.parse().map_err(|_| SignatureError::Malformed)?;
    let signed_at = Timestamp::from_millis(seconds.saturating_mul(1_000));
    if now.millis_since(signed_at).saturating_abs() > tolerance_ms {
        return Err(SignatureError::Tolerance);
    }
    Ok(())
}

/// The time as it was written, and the signatures of the scheme `v1`.
fn parse(header: &str) -> Result<(&str, Vec<Vec<u8>>), SignatureError> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => time = Some(value),
            Some(("v1", value)) if signatures.len() < MAX_SIGNATURES => {
                signatures.extend(unhex(value));
            }
            // Other schemes are for other times; `v0` is for tests.
            Some(_) => {}
            None => return Err(SignatureError::Malformed),
        }
    }
    match time {
        Some(time) if !signatures.is_empty() => Ok((time, signatures)),
        _ => Err(SignatureError::Malformed),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oscillink_domain::hash::hex;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn sign(body: &[u8], secret: &str, seconds: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        hex(&mac.finalize().into_bytes())
    }

    fn check(header: &str, body: &[u8]) -> Result<(), SignatureError> {
        let secrets = ["new", "old"].map(SecretString::from);
        verify(Some(header), body, &secrets, NOW, 300_000)
    }

    #[test]
    fn either_secret_signs_and_nothing_else() {
        let now = NOW.as_millis() / 1_000;
        for secret in ["new", "old"] {
            let v1 = sign(b"{}", secret, now);
            assert_eq!(check(&format!("t={now},v1={v1},v0=ab"), b"{}"), Ok(()));
            let rotating = format!("t={now}, v1={}, v1={v1}", "0".repeat(64));
            assert_eq!(check(&rotating, b"{}"), Ok(()));
            assert_eq!(
                check(&format!("t={now},v1={v1}"), b"{ }"),
                Err(SignatureError::Mismatch)
            );
            let later = now + 1;
            assert_eq!(
                check(&format!("t={later},v1={v1}"), b"{}"),
                Err(SignatureError::Mismatch)
            );
        }
        let v1 = sign(b"{}", "other", now);
        let other = check(&format!("t={now},v1={v1}"), b"{}");
        assert_eq!(other, Err(SignatureError::Mismatch));
    }

    #[test]
    fn old_and_future_signatures_are_refused() {
        let now = NOW.as_millis() / 1_000;
        for (seconds, expected) in [
            (now - 300, Ok(())),
            (now - 301, Err(SignatureError::Tolerance)),
            (now + 301, Err(SignatureError::Tolerance)),
        ] {
            let v1 = sign(b"x", "new", seconds);
            assert_eq!(check(&format!("t={seconds},v1={v1}"), b"x"), expected);
        }
    }

    #[test]
    fn headers_of_another_form_are_refused() {
        let v1 = sign(b"", "new", 1);
        for header in [
            "",
            "t=1",
            "v1=00",
            "t=1,v1=",
            &format!("v1={v1}"),
            "nonsense",
        ] {
            assert_eq!(
                check(header, b""),
                Err(SignatureError::Malformed),
                "{header}"
            );
        }
        assert_eq!(
            verify(None, b"", &[], NOW, 1),
            Err(SignatureError::Malformed)
        );
    }
}
