//! Identifiers. Randomness comes from the caller; ids are random rather than sequential because
//! sequential document names concentrate load on one range of a distributed store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash::Sha256Hex;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Base62 of `bytes` read as one big-endian number, padded to the width that the largest number of
/// that many bytes needs (43 digits for 32 bytes, 22 for 16), so that no entropy is lost.
#[must_use]
pub fn base62(bytes: &[u8]) -> String {
    let width = (bytes.len() as f64 * 8.0 / 62f64.log2()).ceil() as usize;
    let mut number = bytes.to_vec();
    let mut out = vec![b'0'; width];
    for slot in out.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *slot = BASE62[remainder as usize];
    }
    out.into_iter().map(char::from).collect()
}

/// The text is not an identifier of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id")]
pub struct InvalidId {
    /// What kind of id was expected.
    pub kind: &'static str,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// From 16 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(format!(concat!($prefix, "{}"), base62(&bytes)))
            }

            /// From a digest, for ids that must come out the same each time.
            #[must_use]
            pub fn from_digest(digest: &Sha256Hex) -> Self {
                let mut bytes = [0u8; 16];
                for (byte, pair) in bytes.iter_mut().zip(digest.as_str().as_bytes().chunks(2)) {
                    *byte = std::str::from_utf8(pair)
                        .ok()
                        .and_then(|p| u8::from_str_radix(p, 16).ok())
                        .unwrap_or(0);
                }
                Self::from_random(bytes)
            }

            /// The text of the id, prefix included.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid = text.strip_prefix($prefix).is_some_and(|rest| {
                    rest.len() == 22 && rest.bytes().all(|b| b.is_ascii_alphanumeric())
                });
                if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId { kind: $kind }) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// A job: `job_` and 22 base62 digits.
    JobId, "job_", "job"
);
id_type!(
    /// An API key's stable identity, which survives rotation of its secret: `key_` and 22 base62 digits.
    KeyId, "key_", "key"
);
id_type!(
    /// An event: `evt_` and 22 base62 digits. Derived from what happened, so that a repeat has the same id.
    EventId, "evt_", "event"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_keeps_every_bit_and_a_fixed_width() {
        assert_eq!(base62(&[0; 16]), "0".repeat(22));
        assert_eq!(base62(&[0xff; 32]).len(), 43);
        assert_ne!(base62(&[0xff; 16]), base62(&[0xfe; 16]));
        assert_eq!(base62(&[62]), "10");
    }

    #[test]
    fn ids_parse_only_in_their_own_form() {
        let id = JobId::from_random([7; 16]);
        assert_eq!(id.as_str().parse::<JobId>().unwrap(), id);
        for bad in [
            "",
            "job_",
            "key_0000000000000000000000",
            "job_000000000000000000000/",
            "job_../../../../etc/passwd",
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
        let digest = Sha256Hex::of(b"x");
        assert_eq!(EventId::from_digest(&digest), EventId::from_digest(&digest));
    }
}
