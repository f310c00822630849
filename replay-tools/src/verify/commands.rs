//! A command id never comes twice in a chain, checked in memory that does not grow with the ledger.
//!
//! A filter remembers every id approximately; what it may have seen before is a suspect, and only chains with suspects
//! are read once more to tell a repeat from a chance hit.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::Header;
use countersign_ids::CommandId;

use crate::source::{GO_ON, Source, SourceError};
use crate::verdict::{Findings, Level};

/// Lines of the filter: 32 MiB, so that among ten million commands a few hundred are suspects by chance, and among a million
/// none. An id has its bits in one line, because each line costs a wait for memory.
const LINES: usize = 1 << 19;
/// A line is 512 bits: what the processor fetches at once.
type Line = [u64; 8];
/// Bits set per id.
const PROBES: u32 = 6;

/// The command ids that went by.
#[derive(Debug)]
pub(super) struct Commands {
    filter: Vec<Line>,
    last: BTreeMap<String, CommandId>,
    suspects: BTreeMap<String, BTreeSet<CommandId>>,
}

impl Commands {
    pub(super) fn new() -> Self {
        Self {
            filter: vec![[0; 8]; LINES],
            last: BTreeMap::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// Takes the command of the next event of a chain.
    pub(super) fn follow(&mut self, chain: &str, command: CommandId) {
        match self.last.get_mut(chain) {
            Some(last) if *last == command => return,
            Some(last) => *last = command,
            None => drop(self.last.insert(chain.to_owned(), command)),
        }
        if self.mark(&command) {
            self.suspects
                .entry(chain.to_owned())
                .or_default()
                .insert(command);
        }
    }

    /// Sets the bits of an id; tells whether all of them were set.
    fn mark(&mut self, command: &CommandId) -> bool {
        let (line, bits) = command.as_bytes().split_at(8);
        let number = |half: &[u8]| half.try_into().map_or(0, u64::from_be_bytes);
        let place = usize::try_from(number(line)).unwrap_or_default() % LINES;
        let (bits, mut seen) = (number(bits), true);
        let Some(line) = self.filter.get_mut(place) else {
            return true;
        };
        for probe in 0..PROBES {
            let bit = bits >> (9 * probe);
            let word = usize::try_from(bit >> 6 & 7).unwrap_or_default();
            if let Some(word) = line.get_mut(word) {
                let bit = 1_u64 << (bit & 63);
                seen &= *word & bit != 0;
                *word |= bit;
            }
        }
        seen
    }

    /// Reads the chains with suspects once more.
    pub(super) fn finish(
        &self,
        source: &dyn Source,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        let mut seen: BTreeMap<String, BTreeSet<CommandId>> = BTreeMap::new();
        let mut last: BTreeMap<String, CommandId> = BTreeMap::new();
        let mut repeats = Vec::new();
        source.events(
            &|chain| self.suspects.contains_key(chain),
            &mut Findings::default(),
            &mut |entry, _| {
                let Ok(header) = Header::parse(&entry.record.header) else {
                    return GO_ON;
                };
                let (chain, command) = (entry.chain, header.commandid);
                let suspect = self
                    .suspects
                    .get(&chain)
                    .is_some_and(|suspects| suspects.contains(&command));
                let again = last.insert(chain.clone(), command) != Some(command);
                if suspect && again && !seen.entry(chain.clone()).or_default().insert(command) {
                    repeats.push((chain, header.sequence.get()));
                }
                GO_ON
            },
        )?;
        for (chain, at) in repeats {
            findings.violation(
                Level::Chain,
                "command-repeated",
                &chain,
                at,
                "the command came before in this chain",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_before_is_a_suspect() {
        let id = |number: u32| {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(
                &countersign_chain::sha256(&number.to_be_bytes()).as_bytes()[..16],
            );
            CommandId::from_bytes(bytes)
        };
        let mut commands = Commands::new();
        for number in 0..10_000 {
            commands.follow("acme", id(number));
            commands.follow("acme", id(number));
        }
        assert!(commands.suspects.is_empty());
        commands.follow("acme", id(17));
        assert_eq!(commands.suspects["acme"], BTreeSet::from([id(17)]));
    }
}
