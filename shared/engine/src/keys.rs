//! API keys: made, found, rotated, revoked. The secret is shown once; its hash is stored.

use oscillink_domain::event::Topic;
use oscillink_domain::key::KeySecret;
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::tier::Overrides;
use oscillink_domain::{
    ApiKey, Event, EventId, KeyId, KeyRecord, KeyStatus, Sha256Hex, Tier, Timestamp,
};
use oscillink_ports::{Collection, Cursor, DocKey, PortError, Query, StoreExt, TxError, Write};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Engine;
use crate::error::KeyError;
use crate::finish::event_id;
use crate::jobs::Page;

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// A name for people.
    pub name: String,
    /// The plan.
    pub tier: Tier,
    /// Deviations from the tier's limits.
    pub overrides: Overrides,
}

/// A key with its secret, for the one time that it is shown.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The record.
    pub record: KeyRecord,
    /// The secret.
    pub secret: ApiKey,
}

/// Which key a secret opens.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyHashDocument {
    pub(crate) key_id: KeyId,
}

impl Engine {
    /// Makes a key. Enterprise keys start pending.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create_key(&self, new: NewKey) -> Result<IssuedKey, KeyError> {
        let secret = self.new_secret();
        let key_id = KeyId::from_random(self.inner.ports.entropy.id_bytes());
        let record = self.insert_key(key_id, &secret, new).await?;
        Ok(IssuedKey { record, secret })
    }

    /// Makes the key of that id with that secret, as [`Engine::create_key`] does with random ones. A
    /// repeat finds the key that is there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create_key_as(
        &self,
        key_id: KeyId,
        secret: ApiKey,
        new: NewKey,
    ) -> Result<IssuedKey, KeyError> {
        let record = self.insert_key(key_id, &secret, new).await?;
        Ok(IssuedKey { record, secret })
    }

    /// Makes the key that configuration names, or brings its tier in line. Its id is made of its
    /// secret, so that every start finds the same key.
    ///
    /// # Errors
    /// The store failed.
    pub async fn seed_key(&self, secret: &ApiKey, new: NewKey) -> Result<KeyRecord, KeyError> {
        if let Some(record) = self.find_key(&secret.hash()).await? {
            if record.tier == new.tier {
                return Ok(record);
            }
            let tier = new.tier;
            return self
                .change_key(&record.key_id, move |record| record.tier = tier)
                .await;
        }
        let key_id = KeyId::from_digest(&Sha256Hex::of_parts([
            b"seed".as_slice(),
            secret.hash().as_str().as_bytes(),
        ]));
        self.insert_key(key_id, secret, new).await
    }

    async fn insert_key(
        &self,
        key_id: KeyId,
        secret: &ApiKey,
        new: NewKey,
    ) -> Result<KeyRecord, KeyError> {
        let now = self.now();
        let record = KeyRecord {
            key_id: key_id.clone(),
            name: new.name,
            tier: new.tier,
            status: if new.tier == Tier::Enterprise {
                KeyStatus::Pending
            } else {
                KeyStatus::Active
            },
            overrides: new.overrides,
            secrets: vec![KeySecret {
                hash: secret.hash(),
                expires_at: None,
            }],
            callback_secrets: Default::default(),
            created_at: now,
            updated_at: now,
            event_tag: 0,
        };
        let key = record_key(&key_id);
        let hash_key = hash_key(&secret.hash());
        self.store()
            .transaction::<_, KeyError>(vec![key.clone()], move |snapshot| {
                if let Some(existing) = snapshot.get::<KeyRecord>(&key)? {
                    // Two starts at once, or a repeat of this very transaction.
                    return Ok((Vec::new(), existing));
                }
                let writes = vec![
                    Write::create(key.clone(), &record)?,
                    Write::create(
                        hash_key.clone(),
                        &KeyHashDocument {
                            key_id: record.key_id.clone(),
                        },
                    )?,
                ];
                Ok((writes, record.clone()))
            })
            .await
            .map_err(KeyError::from)
    }

    /// The key that a secret with this hash opens now, whatever the key's status.
    ///
    /// # Errors
    /// The store failed.
    pub async fn find_key(&self, hash: &Sha256Hex) -> Result<Option<KeyRecord>, PortError> {
        let Some(found) = self
            .store()
            .fetch::<KeyHashDocument>(&hash_key(hash))
            .await?
        else {
            return Ok(None);
        };
        let record = self.key(&found.key_id).await?;
        Ok(record.filter(|record| record.accepts(hash, self.now())))
    }

    /// A key by its id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn key(&self, key_id: &KeyId) -> Result<Option<KeyRecord>, PortError> {
        self.store().fetch(&record_key(key_id)).await
    }

    /// Keys, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn keys(
        &self,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<KeyRecord>, PortError> {
        let query = Query::new(Collection::ApiKeys, "created_at", limit)
            .descending()
            .after(after);
        Page::parse(self.store().query(&query).await?)
    }

    /// Gives the key a new secret; the old ones work for `overlap_ms` more.
    ///
    /// # Errors
    /// No such key, a revoked one, or the store failed.
    pub async fn rotate_key(&self, key_id: &KeyId, overlap_ms: i64) -> Result<IssuedKey, KeyError> {
        self.rotate_with(key_id, overlap_ms, self.new_secret())
            .await
    }

    async fn rotate_with(
        &self,
        key_id: &KeyId,
        overlap_ms: i64,
        secret: ApiKey,
    ) -> Result<IssuedKey, KeyError> {
        let now = self.now();
        let newest = KeySecret {
            hash: secret.hash(),
            expires_at: None,
        };
        let record = self
            .change_key_with(
                key_id,
                move |record| {
                    if record.secrets.iter().any(|s| s.hash == newest.hash) {
                        // A repeat of this very change.
                        return;
                    }
                    let end = now.plus_millis(overlap_ms.max(0));
                    record
                        .secrets
                        .retain(|s| s.expires_at.is_none_or(|at| now < at));
                    for old in &mut record.secrets {
                        old.expires_at = Some(old.expires_at.map_or(end, |at| at.min(end)));
                    }
                    record.secrets.insert(0, newest.clone());
                },
                Some(secret.hash()),
            )
            .await?;
        Ok(IssuedKey { record, secret })
    }

    /// Gives the key the secret `secret`, as [`Engine::rotate_key`] does with a new one. A repeat with
    /// the same secret changes nothing.
    ///
    /// # Errors
    /// No such key, a revoked one, or the store failed.
    pub async fn rotate_key_to(
        &self,
        key_id: &KeyId,
        overlap_ms: i64,
        secret: ApiKey,
    ) -> Result<IssuedKey, KeyError> {
        if let Some(record) = self.key(key_id).await?
            && record.accepts(&secret.hash(), self.now())
        {
            return Ok(IssuedKey { record, secret });
        }
        self.rotate_with(key_id, overlap_ms, secret).await
    }

    /// Sets the key's status. Revocation is final.
    ///
    /// # Errors
    /// No such key, a revoked one, or the store failed.
    pub async fn set_key_status(
        &self,
        key_id: &KeyId,
        status: KeyStatus,
    ) -> Result<KeyRecord, KeyError> {
        self.change_key(key_id, move |record| record.status = status)
            .await
    }

    /// Changes a key and announces it, in one transaction.
    ///
    /// # Errors
    /// No such key, a revoked one, or the store failed.
    pub async fn change_key(
        &self,
        key_id: &KeyId,
        change: impl Fn(&mut KeyRecord) + Send + Sync + 'static,
    ) -> Result<KeyRecord, KeyError> {
        self.change_key_with(key_id, change, None).await
    }

    async fn change_key_with(
        &self,
        key_id: &KeyId,
        change: impl Fn(&mut KeyRecord) + Send + Sync + 'static,
        new_hash: Option<Sha256Hex>,
    ) -> Result<KeyRecord, KeyError> {
        let now = self.now();
        let key = record_key(key_id);
        let source = self.config().source.clone();
        let changed = self
            .store()
            .transaction(vec![key.clone()], move |snapshot| {
                let mut record = snapshot
                    .get::<KeyRecord>(&key)?
                    .ok_or(TxError::Refused(KeyError::NotFound))?;
                if record.status == KeyStatus::Revoked {
                    return Err(TxError::Refused(KeyError::Revoked));
                }
                change(&mut record);
                record.updated_at = now;
                let tag = record.next_event_tag(now);
                let mut writes = vec![Write::put(key.clone(), &record)?];
                if let Some(hash) = &new_hash {
                    let document = KeyHashDocument {
                        key_id: record.key_id.clone(),
                    };
                    writes.push(Write::put(hash_key(hash), &document)?);
                }
                let entry = change_entry(&record, tag, now, &source);
                writes.push(Write::put(
                    DocKey::new(Collection::Outbox, &entry.id),
                    &entry,
                )?);
                Ok((writes, record))
            })
            .await
            .map_err(KeyError::from)?;
        self.inner.outbox_changed.notify();
        Ok(changed)
    }

    pub(crate) fn new_secret(&self) -> ApiKey {
        let mut bytes = [0; 32];
        self.inner.ports.entropy.fill(&mut bytes);
        ApiKey::from_random(bytes)
    }
}

/// Announces a changed key, so that every instance drops it from its cache.
fn change_entry(record: &KeyRecord, tag: u64, now: Timestamp, source: &str) -> OutboxEntry {
    let content = serde_json::to_string(record).unwrap_or_default();
    let id = event_id(&["key", record.key_id.as_str(), &content]);
    let event = change_event(record, id.clone(), now, source);
    let events = vec![(Topic::EntitlementEvents, event)];
    let id = id.as_str().to_owned();
    OutboxEntry::announce(id, record.key_id.as_str(), events, tag, now)
}

/// What instances are told of a changed key. It names the hashes by which they remember the key.
pub(crate) fn change_event(record: &KeyRecord, id: EventId, now: Timestamp, source: &str) -> Event {
    let hashes: Vec<&Sha256Hex> = record.secrets.iter().map(|s| &s.hash).collect();
    let data = json!({
        "keyId": record.key_id,
        "keyHashes": hashes,
        "tier": record.tier,
        "status": record.status,
    });
    Event::new(id, "entitlement.changed", now, source, data)
}

pub(crate) fn record_key(key_id: &KeyId) -> DocKey {
    DocKey::new(Collection::ApiKeys, key_id.as_str())
}

pub(crate) fn hash_key(hash: &Sha256Hex) -> DocKey {
    DocKey::new(Collection::KeyHashes, hash.as_str())
}
