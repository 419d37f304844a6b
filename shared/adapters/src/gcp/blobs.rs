//! Blobs as objects of a Cloud Storage bucket.
//!
//! An object is made under the condition that none of its name exists, and carries the SHA-256 of
//! its bytes, which every complete read checks.

mod credentials;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, Error, GetOptions, GetRange,
    ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
};
use oscillink_domain::Sha256Hex;
use oscillink_ports::{BlobStore, PortError, valid_blob_name};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::config::{BlobConfig, BlobPlace};
use super::error::{GcpError, connect_error};

/// Metadata with the digest of an object's bytes.
const SHA256: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("sha256"));
/// Names of a page of a listing; the service's limit.
const MAX_PAGE: usize = 1_000;

/// The blob store of a bucket. Cheap to clone.
#[derive(Clone)]
pub struct ObjectBlobs {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: GoogleCloudStorage,
    prefix: String,
    slots: Semaphore,
    config: BlobConfig,
}

impl ObjectBlobs {
    /// A client of the bucket. Nothing is sent before the first call.
    ///
    /// # Errors
    /// The place is not a bucket, or there are no credentials.
    pub fn connect(config: BlobConfig) -> Result<Self, GcpError> {
        let BlobPlace::Bucket { bucket, prefix } = config.place.clone() else {
            return Err(GcpError::NotBuilt {
                variable: "OSCILLINK_BLOB_URL",
                detail: "a folder of this machine is not a bucket",
            });
        };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: config.tries.min_pause,
                max_backoff: config.tries.max_pause,
                base: 2.0,
            },
            max_retries: config.tries.max_attempts.saturating_sub(1) as usize,
            retry_timeout: config.tries.max_total,
        };
        let options = ClientOptions::new()
            .with_timeout(config.call_timeout)
            .with_connect_timeout(config.call_timeout)
            .with_allow_http(config.endpoint.is_some());
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .with_client_options(options);
        let builder = match &config.endpoint {
            // A local server takes any token.
            Some(endpoint) => builder.with_base_url(endpoint).with_bearer_token("local"),
            None => builder.with_credentials(credentials::default()?),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                bucket: builder.build().map_err(connect_error("Cloud Storage"))?,
                prefix,
                slots: Semaphore::new(config.max_concurrent.max(1)),
                config,
            }),
        })
    }
}

impl Inner {
    fn place(&self, name: &str) -> Result<Path, PortError> {
        if !valid_blob_name(name) {
            let start: String = name.chars().take(80).collect();
            return Err(PortError::Refused {
                detail: format!("{start:?} is not a blob name"),
            });
        }
        Path::parse(format!("{}{name}", self.prefix)).map_err(PortError::corrupt)
    }

    async fn slot(&self) -> Result<SemaphorePermit<'_>, PortError> {
        self.slots.acquire().await.map_err(PortError::unavailable)
    }

    /// Bounds what the client's own bounds leave open: the reading of an answer.
    async fn bounded<T>(
        &self,
        what: &str,
        name: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let limit = self.config.tries.max_total + self.config.call_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|error| Failure::of(what, name, error)),
            Err(_) => Err(Failure::Known(PortError::Unavailable {
                detail: format!("{what} {name}: no answer within {limit:?}"),
            })),
        }
    }

    async fn size(&self, name: &str, place: &Path) -> Result<u64, PortError> {
        let head = self.bounded("look at", name, self.bucket.head(place));
        Ok(head.await?.size)
    }
}

/// A call that did not succeed.
enum Failure {
    Known(PortError),
    /// The service refused for a reason that the client does not tell.
    Unclear(PortError),
}

impl Failure {
    fn of(what: &str, name: &str, error: Error) -> Self {
        let detail = format!("{what} {name}: {error}");
        Self::Known(match error {
            Error::NotFound { .. } => PortError::NotFound { detail },
            Error::AlreadyExists { .. } | Error::Precondition { .. } => {
                PortError::AlreadyExists { detail }
            }
            Error::InvalidPath { .. } | Error::NotSupported { .. } => PortError::Refused { detail },
            Error::Generic { .. } => return Self::Unclear(PortError::Unavailable { detail }),
            _ => PortError::Unavailable { detail },
        })
    }
}

impl From<Failure> for PortError {
    fn from(failure: Failure) -> Self {
        let (Failure::Known(error) | Failure::Unclear(error)) = failure;
        error
    }
}

#[async_trait]
impl BlobStore for ObjectBlobs {
    /// After a failure on the way the client tries again; a name that its own first try took is then
    /// reported as `AlreadyExists`, which callers tell apart by the content.
    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), PortError> {
        let inner = &self.inner;
        let place = inner.place(name)?;
        let _slot = inner.slot().await?;
        let mut attributes = Attributes::new();
        attributes.insert(SHA256, Sha256Hex::of(&bytes).as_str().to_owned().into());
        let options = PutOptions {
            mode: PutMode::Create,
            attributes,
            ..PutOptions::default()
        };
        let call = inner.bucket.put_opts(&place, bytes.into(), options);
        inner.bounded("create", name, call).await?;
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Bytes, PortError> {
        let inner = &self.inner;
        let place = inner.place(name)?;
        let _slot = inner.slot().await?;
        let call = async {
            let found = inner.bucket.get(&place).await?;
            let sha256 = found
                .attributes
                .get(&SHA256)
                .map(|text| text.as_ref().to_owned());
            Ok((found.bytes().await?, sha256))
        };
        let (bytes, sha256) = inner.bounded("read", name, call).await?;
        let Some(sha256) = sha256 else {
            let detail = format!("read {name}: it has no digest");
            return Err(PortError::Corrupt { detail });
        };
        if Sha256Hex::of(&bytes).as_str() != sha256 {
            let detail = format!("read {name}: it does not match its digest");
            return Err(PortError::Corrupt { detail });
        }
        Ok(bytes)
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, PortError> {
        let inner = &self.inner;
        let place = inner.place(name)?;
        let _slot = inner.slot().await?;
        if range.is_empty() {
            inner.size(name, &place).await?;
            return Ok(Bytes::new());
        }
        let start = range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let call = async { inner.bucket.get_opts(&place, options).await?.bytes().await };
        match inner.bounded("read", name, call).await {
            Ok(bytes) => Ok(bytes),
            // A range behind the end is refused like any malformed request: the size tells.
            Err(Failure::Unclear(error)) => {
                if inner.size(name, &place).await? <= start {
                    return Ok(Bytes::new());
                }
                Err(error)
            }
            Err(Failure::Known(error)) => Err(error),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), PortError> {
        let inner = &self.inner;
        let place = inner.place(name)?;
        let _slot = inner.slot().await?;
        match inner
            .bounded("delete", name, inner.bucket.delete(&place))
            .await
            .map_err(PortError::from)
        {
            Ok(()) | Err(PortError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, PortError> {
        let inner = &self.inner;
        let _slot = inner.slot().await?;
        let from = format!("{}{prefix}", inner.prefix);
        let offset = after.map(|after| format!("{}{after}", inner.prefix));
        let mut names: Vec<String> = Vec::new();
        let mut page_token = None;
        while names.len() < limit {
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some((limit - names.len()).min(MAX_PAGE)),
                page_token,
                ..PaginatedListOptions::default()
            };
            let call = inner.bucket.list_paginated(Some(&from), options);
            let page = inner.bounded("list", prefix, call).await?;
            let objects = page.result.objects.iter();
            names.extend(objects.filter_map(|object| {
                let name = object.location.as_ref().strip_prefix(&inner.prefix)?;
                Some(name.to_owned())
            }));
            page_token = page.page_token;
            if page_token.is_none() {
                break;
            }
        }
        names.truncate(limit);
        Ok(names)
    }

    async fn check(&self) -> Result<(), PortError> {
        self.list("check", None, 1).await.map(|_| ())
    }
}
