//! Who may do what: tokens of one tenant see nothing of another, revoked ones nothing at all; receipts and heads.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_events::words::TokenRole;
use countersign_ids::{Actor, AuthType, Sequence, TenantId};
use countersign_service::{Need, NewTenant, NewToken, Request};
use countersign_store::Level;
use support::{Plane, keyed};

fn token(tenant: &str, role: TokenRole) -> NewToken {
    NewToken {
        id: None,
        tenant: Some(tenant.parse().unwrap()),
        role,
        actor: Actor {
            kind: AuthType::Person,
            id: "carol".parse().unwrap(),
        },
        owner: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_its_own_tenant_until_it_is_revoked() {
    let plane = Plane::new().await;
    let other: TenantId = "other".parse().unwrap();
    let new = NewTenant {
        tenant: other.clone(),
        name: "Other".to_owned(),
    };
    let service = &plane.service;
    service
        .create_tenant(&plane.admin, &Request::default(), new)
        .await
        .unwrap();
    let request = keyed("token-of-carol");
    let issued = service
        .issue_token(&plane.admin, &request, token("other", TokenRole::Owner))
        .await
        .unwrap();
    let text = issued.token.unwrap().reveal();
    let again = service
        .issue_token(&plane.admin, &request, token("other", TokenRole::Owner))
        .await
        .unwrap();
    assert_eq!((&again.id, again.token.is_none()), (&issued.id, true));

    let access = service.authenticate(&text).unwrap();
    assert!(access.tenant(&other, Need::Operate).is_ok());
    let foreign = access.tenant(&plane.tenant, Need::Read).unwrap_err();
    assert_eq!(foreign.code().id, "tenant-not-found");
    assert!(access.platform().is_err());

    service
        .revoke_token(&plane.admin, &Request::default(), issued.id)
        .await
        .unwrap();
    assert_eq!(
        service.authenticate(&text).unwrap_err().code().id,
        "unauthenticated"
    );
    for forged in ["", "csk_x_y", &format!("csk_t1_{}", "0".repeat(64))] {
        assert_eq!(
            service.authenticate(forged).unwrap_err().code().id,
            "unauthenticated"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ended_one_token_ends_no_other() {
    let plane = Plane::new().await;
    let service = &plane.service;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let new = token(plane.tenant.as_str(), TokenRole::Owner);
        let issued = service
            .issue_token(&plane.admin, &Request::default(), new)
            .await
            .unwrap();
        ids.push(issued.id);
    }
    let request = keyed("end-it");
    let end =
        |id: &countersign_ids::TokenId| service.revoke_token(&plane.admin, &request, id.clone());
    assert!(!end(&ids[0]).await.unwrap().replayed);
    assert!(end(&ids[0]).await.unwrap().replayed);
    let other = end(&ids[1]).await.unwrap_err();
    assert!(matches!(
        other,
        countersign_service::Error::Store(countersign_store::Error::Mismatch { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_events_is_bounded_by_bytes_too() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let page = |from, events, bytes| {
        plane
            .service
            .events_within(&plane.owner, Sequence::new(from), events, bytes)
            .unwrap()
            .events
    };
    let all = page(0, 1000, usize::MAX);
    assert!(all.len() > 4);
    let first = all[0].record().header.len() + all[0].body().unwrap().len();
    for (bytes, events, expected) in [
        (1, 1000, 1),
        (first, 1000, 1),
        (first + 1, 1000, 2),
        (usize::MAX, 3, 3),
    ] {
        let found = page(0, events, bytes);
        assert_eq!(found.len(), expected, "{bytes} bytes, {events} events");
    }
    let mut whole = Vec::new();
    while whole.len() < all.len() {
        whole.extend(page(whole.len() as u64, 1000, first + 1));
    }
    let hashes = |entries: &[countersign_store::Entry]| -> Vec<_> {
        entries.iter().map(countersign_store::Entry::hash).collect()
    };
    assert_eq!(hashes(&whole), hashes(&all));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_rise_when_heads_are_recorded() {
    let plane = Plane::new().await;
    let chain = plane.tenant.chain();
    let first = plane
        .service
        .receipt(&plane.owner, &chain, Sequence::ZERO)
        .unwrap();
    assert_eq!(first.level, Level::Local);
    let plane = plane.restart().await;
    let later = plane
        .service
        .receipt(&plane.owner, &chain, Sequence::ZERO)
        .unwrap();
    assert_eq!(
        (later.level, &later.events),
        (Level::Recorded, &first.events)
    );
    let foreign = plane.service.receipt(
        &plane.owner,
        &countersign_ids::ChainId::platform(),
        Sequence::ZERO,
    );
    assert_eq!(foreign.unwrap_err().code().id, "event-missing");
    assert!(plane.service.readiness().ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_policy_file_is_reported_and_changes_nothing() {
    let plane = Plane::new().await;
    let broken = plane.data().join("policies/mine.cedar");
    std::fs::write(&broken, "permit (").unwrap();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    let reported = async {
        while plane.service.readiness().problems.is_empty() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(support::BOUND, reported)
        .await
        .unwrap();
    let readiness = plane.service.readiness();
    assert!(readiness.ready, "the policies before stay in force");
    assert!(
        readiness
            .problems
            .iter()
            .any(|(code, line)| code.id == "policy-invalid" && line.contains("mine.cedar"))
    );
}
