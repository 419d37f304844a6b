//! The data folder: who may read it, who may open it, what an unusable one says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use oscillink_adapters::embedded::{self, EmbeddedError, FolderBlobs};
use oscillink_ports::{BlobStore, OsClock, PortError, Store};
use serde_json::json;

use crate::scene::{Folder, key, put};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        }
        found.push(path);
    }
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let folder = Folder::new();
    let opened = folder.open();
    put(&*opened.store, vec![(key("a"), json!({}))])
        .await
        .unwrap();
    let bytes = Bytes::from_static(b"secret");
    opened.blobs.create("some/where", bytes).await.unwrap();
    let mut found = vec![folder.config.data_dir.clone()];
    files_below(&folder.config.data_dir, &mut found);
    assert!(found.len() > 8, "{found:?}");
    for path in found {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[tokio::test]
async fn one_server_at_a_time() {
    let folder = Folder::new();
    let first = folder.open();
    let second = embedded::open(&folder.config, Arc::new(OsClock));
    let error = second.err().expect("the folder is taken");
    assert!(matches!(error, EmbeddedError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("served by another process"));
    let kept = first.store.clone();
    drop(first);
    assert!(
        embedded::open(&folder.config, Arc::new(OsClock)).is_err(),
        "what is left of a server still holds the folder"
    );
    drop(kept);
    drop(folder.open());
    drop(folder.open());
}

#[tokio::test]
async fn documents_can_be_opened_beside_the_server() {
    let folder = Folder::new();
    let server = folder.open();
    let beside = embedded::open_store_only(&folder.config).unwrap();
    put(&*server.store, vec![(key("a"), json!({"by": "server"}))])
        .await
        .unwrap();
    assert_eq!(
        beside.get(&key("a")).await.unwrap(),
        Some(json!({"by": "server"}))
    );
    // Both change documents that the other one has read before.
    for n in 0..50 {
        put(&beside, vec![(key("a"), json!({"n": n}))])
            .await
            .unwrap();
        assert_eq!(
            server.store.get(&key("a")).await.unwrap(),
            Some(json!({"n": n}))
        );
        put(&*server.store, vec![(key("a"), json!({"n": -n}))])
            .await
            .unwrap();
        assert_eq!(beside.get(&key("a")).await.unwrap(), Some(json!({"n": -n})));
    }
    drop(beside);
    put(&*server.store, vec![(key("b"), json!({}))])
        .await
        .unwrap();
    drop(server);
    assert!(folder.open().store.get(&key("b")).await.unwrap().is_some());
}

/// Two openings of one file, as a server and a command would have it, raise one counter together.
#[tokio::test(flavor = "multi_thread")]
async fn increments_from_two_sides_all_count() {
    const EACH: i64 = 200;
    let folder = Folder::new();
    let server: Arc<dyn Store> = folder.open().store;
    let beside: Arc<dyn Store> = Arc::new(embedded::open_store_only(&folder.config).unwrap());
    let tasks: Vec<_> = [server.clone(), beside]
        .into_iter()
        .flat_map(|store| std::iter::repeat_n(store, 4))
        .map(|store| {
            tokio::spawn(async move {
                for _ in 0..EACH {
                    let decide = |snapshot: &oscillink_ports::Snapshot| {
                        let before: Option<i64> = snapshot
                            .get::<serde_json::Value>(&key("counter"))
                            .unwrap()
                            .and_then(|d| d["n"].as_i64());
                        let body = json!({"n": before.unwrap_or(0) + 1});
                        vec![oscillink_ports::Write::Put(key("counter"), body.into())]
                    };
                    let reads = vec![key("counter")];
                    store.transact(reads, Arc::new(decide)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let counter = server.get(&key("counter")).await.unwrap();
    assert_eq!(counter, Some(json!({"n": 8 * EACH})));
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.config.data_dir).unwrap();
    fs::write(folder.database(), "this is not a database".repeat(1_000)).unwrap();
    let error = embedded::open(&folder.config, Arc::new(OsClock))
        .err()
        .expect("not a database");
    assert!(matches!(error, EmbeddedError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("oscillink.db"), "{error}");
    assert!(matches!(PortError::from(error), PortError::Corrupt { .. }));
}

#[tokio::test]
async fn damage_inside_is_an_error_and_no_panic() {
    let folder = Folder::new();
    let opened = folder.open();
    for n in 0..200 {
        let body = json!({"text": "x".repeat(2_000), "n": n});
        put(&*opened.store, vec![(key(&n.to_string()), body)])
            .await
            .unwrap();
    }
    drop(opened);
    let mut bytes = fs::read(folder.database()).unwrap();
    let length = bytes.len();
    // The first pages, with the schema, stay as they are.
    for byte in &mut bytes[length / 2..] {
        *byte = 0x5a;
    }
    fs::write(folder.database(), bytes).unwrap();
    let Ok(opened) = embedded::open(&folder.config, Arc::new(OsClock)) else {
        return;
    };
    let mut failed = 0;
    for n in 0..200 {
        match opened.store.get(&key(&n.to_string())).await {
            Ok(_) => {}
            Err(PortError::Corrupt { .. }) => failed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(failed > 0);
    let written = put(&*opened.store, vec![(key("199"), json!({}))]).await;
    assert!(
        matches!(written, Ok(()) | Err(PortError::Corrupt { .. })),
        "{written:?}"
    );
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    let connection = rusqlite::Connection::open(folder.database()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = embedded::open(&folder.config, Arc::new(OsClock))
        .err()
        .expect("newer");
    assert!(
        matches!(error, EmbeddedError::NewerSchema { found: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn half_written_blobs_are_cleared_away() {
    let folder = Folder::new();
    let path = folder.root.path().join("blobs");
    let blobs = FolderBlobs::open(&path).unwrap();
    blobs
        .create("kept", Bytes::from_static(b"x"))
        .await
        .unwrap();
    let left = path.join("incoming").join("1-1");
    let written = path.join("incoming").join("1-2");
    fs::write(&left, "half").unwrap();
    // Another process is writing this one.
    let writer = fs::File::create(&written).unwrap();
    writer.lock().unwrap();
    let blobs = FolderBlobs::open(&path).unwrap();
    assert!(!left.exists());
    assert!(written.exists());
    assert_eq!(blobs.list("", None, 10).await.unwrap(), ["kept"]);
}
