//! What a tenant's chain says of one site: its connector, its document, its releases, what was last seen there.

use std::collections::BTreeMap;

use countersign_evidence::action::RollbackPlan;
use countersign_evidence::wire::PublicKey;
use countersign_evidence::{JsonObject, OrDash, PinnedDocument};
use countersign_ids::{ActionId, ConnectorId, Digest, SiteId, Time};

use crate::words::{ConnectorKind, Environment};

/// A site.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// What people call it.
    pub name: String,
    /// What stands there.
    pub kind: ConnectorKind,
    /// What it is for.
    pub environment: Environment,
    /// The newest pairing code; older ones do not count.
    pub invitation: Option<Invitation>,
    /// The connector of the last pairing.
    pub connector: Option<Connector>,
    /// The document that the site pins.
    pub document: Option<Pinned>,
    /// What the connector last said of the site.
    pub observed: Option<Observed>,
    /// Releases that can be proposed, by digest.
    pub releases: BTreeMap<Digest, Release>,
    /// The sequence of the last order to this site's connectors; 0 before the first.
    pub orders: u64,
    /// The action whose order is out.
    pub held_by: Option<ActionId>,
}

/// A pairing code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    /// SHA-256 of its secret bytes.
    pub code_digest: Digest,
    /// It does not count after this.
    pub expires: Time,
    /// Whether a connector paired with it.
    pub used: bool,
}

/// A paired connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its id.
    pub id: ConnectorId,
    /// How often the site was paired.
    pub generation: u64,
    /// Its key.
    pub key: PublicKey,
    /// The counter of its next message of stream `action`.
    pub counter: u64,
    /// The size of the last checkpoint that it named.
    pub checkpoint: u64,
}

/// A document, and its digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Pinned {
    /// The document.
    pub document: PinnedDocument,
    /// Its SHA-256.
    pub digest: Digest,
}

/// What a connector said of its site.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The release served, if there is one.
    pub current: Option<Digest>,
    /// The releases that the site holds.
    pub releases: Vec<Digest>,
    /// What a rollback would restore.
    pub rollback: RollbackPlan,
    /// SHA-256 of that plan.
    pub rollback_digest: Digest,
    /// When the connector looked, by its own clock.
    pub checked_at: Time,
    /// When it was recorded.
    pub at: Time,
}

/// A release that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What people call it.
    pub label: String,
    /// When it was added.
    pub added: Time,
}

impl Site {
    /// A site of which nothing is known but that it is there.
    pub(crate) const fn new(
        id: SiteId,
        name: String,
        kind: ConnectorKind,
        environment: Environment,
    ) -> Self {
        Self {
            id,
            name,
            kind,
            environment,
            invitation: None,
            connector: None,
            document: None,
            observed: None,
            releases: BTreeMap::new(),
            orders: 0,
            held_by: None,
        }
    }

    /// What people call a release of this site.
    #[must_use]
    pub fn label(&self, release: &Digest) -> &str {
        self.releases
            .get(release)
            .map_or("unknown", |known| &known.label)
    }
}

impl Observed {
    /// The precondition of an action that is planned against this: `{"current": …}`.
    #[must_use]
    pub fn precondition(&self) -> JsonObject {
        JsonObject::of_strings([("current", OrDash(self.current).to_string())])
    }
}
