//! The beginning of a ledger: its genesis key, its first keys, and the statement that adds them.

use std::path::Path;

use countersign_chain::CommandKey;
use countersign_events::keys::{Changed, Created};
use countersign_events::{Event, Keys};
use countersign_evidence::keys::{AddedKey, KeyError, KeyStatement, Role};
use countersign_evidence::wire::{self, OrDash, V1};
use countersign_evidence::{Envelope, KeyRing, PayloadType, PublicKey};
use countersign_ids::{ChainId, LedgerId};
use countersign_store::{Append, Condition, Layout, Ledger, NewEvent, Stamp};
use ed25519_dalek::SigningKey;

use crate::engine::decode;
use crate::keyfiles::{self, KeyUse, Signers};
use crate::model::Config;
use crate::{Error, access};

/// How many digits of the ledger's id stand in an origin that nobody chose.
const ORIGIN_DIGITS: usize = 16;
/// How many events are read at once.
const PAGE: usize = 512;

/// Opens the ledger of a data directory, making one with a new genesis key if there is none.
pub(crate) fn open(config: &Config) -> Result<Ledger, Error> {
    if !Layout::new(&config.data).is_ledger() {
        let genesis = keyfiles::load_or_create(&config.genesis)?;
        Ledger::create(
            &config.data,
            genesis.verifying_key().to_bytes(),
            &config.store,
        )?;
        tracing::info!(genesis = %config.genesis.display(), "made a ledger; keep the genesis key apart from the server");
    }
    Ok(Ledger::open(&config.data, config.store.clone())?)
}

/// Writes the platform's first event: the first key statement.
pub(crate) fn begin(ledger: &Ledger, config: &Config, signers: &Signers) -> Result<(), Error> {
    let id = ledger.description().ledger;
    let genesis = keyfiles::load(&config.genesis)?;
    if genesis.verifying_key().to_bytes() != ledger.description().genesis {
        return Err(Error::KeyFileOther {
            path: config.genesis.clone(),
        });
    }
    let named: String = id.hex().chars().take(ORIGIN_DIGITS).collect();
    let origin = config
        .origin
        .clone()
        .unwrap_or_else(|| format!("countersign/{named}"));
    let event = Event::from(Created {
        envelope: statement(&id, &origin, &genesis, signers)?,
    });
    let new = NewEvent {
        event_type: event.event_type(),
        subject: "keys".parse()?,
        site: None,
        retention: event.retention(),
        body: event.encode().map_err(Error::internal)?,
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    };
    let key = CommandKey::Key(id.to_string());
    ledger.append_blocking(Append {
        condition: Some(Condition::unchanged(0)),
        ..Append::new(ChainId::platform(), access::service()?, key, vec![new])
    })?;
    Ok(())
}

/// Follows the ledger's key statements.
pub(crate) fn follow(ledger: &Ledger) -> Result<KeyRing, Error> {
    let mut ring: Option<KeyRing> = None;
    let mut from = 0;
    loop {
        let entries = ledger.read(&ChainId::platform(), from, PAGE)?;
        for entry in &entries {
            let corrupt = |detail: String| Error::Corrupt {
                chain: ChainId::platform(),
                sequence: entry.sequence(),
                detail,
            };
            let Some(Event::Keys(event)) = decode(entry).map_err(corrupt)? else {
                continue;
            };
            let (Keys::Created(Created { envelope }) | Keys::Changed(Changed { envelope })) =
                &event;
            step(&mut ring, &ledger.description().ledger, envelope)
                .map_err(|error| corrupt(error.to_string()))?;
        }
        if entries.len() < PAGE {
            break;
        }
        from += u64::try_from(PAGE).map_err(Error::internal)?;
    }
    ring.ok_or_else(|| Error::internal("the ledger has no key statement"))
}

/// What a server would refuse about the private key files in `keys`, by the key statements of its ledger. Nothing is written.
#[must_use]
pub fn key_problems(ledger: &LedgerId, statements: &[Envelope], keys: &Path) -> Vec<Error> {
    let mut ring: Option<KeyRing> = None;
    let mut problems = Vec::new();
    for envelope in statements {
        if let Err(error) = step(&mut ring, ledger, envelope) {
            let detail = format!("a key statement does not verify: {error}");
            problems.push(Error::Internal { detail });
            return problems;
        }
    }
    for usage in [KeyUse::Checkpoint, KeyUse::Order] {
        let checked = match &ring {
            Some(ring) => keyfiles::find(keys, usage, ring).map(drop),
            // A ledger that was just made: its first statement will name the keys that are there.
            None => keyfiles::load(&usage.file(keys)).map(drop),
        };
        problems.extend(checked.err());
    }
    problems
}

fn step(
    ring: &mut Option<KeyRing>,
    ledger: &LedgerId,
    envelope: &Envelope,
) -> Result<(), KeyError> {
    match ring {
        Some(ring) => ring.follow(envelope).map(drop),
        None => {
            *ring = Some(KeyRing::begin(ledger, envelope)?);
            Ok(())
        }
    }
}

/// The first key statement, signed by genesis and by each key that it adds.
fn statement(
    ledger: &LedgerId,
    origin: &str,
    genesis: &SigningKey,
    signers: &Signers,
) -> Result<Envelope, Error> {
    let added = |role, name: &str, key: &SigningKey| AddedKey {
        role,
        name: name.to_owned(),
        key: PublicKey::from(key),
    };
    let statement = KeyStatement {
        v: V1,
        ledger: *ledger,
        version: 1,
        previous: OrDash::NONE,
        origin: Some(origin.to_owned()),
        add: vec![
            added(Role::Genesis, "genesis", genesis),
            added(Role::Checkpoint, origin, &signers.checkpoint),
            added(Role::Order, "order-1", &signers.order),
        ],
        end: Vec::new(),
        quorum: None,
    };
    let payload = wire::canonical(&statement).map_err(Error::internal)?;
    Ok(Envelope::sign(
        PayloadType::Keys,
        payload,
        [genesis, &signers.checkpoint, &signers.order],
    ))
}
