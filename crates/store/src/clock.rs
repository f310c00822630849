//! The clock as the store sees it, and what it does when the clock jumps (design rule 4.8).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_ids::Time;

/// A step back of more than this is reported.
pub const STEP_BACK_MILLIS: u64 = 2_000;
/// A step forward of more than this against the boot-time clock stops appends.
pub const STEP_FORWARD_MILLIS: u64 = 60 * 60 * 1000;

/// Where the time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The wall clock.
    fn now(&self) -> Time;
    /// A clock that nobody sets, from any beginning.
    fn steady(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        #[cfg(feature = "faults")]
        let millis = millis.saturating_add_signed(crate::world::clock_millis());
        Time::from_unix_millis(millis)
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A step back of the wall clock, for the platform chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteppedBack {
    /// What the clock had said.
    pub from: Time,
    /// What it said next.
    pub to: Time,
}

/// What one reading of the clock means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Steady(Time),
    SteppedBack(SteppedBack),
    /// Far ahead of where the steady clock says that it should be.
    Jumped {
        expected: Time,
        now: Time,
    },
}

/// Compares readings of the wall clock with each other and with the steady clock.
#[derive(Debug)]
pub(crate) struct Watch {
    wall: Time,
    steady: Duration,
    last: Time,
}

impl Watch {
    pub(crate) fn start(clock: &dyn Clock) -> Self {
        let wall = clock.now();
        Self {
            wall,
            steady: clock.steady(),
            last: wall,
        }
    }

    pub(crate) fn read(&mut self, clock: &dyn Clock) -> Reading {
        let now = clock.now();
        let elapsed = u64::try_from(clock.steady().saturating_sub(self.steady).as_millis())
            .unwrap_or(u64::MAX);
        let expected = self.wall.plus_millis(elapsed);
        if now.millis_since(expected) > STEP_FORWARD_MILLIS {
            return Reading::Jumped { expected, now };
        }
        let from = std::mem::replace(&mut self.last, now);
        if from.millis_since(now) > STEP_BACK_MILLIS {
            return Reading::SteppedBack(SteppedBack { from, to: now });
        }
        Reading::Steady(now)
    }

    /// Takes the wall clock as it is now for right.
    pub(crate) fn confirm(&mut self, clock: &dyn Clock) {
        *self = Self::start(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Hands(Mutex<(u64, u64)>);

    impl Clock for Hands {
        fn now(&self) -> Time {
            Time::from_unix_millis(self.0.lock().unwrap().0)
        }
        fn steady(&self) -> Duration {
            Duration::from_millis(self.0.lock().unwrap().1)
        }
    }

    impl Hands {
        fn set(&self, wall: u64, steady: u64) {
            *self.0.lock().unwrap() = (wall, steady);
        }
    }

    const HOUR: u64 = 60 * 60 * 1000;

    #[test]
    fn a_step_back_is_reported_once_and_a_small_one_not_at_all() {
        let hands = Hands::default();
        hands.set(10 * HOUR, 0);
        let mut watch = Watch::start(&hands);
        hands.set(10 * HOUR - 2_000, 1);
        assert!(matches!(watch.read(&hands), Reading::Steady(_)));
        hands.set(9 * HOUR, 2);
        let back = SteppedBack {
            from: Time::from_unix_millis(10 * HOUR - 2_000),
            to: Time::from_unix_millis(9 * HOUR),
        };
        assert_eq!(watch.read(&hands), Reading::SteppedBack(back));
        assert!(matches!(watch.read(&hands), Reading::Steady(_)));
    }

    #[test]
    fn a_jump_ahead_holds_until_it_returns_or_is_confirmed() {
        let hands = Hands::default();
        hands.set(10 * HOUR, 0);
        let mut watch = Watch::start(&hands);
        hands.set(12 * HOUR, 5);
        assert!(matches!(watch.read(&hands), Reading::Jumped { .. }));
        hands.set(10 * HOUR + 10, 10);
        assert!(matches!(watch.read(&hands), Reading::Steady(_)));
        hands.set(12 * HOUR, 15);
        assert!(matches!(watch.read(&hands), Reading::Jumped { .. }));
        watch.confirm(&hands);
        assert!(matches!(watch.read(&hands), Reading::Steady(_)));
    }

    #[test]
    fn hours_that_really_pass_are_no_jump() {
        let hands = Hands::default();
        hands.set(HOUR, 0);
        let mut watch = Watch::start(&hands);
        hands.set(9 * HOUR, 8 * HOUR);
        assert!(matches!(watch.read(&hands), Reading::Steady(_)));
    }
}
