//! A request with a body that has not been read: handlers decide, once the caller is known, how much
//! of it they will take.

use axum::body::Body;
use axum::extract::{FromRequest, Query, Request};
use axum::http::{HeaderMap, Uri, header};
use oscillink_domain::Sha256Hex;
use oscillink_domain::idempotency::MAX_KEY_LEN;
use oscillink_engine::Idempotency;
use oscillink_wire::{Body as Parsed, ContentEncoding, Format, Parameters, decode_limited, parse};

use super::body::{ReadLimits, read};
use super::multipart;
use super::prefer::Preferences;
use crate::budget::Share;
use crate::error::{Kind, Problem};
use crate::state::Gateway;

/// Bodies up to this size are parsed where they are; larger ones would hold up other requests.
pub const DIRECT_BYTES: usize = 64 * 1024;
/// Numbers up to this count are encoded where they are.
pub const DIRECT_VALUES: usize = 16 * 1024;

/// A request whose body has not been read.
#[derive(Debug)]
pub struct Inbound {
    pub(super) headers: HeaderMap,
    uri: Uri,
    pub(super) body: Body,
    /// What the client prefers.
    pub preferences: Preferences,
    /// Whether the digest of the request is wanted also without an idempotency key.
    pub with_digest: bool,
}

/// A body that has been read, parsed and checked.
#[derive(Debug)]
pub struct ReadBody {
    /// The request.
    pub parsed: Parsed,
    /// Length as received, bytes.
    pub length: usize,
    /// Makes repeats harmless.
    pub idempotency: Option<Idempotency>,
    /// Digest of route and body, if it was wanted.
    pub digest: Option<Sha256Hex>,
    /// W3C trace context to hand on.
    pub traceparent: Option<String>,
    /// The memory that the request takes.
    pub share: Share,
}

impl<S: Send + Sync> FromRequest<S> for Inbound {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        Ok(Self {
            preferences: Preferences::of(&parts.headers),
            with_digest: false,
            headers: parts.headers,
            uri: parts.uri,
            body,
        })
    }
}

impl Inbound {
    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Reads, parses and checks the body.
    ///
    /// # Errors
    /// Too large, too slow, of an unknown type, or with fields at fault.
    pub async fn read(self, app: &Gateway, limits: ReadLimits) -> Result<ReadBody, Problem> {
        let media = Media::of(&self.headers)?;
        let encoding = encoding(&self.headers)?;
        let idempotency_key = idempotency_key(&self.headers)?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&self.uri)
            .map_err(|error| Problem::field("query", error.body_text()))?;
        let parameters = Parameters::from_query(query.0);
        let mut share = app.budget().share();
        let bytes = read(self.body, &self.headers, &limits, app.config(), &mut share).await?;
        let length = bytes.len();
        if encoding.is_some() {
            // How much it unfolds to is only known afterwards.
            share.grow_to(length + limits.max_bytes).await?;
        } else {
            // The parsed numbers take up to twice as much as their text.
            share.grow_to(length.saturating_mul(2)).await?;
        }
        // Without scheme and host, which HTTP/2 adds.
        let route = self
            .uri
            .path_and_query()
            .map_or("/", |p| p.as_str())
            .to_owned();
        let with_digest = self.with_digest;
        let work = move || {
            let wanted = with_digest || idempotency_key.is_some();
            let digest =
                wanted.then(|| Sha256Hex::of_parts([route.as_bytes(), media.name(), &bytes]));
            let parsed = parse_body(bytes, media, encoding, parameters, &limits)?;
            let idempotency = idempotency_key.zip(digest.clone());
            let idempotency =
                idempotency.map(|(key, request_hash)| Idempotency { key, request_hash });
            Ok::<_, Problem>((parsed, idempotency, digest))
        };
        let (parsed, idempotency, digest) = if length <= DIRECT_BYTES && encoding.is_none() {
            work()?
        } else {
            tokio::task::spawn_blocking(work).await.map_err(|_| {
                tracing::error!("reading a body panicked");
                Problem::new(
                    Kind::Internal,
                    "the body could not be read; it has been logged",
                )
            })??
        };
        let request = &parsed.request;
        share.shrink_to(4 * request.n() * request.d());
        Ok(ReadBody {
            parsed,
            length,
            idempotency,
            digest,
            traceparent: traceparent(&self.headers).map(str::to_owned),
            share,
        })
    }
}

/// The type of a body.
#[derive(Clone, Debug)]
enum Media {
    /// One document.
    One(Format),
    /// To be told by its first bytes.
    Unnamed,
    /// Parts, with this boundary.
    Parts(String),
}

impl Media {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Ok(Self::Unnamed);
        };
        let text = value.to_str().unwrap_or_default();
        let essence = text
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Ok(Self::One(Format::Json)),
            "application/x-npy" | "application/npy" => Ok(Self::One(Format::Npy)),
            "application/x-npz"
            | "application/npz"
            | "application/zip"
            | "application/x-zip-compressed" => Ok(Self::One(Format::Npz)),
            "application/octet-stream" => Ok(Self::Unnamed),
            "multipart/form-data" => multer::parse_boundary(text)
                .map(Self::Parts)
                .map_err(|_| Problem::field("body", "the multipart boundary is missing")),
            _ => Err(Problem::new(
                Kind::UnsupportedMediaType,
                format!(
                    "Content-Type {essence:?} is not known; send application/json, \
                     application/x-npy, application/zip (.npz) or multipart/form-data"
                ),
            )),
        }
    }

    /// Part of what an idempotency key stands for: the same bytes as another type are another
    /// request.
    fn name(&self) -> &'static [u8] {
        match self {
            Self::One(Format::Json) => b"json",
            Self::One(Format::Npy) => b"npy",
            Self::One(Format::Npz) => b"npz",
            Self::Unnamed => b"unnamed",
            Self::Parts(_) => b"parts",
        }
    }
}

fn parse_body(
    bytes: Vec<u8>,
    media: Media,
    encoding: Option<ContentEncoding>,
    mut parameters: Parameters,
    limits: &ReadLimits,
) -> Result<Parsed, Problem> {
    let bytes = match encoding {
        None => bytes,
        Some(encoding) => {
            decode_limited(encoding, &bytes, limits.max_bytes).map_err(|e| limits.explain(e))?
        }
    };
    let (format, bytes) = match media {
        Media::One(format) => (format, bytes),
        Media::Unnamed => (Format::sniff(&bytes), bytes),
        Media::Parts(boundary) => {
            let parts = multipart::split(bytes, &boundary)?;
            if let Some(document) = parts.params {
                parameters.set_document(document);
            }
            (Format::sniff(&parts.array), parts.array)
        }
    };
    parse(format, &bytes, parameters, &limits.size).map_err(|e| limits.explain(e))
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Option<ContentEncoding>, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let text = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value
            .to_str()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase(),
        (Some(_), Some(_)) => String::from("several"),
    };
    if text.is_empty() || text == "identity" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|()| {
        let detail = "Content-Encoding must be gzip, zstd or identity, and only one";
        Problem::new(Kind::UnsupportedMediaType, detail).header(
            header::ACCEPT_ENCODING,
            axum::http::HeaderValue::from_static("gzip, zstd"),
        )
    })
}

/// The `Idempotency-Key`, if there is one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text)
            if (1..=MAX_KEY_LEN).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(Some(text.to_owned()))
        }
        _ => {
            let detail = format!("must have 1 to {MAX_KEY_LEN} visible ASCII characters");
            Err(Problem::field("Idempotency-Key", detail))
        }
    }
}

/// The caller's trace context, as it came.
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    headers.get("traceparent")?.to_str().ok()
}
