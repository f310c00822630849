//! The platform: the fold of its chain, and the commands of administrators. Keys, tenants, approvers, tokens.
//!
//! What decides something in a tenant is restated there first; see [`crate::is_restated`].

use std::collections::BTreeMap;

use countersign_chain::Header;
use countersign_events::words::TokenRole;
use countersign_events::{self as events, Event};
use countersign_evidence::document::Credential;
use countersign_evidence::enrolment::verify_enrolment;
use countersign_evidence::wire::Base64;
use countersign_evidence::{Envelope, KeyHistory, OrDash};
use countersign_ids::{
    ActorId, ApproverId, AuthType, ChainId, CredentialId, Digest, EventHash, LedgerId, Sequence,
    SubjectRef, TenantId, TokenId,
};

use crate::commands::Facts;
use crate::decision::{Aggregate, Decision, Draft};
use crate::pruning::{PruneBeats, Pruned, Prunings, ReceiptPruning};
use crate::rejection::Rejection;
use crate::text;

/// The platform.
#[derive(Debug, Clone)]
pub struct Platform {
    chain: ChainId,
    ledger: Option<LedgerId>,
    size: u64,
    keys: Option<KeyHistory>,
    chains: BTreeMap<ChainId, u64>,
    enrolled: BTreeMap<(ApproverId, CredentialId), Enrolled>,
    tokens: BTreeMap<TokenId, bool>,
    recorded: u64,
    /// Where heads were recorded last.
    heads_at: Option<Sequence>,
    prunings: Prunings,
}

#[derive(Debug, Clone)]
struct Enrolled {
    key: Base64,
    removed: bool,
}

impl Default for Platform {
    fn default() -> Self {
        Self::new()
    }
}

impl Aggregate for Platform {
    fn chain(&self) -> &ChainId {
        &self.chain
    }

    fn size(&self) -> u64 {
        self.size
    }
}

impl Platform {
    /// The platform's chain before its first event.
    #[must_use]
    pub fn new() -> Self {
        Self {
            chain: ChainId::platform(),
            ledger: None,
            size: 0,
            keys: None,
            chains: BTreeMap::new(),
            enrolled: BTreeMap::new(),
            tokens: BTreeMap::new(),
            recorded: 0,
            heads_at: None,
            prunings: Prunings::default(),
        }
    }

    /// Folds one event; `None` where its body is absent or sealed.
    pub fn evolve(&mut self, header: &Header, event: Option<&Event>) {
        self.ledger = Some(header.ledger);
        self.size = header.sequence.get().saturating_add(1);
        match event {
            Some(Event::Keys(keys)) => self.key_statement(header, keys),
            Some(Event::Chain(events::Chain::Announced(announced))) => {
                self.chains
                    .insert(announced.chain.clone(), announced.number);
            }
            Some(Event::Chain(event @ (events::Chain::Pruned(_) | events::Chain::Cleared(_)))) => {
                self.prunings.apply(header.sequence, event)
            }
            Some(Event::Heads(events::Heads::Recorded(recorded))) => {
                self.recorded = recorded.size;
                self.heads_at = Some(header.sequence);
            }
            Some(Event::Approver(events::Approver::Enrolled(enrolled))) => {
                let key = (enrolled.approver.clone(), enrolled.credential.clone());
                self.enrolled.insert(
                    key,
                    Enrolled {
                        key: enrolled.key.clone(),
                        removed: false,
                    },
                );
            }
            Some(Event::Approver(events::Approver::Removed(removed))) => {
                let key = (removed.approver.clone(), removed.credential.clone());
                if let Some(held) = self.enrolled.get_mut(&key) {
                    held.removed = true;
                }
            }
            Some(Event::Token(events::Token::Issued(issued))) => {
                self.tokens.insert(issued.token.clone(), true);
            }
            Some(Event::Token(events::Token::Revoked(revoked))) => {
                self.tokens.insert(revoked.token.clone(), false);
            }
            // Events of tenants' chains, and what no command of the platform depends on.
            Some(
                Event::Chain(events::Chain::Opened(_))
                | Event::Clock(_)
                | Event::Tenant(_)
                | Event::Platform(_)
                | Event::Site(_)
                | Event::Connector(_)
                | Event::Deploy(_)
                | Event::Freeze(_)
                | Event::Action(_)
                | Event::Reason(_)
                | Event::Remark(_)
                | Event::Retention(_)
                | Event::Beat(_),
            )
            | None => {}
        }
    }

    fn key_statement(&mut self, header: &Header, keys: &events::Keys) {
        match (keys, &mut self.keys) {
            (events::Keys::Created(created), None) => {
                self.keys = KeyHistory::begin(&header.ledger, &created.envelope).ok();
            }
            (events::Keys::Changed(changed), Some(history)) => {
                // A statement that does not verify changes nothing; telling so is the auditor's work.
                history.follow(header.sequence, &changed.envelope).ok();
            }
            (events::Keys::Created(_), Some(_)) | (events::Keys::Changed(_), None) => {}
        }
    }

    /// The ledger's keys, once there is a first statement.
    #[must_use]
    pub const fn keys(&self) -> Option<&KeyHistory> {
        self.keys.as_ref()
    }

    /// The announced chains and their numbers.
    #[must_use]
    pub const fn chains(&self) -> &BTreeMap<ChainId, u64> {
        &self.chains
    }

    /// The newest pruning of a chain.
    #[must_use]
    pub fn pruned(&self, chain: &ChainId) -> Option<&Pruned> {
        self.prunings.get(chain)
    }

    /// Where heads were recorded last.
    pub(crate) const fn heads_at(&self) -> Option<Sequence> {
        self.heads_at
    }

    fn ledger(&self) -> Result<&LedgerId, Rejection> {
        self.ledger.as_ref().ok_or(Rejection::LedgerUnknown)
    }
}

/// Announces a tenant's chain and the chain of its heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnounceTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
}

/// Enrols an approver's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolApprover {
    /// Person, name of the key, key.
    pub credential: Credential,
    /// The key's own signature over the enrolment.
    pub proof: Base64,
}

/// Ends an approver's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveApprover {
    /// The person.
    pub approver: ApproverId,
    /// The key.
    pub credential: CredentialId,
}

/// Issues a bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueToken {
    /// Its name.
    pub token: TokenId,
    /// SHA-256 of its secret.
    pub secret_digest: Digest,
    /// The tenant that it is for; none for the platform.
    pub tenant: Option<TenantId>,
    /// What it lets its holder do.
    pub role: TokenRole,
    /// What kind of actor holds it.
    pub kind: AuthType,
    /// The actor, as events name it.
    pub actor: ActorId,
    /// The person for whom an agent acts.
    pub owner: Option<ApproverId>,
}

/// Ends a bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeToken {
    /// Its name.
    pub token: TokenId,
}

/// Changes the ledger's keys: a signed key statement, and the heads that tell where an ended key ends in each chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeKeys {
    /// The statement.
    pub envelope: Envelope,
    /// The heads of all chains, recorded in the same append; `keys` is written over by what the decision comes to.
    pub heads: events::heads::Recorded,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Any command of the platform.
        #[derive(Debug, Clone, PartialEq)]
        pub enum PlatformCommand {
            $($(#[$doc])* $name($name),)*
        }

        $(impl From<$name> for PlatformCommand {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })*

        /// Decides a command of the platform.
        ///
        /// # Errors
        /// Why it is refused.
        pub fn decide_platform(platform: &Platform, command: &PlatformCommand, _: &Facts) -> Result<Decision, Rejection> {
            // No guards: a command of the platform is decided again whatever came between; they are rare.
            match command {
                $(PlatformCommand::$name(command) => command.decide(platform).map(Decision::of),)*
            }
        }
    };
}

commands! {
    /// Announces a tenant.
    AnnounceTenant,
    /// Enrols a key.
    EnrolApprover,
    /// Ends an approver's key.
    RemoveApprover,
    /// Issues a token.
    IssueToken,
    /// Ends a token.
    RevokeToken,
    /// Changes the ledger's keys.
    ChangeKeys,
    /// Orders that heartbeats go.
    PruneBeats,
    /// Says that they are gone.
    ReceiptPruning,
}

impl AnnounceTenant {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        platform.ledger()?;
        let (chain, beats) = (self.tenant.chain(), self.tenant.beats());
        if platform.chains.contains_key(&chain) {
            return Err(Rejection::TenantExists {
                tenant: self.tenant.clone(),
            });
        }
        text::line("name", &self.name, text::NAME_TEXT_BYTES_MAX)?;
        let number = u64::try_from(platform.chains.len()).unwrap_or(u64::MAX);
        let named = events::tenant::Named {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
        };
        let announced = |chain: ChainId, number| {
            let about = SubjectRef::from(&chain);
            Draft::new(events::chain::Announced { chain, number }, about)
        };
        Ok(vec![
            announced(chain, number),
            announced(beats, number.saturating_add(1)),
            Draft::new(named, &self.tenant),
        ])
    }
}

impl EnrolApprover {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        let ledger = platform.ledger()?;
        // A site's document names each credential and each key once, whoever's they are.
        let taken = |(key, held): (&(ApproverId, CredentialId), &Enrolled)| {
            key.1 == self.credential.credential || held.key == self.credential.key
        };
        if platform.enrolled.iter().any(taken) {
            return Err(Rejection::CredentialExists {
                credential: self.credential.credential.clone(),
            });
        }
        verify_enrolment(ledger, &self.credential, &self.proof)
            .map_err(|why| Rejection::EnrolmentRefused { why })?;
        let enrolled = events::approver::Enrolled::new(self.credential.clone(), self.proof.clone());
        Ok(vec![Draft::new(enrolled, &self.credential.approver)])
    }
}

impl RemoveApprover {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        let name = (self.approver.clone(), self.credential.clone());
        if platform.enrolled.get(&name).is_none_or(|held| held.removed) {
            return Err(Rejection::CredentialUnknown { credential: name.1 });
        }
        let removed = events::approver::Removed {
            approver: name.0,
            credential: name.1,
        };
        Ok(vec![Draft::new(removed, &self.approver)])
    }
}

impl IssueToken {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        platform.ledger()?;
        if platform.tokens.contains_key(&self.token) {
            return Err(Rejection::TokenExists {
                token: self.token.clone(),
            });
        }
        // An administrator's token is the platform's, every other is one tenant's.
        if (self.role == TokenRole::Admin) != self.tenant.is_none() {
            return Err(Rejection::RoleUnfit {
                role: self.role.as_str().to_owned(),
            });
        }
        if let Some(tenant) = &self.tenant
            && !platform.chains.contains_key(&tenant.chain())
        {
            return Err(Rejection::TenantUnknown {
                chain: tenant.chain(),
            });
        }
        let issued = events::token::Issued {
            token: self.token.clone(),
            secret_digest: self.secret_digest,
            tenant: OrDash(self.tenant.clone()),
            role: self.role,
            kind: self.kind,
            actor: self.actor.clone(),
            owner: OrDash(self.owner.clone()),
        };
        Ok(vec![Draft::new(issued, &self.token)])
    }
}

impl RevokeToken {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        if platform.tokens.get(&self.token) != Some(&true) {
            return Err(Rejection::TokenUnknown {
                token: self.token.clone(),
            });
        }
        Ok(vec![Draft::new(
            events::token::Revoked {
                token: self.token.clone(),
            },
            &self.token,
        )])
    }
}

impl ChangeKeys {
    fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        let mut history = platform.keys.clone().ok_or(Rejection::LedgerUnknown)?;
        let position = countersign_ids::Sequence::new(platform.size);
        history
            .follow(position, &self.envelope)
            .map_err(|why| Rejection::KeyStatementRefused { why })?;
        if self.heads.size < platform.recorded {
            return Err(Rejection::HeadsSteppedBack {
                from: platform.recorded,
                to: self.heads.size,
            });
        }
        let changed = events::keys::Changed {
            envelope: self.envelope.clone(),
        };
        let heads = events::heads::Recorded {
            keys: events::heads::KeysHead {
                count: history.ring().version(),
                // Only the writer knows the hash of the event before this one.
                last: EventHash::from_bytes([0; 32]),
            },
            ..self.heads.clone()
        };
        Ok(vec![
            about("keys", changed)?,
            Draft {
                names_before: true,
                ..about("heads", heads)?
            },
        ])
    }
}

fn about(subject: &'static str, event: impl Into<Event>) -> Result<Draft, Rejection> {
    let subject: SubjectRef = subject.parse().map_err(|_| Rejection::LedgerUnknown)?;
    Ok(Draft::new(event, subject))
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_chain::ledger_id;
    use countersign_evidence::enrolment::enrol;
    use countersign_ids::{Actor, Time};
    use ed25519_dalek::SigningKey;

    fn begun() -> Platform {
        Platform {
            ledger: Some(ledger_id(&[9; 32])),
            size: 1,
            ..Platform::new()
        }
    }

    fn credential(approver: &str, name: &str, seed: u8) -> EnrolApprover {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let ledger = ledger_id(&[9; 32]);
        let (credential, proof) = enrol(
            &ledger,
            approver.parse().unwrap(),
            name.parse().unwrap(),
            &key,
        )
        .unwrap();
        EnrolApprover { credential, proof }
    }

    fn token(name: &str, tenant: Option<&str>, role: TokenRole) -> IssueToken {
        IssueToken {
            token: name.parse().unwrap(),
            secret_digest: Digest::from_bytes([1; 32]),
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
            role,
            kind: AuthType::Person,
            actor: "ann".parse().unwrap(),
            owner: None,
        }
    }

    /// Decides a command on a platform with one tenant, one enrolled and one removed key, one token in force and one ended.
    fn decide_on(command: impl Into<PlatformCommand>) -> Result<Decision, Rejection> {
        let mut platform = begun();
        let ended = credential("bob", "bob-key", 2);
        for (name, enrolled, removed) in [
            ("alice", credential("alice", "alice-key", 1), false),
            ("bob", ended, true),
        ] {
            let id = (
                name.parse().unwrap(),
                enrolled.credential.credential.clone(),
            );
            let key = enrolled.credential.key.clone();
            platform.enrolled.insert(id, Enrolled { key, removed });
        }
        platform.chains.insert("acme".parse().unwrap(), 0);
        platform.tokens.insert("t1".parse().unwrap(), true);
        platform.tokens.insert("t2".parse().unwrap(), false);
        let actor = Actor {
            kind: AuthType::Service,
            id: "plane".parse().unwrap(),
        };
        let facts = Facts {
            now: Time::MIN,
            actor,
        };
        decide_platform(&platform, &command.into(), &facts)
    }

    fn name(decided: &Result<Decision, Rejection>) -> &'static str {
        decided
            .as_ref()
            .map_or_else(Rejection::name, |_| "accepted")
    }

    #[test]
    fn commands_of_administrators() {
        let mut forged = credential("carol", "carol-key", 3);
        forged.proof = credential("carol", "other", 3).proof;
        let remove = |approver: &str, name: &str| RemoveApprover {
            approver: approver.parse().unwrap(),
            credential: name.parse().unwrap(),
        };
        let revoke = |token: &str| RevokeToken {
            token: token.parse().unwrap(),
        };
        for (decided, expected) in [
            (
                decide_on(AnnounceTenant {
                    tenant: "beta".parse().unwrap(),
                    name: "Beta".to_owned(),
                }),
                "accepted",
            ),
            (
                decide_on(AnnounceTenant {
                    tenant: "acme".parse().unwrap(),
                    name: "Acme".to_owned(),
                }),
                "TenantExists",
            ),
            (decide_on(credential("carol", "carol-key", 3)), "accepted"),
            (
                decide_on(credential("alice", "alice-key", 3)),
                "CredentialExists",
            ),
            (
                decide_on(credential("carol", "alice-key", 3)),
                "CredentialExists",
            ),
            (
                decide_on(credential("carol", "carol-key", 1)),
                "CredentialExists",
            ),
            (
                decide_on(credential("bob", "bob-key", 2)),
                "CredentialExists",
            ),
            (decide_on(forged), "EnrolmentRefused"),
            (decide_on(remove("alice", "alice-key")), "accepted"),
            (decide_on(remove("alice", "bob-key")), "CredentialUnknown"),
            (decide_on(remove("bob", "bob-key")), "CredentialUnknown"),
            (
                decide_on(token("t3", Some("acme"), TokenRole::Observer)),
                "accepted",
            ),
            (decide_on(token("t3", None, TokenRole::Admin)), "accepted"),
            (
                decide_on(token("t1", Some("acme"), TokenRole::Observer)),
                "TokenExists",
            ),
            (decide_on(token("t3", None, TokenRole::Owner)), "RoleUnfit"),
            (
                decide_on(token("t3", Some("acme"), TokenRole::Admin)),
                "RoleUnfit",
            ),
            (
                decide_on(token("t3", Some("beta"), TokenRole::Owner)),
                "TenantUnknown",
            ),
            (decide_on(revoke("t1")), "accepted"),
            (decide_on(revoke("t2")), "TokenUnknown"),
            (decide_on(revoke("t9")), "TokenUnknown"),
        ] {
            assert_eq!(name(&decided), expected, "{decided:?}");
        }
    }

    #[test]
    fn nothing_is_announced_before_the_ledger_begins() {
        let facts = Facts {
            now: Time::MIN,
            actor: Actor {
                kind: AuthType::Service,
                id: "plane".parse().unwrap(),
            },
        };
        let announce = AnnounceTenant {
            tenant: "acme".parse().unwrap(),
            name: "Acme".to_owned(),
        }
        .into();
        let decided = decide_platform(&Platform::new(), &announce, &facts);
        assert_eq!(decided, Err(Rejection::LedgerUnknown));
    }
}
