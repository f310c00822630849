//! Records what a connector saw at its site.

use countersign_events::site::Observed;
use countersign_evidence::{ConnectorMessage, Envelope, VerifiedMessage};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::site::Site;
use crate::tenant::Tenant;

/// Records what a connector saw.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordObservation {
    /// Its message, verified by the key of the site's connector.
    pub message: VerifiedMessage,
    /// The same, as it is stored.
    pub envelope: Envelope,
}

impl RecordObservation {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let message = self.message.message();
        let site = accept(tenant, message)?;
        let ConnectorMessage::Observed(observed) = message else {
            return Err(Rejection::MessageMisdirected {
                connector: message.head().connector.clone(),
            });
        };
        if observed.observed.rollback.site != site.id
            || observed.observed.rollback.digest().is_err()
        {
            return Err(Rejection::MessageMisdirected {
                connector: observed.head.connector.clone(),
            });
        }
        let draft = Draft::new(
            Observed {
                envelope: self.envelope.clone(),
            },
            &site.id,
        )
        .at(&site.id);
        Ok(Decision::of([draft]).unless([Guard::site(&site.id)]))
    }
}

/// Checks what every message of stream `action` has in common: where it is for, who sends it, and that it is the next one.
///
/// The signature was checked against the key of the site's connector; that key is one of these facts, so an append under the
/// site's guard cannot be overtaken by another pairing.
pub(crate) fn accept<'a>(
    tenant: &'a Tenant,
    message: &ConnectorMessage,
) -> Result<&'a Site, Rejection> {
    let (_, ledger) = tenant.created()?;
    let head = message.head();
    let site = tenant.site(&head.site)?;
    let connector = site
        .connector
        .as_ref()
        .ok_or_else(|| Rejection::ConnectorUnpaired {
            site: site.id.clone(),
        })?;
    let misdirected = || Rejection::MessageMisdirected {
        connector: head.connector.clone(),
    };
    if head.ledger != *ledger || head.chain != tenant.chain || head.connector != connector.id {
        return Err(misdirected());
    }
    if head.generation != connector.generation {
        return Err(Rejection::GenerationEnded {
            wanted: connector.generation,
            found: head.generation,
        });
    }
    let (_, counter) = message.counter().ok_or_else(misdirected)?;
    if counter != connector.counter {
        return Err(Rejection::CounterGap {
            wanted: connector.counter,
            found: counter,
        });
    }
    if head.checkpoint.size < connector.checkpoint {
        return Err(Rejection::CheckpointSteppedBack {
            from: connector.checkpoint,
            to: head.checkpoint.size,
        });
    }
    if head.checkpoint.size > tenant.size {
        return Err(Rejection::CheckpointUnknown {
            size: tenant.size,
            found: head.checkpoint.size,
        });
    }
    Ok(site)
}
