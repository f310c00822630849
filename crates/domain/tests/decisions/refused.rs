//! What is refused in the life of an action, of sites and connectors, as a table: given these lines, this one is refused so.

use std::collections::BTreeSet;

use countersign_domain::Rejection;

use crate::life::{Lines, MINTED, PROPOSED, SITE, WAITING, given};

/// Cases that are refused: more lines, the last one, the name of the refusal.
const REFUSED: &[(Lines, &str, &str)] = &[
    (&[], "site www", "TenantUnknown"),
    (&[&["open"]], "open", "TenantExists"),
    (&[SITE], "site www", "SiteExists"),
    (&[SITE], "invite wwww code2", "SiteUnknown"),
    (&[SITE], "invite www code2 601", "InvitationWindow"),
    (&[SITE], "invite www code1", "InvitationRepeated"),
    (&[SITE], "pair www code2 connector2", "PairingCodeUnknown"),
    (&[SITE], "pair www code1 connector2", "PairingCodeUsed"),
    (
        &[SITE, &["invite www code2", "later 601"]],
        "pair www code2 connector2",
        "PairingCodeExpired",
    ),
    (
        &[SITE, &["invite www code2"]],
        "pair www code2 connector",
        "PairingKeyReused",
    ),
    (
        &[&["open", "site www"]],
        "observe www 1",
        "ConnectorUnpaired",
    ),
    (&[SITE], "observe www 1 counter 7", "CounterGap"),
    (&[SITE], "observe www 1 counter 1", "CounterGap"),
    (&[SITE], "release www 1", "ReleaseExists"),
    (
        &[&[
            "open",
            "site www",
            "invite www code1",
            "pair www code1 connector",
        ]],
        "propose a1 www release.publish 2",
        "SiteUnobserved",
    ),
    (
        &[SITE, PROPOSED],
        "propose a1 www release.publish 2",
        "ActionExists",
    ),
    (
        &[SITE],
        "propose a1 www release.publish 3",
        "ReleaseUnknown",
    ),
    (
        &[SITE],
        "propose a1 www release.publish 1",
        "NothingToChange",
    ),
    (&[SITE], "propose a1 www release.forget 1", "KindUnknown"),
    (
        &[SITE, &["release www 3"]],
        "propose a1 www release.rollback 3",
        "ReleaseNotAtSite",
    ),
    (
        &[SITE],
        "propose a1 www release.publish 2 59",
        "ExpiryOutOfBounds",
    ),
    (
        &[SITE],
        "propose a1 www release.publish 2 99999999",
        "ExpiryOutOfBounds",
    ),
    (&[SITE], "assess a1 one", "ActionUnknown"),
    (&[SITE, PROPOSED], "assess a1 stale", "AssessmentStale"),
    (&[SITE, PROPOSED], "assess a1 other-round", "RoundMismatch"),
    (
        &[SITE, PROPOSED, &["later 3601"]],
        "assess a1 one",
        "ActionExpired",
    ),
    (&[SITE, PROPOSED], "approve a1 alice", "WrongState"),
    (&[SITE, WAITING], "approve a1 carol", "ApproverUnknown"),
    (
        &[SITE, WAITING, &["remove alice"]],
        "approve a1 alice",
        "ApproverRemoved",
    ),
    (
        &[SITE, WAITING, &["enrol carol"]],
        "approve a1 carol",
        "ApproverNotAtSite",
    ),
    (
        &[
            SITE,
            &["propose a1 www release.publish 2 by alice", "assess a1 one"],
        ],
        "approve a1 alice",
        "ApproverIsProposer",
    ),
    (
        &[
            &[
                "open",
                "enrol owen",
                "site www",
                "invite www code1",
                "pair www code1 connector",
                "observe www 1",
                "release www 1",
                "release www 2",
            ],
            WAITING,
        ],
        "approve a1 owen",
        "ApproverIsOwner",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "approve a1 alice",
        "VoteStands",
    ),
    (&[SITE, WAITING], "unvote a1 alice", "VoteMissing"),
    (
        &[SITE, WAITING, &["approve a1 alice", "unvote a1 alice"]],
        "approve-again a1",
        "NonceReused",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-digest",
        "StatementMisdirected",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-view",
        "StatementMisdirected",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-policy",
        "StatementMisdirected",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-site",
        "StatementMisdirected",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-chain",
        "StatementMisdirected",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-round",
        "RoundMismatch",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but break-glass",
        "ScopeUnsupported",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but too-early",
        "StatementNotNow",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-reason",
        "ReasonMismatch",
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice but another-key",
        "StatementRefused",
    ),
    (&[SITE, PROPOSED], "withdraw a1 by olga", "NotProposer"),
    (&[SITE, MINTED], "withdraw a1 by bot", "WrongState"),
    (&[SITE, MINTED], "revoke a1", "WrongState"),
    (&[SITE, WAITING], "mint a1", "ApprovalsMissing"),
    (
        &[SITE, PROPOSED, &["assess a1 two", "approve a1 alice"]],
        "mint a1",
        "ApprovalsMissing",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "remove alice"]],
        "mint a1",
        "ApprovalsMissing",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "later 1801"]],
        "mint a1",
        "ApprovalsMissing",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "mint a1 denied",
        "PolicyDenies",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "mint a1 stale",
        "AssessmentStale",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "mint a1 altered",
        "OrderMismatch",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "policy changes"]],
        "mint a1",
        "PolicyChanged",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "observe www 2"]],
        "mint a1",
        "PreconditionChanged",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "observe www 1 stale"]],
        "mint a1",
        "ReadinessChanged",
    ),
    (
        &[
            SITE,
            WAITING,
            &["approve a1 alice", "observe www 1 stale", "assess a1 one"],
        ],
        "mint a1",
        "ReadinessChanged",
    ),
    (
        &[
            SITE,
            MINTED,
            &[
                "release www 3",
                "propose a2 www release.publish 3",
                "assess a2 one",
                "approve a2 alice",
            ],
        ],
        "mint a2",
        "SiteLocked",
    ),
    (&[SITE, MINTED], "deliver a1 other", "OrderUnknown"),
    (
        &[SITE, MINTED, &["later 121"]],
        "deliver a1",
        "OrderExpired",
    ),
    (&[SITE, WAITING], "deliver a1", "WrongState"),
    (
        &[SITE, MINTED, &["deliver a1", "outcome a1 refused"]],
        "outcome a1 accepted",
        "WrongState",
    ),
    (
        &[SITE, MINTED, &["deliver a1"]],
        "outcome a1 succeeded",
        "WrongState",
    ),
    (
        &[SITE, WAITING],
        "outcome a1 accepted",
        "MessageMisdirected",
    ),
    (&[SITE, MINTED], "expire a1", "NotDue"),
    (&[SITE, MINTED, &["deliver a1"]], "unresolved a1", "NotDue"),
    (&[SITE, MINTED, &["deliver a1"]], "expire a1", "WrongState"),
    (
        &[SITE, &["freeze f1 0 60"]],
        "freeze f1 0 60",
        "FreezeExists",
    ),
    (&[SITE], "freeze f1 60 60", "FreezeWindow"),
    (&[SITE], "lift f1", "FreezeUnknown"),
];

#[test]
fn what_is_refused_is_refused_by_name_and_changes_nothing() {
    for (lines, when, name) in REFUSED {
        let mut world = given(lines);
        let before = world.tenant.clone();
        let rejection = world.say(when).expect_err(when);
        assert_eq!(
            rejection.name(),
            *name,
            "`{when}` after {lines:?}: {rejection}"
        );
        assert_eq!(world.tenant, before);
    }
}

#[test]
fn every_refusal_has_a_case() {
    let cases: BTreeSet<&str> = REFUSED
        .iter()
        .map(|(_, _, name)| *name)
        .chain(crate::guards::names())
        .chain(crate::keeping::names())
        .chain(crate::platform::names())
        .collect();
    let all: BTreeSet<&str> = Rejection::NAMES.iter().copied().collect();
    assert_eq!(
        cases, all,
        "a refusal without a case, or a case without a refusal"
    );
}
