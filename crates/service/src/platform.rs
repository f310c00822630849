//! The platform: its fold, and the commands of administrators. Tenants, approvers, tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use countersign_domain::platform::{
    AnnounceTenant, EnrolApprover, IssueToken, RemoveApprover, RevokeToken,
};
use countersign_domain::{Aggregate as _, Platform, PlatformCommand, is_restated};
use countersign_events::heads::KeysHead;
use countersign_events::words::TokenRole;
use countersign_events::{self as events, Event};
use countersign_evidence::Envelope;
use countersign_ids::{
    Actor, ApproverId, AuthType, ChainId, CredentialId, EventId, Sequence, TenantId, TokenId,
};
use countersign_store::{Entry, Receipt};

use crate::access::{Access, PlatformAccess};
use crate::engine::{About, Command, Decided, Fold};
use crate::model::{Enrolment, IssuedToken, NewTenant, NewToken, Request, TenantInfo};
use crate::secrets::{self, BearerToken};
use crate::service::{Inner, command, written};
use crate::{Error, Service, access, keyfiles};

/// The platform's chain: the domain's fold, and what the shell finds again in it.
#[derive(Debug)]
pub(crate) struct PlatformFold {
    pub(crate) platform: Platform,
    /// Key statements, from version 1.
    statements: Vec<Envelope>,
    /// The family `keys` so far.
    keys: Option<KeysHead>,
    /// Events that tenants have to know of, in order.
    restated: Vec<(Sequence, EventId)>,
    /// Announced chains by number, with the event that announced each.
    chains: Vec<(ChainId, EventId)>,
    /// How many chains stand in the newest recorded heads.
    recorded: u64,
    /// The newest event.
    pub(crate) last: Option<EventId>,
    /// What announced tenants are to be called.
    names: BTreeMap<TenantId, String>,
    /// Tokens in force.
    tokens: BTreeMap<TokenId, events::token::Issued>,
    /// Whether any token was ever issued.
    had_tokens: bool,
}

/// What recorded heads are made from.
#[derive(Debug)]
pub(crate) struct HeadsBasis {
    /// The announced chains by number.
    pub(crate) chains: Vec<ChainId>,
    /// How many of them stand in the newest recorded heads.
    pub(crate) recorded: u64,
    /// The family `keys` so far.
    pub(crate) keys: KeysHead,
    /// The newest event of the platform's chain, and how many there are.
    pub(crate) last: (EventId, u64),
}

impl PlatformFold {
    pub(crate) fn new() -> Self {
        Self {
            platform: Platform::new(),
            statements: Vec::new(),
            keys: None,
            restated: Vec::new(),
            chains: Vec::new(),
            recorded: 0,
            last: None,
            names: BTreeMap::new(),
            tokens: BTreeMap::new(),
            had_tokens: false,
        }
    }

    /// What recorded heads are made from.
    pub(crate) fn heads(&self) -> Option<HeadsBasis> {
        Some(HeadsBasis {
            chains: self.chains.iter().map(|(chain, _)| chain.clone()).collect(),
            recorded: self.recorded,
            keys: self.keys?,
            last: (self.last?, self.platform.size()),
        })
    }

    fn note(&mut self, entry: &Entry, event: &Event) {
        match event {
            Event::Keys(keys) => {
                let (events::Keys::Created(events::keys::Created { envelope })
                | events::Keys::Changed(events::keys::Changed { envelope })) = keys;
                self.statements.push(envelope.clone());
                let count = self.keys.map_or(0, |keys| keys.count).saturating_add(1);
                self.keys = Some(KeysHead {
                    count,
                    last: entry.hash(),
                });
            }
            Event::Chain(events::Chain::Announced(announced)) => {
                self.chains
                    .push((announced.chain.clone(), entry.header().id));
            }
            Event::Heads(events::Heads::Recorded(recorded)) => self.recorded = recorded.size,
            Event::Tenant(events::Tenant::Named(named)) => {
                self.names.insert(named.tenant.clone(), named.name.clone());
            }
            Event::Token(events::Token::Issued(issued)) => {
                self.tokens.insert(issued.token.clone(), issued.clone());
                self.had_tokens = true;
            }
            Event::Token(events::Token::Revoked(revoked)) => {
                self.tokens.remove(&revoked.token);
            }
            _ => {}
        }
        if is_restated(event) {
            self.restated.push((entry.sequence(), entry.header().id));
        }
    }
}

impl Fold for PlatformFold {
    fn size(&self) -> u64 {
        self.platform.size()
    }

    fn fold(&mut self, entry: &Entry, event: Option<&Event>) -> Result<(), String> {
        self.platform.evolve(entry.header(), event);
        self.last = Some(entry.header().id);
        if let Some(event) = event {
            self.note(entry, event);
        }
        Ok(())
    }
}

impl Service {
    /// Who presents a bearer token.
    ///
    /// # Errors
    /// There is no such token, or it was revoked.
    pub fn authenticate(&self, bearer: &str) -> Result<Access, Error> {
        let token = BearerToken::parse(bearer).ok_or(Error::Unauthenticated)?;
        let issued = self
            .inner
            .platform(|fold| fold.tokens.get(token.id()).cloned())?;
        let issued = issued
            .filter(|issued| token.matches(&issued.secret_digest))
            .ok_or(Error::Unauthenticated)?;
        let actor = Actor {
            kind: issued.kind,
            id: issued.actor,
        };
        Ok(Access::new(
            issued.token,
            actor,
            issued.role,
            issued.owner.0,
            issued.tenant.0,
        ))
    }

    /// The ledger's key statements newer than a version, in order: what a verifier follows from the genesis key on.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn key_statements(&self, newer_than: u64) -> Result<Vec<Envelope>, Error> {
        self.inner.key_statements(newer_than)
    }

    /// Creates a tenant: its chain, and the chain of its heartbeats.
    ///
    /// # Errors
    /// There is one of this name already.
    pub async fn create_tenant(
        &self,
        access: &PlatformAccess,
        request: &Request,
        new: NewTenant,
    ) -> Result<Receipt, Error> {
        let what = AnnounceTenant {
            tenant: new.tenant.clone(),
            name: new.name,
        };
        let receipt = self
            .inner
            .decide_platform(&command(access.actor(), request)?, &what.into())
            .await?;
        self.inner.open_tenant(&new.tenant).await?;
        self.inner.note_platform(&new.tenant).await?;
        written(receipt)
    }

    /// All tenants.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn tenants(&self, _: &PlatformAccess) -> Result<Vec<TenantInfo>, Error> {
        let chains = self.inner.platform(|fold| fold.chains.clone())?;
        let tenants = chains
            .iter()
            .filter(|(chain, _)| !chain.is_beats())
            .filter_map(|(chain, _)| chain.tenant());
        tenants
            .map(|tenant| {
                self.inner.tenant(tenant, |fold| TenantInfo {
                    tenant: tenant.clone(),
                    name: fold.tenant.name().to_owned(),
                    size: fold.tenant.size(),
                })
            })
            .collect()
    }

    /// Enrols an approver's key.
    ///
    /// # Errors
    /// The proof is not the key's, or the key is known already.
    pub async fn enrol(
        &self,
        access: &PlatformAccess,
        request: &Request,
        enrolment: Enrolment,
    ) -> Result<Receipt, Error> {
        let what = EnrolApprover {
            credential: enrolment.credential,
            proof: enrolment.proof,
        };
        let receipt = self
            .inner
            .decide_platform(&command(access.actor(), request)?, &what.into())
            .await?;
        self.inner.note_everywhere().await?;
        written(receipt)
    }

    /// Ends an approver's key: nothing that it signed is used in an order from here on.
    ///
    /// # Errors
    /// There is no such key.
    pub async fn remove_approver(
        &self,
        access: &PlatformAccess,
        request: &Request,
        approver: ApproverId,
        credential: CredentialId,
    ) -> Result<Receipt, Error> {
        let what = RemoveApprover {
            approver,
            credential,
        };
        let receipt = self
            .inner
            .decide_platform(&command(access.actor(), request)?, &what.into())
            .await?;
        self.inner.note_everywhere().await?;
        written(receipt)
    }

    /// Issues a bearer token.
    ///
    /// # Errors
    /// The role does not exist in its scope, or there is no such tenant.
    pub async fn issue_token(
        &self,
        access: &PlatformAccess,
        request: &Request,
        new: NewToken,
    ) -> Result<IssuedToken, Error> {
        let id = match new.id {
            Some(id) => id,
            None => secrets::name('t')?.parse()?,
        };
        let token = BearerToken::generate(id)?;
        let what = issue(&token, &NewToken { id: None, ..new });
        let receipt = written(
            self.inner
                .decide_platform(&command(access.actor(), request)?, &what.into())
                .await?,
        )?;
        let id = if receipt.replayed {
            self.inner.issued_by(&receipt)?
        } else {
            token.id().clone()
        };
        Ok(IssuedToken {
            id,
            token: (!receipt.replayed).then_some(token),
            receipt,
        })
    }

    /// Ends a bearer token.
    ///
    /// # Errors
    /// There is no such token.
    pub async fn revoke_token(
        &self,
        access: &PlatformAccess,
        request: &Request,
        token: TokenId,
    ) -> Result<Receipt, Error> {
        let what = RevokeToken { token };
        written(
            self.inner
                .decide_platform(&command(access.actor(), request)?, &what.into())
                .await?,
        )
    }
}

/// What a command of the platform writes first.
fn about(what: &PlatformCommand) -> Option<About> {
    use events::{Payload as _, approver, chain, token};
    Some(match what {
        PlatformCommand::AnnounceTenant(_) => About::any(&[chain::Announced::SPEC]),
        PlatformCommand::EnrolApprover(_) => About::any(&[approver::Enrolled::SPEC]),
        PlatformCommand::IssueToken(_) => About::any(&[token::Issued::SPEC]),
        PlatformCommand::RevokeToken(what) => About::of(&[token::Revoked::SPEC], &what.token),
        PlatformCommand::RemoveApprover(what) => {
            let removed = approver::Removed {
                approver: what.approver.clone(),
                credential: what.credential.clone(),
            };
            About {
                event: Some(removed.into()),
                ..About::any(&[approver::Removed::SPEC])
            }
        }
        PlatformCommand::ChangeKeys(_)
        | PlatformCommand::PruneBeats(_)
        | PlatformCommand::ReceiptPruning(_) => return None,
    })
}

/// The command that issues a token.
pub(crate) fn issue(token: &BearerToken, new: &NewToken) -> IssueToken {
    IssueToken {
        token: token.id().clone(),
        secret_digest: token.digest(),
        tenant: new.tenant.clone(),
        role: new.role,
        kind: new.actor.kind,
        actor: new.actor.id.clone(),
        owner: new.owner.clone(),
    }
}

impl Inner {
    /// Decides a command of the platform and appends what it comes to.
    pub(crate) async fn decide_platform(
        &self,
        command: &Command,
        what: &PlatformCommand,
    ) -> Result<Option<Receipt>, Error> {
        let command = &Command {
            about: about(what),
            ..command.clone()
        };
        let decide = || {
            let facts = countersign_domain::Facts {
                now: self.now(),
                actor: command.actor.clone(),
            };
            self.platform(|fold| {
                let seen = fold.platform.size();
                let decision = countersign_domain::decide_platform(&fold.platform, what, &facts);
                decision.map(|decision| Decided {
                    decision,
                    seen,
                    platform_seen: seen,
                })
            })?
            .map_err(Error::from)
        };
        self.run(&ChainId::platform(), command, decide).await
    }

    /// Key statements newer than a version, in order.
    pub(crate) fn key_statements(&self, newer_than: u64) -> Result<Vec<Envelope>, Error> {
        let skip = usize::try_from(newer_than).unwrap_or(usize::MAX);
        self.platform(|fold| fold.statements.iter().skip(skip).cloned().collect())
    }

    /// What an announced tenant is to be called; a ledger of before names were announced has its id.
    pub(crate) fn name_of(&self, tenant: &TenantId) -> Result<String, Error> {
        let named = self.platform(|fold| fold.names.get(tenant).cloned())?;
        Ok(named.unwrap_or_else(|| tenant.to_string()))
    }

    /// The announced chains and the events that announced them.
    pub(crate) fn announced(&self) -> Result<Vec<(ChainId, EventId)>, Error> {
        self.platform(|fold| fold.chains.clone())
    }

    /// Platform events after a sequence that tenants have to know of.
    pub(crate) fn restated_after(
        &self,
        after: Option<Sequence>,
    ) -> Result<Vec<(Sequence, EventId)>, Error> {
        self.platform(|fold| {
            fold.restated
                .iter()
                .filter(|(sequence, _)| Some(*sequence) > after)
                .copied()
                .collect()
        })
    }

    /// All tenants whose chains were announced.
    pub(crate) fn tenant_ids(&self) -> Result<Vec<TenantId>, Error> {
        let chains = self.announced()?;
        Ok(chains
            .into_iter()
            .filter(|(chain, _)| !chain.is_beats())
            .filter_map(|(chain, _)| chain.tenant().cloned())
            .collect())
    }

    pub(crate) fn admin_token_file(&self) -> PathBuf {
        self.ledger.layout().keys().join("admin-token")
    }

    /// Issues the first administrator's token, and keeps its text in a private file beside the keys.
    pub(crate) async fn first_token(&self) -> Result<(), Error> {
        if self.platform(|fold| fold.had_tokens)? {
            return Ok(());
        }
        let path = self.admin_token_file();
        let kept = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| BearerToken::parse(text.trim()));
        let token = match kept {
            Some(token) => token,
            None => {
                let token = BearerToken::generate(secrets::name('t')?.parse()?)?;
                keyfiles::write_private(&path, format!("{}\n", *token.reveal()).as_bytes())?;
                token
            }
        };
        let actor = Actor {
            kind: AuthType::Person,
            id: "admin".parse()?,
        };
        let new = NewToken {
            id: None,
            tenant: None,
            role: TokenRole::Admin,
            actor,
            owner: None,
        };
        let request = Request {
            key: Some(format!("first token {}", token.id())),
            ..Request::default()
        };
        self.decide_platform(
            &command(&access::service()?, &request)?,
            &issue(&token, &new).into(),
        )
        .await
        .map(drop)
    }

    fn issued_by(&self, receipt: &Receipt) -> Result<TokenId, Error> {
        Ok(self
            .ledger
            .event(&receipt.chain, receipt.first)?
            .header()
            .subject
            .as_str()
            .parse()?)
    }
}
