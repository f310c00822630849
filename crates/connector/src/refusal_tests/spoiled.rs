//! One spoiled order per check: it is refused by its own code, says so, keeps its nonce and nothing else, and touches
//! nothing. `evidence` has the longer table, of the checks alone.

use countersign_chain::{Header, body_hash};
use countersign_evidence::checks::Opened;

use super::{
    tables::{
        Spoil::{self, Delivery as InDelivery, Order as InOrder},
        messages, proofs_and_site, statements,
    },
    *,
};

/// What the order's signature does not cover: anybody in between could have spoiled it, so it is neither answered nor
/// remembered.
const LEFT_ALONE: [&str; 6] = [
    "order-signature",
    "key-statement-refused",
    "order-checkpoint",
    "order-checkpoint-behind",
    "order-inclusion",
    "order-consistency",
];

async fn check(code: &'static str, spoil: &Spoil) {
    let scene = Scene::new().await;
    let (delivery, order) = {
        let mut inner = scene.plane.lock();
        let mut order = scene.order(&inner, 5);
        if let InOrder(spoil) = spoil {
            spoil(&scene, &mut inner, &mut order);
        }
        let mut delivery = scene.deliver(&mut inner, &order);
        if let InDelivery(spoil) = spoil {
            spoil(&scene, &mut inner, &mut delivery);
        }
        (delivery, order)
    };
    let before = scene.agent.state();
    let sent = scene.take(&delivery).await.unwrap();
    let after = scene.agent.state();
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.one)
    );
    if LEFT_ALONE.contains(&code) {
        assert_eq!((sent, after), (Sent::Later, before), "{code}");
        let judged = scene.agent.judge(&delivery).await.unwrap().unwrap_err();
        assert_eq!(judged.refusal.code().id, code);
        return;
    }
    let digest = Opened::open(&delivery).unwrap().envelope.payload_digest();
    assert_eq!(
        said(&after),
        [(digest, OutcomeResult::Refused, code.to_owned())]
    );
    // Of everything that is remembered only the order and its nonce are new.
    let mut expected = before.clone();
    expected.orders.clone_from(&after.orders);
    expected.outbox.clone_from(&after.outbox);
    expected.nonces.insert(order.nonce, order.expires);
    assert_eq!(after, expected, "{code}");

    // Handed out again it is neither executed nor refused twice.
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Later);
    assert_eq!(said(&scene.agent.state()).len(), 1, "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spoiled_order_is_refused_by_its_own_code() {
    let table: Vec<_> = messages()
        .into_iter()
        .chain(statements())
        .chain(proofs_and_site())
        .collect();
    for (code, spoil) in &table {
        check(code, spoil).await;
    }
    // Two refusals name no order: the delivery cannot be believed to hold one.
    let not_said = ["order-malformed", "order-body"];
    for code in CODES
        .iter()
        .filter(|code| code.id.starts_with("order-") && !not_said.contains(&code.id))
    {
        assert!(
            table.iter().any(|(of, _)| *of == code.id),
            "no order is spoiled for `{code}`"
        );
    }
}

/// A delivery whose event says that its order belongs to another action; hashes and all fit together.
fn of_another_action(delivery: &mut Delivery) {
    let body = delivery.event.body.replacen("publish-5", "publish-6", 1);
    let mut header = Header::parse(delivery.event.header.as_bytes()).unwrap();
    header.bodyhash = body_hash(&delivery.event.salt, body.as_bytes());
    delivery.event.header = String::from_utf8(header.to_bytes()).unwrap();
    delivery.event.body = body;
}

type Spoiling<'a> = &'a dyn Fn(&mut Delivery);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spoiled_on_the_way_costs_the_order_nothing() {
    let scene = Scene::new().await;
    let (good, old) = {
        let mut inner = scene.plane.lock();
        inner.ledger.rotate_orders(key(9), EndReason::Rotated);
        let order = scene.order(&inner, 5);
        let delivery = scene.deliver(&mut inner, &order);
        let size = usize::try_from(scene.agent.state().checkpoint.size).unwrap();
        (delivery, inner.note(size - 1))
    };
    let before = scene.agent.state();
    let old = move |delivery: &mut Delivery| delivery.checkpoint.clone_from(&old);
    let spoils: [(&str, Spoiling<'_>); 11] = [
        ("order-body", &|delivery| {
            delivery.event.body = delivery.event.body.replace("4.14.1", "4.14.2");
        }),
        ("order-body", &|delivery| delivery.event.body.clear()),
        ("order-malformed", &|delivery| {
            delivery.event.header = delivery.event.header.replace("authorized", "proposed");
        }),
        ("order-malformed", &|delivery| {
            delivery.event.header.push(' ')
        }),
        ("order-action", &of_another_action),
        ("order-signature", &|delivery| delivery.keys.clear()),
        ("order-checkpoint", &|delivery| {
            delivery.checkpoint = delivery.checkpoint.replacen("/acme", "/acne", 1);
        }),
        ("order-checkpoint-behind", &old),
        ("order-inclusion", &|delivery| {
            delivery.inclusion.pop();
        }),
        ("order-malformed", &|delivery| {
            delivery.consistency = vec![ProofHash::from_bytes([9; 32]); 1000];
        }),
        ("order-consistency", &|delivery| {
            delivery.consistency[0] = ProofHash::from_bytes([9; 32]);
        }),
    ];
    for (code, spoil) in spoils {
        let mut delivery = good.clone();
        spoil(&mut delivery);
        let judged = scene.agent.judge(&delivery).await.unwrap().unwrap_err();
        assert_eq!(judged.refusal.code().id, code, "{judged}");
        assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Later, "{code}");
        assert_eq!(scene.agent.state(), before, "{code}");
    }
    // As it was sent, it is executed.
    assert_eq!(scene.take(&good).await.unwrap(), Sent::Done);
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.two)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_twice_with_two_roots_is_a_fork_and_a_spoiled_proof_is_none() {
    let scene = Scene::new().await;
    let (inner, state) = (scene.plane.lock(), scene.agent.state());
    let origin = format!("{ORIGIN}/{}", inner.ledger.tenant.chain());
    let size = usize::try_from(state.checkpoint.size).unwrap();
    let other = note(&origin, size, &[7; 32], &inner.ledger.checkpoints);
    let same = inner.note(size);
    drop(inner);
    let (chain, ring) = (
        state.pairing.as_ref().unwrap().tenant.chain(),
        crate::agent::ring(&state).unwrap(),
    );
    let contradicts =
        |note: &str| crate::checkpoint::contradicts(&ring, &chain, note, &state.checkpoint);
    assert!(contradicts(&other) && !contradicts(&same));
}
