//! Names resolved to public addresses only. The connection goes to the very addresses that were
//! checked here: a name that resolves otherwise a moment later (rebinding) changes nothing.

use std::net::SocketAddr;

use oscillink_domain::callback::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name has no address that callbacks may go to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host has no public address")]
pub(super) struct NotPublic;

/// The system's resolver, without private addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|found| is_public(found.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
