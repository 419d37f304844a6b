//! Pairing: who started a checkout fetches the key when it is paid. The key is shown once; the store
//! has digests of code and key only.

use oscillink_domain::billing::{Account, Pairing, PairingCode, session_pointer_id};
use oscillink_domain::event::Topic;
use oscillink_domain::key::KeySecret;
use oscillink_domain::outbox::OutboxEntry;
use oscillink_domain::{ApiKey, KeyId, KeyRecord, KeyStatus, Tier, Timestamp};
use oscillink_ports::{Collection, DocKey, PortError, Snapshot, StoreExt, TxError, Write};
use serde::{Deserialize, Serialize};

use super::{BillingError, account_key};
use crate::Engine;
use crate::finish::event_id;
use crate::keys::{IssuedKey, KeyHashDocument, change_event, hash_key, record_key};

/// How long a checkout can be paid and its key be fetched; Stripe ends its sessions after a day.
const PAIRING_MS: i64 = 2 * 24 * 3_600 * 1_000;
/// Tries of the transaction that shows a key, when its outcome is not known.
const CLAIM_TRIES: u32 = 3;

/// What asking for the key gave.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// It is not paid yet.
    Waiting,
    /// The key with its secret, this once.
    Key(Box<IssuedKey>),
    /// The caller's own key has its new tier.
    Upgraded(Box<KeyRecord>),
    /// The key was shown before.
    AlreadyShown,
    /// There is no such pairing, or it was forgotten.
    Unknown,
}

/// From a checkout session to its pairing.
#[derive(Serialize, Deserialize)]
struct SessionPointer {
    pairing: String,
    expires_at: Timestamp,
}

impl Engine {
    /// A new pairing, not stored yet: the checkout comes first. Without `existing` it is for a new
    /// key, whose id is decided here, so that messages about the subscription find it in any order.
    #[must_use]
    pub fn new_pairing(
        &self,
        existing: Option<KeyId>,
        for_cli: bool,
        tier: Tier,
    ) -> (PairingCode, Pairing) {
        let entropy = &self.inner.ports.entropy;
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        let code = PairingCode::from_random(bytes);
        let now = self.now();
        let pairing = Pairing {
            id: code.pairing_id(),
            existing: existing.is_some(),
            key_id: existing.unwrap_or_else(|| KeyId::from_random(entropy.id_bytes())),
            for_cli,
            tier,
            session: None,
            created_at: now,
            expires_at: now.plus_millis(PAIRING_MS),
            claimed_at: None,
        };
        (code, pairing)
    }

    /// Stores a pairing with the checkout session that was made for it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn save_pairing(&self, pairing: Pairing, session: &str) -> Result<(), BillingError> {
        let pointer_key = content_key(&session_pointer_id(session));
        self.store()
            .transaction::<_, BillingError>(Vec::new(), move |_| {
                let pointer = SessionPointer {
                    pairing: pairing.id.clone(),
                    expires_at: pairing.expires_at,
                };
                let writes = vec![
                    Write::put(content_key(&pairing.id), &pairing)?,
                    Write::put(pointer_key.clone(), &pointer)?,
                ];
                Ok((writes, ()))
            })
            .await
            .map_err(BillingError::from)
    }

    /// The pairing of a code.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pairing(&self, code: &PairingCode) -> Result<Option<Pairing>, PortError> {
        self.pairing_by_id(&code.pairing_id()).await
    }

    /// The pairing of a checkout session.
    ///
    /// # Errors
    /// The store failed.
    pub async fn pairing_of_session(&self, session: &str) -> Result<Option<Pairing>, PortError> {
        let pointer_key = content_key(&session_pointer_id(session));
        let Some(pointer) = self.store().fetch::<SessionPointer>(&pointer_key).await? else {
            return Ok(None);
        };
        self.pairing_by_id(&pointer.pairing).await
    }

    async fn pairing_by_id(&self, id: &str) -> Result<Option<Pairing>, PortError> {
        let found: Option<Pairing> = self.store().fetch(&content_key(id)).await?;
        Ok(found.filter(|pairing| self.now() < pairing.expires_at))
    }

    /// Fetches the key of a pairing: its secret is made now and shown once.
    ///
    /// # Errors
    /// The store failed.
    pub async fn claim_pairing(&self, pairing: &Pairing) -> Result<Claimed, BillingError> {
        let secret = self.new_secret();
        let mut tries = 1;
        loop {
            // After an unknown outcome the same secret is tried again: if it is in place, it is shown.
            match self.claim_with(pairing, secret.clone()).await {
                Err(BillingError::Port(error)) if error.is_transient() && tries < CLAIM_TRIES => {
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    async fn claim_with(&self, pairing: &Pairing, secret: ApiKey) -> Result<Claimed, BillingError> {
        let pairing_key = content_key(&pairing.id);
        let key_id = pairing.key_id.clone();
        let reads = vec![
            pairing_key.clone(),
            account_key(&key_id),
            record_key(&key_id),
        ];
        let now = self.now();
        let source = self.config().source.clone();
        let claimed = self
            .store()
            .transaction(reads, move |snapshot| {
                decide(snapshot, &pairing_key, &key_id, &secret, now, &source)
            })
            .await
            .map_err(BillingError::from)?;
        self.inner.outbox_changed.notify();
        Ok(claimed)
    }
}

fn decide(
    snapshot: &Snapshot,
    pairing_key: &DocKey,
    key_id: &KeyId,
    secret: &ApiKey,
    now: Timestamp,
    source: &str,
) -> Result<(Vec<Write>, Claimed), TxError<BillingError>> {
    let nothing = |claimed| Ok((Vec::new(), claimed));
    let Some(mut pairing) = snapshot.get::<Pairing>(pairing_key)? else {
        return nothing(Claimed::Unknown);
    };
    let account = snapshot.get::<Account>(&account_key(key_id))?;
    let key = snapshot.get::<KeyRecord>(&record_key(key_id))?;
    let (Some(account), Some(mut key)) = (account, key) else {
        return nothing(Claimed::Waiting);
    };
    let hash = secret.hash();
    if pairing.claimed_at.is_some() {
        let own = key.secrets.iter().any(|known| known.hash == hash);
        return nothing(if own {
            shown(key, secret)
        } else {
            Claimed::AlreadyShown
        });
    }
    if !account.pays() || key.status == KeyStatus::Revoked {
        return nothing(Claimed::Waiting);
    }
    pairing.claimed_at = Some(now);
    let mut writes = vec![Write::put(pairing_key.clone(), &pairing)?];
    if pairing.existing {
        return Ok((writes, Claimed::Upgraded(Box::new(key))));
    }
    let newest = KeySecret {
        hash: hash.clone(),
        expires_at: None,
    };
    key.secrets.insert(0, newest);
    key.updated_at = now;
    let owner = KeyHashDocument {
        key_id: key_id.clone(),
    };
    writes.push(Write::put(hash_key(&hash), &owner)?);
    let tag = key.next_event_tag(now);
    writes.push(Write::put(record_key(key_id), &key)?);
    let id = event_id(&["billing", key_id.as_str(), "shown"]);
    let event = change_event(&key, id.clone(), now, source);
    let events = vec![(Topic::EntitlementEvents, event)];
    let entry = OutboxEntry::announce(id.as_str().to_owned(), key_id.as_str(), events, tag, now);
    writes.push(Write::put(
        DocKey::new(Collection::Outbox, &entry.id),
        &entry,
    )?);
    Ok((writes, shown(key, secret)))
}

fn shown(record: KeyRecord, secret: &ApiKey) -> Claimed {
    Claimed::Key(Box::new(IssuedKey {
        record,
        secret: secret.clone(),
    }))
}

/// Pairings are kept with what expires by itself.
fn content_key(id: &str) -> DocKey {
    DocKey::new(Collection::Contents, id)
}
