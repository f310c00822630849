//! The container changed by somebody who does not fix the manifest.

use crate::support::zip::{Members, read, write_as_is};
use crate::support::{Twist, export, story};
use crate::{case, check, edit};

#[test]
fn framing_tampered_by_somebody_who_does_not() {
    let world = story::tell(5, Twist::Sound);
    let whole = export(&world, None, "whole.zip");
    let (sound, members) = (std::fs::read(&whole).unwrap(), read(&whole));
    let path = world.path("tampered.zip");
    let bytes = |name, exit, status, change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = sound.clone();
        change(&mut changed);
        std::fs::write(&path, changed).unwrap();
        check(&case(name, exit, "framing", status), &path);
    };
    bytes("truncated", 2, "unchecked", &|bytes| {
        bytes.truncate(bytes.len() / 2)
    });
    bytes("empty", 2, "unchecked", &Vec::clear);
    bytes("not a zip", 2, "unchecked", &|bytes| {
        *bytes = b"hello".to_vec()
    });
    bytes("suffix", 1, "violation", &|bytes| bytes.push(b'x'));
    bytes("prefix", 1, "violation", &|bytes| bytes.insert(0, b'x'));
    bytes("member content", 1, "violation", &|bytes| bytes[60] ^= 1);
    bytes("member time", 1, "violation", &|bytes| bytes[10] ^= 1);
    bytes("flags", 1, "violation", &|bytes| bytes[6] ^= 8);
    let crc = crc32fast::hash(&members["manifest.json"]).to_le_bytes();
    bytes("CRC-32 of the manifest", 1, "violation", &|bytes| {
        let places: Vec<usize> = (0..bytes.len() - 4)
            .filter(|at| bytes[*at..*at + 4] == crc)
            .collect();
        assert_eq!(places.len(), 2);
        places.into_iter().for_each(|at| bytes[at] ^= 1);
    });
    let as_is = |name, exit, status, change: &dyn Fn(&mut Members)| {
        let mut changed = members.clone();
        change(&mut changed);
        write_as_is(&path, &changed);
        check(&case(name, exit, "framing", status), &path);
    };
    as_is(
        "a file missing that the manifest names",
        1,
        "violation",
        &|members| {
            members.remove("README.txt").unwrap();
        },
    );
    as_is("a file of other bytes", 1, "violation", &|members| {
        members.insert("README.txt".to_owned(), b"read me".to_vec());
    });
    as_is("no manifest", 2, "unchecked", &|members| {
        members.remove("manifest.json").unwrap();
    });
    as_is("unknown format", 2, "unchecked", &|members| {
        edit(
            members,
            "manifest.json",
            "countersign-bundle/1",
            "countersign-bundle/2",
        );
    });
    as_is("manifest with a space", 1, "violation", &|members| {
        edit(members, "manifest.json", "{", "{ ");
    });
    as_is("a foreign zip", 2, "unchecked", &|members| {
        members.clear();
        members.insert("index.html".to_owned(), b"<p>".to_vec());
    });
}
