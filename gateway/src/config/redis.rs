//! The address of a Redis that instances share.

use std::fmt;
use std::str::FromStr;

use redis::Client;

/// A Redis address that has been understood. It may hold a password, so it does not print itself.
#[derive(Clone)]
pub struct RedisUrl(Client);

impl RedisUrl {
    pub(crate) fn client(&self) -> Client {
        self.0.clone()
    }
}

impl FromStr for RedisUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The library's own words could repeat the password.
        let client = Client::open(text);
        client
            .map(Self)
            .map_err(|_| "must be like redis://:password@host:6379/0")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_and_never_printed() {
        let url: RedisUrl = "redis://:hunter2@cache:6379/1".parse().unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        for bad in ["cache:6379", "http://cache", "rediss://cache", ""] {
            assert!(bad.parse::<RedisUrl>().is_err(), "{bad}");
        }
    }
}
