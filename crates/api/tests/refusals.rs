//! Bad input over HTTP: each gives its own answer, with a code and a page, and changes nothing.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Server, answer};

const TENANTS: &str = "/v1/tenants";
const SITES: &str = "/v1/tenants/acme/sites";
const ACTIONS: &str = "/v1/tenants/acme/actions";

#[tokio::test(flavor = "multi_thread")]
async fn every_route_but_health_asks_who_calls() {
    let server = Server::new().await;
    let api: Value = serde_json::from_str(&countersign_api::openapi_json().unwrap()).unwrap();
    let http = reqwest::Client::new();
    let mut asked = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        let concrete = path
            .replace("{digest}", &format!("sha256:{}", "0".repeat(64)))
            .replace("{sequence}", "0")
            .replace("{chain}", "acme")
            .replace(['{', '}'], "");
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for token in [None, Some("csk_x_00"), Some("")] {
                let mut request = http
                    .request(method.clone(), format!("{}{concrete}", server.url))
                    .body("{}");
                if let Some(token) = token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                let answer = answer(request.header("content-type", "application/json")).await;
                match path.as_str() {
                    "/livez" | "/readyz" => assert!(answer.status.is_success(), "{path}"),
                    path if path.starts_with("/v1/connector/") => {
                        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
                        assert_eq!(operation["security"], json!([{}]));
                    }
                    _ => {
                        answer.is_problem(401, "unauthenticated");
                        asked += 1;
                    }
                }
            }
        }
    }
    assert!(asked > 60, "{asked} requests were refused");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn bodies_are_strict() {
    let server = Server::new().await;
    let tenant = server.tenant().await;
    let size = || async { tenant.owner.get("/v1/tenants/acme").await.ok()["size"].clone() };
    let before = size().await;
    let big = format!("{{\"site\":\"{}\"}}", "x".repeat(600 * 1024));
    for (kind, body, status, code) in [
        (Some("text/plain"), "{}", 415, "content-type"),
        (
            Some("application/json; charset=latin1"),
            "{}",
            415,
            "content-type",
        ),
        (None, "{}", 415, "content-type"),
        (Some("application/json"), "", 400, "body-malformed"),
        (Some("application/json"), "{", 400, "body-malformed"),
        (Some("application/json"), "[]", 400, "body-malformed"),
        (Some("application/json"), "null", 400, "body-malformed"),
        (Some("application/json"), "{}", 400, "body-malformed"),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"name\":\"A\",\"environment\":\"production\",\"more\":1}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"site\":\"b\",\"name\":\"A\",\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"\\u0073ite\":\"b\",\"name\":\"A\",\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"A B\",\"name\":\"A\",\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":7,\"name\":\"A\",\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"name\":\"A\",\"environment\":\"space\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"name\":\"\\ud800\",\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "{\"site\":\"a\",\"name\":1e3,\"environment\":\"production\"}",
            400,
            "body-malformed",
        ),
        (
            Some("application/json"),
            "\u{feff}{}",
            400,
            "body-malformed",
        ),
        (Some("application/json"), &big, 413, "body-too-large"),
    ] {
        let mut request = tenant
            .owner
            .request(Method::POST, SITES)
            .body(body.to_owned());
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        answer(request).await.is_problem(status, code);
    }
    let deep = format!("{{\"site\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let request = tenant
        .owner
        .request(Method::POST, SITES)
        .header("content-type", "application/json")
        .body(deep);
    answer(request).await.is_problem(400, "body-malformed");
    assert_eq!(size().await, before, "nothing was written");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn what_is_not_there_or_not_theirs_is_refused_by_name() {
    let server = Server::new().await;
    let (tenant, admin) = (server.tenant().await, server.admin());
    admin
        .post(TENANTS, &json!({ "tenant": "other", "name": "Other" }))
        .await
        .created();
    let digest = format!("sha256:{}", "0".repeat(64));
    for (caller, path, status, code) in [
        (&tenant.owner, "/v1/tenants/other", 404, "tenant-not-found"),
        (&tenant.owner, "/v1/tenants/nobody", 404, "tenant-not-found"),
        (
            &tenant.owner,
            "/v1/tenants/other/events",
            404,
            "tenant-not-found",
        ),
        (
            &tenant.owner,
            "/v1/tenants/other/events/stream",
            404,
            "tenant-not-found",
        ),
        (&admin, "/v1/tenants/acme/events", 404, "tenant-not-found"),
        (&tenant.owner, TENANTS, 403, "role-too-small"),
        (&tenant.owner, "/metrics", 403, "role-too-small"),
        (
            &tenant.owner,
            "/v1/tenants/acme/sites/none",
            404,
            "site-unknown",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/actions/none",
            404,
            "action-unknown",
        ),
        (
            &tenant.owner,
            &format!("/v1/tenants/acme/blobs/{digest}"),
            404,
            "blob-unknown",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/blobs/sha256:00",
            400,
            "path-malformed",
        ),
        (&tenant.owner, "/v1/tenants/ACME", 400, "path-malformed"),
        (
            &tenant.owner,
            "/v1/tenants/acme/sites/a%2Fb",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/events?after=x",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/events?limit=0",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/events?limit=1001",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/events?since=1",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/receipts/acme/x",
            400,
            "path-malformed",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/receipts/acme/99999",
            404,
            "event-missing",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/receipts/platform/0",
            404,
            "event-missing",
        ),
        (
            &tenant.owner,
            "/v1/tenants/acme/receipts/other/0",
            404,
            "event-missing",
        ),
        (&tenant.owner, "/errors/no-such-code", 404, "page-not-found"),
        (&tenant.owner, "/v1/nothing", 404, "route-not-found"),
        (&tenant.owner, "/", 404, "route-not-found"),
    ] {
        caller.get(path).await.is_problem(status, code);
    }
    for (caller, path, body, status, code) in [
        (
            &tenant.observer,
            SITES,
            json!({ "site": "a", "name": "A", "environment": "production" }),
            403,
            "role-too-small",
        ),
        (
            &tenant.proposer,
            SITES,
            json!({ "site": "a", "name": "A", "environment": "production" }),
            403,
            "role-too-small",
        ),
        (
            &tenant.owner,
            TENANTS,
            json!({ "tenant": "mine", "name": "Mine" }),
            403,
            "role-too-small",
        ),
        (
            &tenant.owner,
            SITES,
            json!({ "site": "shop", "name": "A", "environment": "production" }),
            409,
            "site-exists",
        ),
        (
            &admin,
            TENANTS,
            json!({ "tenant": "acme", "name": "Acme" }),
            409,
            "tenant-exists",
        ),
        (
            &tenant.proposer,
            ACTIONS,
            json!({ "site": "none", "kind": "release.publish", "parameters": {} }),
            404,
            "site-unknown",
        ),
    ] {
        caller.post(path, &body).await.is_problem(status, code);
    }
    answer(tenant.owner.request(Method::PATCH, SITES))
        .await
        .is_problem(405, "method-not-allowed");
    tenant
        .owner
        .put(
            &format!("/v1/tenants/acme/blobs/{digest}"),
            b"other bytes".to_vec(),
        )
        .await
        .is_problem(422, "blob-mismatch");
    // Who may not store a blob is told so before anything of the body is looked at.
    let path = format!("/v1/tenants/acme/blobs/{digest}");
    let unread = tenant
        .observer
        .request(Method::PUT, &path)
        .body("no octets");
    answer(unread).await.is_problem(403, "role-too-small");
    let page = tenant.owner.get("/errors/site-unknown").await;
    assert!(page.ok().as_str().unwrap().contains("## What to do"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connectors_are_known_by_code_or_signature() {
    let server = Server::new().await;
    let tenant = server.tenant().await;
    let envelope = json!({ "payload": "e30=", "payloadType": "application/vnd.countersign.message.v1+json", "signatures": [] });
    for (path, body) in [
        ("pairing", json!({ "code": "x" })),
        ("pair", json!({ "code": "x", "envelope": envelope })),
        ("beats", json!({ "envelope": envelope })),
        ("poll", json!({ "envelope": envelope })),
        ("messages", json!({ "envelope": envelope })),
        ("messages", json!({ "envelope": envelope, "more": 1 })),
    ] {
        let answer = tenant
            .owner
            .post(&format!("/v1/connector/{path}"), &body)
            .await;
        let code = answer.body["code"].as_str().unwrap().to_owned();
        answer.is_problem(answer.status.as_u16(), &code);
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
    }
    let blob = tenant
        .owner
        .get(&format!("/v1/connector/blobs/sha256:{}", "0".repeat(64)))
        .await;
    blob.is_problem(401, "unknown-key");
    server.stop().await;
}
