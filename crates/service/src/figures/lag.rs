//! How far the log is behind the journal, in bytes, events and seconds.
//!
//! Bytes are exact. Events and seconds come from samples of where the journal was when: they are as fine as the samples, which
//! are taken whenever reactions look at the ledger and whenever somebody asks.

use std::collections::VecDeque;

use countersign_ids::Time;
use countersign_store::Position;

/// How many samples are kept; beyond it every second one goes.
const SAMPLES_MAX: usize = 1024;

/// Where the journal was at some moments.
#[derive(Debug, Default)]
pub(super) struct Samples {
    taken: VecDeque<Sample>,
    /// How far the log was when it was looked at last.
    logged: Position,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    durable: Position,
    events: u64,
    at: Time,
}

/// What the log lacks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Lag {
    pub(super) bytes: u64,
    pub(super) events: u64,
    pub(super) seconds: f64,
    /// Whether the log got on since the look before, or lacks nothing.
    pub(super) moves: bool,
}

impl Samples {
    /// Notes where the journal is now.
    pub(super) fn take(&mut self, durable: Position, events: u64, at: Time) {
        if self.taken.back().is_none_or(|last| last.durable < durable) {
            self.taken.push_back(Sample {
                durable,
                events,
                at,
            });
        }
        if self.taken.len() > SAMPLES_MAX {
            let mut keep = false;
            self.taken.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// What the log lacks, if it reaches `logged`. Samples that it has passed are not needed again, but for the last.
    pub(super) fn lag(
        &mut self,
        durable: Position,
        logged: Position,
        events: u64,
        now: Time,
    ) -> Lag {
        while self.taken.get(1).is_some_and(|next| next.durable <= logged) {
            self.taken.pop_front();
        }
        let bytes = durable.since(logged);
        let moves = bytes == 0 || logged > self.logged;
        self.logged = logged;
        if bytes == 0 {
            return Lag {
                moves,
                ..Lag::default()
            };
        }
        let passed = self.taken.front().filter(|first| first.durable <= logged);
        let oldest = self.taken.iter().find(|sample| sample.durable > logged);
        Lag {
            bytes,
            events: events.saturating_sub(passed.map_or(0, |passed| passed.events)),
            seconds: oldest.map_or(0.0, |oldest| super::seconds(oldest.at, now)),
            moves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn lag_is_what_came_since_the_place_that_the_log_reached() {
        let mut samples = Samples::default();
        for (bytes, events, time) in [(100, 1, 10), (200, 2, 20), (300, 3, 30)] {
            samples.take(Position::new(bytes), events, at(time));
        }
        let mut lag = |logged| {
            let lag = samples.lag(Position::new(300), Position::new(logged), 3, at(35));
            (lag.bytes, lag.events, lag.seconds, lag.moves)
        };
        assert_eq!(lag(0), (300, 3, 25.0, false));
        assert_eq!(lag(100), (200, 2, 15.0, true));
        assert_eq!(lag(100), (200, 2, 15.0, false));
        assert_eq!(lag(250), (50, 1, 5.0, true));
        assert_eq!(lag(300), (0, 0, 0.0, true));
        assert_eq!(lag(300), (0, 0, 0.0, true));
    }

    #[test]
    fn many_samples_become_fewer_and_still_tell_the_age() {
        let mut samples = Samples::default();
        for number in 1..=5000 {
            samples.take(Position::new(number), number, at(number));
        }
        assert!(samples.taken.len() <= SAMPLES_MAX);
        let lag = samples.lag(Position::new(5000), Position::ZERO, 5000, at(5000));
        assert_eq!((lag.bytes, lag.events, lag.seconds), (5000, 5000, 4999.0));
    }
}
