//! Which price buys which tier.

use std::str::FromStr;

use crate::billing::BillingId;
use crate::tier::Tier;

/// Prices and the tiers they buy, from `price_x:pro;price_y:enterprise`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceMap(Vec<(BillingId, Tier)>);

/// An entry of the price map cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry:?} {detail}")]
pub struct InvalidPriceMap {
    /// The entry as it was written.
    pub entry: String,
    /// What is wrong with it.
    pub detail: String,
}

impl PriceMap {
    /// The tier that `price` buys.
    #[must_use]
    pub fn tier(&self, price: &BillingId) -> Option<Tier> {
        let found = self.0.iter().find(|(known, _)| known == price);
        found.map(|(_, tier)| *tier)
    }

    /// The price to sell `tier` at: the first that the map names for it.
    #[must_use]
    pub fn price_of(&self, tier: Tier) -> Option<&BillingId> {
        let found = self.0.iter().find(|(_, known)| *known == tier);
        found.map(|(price, _)| price)
    }

    /// Every price with its tier, in the order of configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&BillingId, Tier)> {
        self.0.iter().map(|(price, tier)| (price, *tier))
    }

    /// Whether nothing is for sale.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PriceMap {
    type Err = InvalidPriceMap;

    fn from_str(text: &str) -> Result<Self, InvalidPriceMap> {
        let mut map: Vec<(BillingId, Tier)> = Vec::new();
        for entry in text.split(';').map(str::trim).filter(|e| !e.is_empty()) {
            let refuse = |detail: String| InvalidPriceMap {
                entry: entry.to_owned(),
                detail,
            };
            let (price, tier) = entry
                .split_once(':')
                .ok_or_else(|| refuse("must be price:tier".to_owned()))?;
            let price: BillingId = price
                .trim()
                .parse()
                .map_err(|_| refuse("does not begin with a price id".to_owned()))?;
            let tier: Tier = tier
                .trim()
                .parse()
                .map_err(|error| refuse(format!("{error}")))?;
            if tier == Tier::Free {
                return Err(refuse(
                    "sells the free tier, which nobody pays for".to_owned(),
                ));
            }
            if map.iter().any(|(known, _)| *known == price) {
                return Err(refuse("names a price for the second time".to_owned()));
            }
            map.push((price, tier));
        }
        Ok(Self(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_buy_tiers_and_faults_are_named() {
        let map: PriceMap = " price_m:pro ; price_y:pro;price_e:enterprise; "
            .parse()
            .unwrap();
        let id = |text: &str| text.parse::<BillingId>().unwrap();
        assert_eq!(map.tier(&id("price_y")), Some(Tier::Pro));
        assert_eq!(map.tier(&id("price_other")), None);
        assert_eq!(map.price_of(Tier::Pro), Some(&id("price_m")));
        assert!("".parse::<PriceMap>().unwrap().is_empty());
        for bad in [
            "price_a",
            "price_a:gold",
            ":pro",
            "p q:pro",
            "a:pro;a:beta",
            "a:free",
        ] {
            let error = bad.parse::<PriceMap>().unwrap_err().to_string();
            assert!(error.starts_with("entry \""), "{error}");
        }
    }
}
