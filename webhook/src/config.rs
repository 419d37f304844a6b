//! The webhook service's settings, from variables. One that cannot be used is named.

use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::Authority;
use oscillink_domain::billing::{BillingId, DelinquencyPolicy, PriceMap};
use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use oscillink_engine::BillingRules;
use secrecy::{ExposeSecret, SecretString};

/// Secrets of the endpoint that may be live at once.
const MAX_SECRETS: usize = 4;
/// Largest event kept; a stored document has to hold it with every quote escaped.
const MAX_BODY_BYTES: usize = 300 * 1024;

/// The settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Secrets that sign events, any of them (`STRIPE_WEBHOOK_SECRET`, several separated by commas,
    /// and `STRIPE_WEBHOOK_SECRET_OLD`).
    pub webhook_secrets: Vec<SecretString>,
    /// How far a signature's time may be from ours, ms (`OSCILLINK_STRIPE_TOLERANCE` seconds).
    pub tolerance_ms: i64,
    /// Whether events are about real money (`OSCILLINK_STRIPE_LIVEMODE`; by the API key otherwise).
    pub livemode: bool,
    /// Largest event, bytes (`OSCILLINK_STRIPE_MAX_BODY_BYTES`).
    pub max_body_bytes: usize,
    /// Prices and policy (`OSCILLINK_STRIPE_PRICE_MAP`, `OSCILLINK_BILLING_DELINQUENCY`).
    pub rules: BillingRules,
    /// Opens Stripe's API (`STRIPE_API_KEY`). Without it events are taken at their word.
    pub api_key: Option<SecretString>,
    /// Where Stripe's API is (`OSCILLINK_STRIPE_API_BASE`).
    pub api_base: Option<String>,
    /// Longest a call to Stripe may take (`OSCILLINK_STRIPE_TIMEOUT_MS`).
    pub api_timeout: Duration,
    /// Events handled at once (`OSCILLINK_STRIPE_CONCURRENCY`).
    pub concurrency: usize,
    /// Where browsers reach this service, without a slash at the end (`OSCILLINK_PUBLIC_URL`).
    pub public_url: Option<String>,
    /// Checkouts that may be started in a minute, by everyone (`OSCILLINK_CHECKOUT_RATE_LIMIT`).
    pub checkouts_per_minute: usize,
    /// Name of the meter's events (`OSCILLINK_STRIPE_METER_EVENT`); usage is reported when it is set.
    pub meter_event: Option<String>,
    /// The meter, for comparisons (`OSCILLINK_STRIPE_METER_ID`).
    pub meter_id: Option<BillingId>,
    /// Opens `/metrics` when that is protected (`OSCILLINK_ADMIN_SECRET`).
    pub admin_secret: Option<SecretString>,
    /// Whether `/metrics` needs the admin secret (`OSCILLINK_METRICS_PROTECTED`).
    pub metrics_protected: bool,
    /// Whether the usage files of each day are written when it is over (`OSCILLINK_USAGE_EXPORT`).
    pub usage_export: bool,
}

impl Config {
    /// From variables.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn from_lookup(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Self::read(variables, true)
    }

    /// From variables, for a process that asks Stripe and takes no events.
    ///
    /// # Errors
    /// Names every variable that cannot be used.
    pub fn without_events(variables: &Variables<'_>) -> Result<Self, ConfigError> {
        Self::read(variables, false)
    }

    fn read(variables: &Variables<'_>, takes_events: bool) -> Result<Self, ConfigError> {
        let mut read = Lookup::new(variables);
        let webhook_secrets = webhook_secrets(&mut read, takes_events);
        let api_key = read.secret("STRIPE_API_KEY", 8);
        let key_mode = api_key.as_ref().and_then(mode_of);
        let livemode = read.flag("OSCILLINK_STRIPE_LIVEMODE", key_mode.unwrap_or(true));
        if key_mode.is_some_and(|mode| mode != livemode) {
            let detail = "does not fit STRIPE_API_KEY, which is for the other mode";
            read.refuse("OSCILLINK_STRIPE_LIVEMODE", detail);
        }
        let tolerance = read.seconds("OSCILLINK_STRIPE_TOLERANCE", Duration::from_secs(300));
        let max_body_bytes = read.bytes("OSCILLINK_STRIPE_MAX_BODY_BYTES", 256 * 1024);
        if max_body_bytes > MAX_BODY_BYTES {
            let detail = format!("must be at most {MAX_BODY_BYTES}");
            read.refuse("OSCILLINK_STRIPE_MAX_BODY_BYTES", detail);
        }
        let prices = prices(&mut read);
        let public_url = address(&mut read, "OSCILLINK_PUBLIC_URL");
        let api_timeout = read.millis("OSCILLINK_STRIPE_TIMEOUT_MS", Duration::from_secs(5));
        if api_timeout.is_zero() {
            read.refuse("OSCILLINK_STRIPE_TIMEOUT_MS", "must be at least 1");
        }
        let config = Self {
            webhook_secrets,
            tolerance_ms: i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX),
            livemode,
            max_body_bytes,
            rules: BillingRules {
                prices,
                delinquency: read.parsed("OSCILLINK_BILLING_DELINQUENCY", DelinquencyPolicy::Free),
            },
            api_base: address(&mut read, "OSCILLINK_STRIPE_API_BASE"),
            api_timeout,
            concurrency: read.parallel("OSCILLINK_STRIPE_CONCURRENCY", 8),
            checkouts_per_minute: read.count("OSCILLINK_CHECKOUT_RATE_LIMIT", 60),
            meter_event: read.text("OSCILLINK_STRIPE_METER_EVENT"),
            meter_id: read.optional("OSCILLINK_STRIPE_METER_ID"),
            admin_secret: read.secret("OSCILLINK_ADMIN_SECRET", 16),
            metrics_protected: read.flag("OSCILLINK_METRICS_PROTECTED", false),
            usage_export: read.flag("OSCILLINK_USAGE_EXPORT", true),
            api_key,
            public_url,
        };
        read.finish(config)
    }
}

fn prices(read: &mut Lookup<'_>) -> PriceMap {
    const NAME: &str = "OSCILLINK_STRIPE_PRICE_MAP";
    if read.text(NAME).is_none() {
        read.refuse(NAME, "must be set: no price has a tier");
    }
    let Some(prices) = read.optional::<PriceMap>(NAME) else {
        return PriceMap::default();
    };
    if prices.is_empty() {
        read.refuse(NAME, "names no price");
    }
    prices
}

fn webhook_secrets(read: &mut Lookup<'_>, needed: bool) -> Vec<SecretString> {
    const NAME: &str = "STRIPE_WEBHOOK_SECRET";
    let mut secrets: Vec<SecretString> = Vec::new();
    for name in [NAME, "STRIPE_WEBHOOK_SECRET_OLD"] {
        let text = read.text(name).unwrap_or_default();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            if part.len() < 8 {
                read.refuse(name, "has a secret of less than 8 characters");
            }
            secrets.push(SecretString::from(part.to_owned()));
        }
    }
    if secrets.is_empty() && needed {
        read.refuse(NAME, "must be set: without it no event can be believed");
    }
    if secrets.len() > MAX_SECRETS {
        read.refuse(NAME, format_args!("has more than {MAX_SECRETS} secrets"));
    }
    secrets
}

/// Whether an API key is for real money, if its form says so.
fn mode_of(key: &SecretString) -> Option<bool> {
    let key = key.expose_secret();
    let mode = |name: &str| {
        key.starts_with(&format!("sk_{name}_")) || key.starts_with(&format!("rk_{name}_"))
    };
    if mode("live") {
        Some(true)
    } else {
        mode("test").then_some(false)
    }
}

fn address(read: &mut Lookup<'_>, name: &str) -> Option<String> {
    let text = read.text(name)?;
    let text = text.trim_end_matches('/').to_owned();
    if !is_address(&text) {
        read.refuse(name, "must be an http or https address");
    }
    Some(text)
}

/// Whether a text is the address of a server, perhaps with a path: paths are appended to it.
fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let port = |authority: &Authority| {
        let host = authority.host();
        let rest = authority.as_str().strip_prefix(host);
        rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
    };
    matches!(uri.scheme_str(), Some("http" | "https"))
        && uri
            .authority()
            .is_some_and(|authority| !authority.host().is_empty() && port(authority))
        && uri.query().is_none()
        && !text.contains('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&'static str, &'static str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(&move |name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn settings_are_read() {
        let config = with(&[
            ("STRIPE_WEBHOOK_SECRET", "whsec_new, whsec_other"),
            ("STRIPE_WEBHOOK_SECRET_OLD", "whsec_old"),
            ("STRIPE_API_KEY", "sk_test_123"),
            ("OSCILLINK_STRIPE_PRICE_MAP", "price_a:pro"),
            ("OSCILLINK_BILLING_DELINQUENCY", "suspend"),
            ("OSCILLINK_PUBLIC_URL", "https://billing.example/"),
        ])
        .unwrap();
        assert_eq!(config.webhook_secrets.len(), 3);
        assert!(!config.livemode);
        assert_eq!(config.rules.delinquency, DelinquencyPolicy::Suspend);
        assert_eq!(
            config.public_url.as_deref(),
            Some("https://billing.example")
        );
    }

    #[test]
    fn settings_that_would_sell_nothing_or_wait_for_nothing_are_refused() {
        for (name, value) in [
            ("OSCILLINK_STRIPE_PRICE_MAP", ";"),
            ("OSCILLINK_STRIPE_PRICE_MAP", "price_a:pro;price_b:free"),
            ("OSCILLINK_STRIPE_TIMEOUT_MS", "0"),
            ("OSCILLINK_STRIPE_CONCURRENCY", "100000000"),
            ("OSCILLINK_PUBLIC_URL", "https://:80"),
            ("OSCILLINK_PUBLIC_URL", "https:///path"),
            ("OSCILLINK_PUBLIC_URL", "https://a b"),
            ("OSCILLINK_PUBLIC_URL", "https://host:port"),
            ("OSCILLINK_PUBLIC_URL", "https://user@host"),
        ] {
            let error = Config::from_lookup(&|asked| match asked {
                _ if asked == name => Some(value.to_owned()),
                "STRIPE_WEBHOOK_SECRET" => Some("whsec_12345678".to_owned()),
                "OSCILLINK_STRIPE_PRICE_MAP" => Some("price_a:pro".to_owned()),
                _ => None,
            });
            let text = error.expect_err(value).to_string();
            assert!(text.starts_with(name) && !text.contains("; "), "{text}");
        }
    }

    #[test]
    fn faults_are_named_together_and_secrets_are_not_shown() {
        let error = with(&[
            ("STRIPE_WEBHOOK_SECRET", "tiny"),
            ("STRIPE_API_KEY", "sk_live_hunter2"),
            ("OSCILLINK_STRIPE_LIVEMODE", "false"),
            ("OSCILLINK_STRIPE_PRICE_MAP", "price_a:gold"),
            ("OSCILLINK_PUBLIC_URL", "ftp://x"),
        ]);
        let text = error.unwrap_err().to_string();
        for name in [
            "STRIPE_WEBHOOK_SECRET has",
            "OSCILLINK_STRIPE_LIVEMODE does not fit",
            "OSCILLINK_STRIPE_PRICE_MAP cannot",
            "OSCILLINK_PUBLIC_URL must",
        ] {
            assert!(text.contains(name), "{name} is missing in: {text}");
        }
        assert!(!text.contains("tiny") && !text.contains("hunter2"));
        let bare = with(&[]).unwrap_err().to_string();
        assert!(bare.contains("STRIPE_WEBHOOK_SECRET must be set"), "{bare}");
    }
}
