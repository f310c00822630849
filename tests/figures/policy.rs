//! One decision of policy, from the question to its evidence, beside as many bare calls of Cedar.

use crate::Run;
use crate::report::Figure;
use crate::writing::per_second;
use anyhow::{Context as _, Result};
use cedar_policy::{Authorizer, Context, Entities, EntityUid, Request, Schema};
use countersign_domain::words::{Containment, Environment, Grade, Risk};
use countersign_domain::{ApproverEntity, Exclusion, PolicyInput};
use countersign_events::{EntityName, Evaluation};
use countersign_evidence::Reversibility;
use countersign_ids::{Actor, AuthType};
use countersign_policy::{Assessment, DEFAULTS, PolicySet, SCHEMA};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How often both are measured, in turns.
const ROUNDS: u32 = 20;
/// Decisions of a turn.
const DECISIONS: u32 = 200;

/// Decisions per second.
pub(crate) fn decisions(_: &Run) -> Result<Vec<Figure>> {
    let (set, question) = (PolicySet::defaults()?, question()?);
    let answer = set.assess(&question)?;
    let bare = Bare::new(&answer)?;
    let (mut ours, mut limit) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..DECISIONS {
            black_box(set.assess(black_box(&question))?);
        }
        ours += began.elapsed();
        let began = Instant::now();
        for _ in 0..DECISIONS {
            bare.ask();
        }
        limit += began.elapsed();
    }
    let decisions = u64::from(ROUNDS * DECISIONS);
    Ok(vec![
        Figure::plain("one policy decision", "decisions/s", per_second(decisions, ours))
            .beside("as many bare calls of is_authorized", per_second(decisions, limit))
            .at_least(0.7)
            .how(format!(
                "a medium publish by an agent, three people enrolled, the default policies: {} evaluations each; {ROUNDS} turns of {DECISIONS}",
                bare.requests.len()
            )),
    ])
}

/// What is asked most: an agent's publish in production, which one of two people must approve.
pub(crate) fn question() -> Result<PolicyInput> {
    let person = |name: &str, excluded| {
        let id = name.parse()?;
        Ok::<_, anyhow::Error>(ApproverEntity { id, excluded })
    };
    Ok(PolicyInput {
        tenant: "acme".parse()?,
        site: "shop".parse()?,
        environment: Environment::Production,
        action: "a1".parse()?,
        kind: "release.publish".to_owned(),
        risk: Risk::Medium,
        reversibility: Reversibility::Reversible,
        blast_radius: 12,
        readiness: Grade::Exact,
        freeze_active: false,
        containment: Containment::Normal,
        floor: 0,
        proposer: Actor {
            kind: AuthType::Agent,
            id: "bot".parse()?,
        },
        proposer_owner: Some("olga".parse()?),
        round: 1,
        tally: BTreeSet::new(),
        approvers: vec![
            person("alice", None)?,
            person("bob", None)?,
            person("olga", Some(Exclusion::Owner))?,
        ],
    })
}

/// The same requests, policies and entities, all made before the clock runs.
pub(crate) struct Bare {
    authorizer: Authorizer,
    policies: cedar_policy::PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

impl Bare {
    pub(crate) fn new(answer: &Assessment) -> Result<Self> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA)?;
        let text: String = DEFAULTS.iter().map(|(_, text)| *text).collect();
        let entities = serde_json::from_slice(&answer.entities)?;
        let request = |evaluation| request(&schema, evaluation);
        Ok(Self {
            authorizer: Authorizer::new(),
            policies: text.parse()?,
            entities: Entities::from_json_value(entities, Some(&schema))?,
            requests: answer
                .outcome
                .evaluations
                .iter()
                .map(request)
                .collect::<Result<_>>()?,
        })
    }

    pub(crate) fn ask(&self) {
        for request in &self.requests {
            let answer =
                self.authorizer
                    .is_authorized(black_box(request), &self.policies, &self.entities);
            black_box(answer);
        }
    }
}

fn request(schema: &Schema, evaluation: &Evaluation) -> Result<Request> {
    let action = name(&evaluation.action)?;
    let context = serde_json::to_value(&evaluation.context)?;
    let context = Context::from_json_value(context, Some((schema, &action)))?;
    let (principal, resource) = (name(&evaluation.principal)?, name(&evaluation.resource)?);
    Request::new(principal, action, resource, context, Some(schema))
        .context("a recorded request does not fit the schema")
}

fn name(name: &EntityName) -> Result<EntityUid> {
    Ok(format!("{}::\"{}\"", name.kind, name.id).parse()?)
}
