//! What a subscription has still to handle, in memory: a line of events for each ordering key.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use oscillink_ports::Received;
use tokio::time::Instant;

/// Stored events are kept in memory too, up to this many; others are read when it is their turn.
const MAX_KEPT: usize = 1_000;

/// An event in line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) seq: i64,
    /// Deliveries so far.
    pub(super) deliveries: u32,
    /// `None`: to be read from the table.
    pub(super) received: Option<Arc<Received>>,
}

impl Entry {
    /// An event that is in the table only.
    pub(super) const fn stored(seq: i64, deliveries: u32) -> Self {
        Self {
            seq,
            deliveries,
            received: None,
        }
    }
}

/// Events of one ordering key, the first one next.
#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<Entry>,
    state: LineState,
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineState {
    /// Nothing in it.
    #[default]
    Idle,
    /// Among the ready ones.
    Ready,
    /// The first event is being delivered.
    Busy,
    /// The first event was refused and waits to be delivered again.
    Resting,
}

/// What the dispatcher does next.
pub(super) enum Next {
    /// Deliver this event of this key.
    Start(String, Entry),
    /// Look again after this time, or when something changed.
    Sleep(Duration),
    /// Nothing until something changes.
    Wait,
    /// The bus was drained or dropped.
    End,
}

/// The subscription's state.
#[derive(Debug, Default)]
pub(super) struct Pending {
    lines: HashMap<String, Line>,
    ready: VecDeque<String>,
    resting: BinaryHeap<Reverse<(Instant, String)>>,
    backlog: usize,
    running: usize,
    writing: usize,
    begun: bool,
    ended: bool,
}

impl Pending {
    /// Marks the subscription as having a handler; `false` if it already had one.
    pub(super) fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) const fn backlog(&self) -> usize {
        self.backlog
    }

    pub(super) const fn idle(&self) -> bool {
        self.running == 0 && self.writing == 0
    }

    /// That an event was handled is about to be written.
    pub(super) fn writing(&mut self) {
        self.writing += 1;
    }

    /// It is written, or never will be.
    pub(super) fn written(&mut self) {
        self.writing = self.writing.saturating_sub(1);
    }

    /// Puts an event at the end of its line.
    pub(super) fn push(&mut self, ordering_key: String, mut entry: Entry) {
        self.backlog += 1;
        // Only a stored event can be read again; the seq of others is below zero.
        if self.backlog > MAX_KEPT && entry.seq > 0 {
            entry.received = None;
        }
        let line = self.lines.entry(ordering_key.clone()).or_default();
        line.entries.push_back(entry);
        if line.state == LineState::Idle {
            line.state = LineState::Ready;
            self.ready.push_back(ordering_key);
        }
    }

    /// Decides what to do at this time. An event that is started counts as running.
    pub(super) fn next(&mut self, now: Instant, max_concurrent: usize) -> Next {
        if self.ended {
            return Next::End;
        }
        let mut sleep = None;
        while let Some(Reverse((until, _))) = self.resting.peek() {
            if *until > now {
                sleep = Some(*until - now);
                break;
            }
            if let Some(Reverse((_, key))) = self.resting.pop()
                && let Some(line) = self.lines.get_mut(&key)
            {
                line.state = LineState::Ready;
                self.ready.push_back(key);
            }
        }
        if self.running >= max_concurrent {
            return Next::Wait;
        }
        while let Some(key) = self.ready.pop_front() {
            let Some(line) = self.lines.get_mut(&key) else {
                continue;
            };
            if let Some(entry) = line.entries.front().cloned() {
                line.state = LineState::Busy;
                self.running += 1;
                return Next::Start(key, entry);
            }
            self.lines.remove(&key);
        }
        sleep.map_or(Next::Wait, Next::Sleep)
    }

    /// The first event of the line is done with; the next one may follow.
    pub(super) fn done(&mut self, key: &str) {
        self.running = self.running.saturating_sub(1);
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        if line.entries.pop_front().is_some() {
            self.backlog = self.backlog.saturating_sub(1);
        }
        if line.entries.is_empty() {
            self.lines.remove(key);
        } else {
            line.state = LineState::Ready;
            self.ready.push_back(key.to_owned());
        }
    }

    /// The first event of the line was refused and is delivered again after `pause`.
    pub(super) fn rest(&mut self, key: &str, deliveries: u32, pause: Duration) {
        self.running = self.running.saturating_sub(1);
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        line.state = LineState::Resting;
        if let Some(entry) = line.entries.front_mut() {
            entry.deliveries = deliveries;
        }
        self.resting
            .push(Reverse((Instant::now() + pause, key.to_owned())));
    }

    /// Forgets events that were removed from the table, except those being delivered.
    pub(super) fn forget(&mut self, gone: &HashSet<i64>) {
        for line in self.lines.values_mut() {
            let mut place = 0;
            let before = line.entries.len();
            let busy = line.state == LineState::Busy;
            line.entries.retain(|entry| {
                let first = place == 0;
                place += 1;
                (first && busy) || !gone.contains(&entry.seq)
            });
            self.backlog = self.backlog.saturating_sub(before - line.entries.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(pending: &mut Pending, now: Instant) -> Option<(String, i64)> {
        match pending.next(now, 10) {
            Next::Start(key, entry) => Some((key, entry.seq)),
            _ => None,
        }
    }

    fn of(key: &str, seq: i64) -> Option<(String, i64)> {
        Some((key.to_owned(), seq))
    }

    #[test]
    fn one_of_a_key_at_a_time_and_keys_side_by_side() {
        let mut p = Pending::default();
        let now = Instant::now();
        for (key, seq) in [("a", 1), ("a", 2), ("b", 3)] {
            p.push(key.to_owned(), Entry::stored(seq, 0));
        }
        assert_eq!(started(&mut p, now), of("a", 1));
        assert_eq!(started(&mut p, now), of("b", 3));
        assert_eq!(started(&mut p, now), None);
        p.done("a");
        assert_eq!(started(&mut p, now), of("a", 2));
        p.done("a");
        p.done("b");
        assert_eq!((p.backlog(), p.idle(), p.lines.len()), (0, true, 0));
    }

    #[test]
    fn a_refused_event_holds_its_key_until_its_pause_is_over() {
        let mut p = Pending::default();
        let now = Instant::now();
        for seq in [1, 2] {
            p.push("a".to_owned(), Entry::stored(seq, 0));
        }
        assert_eq!(started(&mut p, now), of("a", 1));
        p.rest("a", 1, Duration::from_secs(60));
        p.push("a".to_owned(), Entry::stored(3, 0));
        assert_eq!(started(&mut p, now), None);
        let later = now + Duration::from_secs(61);
        let Next::Start(_, again) = p.next(later, 10) else {
            panic!("its pause is over");
        };
        assert_eq!((again.seq, again.deliveries), (1, 1));
    }

    #[test]
    fn a_line_that_was_emptied_begins_anew() {
        let mut p = Pending::default();
        let now = Instant::now();
        p.push("a".to_owned(), Entry::stored(1, 0));
        p.forget(&HashSet::from([1]));
        p.push("a".to_owned(), Entry::stored(2, 0));
        assert_eq!(p.backlog(), 1);
        assert_eq!(started(&mut p, now), of("a", 2));
        assert_eq!(started(&mut p, now), None);
        // One that is being delivered is not forgotten under the handler's hands.
        p.push("a".to_owned(), Entry::stored(3, 0));
        p.forget(&HashSet::from([2, 3]));
        p.done("a");
        assert_eq!((p.backlog(), p.lines.len()), (0, 0));
    }
}
