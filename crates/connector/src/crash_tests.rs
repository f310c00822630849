//! Ends the connector at every write of its journal, lost and stored, and starts it again: the site is exactly as before
//! the order or as after it, and what waits to be said agrees with the site.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use countersign_chain::sha256;
use countersign_evidence::{OrDash, OutcomeResult, PublicKey, message::TreeHead};
use countersign_ids::{Digest, Nonce, Sequence, Time};

use OutcomeResult::{Accepted, Failed, Succeeded, Undone};

use crate::{
    Config, Error,
    agent::{Agent, now},
    config::Layout,
    files,
    journal::{Disk, Journal},
    keys,
    plane::ledger::Ledger,
    report::Report,
    site::{
        Releases,
        tests::{install_files, sample_files},
    },
    state::{Change, Entry, Execution, Pairing, Step, empty_tree},
};

/// Fails at one write: the bytes are lost, or they are stored and only the answer is lost.
#[derive(Debug)]
struct Faulty {
    inner: Box<dyn Disk>,
    fail_at: usize,
    stored: bool,
    writes: Arc<AtomicUsize>,
}

impl Disk for Faulty {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let write = self.writes.fetch_add(1, Ordering::SeqCst);
        if write != self.fail_at || self.stored {
            self.inner.append(bytes)?;
        }
        if write == self.fail_at {
            Err(io::Error::other("power lost"))
        } else {
            Ok(())
        }
    }
}

/// A paired connector in a directory, with release one live.
pub(crate) fn paired(directory: &Path) -> Config {
    let (layout, ledger) = (Layout::new(directory), Ledger::new());
    files::make_private_directory(&layout.state()).unwrap();
    let key = keys::make(&layout.key()).unwrap();
    let pairing = Pairing {
        ledger: ledger.id,
        tenant: ledger.tenant.clone(),
        site: ledger.site.clone(),
        connector: ledger.connector.clone(),
        generation: 1,
        key: PublicKey::from(&key),
    };
    let mut journal = Journal::open(&layout.journal(), now()).unwrap();
    let (keys, document) = (ledger.keys.clone(), ledger.document());
    journal
        .write(vec![Entry::Paired {
            pairing,
            keys,
            document,
            checkpoint: empty_tree(),
        }])
        .unwrap();
    let releases = Releases::open(&layout.site()).unwrap();
    let one = install_files(&releases, "one", &sample_files("one"));
    releases.switch(Some(&one)).unwrap();
    let local = ([127, 0, 0, 1], 0).into();
    // Nobody listens on the discard port: what is to be said waits.
    Config::new(directory, local, local, "http://127.0.0.1:9")
}

fn install(directory: &Path, label: &str, extra: Option<&str>) -> Digest {
    let mut files = sample_files(label);
    if let Some(page) = extra {
        files.insert(
            "guide/extra.html".parse().unwrap(),
            page.as_bytes().to_vec(),
        );
    }
    install_files(
        &Releases::open(&Layout::new(directory).site()).unwrap(),
        label,
        &files,
    )
}

async fn order(agent: &Agent, before: Digest, after: Digest) -> Result<(), Error> {
    let execution = Execution {
        action: "publish".parse().unwrap(),
        order_digest: sha256(b"order"),
        change: Change::Release {
            before: OrDash(Some(before)),
            after,
        },
        step: Step::Prepared,
        started: now(),
    };
    let accepted = Report::Outcome {
        document: sha256(b"document"),
        order_digest: execution.order_digest,
        result: OutcomeResult::Accepted,
        code: OrDash::NONE,
        ended: None,
    };
    let prepared = Entry::Prepared {
        execution,
        nonce: Nonce::from_bytes([1; 16]),
        until: Time::MAX,
        sequence: Sequence::new(1),
        statements: BTreeMap::new(),
        checkpoint: TreeHead {
            size: 1,
            root: sha256(b"root"),
        },
    };
    agent.write(vec![prepared, Entry::Queued { report: accepted }])?;
    agent.execute().await
}

/// The results that wait to be said.
fn results(agent: &Agent) -> Vec<OutcomeResult> {
    let outbox = agent.state().outbox;
    outbox
        .iter()
        .filter_map(|report| match report {
            Report::Outcome { result, .. } => Some(*result),
            Report::Observed { .. } => None,
        })
        .collect()
}

/// Runs one order with one fault; gives how it ended after the restart, or `None` if the fault was never reached.
async fn crash(
    page: Option<&str>,
    fail_at: usize,
    stored: bool,
) -> Option<(Vec<OutcomeResult>, bool)> {
    let directory = tempfile::tempdir().unwrap();
    let config = paired(directory.path());
    let one = Releases::look(&Layout::new(directory.path()).site())
        .current()
        .unwrap()
        .unwrap();
    let two = install(directory.path(), "two", page);
    let agent = Agent::start(&config, Layout::new(&config.dir))
        .await
        .unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&writes);
    agent.journal().put_disk(|inner| {
        Box::new(Faulty {
            inner,
            fail_at,
            stored,
            writes: counted,
        })
    });
    let ended = order(&agent, one, two).await;
    drop(agent);
    if writes.load(Ordering::SeqCst) <= fail_at {
        assert!(ended.is_ok(), "{ended:?}");
        return None;
    }
    assert!(ended.is_err());

    let agent = Agent::start(&config, Layout::new(&config.dir))
        .await
        .unwrap();
    assert!(agent.state().execution.is_none());
    let current = agent.site.releases.current().unwrap();
    assert!(current == Some(one) || current == Some(two));
    // A third start finds nothing left to do.
    let (before, results) = (agent.state(), results(&agent));
    drop(agent);
    let agent = Agent::start(&config, Layout::new(&config.dir))
        .await
        .unwrap();
    assert_eq!(agent.state().execution, before.execution);
    assert_eq!(agent.site.releases.current().unwrap(), current);
    Some((results, current == Some(two)))
}

async fn check(page: Option<&str>, expected: &[(&str, &[OutcomeResult], bool)]) {
    let mut seen = Vec::new();
    for fail_at in 0.. {
        let mut reached = false;
        for stored in [false, true] {
            if let Some((results, is_after)) = crash(page, fail_at, stored).await {
                reached = true;
                seen.push((
                    format!("{fail_at} {}", if stored { "stored" } else { "lost" }),
                    results,
                    is_after,
                ));
            }
        }
        if !reached {
            break;
        }
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|(at, results, after)| ((*at).to_owned(), results.to_vec(), *after))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_sound_release_is_before_or_after() {
    let rows: &[(&str, &[OutcomeResult], bool)] = &[
        // Prepared: without it there was no order; with it the order failed and nothing was done.
        ("0 lost", &[], false),
        ("0 stored", &[Accepted, Failed], false),
        // Applying: nothing was done before it.
        ("1 lost", &[Accepted, Failed], false),
        ("1 stored", &[Accepted, Undone], false),
        // Applied: the link was changed already; not known to be done, it is taken back.
        ("2 lost", &[Accepted, Undone], false),
        ("2 stored", &[Accepted, Succeeded], true),
        // Verified.
        ("3 lost", &[Accepted, Succeeded], true),
        ("3 stored", &[Accepted, Succeeded], true),
    ];
    check(None, rows).await;
}

#[tokio::test]
async fn a_release_that_is_broken_live_is_before_however_it_ends() {
    let rows: &[(&str, &[OutcomeResult], bool)] = &[
        ("0 lost", &[], false),
        ("0 stored", &[Accepted, Failed], false),
        ("1 lost", &[Accepted, Failed], false),
        ("1 stored", &[Accepted, Undone], false),
        ("2 lost", &[Accepted, Undone], false),
        ("2 stored", &[Accepted, Undone], false),
        ("3 lost", &[Accepted, Undone], false),
        ("3 stored", &[Accepted, Undone], false),
    ];
    check(Some("<img src='/preview/one/site.css'>"), rows).await;
}

#[tokio::test]
async fn a_release_that_is_broken_in_preview_never_goes_live() {
    let rows: &[(&str, &[OutcomeResult], bool)] = &[
        ("0 lost", &[], false),
        ("0 stored", &[Accepted, Failed], false),
        ("1 lost", &[Accepted, Failed], false),
        ("1 stored", &[Accepted, Failed], false),
    ];
    check(Some("<img src='none.png'>"), rows).await;
}

#[tokio::test]
async fn a_lost_write_while_taking_back_is_taken_back_again() {
    for stored in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let config = paired(directory.path());
        let layout = Layout::new(directory.path());
        let one = Releases::look(&layout.site()).current().unwrap().unwrap();
        let two = install(directory.path(), "two", None);
        let agent = Agent::start(&config, layout.clone()).await.unwrap();
        agent.journal().put_disk(|inner| {
            Box::new(Faulty {
                inner,
                fail_at: 2,
                stored: false,
                writes: Arc::default(),
            })
        });
        assert!(order(&agent, one, two).await.is_err());
        drop(agent);

        let releases = Releases::open(&layout.site()).unwrap();
        assert_eq!(releases.current().unwrap(), Some(two));
        let mut journal = Journal::open(&layout.journal(), now()).unwrap();
        journal.put_disk(|inner| {
            Box::new(Faulty {
                inner,
                fail_at: 0,
                stored,
                writes: Arc::default(),
            })
        });
        assert!(
            crate::execute::take_back(&std::sync::Mutex::new(journal), &releases, now()).is_err()
        );

        let agent = Agent::start(&config, layout).await.unwrap();
        assert_eq!(agent.site.releases.current().unwrap(), Some(one));
        assert_eq!(results(&agent), [Accepted, Undone]);
    }
}

#[tokio::test]
async fn a_start_does_not_hang_on_a_release_that_is_gone() {
    // `gone`: which release was removed while the connector was down.
    for (fail_at, stored, gone, expected) in [
        (2, false, "before", (Failed, "two")),
        (3, false, "before", (Succeeded, "two")),
        (3, false, "after", (Undone, "one")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let config = paired(directory.path());
        let layout = Layout::new(directory.path());
        let one = Releases::look(&layout.site()).current().unwrap().unwrap();
        let two = install(directory.path(), "two", None);
        let agent = Agent::start(&config, layout.clone()).await.unwrap();
        let faulty = |inner| -> Box<dyn Disk> {
            Box::new(Faulty {
                inner,
                fail_at,
                stored,
                writes: Arc::default(),
            })
        };
        agent.journal().put_disk(faulty);
        assert!(order(&agent, one, two).await.is_err());
        let removed = agent
            .site
            .releases
            .directory(if gone == "before" { &one } else { &two });
        drop(agent);
        std::fs::rename(&removed, directory.path().join("elsewhere")).unwrap();

        let agent = Agent::start(&config, layout).await.unwrap();
        let current = if expected.1 == "two" { two } else { one };
        assert_eq!(results(&agent), [Accepted, expected.0], "{fail_at} {gone}");
        assert_eq!(
            agent.site.releases.current().unwrap(),
            Some(current),
            "{fail_at} {gone}"
        );
    }
}
