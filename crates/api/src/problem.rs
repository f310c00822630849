//! Refusals and failures as RFC 9457 problems with stable codes; each code has a page at `/errors/<code>`.
//!
//! The only place where an error becomes an answer. Details never hold a secret: errors are made of parsed values.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_ids::{Code, Time};
use countersign_service::{Class, Error};
use serde::Serialize;
use std::time::Duration;

use crate::codes;

/// The body of a problem (RFC 9457 section 3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemBody {
    /// Where the page of the code is.
    #[schema(example = "/errors/unauthenticated")]
    r#type: String,
    /// What happened, the same for every occurrence of the code.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The stable code.
    #[schema(example = "unauthenticated")]
    code: String,
    /// The server's time, where the caller's clock is the problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Time>)]
    server_time: Option<Time>,
}

#[cfg(test)]
impl ProblemBody {
    pub(crate) fn code(&self) -> &str {
        &self.code
    }
}

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    retry_after: Option<Duration>,
    server_time: Option<Time>,
}

impl Problem {
    /// A problem of the HTTP layer itself.
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after: None,
            server_time: None,
        }
    }

    /// The same, with a time after which trying again helps.
    pub(crate) const fn later(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// A part of the path or the query that cannot be read.
    pub(crate) fn path(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, codes::PATH_MALFORMED, detail)
    }

    /// The HTTP status.
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// After how many seconds to try again, where that may help: whole ones, and never too early.
    pub(crate) fn wait(&self) -> Option<u64> {
        let again = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        let wait = self.retry_after.unwrap_or_default();
        let part = u64::from(wait.subsec_nanos() > 0);
        again.then(|| wait.as_secs().saturating_add(part).max(1))
    }

    /// What it says.
    pub(crate) fn body(&self) -> ProblemBody {
        ProblemBody {
            r#type: format!("/errors/{}", self.code.id),
            title: self.code.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.id.to_owned(),
            server_time: self.server_time,
        }
    }

    /// The server's own fault.
    pub(crate) fn internal(detail: &str) -> Self {
        Error::Internal {
            detail: detail.to_owned(),
        }
        .into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.class() {
            Class::Malformed => StatusCode::BAD_REQUEST,
            Class::Unauthenticated => StatusCode::UNAUTHORIZED,
            Class::Forbidden => StatusCode::FORBIDDEN,
            Class::NotFound => StatusCode::NOT_FOUND,
            Class::Gone => StatusCode::GONE,
            Class::Conflict => StatusCode::CONFLICT,
            Class::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Class::Overloaded | Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        // It is consumed here, so it is logged here, with its sources; the caller of an internal fault learns only the code.
        let chain = chain(&error);
        let detail = if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code = error.code().id, error = chain, "request failed");
            error.code().title.to_owned()
        } else {
            tracing::debug!(code = error.code().id, error = chain, "request refused");
            chain
        };
        Self {
            status,
            code: error.code(),
            detail,
            retry_after: error.retry_after(),
            server_time: error.server_time(),
        }
    }
}

/// An error and its sources, joined by colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.wait() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_transport::Refusal;

    #[test]
    fn a_connector_reads_the_servers_time() {
        let ours: Time = "2026-11-22T04:00:00.000Z".parse().unwrap();
        let theirs = "2026-11-22T05:00:00.000Z".parse().unwrap();
        let problem = Problem::from(Error::ClockSkew { ours, theirs });
        let (status, body) = (problem.status.as_u16(), problem.body());
        assert_eq!(
            Refusal::read(status, &serde_json::to_vec(&body).unwrap()),
            Refusal::ClockSkew {
                server_time: Some(ours)
            }
        );
    }
}
