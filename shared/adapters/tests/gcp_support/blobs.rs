//! Cloud Storage's XML API, spoken with a local server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libtest_mimic::Trial;
use oscillink_adapters::gcp::{BlobConfig, BlobPlace, ObjectBlobs};
use oscillink_emulators::{Fault, ObjectServer};
use oscillink_ports::conformance::blob::{self, BlobFixture};
use oscillink_ports::{BlobStore, PortError};

use super::{Bench, trial};
use crate::conformance_trials;

fn config(server: &ObjectServer) -> BlobConfig {
    let place = BlobPlace::Bucket {
        bucket: "bucket".to_owned(),
        prefix: "some/prefix/".to_owned(),
    };
    BlobConfig {
        endpoint: Some(server.address().to_owned()),
        ..BlobConfig::new(place)
    }
}

async fn fixture() -> BlobFixture {
    let server = ObjectServer::start().await.unwrap();
    BlobFixture {
        blobs: Arc::new(ObjectBlobs::connect(config(&server)).unwrap()),
        keep: Box::new(server),
    }
}

pub fn trials(bench: &Arc<Bench>) -> Vec<Trial> {
    let nothing = |_: &Bench| Ok(());
    let mut trials = conformance_trials!(
        bench, blob,
        resource: |_: &Bench| Ok(()),
        fixture: async |(), _: &str| fixture().await,
        checks: [
            reads_back_what_was_created,
            create_never_replaces,
            of_many_creates_one_wins,
            unknown_names_are_not_found,
            ranges_are_cut_at_the_end,
            lists_in_byte_order,
            lists_in_pages,
            deletes_are_idempotent,
            folders_come_and_go,
            long_names_are_allowed,
            invalid_names_are_refused,
            answers_a_check,
        ],
    );
    trials.extend([
        trial(bench, "blob::names_lie_behind_the_prefix", nothing, |()| {
            names_lie_behind_the_prefix()
        }),
        trial(bench, "blob::damage_is_noticed", nothing, |()| {
            damage_is_noticed()
        }),
        trial(bench, "blob::passing_failures_pass", nothing, |()| {
            passing_failures_pass()
        }),
        trial(
            bench,
            "blob::a_lost_answer_leaves_the_first_bytes",
            nothing,
            |()| a_lost_answer_leaves_the_first_bytes(),
        ),
        trial(
            bench,
            "blob::a_server_that_hangs_is_given_up",
            nothing,
            |()| a_server_that_hangs_is_given_up(),
        ),
    ]);
    trials
}

const BYTES: Bytes = Bytes::from_static(b"bytes");

async fn names_lie_behind_the_prefix() {
    let server = ObjectServer::start().await.unwrap();
    let blobs = ObjectBlobs::connect(config(&server)).unwrap();
    blobs.create("jobs/a", BYTES).await.unwrap();
    assert_eq!(server.names(), ["bucket/some/prefix/jobs/a"]);
    assert_eq!(blobs.list("", None, 10).await.unwrap(), ["jobs/a"]);
}

/// Whoever changed the bytes: a reader does not get them.
async fn damage_is_noticed() {
    let server = ObjectServer::start().await.unwrap();
    let blobs = ObjectBlobs::connect(config(&server)).unwrap();
    blobs.create("a", BYTES).await.unwrap();
    assert!(server.damage("bucket", "some/prefix/a"));
    let read = blobs.get("a").await;
    assert!(matches!(read, Err(PortError::Corrupt { .. })), "{read:?}");
}

/// Each call is tried again after failures that may pass, and no longer than allowed.
async fn passing_failures_pass() {
    let server = ObjectServer::start().await.unwrap();
    let mut config = config(&server);
    config.tries.min_pause = Duration::from_millis(5);
    config.tries.max_attempts = 3;
    let blobs = ObjectBlobs::connect(config).unwrap();
    let twice = [Fault::Refuse, Fault::Refuse];
    server.fail_with(&twice);
    blobs.create("a", BYTES).await.unwrap();
    server.fail_with(&twice);
    assert_eq!(blobs.get("a").await.unwrap(), BYTES);
    server.fail_with(&twice);
    assert_eq!(blobs.get_range("a", 1..3).await.unwrap(), BYTES.slice(1..3));
    server.fail_with(&[Fault::Refuse; 3]);
    let before = server.requests();
    let read = blobs.get("a").await;
    assert!(
        matches!(read, Err(PortError::Unavailable { .. })),
        "{read:?}"
    );
    assert_eq!(server.requests() - before, 3);
    server.fail_with(&[Fault::LoseAnswer]);
    blobs.delete("a").await.unwrap();
    assert!(server.names().is_empty());
}

/// Created, but the answer was lost: the caller hears that it exists, and finds its own bytes.
async fn a_lost_answer_leaves_the_first_bytes() {
    let server = ObjectServer::start().await.unwrap();
    let blobs = ObjectBlobs::connect(config(&server)).unwrap();
    server.fail_with(&[Fault::LoseAnswer]);
    let created = blobs.create("a", BYTES).await;
    assert!(
        matches!(created, Err(PortError::AlreadyExists { .. })),
        "{created:?}"
    );
    assert_eq!(blobs.get("a").await.unwrap(), BYTES);
}

async fn a_server_that_hangs_is_given_up() {
    let server = ObjectServer::start().await.unwrap();
    let mut config = config(&server);
    config.call_timeout = Duration::from_millis(200);
    config.tries.max_attempts = 2;
    config.tries.min_pause = Duration::from_millis(5);
    let blobs = ObjectBlobs::connect(config).unwrap();
    blobs.create("a", BYTES).await.unwrap();
    server.fail_with(&[Fault::Hang(Duration::from_secs(20)); 2]);
    let began = Instant::now();
    let read = blobs.get("a").await;
    assert!(
        matches!(read, Err(PortError::Unavailable { .. })),
        "{read:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}
