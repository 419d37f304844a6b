//! The conformance suite on the embedded adapters.

use std::sync::Arc;

use async_trait::async_trait;
use oscillink_adapters::embedded::{self, Embedded, EmbeddedConfig};
use oscillink_domain::QueueName;
use oscillink_ports::conformance::blob::BlobFixture;
use oscillink_ports::conformance::bus::BusFixture;
use oscillink_ports::conformance::queue::{QueueFixture, QueueHarness};
use oscillink_ports::conformance::store::StoreFixture;
use oscillink_ports::{OsClock, QueueLimits, TaskQueue, TaskTarget};
use tempfile::TempDir;

fn open(adjust: impl FnOnce(&mut EmbeddedConfig)) -> (Embedded, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EmbeddedConfig::new(folder.path().join("data"));
    adjust(&mut config);
    let opened = embedded::open(&config, Arc::new(OsClock)).unwrap();
    (opened, folder)
}

mod store {
    use super::*;

    async fn fixture() -> StoreFixture {
        let (opened, folder) = open(|_| ());
        StoreFixture {
            store: opened.store.clone(),
            hot_writers: 64,
            keep: Box::new((opened, folder)),
        }
    }

    oscillink_ports::conformance_tests! {
        suite: oscillink_ports::conformance::store,
        fixture: fixture,
        checks: [
            documents_read_back_as_written,
            absent_documents_are_none,
            create_refuses_an_existing_document,
            put_creates_and_replaces,
            delete_removes_and_tolerates_absence,
            answers_a_check,
            ids_follow_the_rules,
            documents_follow_the_rules,
            transactions_hold_many_writes,
            transactions_are_all_or_nothing,
            decisions_see_what_they_read,
            refused_decisions_write_nothing,
            concurrent_increments_lose_none,
            write_skew_is_impossible,
            concurrent_transfers_keep_the_sum,
            of_many_creates_one_wins,
            every_composite_index_is_queried,
            ranges_bound_the_order_field,
            documents_without_the_field_do_not_match,
            pages_continue_among_equal_values,
            counts_stop_at_the_limit,
            queries_see_completed_transactions,
            queries_without_an_index_are_refused,
        ],
        ignored: {},
    }
}

mod blobs {
    use super::*;

    async fn fixture() -> BlobFixture {
        let (opened, folder) = open(|_| ());
        BlobFixture {
            blobs: opened.blobs.clone(),
            keep: Box::new((opened, folder)),
        }
    }

    oscillink_ports::conformance_tests! {
        suite: oscillink_ports::conformance::blob,
        fixture: fixture,
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
        ignored: {},
    }
}

mod queue {
    use super::*;

    struct Harness(TempDir);

    #[async_trait]
    impl QueueHarness for Harness {
        async fn start(
            &self,
            limits: QueueLimits,
            target: Arc<dyn TaskTarget>,
        ) -> Arc<dyn TaskQueue> {
            let mut config = EmbeddedConfig::new(self.0.path().join("data"));
            config.queue.limits = QueueName::ALL.iter().map(|&q| (q, limits)).collect();
            let opened = embedded::open(&config, Arc::new(OsClock)).unwrap();
            opened.queue.start(|_| Some(Arc::clone(&target)));
            opened.queue
        }
    }

    async fn fixture() -> QueueFixture {
        QueueFixture {
            harness: Box::new(Harness(tempfile::tempdir().unwrap())),
            rate_burst: 4,
            min_deadline_ms: 200,
            early_ms: 1,
            keep: Box::new(()),
        }
    }

    oscillink_ports::conformance_tests! {
        suite: oscillink_ports::conformance::queue,
        fixture: fixture,
        checks: [
            delivers_what_was_created,
            names_are_taken_while_and_after,
            each_task_has_its_own_result,
            tasks_follow_the_rules,
            waits_until_not_before,
            retries_with_growing_pauses,
            drops_a_task_after_its_attempts,
            a_delivery_past_its_deadline_failed,
            starts_no_more_than_the_rate,
            delivers_no_more_at_once_than_allowed,
            pauses_and_resumes,
            deletes_a_waiting_task,
            stats_tell_depth_and_age,
            a_burst_is_delivered_completely,
        ],
        ignored: {},
    }
}

mod bus {
    use super::*;

    async fn fixture() -> BusFixture {
        let (opened, folder) = open(|config| {
            config.bus.min_backoff_ms = 10;
            config.bus.max_deliveries = 4;
        });
        BusFixture {
            bus: opened.bus.clone(),
            max_deliveries: 4,
            keep: Box::new((opened, folder)),
        }
    }

    oscillink_ports::conformance_tests! {
        suite: oscillink_ports::conformance::bus,
        fixture: fixture,
        checks: [
            delivers_what_was_published,
            every_subscription_gets_every_event,
            events_published_together_keep_their_order,
            topics_are_apart,
            a_key_keeps_its_order,
            a_refused_event_comes_again_before_the_next,
            keys_do_not_wait_for_each_other,
            events_without_subscription_are_accepted,
            refused_too_often_is_a_dead_letter,
            a_refused_dead_letter_comes_again,
        ],
        ignored: {},
    }
}
