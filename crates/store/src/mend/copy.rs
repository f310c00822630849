//! What stood in a hole of the journal, from the log: every command whose frame ended in it, at its place.
//!
//! The index of commands says where each frame ended, so frames are put where they stood. What is between them held no event,
//! if every event that may have stood there can be read.

use countersign_chain::{Body, Record};
use countersign_ids::{ChainId, EventHash, Sequence};

use crate::journal::footer::Footer;
use crate::journal::frame::{self, HEAD_BYTES};
use crate::journal::hole::Hole;
use crate::journal::scan::Frame;
use crate::journal::{Kind, Position, bytes, record, whole};
use crate::view::{Chain, View};
use crate::{Entry, Error};

/// The frames of a hole.
pub(super) struct Filled {
    pub(super) frames: Vec<(Frame, Vec<u8>)>,
    /// Whose events stand in them.
    pub(super) chains: Vec<ChainId>,
}

/// A command whose frame ended in the hole.
struct Command {
    chain: ChainId,
    end: Position,
    entries: Vec<Entry>,
}

/// Events that may have stood in a hole and cannot be read.
type Unread = Vec<(ChainId, Sequence)>;

/// The frames of a hole, or the events that may have stood there and cannot be read. A hole that ends its segment has its footer,
/// after what `footer` says stands before the hole.
pub(super) fn fill(
    view: &View,
    hole: &Hole,
    footer: Option<&Footer>,
) -> Result<Result<Filled, Unread>, Error> {
    let mut commands = Vec::new();
    let mut unread = Unread::new();
    let mut pruned = false;
    for chain in view.all() {
        let events = Events {
            view,
            chain: &chain,
        };
        pruned |= events.may_have_stump_in(hole)?;
        events.commands_in(hole, &mut commands, &mut unread)?;
    }
    commands.sort_by_key(|command| command.end);
    let mut tiles = Tiles::new(hole);
    for command in &commands {
        let payload = payload(&command.entries);
        let thinned = command
            .entries
            .iter()
            .any(|entry| matches!(entry.record().body, Body::Absent(_)));
        if !tiles.command(command.end, &payload, thinned) {
            return Ok(Err(unread));
        }
    }
    let placed = match footer {
        Some(before) => tiles.footer(before, &commands, hole.to),
        None => tiles.blank_to(hole.to),
    };
    // Where something is left over, it may have been what cannot be read, what is left of pruned events, or what a chain lost
    // before the log had it.
    let lost = !view.board.damaged_chains().is_empty();
    if !placed || (tiles.gaps > 0 && (pruned || lost || !unread.is_empty())) {
        return Ok(Err(unread));
    }
    let mut chains: Vec<_> = commands.into_iter().map(|command| command.chain).collect();
    chains.sort();
    chains.dedup();
    let frames = tiles.frames;
    Ok(Ok(Filled { frames, chains }))
}

fn payload(entries: &[Entry]) -> Vec<u8> {
    let mut payload = Vec::new();
    let records = entries.iter().map(Entry::record);
    records.for_each(|event: &Record| record::encode(&mut payload, event));
    payload
}

/// The events of one chain as the log has them.
struct Events<'a> {
    view: &'a View,
    chain: &'a Chain,
}

impl Events<'_> {
    /// The event that stands there, and where its frame ended, if both can be read.
    fn at(&self, sequence: u64) -> Result<Option<(Entry, Position, u64)>, Error> {
        let (newest, first) = self.chain.newest(sequence, 1);
        let entry = if sequence >= first {
            newest.into_iter().next()
        } else {
            let read = self
                .view
                .log
                .read(&self.view.ledger, self.chain, sequence, 1);
            read.ok().and_then(|read| read.into_iter().next())
        };
        let Some(entry) = entry else { return Ok(None) };
        // An index that cannot be read says nothing about any command.
        let accepted = self.view.log.command(&entry.header().commandid)?;
        Ok(accepted.map(|accepted| (entry, accepted.position, accepted.first.get())))
    }

    /// The first event at or behind this one that can be read, and where its frame ended.
    fn from(&self, sequence: u64) -> Result<Option<(u64, Position)>, Error> {
        for sequence in sequence..self.chain.size() {
            if let Some((_, end, _)) = self.at(sequence)? {
                return Ok(Some((sequence, end)));
            }
        }
        Ok(None)
    }

    /// Whether the chain was pruned, and what is left of that may have stood in the hole: it stands before the first event that is
    /// kept.
    fn may_have_stump_in(&self, hole: &Hole) -> Result<bool, Error> {
        let first = self.chain.first();
        if first == 0 {
            return Ok(false);
        }
        Ok(self.at(first)?.is_none_or(|(_, end, _)| end > hole.from))
    }

    /// Adds the commands whose frames ended in the hole, and the events that cannot be read and may have stood there.
    fn commands_in(
        &self,
        hole: &Hole,
        commands: &mut Vec<Command>,
        unread: &mut Unread,
    ) -> Result<(), Error> {
        let (mut low, mut high) = (self.chain.first(), self.chain.size());
        while low < high {
            let middle = low.midpoint(high);
            match self.from(middle)? {
                Some((read, end)) if end <= hole.from => low = read.saturating_add(1),
                _ => high = middle,
            }
        }
        let mut cannot_read = |at| unread.push((self.chain.id.clone(), Sequence::new(at)));
        for sequence in low..self.chain.size() {
            let Some((entry, end, first)) = self.at(sequence)? else {
                cannot_read(sequence);
                continue;
            };
            if end > hole.to {
                break;
            }
            match commands.last_mut() {
                Some(command) if command.end == end && command.chain == self.chain.id => {
                    command.entries.push(entry);
                }
                // A command of which the first event cannot be read cannot be placed.
                _ if first != sequence => cannot_read(sequence),
                _ => commands.push(Command {
                    chain: self.chain.id.clone(),
                    end,
                    entries: vec![entry],
                }),
            }
        }
        Ok(())
    }
}

/// Frames side by side, from the beginning of the hole on.
struct Tiles {
    base: Position,
    durable_to: Position,
    next: Position,
    frames: Vec<(Frame, Vec<u8>)>,
    gaps: usize,
}

impl Tiles {
    const fn new(hole: &Hole) -> Self {
        let base = match hole.segment {
            Some(base) => base,
            None => hole.from,
        };
        Self {
            base,
            durable_to: hole.from,
            next: hole.from,
            frames: Vec::new(),
            gaps: 0,
        }
    }

    /// A command's frame that ends at `end`; whether it has room. Where bodies are gone it was longer than it is.
    fn command(&mut self, end: Position, payload: &[u8], thinned: bool) -> bool {
        let length = bytes(HEAD_BYTES.saturating_add(payload.len()));
        let Some(mut start) = end.get().checked_sub(length) else {
            return false;
        };
        if thinned {
            start = self.next.get();
        }
        if !self.blank_to(Position::new(start)) {
            return false;
        }
        let room = end.since(self.next).checked_sub(bytes(HEAD_BYTES));
        let Some(room) = room.and_then(|room| usize::try_from(room).ok()) else {
            return false;
        };
        let place = (self.base, self.next.since(self.base));
        self.push(frame::filled(place, self.durable_to, payload, room)) && self.next == end
    }

    /// The footer of the segment, which ends the hole.
    fn footer(&mut self, before: &Footer, commands: &[Command], end: Position) -> bool {
        let mut footer = before.clone();
        for command in commands {
            let place =
                |entry: &Entry| -> (Sequence, EventHash) { (entry.sequence(), entry.hash()) };
            if let (Some(first), Some(last)) = (command.entries.first(), command.entries.last()) {
                footer.events(&command.chain, place(first), place(last));
            }
        }
        let length = bytes(HEAD_BYTES.saturating_add(footer.payload().len()));
        let Some(start) = end.get().checked_sub(length) else {
            return false;
        };
        if !self.blank_to(Position::new(start)) {
            return false;
        }
        self.frames.iter().for_each(|_| footer.frame());
        self.make(Kind::Footer, &footer.payload())
    }

    /// What held no event, up to there; whether it has room for a frame.
    fn blank_to(&mut self, end: Position) -> bool {
        if end < self.next {
            return false;
        }
        let Some(room) = end.since(self.next).checked_sub(bytes(HEAD_BYTES)) else {
            return end == self.next;
        };
        self.gaps += 1;
        self.make(
            Kind::Lost,
            &vec![0; usize::try_from(room).unwrap_or_default()],
        )
    }

    fn make(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let mut made = Vec::new();
        let place = (self.base, self.next.since(self.base));
        frame::encode(&mut made, kind, place, self.durable_to, |frame| {
            frame.extend_from_slice(payload);
        });
        self.push(made)
    }

    fn push(&mut self, made: Vec<u8>) -> bool {
        let place = (self.base, self.next.since(self.base));
        let Some(frame) = whole(&made, place) else {
            return false;
        };
        self.next = frame.end;
        self.frames.push((frame, made));
        true
    }
}
