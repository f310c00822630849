//! The connector's side of the routes: bounded in time and bytes, and the same bytes again on a repeat.

use std::time::Duration;

use countersign_chain::json;
use countersign_evidence::{Delivery, Envelope};
use countersign_ids::{Code, ConnectorId, Digest, limits};
use reqwest::{Response, Url, header};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BEATS_PATH, BLOBS_PATH, BeatAnswer, CONNECTOR_HEADER, MESSAGES_PATH, PAIR_PATH, PAIRING_PATH,
    POLL_PATH, PROOF_HEADER, PairReceipt, PairRequest, PairingCode, PairingInfo, PairingRequest,
    Refusal, Signed, codes, encode_proof,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
const BLOB_TIMEOUT: Duration = Duration::from_secs(120);
/// A delivery holds an event with its body, proofs, a note and key statements.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address of the server cannot be used.
    #[error("`{0}` is no address of a control plane: it begins with http://")]
    Address(String),
    /// Nobody answered, or not in time, or the answer broke off.
    #[error("the control plane did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The server said no.
    #[error("the control plane refused: {0}")]
    Refused(Refusal),
    /// The answer is not of the expected form.
    #[error("the control plane's answer cannot be used: {0}")]
    Answer(String),
}

impl Error {
    /// The stable code; a refusal has the one that the server gave, so this is the page of the nearest kind.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Address(_) | Self::Unreachable(_) => codes::PLANE_UNREACHABLE,
            Self::Refused(Refusal::ClockSkew { .. }) => codes::CLOCK_SKEW,
            Self::Refused(Refusal::UnknownKey) => codes::UNKNOWN_KEY,
            Self::Refused(Refusal::Replayed) => codes::MESSAGE_REPLAYED,
            Self::Refused(Refusal::Contained) => codes::CONTAINED,
            Self::Refused(Refusal::Other { .. }) | Self::Answer(_) => codes::PLANE_ANSWER,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Address(_) | Self::Answer(_) => false,
        }
    }
}

/// Speaks to one control plane.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// Prepares to speak to the server at `http://host:port`.
    pub fn new(server: &str) -> Result<Self, Error> {
        let base = Url::parse(server)
            .ok()
            .filter(|url| url.scheme() == "http" && url.has_host());
        let base = base.ok_or_else(|| Error::Address(server.to_owned()))?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(Error::Unreachable)?,
            base,
        })
    }

    /// Asks what a code is for.
    pub async fn pairing(&self, code: &PairingCode) -> Result<PairingInfo, Error> {
        let request = PairingRequest {
            code: code.to_string(),
        };
        self.post(PAIRING_PATH, &request, ANSWER_TIMEOUT)
            .await?
            .ok_or_else(empty)
    }

    /// Uses a code up.
    pub async fn pair(&self, request: &PairRequest) -> Result<PairReceipt, Error> {
        self.post(PAIR_PATH, request, ANSWER_TIMEOUT)
            .await?
            .ok_or_else(empty)
    }

    /// Sends a heartbeat.
    pub async fn beat(&self, envelope: &Envelope) -> Result<BeatAnswer, Error> {
        self.post(
            BEATS_PATH,
            &Signed {
                envelope: envelope.clone(),
            },
            ANSWER_TIMEOUT,
        )
        .await?
        .ok_or_else(empty)
    }

    /// Waits for an order; the server holds the request for up to 30 seconds.
    pub async fn poll(&self, envelope: &Envelope) -> Result<Option<Delivery>, Error> {
        let hold = Duration::from_millis(limits::POLL_HOLD_MILLIS) + ANSWER_TIMEOUT;
        self.post(
            POLL_PATH,
            &Signed {
                envelope: envelope.clone(),
            },
            hold,
        )
        .await
    }

    /// Sends an observation or an outcome; whatever the server answers, it has taken it.
    pub async fn message(&self, envelope: &Envelope) -> Result<(), Error> {
        let answer: Option<serde_json::Value> = self
            .post(
                MESSAGES_PATH,
                &Signed {
                    envelope: envelope.clone(),
                },
                ANSWER_TIMEOUT,
            )
            .await?;
        drop(answer);
        Ok(())
    }

    /// Fetches a blob of at most `bytes_max` bytes. Whether they are the ones that the digest names is the caller's to check.
    pub async fn blob(
        &self,
        connector: &ConnectorId,
        proof: &Envelope,
        digest: &Digest,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Error> {
        let url = self.url(&format!("{BLOBS_PATH}/{digest}"))?;
        let proof = encode_proof(proof)
            .ok_or_else(|| Error::Answer("the proof cannot be written".to_owned()))?;
        let request = self
            .http
            .get(url)
            .timeout(BLOB_TIMEOUT)
            .header(CONNECTOR_HEADER, connector.to_string())
            .header(PROOF_HEADER, proof);
        let answer = request.send().await.map_err(Error::Unreachable)?;
        let status = answer.status();
        if status.is_success() {
            bounded(answer, bytes_max).await
        } else {
            Err(Error::Refused(Refusal::read(
                status.as_u16(),
                &bounded(answer, ANSWER_BYTES_MAX).await?,
            )))
        }
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        self.base
            .join(path)
            .map_err(|_| Error::Address(self.base.to_string()))
    }

    /// `None` for 204. The body is written canonically, so the same message is the same bytes every time.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<Option<T>, Error> {
        let body = json::to_canonical(body).map_err(|error| Error::Answer(error.to_string()))?;
        let request = self
            .http
            .post(self.url(path)?)
            .timeout(timeout)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let answer = request.send().await.map_err(Error::Unreachable)?;
        let status = answer.status();
        let body = bounded(answer, ANSWER_BYTES_MAX).await?;
        match status.as_u16() {
            204 => Ok(None),
            200..=299 => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|error| Error::Answer(error.to_string())),
            status => Err(Error::Refused(Refusal::read(status, &body))),
        }
    }
}

fn empty() -> Error {
    Error::Answer("it is empty".to_owned())
}

async fn bounded(mut answer: Response, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(Error::Unreachable)? {
        bytes.extend_from_slice(&chunk);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
            return Err(Error::Answer(format!(
                "it is longer than {bytes_max} bytes"
            )));
        }
    }
    Ok(bytes)
}
