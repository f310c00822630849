//! The folds that commands and reads are answered from: a tenant's chain, the platform's, a tenant's heartbeats.
//!
//! Around the domain's own folds stands only what finds events again: which events tell of an action, and where.

use std::collections::BTreeMap;

use countersign_domain::{Aggregate as _, Tenant};
use countersign_events::Event;
use countersign_ids::{ActionId, Actor, ChainId, EventId, EventType, Sequence, Time};
use countersign_store::Entry;

use crate::engine::Fold;

/// One event that tells of an action.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Where it stands.
    pub sequence: Sequence,
    /// Its id.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// When.
    pub time: Time,
    /// By whom.
    pub actor: Actor,
}

/// A tenant, and where the events of each of its actions stand.
#[derive(Debug)]
pub(crate) struct TenantFold {
    pub(crate) tenant: Tenant,
    pub(crate) traces: BTreeMap<ActionId, Vec<Trace>>,
    /// Where the sealed reasons about each action stand.
    pub(crate) reasons: BTreeMap<ActionId, Vec<Sequence>>,
}

impl TenantFold {
    pub(crate) fn new(chain: &ChainId) -> Self {
        Self {
            tenant: Tenant::new(chain.clone()),
            traces: BTreeMap::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// The events of an action, oldest first.
    pub(crate) fn traces(&self, action: &ActionId) -> &[Trace] {
        self.traces.get(action).map_or(&[], Vec::as_slice)
    }

    /// The newest event of an action that is of this fact.
    pub(crate) fn newest(&self, action: &ActionId, fact: &str) -> Option<&Trace> {
        self.traces(action)
            .iter()
            .rev()
            .find(|trace| trace.event_type.fact() == fact)
    }
}

impl Fold for TenantFold {
    fn size(&self) -> u64 {
        self.tenant.size()
    }

    fn fold(&mut self, entry: &Entry, event: Option<&Event>) -> Result<(), String> {
        let header = entry.header();
        self.tenant.evolve(header, event);
        let action = || header.subject.as_str().parse::<ActionId>();
        let no_action = |_| "its subject is no action".to_owned();
        if header.event_type.family().as_str() == "reason" {
            let action = action().map_err(no_action)?;
            self.reasons
                .entry(action)
                .or_default()
                .push(header.sequence);
        }
        if let Some(Event::Action(_)) = event {
            let action = action().map_err(no_action)?;
            self.traces.entry(action).or_default().push(Trace {
                sequence: header.sequence,
                id: header.id,
                event_type: header.event_type.clone(),
                time: header.time,
                actor: header.actor.clone(),
            });
        }
        Ok(())
    }
}
