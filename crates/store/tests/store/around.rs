//! What stands around the events: sealed bodies, blobs, checkpoints, receipts that rise, followers.

use countersign_chain::{Checkpoint, checkpoint, sha256};
use countersign_events::Chains;
use countersign_ids::{EventType, Retention, Sequence};
use countersign_store::{Append, Error, Ledger, Level, NewEvent, Options, Projections, Stamp};
use ed25519_dalek::SigningKey;

use crate::support::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn reason(text: &str) -> NewEvent {
    NewEvent {
        event_type: EventType::new("reason", "given", 1).unwrap(),
        retention: Retention::Personal,
        seal: Some("subject-1".parse().unwrap()),
        ..event(
            "registered",
            "action-1",
            &format!("{{\"reason\":\"{text}\"}}"),
        )
    }
}

/// Whether some file under `dir` holds these bytes.
fn holds(dir: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds(&path, bytes)
        } else {
            std::fs::read(&path)
                .unwrap()
                .windows(bytes.len())
                .any(|part| part == bytes)
        }
    })
}

#[test]
fn a_personal_body_is_sealed_from_the_first_write_and_gone_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let text = "Because the numbers looked right to me";
    ledger
        .append_blocking(Append::new(
            chain("blog"),
            actor(),
            key("one"),
            vec![reason(text)],
        ))
        .unwrap();
    let plain = NewEvent {
        seal: None,
        ..reason(text)
    };
    assert!(
        ledger
            .append_blocking(Append::new(chain("blog"), actor(), key("two"), vec![plain]))
            .is_err()
    );
    ledger.close().unwrap();
    drop(ledger);
    assert!(!holds(dir.path(), text.as_bytes()));
    let mode = std::fs::metadata(dir.path().join("keys/keyring/subject-1"))
        .unwrap()
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );

    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let entry = ledger.event(&chain("blog"), Sequence::ZERO).unwrap();
    assert_eq!(
        ledger.unseal(&entry).unwrap(),
        format!("{{\"reason\":\"{text}\"}}").as_bytes()
    );
    ledger.destroy_key(&"subject-1".parse().unwrap()).unwrap();
    assert!(matches!(
        ledger.unseal(&entry),
        Err(Error::KeyDestroyed { .. })
    ));
    // A new key of the same person does not open what the old one sealed.
    ledger
        .append_blocking(Append::new(
            chain("blog"),
            actor(),
            key("three"),
            vec![reason("again")],
        ))
        .unwrap();
    assert!(matches!(
        ledger.unseal(&entry),
        Err(Error::KeyDestroyed { .. })
    ));
    let newer = ledger.event(&chain("blog"), Sequence::new(1)).unwrap();
    assert_eq!(ledger.unseal(&newer).unwrap(), b"{\"reason\":\"again\"}");
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn a_blob_is_for_those_it_was_put_for_and_checked_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let (blog, shop) = (chain("blog"), chain("shop"));
    let digest = ledger.blobs().put(&blog, b"some bytes").unwrap();
    assert_eq!(digest, sha256(b"some bytes"));
    assert_eq!(ledger.blobs().get(&blog, &digest).unwrap(), b"some bytes");
    assert!(matches!(
        ledger.blobs().get(&shop, &digest),
        Err(Error::BlobUnknown { .. })
    ));
    let wrong = ledger.blobs().put_expected(&shop, &digest, b"other bytes");
    assert!(matches!(wrong, Err(Error::BlobMismatch { .. })));
    ledger
        .blobs()
        .put_expected(&shop, &digest, b"some bytes")
        .unwrap();
    let hex = digest.hex();
    let (front, rest) = hex.split_at(2);
    let path = dir.path().join("blobs/sha256").join(front).join(rest);
    std::fs::write(&path, b"some bytez").unwrap();
    assert!(matches!(
        ledger.blobs().get(&blog, &digest),
        Err(Error::BlobMismatch { .. })
    ));
    ledger.blobs().put(&blog, b"some bytes").unwrap();
    assert_eq!(ledger.blobs().get(&shop, &digest).unwrap(), b"some bytes");
}

#[test]
fn blobs_that_are_put_together_are_as_those_that_are_put_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let (blog, shop) = (chain("blog"), chain("shop"));
    let bytes: Vec<_> = (0..40).map(|number| format!("bytes of {number}")).collect();
    let digests: Vec<_> = bytes.iter().map(|bytes| sha256(bytes.as_bytes())).collect();
    let blobs = || digests.iter().zip(bytes.iter().map(String::as_bytes));
    ledger.blobs().put(&shop, b"bytes of 3").unwrap();
    // Twice, and one of them twice within.
    for _ in 0..2 {
        let twice = blobs().chain(blobs().take(1));
        ledger.blobs().put_all(&blog, twice).unwrap();
    }
    for (digest, bytes) in blobs() {
        assert!(ledger.blobs().is_durable(&blog, digest));
        assert_eq!(ledger.blobs().get(&blog, digest).unwrap(), bytes);
        assert_eq!(
            ledger.blobs().contains(&shop, digest),
            bytes == b"bytes of 3"
        );
    }
    let wrong = [(&digests[0], b"other bytes".as_slice())];
    let wrong = ledger.blobs().put_all(&shop, wrong);
    assert!(matches!(wrong, Err(Error::BlobMismatch { .. })));
    assert!(!ledger.blobs().contains(&shop, &digests[0]));
    let left = |path: &std::path::Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| entry.path()).collect()
    };
    let files = left(&dir.path().join("blobs/sha256"))
        .into_iter()
        .flat_map(|dir| left(&dir));
    assert_eq!(files.count(), 40, "nothing unfinished is left behind");
}

fn sign(ledger: &Ledger, id: &str) -> String {
    let head = ledger.tree_head(&chain(id)).unwrap();
    let origin = checkpoint::origin("example.org/ledger", &chain(id));
    Checkpoint { origin, head }
        .sign(&SigningKey::from_bytes(&[3; 32]))
        .unwrap()
}

#[test]
fn a_checkpoint_is_recorded_only_over_events_of_its_chain_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    for number in 0..700 {
        ledger
            .append_blocking(command("blog", &number.to_string()))
            .unwrap();
        ledger
            .append_blocking(command("shop", &number.to_string()))
            .unwrap();
    }
    let note = sign(&ledger, "blog");
    let recorded = block_on(ledger.record_checkpoint(&chain("blog"), note.clone())).unwrap();
    assert_eq!(
        (recorded.size, recorded.note.as_str()),
        (700, note.as_str())
    );
    assert!(
        block_on(ledger.record_checkpoint(&chain("shop"), note.clone())).is_err(),
        "another chain's"
    );
    assert!(block_on(ledger.record_checkpoint(&chain("blog"), "no note".to_owned())).is_err());
    let in_journal = |ledger: &Ledger| {
        let reader = countersign_store::read::Reader::open(ledger.layout().root()).unwrap();
        let notes = reader
            .journal()
            .unwrap()
            .filter_map(|item| match item.unwrap() {
                countersign_store::read::Item::Checkpoint { note, .. } => Some(note),
                countersign_store::read::Item::Events { .. }
                | countersign_store::read::Item::Pruned { .. } => None,
            });
        notes.collect::<Vec<_>>()
    };
    assert_eq!(in_journal(&ledger), [note]);
    drop(ledger);
    for lose in [false, true, false] {
        if lose {
            std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert_eq!(
            ledger.last_checkpoint(&chain("blog")),
            Some(recorded.clone())
        );
        let head = ledger.tree_head(&chain("blog")).unwrap();
        for index in [0, 255, 256, 511, 512, 699] {
            let proof = ledger
                .inclusion(&chain("blog"), Sequence::new(index), 700)
                .unwrap();
            let header = &ledger
                .event(&chain("blog"), Sequence::new(index))
                .unwrap()
                .record()
                .header
                .clone();
            let leaf = countersign_chain::merkle::leaf_hash(header);
            countersign_chain::merkle::verify_inclusion(&leaf, index, 700, &proof, &head.root)
                .unwrap();
        }
        assert_eq!(ledger.root_at(&chain("blog"), 700).unwrap(), recorded.root);
        let proof = ledger.consistency(&chain("blog"), 300, 700).unwrap();
        let old = ledger.root_at(&chain("blog"), 300).unwrap();
        countersign_chain::merkle::verify_consistency(300, 700, &old, &head.root, &proof).unwrap();
        ledger.close().unwrap();
    }
}

#[test]
fn a_receipt_rises_when_its_event_is_under_recorded_heads_and_stays_risen() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let first = ledger.append_blocking(command("blog", "one")).unwrap();
    let second = ledger.append_blocking(command("blog", "two")).unwrap();
    let head = countersign_chain::TreeHead {
        size: 1,
        root: ledger.root_at(&chain("blog"), 1).unwrap(),
    };
    let leaf = checkpoint::head_leaf("blog", &head, Some(&first.events[0].1));
    let leaves = ledger.blobs().put(&chain("platform"), &leaf).unwrap();
    let body = format!("{{\"blobs\":[\"{leaves}\"]}}");
    let heads = NewEvent {
        event_type: EventType::new("heads", "recorded", 1).unwrap(),
        ..event("registered", "heads", &body)
    };
    let recorded = Append::new(chain("platform"), actor(), key("heads"), vec![heads]);
    let position = ledger.append_blocking(recorded).unwrap().position;
    assert!(block_on(ledger.folded(position)));
    let level = |ledger: &Ledger, receipt: &countersign_store::Receipt| {
        ledger
            .receipt(&receipt.chain, &receipt.command)
            .unwrap()
            .unwrap()
            .level
    };
    assert_eq!(
        (level(&ledger, &first), level(&ledger, &second)),
        (Level::Recorded, Level::Local)
    );
    ledger.close().unwrap();
    drop(ledger);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(
        (level(&ledger, &first), level(&ledger, &second)),
        (Level::Recorded, Level::Local)
    );
}

#[test]
fn a_follower_reads_every_event_once_and_in_order_however_slow_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            block_on(async {
                let mut changes = ledger.subscribe();
                let mut seen = Vec::new();
                while seen.len() < 300 {
                    changes.borrow_and_update();
                    let more = ledger.read(&chain("blog"), seen.len() as u64, 7).unwrap();
                    if more.is_empty() {
                        changes.changed().await.unwrap();
                    }
                    seen.extend(more.iter().map(|entry| entry.sequence().get()));
                }
                seen
            })
        });
        for number in 0..300 {
            ledger
                .append_blocking(command("blog", &number.to_string()))
                .unwrap();
        }
        assert_eq!(follower.join().unwrap(), (0..300).collect::<Vec<u64>>());
    });
}

/// A sample of a type as a command for the chain that it belongs to.
fn sample(number: usize, sample: &countersign_events::Event) -> Append {
    let spec = countersign_events::spec(&sample.event_type()).unwrap();
    let id = match spec.chains {
        Chains::Platform => "platform",
        Chains::Tenant | Chains::Opened => "blog",
        Chains::Beats => "blog.beats",
    };
    let (family, fact) = (
        spec.event_type.family().as_str().to_owned(),
        spec.event_type.fact().to_owned(),
    );
    let named = matches!(
        (family.as_str(), fact.as_str()),
        ("action", "authorized") | ("platform", "noted")
    );
    let platformhead = if named || id == "blog.beats" {
        Stamp::Newest
    } else {
        Stamp::None
    };
    let personal = spec.retention == Retention::Personal;
    let event = NewEvent {
        event_type: spec.event_type.clone(),
        retention: spec.retention,
        body: sample.encode().unwrap(),
        seal: personal.then(|| "subject-1".parse().unwrap()),
        platformhead,
        ..event("registered", "sample", "{}")
    };
    Append::new(chain(id), actor(), key(&number.to_string()), vec![event])
}

#[test]
fn every_type_of_event_goes_through_the_ledger_and_its_projections_are_what_the_events_make() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        projections: Projections::all(),
        ..options()
    };
    let ledger = fresh(dir.path(), options());
    let mut samples = countersign_events::samples::samples().unwrap();
    // The platform's events first, as in life: what other chains name must exist.
    samples.sort_by_key(|event| {
        countersign_events::spec(&event.event_type())
            .unwrap()
            .chains
            != Chains::Platform
    });
    for (number, event) in samples.iter().enumerate() {
        ledger.append_blocking(sample(number, event)).unwrap();
    }
    assert!(block_on(ledger.folded(ledger.durable())));
    let stopped = ledger.status().stopped_projections;
    assert!(stopped.is_empty(), "{stopped:?}");
    let first = ledger.audit(&Projections::all()).unwrap();
    assert_eq!(first.events, samples.len() as u64);
    assert!(first.rows > 0);
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.audit(&Projections::all()).unwrap(), first);
}
