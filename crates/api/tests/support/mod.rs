//! A server on a temporary directory, and a caller who speaks HTTP to it like anybody else.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the support"
)]

use std::time::Duration;

use countersign_api::{Bounds, serve};
use countersign_service::{Config, Service};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(20);

pub struct Server {
    directory: Option<tempfile::TempDir>,
    pub service: Service,
    pub url: String,
    pub admin: String,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    /// The server's own threads, so that killing it ends everything that it does.
    runtime: Option<Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    pub async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), Bounds::default()).await
    }

    pub async fn open(directory: tempfile::TempDir, bounds: Bounds) -> Self {
        Self::with(directory, bounds, |_| ()).await
    }

    /// A server whose service or ledger is set otherwise.
    pub async fn with(
        directory: tempfile::TempDir,
        bounds: Bounds,
        set: impl FnOnce(&mut Config),
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config::new(
            directory.path().join("data"),
            directory.path().join("genesis.pem"),
        );
        set(&mut config);
        let started = runtime.spawn(async {
            (
                Service::start(config).await.unwrap(),
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
            )
        });
        let (service, listener) = started.await.unwrap();
        let admin = std::fs::read_to_string(service.admin_token_file())
            .unwrap()
            .trim()
            .to_owned();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task = runtime.spawn(serve(listener, service.clone(), bounds, stop.clone()));
        Self {
            directory: Some(directory),
            service,
            url,
            admin,
            stop,
            task: Some(task),
            runtime: Some(runtime),
        }
    }

    /// Ends all of it where it stands, as a kill would, and gives the directory back.
    pub async fn kill(mut self) -> tempfile::TempDir {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(BOUND))
            .await
            .unwrap();
        self.service.clone().abandon().await;
        self.directory.take().unwrap()
    }

    /// Stops cleanly, within the bound, whatever is open.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(BOUND, task)
            .await
            .expect("it stops")
            .unwrap();
        self.service.stop().await.unwrap();
    }

    pub fn caller(&self, token: &str) -> Caller {
        Caller {
            http: reqwest::Client::new(),
            url: self.url.clone(),
            token: token.to_owned(),
        }
    }

    pub fn admin(&self) -> Caller {
        self.caller(&self.admin)
    }

    /// The tenant `acme`, and a caller of each role in it.
    pub async fn tenant(&self) -> Tenant {
        let admin = self.admin();
        admin
            .post("/v1/tenants", &json!({ "tenant": "acme", "name": "Acme" }))
            .await
            .created();
        let mut callers = Vec::new();
        for (role, kind, actor) in [
            ("owner", "person", "olga"),
            ("proposer", "agent", "bot"),
            ("observer", "person", "otto"),
        ] {
            let body =
                json!({ "tenant": "acme", "role": role, "actor": { "kind": kind, "id": actor } });
            let issued = admin.post("/v1/tokens", &body).await.created();
            callers.push(self.caller(issued["token"].as_str().unwrap()));
        }
        let [owner, proposer, observer] = callers.try_into().ok().unwrap();
        owner
            .post(
                "/v1/tenants/acme/sites",
                &json!({ "site": "shop", "name": "Shop", "environment": "production" }),
            )
            .await
            .created();
        Tenant {
            owner,
            proposer,
            observer,
        }
    }
}

pub struct Tenant {
    pub owner: Caller,
    pub proposer: Caller,
    pub observer: Caller,
}

#[derive(Clone)]
pub struct Caller {
    http: reqwest::Client,
    pub url: String,
    pub token: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub kind: String,
    pub etag: Option<String>,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn created(self) -> Value {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.body
    }

    /// A problem of this status and code that says when to come back: the seconds.
    #[track_caller]
    pub fn comes_back(&self, status: u16, code: &str) -> u64 {
        self.is_problem(status, code);
        let after = self
            .retry_after
            .as_ref()
            .expect("it says when to come back");
        let seconds = after.parse().unwrap();
        assert!(seconds >= 1, "{after}");
        seconds
    }

    /// A whole and honest problem of this status and code, whose page is there.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        let Self { kind, body, .. } = self;
        assert_eq!(
            (self.status.as_u16(), body["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
        assert_eq!(kind, "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("/errors/{code}"));
        assert!(
            body["title"].is_string() && body["detail"].is_string(),
            "{body}"
        );
        assert!(
            countersign_api::error_page(code).is_some(),
            "`{code}` has no page"
        );
    }
}

impl Caller {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn keyed(&self, key: &str, path: &str, body: &Value) -> Answer {
        answer(
            self.request(Method::POST, path)
                .header("idempotency-key", key)
                .json(body),
        )
        .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.request(Method::DELETE, path)).await
    }

    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Answer {
        answer(
            self.request(Method::PUT, path)
                .header("content-type", "application/octet-stream")
                .body(bytes),
        )
        .await
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = tokio::time::timeout(BOUND, request.send())
        .await
        .expect("an answer in time")
        .unwrap();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let (status, kind, etag, retry_after) = (
        response.status(),
        header("content-type").unwrap_or_default(),
        header("etag"),
        header("retry-after"),
    );
    let bytes = response.bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer {
        status,
        kind,
        etag,
        retry_after,
        body,
    }
}
