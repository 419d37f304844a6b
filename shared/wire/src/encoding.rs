//! Content encodings, unfolded only as far as a limit allows.

use std::io::{self, Read};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::error::{Counted, WireError};

/// Largest window that a zstd frame may ask the decoder to keep, bytes: what `zstd -19` uses.
const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncoding {
    /// gzip, one member or several.
    Gzip,
    /// zstd, one frame or several.
    Zstd,
}

impl FromStr for ContentEncoding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(()),
        }
    }
}

/// Decompresses `bytes` to at most `max_bytes`.
///
/// # Errors
/// `body` is not in the encoding, or unfolds to more.
pub fn decode_limited(
    encoding: ContentEncoding,
    bytes: &[u8],
    max_bytes: usize,
) -> Result<Vec<u8>, WireError> {
    match encoding {
        ContentEncoding::Gzip => {
            let mut out = Vec::new();
            unfold(MultiGzDecoder::new(bytes), &mut out, max_bytes, "gzip")?;
            Ok(out)
        }
        ContentEncoding::Zstd => zstd(bytes, max_bytes),
    }
}

fn zstd(mut bytes: &[u8], max_bytes: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let before = bytes.len();
        let frame = StreamingDecoder::new_with_max_window_size(&mut bytes, MAX_WINDOW_BYTES)
            .map_err(|error| broken("zstd", error))?;
        unfold(frame, &mut out, max_bytes, "zstd")?;
        if bytes.len() == before {
            break;
        }
    }
    Ok(out)
}

fn unfold(
    reader: impl Read,
    out: &mut Vec<u8>,
    max_bytes: usize,
    name: &str,
) -> Result<(), WireError> {
    let room = (max_bytes - out.len()) as u64;
    reader
        .take(room.saturating_add(1))
        .read_to_end(out)
        .map_err(|error: io::Error| broken(name, error))?;
    if out.len() > max_bytes {
        return Err(WireError::too_large("body", Counted::Bytes, max_bytes));
    }
    Ok(())
}

fn broken(name: &str, error: impl std::fmt::Display) -> WireError {
    WireError::field("body", format!("is not valid {name}: {error}"))
}
