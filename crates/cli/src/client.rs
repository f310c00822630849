//! The HTTP API as a caller sees it: requests with a token, answers as JSON, problems as failures with their codes.

use crate::exit::Failure;
use crate::profile::Profile;
use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// How long a call may take; the longest that the server holds one is 30 seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An answer that is looked at whatever its status is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Its `Date`.
    pub(crate) date: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// Asks for something and takes whatever is answered; health needs no token.
pub(crate) async fn open(server: &str, path: &str, token: Option<&str>) -> Result<Answer> {
    let mut request = caller()?.get(format!("{server}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    answer(server, request).await
}

fn caller() -> Result<reqwest::Client> {
    let caller = reqwest::Client::builder().timeout(CALL_TIMEOUT).no_proxy();
    caller.build().context("no HTTP client")
}

async fn answer(server: &str, request: reqwest::RequestBuilder) -> Result<Answer> {
    let mut answer = request.send().await.map_err(|error| {
        let cause = root_cause(&error);
        Failure::unavailable(format!("`{server}` does not answer: {cause}"))
            .with_hint("is it running, and is --server right?")
    })?;
    let status = answer.status();
    let date = answer.headers().get("date");
    let date = date.and_then(|date| date.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.context("the answer broke off")? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Failure::refused("the answer is too large").into());
        }
    }
    Ok(Answer {
        status,
        date,
        bytes,
    })
}

/// A caller of one server, with one token, for one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    /// A caller as the profile says.
    pub(crate) fn of(profile: &Profile) -> Result<Self> {
        Self::new(profile.server()?, profile.token()?)
    }

    /// A caller of `server`.
    pub(crate) fn new(server: &str, token: String) -> Result<Self> {
        Ok(Self {
            http: caller()?,
            server: server.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Reads JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let bytes = self.send(self.request(Method::GET, path)).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("`{path}` did not answer JSON"))
    }

    /// Reads bytes.
    pub(crate) async fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a command. With the same key and the same body it does the same thing once.
    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Result<Value> {
        let mut request = self.request(Method::POST, path).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let bytes = self.send(request).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).with_context(|| format!("`{path}` did not answer JSON"))
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &str, key: &str) -> Result<()> {
        self.send(
            self.request(Method::DELETE, path)
                .header("idempotency-key", key),
        )
        .await?;
        Ok(())
    }

    /// Stores bytes.
    pub(crate) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self
            .request(Method::PUT, path)
            .header("content-type", "application/octet-stream")
            .body(bytes);
        self.send(request).await?;
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.server))
            .bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>> {
        let Answer { status, bytes, .. } = answer(&self.server, request).await?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(problem(status, &bytes).into())
        }
    }
}

/// An RFC 9457 problem as a failure: refused, or not possible now.
fn problem(status: StatusCode, bytes: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let message = match (text("title"), text("detail")) {
        (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
        (Some(title), _) => title,
        (None, Some(detail)) => detail,
        (None, None) => format!("the server answered {status}"),
    };
    let failure = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Failure::unavailable(message)
    } else {
        Failure::refused(message)
    };
    match (text("code"), text("type")) {
        (Some(code), Some(page)) => failure
            .with_code_of_server(code)
            .with_hint(format!("more: {page}")),
        (Some(code), None) => failure.with_code_of_server(code),
        _ => failure,
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A fresh Idempotency-Key.
pub(crate) fn fresh_key() -> Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(hex::encode(bytes))
}
