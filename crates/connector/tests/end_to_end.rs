//! A connector against a control plane in memory: real keys, real HTTP, real directories.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod plane;

use std::{net::SocketAddr, path::Path, time::Duration};

use countersign_connector::{Config, Error, pair, pair_leaving_unsaid, run, status, stop};
use countersign_evidence::{ConnectorMessage, Mode, OutcomeResult, action::Grade, message::Stream};
use countersign_ids::Digest;
use plane::{Plane, current};
use tokio::{sync::oneshot, task::JoinHandle};

const HOME: &str = "<h1>home</h1><a href='guide.html'>guide</a>";
const GUIDE: &str = "<h1>guide</h1><link href='site.css'>";

/// A connector that runs until it is told to stop.
struct Running {
    task: JoinHandle<Result<(), Error>>,
    shutdown: oneshot::Sender<()>,
    site: SocketAddr,
    preview: SocketAddr,
}

impl Running {
    async fn end(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn config(directory: &Path, plane: &Plane) -> Config {
    let local = ([127, 0, 0, 1], 0).into();
    Config {
        heartbeat: Duration::from_millis(100),
        ..Config::new(directory, local, local, &plane.url())
    }
}

async fn start(config: &Config) -> Running {
    let (shutdown, ended) = oneshot::channel();
    let (owned, directory) = (config.clone(), config.dir.clone());
    let task = tokio::spawn(async move {
        run(&owned, async {
            ended.await.ok();
        })
        .await
    });
    let ready = async {
        loop {
            let running = status(&directory).unwrap().running;
            if let Some((Some(site), Some(preview))) =
                running.map(|running| (running.site, running.preview))
            {
                return (site.parse().unwrap(), preview.parse().unwrap());
            }
            tokio::task::yield_now().await;
        }
    };
    let (site, preview) = tokio::time::timeout(Duration::from_secs(30), ready)
        .await
        .unwrap();
    Running {
        task,
        shutdown,
        site,
        preview,
    }
}

async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn release(plane: &Plane, title: &str) -> Digest {
    plane.add_release(&[
        ("index.html", &format!("{HOME}<p>{title}</p>")),
        ("guide.html", GUIDE),
        ("site.css", "h1{}"),
    ])
}

async fn publish(plane: &Plane, release: &Digest) -> countersign_evidence::Outcome {
    let order = plane.order(release, |_| {}).await;
    plane.result(&order).await
}

/// Waits until the live release was reported.
async fn live(plane: &Plane, release: &Digest) {
    plane
        .until("the live release", |inner| {
            inner
                .observed()
                .filter(|seen| seen.current.get() == Some(release))
                .map(drop)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_changes_and_a_broken_release_returns_by_itself() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    let paired = pair(&config, &plane.code()).await.unwrap();
    assert_eq!((paired.generation, paired.words.split('-').count()), (1, 6));
    let connector = start(&config).await;
    assert_eq!(page(connector.site, "/").await.0, 404);
    assert_eq!(plane.observed().await.rollback.grade, Grade::None);

    let one = release(&plane, "one");
    let outcome = publish(&plane, &one).await;
    assert_eq!(outcome.result, OutcomeResult::Succeeded, "{outcome:?}");
    assert_eq!(
        (outcome.before, outcome.after),
        (Some(current(None)), Some(current(Some(&one))))
    );
    assert!(page(connector.site, "/").await.1.contains("one"));
    live(&plane, &one).await;
    assert_eq!(plane.observed().await.rollback.grade, Grade::Exact);

    let two = release(&plane, "two");
    let outcome = publish(&plane, &two).await;
    assert_eq!(outcome.result, OutcomeResult::Succeeded, "{outcome:?}");
    assert!(page(connector.site, "/").await.1.contains("two"));
    // What the releases share was fetched once.
    let fetched = plane.lock().fetched.clone();
    assert_eq!(fetched.len(), 2 + 3 + 1);
    live(&plane, &two).await;

    // Whole in preview, where release one has an address, and broken live, on a page that is not the home page.
    let broken = plane.add_release(&[
        ("index.html", HOME),
        (
            "guide.html",
            &format!("<img src='/preview/{}/site.css'>", one.hex()),
        ),
    ]);
    let outcome = publish(&plane, &broken).await;
    assert_eq!(outcome.result, OutcomeResult::Undone, "{outcome:?}");
    assert_eq!(outcome.code.get().map(String::as_str), Some("live-broken"));
    assert_eq!(outcome.after, Some(current(Some(&two))));
    let observations = outcome.observations.unwrap();
    let seen = |what: &str, ok: bool| {
        observations
            .iter()
            .any(|one| one.what.starts_with(what) && one.ok == ok)
    };
    assert!(
        seen("preview:", true)
            && seen("live:", false)
            && seen("live guide.html", false)
            && seen("restored:", true)
    );
    assert!(page(connector.site, "/").await.1.contains("two"));
    assert_eq!(
        page(
            connector.preview,
            &format!("/preview/{}/guide.html", broken.hex())
        )
        .await
        .0,
        200
    );

    connector.end().await;
    messages_are_whole(&plane);
}

/// Counters are dense, heartbeats name the one before, and acceptance comes before each result.
fn messages_are_whole(plane: &Plane) {
    let inner = plane.lock();
    for stream in [Stream::Beat, Stream::Action] {
        let counters: Vec<u64> = inner
            .taken
            .keys()
            .filter(|(of, _)| *of == stream)
            .map(|(_, counter)| *counter)
            .collect();
        assert_eq!(
            counters,
            (0..u64::try_from(counters.len()).unwrap()).collect::<Vec<_>>()
        );
    }
    let mut before = None;
    for ((stream, counter), envelope) in &inner.taken {
        if *stream == Stream::Beat {
            let ConnectorMessage::Heartbeat(beat) =
                ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload())
                    .unwrap()
            else {
                panic!("no heartbeat")
            };
            assert_eq!(beat.previous.get().copied(), before, "heartbeat {counter}");
            assert_eq!(beat.mode, Mode::Normal);
            before = Some(envelope.payload_digest());
        }
    }
    let mut accepted = vec![];
    for message in &inner.messages {
        if let ConnectorMessage::Outcome(outcome) = message {
            match outcome.result {
                OutcomeResult::Accepted => accepted.push(outcome.order_digest),
                OutcomeResult::Refused => {}
                _ => assert!(accepted.contains(&outcome.order_digest)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_with_the_same_bytes() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    plane.lock().faults.lose_pairing = true;
    assert!(matches!(
        pair(&config, &plane.code()).await,
        Err(Error::Transport(_))
    ));
    pair(&config, &plane.code()).await.unwrap();
    // The code is used up for everybody else.
    let other = tempfile::tempdir().unwrap();
    assert!(matches!(
        pair(
            &Config {
                dir: other.path().to_owned(),
                ..config.clone()
            },
            &plane.code()
        )
        .await,
        Err(Error::Transport(_))
    ));

    plane.lock().faults.lose_answer = Some(Stream::Beat);
    let connector = start(&config).await;
    plane
        .until("a repeated heartbeat", |inner| {
            (inner.repeats >= 1).then_some(())
        })
        .await;
    plane.lock().faults.lose_answer = Some(Stream::Action);
    let one = release(&plane, "one");
    assert_eq!(publish(&plane, &one).await.result, OutcomeResult::Succeeded);
    plane
        .until("a repeated report", |inner| {
            (inner.repeats >= 2).then_some(())
        })
        .await;
    connector.end().await;

    // Across a restart too: the message is in the journal.
    plane.lock().faults.lose_answer = Some(Stream::Action);
    let connector = start(&config).await;
    plane
        .until("another repeated report", |inner| {
            (inner.repeats >= 3).then_some(())
        })
        .await;
    connector.end().await;
    messages_are_whole(&plane);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_handed_out_again_is_executed_once() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    pair(&config, &plane.code()).await.unwrap();
    let connector = start(&config).await;
    let one = release(&plane, "one");
    let order = plane.order(&one, |_| {}).await;
    plane.result(&order).await;
    live(&plane, &one).await;
    let (before, delivered) = {
        let mut inner = plane.lock();
        let at = inner
            .chain
            .events
            .iter()
            .rposition(|event| event.header.contains("action.authorized"))
            .unwrap();
        inner.pending.push((at, order));
        (inner.outcomes(&order).len(), inner.delivered)
    };
    plane
        .until("another delivery", |inner| {
            (inner.delivered > delivered + 1).then_some(())
        })
        .await;
    assert_eq!(plane.lock().outcomes(&order).len(), before);
    connector.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_refused_and_the_connector_goes_quiet_until_it_is_paired_again() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    pair(&config, &plane.code()).await.unwrap();
    let connector = start(&config).await;
    plane.observed().await;
    plane.lock().faults.fork = true;
    let quiet = |inner: &plane::Inner| {
        inner.messages.iter().any(|message| matches!(message, ConnectorMessage::Heartbeat(beat) if beat.mode == Mode::Quiet)).then_some(())
    };
    plane.until("a quiet heartbeat", quiet).await;
    assert_eq!(status(directory.path()).unwrap().mode, "quiet");
    plane.lock().faults.fork = false;
    let one = release(&plane, "one");
    let order = plane.order(&one, |_| {}).await;
    let beats = plane.lock().messages.len();
    plane
        .until("more heartbeats", |inner| {
            (inner.messages.len() > beats + 5).then_some(())
        })
        .await;
    // The poll that was open when it went quiet may still bring an order; it is refused.
    let refused =
        |outcome: &countersign_evidence::Outcome| outcome.result == OutcomeResult::Refused;
    assert!(plane.lock().outcomes(&order).iter().all(refused));
    assert_eq!(status(directory.path()).unwrap().current, "-");
    connector.end().await;

    plane.lock().pending.clear();
    let paired = pair(&config, &plane.invite_again()).await.unwrap();
    assert_eq!(paired.generation, 2);
    let connector = start(&config).await;
    plane
        .until("generation 2", |inner| {
            inner
                .messages
                .last()
                .filter(|message| message.head().generation == 2)
                .map(drop)
        })
        .await;
    assert_eq!(publish(&plane, &one).await.result, OutcomeResult::Succeeded);
    connector.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_the_release_never_reach_the_site() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    pair(&config, &plane.code()).await.unwrap();
    let connector = start(&config).await;
    let one = release(&plane, "one");
    plane.lock().faults.spoil_blob = Some(countersign_chain::sha256(b"h1{}"));
    let outcome = publish(&plane, &one).await;
    assert_eq!(
        (outcome.result, outcome.code.get().map(String::as_str)),
        (OutcomeResult::Failed, Some("release-differs"))
    );
    let missing = countersign_chain::sha256(b"no such release");
    let outcome = publish(&plane, &missing).await;
    assert_eq!(
        (outcome.result, outcome.code.get().map(String::as_str)),
        (OutcomeResult::Failed, Some("release-unavailable"))
    );
    let torn = plane.add_release(&[("index.html", "<img src=none.png>")]);
    let outcome = publish(&plane, &torn).await;
    assert_eq!(
        (outcome.result, outcome.code.get().map(String::as_str)),
        (OutcomeResult::Failed, Some("preview-broken"))
    );
    assert_eq!(page(connector.site, "/").await.0, 404);
    connector.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_of_the_previous_release_is_reported_as_stale() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    pair(&config, &plane.code()).await.unwrap();
    let connector = start(&config).await;
    let one = release(&plane, "one");
    assert_eq!(publish(&plane, &one).await.result, OutcomeResult::Succeeded);
    live(&plane, &one).await;
    let file = directory
        .path()
        .join(format!("site/releases/{}/files/guide.html", one.hex()));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, "changed").unwrap();
    // A look that comes while the file is being written finds it changed in another way.
    let stale = |inner: &plane::Inner| {
        let plan = inner.observed()?.rollback;
        (plan.grade == Grade::Stale && plan.lost == ["guide.html"]).then_some(())
    };
    plane.until("a stale plan", stale).await;
    connector.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_at_the_site_without_the_control_plane() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = Config {
        server_url: "http://127.0.0.1:9".to_owned(),
        ..config(directory.path(), &plane)
    };
    assert!(matches!(
        run(&config, async {}).await,
        Err(Error::NotPaired)
    ));
    assert!(!stop(directory.path()).await.unwrap());
    pair(
        &Config {
            server_url: plane.url(),
            ..config.clone()
        },
        &plane.code(),
    )
    .await
    .unwrap();
    let connector = start(&config).await;
    assert!(matches!(
        run(&config, async {}).await,
        Err(Error::Running { .. })
    ));
    assert!(matches!(
        pair(&config, &plane.code()).await,
        Err(Error::Running { .. })
    ));
    assert!(stop(directory.path()).await.unwrap());
    connector.task.await.unwrap().unwrap();
    let status = status(directory.path()).unwrap();
    assert_eq!(
        (
            status.running,
            status.mode.as_str(),
            status.current.as_str()
        ),
        (None, "normal", "-")
    );
    assert_eq!(status.pairing.unwrap().generation, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_ledger_pins_nothing() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let config = config(directory.path(), &plane);
    assert!(matches!(
        pair(&config, "cs1.nonsense").await,
        Err(Error::Pairing(_))
    ));
    let code = plane.code();
    let ledger = code.rsplit('.').next().unwrap();
    let foreign = code.replace(ledger, &"0".repeat(16));
    plane.lock().code = foreign.parse().unwrap();
    assert!(matches!(
        pair(&config, &foreign).await,
        Err(Error::Pairing(_))
    ));
    assert!(status(directory.path()).unwrap().pairing.is_none());
    assert!(plane.lock().paired.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_one_ledger_never_took_is_left_behind_by_decision_only() {
    let (directory, old, new) = (
        tempfile::tempdir().unwrap(),
        Plane::start().await,
        Plane::start_another().await,
    );
    let at = config(directory.path(), &old);
    pair(&at, &old.code()).await.unwrap();
    let connector = start(&at).await;
    let one = release(&old, "one");
    assert_eq!(publish(&old, &one).await.result, OutcomeResult::Succeeded);
    live(&old, &one).await;
    // The old plane does not answer any more: the next outcome is never taken.
    old.lock().faults.deaf = true;
    let two = release(&old, "two");
    let order = old.order(&two, |_| {}).await;
    let ended = || {
        let status = status(directory.path()).unwrap();
        status.current == two.to_string() && status.unfinished.is_none()
    };
    old.until("the end of the order", |_| ended().then_some(()))
        .await;
    connector.end().await;

    let at = config(directory.path(), &new);
    let refused = pair(&at, &new.code()).await.unwrap_err();
    assert_eq!(refused.code().id, "outcome-owed");
    let paired = pair_leaving_unsaid(&at, &new.code()).await.unwrap();
    let words = paired.left_unsaid.iter().map(|file| {
        assert!(file.exists());
        let name = file.file_name().unwrap().to_str().unwrap();
        let (of, result) = name.split_once('-').unwrap();
        assert_eq!(of, order.hex());
        result.to_owned()
    });
    assert_eq!(
        words.collect::<Vec<_>>(),
        ["accepted.json", "succeeded.json"]
    );
    assert_eq!(status(directory.path()).unwrap().unsaid, paired.left_unsaid);
    let connector = start(&at).await;
    assert_eq!(new.observed().await.current.get(), Some(&two));
    connector.end().await;
}
