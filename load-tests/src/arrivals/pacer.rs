//! Waits for points in time to some microseconds. The runtime's own timer ticks in milliseconds,
//! which would be the largest part of a fast server's latency.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of the kernel that the runtime waits for like for a socket.
pub struct Pacer {
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// Makes a timer.
    ///
    /// # Errors
    /// The system has no room for another descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "unsound for types that give another descriptor each time; an OwnedFd does not"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Waits until `when`; at once if that has passed.
    ///
    /// # Errors
    /// The timer cannot be set or read.
    pub async fn until(&self, when: Instant) -> io::Result<()> {
        let left = when.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        self.arm(left)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(read) => return read.map(drop),
                Err(_not_yet) => {}
            }
        }
    }

    fn arm(&self, left: Duration) -> io::Result<()> {
        let value = Timespec::try_from(left).map_err(io::Error::other)?;
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn points_in_time_are_met_and_past_ones_do_not_wait() {
        let pacer = Pacer::new().unwrap();
        let start = Instant::now();
        for step in 1..=20 {
            let when = start + Duration::from_micros(2500) * step;
            pacer.until(when).await.unwrap();
            assert!(Instant::now() >= when);
        }
        pacer.until(start).await.unwrap();
    }
}
