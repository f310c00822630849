//! Rows of projections, as a running ledger serves them.

use std::collections::BTreeMap;
use std::sync::mpsc;

use countersign_ids::ChainId;

#[cfg(doc)]
use crate::Status;
use crate::log::handover::Order;
use crate::{Error, Ledger};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key that the projection gave it.
    pub key: Vec<u8>,
    /// Canonical JSON.
    pub value: Vec<u8>,
}

/// Which rows, in key order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// Keys that begin with this.
    pub prefix: Vec<u8>,
    /// Keys behind this one.
    pub after: Option<Vec<u8>>,
    /// At most so many.
    pub limit: usize,
}

impl RowRange {
    /// Every row.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            prefix: Vec::new(),
            after: None,
            limit: usize::MAX,
        }
    }
}

impl Ledger {
    /// One row of a projection in a chain.
    pub fn row(
        &self,
        projection: &str,
        chain: &ChainId,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        self.view().row(projection, chain, key)
    }

    /// Rows of a projection in a chain, in key order.
    pub fn rows(
        &self,
        projection: &str,
        chain: &ChainId,
        range: &RowRange,
    ) -> Result<Vec<Row>, Error> {
        self.view().rows(projection, chain, range)
    }

    /// Makes a projection again in every chain, from the first event; returns once that is durable, long before it is done.
    ///
    /// What is there is served, and followed, until the new rows reach as far; [`Status::rebuilding`] says how far they are.
    /// Call it from a thread that may wait.
    pub fn rebuild(&self, projection: &str) -> Result<(), Error> {
        self.knows(projection)?;
        let (reply, answer) = mpsc::channel();
        self.handover().order(Order {
            projection: projection.to_owned(),
            reply,
        });
        self.answered(&answer)
    }

    /// All rows of a projection in a chain, to digest or to compare.
    pub fn all_rows(
        &self,
        projection: &str,
        chain: &ChainId,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        let rows = self.view().rows(projection, chain, &RowRange::all())?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }
}
