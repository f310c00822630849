//! The shell and the connector program together, over HTTP: a page changes, a broken release returns, one goes back.
//!
//! The routes here are the thinnest that do; `api` has the real ones.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a story told in order, and helpers of tests; a failure is the test's"
)]

mod support;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path as Directory;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_connector::site::Manifest;
use countersign_connector::{Config, pair, run, status};
use countersign_domain::State as ActionState;
use countersign_evidence::statement::Decision;
use countersign_ids::Digest;
use countersign_service::{Ballot, Error, Proposal, Request, Service};
use countersign_transport::{
    CONNECTOR_HEADER, PROOF_HEADER, PairRequest, PairingRequest, Signed, decode_proof,
};
use serde::Serialize;
use support::Plane;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

fn answer<T: Serialize>(result: Result<T, Error>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let problem = serde_json::json!({
                "code": error.code().id, "title": error.code().title, "detail": error.to_string(),
                "server_time": error.server_time(),
            });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response()
        }
    }
}

async fn blob(
    State(service): State<Service>,
    Path(digest): Path<Digest>,
    headers: HeaderMap,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let connector = text(CONNECTOR_HEADER).unwrap().parse().unwrap();
    let proof = decode_proof(text(PROOF_HEADER).unwrap()).unwrap();
    match service.connector_blob(&connector, &proof, digest).await {
        Ok(bytes) => bytes.into_response(),
        Err(error) => answer::<()>(Err(error)),
    }
}

async fn serve(service: Service) -> String {
    let router = Router::new()
        .route(
            "/v1/connector/pairing",
            post(
                async |State(service): State<Service>, Json(asked): Json<PairingRequest>| {
                    answer(service.pairing(&asked.code).await)
                },
            ),
        )
        .route(
            "/v1/connector/pair",
            post(
                async |State(service): State<Service>, Json(asked): Json<PairRequest>| {
                    answer(service.pair(&asked.code, &asked.envelope).await)
                },
            ),
        )
        .route(
            "/v1/connector/beats",
            post(
                async |State(service): State<Service>, Json(sent): Json<Signed>| {
                    answer(service.beat(&sent.envelope).await)
                },
            ),
        )
        .route(
            "/v1/connector/messages",
            post(
                async |State(service): State<Service>, Json(sent): Json<Signed>| {
                    answer(service.message(&sent.envelope).await)
                },
            ),
        )
        .route(
            "/v1/connector/poll",
            post(
                async |State(service): State<Service>, Json(sent): Json<Signed>| match service
                    .poll_for(&sent.envelope, Duration::from_millis(300))
                    .await
                {
                    Ok(None) => StatusCode::NO_CONTENT.into_response(),
                    other => answer(other),
                },
            ),
        )
        .route("/v1/connector/blobs/{digest}", get(blob))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// The connector program, until it is dropped.
struct Running {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    site: SocketAddr,
}

impl Running {
    async fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let directory = config.dir.clone();
        let task = tokio::spawn(async move {
            run(&config, async { stopped.await.unwrap_or_default() })
                .await
                .unwrap();
        });
        let site = async {
            loop {
                if let Some(site) = status(&directory)
                    .unwrap()
                    .running
                    .and_then(|running| running.site)
                {
                    return site.parse().unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let site = tokio::time::timeout(support::BOUND, site).await.unwrap();
        Self { task, stop, site }
    }

    async fn page(&self, path: &str) -> String {
        reqwest::get(format!("http://{}{path}", self.site))
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// Uploads a release of the sample site.
async fn sample(plane: &Plane, directory: &str, label: &str) -> Digest {
    let path = Directory::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/site")
        .join(directory);
    let (manifest, blobs) = Manifest::of_directory(label, &path).unwrap();
    for (digest, bytes) in blobs {
        plane
            .service
            .put_blob(&plane.owner, digest, bytes)
            .await
            .unwrap();
    }
    let release = manifest.digest();
    plane
        .service
        .put_blob(&plane.owner, release, manifest.bytes().to_vec())
        .await
        .unwrap();
    let request = Request::default();
    let added = plane.service.add_release(
        &plane.owner,
        &request,
        plane.site.clone(),
        release,
        label.to_owned(),
    );
    added.await.unwrap();
    release
}

/// Proposes, waits, approves, and waits for the end.
async fn through(plane: &Plane, proposal: Proposal, nonce: u8) -> ActionState {
    let ended = [
        ActionState::Succeeded,
        ActionState::Undone,
        ActionState::Failed,
        ActionState::Refused,
        ActionState::Expired,
    ];
    let action = plane.propose(proposal).await;
    let first = [[ActionState::Waiting].as_slice(), &ended].concat();
    if plane.until(&action, &first).await.state() == ActionState::Waiting {
        plane.vote(&action, Decision::Approve, nonce).await.unwrap();
    }
    let action = plane.until(&action, &ended).await;
    action.state()
}

/// Waits until the connector has reported that release as the live one; before the first report nothing can be planned.
async fn reported(plane: &Plane, release: Option<Digest>) {
    let seen = async {
        let mut follow = plane
            .service
            .follow(&plane.owner, countersign_ids::Sequence::ZERO);
        loop {
            let site = plane.service.site(&plane.owner, &plane.site).unwrap().site;
            if site.observed.is_some_and(|seen| seen.current == release) {
                return;
            }
            follow.next().await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(support::BOUND, seen).await.is_ok(),
        "`{release:?}` was not reported"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_site_changes_returns_and_goes_back() {
    let plane = Plane::new().await;
    let server = serve(plane.service.clone()).await;
    let directory = plane.directory.path().join("connector");
    let local = ([127, 0, 0, 1], 0).into();
    let config = Config {
        heartbeat: Duration::from_millis(100),
        ..Config::new(&directory, local, local, &server)
    };
    let code = plane.invite().await.to_string();
    let paired = pair(&config, &code).await.unwrap();
    assert_eq!(
        (paired.generation, &paired.tenant, &paired.site),
        (1, &plane.tenant, &plane.site)
    );
    let connector = Running::start(config.clone()).await;

    let summer = sample(&plane, "release-1", "2026-summer").await;
    let autumn = sample(&plane, "release-2", "2026-autumn").await;
    let winter = sample(&plane, "release-3", "2026-winter").await;
    reported(&plane, None).await;
    assert_eq!(
        through(&plane, plane.publish(summer), 1).await,
        ActionState::Succeeded
    );
    reported(&plane, Some(summer)).await;
    let before = connector.page("/").await;
    assert_eq!(
        through(&plane, plane.publish(autumn), 2).await,
        ActionState::Succeeded
    );
    reported(&plane, Some(autumn)).await;
    assert_ne!(connector.page("/").await, before);
    assert_eq!(
        through(&plane, plane.publish(winter), 3).await,
        ActionState::Undone
    );
    reported(&plane, Some(autumn)).await;
    assert_eq!(
        through(&plane, plane.proposal("release.rollback", summer), 4).await,
        ActionState::Succeeded
    );
    reported(&plane, Some(summer)).await;
    assert_eq!(connector.page("/").await, before);

    // One changed file of the release to go back to, and nobody's approval counts any more.
    let file = directory.join(format!("site/releases/{}/files/visit.html", summer.hex()));
    let whole = std::fs::read(&file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let action = plane.propose(plane.publish(autumn)).await;
    plane.until(&action, &[ActionState::Waiting]).await;
    let approved = plane.signed(&action, Decision::Approve, 6);
    std::fs::write(&file, "changed").unwrap();
    let stale = plane
        .wait(&action, |action| {
            action.round > 1 && action.state() == ActionState::Waiting
        })
        .await;
    let ballot = Ballot {
        signed: approved,
        reason: None,
    };
    let voted = plane
        .service
        .vote(&plane.approver, &Request::default(), action.clone(), ballot)
        .await;
    assert!(
        voted.is_err(),
        "an approval of another rollback plan was taken"
    );
    std::fs::write(&file, whole).unwrap();
    plane
        .wait(&action, |action| {
            action.round > stale.round && action.state() == ActionState::Waiting
        })
        .await;
    plane
        .service
        .withdraw(&plane.agent, &Request::default(), action, None)
        .await
        .unwrap();

    // The same connector goes on where it was.
    connector.end().await;
    let connector = Running::start(config).await;
    assert_eq!(connector.page("/").await, before);
    assert_eq!(
        through(&plane, plane.publish(autumn), 5).await,
        ActionState::Succeeded
    );
    connector.end().await;
    plane.audit();
    plane.service.stop().await.unwrap();
}
