//! The key that a server without keys makes for itself.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oscillink_domain::{ApiKey, KeyStatus, Tier};
use oscillink_engine::{Engine, NewKey};
use oscillink_ports::Entropy as _;

use super::entropy::OsEntropy;
use crate::data_dir;
use crate::settings::ServerSettings;

/// The development key of a data folder.
#[derive(Clone, Debug)]
pub struct DevKey {
    /// The key.
    pub key: ApiKey,
    /// The file that it is kept in.
    pub path: PathBuf,
    /// Whether this start made it, so that it is to be shown.
    pub fresh: bool,
}

impl DevKey {
    /// The folder's development key: kept from an earlier start, or made when no key is configured
    /// and the store has none. `None` when the operator has keys of their own.
    pub async fn of(engine: &Engine, settings: &ServerSettings) -> Result<Option<Self>> {
        if !settings.seeds.is_empty() {
            return Ok(None);
        }
        let dir = &settings.data_dir;
        let kept = data_dir::dev_key(dir);
        if let Some(key) = &kept
            && let Some(record) = engine.find_key(&key.hash()).await?
        {
            let active = record.status == KeyStatus::Active;
            return Ok(active.then(|| Self {
                key: key.clone(),
                path: data_dir::dev_key_path(dir),
                fresh: false,
            }));
        }
        if !engine.keys(1, None).await?.items.is_empty() {
            return Ok(None);
        }
        // Kept before it is stored: a crash in between leaves a file whose key the next start stores.
        let fresh = kept.is_none();
        let key = kept.unwrap_or_else(|| {
            let mut random = [0; 32];
            OsEntropy.fill(&mut random);
            ApiKey::from_random(random)
        });
        let path = data_dir::keep_dev_key(dir, &key)
            .with_context(|| format!("the development key cannot be kept in {}", dir.display()))?;
        let new = NewKey {
            name: "development".to_owned(),
            tier: Tier::Pro,
            overrides: Default::default(),
        };
        engine.seed_key(&key, new).await?;
        Ok(Some(Self { key, path, fresh }))
    }
}
