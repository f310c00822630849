//! Commands over HTTP: done once, answered with a receipt, and seen by the next read.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Server, answer};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_is_done_once_for_ever() {
    let server = Server::new().await;
    let tenant = server.tenant().await;
    let (path, body) = (
        "/v1/tenants/acme/sites",
        json!({ "site": "blog", "name": "Blog", "environment": "staging" }),
    );
    let first = tenant.owner.keyed("k1", path, &body).await.created();
    assert_eq!(first["receipt"]["replayed"], false);
    let again = tenant.owner.keyed("k1", path, &body).await.created();
    assert_eq!(again["receipt"]["replayed"], true);
    assert_eq!(again["receipt"]["events"], first["receipt"]["events"]);
    let other = json!({ "site": "news", "name": "News", "environment": "staging" });
    tenant
        .owner
        .keyed("k1", path, &other)
        .await
        .is_problem(422, "idempotency-mismatch");
    tenant
        .owner
        .keyed("bad key", path, &other)
        .await
        .is_problem(400, "idempotency-key-malformed");
    let token = tenant.owner.token.clone();
    let server = Server::open(server.kill().await, countersign_api::Bounds::default()).await;
    let owner = server.caller(&token);
    let after = owner.keyed("k1", path, &body).await.created();
    assert_eq!(
        after["receipt"]["events"], first["receipt"]["events"],
        "across a killed server"
    );
    let sequence = first["receipt"]["first"].as_str().unwrap();
    for sequence in [sequence, sequence.trim_start_matches('0')] {
        let receipt = owner
            .get(&format!("/v1/tenants/acme/receipts/acme/{sequence}"))
            .await
            .ok();
        assert_eq!(receipt["events"], first["receipt"]["events"]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_set_up_and_seen() {
    let server = Server::new().await;
    let (tenant, admin) = (server.tenant().await, server.admin());
    let ledger = tenant.owner.get("/v1/ledger").await.ok();
    assert_eq!(ledger["ledger"], server.service.ledger_id().to_string());
    let tenants = admin.get("/v1/tenants").await.ok();
    assert_eq!(tenants["items"][0]["tenant"], "acme");
    let sites = tenant.observer.get("/v1/tenants/acme/sites").await.ok();
    assert_eq!(
        (&sites["items"][0]["site"], &sites["items"][0]["connector"]),
        (&json!("shop"), &Value::Null)
    );
    assert_eq!(
        tenant
            .observer
            .get("/v1/tenants/acme/sites/shop")
            .await
            .ok()["environment"],
        "production"
    );
    let invited = tenant
        .owner
        .keyed("i", "/v1/tenants/acme/sites/shop/pairing", &json!({}))
        .await
        .created();
    assert!(invited["code"].as_str().unwrap().starts_with("cs1."));
    let again = tenant
        .owner
        .keyed("i", "/v1/tenants/acme/sites/shop/pairing", &json!({}))
        .await
        .created();
    assert!(again.get("code").is_none(), "a code is shown once");
    let info = tenant
        .owner
        .post("/v1/connector/pairing", &json!({ "code": invited["code"] }))
        .await
        .ok();
    assert_eq!(
        (&info["tenant"], &info["site"]),
        (&json!("acme"), &json!("shop"))
    );
    let freeze = json!({ "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" });
    let freeze = tenant
        .owner
        .post("/v1/tenants/acme/freezes", &freeze)
        .await
        .created();
    let path = format!(
        "/v1/tenants/acme/freezes/{}",
        freeze["freeze"].as_str().unwrap()
    );
    tenant.owner.delete(&path).await.ok();
    tenant
        .owner
        .delete(&path)
        .await
        .is_problem(404, "freeze-unknown");
    assert_eq!(
        tenant.owner.get("/v1/tenants/acme/queue").await.ok()["items"],
        json!([])
    );
    let metrics = admin.get("/metrics").await.ok();
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("countersign_http_requests_total")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_the_tenants_own() {
    let server = Server::new().await;
    let (tenant, admin) = (server.tenant().await, server.admin());
    let digest = countersign_chain::sha256(b"hello").to_string();
    let path = format!("/v1/tenants/acme/blobs/{digest}");
    assert_eq!(
        tenant.owner.put(&path, b"hello".to_vec()).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        tenant.owner.put(&path, b"hello".to_vec()).await.status,
        StatusCode::NO_CONTENT
    );
    let read = tenant.observer.get(&path).await;
    assert_eq!(
        (read.etag.as_deref(), &*read.kind),
        (Some(&*format!("\"{digest}\"")), "application/octet-stream")
    );
    assert_eq!(read.ok(), "hello");
    admin
        .post(
            "/v1/tenants",
            &json!({ "tenant": "other", "name": "Other" }),
        )
        .await
        .created();
    let body =
        json!({ "tenant": "other", "role": "owner", "actor": { "kind": "person", "id": "eve" } });
    let other = server.caller(
        admin.post("/v1/tokens", &body).await.created()["token"]
            .as_str()
            .unwrap(),
    );
    other
        .get(&format!("/v1/tenants/other/blobs/{digest}"))
        .await
        .is_problem(404, "blob-unknown");
    let wrong = tenant
        .owner
        .request(Method::PUT, &path)
        .header("content-type", "text/html")
        .body("hello");
    answer(wrong).await.is_problem(415, "content-type");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_opens_nothing() {
    let server = Server::new().await;
    let (tenant, admin) = (server.tenant().await, server.admin());
    let body = json!({ "tenant": "acme", "role": "observer", "actor": { "kind": "person", "id": "ivan" } });
    let issued = admin.keyed("t", "/v1/tokens", &body).await.created();
    let caller = server.caller(issued["token"].as_str().unwrap());
    caller.get("/v1/tenants/acme").await.ok();
    assert!(
        admin
            .keyed("t", "/v1/tokens", &body)
            .await
            .created()
            .get("token")
            .is_none(),
        "a secret is shown once"
    );
    admin
        .delete(&format!("/v1/tokens/{}", issued["id"].as_str().unwrap()))
        .await
        .ok();
    caller
        .get("/v1/tenants/acme")
        .await
        .is_problem(401, "unauthenticated");
    tenant.observer.get("/v1/tenants/acme").await.ok();
    server.stop().await;
}
