//! What one reading of the journal tells: damage, torn ends, clocks, silent connectors, late checkpoints.

use super::finding::Finding;
use crate::codes;
use crate::survey::Survey;
use countersign_ids::Time;
use countersign_service::LEASE_MILLIS;
use countersign_store::codes as store;

/// How far the last event's time may lie ahead of this machine's clock.
const AHEAD_MILLIS_MAX: u64 = 2_000;

/// How long a running server may leave events without a checkpoint; it signs one every ten seconds unless it is set otherwise.
const UNCOVERED_MILLIS_MAX: u64 = 120_000;

/// A reading, and the circumstances that it is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) survey: &'a Survey,
    pub(super) live: bool,
    pub(super) now: Time,
}

/// Everything that the journal tells.
pub(super) fn examine(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = bytes(context);
    findings.extend(chains(context));
    findings.push(clock(context));
    findings.extend(checkpoints(context));
    findings.extend(connectors(context));
    findings
}

fn bytes(context: &Context<'_>) -> Vec<Finding> {
    let survey = context.survey;
    let mut findings = Vec::new();
    let wrong = |damage: &String| Finding::wrong("journal", store::DAMAGED, damage.clone());
    findings.extend(survey.damage.iter().map(wrong));
    if !findings.is_empty() {
        return findings;
    }
    findings.push(Finding::fine(
        "journal",
        format!(
            "{} events of {} chains in {} bytes",
            survey.events,
            survey.chains.len(),
            survey.position
        ),
    ));
    let Some(end) = survey.end.filter(|_| !context.live) else {
        // The tail of a live journal is being written now.
        return findings;
    };
    if let Some(torn) = end.torn {
        let what = format!("{} bytes behind {} are not whole", torn.bytes, torn.at);
        findings.push(Finding::note("journal", codes::TAIL_TORN, what));
    } else if end.closed.is_none() && survey.events > 0 {
        let what = "the last stop was not a clean one";
        findings.push(Finding::note("journal", codes::NOT_CLOSED, what));
    }
    findings
}

fn chains(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (chain, state) in &context.survey.chains {
        if let Some(broken) = &state.broken {
            let what = format!("chain `{chain}`: {broken}");
            findings.push(Finding::wrong("chain", store::CHAIN_DAMAGED, what));
        }
    }
    if context.survey.nameless > 0 {
        let what = format!("{} events name no chain", context.survey.nameless);
        findings.push(Finding::wrong("chain", store::CHAIN_DAMAGED, what));
    }
    findings
}

fn clock(context: &Context<'_>) -> Finding {
    let newest = context
        .survey
        .chains
        .values()
        .filter(|chain| chain.state.size() > 0)
        .map(|chain| chain.state.time())
        .max();
    match newest {
        Some(newest) if newest.millis_since(context.now) > AHEAD_MILLIS_MAX => {
            let what = format!(
                "the last event is of {newest}, this machine's clock says {}",
                context.now
            );
            Finding::wrong("clock", codes::CLOCK_BEHIND, what)
        }
        _ => Finding::fine("clock", format!("{}", context.now)),
    }
}

fn checkpoints(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (chain, state) in &context.survey.chains {
        let Some(since) = state.uncovered else {
            continue;
        };
        let covered = state
            .checkpoint
            .as_ref()
            .map_or(0, |(checkpoint, _)| checkpoint.head.size);
        let what = format!(
            "{} events of chain `{chain}` since {since} are under no signed checkpoint",
            state.state.size().saturating_sub(covered)
        );
        if context.live && context.now.millis_since(since) > UNCOVERED_MILLIS_MAX {
            findings.push(Finding::wrong("checkpoints", codes::CHECKPOINT_LATE, what));
        } else if !context.live {
            findings.push(Finding::note("checkpoints", codes::CHECKPOINT_LATE, what));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine("checkpoints", "none is late"));
    }
    findings
}

/// While the server runs, a connector that is silent for longer than its lease executes nothing.
fn connectors(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((chain, site), heard) in &context.survey.connectors {
        let last = heard.beat.max(heard.paired);
        let Some(last) = last.filter(|_| heard.paired.is_some() && context.live) else {
            continue;
        };
        let silent = context.now.millis_since(last);
        if silent > LEASE_MILLIS {
            let what = format!("the connector of `{site}` in `{chain}` was last heard at {last}");
            findings.push(Finding::wrong("connectors", codes::CONNECTOR_SILENT, what));
        }
    }
    if findings.is_empty() {
        let what = format!("{} are paired", context.survey.connectors.len());
        findings.push(Finding::fine("connectors", what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;
    use crate::survey::Heard;

    /// A clock at noon, and a survey of an empty ledger to put things into.
    fn check(survey: &Survey, live: bool, now: u64, check: &str, severity: Severity, code: &str) {
        let context = Context {
            survey,
            live,
            now: Time::from_unix_millis(now),
        };
        let findings = examine(&context);
        assert!(
            findings
                .iter()
                .any(|finding| finding.is(check, severity, code)),
            "{findings:#?}"
        );
    }

    #[test]
    fn a_connector_is_silent_once_its_lease_ended_and_only_while_the_server_runs() {
        let mut survey = Survey::new("00".repeat(32).parse().unwrap());
        let heard = Heard {
            paired: Some(Time::from_unix_millis(1_000)),
            beat: Some(Time::from_unix_millis(5_000)),
        };
        let place = ("bakery".parse().unwrap(), "shop".parse().unwrap());
        survey.connectors.insert(place, heard);
        let late = 5_000 + LEASE_MILLIS + 1;
        check(
            &survey,
            true,
            late,
            "connectors",
            Severity::Wrong,
            "connector-silent",
        );
        for (live, now) in [(true, late - 1), (false, late)] {
            let context = Context {
                survey: &survey,
                live,
                now: Time::from_unix_millis(now),
            };
            assert!(
                examine(&context)
                    .iter()
                    .all(|finding| finding.severity() == Severity::Fine)
            );
        }
    }
}
