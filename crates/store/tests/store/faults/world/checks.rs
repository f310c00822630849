//! What was told, compared with what is there.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{command_id, sha256};
use countersign_ids::{ChainId, Digest, Retention, Sequence};
use countersign_store::{Entry, Error};

use super::super::step::{CHAINS, Command, actor_command, blob_of};
use super::World;
use crate::support::*;

/// What a sealed body says about its key.
enum Key {
    Opens(Vec<u8>),
    Gone,
    Unknown,
}

impl World {
    /// Compares the ledger, as it was found, with everything that was told: what is certain is there, and behind it, in each
    /// chain, only whole commands that were not answered, from the first of the chain on, in their order. Between chains nobody
    /// was promised an order of what was not answered. What was found is certain then.
    pub(super) fn check(&mut self) {
        let mut found: BTreeMap<ChainId, Vec<Entry>> = BTreeMap::new();
        for (id, head) in self.ledger().chains() {
            assert_eq!(self.ledger().status().damaged.get(&id), None);
            let size = usize::try_from(head.size).unwrap();
            let entries = self.ledger().read(&id, 0, size + 1).unwrap();
            assert_eq!(entries.len(), size);
            found.insert(id, entries);
        }
        for (id, known) in &self.certain {
            let entries = found.get(id).map_or(&[][..], Vec::as_slice);
            let hashes: Vec<_> = entries.iter().take(known.len()).map(Entry::hash).collect();
            assert_eq!(&hashes, known, "chain `{id}` lost or changed something");
        }
        let mut missing = BTreeMap::new();
        for command in std::mem::take(&mut self.doubtful) {
            if self.find_doubtful(&command, &found) {
                let before = missing.get(&command.chain);
                let in_order = before.is_none() || self.scattered;
                assert!(in_order, "{command:?} is there, {before:?} is not");
            } else {
                self.sealed_before_an_erasure.remove(&command.number);
                missing.insert(command.chain, command);
            }
        }
        self.scattered = false;
        for (id, entries) in &found {
            self.trace.push(format!("{id}: {}", entries.len()));
            let known = self.certain.get(id).map_or(0, Vec::len);
            assert_eq!(entries.len(), known, "chain `{id}` has what nobody sent");
        }
        for entry in found.values().flatten() {
            let (certain, most) = self
                .expired
                .get(&entry.header().chain)
                .copied()
                .unwrap_or_default();
            let (at, header) = (entry.sequence().get(), entry.header());
            let operational = header.retention == Retention::Operational;
            if entry.body().is_some() {
                assert!(!operational || at >= certain, "{header:?} was removed");
            } else {
                assert!(operational && at < most, "{header:?} lost its body");
            }
        }
        self.check_receipts();
        self.check_blobs();
        self.check_persons();
        self.audit();
    }

    /// Whether a command that was not answered is there, next in its chain.
    fn find_doubtful(&mut self, command: &Command, found: &BTreeMap<ChainId, Vec<Entry>>) -> bool {
        let append = actor_command(command);
        let known = self.certain.entry(append.chain.clone()).or_default().len();
        let entries = found.get(&append.chain).map_or(&[][..], Vec::as_slice);
        let id = command_id(&append.chain, &append.actor, &append.command);
        let its = |entry: &&Entry| entry.header().commandid == id;
        let entries: Vec<_> = entries.iter().skip(known).take_while(its).collect();
        if entries.is_empty() {
            return false;
        }
        assert_eq!(
            entries.len(),
            command.events,
            "{command:?} is there in part"
        );
        let receipt = self
            .ledger()
            .receipt_for(&append.chain, &append.actor, &append.command);
        self.told(command, receipt.unwrap().unwrap());
        true
    }

    fn check_receipts(&self) {
        for (command, first) in &self.receipts {
            let append = actor_command(command);
            let found = self
                .ledger()
                .receipt_for(&append.chain, &append.actor, &append.command);
            assert_eq!(found.unwrap().as_ref(), Some(first), "{command:?}");
        }
    }

    fn check_blobs(&mut self) {
        let get = |of: usize, number| {
            let digest: Digest = sha256(&blob_of(number));
            self.ledger().blobs().get(&chain(CHAINS[of]), &digest)
        };
        for (of, number) in &self.blobs {
            assert_eq!(get(*of, *number).unwrap(), blob_of(*number));
        }
        let mut there = BTreeSet::new();
        for (of, number) in &self.doubtful_blobs {
            match get(*of, *number) {
                Ok(bytes) => {
                    assert_eq!(bytes, blob_of(*number));
                    there.insert((*of, *number));
                }
                Err(error) => assert!(matches!(error, Error::BlobUnknown { .. }), "{error:?}"),
            }
        }
        // One that was found is durable only when it is put again.
        self.doubtful_blobs = there;
    }

    fn check_persons(&mut self) {
        let read = |id: &ChainId, at: Sequence| {
            let entry = self.ledger().event(id, at).unwrap();
            match self.ledger().unseal(&entry) {
                Ok(body) => Key::Opens(body),
                Err(Error::KeyDestroyed { .. }) => Key::Gone,
                // Reading a key whose destruction began finishes that first, which a bad disk may prevent.
                Err(error) => {
                    self.fair::<()>(&Err(error));
                    Key::Unknown
                }
            }
        };
        for (id, at) in &self.gone {
            assert!(!matches!(read(id, *at), Key::Opens(_)), "it was erased");
        }
        let mut erased = Vec::new();
        for (person, sealed) in &self.sealed {
            for (id, at, command) in sealed {
                match read(id, *at) {
                    Key::Unknown => {}
                    Key::Opens(body) => {
                        let plain = actor_command(command).events.remove(0).body;
                        assert_eq!(body, plain, "{command:?}");
                    }
                    Key::Gone => {
                        let doubtful = self.doubtful_persons.contains(person);
                        assert!(doubtful, "{command:?}: the key is lost");
                        erased.push((id.clone(), *at));
                    }
                }
            }
        }
        for sealed in self.sealed.values_mut() {
            sealed.retain(|(id, at, _)| !erased.contains(&(id.clone(), *at)));
        }
        self.gone.extend(erased);
        if self.disk.fired() == self.fired {
            self.doubtful_persons.clear();
        }
    }
}
