//! A control plane in memory: the connector's routes over real HTTP, real signatures, real proofs, and faults on demand.

pub(crate) mod chain;
pub(crate) mod ledger;
mod routes;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chain::Events;
use countersign_chain::sha256;
use countersign_connector::Manifest;
use countersign_evidence::{
    ConnectorMessage, Delivery, Envelope, JsonObject, Order, OutcomeResult, PinnedDocument,
    PublicKey, VerifiedMessage,
    message::{SiteState, Stream},
};
use countersign_ids::{ActionId, Digest, Time};
use countersign_transport::{
    Accepted, BeatAnswer, CONNECTOR_HEADER, Containment, PROOF_HEADER, PairReceipt, PairRequest,
    PairingCode, PairingInfo, PairingRequest, Signed, decode_proof,
};
use ledger::{Ledger, ORIGIN};
use tokio::sync::Notify;

/// How long a poll is held here; the real one holds for 30 seconds.
const HOLD: Duration = Duration::from_millis(300);
/// The longest that a test waits for something.
const WAIT: Duration = Duration::from_secs(30);

/// What the plane does wrong on purpose, each once.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Take the next message of this stream and lose the answer.
    pub(crate) lose_answer: Option<Stream>,
    /// Lose the answer to the next pairing.
    pub(crate) lose_pairing: bool,
    /// Refuse the next message with this status and code.
    pub(crate) refuse: Option<(u16, &'static str)>,
    /// Take no message of stream `action` any more.
    pub(crate) deaf: bool,
    /// Show another history from now on.
    pub(crate) fork: bool,
    /// Send other bytes for this blob.
    pub(crate) spoil_blob: Option<Digest>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) ledger: Ledger,
    pub(crate) chain: Events,
    pub(crate) document: PinnedDocument,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
    pub(crate) code: PairingCode,
    pub(crate) paired: Option<Envelope>,
    pub(crate) generation: u64,
    pub(crate) connector_key: Option<PublicKey>,
    pub(crate) messages: Vec<ConnectorMessage>,
    /// Every envelope by stream and counter: a repeat must be the same bytes.
    pub(crate) taken: BTreeMap<(Stream, u64), Envelope>,
    pub(crate) repeats: usize,
    /// The orders that are not answered: their place in the chain, and their digest.
    pub(crate) pending: Vec<(usize, Digest)>,
    pub(crate) delivered: usize,
    pub(crate) sequence: u64,
    pub(crate) faults: Faults,
    pub(crate) containment: Containment,
    pub(crate) fetched: Vec<Digest>,
}

/// The control plane.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    pub(crate) address: SocketAddr,
}

pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Time::from_unix_millis(u64::try_from(since.as_millis()).unwrap())
}

fn problem(status: u16, code: &str) -> Response {
    let body = serde_json::json!({"code": code, "title": code, "status": status});
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

fn lost() -> Response {
    problem(503, "answer-lost")
}

impl Plane {
    /// Starts a plane for one site, with an invitation for its connector.
    pub(crate) async fn start() -> Self {
        Self::start_with(Ledger::new()).await
    }

    /// Starts a plane of another ledger, with a site of the same name.
    pub(crate) async fn start_another() -> Self {
        Self::start_with(Ledger::of(ledger::key(21))).await
    }

    async fn start_with(ledger: Ledger) -> Self {
        let mut chain = Events::new(ledger.id, ledger.tenant.chain());
        chain.append(
            "chain",
            "opened",
            &serde_json::json!({"chain": "acme", "number": 1}),
            now(),
        );
        let inner = Inner {
            code: PairingCode::new(
                [9; 16],
                ledger.tenant.clone(),
                ledger.site.clone(),
                &ledger.id,
            ),
            document: ledger.document(),
            chain,
            ledger,
            blobs: BTreeMap::new(),
            paired: None,
            generation: 1,
            connector_key: None,
            messages: vec![],
            taken: BTreeMap::new(),
            repeats: 0,
            pending: vec![],
            delivered: 0,
            sequence: 0,
            faults: Faults::default(),
            containment: Containment::Normal,
            fetched: vec![],
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plane = Self {
            inner: Arc::new(Mutex::new(inner)),
            changed: Arc::new(Notify::new()),
            address,
        };
        let router = Router::new()
            .route("/v1/connector/pairing", post(routes::pairing))
            .route("/v1/connector/pair", post(routes::pair))
            .route("/v1/connector/beats", post(routes::beat))
            .route("/v1/connector/poll", post(routes::poll))
            .route("/v1/connector/messages", post(routes::message))
            .route("/v1/connector/blobs/{digest}", get(routes::blob))
            .with_state(plane.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        plane
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.lock().code.to_string()
    }

    /// A fresh invitation, as for pairing again.
    pub(crate) fn invite_again(&self) -> String {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.paired = None;
        inner.taken.clear();
        inner.code = PairingCode::new(
            [10; 16],
            inner.ledger.tenant.clone(),
            inner.ledger.site.clone(),
            &inner.ledger.id,
        );
        inner.code.to_string()
    }

    /// Puts a release into the blob store.
    pub(crate) fn add_release(&self, files: &[(&str, &str)]) -> Digest {
        let files = files
            .iter()
            .map(|(path, text)| (path.parse().unwrap(), text.as_bytes().to_vec()))
            .collect();
        let label = format!("release-{}", self.lock().blobs.len());
        let manifest = Manifest::build(&label, &files).unwrap();
        let mut inner = self.lock();
        inner
            .blobs
            .insert(manifest.digest(), manifest.bytes().to_vec());
        inner
            .blobs
            .extend(files.into_values().map(|bytes| (sha256(&bytes), bytes)));
        manifest.digest()
    }

    /// Waits until `found` finds what it looks for.
    pub(crate) async fn until<T>(&self, what: &str, found: impl Fn(&Inner) -> Option<T>) -> T {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = found(&self.lock()) {
                    return found;
                }
                // A change that comes between the look and the wait is seen at the next look.
                let _ = tokio::time::timeout(Duration::from_millis(50), changed).await;
            }
        };
        match tokio::time::timeout(WAIT, wait).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what}: {:#?}", self.lock().messages),
        }
    }

    /// The state of the site as it was last reported.
    pub(crate) async fn observed(&self) -> SiteState {
        self.until("an observation", |inner| inner.observed()).await
    }

    /// Waits for what became of an order.
    pub(crate) async fn result(&self, order: &Digest) -> countersign_evidence::Outcome {
        self.until("a result", |inner| {
            inner
                .outcomes(order)
                .into_iter()
                .find(|outcome| outcome.result != OutcomeResult::Accepted)
        })
        .await
    }

    /// Mints an order for the site as it was last observed, and hands it out; `change` may spoil it before it is signed.
    pub(crate) async fn order(&self, release: &Digest, change: impl FnOnce(&mut Order)) -> Digest {
        let seen = self.observed().await;
        let mut inner = self.lock();
        inner.sequence += 1;
        let action: ActionId = format!("publish-{}", inner.sequence).parse().unwrap();
        let rollback = seen.rollback.digest().unwrap();
        let object = inner
            .ledger
            .publish(release, seen.current.get().copied(), rollback, now());
        let mut order = inner.ledger.order(&action, &object, inner.sequence, now());
        order.generation = inner.generation;
        order.document_digest = inner.document.digest().unwrap();
        change(&mut order);
        let digest = inner.authorize(&order);
        drop(inner);
        self.changed.notify_waiters();
        digest
    }
}

impl Inner {
    /// Signs an order and appends the event that holds it.
    pub(crate) fn authorize(&mut self, order: &Order) -> Digest {
        let envelope = order.sign(&self.ledger.orders).unwrap();
        let body = serde_json::json!({
            "action": order.action, "round": 1, "envelope": envelope, "evaluations": [], "reasons": [], "blobs": [],
            "policy_digest": sha256(b"policy"), "cedar_version": "4.14.1", "entities_digest": sha256(b"entities"),
        });
        let at = self.chain.append("action", "authorized", &body, now());
        self.pending.push((at, envelope.payload_digest()));
        envelope.payload_digest()
    }

    pub(crate) fn observed(&self) -> Option<SiteState> {
        self.messages
            .iter()
            .rev()
            .find_map(|message| match message {
                ConnectorMessage::Observed(observed) => Some(observed.observed.clone()),
                _ => None,
            })
    }

    pub(crate) fn outcomes(&self, order: &Digest) -> Vec<countersign_evidence::Outcome> {
        let of_order = |message: &ConnectorMessage| match message {
            ConnectorMessage::Outcome(outcome) if outcome.order_digest == *order => {
                Some(outcome.clone())
            }
            _ => None,
        };
        self.messages.iter().filter_map(of_order).collect()
    }

    fn origin(&self) -> String {
        format!("{ORIGIN}/{}", self.ledger.tenant.chain())
    }

    pub(crate) fn checkpoint(&self) -> String {
        let size = self.chain.size();
        if self.faults.fork {
            return chain::note(&self.origin(), size, &[7; 32], &self.ledger.checkpoints);
        }
        self.note(size)
    }

    /// An honest note over the beginning of the chain.
    pub(crate) fn note(&self, size: usize) -> String {
        self.chain
            .note(&self.origin(), size, &self.ledger.checkpoints)
    }

    pub(crate) fn keys_after(&self, version: u64) -> Vec<Envelope> {
        self.ledger
            .keys
            .iter()
            .skip(usize::try_from(version).unwrap())
            .cloned()
            .collect()
    }

    pub(crate) fn delivery(&self, at: usize, size: u64, keys_version: u64) -> Delivery {
        Delivery {
            event: self.chain.events[at].clone(),
            checkpoint: self.checkpoint(),
            inclusion: self.chain.inclusion(at, self.chain.size()),
            consistency: self.chain.consistency(size, self.chain.size()),
            keys: self.keys_after(keys_version),
        }
    }

    /// Verifies a message, and appends it unless it is a repeat; the error is the answer.
    fn take(&mut self, envelope: &Envelope) -> Result<ConnectorMessage, Box<Response>> {
        let key = self
            .connector_key
            .ok_or_else(|| Box::new(problem(401, "unknown-key")))?;
        let verified = VerifiedMessage::verify(envelope, &key)
            .map_err(|_| Box::new(problem(401, "unknown-key")))?;
        let message = verified.into_message();
        let Some((stream, counter)) = message.counter() else {
            return Ok(message);
        };
        if let Some(before) = self.taken.get(&(stream, counter)) {
            if before != envelope {
                return Err(Box::new(problem(409, "message-replayed")));
            }
            self.repeats += 1;
            return Ok(message);
        }
        let next = self.taken.keys().filter(|(of, _)| *of == stream).count();
        if counter != u64::try_from(next).unwrap() {
            return Err(Box::new(problem(409, "message-replayed")));
        }
        self.taken.insert((stream, counter), envelope.clone());
        self.messages.push(message.clone());
        if stream == Stream::Action {
            self.chain.append(
                "site",
                "observed",
                &serde_json::json!({ "envelope": envelope }),
                now(),
            );
        }
        if let ConnectorMessage::Outcome(outcome) = &message {
            self.pending
                .retain(|(_, order)| *order != outcome.order_digest);
        }
        Ok(message)
    }
}

/// A precondition object.
pub(crate) fn current(release: Option<&Digest>) -> JsonObject {
    JsonObject::of_strings([(
        "current",
        release.map_or_else(|| "-".to_owned(), Digest::to_string),
    )])
}
