//! Notes that an order is about to leave, under which checkpoint; durable before a byte of it goes.

use countersign_events::action::Delivered;
use countersign_evidence::message::TreeHead;
use countersign_ids::{ActionId, Digest};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::state::State;
use crate::tenant::Tenant;

/// Notes that an order is about to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliver {
    /// The action.
    pub action: ActionId,
    /// The order.
    pub order_digest: Digest,
    /// The checkpoint whose proofs go with it.
    pub checkpoint: TreeHead,
}

impl Deliver {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        if !matches!(
            action.state(),
            State::Authorized | State::Delivered | State::Unresolved
        ) {
            return Err(Rejection::WrongState {
                action: self.action.clone(),
                state: action.state(),
            });
        }
        let unknown = || Rejection::OrderUnknown {
            action: self.action.clone(),
        };
        let order = action
            .order
            .filter(|order| order.digest == self.order_digest)
            .ok_or_else(unknown)?;
        // An unresolved order is handed out past its time too: the connector refuses it or repeats what became of it.
        if facts.now > order.expires && action.state() == State::Authorized {
            return Err(Rejection::OrderExpired {
                expires: order.expires,
            });
        }
        if self.checkpoint.size > tenant.size {
            return Err(Rejection::CheckpointUnknown {
                size: tenant.size,
                found: self.checkpoint.size,
            });
        }
        let delivered = Delivered {
            action: self.action.clone(),
            order_digest: self.order_digest,
            checkpoint: self.checkpoint,
        };
        let draft = Draft::new(delivered, &self.action).at(action.site());
        Ok(Decision::of([draft]).unless([Guard::about(&self.action)]))
    }
}
