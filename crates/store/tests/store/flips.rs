//! One flipped bit, anywhere in the bytes that a ledger uses: it is found, named and healed, and nothing is lost or served.
//!
//! A normal run takes every byte of what each structure begins with and a sample of the others, by a seed that it prints;
//! with `COUNTERSIGN_FLIPS=all` every byte is flipped.

#![expect(
    clippy::print_stdout,
    reason = "a sample is known by the seed that it prints"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_chain::{Checkpoint, sha256};
use countersign_ids::{ChainId, EventHash};
use countersign_store::faults::Random;
use countersign_store::read::Reader;
use countersign_store::{Entry, Ledger, Options, Place, Projections, Remedy};
use ed25519_dalek::SigningKey;

use crate::faults::{each, scratch};
use crate::support::*;

const ALL: &str = "COUNTERSIGN_FLIPS";
const SEED: &str = "COUNTERSIGN_FLIPS_SEED";
/// How many bytes of each file a normal run takes beside what stands in front.
const SAMPLE: usize = 40;
/// A frame's head, and more than the head of a compressed segment.
const IN_FRONT: usize = 48;
const BLOB: &[u8] = b"a release of the site";

fn small() -> Options {
    Options {
        segment_bytes: 8 * 1024,
        ..options()
    }
}

/// A ledger with everything in it that a bit can be flipped in, and what it tells.
struct Sound {
    dir: tempfile::TempDir,
    files: BTreeMap<PathBuf, Vec<u8>>,
    told: BTreeMap<ChainId, Vec<EventHash>>,
    names: Vec<(String, String)>,
}

impl Sound {
    fn new() -> Self {
        let dir = scratch();
        let ledger = fresh(dir.path(), small());
        let reader = Reader::open(dir.path()).unwrap();
        let mut names = Vec::new();
        while reader.segments().unwrap().len() < 3 {
            for id in ["blog", "shop"] {
                let name = format!("{id}-{}", names.len());
                ledger.append_blocking(command(id, &name)).unwrap();
                names.push((id.to_owned(), name));
            }
            sign(&ledger, "blog");
        }
        for name in ["last", "very last"] {
            ledger.append_blocking(command("blog", name)).unwrap();
            names.push(("blog".to_owned(), name.to_owned()));
            sign(&ledger, "shop");
        }
        ledger.blobs().put(&chain("blog"), BLOB).unwrap();
        until_compressed(dir.path());
        let told = told(&ledger);
        ledger.close().unwrap();
        drop(ledger);
        let mut sound = Self {
            dir,
            files: BTreeMap::new(),
            told,
            names,
        };
        sound.files = files(sound.dir.path());
        sound
    }

    /// The same ledger somewhere else.
    fn copy(&self) -> tempfile::TempDir {
        let dir = scratch();
        for (path, bytes) in &self.files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        dir
    }

    /// Everything that was told is there, once.
    fn is_all_in(&self, ledger: &Ledger) {
        assert_eq!(ledger.status().damaged, BTreeMap::new());
        assert_eq!(told(ledger), self.told);
        for (id, name) in &self.names {
            assert!(ledger.append_blocking(command(id, name)).unwrap().replayed);
        }
        ledger.audit(&Projections::none()).unwrap();
    }
}

fn sign(ledger: &Ledger, id: &str) {
    let (key, head) = (
        SigningKey::from_bytes(&[3; 32]),
        ledger.tree_head(&chain(id)).unwrap(),
    );
    let origin = format!("ledger.example.org/{id}");
    let note = Checkpoint { origin, head }.sign(&key).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(ledger.record_checkpoint(&chain(id), note))
        .unwrap();
}

fn told(ledger: &Ledger) -> BTreeMap<ChainId, Vec<EventHash>> {
    let hashes = |id: &ChainId| -> Vec<EventHash> {
        let entries = ledger.read(id, 0, 10_000).unwrap();
        entries.iter().map(Entry::hash).collect()
    };
    let chains = ledger.chains().into_iter();
    chains.map(|(id, _)| (id.clone(), hashes(&id))).collect()
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_path_buf(), bytes);
            }
        }
    }
    files
}

/// The bytes of a file to flip a bit of.
fn places(bytes: &[u8], random: &mut Random) -> BTreeSet<usize> {
    let blank = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let used = bytes.len() - blank;
    if std::env::var(ALL).is_ok_and(|all| all == "all") {
        return (0..used).collect();
    }
    let last = used.saturating_sub(IN_FRONT);
    let ends = (0..IN_FRONT.min(used)).chain(last..used);
    ends.chain((0..SAMPLE).map(|_| random.below(used)))
        .collect()
}

fn random() -> Random {
    let seed = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        now.as_secs()
    });
    println!("{SEED}={seed}");
    Random::new(seed)
}

/// Does `check` for every item on all cores; names those that failed.
fn check_each<T: Sync + std::fmt::Debug>(items: &[T], check: impl Fn(&T) + Sync) {
    let done = AtomicUsize::new(0);
    let failed = each(items.len() as u64, |number| {
        check(&items[usize::try_from(number).unwrap()]);
        done.fetch_add(1, Ordering::Relaxed);
    });
    let failed: Vec<_> = failed
        .iter()
        .map(|number| &items[usize::try_from(*number).unwrap()])
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    println!("{} flipped bits", done.into_inner());
}

#[test]
fn any_bit_of_the_journal() {
    let (sound, mut random) = (Sound::new(), random());
    let mut flips = Vec::new();
    for (path, bytes) in &sound.files {
        if path.starts_with("journal") {
            let places = places(bytes, &mut random);
            let flip = |at| (path.clone(), at, 1_u8 << random.below(8));
            flips.extend(places.into_iter().map(flip));
        }
    }
    check_each(&flips, |(path, at, mask)| {
        let dir = sound.copy();
        let mut bytes = sound.files[path].clone();
        bytes[*at] ^= mask;
        std::fs::write(dir.path().join(path), bytes).unwrap();
        // With the log and without: the checksum alone tells one bit.
        if at % 2 == 0 {
            std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open(dir.path(), small()).unwrap();
        ledger.sweep().unwrap();
        let status = ledger.status();
        let healed = |damage: &countersign_store::Damage| {
            matches!(damage.place, Place::Journal { .. }) && damage.healed == Some(Remedy::Bit)
        };
        assert!(status.healed.iter().any(healed), "{status:?}");
        assert_eq!(status.damage, []);
        sound.is_all_in(&ledger);
        let read = Reader::open(dir.path()).unwrap().journal().unwrap();
        read.for_each(|item| drop(item.unwrap()));
    });
}

#[test]
fn any_value_of_the_log() {
    let (sound, mut random) = (Sound::new(), random());
    let mut flips = Vec::new();
    tamper(sound.copy().path(), |db| {
        for item in db.iter() {
            let (key, value) = item.unwrap();
            let all = std::env::var(ALL).is_ok_and(|all| all == "all");
            let places = if all {
                (0..value.len()).collect()
            } else {
                BTreeSet::from([0, random.below(value.len()), value.len() - 1])
            };
            let flip = |at| (key.to_vec(), at, 1_u8 << random.below(8));
            flips.extend(places.into_iter().map(flip));
        }
    });
    check_each(&flips, |(key, at, mask)| {
        let dir = sound.copy();
        tamper(dir.path(), |db| {
            let mut value = db.get(key).unwrap().unwrap().to_vec();
            value[*at] ^= mask;
            db.insert(key.as_slice(), value).unwrap();
        });
        let ledger = Ledger::open(dir.path(), small()).unwrap();
        ledger.sweep().unwrap();
        let status = ledger.status();
        let in_log = |damage: &countersign_store::Damage| damage.place == Place::Log;
        assert!(
            status.damage.iter().chain(&status.healed).any(in_log),
            "{status:?}"
        );
        sound.is_all_in_unless_indexed(&ledger, &status);
        drop(ledger);
        // The next start makes the log again.
        let ledger = Ledger::open(dir.path(), small()).unwrap();
        ledger.sweep().unwrap();
        assert_eq!(ledger.status().damage, []);
        sound.is_all_in(&ledger);
    });
}

impl Sound {
    /// An index that is damaged refuses to say that something is new, until the log is made again.
    fn is_all_in_unless_indexed(&self, ledger: &Ledger, status: &countersign_store::Status) {
        assert_eq!(told(ledger), self.told);
        if status.damage.is_empty() {
            self.is_all_in(ledger);
        }
    }
}

#[test]
fn any_bit_of_a_blob() {
    let sound = Sound::new();
    let digest = sha256(BLOB);
    let (path, _) = sound
        .files
        .iter()
        .find(|(path, bytes)| path.starts_with("blobs") && bytes.as_slice() == BLOB)
        .unwrap();
    let flips: Vec<usize> = (0..BLOB.len() * 8).step_by(7).collect();
    check_each(&flips, |bit| {
        let dir = sound.copy();
        let mut bytes = BLOB.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(dir.path().join(path), bytes).unwrap();
        let ledger = Ledger::open(dir.path(), small()).unwrap();
        ledger.sweep().unwrap();
        let left = ledger.status().damage;
        assert!(
            left.iter()
                .any(|damage| damage.place == Place::Blob(digest)),
            "{left:?}"
        );
        ledger.blobs().get(&chain("blog"), &digest).unwrap_err();
        ledger.blobs().put(&chain("blog"), BLOB).unwrap();
        ledger.sweep().unwrap();
        assert_eq!(ledger.status().damage, []);
    });
}
