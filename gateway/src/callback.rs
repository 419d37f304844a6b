//! Where callbacks may go.

use std::net::IpAddr;

use axum::http::Uri;

/// Checks the form of a callback's address and refuses literal private ones. Names are checked again
/// when they are resolved, at delivery.
pub fn check(url: &str, allow_private: bool) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is not a URL")?;
    let host = uri.host().ok_or("is not a URL with a host")?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if allow_private => {}
        _ => return Err("must be an https URL"),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("must not hold credentials");
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let private = match bare.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => {
            let name = bare.trim_end_matches('.').to_ascii_lowercase();
            // A last label of digits is an address in another notation.
            let numeric = name
                .rsplit('.')
                .next()
                .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_digit()));
            numeric
                || name == "localhost"
                || [".localhost", ".local", ".internal"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }
    };
    if private && !allow_private {
        return Err("must not be a private, loopback or link-local address");
    }
    Ok(())
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
            assert_eq!(check(good, false), Ok(()), "{good}");
        }
        for bad in [
            "http://hooks.example.com",
            "ftp://a.example",
            "/relative",
            "https://",
            "https://user:secret@a.example/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://metadata.google.internal/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://10.1.2.3/",
            "https://169.254.169.254/",
            "https://192.168.0.1/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
        ] {
            assert!(check(bad, false).is_err(), "{bad}");
        }
        assert_eq!(check("http://127.0.0.1:9/", true), Ok(()));
    }
}
