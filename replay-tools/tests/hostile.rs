//! Bytes from outside never make the auditor panic, and no changed byte of a bundle passes.

#![cfg(test)]

mod support;

use std::fs;

use support::zip::{lines, read, set_lines, write};
use support::{Twist, export, story, verify};

/// A small deterministic generator: the seed is in the failure.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[test]
fn no_changed_byte_of_a_bundle_passes() {
    let world = story::tell(1, Twist::Sound);
    for bundle in [
        export(&world, None, "whole.zip"),
        export(&world, Some("acme"), "acme.zip"),
    ] {
        let sound = fs::read(&bundle).unwrap();
        let path = world.path("changed.zip");
        for seed in 0..60 {
            let mut dice = Dice(seed);
            let mut bytes = sound.clone();
            let at = dice.roll(bytes.len());
            match dice.roll(3) {
                0 => bytes[at] ^= 1 << dice.roll(8),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
            fs::write(&path, bytes).unwrap();
            assert_ne!(verify(&path).exit, 0, "seed {seed}, byte {at}");
        }
    }
}

#[test]
fn garbage_inside_a_well_framed_bundle_does_not_panic() {
    let world = story::tell(1, Twist::Sound);
    for (tenant, name) in [(None, "whole.zip"), (Some("acme"), "acme.zip")] {
        let sound = read(&export(&world, tenant, name));
        let names: Vec<String> = sound
            .keys()
            .filter(|name| *name != "manifest.json")
            .cloned()
            .collect();
        let path = world.path("garbage.zip");
        for seed in 0..60 {
            let mut dice = Dice(seed);
            let mut members = sound.clone();
            let name = &names[dice.roll(names.len())];
            let bytes = members.get_mut(name).unwrap();
            for _ in 0..=dice.roll(4) {
                if !bytes.is_empty() {
                    let at = dice.roll(bytes.len());
                    bytes[at] = u8::try_from(dice.roll(256)).unwrap();
                }
            }
            write(&path, members);
            drop(verify(&path));
        }
    }
}

#[test]
fn huge_lines_and_deep_json_are_refused_and_not_read() {
    let world = story::tell(1, Twist::Sound);
    let sound = read(&export(&world, None, "whole.zip"));
    let path = world.path("huge.zip");
    for line in [
        "x".repeat(3 << 20),
        "[".repeat(100_000),
        format!("{{\"a\":{}", "{\"a\":".repeat(50_000)),
        String::new(),
    ] {
        let mut members = sound.clone();
        let mut all = lines(&members, "acme");
        all[3] = line;
        set_lines(&mut members, "acme", &all);
        write(&path, members);
        let verdict = verify(&path);
        assert_eq!(verdict.exit, 1, "{}", verdict.to_text());
    }
}

#[test]
fn a_zstd_bomb_is_neither_memory_nor_a_verdict() {
    let world = story::tell(1, Twist::Sound);
    let mut members = read(&export(&world, None, "whole.zip"));
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(b'0'), 256 << 20), 3).unwrap();
    members.remove("events/acme.jsonl").unwrap();
    members.insert("events/acme.jsonl.zst".to_owned(), bomb);
    let path = world.path("bomb.zip");
    write(&path, members);
    assert_eq!(verify(&path).exit, 1);
}
