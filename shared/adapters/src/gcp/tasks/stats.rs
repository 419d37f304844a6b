//! What can be seen of a queue by listing its tasks.

use google_cloud_tasks_v2::model::{Task, queue::State};
use oscillink_domain::{QueueName, Timestamp};
use oscillink_ports::{PortError, QueueStats};

use super::Inner;

/// Tasks of a page; the service's limit.
const PAGE: i32 = 1_000;
/// Pages read at the most.
const MAX_PAGES: usize = 10;

/// Counts the tasks of `queue`, up to ten thousand.
pub(super) async fn of(inner: &Inner, queue: QueueName) -> Result<QueueStats, PortError> {
    let name = inner.queue_name(queue);
    let call = inner.bounded(inner.client.get_queue().set_name(&name));
    let found = inner.run("get queue", call.send()).await?;
    let mut stats = QueueStats {
        paused: found.state == State::Paused,
        ..QueueStats::default()
    };
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let call = inner
            .client
            .list_tasks()
            .set_parent(&name)
            .set_page_size(PAGE)
            .set_page_token(token);
        let page = inner.run("list tasks", inner.bounded(call).send()).await?;
        page.tasks.iter().for_each(|task| add(&mut stats, task));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(stats)
}

fn add(stats: &mut QueueStats, task: &Task) {
    stats.depth += 1;
    // An attempt is under way from its dispatch to its response, and counted in between.
    stats.running += u64::from(task.dispatch_count > task.response_count);
    let created = task.create_time.as_ref().map(|at| {
        let ms = at.seconds().saturating_mul(1_000) + i64::from(at.nanos()) / 1_000_000;
        Timestamp::from_millis(ms)
    });
    stats.oldest = match (stats.oldest, created) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
}
