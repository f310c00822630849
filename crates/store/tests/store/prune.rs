//! Events before a cut are removed whole from journal, log and later backups, and the chain goes on from its base.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use countersign_chain::merkle::{self, leaf_hash};
use countersign_chain::{Base, CUT_EVENTS};
use countersign_ids::{EventType, Sequence};
use countersign_store::backup::{Restore, restore, take};
use countersign_store::read::Reader;
use countersign_store::{Append, Audit, Error, Ledger, NewEvent, Projections, Pruning, Stamp};

use crate::removal::{
    SECRET, compressed_forms_of, found_in, headers, holding, holds, is_secret_in_sled, taking,
};
use crate::support::*;

const BEATS: &str = "blog.beats";
const CUT: u64 = 3 * CUT_EVENTS;

fn keys() -> Append {
    let created = NewEvent {
        event_type: EventType::new("keys", "created", 1).unwrap(),
        ..event("created", "keys", "{}")
    };
    Append::new(chain("platform"), actor(), key("keys"), vec![created])
}

/// A heartbeat; those before the cut say something that must not stay.
fn beat(number: u64) -> Append {
    let text = if number < CUT { SECRET } else { "kept" };
    let body = format!("{{\"said\":\"{text} {number}\"}}");
    let family = if number == 0 { "chain" } else { "beat" };
    let received = NewEvent {
        event_type: EventType::new(family, "received", 1).unwrap(),
        platformhead: Stamp::Newest,
        ..event("received", "site-a", &body)
    };
    Append::new(
        chain(BEATS),
        actor(),
        key(&format!("b{number}")),
        vec![received],
    )
}

/// Heartbeats, and between them events of a chain that stays.
fn fill(ledger: &Ledger, from: u64, to: u64) {
    for number in from..to {
        ledger.append_blocking(beat(number)).unwrap();
        if number.is_multiple_of(5) {
            ledger
                .append_blocking(command("blog", &number.to_string()))
                .unwrap();
        }
    }
}

/// A ledger with so many heartbeats that there can be cuts, its sealed segments compressed.
fn filled(root: &Path) -> Ledger {
    let ledger = fresh(root, options());
    ledger.append_blocking(keys()).unwrap();
    fill(&ledger, 0, CUT + 2 * CUT_EVENTS);
    until_compressed(root);
    ledger
}

fn pruning(ledger: &Ledger, cut: u64) -> Arc<Pruning> {
    Arc::new(Pruning {
        chain: chain(BEATS),
        base: ledger.base_at(&chain(BEATS), cut).unwrap(),
    })
}

fn audited(ledger: &Ledger) -> Audit {
    ledger.audit(&Projections::none()).unwrap()
}

/// What readers see from the cut on, and its proofs against the tree as it was before.
fn check(ledger: &Ledger, size: u64, root: [u8; 32], old: &[(u64, [u8; 32])]) {
    let beats = chain(BEATS);
    assert_eq!(
        (ledger.first(&beats), ledger.head(&beats).unwrap().size),
        (CUT, size)
    );
    for gone in [0, 1, CUT - 1] {
        let error = ledger.event(&beats, Sequence::new(gone)).unwrap_err();
        assert!(
            matches!(error, Error::Pruned { first, .. } if first.get() == CUT),
            "{error}"
        );
    }
    let kept = ledger.read(&beats, CUT, usize::MAX).unwrap();
    assert_eq!(kept.len() as u64, size - CUT);
    assert_eq!(ledger.root_at(&beats, size).unwrap(), root);
    for entry in kept.iter().step_by(37) {
        let at = entry.sequence();
        let proof = ledger.inclusion(&beats, at, size).unwrap();
        let leaf = leaf_hash(&entry.record().header);
        merkle::verify_inclusion(&leaf, at.get(), size, &proof, &root).unwrap();
        let found = ledger.find(&entry.header().id).unwrap().unwrap();
        assert_eq!(found.hash(), entry.hash());
    }
    for (from, before) in old {
        let proof = ledger.consistency(&beats, *from, size).unwrap();
        merkle::verify_consistency(*from, size, before, &root, &proof).unwrap();
    }
    let error = ledger.consistency(&beats, 100, size).unwrap_err();
    assert!(matches!(error, Error::Pruned { .. }), "{error}");
    audited(ledger);
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one life of a ledger, looked at after each step"
)]
fn what_is_pruned_is_in_no_byte_any_more_and_the_chain_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (root, backups) = (dir.path().join("data"), dir.path().join("backups"));
    let ledger = filled(&root);
    let beats = chain(BEATS);
    let size = ledger.head(&beats).unwrap().size;
    let tree = ledger.root_at(&beats, size).unwrap();
    // Sizes from which consistency is still shown: whole tiles before the cut, and any size from it on.
    let old = [CUT_EVENTS, 2 * CUT_EVENTS, CUT, CUT + 100]
        .map(|size| (size, ledger.root_at(&beats, size).unwrap()));
    let first = take(&root, &backups, &taking(&root), &mut |_| {}).unwrap();
    // What stands beside heartbeats that stay has bytes of those, and hashes that all name, like the platform's, stay with them.
    let stays = std::cell::RefCell::new(Vec::new());
    let goes = |bytes: &[u8]| {
        let kept = holds(bytes, "\"said\":\"kept");
        if kept {
            stays.borrow_mut().push(bytes.to_vec());
        }
        !kept && holds(bytes, SECRET)
    };
    let mut forms = compressed_forms_of(&root, goes);
    let within = |bytes: &Vec<u8>, form: &[u8]| bytes.windows(form.len()).any(|part| part == form);
    let stays = stays.into_inner();
    forms.retain(|form| !stays.iter().any(|bytes| within(bytes, form)));
    assert!(
        forms.len() > 3 && is_secret_in_sled(&root),
        "{}",
        forms.len()
    );
    assert!(!found_in(&first.path).is_empty());
    let reader = Reader::open(&root).unwrap();
    let before = headers(&reader);
    std::fs::create_dir(root.join("sled.aside-1")).unwrap();
    std::fs::write(root.join("sled.aside-1/db"), SECRET).unwrap();

    let pruning = pruning(&ledger, CUT);
    ledger.prune(&pruning).unwrap();
    check(&ledger, size, tree, &old);
    assert_eq!(found_in(&root), Vec::<String>::new());
    assert_eq!(holding(&root, &forms), Vec::<String>::new());
    assert!(!is_secret_in_sled(&root));
    let after = headers(&reader);
    assert_eq!(after.len() as u64, before.len() as u64 - CUT);
    assert!(after.iter().all(|header| before.contains(header)));
    // A command of an event that was pruned is forgotten; one that is kept gives its first receipt.
    assert!(ledger.append_blocking(beat(CUT)).unwrap().replayed);
    let command = countersign_chain::command_id(&beats, &actor(), &key("b7"));
    assert_eq!(ledger.receipt(&beats, &command).unwrap(), None);
    // Done again it changes nothing.
    ledger.prune(&pruning).unwrap();
    check(&ledger, size, tree, &old);

    let second = take(&root, &backups, &taking(&root), &mut |_| {}).unwrap();
    assert_eq!(second.backups_removed, 1);
    assert_eq!(found_in(&backups), Vec::<String>::new());
    assert_eq!(holding(&backups, &forms), Vec::<String>::new());
    fill(&ledger, size, size + 300);
    let (size, tree) = (size + 300, ledger.root_at(&beats, size + 300).unwrap());
    ledger.close().unwrap();
    drop(ledger);
    for lose in [false, true] {
        if lose {
            std::fs::remove_dir_all(root.join("sled")).unwrap();
        }
        let ledger = Ledger::open(&root, options()).unwrap();
        assert_eq!(ledger.status().set_aside, None);
        assert_eq!(ledger.base(&beats).unwrap(), pruning.base);
        check(&ledger, size, tree, &old);
        ledger.close().unwrap();
    }
    let target = dir.path().join("restored");
    restore(&backups, &target, &Restore::default(), &mut |_| {}).unwrap();
    let restored = Ledger::open(&target, options()).unwrap();
    assert_eq!(restored.first(&beats), CUT);
    audited(&restored);

    // Pruned again, further.
    let ledger = Ledger::open(&root, options()).unwrap();
    let further = Arc::new(Pruning {
        chain: beats.clone(),
        base: ledger.base_at(&beats, CUT + CUT_EVENTS).unwrap(),
    });
    ledger.prune(&further).unwrap();
    audited(&ledger);
    let refused = ledger.prune(&pruning).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    drop(ledger);
    std::fs::remove_dir_all(root.join("sled")).unwrap();
    let ledger = Ledger::open(&root, options()).unwrap();
    assert_eq!(ledger.base(&beats).unwrap(), further.base);
    assert_eq!(ledger.root_at(&beats, size).unwrap(), tree);
    let (from, root_before) = old[1];
    let proof = ledger.consistency(&beats, from, size).unwrap();
    merkle::verify_consistency(from, size, &root_before, &tree, &proof).unwrap();
    audited(&ledger);
}

#[test]
fn nothing_goes_unless_the_journal_gives_the_base_that_was_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = filled(dir.path());
    let beats = chain(BEATS);
    let before = audited(&ledger);
    let sound = pruning(&ledger, CUT).base.clone();
    let size = ledger.head(&beats).unwrap().size;
    for change in [
        |base: &mut Base| base.head = countersign_ids::EventHash::from_bytes([0; 32]),
        |base: &mut Base| base.time = countersign_ids::Time::MIN,
        |base: &mut Base| base.tree.reverse(),
        |base: &mut Base| base.cut -= 1,
    ] {
        let mut base = sound.clone();
        change(&mut base);
        let chain = beats.clone();
        let refused = ledger
            .prune(&Arc::new(Pruning { chain, base }))
            .unwrap_err();
        let named = matches!(refused, Error::ChainDamaged { .. } | Error::Refused { .. });
        assert!(named, "{refused}");
    }
    let late = pruning(&ledger, size - CUT_EVENTS);
    ledger.append_blocking(beat(size)).unwrap();
    assert!(ledger.base_at(&beats, CUT + 1).is_err());
    let newest = Arc::new(Pruning {
        chain: beats.clone(),
        base: Base {
            cut: late.base.cut + CUT_EVENTS,
            ..late.base.clone()
        },
    });
    assert!(ledger.prune(&newest).is_err());
    assert_eq!(ledger.first(&beats), 0);
    assert_eq!(audited(&ledger).events, before.events + 1);
    assert_eq!(
        ledger.event(&beats, Sequence::ZERO).unwrap().sequence(),
        Sequence::ZERO
    );
}

const DIR: &str = "COUNTERSIGN_PRUNE_TEST_DIR";
const CRASH: &str = "COUNTERSIGN_FAULTS_CRASH";

/// Not a test of its own: what the child process runs until it dies at the chosen point.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let ledger = Ledger::open(Path::new(&dir), options()).unwrap();
    ledger.prune(&pruning(&ledger, CUT)).unwrap();
    std::process::exit(7);
}

#[test]
fn killed_at_any_step_it_is_finished_with_the_log_or_without_it() {
    let made = tempfile::tempdir().unwrap();
    let ledger = filled(made.path());
    let beats = chain(BEATS);
    let size = ledger.head(&beats).unwrap().size;
    let tree = ledger.root_at(&beats, size).unwrap();
    let pruning = pruning(&ledger, CUT);
    ledger.close().unwrap();
    drop(ledger);
    for point in [
        "pruning.sealed",
        "pruning.segment",
        "pruning.pruned",
        "removal.copied",
        "removal.between",
        "removal.moved",
        "pruning.rewritten",
    ] {
        for lose in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            copy(made.path(), dir.path());
            let died = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "prune::child", "--nocapture"])
                .env(DIR, dir.path())
                .env(CRASH, point)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(died.code(), None, "{point} was not reached");
            if lose {
                for sled in ["sled", "sled.next", "sled.old"] {
                    std::fs::remove_dir_all(dir.path().join(sled)).ok();
                }
            }
            let ledger = Ledger::open(dir.path(), options()).unwrap();
            // Whatever is left of it, the chain verifies and goes on.
            audited(&ledger);
            assert_eq!(
                ledger.root_at(&beats, size).unwrap(),
                tree,
                "{point} {lose}"
            );
            ledger.append_blocking(beat(size)).unwrap();
            ledger.prune(&pruning).unwrap();
            let root = ledger.root_at(&beats, size + 1).unwrap();
            check(&ledger, size + 1, root, &[(size, tree)]);
            ledger.close().unwrap();
            drop(ledger);
            assert_eq!(found_in(dir.path()), Vec::<String>::new(), "{point} {lose}");
            assert!(!is_secret_in_sled(dir.path()), "{point} {lose}");
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
