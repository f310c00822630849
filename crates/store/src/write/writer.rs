//! The one writer: checks appends in order, writes one group, waits for the disk, answers.
//!
//! Nobody is answered, not even with a refusal
//! that depends on the group, before the group's fdatasync returned. After a failure of the disk the writer stops: nothing
//! more is acknowledged, until the journal is opened again with the ledger or, where that is safe, by `resume`.

mod resume;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use countersign_ids::ChainId;
use tokio::sync::oneshot;

use super::chains::{Appender, Marks, Moment};
use super::lanes::{Asker, Queued};
use super::prepare::{Prepared, asker};
use crate::append::{Level, Receipt};
use crate::clock::{Clock, Reading, Watch};
use crate::journal::frame::put;
use crate::journal::segment::Journal;
use crate::journal::{Kind, record};
use crate::log::handover::{Handover, What, Written};
use crate::log::heads::Accepted;
use crate::view::{Chain, View};
use crate::{Checkpoint, Entry, Error, Options, Position};

/// What the writer is asked.
#[derive(Debug)]
pub(crate) enum Request {
    Append {
        append: Box<Prepared>,
        reply: Reply<Outcome>,
    },
    Checkpoint {
        chain: Arc<Chain>,
        checkpoint: Checkpoint,
        reply: Reply<()>,
    },
    ConfirmClock {
        reply: Reply<()>,
    },
    /// Everything before this position is to stand in sealed segments.
    Seal {
        before: Position,
        reply: Reply<()>,
    },
}

/// Where an answer goes; it wakes the caller from the writer's thread.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Outcome {
    Written(Receipt),
    Replayed(Accepted),
}

impl Queued for Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { append, .. } => append.bytes,
            Self::Checkpoint { checkpoint, .. } => checkpoint.note.len(),
            Self::ConfirmClock { .. } | Self::Seal { .. } => 0,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Append { append, .. } => append.weight(),
            Self::Checkpoint { .. } | Self::ConfirmClock { .. } | Self::Seal { .. } => self.bytes(),
        }
    }

    fn lane(&self) -> (Asker, &ChainId) {
        static PLATFORM: ChainId = ChainId::platform();
        match self {
            Self::Append { append, .. } => (asker(&append.actor), &append.chain),
            Self::Checkpoint { chain, .. } => (Asker::Plane, &chain.id),
            Self::ConfirmClock { .. } | Self::Seal { .. } => (Asker::Plane, &PLATFORM),
        }
    }
}

/// An answer that waits for the disk.
#[derive(Debug)]
enum Waiting {
    Append(Reply<Outcome>, Result<Outcome, Error>),
    Done(Reply<()>, Result<(), Error>),
}

/// The state of the writer. Whoever holds it is the one writer; see `front`.
#[derive(Debug)]
pub(crate) struct Writer {
    view: Arc<View>,
    handover: Arc<Handover>,
    journal: Journal,
    group_bytes: usize,
    chains: BTreeMap<ChainId, Appender>,
    marks: Marks,
    /// The marks without the open group.
    durable_marks: Marks,
    clock: Arc<dyn Clock>,
    watch: Watch,
    jumped: bool,
    /// When, by the steady clock, it was last tried to write again after a failure.
    tried: Option<Duration>,
    waiting: Vec<Waiting>,
    written: Vec<Written>,
}

impl Writer {
    pub(crate) fn new(
        view: Arc<View>,
        handover: Arc<Handover>,
        journal: Journal,
        options: &Options,
        chains: (BTreeMap<ChainId, Appender>, Marks),
    ) -> Self {
        let clock = Arc::clone(&options.clock);
        let watch = Watch::start(clock.as_ref());
        let (chains, marks) = chains;
        Self {
            view,
            handover,
            journal,
            group_bytes: options.group_bytes,
            chains,
            marks,
            durable_marks: marks,
            clock,
            watch,
            jumped: false,
            tried: None,
            waiting: Vec::new(),
            written: Vec::new(),
        }
    }

    /// Takes in what was asked, in order; a group that is large enough is written on the way.
    pub(crate) fn take_all(&mut self, inbox: &mut VecDeque<Request>) {
        while let Some(request) = inbox.pop_front() {
            self.take(request);
            if self.room().is_none() {
                self.commit();
            }
        }
    }

    /// How many bytes the open group should take in yet; none once it is full.
    pub(crate) fn room(&self) -> Option<usize> {
        let room = self.group_bytes.checked_sub(self.journal.group_bytes())?;
        Some(room).filter(|room| *room > 0)
    }

    /// Writes one append as a group of its own.
    pub(crate) fn append_now(&mut self, append: Box<Prepared>) -> Result<Outcome, Error> {
        let outcome = self.append(append);
        let stopped = self.commit();
        match (outcome, stopped) {
            (Ok(_), Some(error)) => Err(error),
            (outcome, _) => outcome,
        }
    }

    /// Writes the frame of a clean stop. Nothing is written after it.
    pub(crate) fn close(&mut self) -> Result<(), Error> {
        if let Some(error) = self.view.board.stopped() {
            return Err(error);
        }
        if !self.journal.fits(0) {
            self.journal.roll(0).map_err(|error| self.failed(error))?;
        }
        self.journal.close().map_err(|error| self.failed(error))
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Append { append, reply } => {
                let outcome = self.append(append);
                self.waiting.push(Waiting::Append(reply, outcome));
            }
            Request::Checkpoint {
                chain,
                checkpoint,
                reply,
            } => {
                let outcome = self.checkpoint(chain, checkpoint);
                self.waiting.push(Waiting::Done(reply, outcome));
            }
            Request::ConfirmClock { reply } => {
                self.watch.confirm(self.clock.as_ref());
                self.view.board.with(|status| status.clock_jumped = false);
                self.waiting.push(Waiting::Done(reply, Ok(())));
            }
            Request::Seal { before, reply } => {
                let outcome = self.seal(before);
                self.waiting.push(Waiting::Done(reply, outcome));
            }
        }
    }

    fn seal(&mut self, before: Position) -> Result<(), Error> {
        self.resume()?;
        if before <= self.journal.base() {
            return Ok(());
        }
        match self.commit() {
            Some(error) => Err(error),
            None => self.journal.roll(0).map_err(|error| self.failed(error)),
        }
    }

    fn append(&mut self, append: Box<Prepared>) -> Result<Outcome, Error> {
        self.resume()?;
        if let Some(accepted) = self.view.command(&append.command)? {
            if accepted.request != append.request_digest {
                return Err(Error::Mismatch {
                    command: append.command,
                });
            }
            return Ok(Outcome::Replayed(accepted));
        }
        if let Some(error) = self.view.board.damaged(&append.chain) {
            return Err(error);
        }
        let now = self.now()?;
        if let Some(appender) = self.chains.get(&append.chain) {
            let moment = Moment {
                time: appender.time(now),
                marks: self.marks,
            };
            appender.check(&append, now, &moment)?;
            return self.write(append, &moment);
        }
        let chain = Arc::new(Chain::new(append.chain.clone(), self.view.next_number()));
        let appender = Appender::empty(&self.view.ledger, Arc::clone(&chain));
        let moment = Moment {
            time: now,
            marks: self.marks,
        };
        appender.check(&append, now, &moment)?;
        self.view.add(chain);
        self.chains.insert(append.chain.clone(), appender);
        self.write(append, &moment)
    }

    /// Builds the events of an append that nothing refuses any more, and puts them into the group as one frame.
    fn write(&mut self, mut append: Box<Prepared>, moment: &Moment) -> Result<Outcome, Error> {
        let Some(appender) = self.chains.get_mut(&append.chain) else {
            return Err(Error::Closed);
        };
        let chain = Arc::clone(&appender.chain);
        let first = appender.size();
        let events = std::mem::take(&mut append.events);
        let mut entries = Vec::with_capacity(events.len());
        let mut bytes = 0_usize;
        for event in events {
            let entry = appender.build(&self.view.ledger, &append, event, moment);
            bytes = bytes.saturating_add(record::length(entry.record()));
            entries.push(entry);
        }
        if let Err(error) = self.make_room(bytes) {
            self.take_back(&append.chain, &entries);
            return Err(error);
        }
        if append.chain.is_platform() {
            for entry in &entries {
                let family = entry.header().event_type.family();
                self.marks.note(family, entry.sequence(), entry.hash());
            }
        }
        let placed = self.journal.push_with(Kind::Events, |frame| {
            for entry in &entries {
                record::encode(frame, entry.record());
            }
        });
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            let place = |entry: &Entry| (entry.sequence(), entry.hash());
            self.journal.note(&append.chain, place(first), place(last));
        }
        let accepted = Accepted {
            chain: chain.number,
            first: countersign_ids::Sequence::new(first),
            events: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            position: placed.end,
            request: append.request_digest,
        };
        self.view
            .log
            .commands
            .insert(*append.command.as_bytes(), accepted.to_bytes());
        let receipt = receipt(&append, &accepted, &entries);
        self.written.push(Written {
            place: placed,
            what: What::Events { chain, entries },
        });
        Ok(Outcome::Written(receipt))
    }

    fn checkpoint(&mut self, chain: Arc<Chain>, checkpoint: Checkpoint) -> Result<(), Error> {
        self.resume()?;
        // What a chain that lost its end would sign contradicts what was signed before.
        if let Some(error) = self.view.board.damaged(&chain.id) {
            return Err(error);
        }
        let mut payload = Vec::new();
        put(&mut payload, chain.id.to_string().as_bytes());
        put(&mut payload, checkpoint.note.as_bytes());
        self.make_room(payload.len())?;
        let place = self.journal.push(Kind::Checkpoint, &payload);
        self.written.push(Written {
            place,
            what: What::Checkpoint { chain, checkpoint },
        });
        Ok(())
    }

    /// Begins a new segment where a frame with so much payload does not fit into this one.
    fn make_room(&mut self, payload: usize) -> Result<(), Error> {
        if self.journal.fits(payload) {
            return Ok(());
        }
        if let Some(error) = self.commit() {
            return Err(error);
        }
        self.journal
            .roll(payload)
            .map_err(|error| self.failed(error))
    }

    /// Makes the group durable, shows it to everybody and answers; the error if nothing can be written any more.
    pub(crate) fn commit(&mut self) -> Option<Error> {
        if self
            .journal
            .commit()
            .map_err(|error| self.failed(error))
            .is_err()
        {
            return Some(self.fail_waiting());
        }
        for written in &self.written {
            written.publish();
        }
        if !self.written.is_empty() {
            self.durable_marks = self.marks;
            self.view.durable.send_replace(self.journal.durable());
        }
        self.waiting.drain(..).for_each(Waiting::answer);
        self.handover.give(&mut self.written);
        None
    }

    /// After a panic: what the group holds is unknown, so nothing of it and nothing after it is written.
    pub(crate) fn give_up(&mut self) -> Error {
        self.journal.give_up();
        self.view.board.stop(&Error::WriterPanicked);
        self.fail_waiting()
    }

    /// The group may or may not survive: nobody is told that it did.
    fn fail_waiting(&mut self) -> Error {
        for written in std::mem::take(&mut self.written) {
            if let What::Events { chain, entries } = written.what {
                self.take_back(&chain.id, &entries);
            }
        }
        self.marks = self.durable_marks;
        let stopped = || self.view.board.stopped().unwrap_or(Error::Closed);
        for waiting in self.waiting.drain(..) {
            waiting.fail(stopped());
        }
        stopped()
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let error = Error::io(self.journal.dir(), error);
        if self.journal.may_reopen() {
            self.view.board.wait(&error);
        } else {
            self.view.board.stop(&error);
        }
        error
    }

    fn now(&mut self) -> Result<countersign_ids::Time, Error> {
        match self.watch.read(self.clock.as_ref()) {
            Reading::Steady(now) => {
                if std::mem::take(&mut self.jumped) {
                    self.view.board.with(|status| status.clock_jumped = false);
                }
                Ok(now)
            }
            Reading::SteppedBack(back) => {
                tracing::warn!(from = %back.from, to = %back.to, "the clock stepped back");
                self.view
                    .board
                    .with(|status| status.stepped_back = Some(back));
                Ok(back.to)
            }
            Reading::Jumped { expected, now } => {
                self.jumped = true;
                self.view.board.with(|status| status.clock_jumped = true);
                Err(Error::ClockJumped { expected, now })
            }
        }
    }
}

impl Waiting {
    fn answer(self) {
        // A caller that went away does not need its answer; its command is in the ledger all the same.
        match self {
            Self::Append(reply, outcome) => drop(reply.send(outcome)),
            Self::Done(reply, outcome) => drop(reply.send(outcome)),
        }
    }

    fn fail(self, error: Error) {
        match self {
            Self::Append(reply, outcome) => drop(reply.send(Err(outcome.err().unwrap_or(error)))),
            Self::Done(reply, outcome) => drop(reply.send(Err(outcome.err().unwrap_or(error)))),
        }
    }
}

fn receipt(append: &Prepared, accepted: &Accepted, entries: &[Entry]) -> Receipt {
    let last = entries.last().map_or(accepted.first, Entry::sequence);
    Receipt {
        chain: append.chain.clone(),
        command: append.command,
        first: accepted.first,
        last,
        events: entries
            .iter()
            .map(|entry| (entry.header().id, entry.hash()))
            .collect(),
        position: accepted.position,
        level: Level::Local,
        replayed: false,
    }
}
