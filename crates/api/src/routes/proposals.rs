//! Several proposals in one request: each is a command of its own, with its own key, receipt or refusal.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use countersign_chain::{json, request_digest};
use countersign_ids::{ActionId, RequestDigest, limits};
use countersign_service::{Need, Proposal, Proposed, Request};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::OfTenant;
use super::actions::ActionNew;
use super::receipts::ReceiptBody;
use crate::app::App;
use crate::edge::{self, Caller, Segments, Write};
use crate::limits::Class;
use crate::problem::{Problem, ProblemBody};
use crate::{codes, schema};

/// Changes to propose in one request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionsNew {
    /// Each of them is proposed for itself.
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<ActionsItem>,
}

/// One of several changes to propose.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionsItem {
    /// Its own Idempotency-Key; without one it is made from the key of the request and the place in the list.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    key: Option<String>,
    /// The change.
    #[schema(value_type = ActionNew)]
    proposal: Digested,
}

/// A proposal, and the digest of what it says: the same key with another proposal is refused.
#[derive(Debug)]
struct Digested {
    proposal: ActionNew,
    digest: RequestDigest,
}

impl<'de> Deserialize<'de> for Digested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let bytes = json::canonical(&value).map_err(D::Error::custom)?;
        Ok(Self {
            digest: request_digest(&bytes),
            proposal: serde_json::from_value(value).map_err(D::Error::custom)?,
        })
    }
}

/// What became of several proposals, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionsAnswered {
    /// One answer for each.
    items: Vec<ActionsAnswer>,
}

/// What became of one of several proposals: an action with its receipt, or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionsAnswer {
    /// 201, or the status of the problem.
    status: u16,
    /// The name of the action that was proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ActionId>)]
    action: Option<ActionId>,
    /// Where it stands in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<ReceiptBody>,
    /// Why it was not proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl From<Proposed> for ActionsAnswer {
    fn from(proposed: Proposed) -> Self {
        Self {
            status: StatusCode::CREATED.as_u16(),
            action: Some(proposed.action),
            receipt: Some(proposed.receipt.into()),
            problem: None,
        }
    }
}

impl From<&Problem> for ActionsAnswer {
    fn from(problem: &Problem) -> Self {
        Self {
            status: problem.status().as_u16(),
            action: None,
            receipt: None,
            problem: Some(problem.body()),
        }
    }
}

/// Proposes up to 100 actions; what is refused of one is nothing to the others.
///
/// A list that cannot be read is refused as a whole, before anything is proposed. Sent again with the same keys, each item
/// that was proposed gives its first receipt.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions:batch", tag = "actions", params(("tenant" = schema::TenantId, Path)),
    request_body = ActionsNew, responses((status = 200, description = "One answer for each, in order; those that were proposed are assessed next",
        body = ActionsAnswered)))]
pub(crate) async fn propose_all(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<ActionsNew>,
) -> Result<(HeaderMap, Json<ActionsAnswered>), Problem> {
    let access = caller.tenant(&tenant, Need::Propose)?;
    let proposals = proposals(&write.request, write.body)?;
    app.limits.charge(
        &caller.0,
        Class::Commands,
        proposals.len().saturating_sub(1),
        app.began.elapsed(),
    )?;
    let answers = app.service.propose_all(&access, proposals).await;
    let mut wait: Option<u64> = None;
    let answered = |answer: Result<Proposed, countersign_service::Error>| match answer {
        Ok(proposed) => proposed.into(),
        Err(error) => {
            let problem = Problem::from(error);
            wait = wait.max(problem.wait());
            ActionsAnswer::from(&problem)
        }
    };
    let items = answers.into_iter().map(answered).collect();
    let mut headers = HeaderMap::new();
    if let Some(wait) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    Ok((headers, Json(ActionsAnswered { items })))
}

/// The proposals of a list, each with what makes it the same one when it is sent again.
fn proposals(request: &Request, new: ActionsNew) -> Result<Vec<(Request, Proposal)>, Problem> {
    let refused =
        |detail: String| Problem::new(StatusCode::BAD_REQUEST, codes::LIST_MALFORMED, detail);
    let count = new.items.len();
    if !(1..=limits::PROPOSALS_MAX).contains(&count) {
        let most = limits::PROPOSALS_MAX;
        return Err(refused(format!(
            "a list has 1 to {most} items, not {count}"
        )));
    }
    let (mut keys, mut proposals) = (BTreeSet::new(), Vec::with_capacity(count));
    for (place, item) in new.items.into_iter().enumerate() {
        let key = match (item.key, &request.key) {
            (Some(key), _) => Some(edge::usable_key(key)?),
            (None, Some(whole)) => Some(key_of(whole, place)),
            (None, None) => None,
        };
        if let Some(key) = &key
            && !keys.insert(key.clone())
        {
            return Err(refused(format!("two items have the key `{key}`")));
        }
        let one = Request {
            key,
            digest: Some(item.proposal.digest),
            traceparent: request.traceparent.clone(),
        };
        proposals.push((one, item.proposal.proposal.into()));
    }
    Ok(proposals)
}

/// The key of one item of a request: a digest, because any text that is made of the request's key could be somebody's key.
fn key_of(whole: &str, place: usize) -> String {
    let text = format!("countersign.item.v1\n{whole}\n{place}");
    countersign_chain::sha256(text.as_bytes()).hex()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(items: &Value, key: Option<&str>) -> Result<Vec<Request>, Problem> {
        let new = serde_json::from_value(json!({ "items": items })).unwrap();
        let request = Request {
            key: key.map(str::to_owned),
            ..Request::default()
        };
        let read = proposals(&request, new)?;
        Ok(read.into_iter().map(|(request, _)| request).collect())
    }

    fn item(key: Option<&str>, site: &str) -> Value {
        let parameters = json!({ "release": "sha256:00" });
        let proposal = json!({ "site": site, "kind": "release.publish", "parameters": parameters });
        key.map_or_else(
            || json!({ "proposal": proposal }),
            |key| json!({ "key": key, "proposal": proposal }),
        )
    }

    #[test]
    fn each_item_has_a_key_of_its_own() {
        let items = json!([item(None, "a"), item(Some("mine"), "a"), item(None, "a")]);
        let keys = |whole| -> Vec<_> {
            let read = read(&items, whole).unwrap();
            read.into_iter().map(|request| request.key).collect()
        };
        let [first, second, third] = keys(Some("k")).try_into().unwrap();
        assert_eq!(second.as_deref(), Some("mine"));
        assert!(first.is_some() && third.is_some() && first != third);
        assert_eq!(
            keys(Some("k")).first(),
            Some(&first),
            "the same when it is sent again"
        );
        assert_ne!(keys(Some("l")).first(), Some(&first));
        assert_eq!(keys(None), [None, Some("mine".to_owned()), None]);
        assert_eq!(first.unwrap().len(), 64);
    }

    #[test]
    fn a_list_is_bounded_and_names_no_key_twice() {
        let many = |count| Value::Array(vec![item(None, "a"); count]);
        assert!(read(&many(limits::PROPOSALS_MAX), None).is_ok());
        for (items, code) in [
            (many(0), codes::LIST_MALFORMED),
            (many(limits::PROPOSALS_MAX + 1), codes::LIST_MALFORMED),
            (
                json!([item(Some("k"), "a"), item(Some("k"), "b")]),
                codes::LIST_MALFORMED,
            ),
            (json!([item(Some("a b"), "a")]), codes::KEY_MALFORMED),
        ] {
            assert_eq!(read(&items, None).unwrap_err().body().code(), code.id);
        }
    }

    #[test]
    fn the_digest_of_an_item_is_of_what_it_says() {
        let digest = |items| read(&items, None).unwrap().remove(0).digest;
        let one = digest(json!([item(None, "a")]));
        assert_eq!(digest(json!([item(Some("k"), "a")])), one);
        assert_ne!(digest(json!([item(None, "b")])), one);
    }
}
