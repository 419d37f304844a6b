//! Keys that configuration names, for development.

use oscillink_domain::settings::Lookup;
use oscillink_domain::{ApiKey, Tier};

/// A key to make at start if it is not there.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The secret.
    pub key: ApiKey,
    /// The plan.
    pub tier: Tier,
}

/// `OSCILLINK_API_KEYS` (`k1,k2`) with the tiers of `OSCILLINK_KEY_TIERS` (`k1:pro;k2:beta`); a key
/// without a tier is free. Errors tell an entry's place, never its text: it is a secret.
pub fn read(read: &mut Lookup<'_>) -> Vec<Seed> {
    const KEYS: &str = "OSCILLINK_API_KEYS";
    const TIERS: &str = "OSCILLINK_KEY_TIERS";
    let mut seeds: Vec<Seed> = Vec::new();
    for (place, text) in entries(&read.text(KEYS).unwrap_or_default(), ',') {
        match ApiKey::parse(&text) {
            Some(key) => seeds.push(Seed {
                key,
                tier: Tier::Free,
            }),
            None => read.refuse(
                KEYS,
                format_args!("entry {place} must be 8 to 200 visible characters"),
            ),
        }
    }
    let mut named: Vec<(ApiKey, Tier)> = Vec::new();
    for (place, text) in entries(&read.text(TIERS).unwrap_or_default(), ';') {
        let Some((key, tier)) = text.rsplit_once(':') else {
            read.refuse(TIERS, format_args!("entry {place} must be key:tier"));
            continue;
        };
        let seed = seeds
            .iter_mut()
            .find(|seed| seed.key.reveal() == key.trim());
        match (seed, tier.trim().parse::<Tier>()) {
            (Some(seed), Ok(tier)) => {
                let same = |known: &&(ApiKey, Tier)| known.0.reveal() == seed.key.reveal();
                if named.iter().find(same).is_some_and(|known| known.1 != tier) {
                    let detail = "gives a key of an entry before another tier";
                    read.refuse(TIERS, format_args!("entry {place} {detail}"));
                }
                named.push((seed.key.clone(), tier));
                seed.tier = tier;
            }
            (None, _) => read.refuse(
                TIERS,
                format_args!("entry {place} names a key that is not in {KEYS}"),
            ),
            (_, Err(error)) => read.refuse(TIERS, format_args!("entry {place}: {error}")),
        }
    }
    seeds
}

fn entries(text: &str, separator: char) -> Vec<(usize, String)> {
    let parts = text.split(separator).map(str::trim).enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(place, part)| (place + 1, part.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_get_their_tiers_and_errors_keep_secrets() {
        let seeds = |keys: &str, tiers: &str| {
            let variables = |name: &str| {
                Some(
                    if name == "OSCILLINK_API_KEYS" {
                        keys
                    } else {
                        tiers
                    }
                    .to_owned(),
                )
            };
            let mut lookup = Lookup::new(&variables);
            let seeds = read(&mut lookup);
            lookup.finish(seeds)
        };
        let found = seeds("first-key, second-key,", "second-key:pro;").unwrap();
        assert_eq!(
            found.iter().map(|s| s.tier).collect::<Vec<_>>(),
            [Tier::Free, Tier::Pro]
        );
        assert!(seeds("first-key", "first-key:pro;first-key:pro").is_ok());
        let text = seeds("first-key", "first-key:pro; first-key:beta")
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("OSCILLINK_KEY_TIERS entry 2 ") && !text.contains("first-key"),
            "{text}"
        );
        let text = seeds("first-key,tiny", "other-key:pro;first-key:gold")
            .unwrap_err()
            .to_string();
        assert!(text.contains("entry 2") && text.contains("gold"), "{text}");
        assert!(
            !text.contains("tiny") && !text.contains("other-key"),
            "{text}"
        );
    }
}
