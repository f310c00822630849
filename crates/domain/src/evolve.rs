//! What each event does to a tenant. It never refuses and never panics: what happened, happened.
//!
//! An event that no rule of this version leads to (only a forged or foreign chain holds one) changes nothing but the size;
//! telling such a chain apart is the auditor's work, by its own checks.

use countersign_chain::Header;
use countersign_events::{self as events, Event};
use countersign_evidence::{ConnectorMessage, Envelope, Statement};
use countersign_ids::{ActionId, Actor, Time};

use crate::action::{Action, Assessment, Order, Proposal, Vote};
use crate::note::Note;
use crate::site::{Connector, Invitation, Observed, Pinned, Release, Site};
use crate::state::State;
use crate::tenant::{Enrolled, Freeze, Tenant};
use crate::words::Verdict;

pub(crate) fn apply(tenant: &mut Tenant, header: &Header, event: &Event) {
    match event {
        Event::Tenant(events::Tenant::Created(created)) => {
            tenant.id = Some(created.tenant.clone());
            tenant.name.clone_from(&created.name);
        }
        Event::Platform(events::Platform::Noted(noted)) => note(tenant, noted),
        Event::Site(event) => site(tenant, header.time, event),
        Event::Connector(event) => connector(tenant, event),
        Event::Deploy(events::Deploy::ReleaseAdded(added)) => {
            if let Some(site) = tenant.sites.get_mut(&added.site) {
                site.releases.insert(
                    added.release,
                    Release {
                        label: added.label.clone(),
                        added: header.time,
                    },
                );
            }
        }
        Event::Freeze(event) => freeze(tenant, event),
        Event::Retention(event) => tenant.keeping.apply(header.sequence, event),
        Event::Action(event) => action(tenant, &header.actor, header.time, event),
        // Events of other chains, and what nobody's decision reads: a reason is personal and commits by its digest.
        Event::Chain(
            events::Chain::Announced(_)
            | events::Chain::Opened(_)
            | events::Chain::Pruned(_)
            | events::Chain::Cleared(_),
        )
        | Event::Keys(events::Keys::Created(_) | events::Keys::Changed(_))
        | Event::Heads(events::Heads::Recorded(_))
        | Event::Approver(events::Approver::Enrolled(_) | events::Approver::Removed(_))
        | Event::Token(events::Token::Issued(_) | events::Token::Revoked(_))
        | Event::Clock(events::Clock::SteppedBack(_))
        | Event::Tenant(events::Tenant::Named(_))
        | Event::Reason(events::Reason::Given(_))
        | Event::Remark(events::Remark::Made(_))
        | Event::Beat(events::Beat::Received(_)) => {}
    }
}

fn note(tenant: &mut Tenant, noted: &events::platform::Noted) {
    let Ok(note) = Note::read(noted) else { return };
    tenant.noted = tenant.noted.max(Some(note.header.sequence));
    match &note.event {
        Event::Approver(events::Approver::Enrolled(enrolled)) => {
            let key = (enrolled.approver.clone(), enrolled.credential.clone());
            tenant.enrolled.insert(
                key,
                Enrolled {
                    credential: enrolled.credential(),
                    removed: false,
                },
            );
        }
        Event::Approver(events::Approver::Removed(removed)) => {
            let key = (removed.approver.clone(), removed.credential.clone());
            if let Some(held) = tenant.enrolled.get_mut(&key) {
                held.removed = true;
            }
        }
        Event::Keys(_)
        | Event::Chain(_)
        | Event::Heads(_)
        | Event::Token(_)
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
        | Event::Beat(_) => {}
    }
}

fn site(tenant: &mut Tenant, at: Time, event: &events::Site) {
    match event {
        events::Site::Registered(registered) => {
            let new = || {
                let id = registered.site.clone();
                Site::new(
                    id,
                    registered.name.clone(),
                    registered.connector,
                    registered.environment,
                )
            };
            tenant
                .sites
                .entry(registered.site.clone())
                .or_insert_with(new);
        }
        events::Site::DocumentPinned(pinned) => {
            if let (Some(site), Ok(digest)) = (
                tenant.sites.get_mut(&pinned.document.site),
                pinned.document.digest(),
            ) {
                site.document = Some(Pinned {
                    document: pinned.document.clone(),
                    digest,
                });
            }
        }
        events::Site::Observed(observed) => {
            let Some(ConnectorMessage::Observed(message)) = heard(tenant, &observed.envelope)
            else {
                return;
            };
            let Some(site) = tenant.sites.get_mut(&message.head.site) else {
                return;
            };
            let Ok(rollback_digest) = message.observed.rollback.digest() else {
                return;
            };
            site.observed = Some(Observed {
                current: message.observed.current.get().copied(),
                releases: message.observed.releases,
                rollback: message.observed.rollback,
                rollback_digest,
                checked_at: message.observed.checked_at,
                at,
            });
        }
    }
}

/// Reads a connector's message, and counts it on the stream of its connector.
fn heard(tenant: &mut Tenant, envelope: &Envelope) -> Option<ConnectorMessage> {
    let message =
        ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload()).ok()?;
    let head = message.head();
    let connector = tenant.sites.get_mut(&head.site)?.connector.as_mut()?;
    let (_, counter) = message.counter()?;
    connector.counter = counter.saturating_add(1);
    connector.checkpoint = connector.checkpoint.max(head.checkpoint.size);
    Some(message)
}

fn connector(tenant: &mut Tenant, event: &events::Connector) {
    match event {
        events::Connector::Invited(invited) => {
            tenant
                .codes
                .insert(invited.code_digest, invited.site.clone());
            if let Some(site) = tenant.sites.get_mut(&invited.site) {
                let (code_digest, expires) = (invited.code_digest, invited.expires);
                site.invitation = Some(Invitation {
                    code_digest,
                    expires,
                    used: false,
                });
            }
        }
        events::Connector::Paired(paired) => {
            let envelope = &paired.envelope;
            let message =
                ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload());
            let Ok(ConnectorMessage::Paired(message)) = message else {
                return;
            };
            let Some(site) = tenant.sites.get_mut(&message.head.site) else {
                return;
            };
            tenant.connector_keys.insert(message.key, site.id.clone());
            if let Some(invitation) = &mut site.invitation {
                invitation.used = true;
            }
            // What an earlier connector saw is not what this one stands beside.
            site.observed = None;
            site.connector = Some(Connector {
                id: message.head.connector,
                generation: message.head.generation,
                key: message.key,
                counter: message.counter.saturating_add(1),
                checkpoint: message.head.checkpoint.size,
            });
        }
    }
}

fn freeze(tenant: &mut Tenant, event: &events::Freeze) {
    match event {
        events::Freeze::Declared(declared) => {
            let (site, from, until) = (declared.site.clone(), declared.from, declared.until);
            tenant.freezes.insert(
                declared.freeze.clone(),
                Freeze {
                    site,
                    from,
                    until,
                    lifted: false,
                },
            );
        }
        events::Freeze::Lifted(lifted) => {
            if let Some(freeze) = tenant.freezes.get_mut(&lifted.freeze) {
                freeze.lifted = true;
            }
        }
    }
}

fn action(tenant: &mut Tenant, actor: &Actor, at: Time, event: &events::Action) {
    use events::Action as A;
    match event {
        A::Proposed(proposed) => {
            // A second proposal of one name is no rule's event; the first stands.
            if !tenant.actions.contains_key(&proposed.action) {
                let action = Action::new(proposal(proposed, actor, at));
                tenant.unsettled.insert(proposed.action.clone());
                tenant.actions.insert(proposed.action.clone(), action);
            }
        }
        A::Assessed(assessed) => assess(tenant, at, assessed),
        A::Approved(vote) => {
            let Ok(statement) = vote.signed.unverified() else {
                return;
            };
            tenant.nonces.insert(statement.nonce);
            cast(tenant, vote, statement);
        }
        A::Rejected(vote) => {
            remember(tenant, &vote.signed);
            go(tenant, &vote.action, State::Rejected, at);
        }
        A::ApprovalWithdrawn(vote) => {
            let Ok(statement) = vote.signed.unverified() else {
                return;
            };
            tenant.nonces.insert(statement.nonce);
            if let Some(action) = tenant.actions.get_mut(&vote.action) {
                action.votes.remove(&statement.approver);
            }
        }
        A::Withdrawn(withdrawn) => go(tenant, &withdrawn.action, State::Withdrawn, at),
        A::Revoked(revoked) => go(tenant, &revoked.action, State::Revoked, at),
        A::Authorized(authorized) => authorize(tenant, at, authorized),
        A::Delivered(delivered) => {
            let unresolved = tenant
                .actions
                .get(&delivered.action)
                .is_some_and(|one| one.state() == State::Unresolved);
            let to = if unresolved {
                State::Unresolved
            } else {
                State::Delivered
            };
            go(tenant, &delivered.action, to, at);
        }
        A::Accepted(_) | A::Refused(_) | A::Succeeded(_) | A::Failed(_) | A::Undone(_) => {
            if let Some((id, to, envelope)) = outcome(event) {
                settle(tenant, id, to, at, envelope);
            }
        }
        A::Expired(expired) => go(tenant, &expired.action, State::Expired, at),
        A::Unresolved(unresolved) => go(tenant, &unresolved.action, State::Unresolved, at),
    }
}

/// The action, the state and the message of an outcome.
const fn outcome(event: &events::Action) -> Option<(&ActionId, State, &Envelope)> {
    use events::Action as A;
    match event {
        A::Accepted(outcome) => Some((&outcome.action, State::Accepted, &outcome.envelope)),
        A::Refused(outcome) => Some((&outcome.action, State::Refused, &outcome.envelope)),
        A::Succeeded(outcome) => Some((&outcome.action, State::Succeeded, &outcome.envelope)),
        A::Failed(outcome) => Some((&outcome.action, State::Failed, &outcome.envelope)),
        A::Undone(outcome) => Some((&outcome.action, State::Undone, &outcome.envelope)),
        A::Proposed(_)
        | A::Assessed(_)
        | A::Approved(_)
        | A::Rejected(_)
        | A::ApprovalWithdrawn(_)
        | A::Withdrawn(_)
        | A::Revoked(_)
        | A::Authorized(_)
        | A::Delivered(_)
        | A::Expired(_)
        | A::Unresolved(_) => None,
    }
}

fn proposal(proposed: &events::action::Proposed, actor: &Actor, at: Time) -> Proposal {
    Proposal {
        id: proposed.action.clone(),
        object: proposed.action_object.clone(),
        digest: proposed.action_digest,
        plan: proposed.plan.clone(),
        title: proposed.title.clone(),
        risk: proposed.risk,
        blast_radius: proposed.blast_radius,
        proposer: actor.clone(),
        owner: proposed.proposer_owner.get().cloned(),
        reason_digest: proposed.reason_digest.get().copied(),
        attachments: proposed.attachments.clone(),
        at,
    }
}

fn assess(tenant: &mut Tenant, at: Time, assessed: &events::action::Assessed) {
    let Some(action) = tenant.actions.get(&assessed.action) else {
        return;
    };
    let assessment = Assessment {
        verdict: assessed.verdict,
        needed: assessed.needed,
        required: assessed.needed.max(tenant.floor(action)),
        policy_digest: assessed.policy_digest,
        view_digest: assessed.view_digest,
        rollback_digest: assessed.rollback_digest.get().copied(),
        document_digest: tenant
            .sites
            .get(action.site())
            .and_then(|site| site.document.as_ref())
            .map(|pinned| pinned.digest),
        as_planned: tenant.is_as_planned(action),
    };
    let to = if assessed.verdict == Verdict::Deny {
        State::Denied
    } else {
        State::Waiting
    };
    if let Some(action) = tenant.actions.get_mut(&assessed.action)
        && action.go(to, at)
    {
        action.round = assessed.round;
        action.assessment = Some(assessment);
        action.votes.clear();
        if to.is_final() {
            tenant.unsettled.remove(&assessed.action);
        }
    }
}

fn cast(tenant: &mut Tenant, vote: &events::action::Approved, statement: Statement) {
    let Some(action) = tenant.actions.get_mut(&vote.action) else {
        return;
    };
    if action.state() == State::Waiting && action.round == vote.round {
        let (approver, digest) = (statement.approver.clone(), vote.signed.digest());
        action.votes.insert(
            approver,
            Vote {
                signed: vote.signed.clone(),
                statement,
                digest,
            },
        );
    }
}

fn remember(tenant: &mut Tenant, signed: &countersign_evidence::SignedStatement) {
    if let Ok(statement) = signed.unverified() {
        tenant.nonces.insert(statement.nonce);
    }
}

fn authorize(tenant: &mut Tenant, at: Time, authorized: &events::action::Authorized) {
    let Ok(order) = countersign_evidence::Order::parse(authorized.envelope.unverified_payload())
    else {
        return;
    };
    let Some(action) = tenant.actions.get_mut(&authorized.action) else {
        return;
    };
    if !action.go(State::Authorized, at) {
        return;
    }
    let digest = authorized.envelope.payload_digest();
    action.order = Some(Order {
        digest,
        nonce: order.nonce,
        sequence: order.sequence,
        expires: order.expires,
    });
    tenant.nonces.insert(order.nonce);
    tenant.spent.extend(
        order
            .statements
            .iter()
            .map(countersign_evidence::SignedStatement::digest),
    );
    if let Some(site) = tenant.sites.get_mut(action.site()) {
        site.orders = site.orders.max(order.sequence.get());
        site.held_by = Some(authorized.action.clone());
    }
}

fn settle(tenant: &mut Tenant, id: &ActionId, to: State, at: Time, envelope: &Envelope) {
    if let Some(ConnectorMessage::Outcome(outcome)) = heard(tenant, envelope)
        && let Some(action) = tenant.actions.get_mut(id)
    {
        action.outcome_code = outcome.code.get().cloned();
    }
    go(tenant, id, to, at);
}

/// Moves an action, and frees its site when its order is not out any more.
fn go(tenant: &mut Tenant, id: &ActionId, to: State, at: Time) {
    let Some(action) = tenant.actions.get_mut(id) else {
        return;
    };
    if !action.go(to, at) {
        return;
    }
    if to.is_final() {
        tenant.unsettled.remove(id);
    }
    if !to.holds_site()
        && let Some(site) = tenant.sites.get_mut(action.site())
        && site.held_by.as_ref() == Some(id)
    {
        site.held_by = None;
    }
}
