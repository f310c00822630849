//! Messages of connectors: who signed, which counter, which document and which tree they saw.

use countersign_chain::{CommandKey, command_id, request_digest};
use countersign_evidence::message::{Stream, TreeHead};
use countersign_evidence::{ConnectorMessage, Envelope, OutcomeResult, VerifiedMessage};
use countersign_ids::{ActionId, Actor, AuthType, ConnectorId, Digest, SiteId};

use super::{Claim, Context, LastMessage, Paired, Seen, Stage, Tenant};
use crate::verify::fault::{Checked, bad, need};

const RULE: &str = "message";

impl Tenant {
    /// A pairing: signed by the key it brings, for an open invitation, one generation up.
    pub(super) fn paired(
        &mut self,
        seen: &Seen<'_>,
        envelope: &Envelope,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        const RULE: &str = "pairing";
        let verified =
            VerifiedMessage::verify_pairing(envelope).map_err(|error| bad(RULE, error))?;
        let ConnectorMessage::Paired(paired) = verified.message() else {
            return Err(bad(RULE, "not a pairing"));
        };
        let head = &paired.head;
        context.pins.connector(paired.key.as_bytes())?;
        let site = self.site(&head.site)?;
        let rises = head.generation == site.generation + 1;
        let invitation = site.invitation.take();
        site.generation = head.generation;
        site.connector = Some(head.connector.clone());
        let known = Paired {
            key: paired.key,
            site: head.site.clone(),
            at: seen.header.time,
        };
        self.connectors
            .insert((head.connector.clone(), head.generation), known);
        need(rises, RULE, "the generation does not rise by one")?;
        let until = invitation
            .filter(|(code, _)| *code == paired.code_digest)
            .map(|(_, until)| until)
            .ok_or_else(|| bad(RULE, "no open invitation of this site has this code"))?;
        need(
            seen.header.time <= until,
            RULE,
            "the invitation had expired",
        )?;
        self.message(seen, envelope, Stream::Action, context)
            .map(drop)
    }

    /// Any message: signature, place, dense counter, command id, pinned document, the tree that it saw.
    pub(super) fn message(
        &mut self,
        seen: &Seen<'_>,
        envelope: &Envelope,
        stream: Stream,
        context: &mut Context<'_, '_>,
    ) -> Checked<ConnectorMessage> {
        context.counts.messages += 1;
        let peek = ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload())
            .map_err(|error| bad(RULE, error))?;
        let (connector, generation) = (peek.head().connector.clone(), peek.head().generation);
        let known = self.connectors.get(&(connector.clone(), generation));
        let known =
            known.ok_or_else(|| bad(RULE, "a message of a connector that was not paired"))?;
        let site = known.site.clone();
        let verified =
            VerifiedMessage::verify(envelope, &known.key).map_err(|error| bad(RULE, error))?;
        let message = verified.message();
        let head = message.head();
        let place =
            head.ledger == self.ledger && head.chain == seen.header.chain && head.site == site;
        need(place, RULE, "a message for another ledger, chain or site")?;
        self.counter(seen, message, stream, *verified.digest(), envelope)?;
        if stream == Stream::Action {
            let current = self.site(&site)?.generation == head.generation;
            need(current, RULE, "a message of an ended generation")?;
        }
        // A connector whose document was changed at the site says so by refusing; what it executes, it does under this one.
        let binding = match message {
            ConnectorMessage::Paired(_) => true,
            ConnectorMessage::Outcome(outcome) => outcome.result != OutcomeResult::Refused,
            ConnectorMessage::Observed(_)
            | ConnectorMessage::Heartbeat(_)
            | ConnectorMessage::Poll(_) => false,
        };
        if binding {
            self.document_in_force(&site, &head.document_digest)?;
            self.unnamed
                .take_if(|unnamed| unnamed.1 == head.document_digest);
        }
        self.saw(seen, &head.checkpoint)?;
        Ok(verified.into_message())
    }

    fn counter(
        &mut self,
        seen: &Seen<'_>,
        message: &ConnectorMessage,
        stream: Stream,
        digest: Digest,
        envelope: &Envelope,
    ) -> Checked {
        const RULE: &str = "counter";
        let head = message.head();
        let Some((_, counter)) = message.counter().filter(|(of, _)| *of == stream) else {
            return Err(bad(RULE, "a message of another stream"));
        };
        let key = (head.connector.clone(), head.generation, stream);
        let saw = head.checkpoint.size;
        let last = LastMessage {
            counter,
            digest,
            saw,
        };
        let before = self.counters.insert(key, last);
        // Of a connector that was paired before heartbeats were pruned, the first that is left goes on from one that is not here.
        let paired = self
            .connectors
            .get(&(head.connector.clone(), head.generation));
        let cut = before.is_none()
            && stream == Stream::Beat
            && counter > 0
            && paired
                .is_some_and(|paired| self.beats_pruned.is_some_and(|until| paired.at <= until));
        let next = if cut {
            counter
        } else {
            before.map_or(0, |last| last.counter.saturating_add(1))
        };
        let steps_back = before.is_some_and(|last| saw < last.saw);
        need(
            !steps_back,
            "split-view",
            "the connector saw a smaller checkpoint than before",
        )?;
        if let ConnectorMessage::Heartbeat(beat) = message {
            let links = cut || beat.previous.get().copied() == before.map(|last| last.digest);
            need(
                links,
                "heartbeat",
                "the heartbeat does not name the one before it",
            )?;
        }
        need(
            counter == next,
            RULE,
            &format!("counter {counter} where {next} comes next"),
        )?;
        let author = seen.header.actor.kind == AuthType::Connector
            && seen.header.actor.id.as_str() == head.connector.as_str();
        need(
            author,
            RULE,
            "the header names another author than the message",
        )?;
        let command = CommandKey::Counter {
            generation: head.generation,
            stream: stream.as_str().to_owned(),
            counter,
        };
        let expected = command_id(&head.chain, &connector_actor(&head.connector)?, &command);
        need(
            seen.header.commandid == expected,
            RULE,
            "the command id is not the counter's",
        )?;
        let request = request_digest(envelope.unverified_payload());
        need(
            seen.header.requestdigest == Some(request),
            RULE,
            "the request digest is not the payload's",
        )
    }

    fn document_in_force(&mut self, site: &SiteId, named: &Digest) -> Checked {
        let inforce = self.site(site)?.document_digest();
        need(
            inforce == Some(*named),
            "document",
            "the message names another pinned document than the site's",
        )
    }

    /// Notes a tree that somebody saw; it is compared when its size is known.
    pub(super) fn saw(&mut self, seen: &Seen<'_>, checkpoint: &TreeHead) -> Checked {
        let beats = seen.header.chain.is_beats();
        let past = beats || checkpoint.size <= seen.header.sequence.get();
        need(
            past,
            "split-view",
            "the message saw a checkpoint from its own future",
        )?;
        self.claims.push(Claim {
            size: checkpoint.size,
            root: checkpoint.root,
        });
        Ok(())
    }

    /// A heartbeat: neither generation nor document version steps back.
    pub(super) fn beat(
        &mut self,
        seen: &Seen<'_>,
        envelope: &Envelope,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        let message = self.message(seen, envelope, Stream::Beat, context)?;
        let head = message.head();
        // A document that was changed at the site is not in the ledger, and its version is not known here.
        let Some(version) = self.documents.get(&head.document_digest).copied() else {
            return Ok(());
        };
        let last = self
            .beats
            .insert(head.site.clone(), (head.generation, version));
        let back = last.is_some_and(|last| head.generation < last.0 || version < last.1);
        need(
            !back,
            "heartbeat",
            "generation or document version steps back",
        )
    }

    /// What became of an order: the connector's word, over exactly that order, in the order of life.
    pub(super) fn outcome(
        &mut self,
        seen: &Seen<'_>,
        action: &ActionId,
        envelope: &Envelope,
        result: OutcomeResult,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        const RULE: &str = "outcome";
        let message = self.message(seen, envelope, Stream::Action, context)?;
        let ConnectorMessage::Outcome(outcome) = &message else {
            return Err(bad(RULE, "not an outcome"));
        };
        let run = self.run(action)?;
        let order = run.order.map(|(digest, _)| digest);
        let stage = run.stage;
        let fits = match result {
            OutcomeResult::Accepted | OutcomeResult::Refused => {
                matches!(stage, Stage::Delivered | Stage::Unresolved)
            }
            OutcomeResult::Succeeded | OutcomeResult::Failed | OutcomeResult::Undone => {
                matches!(stage, Stage::Accepted | Stage::Unresolved)
            }
        };
        run.stage = if result == OutcomeResult::Accepted {
            Stage::Accepted
        } else {
            Stage::Over
        };
        let site = run.site.clone();
        if run.stage == Stage::Over {
            self.free(action)?;
        }
        need(
            outcome.result == result,
            RULE,
            "the outcome says another result than the event",
        )?;
        need(
            order == Some(outcome.order_digest),
            RULE,
            "an outcome of another order",
        )?;
        need(
            outcome.head.site == site,
            RULE,
            "an outcome of another site",
        )?;
        need(
            fits,
            "action-stage",
            "an outcome that does not follow a delivery or an acceptance",
        )
    }
}

fn connector_actor(connector: &ConnectorId) -> Checked<Actor> {
    let id = connector
        .as_str()
        .parse()
        .map_err(|error| bad(RULE, error))?;
    Ok(Actor {
        kind: AuthType::Connector,
        id,
    })
}
