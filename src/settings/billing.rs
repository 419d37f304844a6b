//! Billing's settings, where billing is switched on.

use oscillink_domain::settings::{ConfigError, Lookup, Variables};
use oscillink_webhook::Config as BillingConfig;

/// Any of these switches billing on; then everything that it needs has to be there.
const SWITCHES: [&str; 3] = [
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_API_KEY",
    "OSCILLINK_STRIPE_PRICE_MAP",
];

/// Billing inside the all-in-one server: `None` when no variable asks for it.
///
/// # Errors
/// Names every variable that cannot be used.
pub fn optional(variables: &Variables<'_>) -> Result<Option<BillingConfig>, ConfigError> {
    let read = Lookup::new(variables);
    if SWITCHES.iter().all(|name| read.text(name).is_none()) {
        return Ok(None);
    }
    required(variables).map(Some)
}

/// Billing as a role.
///
/// # Errors
/// Names every variable that cannot be used.
pub fn required(variables: &Variables<'_>) -> Result<BillingConfig, ConfigError> {
    let config = BillingConfig::from_lookup(variables)?;
    with_client(variables, config)
}

/// Billing for a command that asks Stripe and takes no events: no webhook secret is needed.
///
/// # Errors
/// Names every variable that cannot be used.
pub fn for_command(variables: &Variables<'_>) -> Result<BillingConfig, ConfigError> {
    let config = BillingConfig::without_events(variables)?;
    with_client(variables, config)
}

/// A key for Stripe's API needs a program that has the client: what it is set for must not be left
/// out silently.
fn with_client(
    variables: &Variables<'_>,
    config: BillingConfig,
) -> Result<BillingConfig, ConfigError> {
    let mut read = Lookup::new(variables);
    if cfg!(not(feature = "stripe")) && config.api_key.is_some() {
        let detail = "is set, but this program was built without Stripe's client: build it with \
                      `--features stripe`, or leave the variable out, and events are taken at their \
                      word and nothing can be sold";
        read.refuse("STRIPE_API_KEY", detail);
    }
    read.finish(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [(&str, &str); 2] = [
        ("STRIPE_WEBHOOK_SECRET", "whsec_12345678"),
        ("OSCILLINK_STRIPE_PRICE_MAP", "price_1:pro"),
    ];

    fn with(pairs: &[(&str, &str)]) -> Result<Option<BillingConfig>, ConfigError> {
        optional(&|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn billing_is_on_when_asked_for_and_then_complete() {
        assert!(
            with(&[("OSCILLINK_PUBLIC_URL", "http://x")])
                .unwrap()
                .is_none()
        );
        assert!(with(&[("STRIPE_WEBHOOK_SECRET", " ")]).unwrap().is_none());
        assert!(with(&EVENTS).unwrap().is_some());
        let half = with(&EVENTS[..1]).unwrap_err().to_string();
        assert!(half.contains("OSCILLINK_STRIPE_PRICE_MAP"), "{half}");
    }

    #[test]
    fn a_key_for_stripe_needs_a_program_with_its_client() {
        let mut pairs = EVENTS.to_vec();
        pairs.push(("STRIPE_API_KEY", "sk_test_123456"));
        let config = with(&pairs);
        if cfg!(feature = "stripe") {
            assert!(config.unwrap().is_some());
        } else {
            let text = config.unwrap_err().to_string();
            assert!(text.contains("STRIPE_API_KEY is set, but"), "{text}");
            assert!(!text.contains("sk_test"), "{text}");
        }
    }
}
