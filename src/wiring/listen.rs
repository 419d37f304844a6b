//! Listening, and the address to tell of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use tokio::net::TcpListener;

use crate::exit::Failure;

/// Binds `port` of `host`.
pub async fn bind(host: IpAddr, port: u16) -> Result<TcpListener> {
    let addr = SocketAddr::new(host, port);
    let listener = TcpListener::bind(addr).await;
    listener
        .map_err(|error| Failure::usage(format!("PORT: cannot listen on {addr}: {error}")).into())
}

/// The address by which this machine reaches a listener: an unspecified one is reached on loopback.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let mut addr = addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    addr
}
