//! Bytes of bundles, whole and of a tenant, changed by somebody who fixes the manifest afterwards.

use crate::support::zip::{Members, lines, read, set_lines};
use crate::support::{Twist, export, story};
use crate::{Tamper, edit, entities, first, last, replace, tampered};

/// Bytes changed by somebody who fixes the manifest afterwards.
const WHOLE: &[(&str, u8, &str, &str, Tamper)] = &[
    ("body byte", 1, "chain", "violation", |members| {
        replace(members, "acme", 8, "con-1", "con-2")
    }),
    ("header byte", 1, "chain", "violation", |members| {
        replace(
            members,
            "acme",
            8,
            "\\\"subject\\\":\\\"www\\\"",
            "\\\"subject\\\":\\\"wwx\\\"",
        );
    }),
    (
        "header byte under a checkpoint",
        1,
        "checkpoints",
        "violation",
        |members| {
            replace(
                members,
                "acme",
                8,
                "\\\"subject\\\":\\\"www\\\"",
                "\\\"subject\\\":\\\"wwx\\\"",
            );
        },
    ),
    ("events swapped", 1, "chain", "violation", |members| {
        let mut all = lines(members, "acme");
        all.swap(9, 10);
        set_lines(members, "acme", &all);
    }),
    ("event removed", 1, "chain", "violation", |members| {
        let mut all = lines(members, "acme");
        all.remove(9);
        set_lines(members, "acme", &all);
    }),
    ("tail cut", 1, "checkpoints", "violation", |members| {
        let mut all = lines(members, "acme");
        all.truncate(all.len() - 2);
        set_lines(members, "acme", &all);
    }),
    (
        "tail cut, heads notice",
        1,
        "tree",
        "violation",
        |members| {
            let mut all = lines(members, "acme");
            all.truncate(all.len() - 2);
            set_lines(members, "acme", &all);
        },
    ),
    (
        "platform event altered",
        1,
        "chain",
        "violation",
        |members| {
            replace(
                members,
                "platform",
                1,
                "\\\"subject\\\":\\\"acme\\\"",
                "\\\"subject\\\":\\\"acmf\\\"",
            );
        },
    ),
    (
        "evidence body withheld",
        1,
        "chain",
        "violation",
        |members| {
            let mut all = lines(members, "acme");
            let header: serde_json::Value = serde_json::from_str(&all[8]).unwrap();
            let line = serde_json::json!({"absent": "withheld", "header": header["header"]});
            all[8] = line.to_string();
            set_lines(members, "acme", &all);
        },
    ),
    ("line with a space", 1, "framing", "violation", |members| {
        replace(members, "acme", 8, "{\"body\"", "{ \"body\"")
    }),
    (
        "line with another member",
        1,
        "framing",
        "violation",
        |members| {
            replace(members, "acme", 8, "{\"body\"", "{\"a\":\"b\",\"body\"");
        },
    ),
    (
        "last line without an end",
        1,
        "framing",
        "violation",
        |members| {
            let name = "events/acme.jsonl".to_owned();
            let mut bytes = members[&name].clone();
            bytes.pop();
            members.insert(name, bytes);
        },
    ),
    (
        "checkpoint of another root",
        1,
        "checkpoints",
        "violation",
        |members| {
            let (one, other) = (
                first(members, "checkpoints/acme/"),
                first(members, "checkpoints/platform/"),
            );
            let root = |members: &Members, name: &str| {
                String::from_utf8(members[name].clone())
                    .unwrap()
                    .lines()
                    .nth(2)
                    .unwrap()
                    .to_owned()
            };
            let (from, to) = (root(members, &one), root(members, &other));
            edit(members, &one, &from, &to);
        },
    ),
    (
        "checkpoint without signature",
        1,
        "checkpoints",
        "violation",
        |members| {
            let name = first(members, "checkpoints/acme/");
            let text = String::from_utf8(members[&name].clone()).unwrap();
            let cut = text.find('\u{2014}').unwrap();
            members.insert(name, text.as_bytes()[..cut].to_vec());
        },
    ),
    ("blob missing", 2, "evidence", "unchecked", |members| {
        let name = entities(members);
        members.remove(&name).unwrap();
    }),
    (
        "blob with other bytes",
        1,
        "evidence",
        "violation",
        |members| {
            let name = entities(members);
            members.insert(name, b"others".to_vec());
        },
    ),
    (
        "blob that no body names",
        1,
        "framing",
        "violation",
        |members| {
            let name = format!(
                "blobs/sha256/{}",
                countersign_chain::sha256(b"stowaway").hex()
            );
            members.insert(name, b"stowaway".to_vec());
        },
    ),
    (
        "a file that belongs in no bundle",
        1,
        "framing",
        "violation",
        |members| {
            members.insert("notes.txt".to_owned(), b"hello".to_vec());
        },
    ),
    (
        "events of a chain missing",
        1,
        "framing",
        "violation",
        |members| {
            members.remove("events/acme.beats.jsonl").unwrap();
        },
    ),
];

#[test]
fn whole_bundles_tampered_by_somebody_who_fixes_the_manifest() {
    let world = story::tell(3, Twist::Sound);
    let sound = read(&export(&world, None, "whole.zip"));
    tampered(&world, &sound, WHOLE);
}

/// The same for a tenant's bundle.
const TENANT: &[(&str, u8, &str, &str, Tamper)] = &[
    ("proof missing", 2, "tree", "unchecked", |members| {
        members.remove(&last(members, "proofs/platform/")).unwrap();
    }),
    (
        "proof of another event",
        1,
        "tree",
        "violation",
        |members| {
            let (one, other) = (
                first(members, "proofs/platform/"),
                last(members, "proofs/platform/"),
            );
            let bytes = members[&other].clone();
            members.insert(one, bytes);
        },
    ),
    ("path missing", 2, "tree", "unchecked", |members| {
        members.remove(&last(members, "heads/")).unwrap();
    }),
    (
        "path with another size",
        1,
        "tree",
        "violation",
        |members| {
            let name = last(members, "heads/");
            edit(members, &name, "\"number\":0", "\"number\":1");
        },
    ),
    (
        "platform event removed",
        2,
        "chain",
        "unchecked",
        |members| {
            let mut all = lines(members, "platform");
            let at = all
                .iter()
                .position(|line| line.contains("approver.enrolled"))
                .unwrap();
            all.remove(at);
            set_lines(members, "platform", &all);
        },
    ),
    (
        "platform event altered",
        1,
        "tree",
        "violation",
        |members| {
            let all = lines(members, "platform");
            let at = all
                .iter()
                .position(|line| line.contains("approver.enrolled"))
                .unwrap();
            replace(
                members,
                "platform",
                at,
                "\\\"subject\\\":\\\"mira\\\"",
                "\\\"subject\\\":\\\"mirb\\\"",
            );
        },
    ),
    ("key event removed", 1, "keys", "violation", |members| {
        let mut all = lines(members, "platform");
        all.remove(0);
        set_lines(members, "platform", &all);
    }),
    (
        "platform checkpoint missing",
        2,
        "tree",
        "unchecked",
        |members| {
            members
                .remove(&first(members, "checkpoints/platform/"))
                .unwrap();
        },
    ),
    ("tail cut", 1, "tree", "violation", |members| {
        let mut all = lines(members, "acme");
        all.truncate(all.len() - 2);
        set_lines(members, "acme", &all);
    }),
    (
        "tenant chain said to be sparse",
        1,
        "framing",
        "violation",
        |members| {
            edit(
                members,
                "manifest.json",
                "\"acme\":{\"form\":\"whole\"",
                "\"acme\":{\"form\":\"sparse\"",
            );
        },
    ),
];

#[test]
fn tenant_bundles_tampered_by_somebody_who_fixes_the_manifest() {
    let world = story::tell(4, Twist::Sound);
    let sound = read(&export(&world, Some("acme"), "acme.zip"));
    tampered(&world, &sound, TENANT);
}
