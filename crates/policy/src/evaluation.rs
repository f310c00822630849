//! Recorded evaluations, made again: from the event and its two blobs to the same answer, years later.

use std::collections::BTreeMap;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, Request, Response};
use countersign_events::{EntityName, Evaluation, Ruling, Tally, words::Verdict};
use serde_json::Value;

use crate::{Error, PolicySet, term};

/// The answer, with the names sorted. An error in any policy denies: a forbid that fails would otherwise be skipped.
pub(crate) fn answer(response: &Response) -> (Ruling, Vec<String>, Vec<String>) {
    let diagnostics = response.diagnostics();
    let mut policies: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
    policies.sort_unstable();
    let mut errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
    errors.sort_unstable();
    let permitted = response.decision() == Decision::Allow && errors.is_empty();
    (
        if permitted {
            Ruling::Permit
        } else {
            Ruling::Deny
        },
        policies,
        errors,
    )
}

/// Evaluates a recorded request again, against recorded or candidate policies and the recorded entities, and returns the
/// evaluation as it comes out now: equal to the record if both agree.
///
/// The caller has compared both blobs with the digests in the event.
///
/// # Errors
/// A blob or the request cannot be read, or does not fit the schema in the policy set.
pub fn reevaluate(
    policy_set: &[u8],
    entities: &[u8],
    evaluation: &Evaluation,
) -> Result<Evaluation, Error> {
    PolicySet::from_blob(policy_set)?.reevaluate(entities, evaluation)
}

impl PolicySet {
    /// As the function of that name, with a policy set that was read once.
    ///
    /// # Errors
    /// The snapshot or the request cannot be read, or does not fit the schema in the policy set.
    pub fn reevaluate(
        &self,
        entities: &[u8],
        evaluation: &Evaluation,
    ) -> Result<Evaluation, Error> {
        let schema = self.fitting.schema();
        let unreadable = |detail: String| Error::Request { detail };
        let entities: Value =
            serde_json::from_slice(entities).map_err(|error| unreadable(error.to_string()))?;
        let entities = Entities::from_json_value(entities, Some(schema))
            .map_err(|error| unreadable(error.to_string()))?;
        let action = name(&evaluation.action)?;
        let context = Value::Object(evaluation.context.0.clone().into_iter().collect());
        let context = Context::from_json_value(context, Some((schema, &action)))
            .map_err(|error| unreadable(error.to_string()))?;
        let (principal, resource) = (name(&evaluation.principal)?, name(&evaluation.resource)?);
        let request = Request::new(principal, action, resource, context, Some(schema))
            .map_err(|error| unreadable(error.to_string()))?;
        let (ruling, policies, errors) =
            answer(&Authorizer::new().is_authorized(&request, &self.policies, &entities));
        Ok(Evaluation {
            ruling,
            policies,
            errors,
            ..evaluation.clone()
        })
    }
}

fn name(name: &EntityName) -> Result<EntityUid, Error> {
    term::uid(&name.kind, &name.id)
}

/// The people whose approvals a recorded request counts; none if its context is not of our form.
#[must_use]
pub fn people(evaluation: &Evaluation) -> Vec<&str> {
    let people = evaluation
        .context
        .0
        .get("tally")
        .and_then(|tally| tally.get("people"))
        .and_then(Value::as_array);
    people
        .into_iter()
        .flatten()
        .filter_map(|person| person.get("__entity")?.get("id")?.as_str())
        .collect()
}

/// The verdict that recorded evaluations amount to; none if they are not those of an assessment.
#[must_use]
pub fn verdict_of(evaluations: &[Evaluation]) -> Option<Verdict> {
    let rulings: BTreeMap<Tally, Ruling> = evaluations
        .iter()
        .map(|evaluation| (evaluation.tally, evaluation.ruling))
        .collect();
    Some(
        match (rulings.get(&Tally::Empty)?, rulings.get(&Tally::Saturated)?) {
            (Ruling::Permit, _) => Verdict::Allow,
            (Ruling::Deny, Ruling::Deny) => Verdict::Deny,
            (Ruling::Deny, Ruling::Permit) => Verdict::NeedsApproval,
        },
    )
}
