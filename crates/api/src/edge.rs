//! Where requests become values: who calls, which thing, what body. Nothing behind this module sees text.
//!
//! Extractors run in the order of a handler's arguments: the token first, then the path, the body last, so that a caller
//! without a token learns nothing about the rest of the request.

use axum::body::Body;
use axum::extract::{
    FromRequest, FromRequestParts, MatchedPath, Path, Query, Request as HttpRequest,
};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use countersign_chain::{json, request_digest};
use countersign_ids::{TenantId, limits};
use countersign_service::{Access, Error, Need, PlatformAccess, Request, TenantAccess};
use serde::{Deserialize, de::DeserializeOwned};
use tokio_stream::StreamExt as _;

use crate::app::App;
use crate::codes;
use crate::held::Whose;
use crate::limits::Class;
use crate::problem::Problem;

/// The caller's Idempotency-Key.
pub(crate) const KEY_HEADER: &str = "idempotency-key";

/// How much of a body that is too large is read before it is refused.
const DRAINED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An authenticated caller.
pub(crate) struct Caller(pub(crate) Access);

impl Caller {
    pub(crate) fn tenant(&self, tenant: &TenantId, need: Need) -> Result<TenantAccess, Problem> {
        Ok(self.0.tenant(tenant, need)?)
    }

    pub(crate) fn platform(&self) -> Result<PlatformAccess, Problem> {
        Ok(self.0.platform()?)
    }
}

/// The text of a bearer token.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Error::Unauthenticated.into());
    };
    let text = value.to_str().map_err(|_| Error::Unauthenticated)?;
    let (scheme, token) = text.split_once(' ').ok_or(Error::Unauthenticated)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(Error::Unauthenticated.into())
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let access = app.service.authenticate(bearer(&parts.headers)?)?;
        let route = parts.extensions.get::<MatchedPath>();
        let class = Class::of(&parts.method, route.map_or("", MatchedPath::as_str));
        app.limits.admit(&access, class, app.began.elapsed())?;
        if let (Some(tenant), Some(whose)) = (access.tenant_id(), parts.extensions.get::<Whose>()) {
            whose.is(tenant.to_string());
        }
        Ok(Self(access))
    }
}

/// The parts of the path, parsed.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                codes::PATH_MALFORMED,
                rejection.body_text(),
            )),
        }
    }
}

/// The query, parsed; an unknown parameter is refused.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                codes::PATH_MALFORMED,
                rejection.body_text(),
            )),
        }
    }
}

/// A strict JSON body, and what makes the request the same one when it is sent again.
pub(crate) struct Write<T> {
    pub(crate) body: T,
    pub(crate) request: Request,
}

impl<T: DeserializeOwned> FromRequest<App> for Write<T> {
    type Rejection = Problem;

    async fn from_request(http: HttpRequest, app: &App) -> Result<Self, Problem> {
        if !is_json(http.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                codes::CONTENT_TYPE,
                "the body must be of content type `application/json`",
            ));
        }
        let mut request = request(http.headers())?;
        let bytes = body(http, app, limits::REQUEST_BYTES_MAX).await?;
        request.digest = Some(request_digest(&bytes));
        Ok(Self {
            body: parse(&bytes)?,
            request,
        })
    }
}

/// A command without a body.
pub(crate) struct Bare(pub(crate) Request);

impl FromRequest<App> for Bare {
    type Rejection = Problem;

    async fn from_request(http: HttpRequest, app: &App) -> Result<Self, Problem> {
        let mut request = request(http.headers())?;
        let bytes = body(http, app, 0).await?;
        request.digest = Some(request_digest(&bytes));
        Ok(Self(request))
    }
}

/// Who may store blobs in the tenant that the path names; known before the body, which is large, is read.
pub(crate) struct Storing(pub(crate) TenantAccess);

impl FromRequestParts<App> for Storing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Of {
            tenant: TenantId,
        }
        let caller = Caller::from_request_parts(parts, app).await?;
        let Segments(Of { tenant }) = Segments::from_request_parts(parts, app).await?;
        caller.tenant(&tenant, Need::Operate).map(Self)
    }
}

/// The bytes of a blob.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl FromRequest<App> for Bytes {
    type Rejection = Problem;

    async fn from_request(http: HttpRequest, app: &App) -> Result<Self, Problem> {
        let octets = http
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value == "application/octet-stream");
        if !octets {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                codes::CONTENT_TYPE,
                "a blob must be of content type `application/octet-stream`",
            ));
        }
        body(http, app, limits::BLOB_BYTES_MAX).await.map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let parameters = parameters.trim();
    kind.trim().eq_ignore_ascii_case("application/json")
        && (parameters.is_empty() || parameters.eq_ignore_ascii_case("charset=utf-8"))
}

async fn body(http: HttpRequest, app: &App, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("this route takes at most {bytes_max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, codes::BODY_TOO_LARGE, detail)
    };
    let announced = http
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max.saturating_add(DRAINED_BYTES_MAX)) {
        return Err(too_large());
    }
    match tokio::time::timeout(app.bounds.body, collect(http.into_body(), bytes_max)).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(too_large()),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            codes::TOO_SLOW,
            "the body did not arrive in time",
        )),
    }
}

/// The body if it is not too large. A little more is read and dropped, so that a caller who is still sending hears the answer.
async fn collect(body: Body, bytes_max: usize) -> Option<Vec<u8>> {
    let mut chunks = body.into_data_stream();
    let (mut bytes, mut seen) = (Vec::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        // A connection that broke off: nobody reads the answer.
        let chunk = chunk.ok()?;
        seen = seen.saturating_add(chunk.len());
        if seen <= bytes_max {
            bytes.extend_from_slice(&chunk);
        } else {
            bytes = Vec::new();
        }
        if seen > bytes_max.saturating_add(DRAINED_BYTES_MAX) {
            return None;
        }
    }
    (seen <= bytes_max).then_some(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let malformed =
        |detail: String| Problem::new(StatusCode::BAD_REQUEST, codes::BODY_MALFORMED, detail);
    json::check(bytes).map_err(|error| malformed(error.to_string()))?;
    serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))
}

/// What the headers say of a command. Without a key every request is a new one.
fn request(headers: &HeaderMap) -> Result<Request, Problem> {
    let mut keys = headers.get_all(KEY_HEADER).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => None,
        (Some(value), None) => Some(
            value
                .to_str()
                .ok()
                .filter(|key| usable(key))
                .ok_or_else(key_malformed)?
                .to_owned(),
        ),
        (Some(_), Some(_)) => return Err(key_malformed()),
    };
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .filter(|text| is_trace(text));
    Ok(Request {
        key,
        digest: None,
        traceparent: traceparent.map(str::to_owned),
    })
}

/// A key that stands in a body, if it is one.
pub(crate) fn usable_key(key: String) -> Result<String, Problem> {
    if usable(&key) {
        Ok(key)
    } else {
        Err(key_malformed())
    }
}

fn usable(key: &str) -> bool {
    (1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn key_malformed() -> Problem {
    let detail = format!(
        "one key of 1 to {} printable characters without spaces",
        limits::IDEMPOTENCY_KEY_BYTES_MAX
    );
    Problem::new(StatusCode::BAD_REQUEST, codes::KEY_MALFORMED, detail)
}

/// The W3C form of version 00; anything else is ignored, as the specification asks.
fn is_trace(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let hex = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && hex(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_json_is_json() {
        for (text, accepted) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=latin1", false),
            ("application/problem+json", false),
            ("text/plain", false),
            ("application/jsonp", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(text).unwrap());
            assert_eq!(is_json(&headers), accepted, "{text}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn keys_and_traces_are_read_or_refused() {
        for (key, accepted) in [
            ("a", true),
            (&*"k".repeat(128), true),
            ("", false),
            (&*"k".repeat(129), false),
            ("a b", false),
        ] {
            assert_eq!(usable(key), accepted, "`{key}`");
        }
        let trace = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        assert!(is_trace(&trace));
        assert!(!is_trace(&trace.to_uppercase()));
        assert!(!is_trace("00-a-b-01"));
        let mut headers = HeaderMap::new();
        headers.append(KEY_HEADER, HeaderValue::from_static("one"));
        assert_eq!(request(&headers).unwrap().key.as_deref(), Some("one"));
        headers.append(KEY_HEADER, HeaderValue::from_static("two"));
        assert!(request(&headers).is_err());
    }
}
