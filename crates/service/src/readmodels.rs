//! The read models of the whole plane, for its administrators: where they are, what making one again costs, and making it.

use countersign_ids::{ChainId, Sequence};
use countersign_store::{RebuildCost, Rebuilding};

use crate::{Error, PlatformAccess, Service};

/// One read model in all chains.
#[derive(Debug, Clone)]
pub struct ReadModel {
    /// Its name.
    pub name: &'static str,
    /// The version of its code.
    pub version: u32,
    /// How far it is, while it is made again.
    pub rebuilding: Option<Rebuilding>,
    /// Chains in which it stopped, the event that stopped it, and why.
    pub stopped: Vec<(ChainId, Sequence, String)>,
}

impl Service {
    /// Every read model.
    #[must_use]
    pub fn read_models(&self, _: &PlatformAccess) -> Vec<ReadModel> {
        let status = self.inner.ledger.status();
        let kept = self.inner.ledger.kept_projections().into_iter();
        kept.map(|(name, version)| {
            let stopped = status.stopped_projections.iter();
            let here = stopped.filter(|((projection, _), _)| projection == name);
            ReadModel {
                name,
                version,
                rebuilding: status.rebuilding.get(name).copied(),
                stopped: here
                    .map(|((_, chain), (at, reason))| (chain.clone(), *at, reason.clone()))
                    .collect(),
            }
        })
        .collect()
    }

    /// What making a read model again would cost.
    ///
    /// # Errors
    /// There is none of this name, or an event cannot be read.
    pub async fn rebuild_cost(
        &self,
        _: &PlatformAccess,
        name: String,
    ) -> Result<RebuildCost, Error> {
        let inner = std::sync::Arc::clone(&self.inner);
        let counted = tokio::task::spawn_blocking(move || inner.ledger.rebuild_cost(&name));
        Ok(counted.await.map_err(Error::internal)??)
    }

    /// Makes a read model again in every chain; returns once that goes on even if the server dies now.
    ///
    /// # Errors
    /// There is none of this name, or the ledger is closed.
    pub async fn rebuild(&self, access: &PlatformAccess, name: String) -> Result<(), Error> {
        self.inner.open_for_work()?;
        tracing::info!(projection = %name, actor = %access.actor().id, "a read model is made again");
        let inner = std::sync::Arc::clone(&self.inner);
        let ordered = tokio::task::spawn_blocking(move || inner.ledger.rebuild(&name));
        Ok(ordered.await.map_err(Error::internal)??)
    }
}
