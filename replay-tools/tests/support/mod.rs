//! Whole signed histories, made through the store, and the one thing wrong in each.
//!
//! `World` is a ledger on disk with every key, `Twist` names what its history does that it must not, `Story` tells it. `zip`
//! takes bundles apart and puts them together again.

#![expect(dead_code, reason = "each test file uses a part of this")]

mod keys;
pub(crate) mod policy;
pub(crate) mod python;
pub(crate) mod story;
mod world;
pub(crate) mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_chain::sha256;
use countersign_events::Event;
use countersign_ids::{Actor, AuthType, ChainId, DataSubject, Digest, Nonce, SiteId};
use countersign_store::Stamp;

pub(crate) use keys::Keys;
pub(crate) use world::World;

pub(crate) const TENANT: &str = "acme";
pub(crate) const ORIGIN: &str = "ledger.example";

/// What a history does that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Twist {
    #[default]
    Sound,
    ApprovedByProposer,
    ApprovedByOwner,
    StatementOverOtherDigest,
    StatementOverOtherView,
    StatementByStranger,
    StatementForged,
    SecondVoteOfOnePerson,
    StatementNonceReused,
    StatementReused,
    StatementExpired,
    OrderOutsideItsTimes,
    OrderByUnknownKey,
    OrderByEndedKey,
    KeyEndsEarlier,
    OrderWithoutApproval,
    OrderForOtherGeneration,
    OrderSequenceFalls,
    OrderWhileSiteHeld,
    OrderForOtherRelease,
    RollbackOtherThanActions,
    OutcomeOfOtherOrder,
    OutcomeByOtherKey,
    OutcomeSaysOtherResult,
    CounterSkips,
    SplitView,
    PolicyVerdictChanged,
    PolicyEvaluationChanged,
    EnrolmentForged,
    ViewShowsOtherAction,
    DocumentOfOtherGenesis,
    PairedWithoutInvitation,
    DocumentPinnedAlone,
    RestatesOtherBody,
    HeadsOfOtherRoot,
    HeadsLackKeys,
    KeyStatementUnsigned,
    KeyEndsAlone,
    CheckpointByUnknownKey,
}

/// An event to append.
pub(crate) struct Fact {
    pub event: Event,
    pub subject: String,
    pub site: Option<SiteId>,
    pub stamp: Stamp,
    pub seal: Option<DataSubject>,
}

pub(crate) fn fact(event: impl Into<Event>, subject: &str) -> Fact {
    Fact {
        event: event.into(),
        subject: subject.to_owned(),
        site: None,
        stamp: Stamp::None,
        seal: None,
    }
}

pub(crate) fn at_site(event: impl Into<Event>, subject: &str, site: &str) -> Fact {
    Fact {
        site: Some(site.parse().unwrap()),
        ..fact(event, subject)
    }
}

pub(crate) fn person(id: &str) -> Actor {
    Actor {
        kind: AuthType::Person,
        id: id.parse().unwrap(),
    }
}

pub(crate) fn service() -> Actor {
    Actor {
        kind: AuthType::Service,
        id: "server".parse().unwrap(),
    }
}

pub(crate) fn chain(id: &str) -> ChainId {
    id.parse().unwrap()
}

pub(crate) fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::from_bytes(bytes)
}

/// Every verdict level as text, for tables.
pub(crate) fn levels(verdict: &countersign_replay::report::Verdict) -> BTreeMap<String, String> {
    verdict
        .levels
        .iter()
        .map(|(level, status)| (level.name().to_owned(), status.word().to_owned()))
        .collect()
}

/// Verifies whatever lies at a path.
pub(crate) fn verify(path: &Path) -> countersign_replay::report::Verdict {
    verify_with(
        path,
        &countersign_replay::verify::Pins::default(),
        &countersign_replay::verdict::Demands::default(),
    )
}

pub(crate) fn verify_with(
    path: &Path,
    pins: &countersign_replay::verify::Pins,
    demands: &countersign_replay::verdict::Demands,
) -> countersign_replay::report::Verdict {
    let mut progress = countersign_replay::progress::Progress::hidden();
    countersign_replay::open::open(path)
        .and_then(|mut source| {
            countersign_replay::verify::verify(source.as_mut(), pins, demands, &mut progress)
        })
        .unwrap_or_else(|error| {
            countersign_replay::report::Verdict::of_unread(path, &error).unwrap()
        })
}

/// Exports a bundle beside the ledger.
pub(crate) fn export(world: &World, tenant: Option<&str>, name: &str) -> PathBuf {
    export_scope(world, tenant, false, name)
}

/// Exports a bundle with release files.
pub(crate) fn export_scope(
    world: &World,
    tenant: Option<&str>,
    attachments: bool,
    name: &str,
) -> PathBuf {
    let out = world.path(name);
    let source = countersign_replay::open::open(&world.data()).unwrap();
    let scope = countersign_replay::export::Scope {
        tenant: tenant.map(str::to_owned),
        attachments,
        ..Default::default()
    };
    let mut progress = countersign_replay::progress::Progress::hidden();
    countersign_replay::export::export(source.as_ref(), &scope, &out, &mut progress).unwrap();
    out
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    sha256(bytes)
}
