//! Where callbacks may go. The check of a URL is made with the parser that the sender uses, so that
//! both read the same host out of it.

use std::net::IpAddr;

use url::{Host, Url};

/// Checks the form of a callback's address and refuses literal private ones. Names are checked again
/// when they are resolved, at delivery.
///
/// # Errors
/// What is wrong with it, to be read after the field's name.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, &'static str> {
    // The parser is lenient with what browsers get wrong; a callback has no such excuse.
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("must not hold spaces, control characters or backslashes");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL with a host")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err("must be an https URL"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials");
    }
    let private = match url.host() {
        None => return Err("is not a URL with a host"),
        Some(Host::Ipv4(address)) => !is_public(address.into()),
        Some(Host::Ipv6(address)) => !is_public(address.into()),
        Some(Host::Domain(name)) => is_private_name(name),
    };
    if private && !allow_private {
        return Err("must not be a private, loopback or link-local address");
    }
    Ok(url)
}

fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // A name without a dot belongs to the network that the sender is in.
    !name.contains('.')
        || [".localhost", ".local", ".internal", ".home.arpa"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 192 && b == 88 && c == 99)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Global unicast without documentation, 6to4, Teredo and the NAT64 prefixes, which can
            // carry private IPv4 addresses.
            (first & 0xe000) == 0x2000
                && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
                && first != 0x2002
                && first != 0x3fff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_https_only() {
        for good in [
            "https://hooks.example.com/a?b=c",
            "https://8.8.8.8:8443/",
            "https://[2606:4700::1]/",
        ] {
            assert!(check_url(good, false).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.example.com",
            "ftp://a.example",
            "/relative",
            "https://",
            "https://user:secret@a.example/",
            "https://a.example\\@127.0.0.1/",
            "https://a.example/\n",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://intranet/",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://10.1.2.3/",
            "https://169.254.169.254/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://255.255.255.255/",
            "https://[::]/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00:ec2::254]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[::10.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
        ] {
            assert!(check_url(bad, false).is_err(), "{bad}");
        }
        assert!(check_url("http://127.0.0.1:9/", true).is_ok());
        assert!(check_url("http://a:b@127.0.0.1:9/", true).is_err());
    }
}
