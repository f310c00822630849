//! The binary `replay` from outside: arguments in, exit code and output out.

#![cfg(test)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use countersign_chain::{TlogProof, merkle};
use countersign_store::read::{Item, Reader};
use support::{Twist, World, export, story};

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replay"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn exits(arguments: &[&str], code: i32) -> String {
    let output = replay(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{err}"
    );
    out.into_owned() + &err
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn genesis(world: &World) -> String {
    hex::encode(world.keys.genesis.verifying_key().to_bytes())
}

#[test]
fn a_ledger_forged_whole_is_0_unpinned_1_pinned_2_strict() {
    let (world, forged) = (story::tell(1, Twist::Sound), story::tell(2, Twist::Sound));
    for path in [
        forged.data(),
        export(&forged, None, "whole.zip"),
        export(&forged, Some("acme"), "acme.zip"),
    ] {
        let path = text(&path);
        assert!(exits(&["verify", path], 0).contains("unpinned"));
        exits(&["verify", path, "--genesis", &genesis(&world)], 1);
        exits(&["verify", path, "--genesis", &world.id.to_string()], 1);
        exits(&["verify", path, "--strict"], 2);
        exits(&["verify", path, "--genesis", &genesis(&forged)], 0);
        exits(
            &[
                "verify",
                path,
                "--genesis",
                &forged.id.to_string(),
                "--strict",
            ],
            0,
        );
    }
}

#[test]
fn pins_of_approvers_connectors_and_freshness() {
    let world = story::tell(1, Twist::Sound);
    let (data, other) = (world.data(), story::tell(2, Twist::Sound));
    let key = |key: &ed25519_dalek::SigningKey| hex::encode(key.verifying_key().to_bytes());
    let file = |name: &str, content: String| {
        let path = world.path(name);
        fs::write(&path, content).unwrap();
        path
    };
    let keys = &world.keys;
    let both = file(
        "both",
        format!("{}\n{} # theo\n", key(&keys.mira), key(&keys.theo)),
    );
    let one = file("one", key(&keys.mira));
    let connector = file("connector", key(&keys.connector));
    exits(
        &[
            "verify",
            text(&data),
            "--approvers",
            text(&both),
            "--connectors",
            text(&connector),
        ],
        0,
    );
    exits(&["verify", text(&data), "--approvers", text(&one)], 1);
    exits(&["verify", text(&data), "--connectors", text(&one)], 1);
    exits(
        &[
            "verify",
            text(&data),
            "--witnesses",
            text(&file("bad", "what".to_owned())),
        ],
        64,
    );
    let note = |world: &World, at: &str| {
        let members = support::zip::read(&export(world, None, &format!("{at}.zip")));
        let name = members
            .keys()
            .rfind(|name| name.starts_with("checkpoints/acme/"))
            .unwrap();
        String::from_utf8(members[name].clone()).unwrap()
    };
    let (ours, theirs) = (
        file("ours", note(&world, "a")),
        file("theirs", note(&other, "b")),
    );
    exits(&["verify", text(&data), "--at-least", text(&ours)], 0);
    exits(&["verify", text(&data), "--at-least", text(&theirs)], 1);
    let mut cut = support::zip::read(&world.path("a.zip"));
    let mut lines = support::zip::lines(&cut, "acme");
    lines.truncate(lines.len() - 4);
    support::zip::set_lines(&mut cut, "acme", &lines);
    cut.retain(|name, _| !name.starts_with("checkpoints/acme/"));
    support::zip::write(&world.path("cut.zip"), cut);
    let told = exits(
        &[
            "verify",
            text(&world.path("cut.zip")),
            "--at-least",
            text(&ours),
        ],
        1,
    );
    assert!(told.contains("[checkpoints/at-least]"), "{told}");
}

#[test]
fn wrong_usage_is_64_and_unreadable_things_are_2() {
    let world = story::tell(1, Twist::Sound);
    let data = world.data();
    for arguments in [
        &["verify"][..],
        &["nonsense"],
        &["verify", "/no/such/file"],
        &["verify", text(&data), "--allow", "nothing"],
        &["verify", text(&data), "--genesis", "nothing"],
        &["verify", text(&data), "--at-least", "/no/such/file"],
        &["show", "/no/such/file"],
        &["export", text(&data), "--out", "/no/such/folder/x.zip"],
        &[
            "export",
            text(&data),
            "--out",
            text(&world.path("x.zip")),
            "--tenant",
            "nobody",
        ],
        &["rebuild", text(&export(&world, None, "w.zip")), "--check"],
    ] {
        exits(arguments, 64);
    }
    exits(&["--help"], 0);
    exits(&["verify", "--help"], 0);
    let garbage = world.path("garbage");
    fs::write(&garbage, b"no ledger").unwrap();
    exits(&["verify", text(&garbage)], 2);
    exits(&["show", text(&garbage)], 2);
    exits(&["verify", text(&garbage), "--allow", "framing"], 2);
    exits(&["verify", text(&world.dir.path().join("."))], 2);
    fs::create_dir(world.path("empty")).unwrap();
    exits(&["verify", text(&world.path("empty"))], 2);
}

#[test]
fn verdicts_as_json_say_the_same() {
    let world = story::tell(1, Twist::Sound);
    let output = replay(&["verify", text(&world.data()), "--json"]);
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (verdict["exit"].as_u64(), verdict["pinned"].as_bool()),
        (Some(0), Some(false))
    );
    assert_eq!(verdict["levels"]["chain"], "verified");
    assert_eq!(verdict["levels"]["mirrors"], "none");
    assert_eq!(verdict["counts"]["statements"], 2);
    assert!(verdict["peak_memory_bytes"].as_u64().unwrap() > 0);
    assert!(
        verdict["asserted"]
            .as_array()
            .is_some_and(|asserted| !asserted.is_empty())
    );
    assert!(
        output.stderr.is_empty(),
        "progress belongs on a terminal only"
    );
}

#[test]
fn show_and_timeline_tell_events_in_order() {
    let world = story::tell(1, Twist::Sound);
    let whole = export(&world, None, "whole.zip");
    let acme = text(&whole);
    let from_directory = exits(
        &["show", text(&world.data()), "--chain", "acme", "--json"],
        0,
    );
    assert_eq!(
        from_directory,
        exits(&["show", acme, "--chain", "acme", "--json"], 0)
    );
    for (number, line) in from_directory.lines().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["header"]["sequence"], format!("{number:020}"));
    }
    assert!(from_directory.contains("\"absent\":\"sealed\""));
    assert_eq!(exits(&["show", acme, "--limit", "3"], 0).lines().count(), 3);
    assert_eq!(
        exits(&["show", acme, "--type", "action.approved"], 0)
            .lines()
            .count(),
        2
    );
    let one = exits(&["show", acme, "--action", "act-2", "--json"], 0);
    assert!(one.lines().count() > 5 && one.lines().all(|line| line.contains("act-2")));
    let told = exits(&["timeline", acme, "--action", "act-1"], 0);
    assert!(
        told.contains("proposed by agent:agent-7")
            && told.contains("approved by mira")
            && told.contains("succeeded")
    );
    assert!(!told.contains("act-2"));
}

#[test]
fn the_same_ledger_gives_the_same_bundle_and_nothing_is_overwritten() {
    let world = story::tell(1, Twist::Sound);
    for (tenant, name) in [(None, "whole"), (Some("acme"), "acme")] {
        let (one, other) = (
            export(&world, tenant, &format!("{name}-1.zip")),
            export(&world, tenant, &format!("{name}-2.zip")),
        );
        let bytes = fs::read(&one).unwrap();
        assert_eq!(bytes, fs::read(&other).unwrap());
        exits(&["export", text(&world.data()), "--out", text(&one)], 64);
        assert_eq!(bytes, fs::read(&one).unwrap());
    }
    let again = world.path("again.zip");
    exits(
        &[
            "export",
            text(&world.path("whole-1.zip")),
            "--out",
            text(&again),
        ],
        0,
    );
    assert_eq!(
        fs::read(world.path("whole-1.zip")).unwrap(),
        fs::read(&again).unwrap(),
        "a bundle of a bundle is the same"
    );
    let part = world.path("part.zip");
    exits(
        &[
            "export",
            text(&world.path("acme-1.zip")),
            "--out",
            text(&part),
        ],
        2,
    );
    exits(
        &[
            "export",
            text(&world.path("whole-1.zip")),
            "--out",
            text(&part),
            "--tenant",
            "acme",
        ],
        0,
    );
    assert_eq!(
        fs::read(world.path("acme-1.zip")).unwrap(),
        fs::read(&part).unwrap()
    );
}

#[test]
fn proofs_lead_to_signed_roots() {
    let world = story::tell(1, Twist::Sound);
    let whole = export(&world, None, "whole.zip");
    let lines = support::zip::lines(&support::zip::read(&whole), "acme");
    for (sequence, line) in lines.iter().enumerate() {
        let sequence = sequence.to_string();
        let proof = exits(
            &[
                "prove",
                text(&world.data()),
                "--chain",
                "acme",
                "--sequence",
                &sequence,
            ],
            0,
        );
        let proof = TlogProof::parse(proof.as_bytes()).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let leaf = merkle::leaf_hash(line["header"].as_str().unwrap().as_bytes());
        let head = countersign_chain::Checkpoint::parse(
            countersign_chain::note::Note::parse(proof.checkpoint.as_bytes())
                .unwrap()
                .text(),
        )
        .unwrap()
        .head;
        merkle::verify_inclusion(&leaf, proof.index, head.size, &proof.hashes, &head.root).unwrap();
    }
    exits(
        &[
            "prove",
            text(&whole),
            "--chain",
            "acme",
            "--sequence",
            "900",
        ],
        2,
    );
    exits(
        &[
            "prove",
            text(&whole),
            "--chain",
            "nobody",
            "--sequence",
            "0",
        ],
        2,
    );
}

#[test]
fn a_directory_in_use_is_verified_up_to_its_last_whole_frame() {
    let mut story = story::Story::begin(1, Twist::Sound);
    story.publish("act-1", b"release", 1);
    let told = exits(&["verify", text(&story.world.data())], 0);
    assert!(
        told.contains("in use") && told.contains("not checked (in use)"),
        "{told}"
    );
    exits(
        &[
            "verify",
            text(&story.world.data()),
            "--strict",
            "--genesis",
            &genesis(&story.world),
        ],
        2,
    );
    exits(&["rebuild", text(&story.world.data()), "--check"], 2);
    exits(&["rebuild", text(&story.world.data())], 0);
    let told = exits(
        &["rebuild", text(&story.world.data()), "--cost", "--json"],
        0,
    );
    let cost: serde_json::Value = serde_json::from_str(&told).unwrap();
    let reader = Reader::open(&story.world.data()).unwrap();
    let events: usize = reader
        .journal()
        .unwrap()
        .map(|item| match item.unwrap() {
            Item::Events { records, .. } => {
                let header = countersign_chain::Header::parse(&records[0].header).unwrap();
                // Heartbeats have no read models.
                usize::from(!header.chain.is_beats()) * records.len()
            }
            Item::Checkpoint { .. } | Item::Pruned { .. } => 0,
        })
        .sum();
    assert_eq!(cost["events"], events, "{told}");
    assert_eq!(cost["sampled"], events, "all of so few are folded: {told}");
    assert_eq!(cost["bytes"], reader.journal_bytes().unwrap(), "{told}");
    assert!(cost["seconds"].as_f64().unwrap() > 0.0, "{told}");
    let world = story.end();
    exits(
        &[
            "verify",
            text(&world.data()),
            "--strict",
            "--genesis",
            &genesis(&world),
        ],
        0,
    );
    exits(&["rebuild", text(&world.data()), "--check"], 0);
}

/// The last segment of a journal, and where its frames end.
fn tail(world: &World) -> (std::path::PathBuf, usize) {
    let reader = Reader::open(&world.data()).unwrap();
    let mut items = reader.journal().unwrap();
    assert!(items.all(|item| item.is_ok()));
    let mut segments: Vec<_> = fs::read_dir(world.data().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    let last = segments.pop().unwrap();
    let base: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    (
        last,
        usize::try_from(items.end().position.get() - base).unwrap(),
    )
}

#[test]
fn a_torn_tail_is_reported_and_damage_is_a_violation() {
    let world = story::Story::begin(1, Twist::Sound).end();
    let data = world.data();
    let scribbled = |segment: &Path, sound: &[u8], end: usize| {
        let mut bytes = sound.to_vec();
        bytes.resize(bytes.len().max(end + 20), 0);
        bytes[end..end + 20].fill(b'x');
        fs::write(segment, bytes).unwrap();
    };
    let (segment, end) = tail(&world);
    let sound = fs::read(&segment).unwrap();
    scribbled(&segment, &sound, end);
    assert!(
        exits(&["verify", text(&data)], 1).contains("[framing/journal]"),
        "after a clean stop"
    );
    fs::write(&segment, &sound).unwrap();
    // A ledger that was killed: nothing says that it was closed.
    let options = countersign_store::Options::default();
    drop(countersign_store::Ledger::open(&data, options).unwrap());
    let (segment, end) = tail(&world);
    let sound = fs::read(&segment).unwrap();
    scribbled(&segment, &sound, end);
    assert!(exits(&["verify", text(&data)], 0).contains("tail: 20 bytes torn"));
    let mut damaged = sound.clone();
    damaged[end / 2] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    assert!(
        exits(&["verify", text(&data)], 1).contains("[framing/journal]"),
        "damage is not torn"
    );
    fs::write(&segment, &sound).unwrap();
    exits(&["verify", text(&data)], 0);
}

#[test]
fn an_event_type_of_a_later_version_is_2() {
    let mut story = story::Story::begin(1, Twist::Sound);
    story
        .world
        .append_raw("acme", "site", "moved", 1, b"{\"to\":\"there\"}");
    let world = story.end();
    let told = exits(&["verify", text(&world.data())], 2);
    assert!(told.contains("[evidence/type]"), "{told}");
    exits(&["verify", text(&world.data()), "--allow", "evidence"], 0);
    let bundle = export(&world, None, "whole.zip");
    exits(&["verify", text(&bundle)], 2);
    if let Some(python) = support::python::interpreter() {
        assert_eq!(
            support::python::verify(python, &bundle, &["--allow", "policy"]).exit,
            2
        );
    }
}

#[test]
fn a_changed_byte_of_one_row_is_named() {
    let world = story::tell(1, Twist::Sound);
    let data = world.data();
    let told = exits(&["rebuild", text(&data), "--check"], 0);
    assert!(
        told.contains("the rows in use are the rows that the events make"),
        "{told}"
    );
    {
        let db = sled::Config::new().path(data.join("sled")).open().unwrap();
        // A block of rows: a checksum over key and block (4); length of the text (4), digests (4), length of the next frame (4);
        // a zstd frame over the text, one over the digests.
        let rows = |item: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = item.unwrap();
            let number = |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().unwrap());
            let (frame, digests) = value[16..].split_at(number(12) as usize);
            let rows = zstd::bulk::decompress(frame, number(4) as usize).unwrap();
            let at = rows.windows(7).position(|part| part == b"\"act-2\"")?;
            Some((key, value[4..12].to_vec(), rows, digests.to_vec(), at))
        };
        let (key, head, mut rows, digests, at) = db.scan_prefix(b"r").find_map(rows).unwrap();
        rows[at + 5] = b'3';
        let frame = zstd::bulk::compress(&rows, 1).unwrap();
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        let block = [head, length.to_vec(), frame, digests].concat();
        let crc = crc32c::crc32c(&[&key, block.as_slice()].concat());
        db.insert(key, [crc.to_be_bytes().as_slice(), &block].concat())
            .unwrap();
        db.flush().unwrap();
    }
    let told = exits(&["rebuild", text(&data), "--check"], 1);
    assert!(
        told.contains("differs: stored") && told.contains("act-3"),
        "{told}"
    );
    let told = exits(&["verify", text(&data)], 1);
    assert!(told.contains("[projections/rows]"), "{told}");
    exits(&["rebuild", text(&data)], 0);
}
