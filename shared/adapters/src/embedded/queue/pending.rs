//! What a queue knows in memory: which tasks wait until when, and what it may start.
//!
//! Every unfinished task has an entry here once it is loaded, so the number of tasks is bounded by
//! configuration. Bodies are kept only as far as their budget goes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oscillink_domain::Timestamp;
use oscillink_ports::QueueLimits;
use tokio::time::Instant;

use super::bucket::Bucket;

/// The clock may be set: tasks that wait for it are looked at this often at least.
const CLOCK_CHECK: Duration = Duration::from_millis(50);

/// What a task carries.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) name: String,
    pub(super) body: Bytes,
    pub(super) traceparent: Option<String>,
}

impl Content {
    fn bytes(&self) -> usize {
        self.name.len() + self.body.len() + self.traceparent.as_ref().map_or(0, String::len) + 64
    }
}

/// What the tables held at start.
pub(super) struct Summary {
    pub(super) depth: u64,
    pub(super) newest: i64,
    pub(super) paused: bool,
}

/// The time of a task that waits for none.
pub(super) const AT_ONCE: i64 = i64::MIN;

/// A task that waits for its time.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) due_at: i64,
    pub(super) retry_count: u32,
    /// `None`: to be read from the table.
    pub(super) content: Option<Arc<Content>>,
}

impl Waiting {
    pub(super) fn new(due_at: i64, content: &Arc<Content>) -> Self {
        Self {
            due_at,
            retry_count: 0,
            content: Some(Arc::clone(content)),
        }
    }
}

/// What the dispatcher does next.
pub(super) enum Next {
    /// Deliver this task.
    Start(i64, Waiting),
    /// Look again after this time, or when something changed.
    Sleep(Duration),
    /// Nothing until something changes.
    Wait,
    /// The queue was drained or dropped.
    End,
}

/// The queue's state.
pub(super) struct Pending {
    limits: QueueLimits,
    bucket: Bucket,
    waiting: HashMap<i64, Waiting>,
    /// Tasks whose time has come, first come first served; some may be gone.
    ready: VecDeque<i64>,
    /// Tasks by the time they wait for; some may be gone.
    delayed: BinaryHeap<Reverse<(i64, i64)>>,
    next_seq: i64,
    newest_at_start: i64,
    depth: u64,
    running: usize,
    unsettled: usize,
    content_bytes: usize,
    max_content_bytes: usize,
    paused: bool,
    begun: bool,
    ended: bool,
}

impl Pending {
    pub(super) fn new(limits: QueueLimits, max_content_bytes: usize, found: Summary) -> Self {
        Self {
            limits,
            bucket: Bucket::new(Instant::now()),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BinaryHeap::new(),
            next_seq: found.newest + 1,
            newest_at_start: found.newest,
            depth: found.depth,
            running: 0,
            unsettled: 0,
            content_bytes: 0,
            max_content_bytes,
            paused: found.paused,
            begun: false,
            ended: false,
        }
    }

    /// Marks the queue as delivering; `false` if it already was.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Neither deliveries nor their settling are under way.
    pub(super) const fn idle(&self) -> bool {
        self.running == 0 && self.unsettled == 0
    }

    pub(super) const fn limits(&self) -> QueueLimits {
        self.limits
    }

    pub(super) fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
    }

    pub(super) const fn depth(&self) -> u64 {
        self.depth
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) const fn paused(&self) -> bool {
        self.paused
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// The newest task that was there at start; younger ones were added when they were created.
    pub(super) const fn newest_at_start(&self) -> i64 {
        self.newest_at_start
    }

    /// A task was created.
    pub(super) fn created(&mut self, seq: i64, task: Waiting) {
        self.depth += 1;
        self.wait(seq, task);
    }

    /// A task waits for its time, for the first time or again.
    pub(super) fn wait(&mut self, seq: i64, mut task: Waiting) {
        if let Some(content) = &task.content {
            let bytes = content.bytes();
            if self.content_bytes + bytes > self.max_content_bytes {
                task.content = None;
            } else {
                self.content_bytes += bytes;
            }
        }
        if task.due_at == AT_ONCE {
            self.ready.push_back(seq);
        } else {
            self.delayed.push(Reverse((task.due_at, seq)));
        }
        self.waiting.insert(seq, task);
    }

    /// A task was removed from the tables.
    pub(super) fn removed(&mut self, seq: i64) {
        self.depth = self.depth.saturating_sub(1);
        self.take(seq);
    }

    fn take(&mut self, seq: i64) -> Option<Waiting> {
        let task = self.waiting.remove(&seq)?;
        if let Some(content) = &task.content {
            self.content_bytes = self.content_bytes.saturating_sub(content.bytes());
        }
        Some(task)
    }

    /// Decides what to do at this time. A task that is started counts as running.
    pub(super) fn next(&mut self, clock: Timestamp, now: Instant) -> Next {
        if self.ended {
            return Next::End;
        }
        if self.paused || self.running >= self.limits.max_concurrent {
            return Next::Wait;
        }
        let sleep = self.promote(clock);
        let Some(seq) = self.first_ready() else {
            return sleep.map_or(Next::Wait, Next::Sleep);
        };
        match self.bucket.take(self.limits.max_per_second, now) {
            Err(Some(wait)) => return Next::Sleep(wait),
            Err(None) => return Next::Wait,
            Ok(()) => {}
        }
        self.ready.pop_front();
        match self.take(seq) {
            Some(task) => {
                self.running += 1;
                self.unsettled += 1;
                Next::Start(seq, task)
            }
            None => Next::Wait,
        }
    }

    /// Moves tasks whose time has come to the others that are ready. The clock may go back afterwards;
    /// they stay. Gives the time until the next one.
    fn promote(&mut self, clock: Timestamp) -> Option<Duration> {
        while let Some(Reverse((due_at, seq))) = self.delayed.peek() {
            let wait_ms = due_at.saturating_sub(clock.as_millis());
            if wait_ms > 0 && self.waiting.contains_key(seq) {
                return Some(Duration::from_millis(wait_ms.unsigned_abs()).min(CLOCK_CHECK));
            }
            self.ready.push_back(*seq);
            self.delayed.pop();
        }
        None
    }

    fn first_ready(&mut self) -> Option<i64> {
        while let Some(seq) = self.ready.front() {
            if self.waiting.contains_key(seq) {
                return Some(*seq);
            }
            self.ready.pop_front();
        }
        None
    }

    /// A delivery ended; what it led to is still to be written.
    pub(super) fn delivered(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// What a delivery led to is written.
    pub(super) fn settled(&mut self) {
        self.unsettled = self.unsettled.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(limits: QueueLimits) -> Pending {
        let nothing = Summary {
            depth: 0,
            newest: 0,
            paused: false,
        };
        Pending::new(limits, 1_000, nothing)
    }

    fn waiting(due_at: i64, bytes: usize) -> Waiting {
        let content = Content {
            name: String::new(),
            body: Bytes::from(vec![0; bytes]),
            traceparent: None,
        };
        Waiting::new(due_at, &Arc::new(content))
    }

    fn started(pending: &mut Pending, clock: i64) -> Option<i64> {
        match pending.next(Timestamp::from_millis(clock), Instant::now()) {
            Next::Start(seq, _) => Some(seq),
            _ => None,
        }
    }

    #[test]
    fn first_come_first_served_once_their_time_has_come() {
        let mut p = pending(QueueLimits::default());
        p.created(1, waiting(2_000, 0));
        p.created(2, waiting(AT_ONCE, 0));
        p.created(3, waiting(1_000, 0));
        p.created(4, waiting(AT_ONCE, 0));
        assert_eq!(started(&mut p, 999), Some(2));
        assert_eq!(started(&mut p, 1_500), Some(4));
        assert_eq!(started(&mut p, 1_500), Some(3));
        assert_eq!(started(&mut p, 1_500), None);
        assert!(matches!(
            p.next(Timestamp::from_millis(1_999), Instant::now()),
            Next::Sleep(time) if time == Duration::from_millis(1)
        ));
        assert_eq!(started(&mut p, 2_000), Some(1));
        assert_eq!((p.depth(), p.running()), (4, 4));
    }

    #[test]
    fn a_task_that_was_ready_stays_so_when_the_clock_goes_back() {
        let limits = QueueLimits {
            max_concurrent: 1,
            ..QueueLimits::default()
        };
        let mut p = pending(limits);
        p.created(1, waiting(1_000, 0));
        p.created(2, waiting(1_000, 0));
        assert_eq!(started(&mut p, 1_000), Some(1));
        p.delivered();
        assert_eq!(started(&mut p, 0), Some(2));
    }

    #[test]
    fn a_removed_task_is_not_started() {
        let mut p = pending(QueueLimits::default());
        for seq in 1..=3 {
            p.created(seq, waiting(if seq == 3 { 5 } else { AT_ONCE }, 0));
        }
        p.removed(1);
        p.removed(3);
        assert_eq!(p.depth(), 1);
        assert_eq!(started(&mut p, 10), Some(2));
        assert_eq!(started(&mut p, 10), None);
    }

    #[test]
    fn bodies_beyond_the_budget_are_left_in_the_table() {
        let mut p = pending(QueueLimits::default());
        for seq in 1..=3 {
            p.created(seq, waiting(AT_ONCE, 400));
        }
        let mut kept = || match p.next(Timestamp::from_millis(0), Instant::now()) {
            Next::Start(_, task) => task.content.is_some(),
            _ => panic!("a task is ready"),
        };
        assert_eq!([kept(), kept(), kept()], [true, true, false]);
        // What was delivered has made room.
        p.created(4, waiting(AT_ONCE, 900));
        assert_eq!(p.content_bytes, 964);
    }
}
