//! Where requests go.

use http::Uri;
use http::uri::Scheme;

/// A server's base address.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Over TLS?
    pub tls: bool,
    /// What the `Host` header says.
    pub authority: String,
}

/// An address that requests cannot go to.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no base address: write http://host:port or https://host")]
pub struct TargetError {
    url: String,
}

impl Target {
    /// Reads a base address; paths in it are refused.
    ///
    /// # Errors
    /// It is not of the form `http://host:port` or `https://host`.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let refused = || TargetError {
            url: url.to_owned(),
        };
        let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| refused())?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(refused()),
        };
        let authority = uri.authority().ok_or_else(refused)?;
        if uri.path() != "/" || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(refused());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            tls,
            authority: authority.to_string(),
        })
    }

    /// The base address as text.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_addresses_are_read() {
        let plain = Target::parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.tls),
            ("127.0.0.1", 8080, false)
        );
        let secure = Target::parse("https://api.example.com").unwrap();
        assert_eq!((secure.port, secure.tls), (443, true));
        assert_eq!(Target::parse("http://[::1]:9").unwrap().host, "::1");
    }

    #[test]
    fn anything_else_is_refused() {
        for url in [
            "",
            "host:80",
            "ftp://host",
            "http://host/v1",
            "http://a:b@host",
            "/x",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
