//! The plane's own keys: which are in force, and how one is rotated while the server runs.
//!
//! Whoever signs an order or a checkpoint holds the signers for reading until what it signed is durable; a rotation holds
//! them alone. So the heads that a rotation records say where the old key really ends, whatever else is written meanwhile.
//! docs/format.md, "Tree, checkpoints, heads, keys".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_domain::platform::ChangeKeys;
use countersign_domain::{Aggregate as _, Facts, Site, decide_platform};
use countersign_events::{self as events, Payload as _};
use countersign_evidence::keys::{AddedKey, EndReason, EndedKey, KeyStatement, Role};
use countersign_evidence::wire::{self, OrDash, V1};
use countersign_evidence::{Envelope, KeyRing, PayloadType, PublicKey};
use countersign_ids::{ChainId, SiteId};
use countersign_store::{Checkpoint, Receipt};
use ed25519_dalek::SigningKey;
use tokio::sync::OwnedRwLockReadGuard;

use crate::engine::{About, Command, Decided, accepted};
use crate::keyfiles::{self, KeyUse, Signers};
use crate::model::Request;
use crate::platform::PlatformFold;
use crate::service::{Inner, command, written};
use crate::{Error, PlatformAccess, Service, checkpoints};

/// The signers, held by everybody who signs with them; let go of once what was signed is durable.
pub(crate) type Signing = Arc<OwnedRwLockReadGuard<Signers>>;

impl Service {
    /// The ledger's keys by its key statements, ended ones included.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn keys(&self) -> Result<KeyRing, Error> {
        self.inner.platform(ring)?
    }

    /// Ends the key of a use and brings in a new one, which the server makes. The genesis key is not needed: the old key
    /// and the new one sign the change.
    ///
    /// # Errors
    /// An order that the old key signed is not settled yet: its connector would not take it any more.
    pub async fn rotate_key(
        &self,
        access: &PlatformAccess,
        request: &Request,
        usage: KeyUse,
    ) -> Result<Receipt, Error> {
        let command = Command {
            about: Some(About::any(&[events::keys::Changed::SPEC])),
            ..command(access.actor(), request)?
        };
        let inner = Arc::clone(&self.inner);
        // A task of its own: a caller who stops waiting must not leave the server signing with a key that has ended.
        let rotating = self
            .inner
            .tasks
            .spawn(async move { inner.rotate(&command, usage).await });
        rotating.await.map_err(Error::internal)?
    }
}

fn ring(fold: &PlatformFold) -> Result<KeyRing, Error> {
    let keys = fold.platform.keys().map(|keys| keys.ring().clone());
    keys.ok_or_else(|| Error::internal("the ledger has no key statement"))
}

impl Inner {
    /// Waits until no rotation is under way.
    pub(crate) async fn signing(&self) -> Signing {
        Arc::new(Arc::clone(&self.signers).read_owned().await)
    }

    /// Signs what a chain is now.
    pub(crate) async fn checkpoint(self: &Arc<Self>, chain: &ChainId) -> Result<Checkpoint, Error> {
        let signing = self.signing().await;
        self.checkpoint_by(&signing, chain).await
    }

    /// Signs what a chain is now, by signers that the caller holds already.
    pub(crate) async fn checkpoint_by(
        self: &Arc<Self>,
        signing: &Signing,
        chain: &ChainId,
    ) -> Result<Checkpoint, Error> {
        let (inner, signing, chain) = (Arc::clone(self), Arc::clone(signing), chain.clone());
        // A task of its own, so that nobody who stops waiting lets go of the signers before the note is durable.
        let signed = self.tasks.spawn(async move {
            checkpoints::sign(&inner.ledger, &inner.origin, &signing.checkpoint, &chain).await
        });
        signed.await.map_err(Error::internal)?
    }

    async fn rotate(self: &Arc<Self>, command: &Command, usage: KeyUse) -> Result<Receipt, Error> {
        let platform = ChainId::platform();
        let mut signers = Arc::clone(&self.signers).write_owned().await;
        if let Some(receipt) = accepted(&self.ledger, &platform, command)? {
            return Ok(receipt);
        }
        if usage == KeyUse::Order {
            self.check_settled()?;
        }
        let directory = self.ledger.layout().keys();
        // The new key is durable before the statement that names it.
        let new = keyfiles::load_or_create(&usage.next_file(&directory))?;
        let sizes = Mutex::new(BTreeMap::new());
        let decide = || {
            self.platform(|fold| {
                let (decided, recorded) =
                    self.rotation(fold, command, usage, (signers.of(usage), &new))?;
                *sizes.lock().unwrap_or_else(PoisonError::into_inner) = recorded;
                Ok(decided)
            })?
        };
        let receipt = written(self.run(&platform, command, decide).await?)?;
        signers.replace(usage, new);
        self.forget_deliveries();
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) =
            sizes.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Up to here a restart finds the new key beside the old one; this puts it into its place, and the old one is gone.
        keyfiles::in_force(&directory, usage, &self.platform(ring)??)?;
        drop(signers);
        tracing::info!(role = ?usage.role(), "rotated a key");
        self.checkpoint(&platform).await?;
        self.note_everywhere().await?;
        Ok(receipt)
    }

    /// An order whose key has ended is not taken by a connector any more, and would hold its site for ever.
    fn check_settled(&self) -> Result<(), Error> {
        for tenant in self.tenant_ids()? {
            let held = |site: &&Site| site.held_by.is_some();
            let site: Option<SiteId> = self.tenant(&tenant, |fold| {
                let found = fold.tenant.sites().find(held);
                found.map(|site| site.id.clone())
            })?;
            if let Some(site) = site {
                return Err(Error::OrdersOut { tenant, site });
            }
        }
        Ok(())
    }

    /// The statement that rotates a key, and the heads that say where the old one ends in each chain.
    fn rotation(
        &self,
        fold: &PlatformFold,
        command: &Command,
        usage: KeyUse,
        keys: (&SigningKey, &SigningKey),
    ) -> Result<(Decided, BTreeMap<ChainId, u64>), Error> {
        let basis = fold
            .heads()
            .ok_or_else(|| Error::internal("the ledger has no key statement"))?;
        let before = self
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let heads = checkpoints::collect(&self.ledger, &basis, &before)?;
        let what = ChangeKeys {
            envelope: rotate_statement(&ring(fold)?, usage.role(), keys)?,
            heads: heads.event,
        };
        let facts = Facts {
            now: self.now(),
            actor: command.actor.clone(),
        };
        let mut decision = decide_platform(&fold.platform, &what.into(), &facts)?;
        decision.blobs.extend(heads.blob);
        let seen = fold.platform.size();
        let decided = Decided {
            decision,
            seen,
            platform_seen: seen,
        };
        Ok((decided, heads.sizes))
    }
}

/// The statement that ends a key and adds another under the same role, signed by both.
fn rotate_statement(
    ring: &KeyRing,
    role: Role,
    (old, new): (&SigningKey, &SigningKey),
) -> Result<Envelope, Error> {
    // A checkpoint key's name is the key name of its notes; an order key's counts.
    let name = match role {
        Role::Checkpoint => ring.origin().to_owned(),
        Role::Genesis | Role::Order | Role::Witness => {
            let count = ring.keys().iter().filter(|held| held.role == role).count();
            format!("order-{}", count.saturating_add(1))
        }
    };
    let statement = KeyStatement {
        v: V1,
        ledger: *ring.ledger(),
        version: ring.version().saturating_add(1),
        previous: OrDash(Some(*ring.last())),
        origin: None,
        add: vec![AddedKey {
            role,
            name,
            key: PublicKey::from(new),
        }],
        end: vec![EndedKey {
            role,
            key: PublicKey::from(old),
            reason: EndReason::Rotated,
        }],
        quorum: None,
    };
    let payload = wire::canonical(&statement).map_err(Error::internal)?;
    Ok(Envelope::sign(PayloadType::Keys, payload, [old, new]))
}
