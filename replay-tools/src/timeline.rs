//! What happened to actions, one line a step, in words. Reads events; the read model of the console is a projection.

use std::io::Write;
use std::ops::ControlFlow;

use countersign_events::Event;
use countersign_events::action::Action;
use countersign_evidence::{ConnectorMessage, Envelope, SignedStatement};
use serde_json::json;

use crate::show::{ShowError, Shown, Style};
use crate::source::{GO_ON, Source};
use crate::verdict::Findings;

/// Tells the steps of the actions of a tenant, or of one action.
pub fn timeline(
    source: &dyn Source,
    tenant: Option<&str>,
    action: Option<&str>,
    style: Style,
    out: &mut dyn Write,
) -> Result<u64, ShowError> {
    let mut told = 0_u64;
    let mut failed = None;
    let wanted = |chain: &str| {
        chain != "platform"
            && !chain.ends_with(".beats")
            && tenant.is_none_or(|tenant| tenant == chain)
    };
    source.events(&wanted, &mut Findings::default(), &mut |entry, _| {
        let one = Shown::read(entry);
        let (Some(header), Some(Event::Action(event))) = (&one.header, &one.event) else { return GO_ON };
        if action.is_some_and(|action| action != header.subject.as_str()) {
            return GO_ON;
        }
        told += 1;
        let words = words(event, &format!("{}:{}", header.actor.kind, header.actor.id));
        let line = match style {
            Style::Text => format!("{} {} {}: {words}", header.time, one.chain, header.subject),
            Style::Json => json!({
                "time": header.time.to_string(), "chain": one.chain, "sequence": header.sequence.get(),
                "action": header.subject.as_str(), "step": header.event_type.fact(), "words": words,
            })
            .to_string(),
        };
        if let Err(error) = writeln!(out, "{line}") {
            failed = Some(error);
            return Ok(ControlFlow::Break(()));
        }
        GO_ON
    })?;
    failed.map_or(Ok(told), |error| Err(error.into()))
}

fn words(event: &Action, author: &str) -> String {
    match event {
        Action::Proposed(proposed) => format!("proposed by {author}: {}", proposed.title),
        Action::Assessed(assessed) => {
            let needed = if assessed.needed > 0 {
                format!(", {} approvals needed", assessed.needed)
            } else {
                String::new()
            };
            format!(
                "assessed, round {}: {}{needed}",
                assessed.round, assessed.verdict
            )
        }
        Action::Approved(vote) => format!(
            "approved by {}, round {}",
            approver(&vote.signed),
            vote.round
        ),
        Action::Rejected(vote) => format!(
            "rejected by {}, round {}",
            approver(&vote.signed),
            vote.round
        ),
        Action::ApprovalWithdrawn(vote) => {
            format!("approval withdrawn by {}", approver(&vote.signed))
        }
        Action::Withdrawn(_) => format!("withdrawn by {author}"),
        Action::Revoked(_) => format!("revoked by {author}"),
        Action::Authorized(authorized) => {
            format!("authorised, order {}", authorized.envelope.payload_digest())
        }
        Action::Delivered(delivered) => {
            format!("delivered under checkpoint {}", delivered.checkpoint.size)
        }
        Action::Accepted(said) => format!("accepted by {author}{}", result(&said.envelope)),
        Action::Refused(said) => format!("refused by {author}{}", result(&said.envelope)),
        Action::Succeeded(said) => format!("succeeded{}", result(&said.envelope)),
        Action::Failed(said) => format!("failed{}", result(&said.envelope)),
        Action::Undone(said) => format!("undone{}", result(&said.envelope)),
        Action::Expired(_) => "expired".to_owned(),
        Action::Unresolved(_) => "unresolved: delivered, and nothing was heard".to_owned(),
    }
}

fn approver(signed: &SignedStatement) -> String {
    signed.unverified().map_or_else(
        |_| "somebody".to_owned(),
        |statement| statement.approver.to_string(),
    )
}

fn result(envelope: &Envelope) -> String {
    match ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload()) {
        Ok(ConnectorMessage::Outcome(outcome)) => {
            let code = outcome
                .code
                .get()
                .map(|code| format!(": {code}"))
                .unwrap_or_default();
            let took = outcome
                .duration_ms
                .map(|took| format!(" after {took} ms"))
                .unwrap_or_default();
            format!("{code}{took}")
        }
        _ => String::new(),
    }
}
