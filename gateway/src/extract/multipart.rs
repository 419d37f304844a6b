//! Multipart bodies: an array file and its parameters.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::once;
use multer::Multipart;

use crate::error::Problem;

/// The parts of a body.
#[derive(Debug)]
pub struct Parts {
    /// The file: npy or npz.
    pub array: Vec<u8>,
    /// The JSON document with the parameters.
    pub params: Option<Vec<u8>>,
}

/// Splits a body that is in memory.
pub fn split(body: Vec<u8>, boundary: &str) -> Result<Parts, Problem> {
    // The stream has all its data, so that reading it never waits.
    read(body, boundary)
        .now_or_never()
        .unwrap_or_else(|| Err(malformed("it never ends")))
}

async fn read(body: Vec<u8>, boundary: &str) -> Result<Parts, Problem> {
    let stream = once(async move { Ok::<_, Infallible>(Bytes::from(body)) });
    let mut multipart = Multipart::new(stream, boundary);
    let (mut array, mut params) = (None, None);
    while let Some(field) = multipart.next_field().await.map_err(malformed)? {
        let name = field.name().unwrap_or_default().to_owned();
        let slot = match name.as_str() {
            "params" => &mut params,
            "Y" | "file" => &mut array,
            _ => {
                let detail = "is not a part; expected the array as Y or file, and params";
                return Err(Problem::field(&name, detail));
            }
        };
        let bytes = field.bytes().await.map_err(malformed)?;
        if slot.replace(Vec::from(bytes)).is_some() {
            return Err(Problem::field(&name, "is given twice"));
        }
    }
    let array = array.ok_or_else(|| Problem::field("Y", "the part with the array is missing"))?;
    Ok(Parts { array, params })
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::field("body", format!("is not a readable multipart body: {error}"))
}
