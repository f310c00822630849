//! Pairing: a code from the control plane, a key made here, and what is pinned from then on.
//!
//! The code pins the ledger before anything came over the network; the key statements must begin with that genesis key.
//! The request is kept until it was answered, so that a lost answer does not cost the code: the same code sends the same
//! bytes again. Pairing again raises the generation; what was seen under the one before stays seen, and what it did not get
//! to say is said by the new one.

use std::path::PathBuf;

use countersign_chain::ledger_id;
use countersign_evidence::{
    ConnectorMessage, KeyRing, PublicKey,
    message::{Head, Paired as PairedMessage, Stream},
    wire::{self, V1},
    words::{PAIRING_WORDS, digest_words},
};
use countersign_ids::{ChainId, ConnectorId, LedgerId, SiteId, TenantId};
use countersign_transport::{Client, PairReceipt, PairRequest, PairingCode, PairingInfo};
use serde::{Deserialize, Serialize};

use crate::{
    Config, Error,
    agent::now,
    checkpoint,
    config::Layout,
    files,
    journal::Journal,
    keys, lock,
    report::Report,
    state::{Entry, Pairing, State, empty_tree},
    unsaid,
};

/// What a finished pairing says to the person who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paired {
    /// The ledger that is pinned.
    pub ledger: LedgerId,
    /// The tenant.
    pub tenant: TenantId,
    /// The site.
    pub site: SiteId,
    /// The connector's name.
    pub connector: ConnectorId,
    /// The generation; 1 the first time.
    pub generation: u64,
    /// The digest of the pairing message in words: the control plane shows the same ones.
    pub words: String,
    /// Files of the outcomes that were left unsaid by this pairing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_unsaid: Vec<PathBuf>,
}

/// What becomes of outcomes that the place paired with before has not taken, where the new one is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Refuse,
    Keep,
}

/// A pairing whose answer has not come.
#[derive(Debug, Serialize, Deserialize)]
struct Unfinished {
    info: PairingInfo,
    request: PairRequest,
}

/// Pairs the connector in `config.dir` with the site that the code was made for.
///
/// Outcomes that were not taken yet are said by the new generation, if it is paired with the same site of the same ledger.
/// Another one cannot take them: then this is refused.
pub async fn pair(config: &Config, code: &str) -> Result<Paired, Error> {
    pair_with(config, code, Owed::Refuse).await
}

/// The same, but outcomes that another ledger has not taken are left unsaid: they are kept as files, and named.
pub async fn pair_leaving_unsaid(config: &Config, code: &str) -> Result<Paired, Error> {
    pair_with(config, code, Owed::Keep).await
}

async fn pair_with(config: &Config, code: &str, owed: Owed) -> Result<Paired, Error> {
    let code: PairingCode = code
        .parse()
        .map_err(|error: countersign_transport::CodeError| Error::Pairing(error.to_string()))?;
    let layout = Layout::new(&config.dir);
    let lock = lock::take(&layout)?;
    let client = Client::new(&config.server_url)?;
    let mut journal = Journal::open(&layout.journal(), now())?;
    if journal.state().execution.is_some() {
        return Err(Error::Owes(
            "an order is being executed; run the connector once, so that it ends",
        ));
    }
    let here = journal.state().pairing.as_ref();
    let again = here.is_some_and(|here| {
        code.is_of(&here.ledger) && here.is_place(&here.ledger, code.tenant(), code.site())
    });
    if owed == Owed::Refuse && !again && !journal.state().owed().is_empty() {
        return Err(Error::Owes(
            "the outcome of an order was not taken yet; run the connector once, so that it is said",
        ));
    }
    let unfinished = match kept(&layout, &code)? {
        Some(unfinished) => unfinished,
        None => begin(&client, &layout, &code).await?,
    };
    let (info, chain) = (&unfinished.info, unfinished.info.tenant.chain());
    let ring = check(info, &code, &chain)?;
    let receipt: PairReceipt = client.pair(&unfinished.request).await?;
    if receipt.connector != info.connector || receipt.generation != info.generation {
        return Err(Error::Pairing(
            "the receipt is for another connector".to_owned(),
        ));
    }
    let checkpoint = checkpoint::check(&ring, &chain, &receipt.checkpoint, &[], &empty_tree());
    let checkpoint = checkpoint.map_err(|error| Error::Pairing(error.to_string()))?;
    let key = PublicKey::from(&keys::read(&layout.new_key())?);
    let pairing = Pairing {
        ledger: info.ledger,
        tenant: info.tenant.clone(),
        site: info.site.clone(),
        connector: info.connector.clone(),
        generation: info.generation,
        key,
    };
    let (keys, document) = (info.keys.clone(), info.document.clone());
    let left_unsaid = leave(&layout, journal.state(), &pairing)?;
    journal.write(vec![Entry::Paired {
        pairing,
        keys,
        document,
        checkpoint,
    }])?;
    keys::adopt(&layout)?;
    files::remove_if_there(&layout.pairing()).map_err(Error::io(layout.pairing()))?;
    drop(lock);
    Ok(Paired {
        ledger: info.ledger,
        tenant: info.tenant.clone(),
        site: info.site.clone(),
        connector: info.connector.clone(),
        generation: info.generation,
        words: digest_words(&unfinished.request.envelope.payload_digest(), PAIRING_WORDS),
        left_unsaid,
    })
}

/// Keeps the outcomes that the place of the next pairing cannot take, because another gave the orders: durably, before the
/// journal forgets them.
fn leave(layout: &Layout, state: &State, next: &Pairing) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    if state.says_on(next) {
        return Ok(files);
    }
    let sent = state.unanswered.action.as_ref();
    let of_sent = sent.and_then(Report::of_outcome);
    for report in state.owed() {
        let envelope = sent.filter(|_| of_sent.as_ref() == Some(&report));
        let why = unsaid::PAIRED_ELSEWHERE;
        files.extend(unsaid::keep(layout, &report, envelope, why, now())?);
    }
    Ok(files)
}

/// The request that was sent with the same code before, and whose answer was lost.
fn kept(layout: &Layout, code: &PairingCode) -> Result<Option<Unfinished>, Error> {
    let path = layout.pairing();
    let Some(bytes) = files::read_if_there(&path).map_err(Error::io(&path))? else {
        return Ok(None);
    };
    let unfinished: Option<Unfinished> = serde_json::from_slice(&bytes).ok();
    Ok(unfinished.filter(|unfinished| {
        unfinished.request.code == code.to_string() && layout.new_key().exists()
    }))
}

/// Asks what the code is for, makes a key, and signs the request.
async fn begin(client: &Client, layout: &Layout, code: &PairingCode) -> Result<Unfinished, Error> {
    let info = client.pairing(code).await?;
    let chain = info.tenant.chain();
    let ring = check(&info, code, &chain)?;
    let key = keys::make(&layout.new_key())?;
    let message = ConnectorMessage::Paired(PairedMessage {
        head: Head {
            v: V1,
            ledger: info.ledger,
            chain,
            site: info.site.clone(),
            connector: info.connector.clone(),
            generation: info.generation,
            document_digest: info.document.digest()?,
            checkpoint: empty_tree(),
            keys_version: ring.version(),
        },
        stream: Stream::Action,
        counter: 0,
        key: PublicKey::from(&key),
        code_digest: code.digest(),
    });
    let request = PairRequest {
        code: code.to_string(),
        envelope: message.sign(&key)?,
    };
    let unfinished = Unfinished { info, request };
    let bytes = wire::canonical(&unfinished).map_err(|error| Error::Pairing(error.to_string()))?;
    files::replace(&layout.pairing(), &bytes, files::OWNER_ONLY)
        .map_err(Error::io(layout.pairing()))?;
    Ok(unfinished)
}

/// Everything that the control plane presents must fit the code and itself.
fn check(info: &PairingInfo, code: &PairingCode, chain: &ChainId) -> Result<KeyRing, Error> {
    let refuse = |what: &str| Err(Error::Pairing(what.to_owned()));
    if !code.is_of(&info.ledger) || ledger_id(info.genesis_key.as_bytes()) != info.ledger {
        return refuse("the genesis key is not the one that the code names");
    }
    if info.tenant != *code.tenant() || info.site != *code.site() {
        return refuse("it is for another site than the code");
    }
    let document = &info.document;
    document.check()?;
    if document.ledger != info.ledger
        || document.chain != *chain
        || document.site != info.site
        || document.genesis != info.genesis_key
    {
        return refuse("the document to pin is for another site or ledger");
    }
    let mut statements = info.keys.iter();
    let Some(first) = statements.next() else {
        return refuse("it names no keys");
    };
    let mut ring = KeyRing::begin(&info.ledger, first)?;
    for statement in statements {
        ring.follow(statement)?;
    }
    Ok(ring)
}
