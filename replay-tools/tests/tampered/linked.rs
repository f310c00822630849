//! Chains linked again by somebody who could: only the rules of a chain notice.

use crate::support::zip::{lines, read, relink, set_lines};
use crate::support::{Twist, export, story};
use crate::{Tamper, tampered};

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
