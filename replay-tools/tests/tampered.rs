//! One tampered variant per rule: each with the level that must notice it, and with what exit code; the independent
//! verifier in Python must say the same of each.

#![cfg(test)]

mod support;

use support::zip::{Members, lines, read, relink, set_lines, write, write_as_is};
use support::{Twist, World, export, levels, python, story, verify};

/// What must be said of a variant.
struct Case {
    name: &'static str,
    exit: u8,
    level: &'static str,
    status: &'static str,
}

fn case(name: &'static str, exit: u8, level: &'static str, status: &'static str) -> Case {
    Case {
        name,
        exit,
        level,
        status,
    }
}

/// Checks one bundle with both verifiers.
fn check(case: &Case, bundle: &std::path::Path) {
    let ours = verify(bundle);
    let told = ours.to_text();
    assert_eq!(ours.exit, case.exit, "{}: exit\n{told}", case.name);
    let ours_levels = levels(&ours);
    assert_eq!(
        ours_levels[case.level], case.status,
        "{}: level {}\n{told}",
        case.name, case.level
    );
    let Some(interpreter) = python::interpreter() else {
        return;
    };
    let theirs = python::verify(interpreter, bundle, &["--allow", "policy"]);
    let mut expected = ours_levels;
    expected.insert("policy".to_owned(), theirs.levels["policy"].clone());
    assert_eq!(
        theirs.levels, expected,
        "{}: levels of the Python verifier\n{:#}\n{told}",
        case.name, theirs.found
    );
    // Python has no policy engine, so what policy alone notices passes it.
    if case.level != "policy" {
        assert_eq!(
            theirs.exit,
            i32::from(case.exit),
            "{}: exit of the Python verifier\n{:#}",
            case.name,
            theirs.found
        );
        let ours = ours.first_bad.map(|place| (place.chain, place.sequence));
        assert_eq!(
            theirs.first_bad, ours,
            "{}: first bad event\n{:#}\n{told}",
            case.name, theirs.found
        );
    }
}

#[test]
fn sound_bundles_pass_both_verifiers() {
    let world = story::tell(1, Twist::Sound);
    check(
        &case("whole", 0, "evidence", "verified"),
        &export(&world, None, "whole.zip"),
    );
    check(
        &case("tenant", 0, "evidence", "verified"),
        &export(&world, Some("acme"), "acme.zip"),
    );
}

/// What histories do that they must not, with every hash and link right.
#[test]
fn histories_that_break_a_rule_of_evidence_are_named() {
    let evidence = |twist| (twist, 1, "evidence", "violation");
    for (twist, exit, level, status) in [
        evidence(Twist::ApprovedByProposer),
        evidence(Twist::ApprovedByOwner),
        evidence(Twist::StatementOverOtherDigest),
        evidence(Twist::StatementOverOtherView),
        evidence(Twist::StatementByStranger),
        evidence(Twist::StatementForged),
        evidence(Twist::SecondVoteOfOnePerson),
        evidence(Twist::StatementNonceReused),
        evidence(Twist::StatementReused),
        evidence(Twist::StatementExpired),
        evidence(Twist::OrderOutsideItsTimes),
        evidence(Twist::OrderByUnknownKey),
        evidence(Twist::OrderByEndedKey),
        evidence(Twist::OrderWithoutApproval),
        evidence(Twist::OrderForOtherGeneration),
        evidence(Twist::OrderSequenceFalls),
        evidence(Twist::OutcomeOfOtherOrder),
        evidence(Twist::OutcomeByOtherKey),
        evidence(Twist::OutcomeSaysOtherResult),
        evidence(Twist::CounterSkips),
        evidence(Twist::SplitView),
        evidence(Twist::EnrolmentForged),
        evidence(Twist::ViewShowsOtherAction),
        evidence(Twist::DocumentOfOtherGenesis),
        evidence(Twist::PairedWithoutInvitation),
        evidence(Twist::DocumentPinnedAlone),
        evidence(Twist::RestatesOtherBody),
        (Twist::PolicyVerdictChanged, 1, "policy", "violation"),
        (Twist::PolicyEvaluationChanged, 1, "policy", "violation"),
        (Twist::HeadsOfOtherRoot, 1, "tree", "violation"),
        (Twist::HeadsLackKeys, 1, "tree", "violation"),
        (Twist::KeyStatementUnsigned, 1, "keys", "violation"),
        (Twist::CheckpointByUnknownKey, 1, "checkpoints", "violation"),
    ] {
        let name: &'static str = Box::leak(format!("{twist:?}").into_boxed_str());
        let world = story::tell(2, twist);
        check(
            &case(name, exit, level, status),
            &export(&world, None, "whole.zip"),
        );
        let directory = verify(&world.data());
        assert_eq!(
            directory.exit,
            exit,
            "{name}: directory\n{}",
            directory.to_text()
        );
    }
}

type Tamper = fn(&mut Members);

/// The blob of the entity snapshot that a decision names.
fn entities(members: &Members) -> String {
    let text = String::from_utf8(members["events/acme.jsonl"].clone()).unwrap();
    let (_, rest) = text.split_once("entities_digest\\\":\\\"sha256:").unwrap();
    format!("blobs/sha256/{}", rest.split_once('\\').unwrap().0)
}

fn replace(members: &mut Members, chain: &str, at: usize, from: &str, to: &str) {
    let mut all = lines(members, chain);
    assert!(
        all[at].contains(from),
        "`{from}` is not in line {at}: {}",
        all[at]
    );
    all[at] = all[at].replacen(from, to, 1);
    set_lines(members, chain, &all);
}

fn edit(members: &mut Members, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(members[name].clone()).unwrap();
    assert!(text.contains(from), "`{from}` is not in {name}");
    members.insert(name.to_owned(), text.replacen(from, to, 1).into_bytes());
}

fn first(members: &Members, prefix: &str) -> String {
    members
        .keys()
        .find(|name| name.starts_with(prefix))
        .unwrap()
        .clone()
}

fn last(members: &Members, prefix: &str) -> String {
    members
        .keys()
        .rfind(|name| name.starts_with(prefix))
        .unwrap()
        .clone()
}

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

/// Headers changed by somebody who links the chain again: what only the rules of a chain notice.
const RELINKED: &[(&str, u8, &str, &str, Tamper)] = &[
    (
        "family sequence skips",
        1,
        "chain",
        "violation",
        |members| {
            relink(members, "acme", |at, header| {
                if at == 8 {
                    header.familysequence = header.familysequence.next();
                }
            });
        },
    ),
    ("time falls", 1, "chain", "violation", |members| {
        relink(members, "acme", |at, header| {
            if at == 8 {
                header.time = header.time.minus_millis(3_600_000);
            }
        });
    }),
    (
        "a command comes twice",
        1,
        "chain",
        "violation",
        |members| {
            let mut first = None;
            relink(members, "acme", |at, header| {
                let command = *first.get_or_insert(header.commandid);
                if at == 8 {
                    header.commandid = command;
                }
            });
        },
    ),
    (
        "another retention class",
        1,
        "chain",
        "violation",
        |members| {
            relink(members, "acme", |at, header| {
                if at == 8 {
                    header.retention = countersign_ids::Retention::Operational;
                }
            });
        },
    ),
    (
        "platformhead of another hash",
        1,
        "chain",
        "violation",
        |members| {
            relink(members, "acme", |_, header| {
                if let Some(head) = &mut header.platformhead {
                    head.hash = countersign_ids::EventHash::from_bytes([9; 32]);
                }
            });
        },
    ),
    (
        "platformhead beyond the platform chain",
        1,
        "chain",
        "violation",
        |members| {
            relink(members, "acme", |_, header| {
                if let Some(head) = &mut header.platformhead {
                    head.sequence = countersign_ids::Sequence::new(900);
                }
            });
        },
    ),
    (
        "the chain has another number",
        1,
        "chain",
        "violation",
        |members| {
            relink(members, "platform", |_, _| ());
            let mut all = lines(members, "acme");
            all[0] = all[0].replace("number", "numbes");
            set_lines(members, "acme", &all);
        },
    ),
    (
        "header of another author",
        1,
        "evidence",
        "violation",
        |members| {
            relink(members, "acme", |at, header| {
                if at == 8 {
                    header.actor.id = "con-2".parse().unwrap();
                }
            });
        },
    ),
];

#[test]
fn chains_linked_again_by_somebody_who_could() {
    let world = story::tell(6, Twist::Sound);
    let sound = read(&export(&world, None, "whole.zip"));
    tampered(&world, &sound, RELINKED);
}

/// Bodies that are rightly absent are counted; the rest is as if they were there.
const ABSENT: &[(&str, u8, &str, &str, Tamper)] = &[
    ("sealed body withheld", 0, "chain", "verified", |members| {
        absent(members, "withheld")
    }),
    (
        "sealed body expired, and no event says so",
        1,
        "chain",
        "violation",
        |members| absent(members, "expired"),
    ),
    (
        "sealed body absent for no known reason",
        1,
        "framing",
        "violation",
        |members| absent(members, "lost"),
    ),
];

fn absent(members: &mut Members, reason: &str) {
    let mut all = lines(members, "acme");
    let at = all
        .iter()
        .position(|line| line.contains("reason.given"))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(&all[at]).unwrap();
    all[at] = serde_json::json!({"absent": reason, "header": line["header"]}).to_string();
    set_lines(members, "acme", &all);
}

#[test]
fn attachments_may_be_absent_but_not_other_bytes() {
    let world = story::tell(8, Twist::Sound);
    let bundle = support::export_scope(&world, None, true, "with.zip");
    check(&case("attachments", 0, "evidence", "verified"), &bundle);
    let mut members = read(&bundle);
    let name = format!(
        "blobs/sha256/{}",
        countersign_chain::sha256(b"a page").hex()
    );
    assert_eq!(
        members.insert(name, b"another".to_vec()).unwrap(),
        b"a page"
    );
    write(&bundle, members);
    check(
        &case("attachment changed", 1, "evidence", "violation"),
        &bundle,
    );
}

#[test]
fn absent_bodies() {
    let world = story::tell(7, Twist::Sound);
    let sound = read(&export(&world, None, "whole.zip"));
    tampered(&world, &sound, ABSENT);
    let mut members = sound;
    absent(&mut members, "withheld");
    write(&world.path("tampered.zip"), members);
    let verdict = verify(&world.path("tampered.zip"));
    assert_eq!(verdict.counts.absent["withheld"], 1);
    let strict = countersign_replay::verdict::Demands {
        strict: true,
        ..Default::default()
    };
    let verdict = support::verify_with(&world.path("tampered.zip"), &Default::default(), &strict);
    assert!(
        verdict
            .lacking
            .iter()
            .any(|lacking| lacking.contains("withheld")),
        "{:?}",
        verdict.lacking
    );
}

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

fn tampered(
    world: &World,
    sound: &Members,
    table: &[(&'static str, u8, &'static str, &'static str, Tamper)],
) {
    let path = world.path("tampered.zip");
    for (name, exit, level, status, tamper) in table {
        let mut members = sound.clone();
        tamper(&mut members);
        write(&path, members);
        check(&case(name, *exit, level, status), &path);
    }
}

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
