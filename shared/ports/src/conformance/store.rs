//! Checks of [`Store`](crate::Store).

mod queries;
mod transactions;

use std::sync::Arc;

use serde_json::{Value, json};

pub use queries::*;
pub use transactions::*;

use super::{Keep, unique};
use crate::{
    Collection, DocKey, MAX_DOCUMENT_BYTES, MAX_TRANSACTION_WRITES, PortError, Store, StoreExt,
    TxError, Write,
};

/// A document store to check.
pub struct StoreFixture {
    /// The store; it may hold other documents.
    pub store: Arc<dyn Store>,
    /// How many callers at once change one document: fewer where such conflicts cost much.
    pub hot_writers: usize,
    /// Kept until the check has ended.
    pub keep: Keep,
}

/// Every check of this suite.
pub const CHECKS: &[&str] = &[
    "documents_read_back_as_written",
    "absent_documents_are_none",
    "create_refuses_an_existing_document",
    "put_creates_and_replaces",
    "delete_removes_and_tolerates_absence",
    "answers_a_check",
    "ids_follow_the_rules",
    "documents_follow_the_rules",
    "transactions_hold_many_writes",
    "transactions_are_all_or_nothing",
    "decisions_see_what_they_read",
    "refused_decisions_write_nothing",
    "concurrent_increments_lose_none",
    "write_skew_is_impossible",
    "concurrent_transfers_keep_the_sum",
    "of_many_creates_one_wins",
    "every_composite_index_is_queried",
    "ranges_bound_the_order_field",
    "documents_without_the_field_do_not_match",
    "pages_continue_among_equal_values",
    "counts_stop_at_the_limit",
    "queries_see_completed_transactions",
    "queries_without_an_index_are_refused",
];

/// Runs writes that depend on nothing.
pub(super) async fn write(store: &Arc<dyn Store>, writes: Vec<Write>) -> Result<(), PortError> {
    store
        .transact(Vec::new(), Arc::new(move |_| writes.clone()))
        .await
}

fn key(id: &str) -> DocKey {
    DocKey::new(Collection::Customers, id)
}

fn new_key() -> DocKey {
    key(&unique("doc"))
}

/// Every kind of JSON value comes back equal; numbers to the last bit.
pub async fn documents_read_back_as_written(fixture: &StoreFixture) {
    let body = json!({
        "text": "ünïcode \u{1F980} \"quoted\" \\ \n \u{0} end",
        "empty": "",
        "integers": [0, -1, i64::MAX, i64::MIN, 1_767_225_599_123i64],
        "floats": [0.1, 1.0e-300, 123_456.789, 0.30000000000000004, 5.0e-324, 1.7976931348623157e308],
        "booleans": [true, false],
        "null": null,
        "nested": {"a": {"b": [{"c": {}}]}, "list": [[1, "x"], []]},
        "2026-01": {"0": 1, "a.b/c d": 2},
        "created_at": 5,
        "long": "x".repeat(100_000),
    });
    let key = new_key();
    write(
        &fixture.store,
        vec![Write::Create(key.clone(), body.clone().into())],
    )
    .await
    .unwrap();
    assert_eq!(fixture.store.get(&key).await.unwrap(), Some(body));
}

/// A document that was never written is not there.
pub async fn absent_documents_are_none(fixture: &StoreFixture) {
    assert_eq!(fixture.store.get(&new_key()).await.unwrap(), None);
}

/// Creating a document that exists fails and changes nothing.
pub async fn create_refuses_an_existing_document(fixture: &StoreFixture) {
    let key = new_key();
    let create = |n: i64| {
        write(
            &fixture.store,
            vec![Write::Create(key.clone(), json!({"n": n}).into())],
        )
    };
    create(1).await.unwrap();
    let again = create(2).await;
    assert!(
        matches!(again, Err(PortError::AlreadyExists { .. })),
        "{again:?}"
    );
    assert_eq!(
        fixture.store.get(&key).await.unwrap(),
        Some(json!({"n": 1}))
    );
}

/// Put writes whether or not the document exists, and leaves nothing of the old one.
pub async fn put_creates_and_replaces(fixture: &StoreFixture) {
    let key = new_key();
    for body in [json!({"a": 1}), json!({"b": 2}), json!({})] {
        write(
            &fixture.store,
            vec![Write::Put(key.clone(), body.clone().into())],
        )
        .await
        .unwrap();
        assert_eq!(fixture.store.get(&key).await.unwrap(), Some(body));
    }
}

/// A deleted document is gone and can be created anew; deleting nothing succeeds.
pub async fn delete_removes_and_tolerates_absence(fixture: &StoreFixture) {
    let key = new_key();
    let (create, delete) = (
        vec![Write::Create(key.clone(), json!({"n": 1}).into())],
        vec![Write::Delete(key.clone())],
    );
    write(&fixture.store, delete.clone()).await.unwrap();
    write(&fixture.store, create.clone()).await.unwrap();
    write(&fixture.store, delete.clone()).await.unwrap();
    assert_eq!(fixture.store.get(&key).await.unwrap(), None);
    write(&fixture.store, delete).await.unwrap();
    write(&fixture.store, create).await.unwrap();
}

/// `check` succeeds while the store works.
pub async fn answers_a_check(fixture: &StoreFixture) {
    fixture.store.check().await.unwrap();
}

/// Ids of the allowed form work, others are refused by reads and writes.
pub async fn ids_follow_the_rules(fixture: &StoreFixture) {
    let run = unique("id");
    let mut longest = format!("{run}-");
    longest.push_str(&"x".repeat(200 - longest.len()));
    for good in [longest.as_str(), &format!("A.b_c-9.{run}")] {
        let key = key(good);
        write(
            &fixture.store,
            vec![Write::Put(key.clone(), json!({"a": 1}).into())],
        )
        .await
        .unwrap();
        assert!(fixture.store.get(&key).await.unwrap().is_some(), "{good}");
    }
    for bad in ["", "a/b", "a b", "ä", "a\0", "a'b", &"x".repeat(201)] {
        let key = key(bad);
        let got = fixture.store.get(&key).await;
        assert!(
            matches!(got, Err(PortError::Refused { .. })),
            "{bad:?}: {got:?}"
        );
        let put = write(
            &fixture.store,
            vec![Write::Put(key.clone(), json!({}).into())],
        )
        .await;
        assert!(
            matches!(put, Err(PortError::Refused { .. })),
            "{bad:?}: {put:?}"
        );
        let read = fixture
            .store
            .transact(vec![key], Arc::new(|_| Vec::new()))
            .await;
        assert!(
            matches!(read, Err(PortError::Refused { .. })),
            "{bad:?}: {read:?}"
        );
    }
}

/// Documents are objects, and as large as the port allows but not larger.
pub async fn documents_follow_the_rules(fixture: &StoreFixture) {
    let with_bytes = |bytes: usize| {
        let frame = json!({"t": ""}).to_string().len();
        json!({"t": "x".repeat(bytes - frame)})
    };
    let largest = with_bytes(MAX_DOCUMENT_BYTES);
    assert_eq!(largest.to_string().len(), MAX_DOCUMENT_BYTES);
    let key = new_key();
    write(
        &fixture.store,
        vec![Write::Put(key.clone(), largest.clone().into())],
    )
    .await
    .unwrap();
    assert!(fixture.store.get(&key).await.unwrap() == Some(largest));
    let too_large = with_bytes(MAX_DOCUMENT_BYTES + 1);
    for bad in [too_large, json!([1]), json!("text"), Value::Null] {
        let put = write(&fixture.store, vec![Write::Put(new_key(), bad.into())]).await;
        assert!(matches!(put, Err(PortError::Refused { .. })), "{put:?}");
    }
}

/// As many writes as the port allows are one transaction; one more is refused.
pub async fn transactions_hold_many_writes(fixture: &StoreFixture) {
    let base = unique("many");
    let writes = |count: usize| -> Vec<Write> {
        (0..count)
            .map(|n| Write::Put(key(&format!("{base}-{count}-{n}")), json!({"n": n}).into()))
            .collect()
    };
    write(&fixture.store, writes(MAX_TRANSACTION_WRITES))
        .await
        .unwrap();
    let last = key(&format!(
        "{base}-{MAX_TRANSACTION_WRITES}-{}",
        MAX_TRANSACTION_WRITES - 1
    ));
    assert!(fixture.store.get(&last).await.unwrap().is_some());
    let more = write(&fixture.store, writes(MAX_TRANSACTION_WRITES + 1)).await;
    assert!(matches!(more, Err(PortError::Refused { .. })), "{more:?}");
    let first = key(&format!("{base}-{}-0", MAX_TRANSACTION_WRITES + 1));
    assert_eq!(fixture.store.get(&first).await.unwrap(), None);
}
