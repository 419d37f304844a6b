//! Checks of transactions: atomic, isolated, never lost.

use std::collections::BTreeSet;

use oscillink_domain::Sha256Hex;

use super::*;

/// If one write cannot be done, none is, wherever it stands among them.
pub async fn transactions_are_all_or_nothing(fixture: &StoreFixture) {
    for place in 0..3 {
        let (taken, put, created, deleted) = (new_key(), new_key(), new_key(), new_key());
        write(
            &fixture.store,
            vec![
                Write::Create(taken.clone(), json!({"n": 0}).into()),
                Write::Create(put.clone(), json!({"n": 0}).into()),
                Write::Create(deleted.clone(), json!({"n": 0}).into()),
            ],
        )
        .await
        .unwrap();
        let mut writes = vec![
            Write::Put(put.clone(), json!({"n": 1}).into()),
            Write::Create(created.clone(), json!({"n": 1}).into()),
            Write::Delete(deleted.clone()),
        ];
        writes.insert(place, Write::Create(taken.clone(), json!({"n": 1}).into()));
        let failed = write(&fixture.store, writes).await;
        assert!(
            matches!(failed, Err(PortError::AlreadyExists { .. })),
            "{failed:?}"
        );
        for key in [&taken, &put, &deleted] {
            let found = fixture.store.get(key).await.unwrap();
            assert_eq!(found, Some(json!({"n": 0})), "{key}");
        }
        assert_eq!(fixture.store.get(&created).await.unwrap(), None);
    }
}

/// A decision sees the documents that exist, in all collections, and only those it asked for.
pub async fn decisions_see_what_they_read(fixture: &StoreFixture) {
    let id = unique("seen");
    let keys: Vec<DocKey> = Collection::ALL
        .into_iter()
        .map(|collection| DocKey::new(collection, id.clone()))
        .collect();
    let other = new_key();
    let mut writes: Vec<Write> = keys
        .iter()
        .skip(1)
        .map(|key| Write::Create(key.clone(), json!({"at": key.to_string()}).into()))
        .collect();
    writes.push(Write::Create(other.clone(), json!({}).into()));
    write(&fixture.store, writes).await.unwrap();
    let asked = keys.clone();
    let seen = fixture
        .store
        .transaction(keys.clone(), move |snapshot| {
            let seen: Vec<Option<Value>> = asked
                .iter()
                .map(|key| snapshot.get(key))
                .collect::<Result<_, _>>()?;
            let unasked: Option<Value> = snapshot.get(&other)?;
            Ok::<_, TxError<PortError>>((Vec::new(), (seen, unasked)))
        })
        .await
        .unwrap();
    assert_eq!(seen.1, None);
    assert_eq!(seen.0[0], None);
    for (key, found) in keys.iter().zip(seen.0).skip(1) {
        assert_eq!(found, Some(json!({"at": key.to_string()})));
    }
}

/// A decision that refuses, or writes nothing, leaves everything as it was.
pub async fn refused_decisions_write_nothing(fixture: &StoreFixture) {
    let key = new_key();
    write(
        &fixture.store,
        vec![Write::Create(key.clone(), json!({"n": 1}).into())],
    )
    .await
    .unwrap();
    let refused = fixture
        .store
        .transaction(vec![key.clone()], |_| {
            Err::<(Vec<Write>, ()), _>(TxError::Refused("no"))
        })
        .await;
    assert!(matches!(refused, Err(TxError::Refused("no"))));
    let nothing = fixture
        .store
        .transact(vec![key.clone()], Arc::new(|_| Vec::new()))
        .await;
    nothing.unwrap();
    assert_eq!(
        fixture.store.get(&key).await.unwrap(),
        Some(json!({"n": 1}))
    );
}

async fn add(store: &Arc<dyn Store>, key: &DocKey, amount: i64) -> i64 {
    let target = key.clone();
    store
        .transaction(vec![key.clone()], move |snapshot| {
            let document: Option<Value> = snapshot.get(&target)?;
            let before = document.and_then(|d| d["n"].as_i64()).unwrap_or(0);
            let after = before + amount;
            let write = Write::Put(target.clone(), json!({"n": after}).into());
            Ok::<_, TxError<PortError>>((vec![write], after))
        })
        .await
        .unwrap()
}

/// Callers that all add to one document: every addition counts, each sees another sum.
pub async fn concurrent_increments_lose_none(fixture: &StoreFixture) {
    const ROUNDS: usize = 5;
    let key = new_key();
    let tasks: Vec<_> = (0..fixture.hot_writers)
        .map(|_| {
            let (store, key) = (Arc::clone(&fixture.store), key.clone());
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..ROUNDS {
                    seen.push(add(&store, &key, 1).await);
                }
                seen
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        seen.extend(task.await.unwrap());
    }
    let total = (fixture.hot_writers * ROUNDS) as i64;
    assert_eq!(seen, (1..=total).collect(), "answers of the last decision");
    let found = fixture.store.get(&key).await.unwrap();
    assert_eq!(found, Some(json!({"n": total})));
}

/// Two transactions that read two documents and each change one cannot both have seen the old pair.
pub async fn write_skew_is_impossible(fixture: &StoreFixture) {
    async fn give_up(store: Arc<dyn Store>, own: DocKey, other: DocKey) {
        let reads = vec![own.clone(), other.clone()];
        store
            .transaction(reads, move |snapshot| {
                let on_duty = |key: &DocKey| -> Result<bool, PortError> {
                    Ok(snapshot
                        .get::<Value>(key)?
                        .is_some_and(|d| d["on_duty"] == json!(true)))
                };
                let mut writes = Vec::new();
                if on_duty(&own)? && on_duty(&other)? {
                    writes.push(Write::Put(own.clone(), json!({"on_duty": false}).into()));
                }
                Ok::<_, TxError<PortError>>((writes, ()))
            })
            .await
            .unwrap();
    }
    for _ in 0..20 {
        let (a, b) = (new_key(), new_key());
        let on = json!({"on_duty": true});
        let both = vec![
            Write::Create(a.clone(), on.clone().into()),
            Write::Create(b.clone(), on.clone().into()),
        ];
        write(&fixture.store, both).await.unwrap();
        let first = tokio::spawn(give_up(Arc::clone(&fixture.store), a.clone(), b.clone()));
        let second = tokio::spawn(give_up(Arc::clone(&fixture.store), b.clone(), a.clone()));
        first.await.unwrap();
        second.await.unwrap();
        let mut left = 0;
        for key in [&a, &b] {
            left += usize::from(fixture.store.get(key).await.unwrap() == Some(on.clone()));
        }
        assert_eq!(left, 1, "exactly one stays on duty");
    }
}

/// Transfers between several documents at once never make or lose anything, and a transaction that
/// reads them all always sees the same sum.
pub async fn concurrent_transfers_keep_the_sum(fixture: &StoreFixture) {
    const ACCOUNTS: usize = 8;
    const EACH: i64 = 100;
    let accounts: Vec<DocKey> = (0..ACCOUNTS).map(|_| new_key()).collect();
    let opening = accounts
        .iter()
        .map(|key| Write::Create(key.clone(), json!({"n": EACH}).into()))
        .collect();
    write(&fixture.store, opening).await.unwrap();
    let tasks: Vec<_> = (0..fixture.hot_writers)
        .map(|n| {
            let (store, accounts) = (Arc::clone(&fixture.store), accounts.clone());
            tokio::spawn(async move {
                let digest = Sha256Hex::of(&n.to_le_bytes());
                let digits: Vec<usize> = digest
                    .as_str()
                    .bytes()
                    .map(|b| usize::from(b) % ACCOUNTS)
                    .collect();
                let from = accounts[digits[0]].clone();
                let to = accounts[(digits[0] + 1 + digits[1] % (ACCOUNTS - 1)) % ACCOUNTS].clone();
                transfer(&store, from, to, (n % 7) as i64 + 1).await;
                assert_eq!(total(&store, &accounts).await, EACH * ACCOUNTS as i64);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        total(&fixture.store, &accounts).await,
        EACH * ACCOUNTS as i64
    );
}

async fn transfer(store: &Arc<dyn Store>, from: DocKey, to: DocKey, amount: i64) {
    store
        .transaction(vec![from.clone(), to.clone()], move |snapshot| {
            let balance = |key: &DocKey| -> Result<i64, PortError> {
                let document: Option<Value> = snapshot.get(key)?;
                Ok(document.and_then(|d| d["n"].as_i64()).unwrap_or(0))
            };
            let writes = vec![
                Write::Put(from.clone(), json!({"n": balance(&from)? - amount}).into()),
                Write::Put(to.clone(), json!({"n": balance(&to)? + amount}).into()),
            ];
            Ok::<_, TxError<PortError>>((writes, ()))
        })
        .await
        .unwrap();
}

async fn total(store: &Arc<dyn Store>, accounts: &[DocKey]) -> i64 {
    let keys = accounts.to_vec();
    store
        .transaction(accounts.to_vec(), move |snapshot| {
            let mut sum = 0;
            for key in &keys {
                let document: Option<Value> = snapshot.get(key)?;
                sum += document.and_then(|d| d["n"].as_i64()).unwrap_or(0);
            }
            Ok::<_, TxError<PortError>>((Vec::new(), sum))
        })
        .await
        .unwrap()
}

/// Of several creates of a document at once exactly one succeeds.
pub async fn of_many_creates_one_wins(fixture: &StoreFixture) {
    let key = new_key();
    let tasks: Vec<_> = (0..fixture.hot_writers)
        .map(|n| {
            let (store, key) = (Arc::clone(&fixture.store), key.clone());
            tokio::spawn(async move {
                let created = write(&store, vec![Write::Create(key, json!({"n": n}).into())]).await;
                created.map(|()| n)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(n) => winners.push(n),
            Err(PortError::AlreadyExists { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let found = fixture.store.get(&key).await.unwrap();
    assert_eq!(found, Some(json!({"n": winners[0]})));
}
