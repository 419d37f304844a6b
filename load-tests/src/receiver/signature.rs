//! Signatures of Standard Webhooks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Seconds that a timestamp may be off.
const TOLERANCE_S: u64 = 300;

/// A secret that signs callbacks.
#[derive(Clone)]
pub struct CallbackSecret(Vec<u8>);

impl CallbackSecret {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let encoded = text.strip_prefix("whsec_");
        let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
        bytes
            .map(Self)
            .ok_or_else(|| "a callback secret is whsec_ and base64".to_owned())
    }
}

/// What a signature is about.
pub(super) struct Signed<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
    pub body: &'a [u8],
}

impl Signed<'_> {
    /// Is one of the signatures by this secret, and recent?
    pub(super) fn is_by(&self, secret: &CallbackSecret, now_s: u64) -> bool {
        let Ok(time) = self.timestamp.parse::<u64>() else {
            return false;
        };
        if time.abs_diff(now_s) > TOLERANCE_S {
            return false;
        }
        self.signature
            .split(' ')
            .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
            .any(|signature| {
                let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0)
                    .expect("an HMAC takes keys of any length");
                mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
                mac.update(self.body);
                mac.verify_slice(&signature).is_ok()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_verifies_and_its_forgeries_do_not() {
        let secret = CallbackSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = Signed {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            signature: "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            body: br#"{"test": 2432232314}"#,
        };
        assert!(signed.is_by(&secret, 1_614_265_330));
        assert!(!signed.is_by(&secret, 1_614_265_330 + TOLERANCE_S + 1));
        let changed = Signed {
            body: b"{}",
            ..signed
        };
        assert!(!changed.is_by(&secret, 1_614_265_330));
        assert!(CallbackSecret::parse("whsec_!").is_err());
    }
}
