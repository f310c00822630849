//! The event lines of a bundle as a stream, chain after chain.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use super::line::{self, LINE_BYTES_MAX};
use super::read::Bundle;
use crate::source::{Entry, Fault, Item, SourceError};

/// The events of some chains.
pub(super) struct Events<'b> {
    bundle: &'b Bundle,
    /// Chains to come, with the size that a whole one must have.
    chains: VecDeque<(&'b str, Option<u64>)>,
    open: Option<Lines<'b>>,
}

/// The lines of one chain.
struct Lines<'b> {
    chain: &'b str,
    size: Option<u64>,
    count: u64,
    lines: Option<Box<dyn BufRead + Send + 'b>>,
    buffer: Vec<u8>,
}

impl<'b> Events<'b> {
    pub(super) fn new(bundle: &'b Bundle, chains: VecDeque<(&'b str, Option<u64>)>) -> Self {
        Self {
            bundle,
            chains,
            open: None,
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Item, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(item) = open.next() {
                    return Some(Ok(item));
                }
                let fault = open.counted();
                self.open = None;
                if let Some(fault) = fault {
                    return Some(Ok(Item::Fault(fault)));
                }
            }
            let (chain, size) = self.chains.pop_front()?;
            let lines = match self.bundle.lines(chain) {
                Ok(lines) => lines,
                Err(error) => return Some(Err(error)),
            };
            let missing = lines.is_none();
            self.open = Some(Lines {
                chain,
                size,
                count: 0,
                lines,
                buffer: Vec::new(),
            });
            if missing {
                return Some(Ok(Item::Fault(Fault {
                    at: None,
                    rule: "events",
                    message: format!("the events of chain `{chain}` are missing"),
                })));
            }
        }
    }
}

impl Lines<'_> {
    fn next(&mut self) -> Option<Item> {
        let lines = self.lines.as_mut()?;
        self.buffer.clear();
        let limit = LINE_BYTES_MAX as u64 + 2;
        let read = lines.take(limit).read_until(b'\n', &mut self.buffer);
        match read {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => {
                self.lines = None;
                return Some(self.fault(format!(
                    "the events end in bytes that cannot be read: {error}"
                )));
            }
        }
        let line = match self.buffer.strip_suffix(b"\n") {
            Some(line) if line.len() <= LINE_BYTES_MAX => line,
            _ => {
                self.lines = None;
                let reason = "the line has no end, or is longer than an event can be";
                return Some(self.fault(reason.to_owned()));
            }
        };
        let item = match line::parse(line) {
            Ok(record) => Item::Event(Entry {
                chain: self.chain.to_owned(),
                record,
            }),
            Err(error) => self.fault(error.to_string()),
        };
        self.count = self.count.saturating_add(1);
        Some(item)
    }

    fn fault(&self, message: String) -> Item {
        Item::Fault(Fault {
            at: Some((self.chain.to_owned(), self.count)),
            rule: "line",
            message,
        })
    }

    /// A whole chain has as many lines as the manifest says.
    fn counted(&self) -> Option<Fault> {
        let said = self.size.filter(|said| *said != self.count)?;
        Some(Fault {
            at: None,
            rule: "manifest",
            message: format!(
                "chain `{}` has {} events, the manifest says {said}",
                self.chain, self.count
            ),
        })
    }
}
