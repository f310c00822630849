//! What is asked of the ledger in a simulation, and what that is made of.

use countersign_ids::{DataSubject, EventType, Retention};
use countersign_store::{Append, Error, NewEvent};

use crate::support::*;

pub(super) const CHAINS: [&str; 3] = ["blog", "shop", "wiki"];

/// One thing that somebody asks of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A command of so many events, with this much text in each.
    Append(Command),
    /// Commands that wait together.
    Together(Vec<Command>),
    /// A blob for a chain.
    Blob { chain: usize, number: usize },
    /// The key of a person is destroyed.
    Erase { person: usize },
    /// The operational bodies of a chain are removed.
    Expire { chain: usize },
    /// A clean stop, and a new start.
    Restart,
    /// A kill between two commands, and a new start.
    Kill,
    /// A clean stop; a block of the log is damaged; a new start that reads it.
    SpoilLog,
    /// Sealed segments are compressed.
    Compress,
    /// A kill; one bit is flipped in every segment; a new start.
    SpoilJournal,
}

/// A command; its number makes it the only one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) number: usize,
    pub(super) chain: usize,
    pub(super) events: usize,
    pub(super) text: usize,
    pub(super) person: Option<usize>,
}

pub(super) fn actor_command(command: &Command) -> Append {
    let text = "x".repeat(command.text);
    let body = |event| {
        format!(
            "{{\"command\":{},\"event\":{event},\"text\":\"{text}\"}}",
            command.number
        )
    };
    let new = |event: usize| match command.person {
        None if command.number % 3 == 2 => NewEvent {
            event_type: EventType::new("remark", "made", 1).unwrap(),
            retention: Retention::Operational,
            ..event_of(&body(event))
        },
        None => event_of(&body(event)),
        Some(person) => NewEvent {
            event_type: EventType::new("reason", "given", 1).unwrap(),
            retention: Retention::Personal,
            seal: Some(person_of(person)),
            ..event_of(&body(event))
        },
    };
    let events = (0..command.events).map(new).collect();
    Append::new(
        chain(CHAINS[command.chain]),
        actor(),
        key(&command.number.to_string()),
        events,
    )
}

pub(super) fn event_of(body: &str) -> NewEvent {
    event("registered", "site-a", body)
}

/// Whether a command was refused because its key could not be made or read: then the writer never saw it.
pub(super) fn is_of_a_key(error: &Error) -> bool {
    match error {
        Error::Disk { path, .. } | Error::DiskFull { path } => {
            path.components().any(|part| part.as_os_str() == "keyring")
        }
        _ => false,
    }
}

pub(super) fn person_of(person: usize) -> DataSubject {
    format!("person-{person}").parse().unwrap()
}

pub(super) fn blob_of(number: usize) -> Vec<u8> {
    format!("blob {number} ")
        .repeat(1 + number * 97 % 300)
        .into_bytes()
}
