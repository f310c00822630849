//! Pairing: a code from the control plane, a key made here, and what is pinned from then on.
//!
//! The code pins the ledger before anything came over the network; the key statements must begin with that genesis key.
//! The request is kept until it was answered, so that a lost answer does not cost the code: the same code sends the same
//! bytes again. Pairing again raises the generation; what was seen under the one before stays seen.

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
    state::{Entry, Pairing, empty_tree},
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
}

/// A pairing whose answer has not come.
#[derive(Debug, Serialize, Deserialize)]
struct Unfinished {
    info: PairingInfo,
    request: PairRequest,
}

/// Pairs the connector in `config.dir` with the site that the code was made for.
pub async fn pair(config: &Config, code: &str) -> Result<Paired, Error> {
    let code: PairingCode = code
        .parse()
        .map_err(|error: countersign_transport::CodeError| Error::Pairing(error.to_string()))?;
    let layout = Layout::new(&config.dir);
    let lock = lock::take(&layout)?;
    let client = Client::new(&config.server_url)?;
    let mut journal = Journal::open(&layout.journal(), now())?;
    if journal.state().execution.is_some() {
        return Err(Error::Pairing(
            "an order is being executed; run the connector once, so that it ends".to_owned(),
        ));
    }
    if journal.state().owes_an_outcome() {
        return Err(Error::Pairing(
            "the outcome of an order was not said yet; run the connector once, so that it is"
                .to_owned(),
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
    })
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
