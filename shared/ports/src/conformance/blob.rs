//! Checks of [`BlobStore`].

use std::sync::Arc;

use bytes::Bytes;
use oscillink_domain::Sha256Hex;

use super::{Keep, unique};
use crate::{BlobStore, PortError};

/// A blob store to check.
pub struct BlobFixture {
    /// The store; it may hold other blobs.
    pub blobs: Arc<dyn BlobStore>,
    /// Kept until the check has ended.
    pub keep: Keep,
}

/// Every check of this suite.
pub const CHECKS: &[&str] = &[
    "reads_back_what_was_created",
    "create_never_replaces",
    "of_many_creates_one_wins",
    "unknown_names_are_not_found",
    "ranges_are_cut_at_the_end",
    "lists_in_byte_order",
    "lists_in_pages",
    "deletes_are_idempotent",
    "folders_come_and_go",
    "long_names_are_allowed",
    "invalid_names_are_refused",
    "answers_a_check",
];

fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n * 31 % 251) as u8).collect()
}

async fn put(blobs: &Arc<dyn BlobStore>, name: &str) {
    let created = blobs.create(name, Bytes::from(name.to_owned())).await;
    created.unwrap_or_else(|error| panic!("create {name}: {error}"));
}

/// All bytes come back, whatever their number.
pub async fn reads_back_what_was_created(fixture: &BlobFixture) {
    let base = unique("read");
    for len in [0, 1, 4_095, 4_096, 100_000, 5_000_000] {
        let (name, bytes) = (format!("{base}/blob-{len}.bin"), pattern(len));
        fixture.blobs.create(&name, bytes.clone()).await.unwrap();
        let read = fixture.blobs.get(&name).await.unwrap();
        assert_eq!(read.len(), len);
        assert_eq!(Sha256Hex::of(&read), Sha256Hex::of(&bytes));
    }
}

/// A second create of a name fails and leaves the first content.
pub async fn create_never_replaces(fixture: &BlobFixture) {
    let name = unique("once");
    let first = Bytes::from_static(b"first");
    fixture.blobs.create(&name, first.clone()).await.unwrap();
    for other in [first.clone(), Bytes::from_static(b"second"), Bytes::new()] {
        let again = fixture.blobs.create(&name, other).await;
        assert!(
            matches!(again, Err(PortError::AlreadyExists { .. })),
            "{again:?}"
        );
    }
    assert_eq!(fixture.blobs.get(&name).await.unwrap(), first);
}

/// Of several creates of a name at once exactly one succeeds, and its bytes are there.
pub async fn of_many_creates_one_wins(fixture: &BlobFixture) {
    let name = unique("race/to");
    let tasks: Vec<_> = (0..16u8)
        .map(|n| {
            let (blobs, name) = (Arc::clone(&fixture.blobs), name.clone());
            let bytes = Bytes::from(vec![n; 10_000]);
            tokio::spawn(async move { blobs.create(&name, bytes.clone()).await.map(|()| bytes) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(bytes) => winners.push(bytes),
            Err(PortError::AlreadyExists { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(fixture.blobs.get(&name).await.unwrap(), winners[0]);
}

/// `get` and `get_range` say so when there is nothing.
pub async fn unknown_names_are_not_found(fixture: &BlobFixture) {
    let base = unique("unknown");
    put(&fixture.blobs, &format!("{base}/there")).await;
    for name in [
        base.clone(),
        format!("{base}/ther"),
        format!("{base}/there/x"),
    ] {
        let got = fixture.blobs.get(&name).await;
        assert!(
            matches!(got, Err(PortError::NotFound { .. })),
            "{name}: {got:?}"
        );
        let got = fixture.blobs.get_range(&name, 0..1).await;
        assert!(
            matches!(got, Err(PortError::NotFound { .. })),
            "{name}: {got:?}"
        );
    }
}

/// A range gives its bytes, fewer at the end, none behind it.
pub async fn ranges_are_cut_at_the_end(fixture: &BlobFixture) {
    let (name, empty) = (unique("range"), unique("range-empty"));
    let bytes = pattern(10_000);
    fixture.blobs.create(&name, bytes.clone()).await.unwrap();
    fixture.blobs.create(&empty, Bytes::new()).await.unwrap();
    for (start, end) in [
        (0u64, 10_000u64),
        (0, 1),
        (5_000, 5_010),
        (9_999, 10_000),
        (9_990, 20_000),
        (9_990, u64::MAX),
        (10_000, 10_001),
        (20_000, 30_000),
        (7, 7),
        (10_000, 10_000),
    ] {
        let (from, to) = (start.min(10_000) as usize, end.min(10_000) as usize);
        let got = fixture.blobs.get_range(&name, start..end).await;
        let got = got.unwrap_or_else(|error| panic!("{start}..{end}: {error}"));
        assert_eq!(got, bytes.slice(from..to), "{start}..{end}");
        assert!(
            fixture
                .blobs
                .get_range(&empty, start..end)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

/// Names come in ascending byte order, those and only those that begin with the prefix.
pub async fn lists_in_byte_order(fixture: &BlobFixture) {
    let base = unique("order");
    // `-` and `.` sort before `/`, digits and letters behind it; a name may also be a folder.
    let mut names: Vec<String> = [
        "a", "a-b", "a.b", "a.b/c", "a/b", "a/b/c", "a/b-c", "a0", "ab", "b", "B", "a_b", "a/0",
    ]
    .iter()
    .map(|name| format!("{base}/{name}"))
    .collect();
    for name in &names {
        put(&fixture.blobs, name).await;
    }
    names.sort_unstable();
    for prefix in ["", "/", "/a", "/a/", "/a/b", "/a.", "/b", "/zzz", "/a/b/c"] {
        let prefix = format!("{base}{prefix}");
        let expected: Vec<&String> = names.iter().filter(|n| n.starts_with(&prefix)).collect();
        let listed = fixture.blobs.list(&prefix, None, 100).await.unwrap();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{prefix}");
    }
}

/// `after` continues behind a name, whether or not it exists, and `limit` bounds a page.
pub async fn lists_in_pages(fixture: &BlobFixture) {
    let base = unique("pages");
    let mut names = Vec::new();
    for n in 0..7 {
        for part in ["", "/x", "/y/z"] {
            names.push(format!("{base}/{n}{part}"));
        }
    }
    names.sort_unstable();
    for name in &names {
        put(&fixture.blobs, name).await;
    }
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = fixture
            .blobs
            .list(&base, after.as_deref(), 4)
            .await
            .unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page);
    }
    assert_eq!(seen, names);
    for after in [
        format!("{base}/2/"),
        format!("{base}/3/x/none"),
        base.clone(),
    ] {
        let expected: Vec<&String> = names.iter().filter(|n| **n > after).collect();
        let listed = fixture.blobs.list(&base, Some(&after), 100).await.unwrap();
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{after}");
    }
    let none = fixture.blobs.list(&base, None, 0).await.unwrap();
    assert!(none.is_empty());
}

/// A deleted blob is gone; deleting it again succeeds; its name is free.
pub async fn deletes_are_idempotent(fixture: &BlobFixture) {
    let name = unique("gone/or-not");
    fixture.blobs.delete(&name).await.unwrap();
    put(&fixture.blobs, &name).await;
    fixture.blobs.delete(&name).await.unwrap();
    fixture.blobs.delete(&name).await.unwrap();
    let got = fixture.blobs.get(&name).await;
    assert!(matches!(got, Err(PortError::NotFound { .. })), "{got:?}");
    assert!(
        fixture
            .blobs
            .list(&name, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    put(&fixture.blobs, &name).await;
}

/// Blobs that come and go in one place do not get into each other's way.
pub async fn folders_come_and_go(fixture: &BlobFixture) {
    let base = unique("churn");
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (blobs, base) = (Arc::clone(&fixture.blobs), base.clone());
            tokio::spawn(async move {
                for round in 0..10 {
                    let name = format!("{base}/shared/deep/{n}-{round}");
                    put(&blobs, &name).await;
                    assert_eq!(blobs.get(&name).await.unwrap(), name.as_bytes());
                    blobs.delete(&name).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(
        fixture
            .blobs
            .list(&base, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

/// The longest segment and the longest name work.
pub async fn long_names_are_allowed(fixture: &BlobFixture) {
    let base = unique("long");
    let segment = "s".repeat(crate::MAX_BLOB_SEGMENT_LEN);
    let mut long = format!("{base}/{segment}/{segment}/");
    long.push_str(&"t".repeat(crate::MAX_BLOB_NAME_LEN - long.len()));
    for name in [format!("{base}/{segment}"), long] {
        put(&fixture.blobs, &name).await;
        assert_eq!(fixture.blobs.get(&name).await.unwrap(), name.as_bytes());
    }
    let listed = fixture.blobs.list(&base, None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
}

/// Names outside the port's rules are refused by every operation.
pub async fn invalid_names_are_refused(fixture: &BlobFixture) {
    let long = "x".repeat(crate::MAX_BLOB_SEGMENT_LEN + 1);
    for name in [
        "", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.", "a b", "a\\b", "a\0", "ä",
        "a=", "a~", &long,
    ] {
        let refused = |what: &str, result: Result<(), PortError>| {
            assert!(
                matches!(result, Err(PortError::Refused { .. })),
                "{what} {name:?}: {result:?}"
            );
        };
        let blobs = &fixture.blobs;
        refused("create", blobs.create(name, Bytes::new()).await);
        refused("get", blobs.get(name).await.map(|_| ()));
        refused("get_range", blobs.get_range(name, 0..1).await.map(|_| ()));
        refused("delete", blobs.delete(name).await);
    }
}

/// `check` succeeds while the store works.
pub async fn answers_a_check(fixture: &BlobFixture) {
    fixture.blobs.check().await.unwrap();
}
