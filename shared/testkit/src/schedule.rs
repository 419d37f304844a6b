//! A step scheduler: polls one actor at a time, in an order that the test chooses.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Gives way once: the scheduler may run any other actor, or drop this one, before it goes on.
pub async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| {
        if given {
            Poll::Ready(())
        } else {
            given = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

struct Actor<'a> {
    process: u32,
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

/// Holds actors, each part of a process. Actors may wait only by [`give_way`], so that each poll
/// makes progress.
#[derive(Default)]
pub struct Scheduler<'a> {
    actors: Vec<Actor<'a>>,
}

impl<'a> Scheduler<'a> {
    /// No actors.
    #[must_use]
    pub const fn new() -> Self {
        Self { actors: Vec::new() }
    }

    /// Adds an actor to `process`.
    pub fn spawn(&mut self, process: u32, actor: impl Future<Output = ()> + 'a) {
        self.actors.push(Actor {
            process,
            future: Box::pin(actor),
        });
    }

    /// Actors that have not finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actors.len()
    }

    /// Whether all have finished.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty()
    }

    /// Polls the actor at `index` once. Returns whether it finished.
    pub fn step(&mut self, index: usize) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let finished = self.actors[index]
            .future
            .as_mut()
            .poll(&mut context)
            .is_ready();
        if finished {
            self.actors.swap_remove(index);
        }
        finished
    }

    /// Drops all actors of `process` where they stand. Returns how many.
    pub fn crash(&mut self, process: u32) -> usize {
        let before = self.actors.len();
        self.actors.retain(|actor| actor.process != process);
        before - self.actors.len()
    }
}

/// Polls `future` to its end. It may wait only by [`give_way`].
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
