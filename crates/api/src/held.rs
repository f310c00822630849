//! Large answers that are made and not taken yet: bounded memory for all of them, and a share for each tenant.
//!
//! Pages and blobs are made whole, because what is verified is whole. They stay in memory until the reader has taken them or
//! is cut; so a crowd of readers that take nothing is refused before it fills the server, and only its own tenant is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::codes;
use crate::problem::Problem;

/// Answers up to this size are not counted: connections bound them.
const SMALL_BYTES: u64 = 64 * 1024;
/// A tenant may hold one part in so many, and one part in so many is left to those who come without a tenant's token.
const SHARE: u64 = 4;

/// What all answers hold.
#[derive(Debug)]
pub(crate) struct Held {
    bytes_max: u64,
    state: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u64,
    // INVARIANT: no tenant that holds nothing.
    tenants: BTreeMap<String, u64>,
}

/// Whose answer a request's will be, as soon as that is known: a tenant by its token, a connector by its signature.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whose(Arc<OnceLock<String>>);

impl Whose {
    pub(crate) fn is(&self, name: String) {
        // The first to know says it; nobody is two at once.
        drop(self.0.set(name));
    }
}

/// An answer's part of it, given back when the answer's bytes are.
#[derive(Debug)]
struct Hold {
    of: Arc<Held>,
    tenant: Option<String>,
    bytes: u64,
}

/// Bytes, and what they hold.
struct Owned {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
        }
    }

    /// How much is held now.
    pub(crate) fn bytes(&self) -> u64 {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all
    }

    /// Room for so many bytes; none where there is not. One answer may be larger than a bound, and is then held alone.
    fn hold(self: &Arc<Self>, tenant: Option<&str>, bytes: u64) -> Option<Hold> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let share = self.bytes_max / SHARE;
        let most = match tenant {
            Some(_) => self.bytes_max.saturating_sub(share),
            None => self.bytes_max,
        };
        if state.all > 0 && state.all.saturating_add(bytes) > most {
            return None;
        }
        if let Some(tenant) = tenant {
            let its = state.tenants.get(tenant).copied().unwrap_or_default();
            if its > 0 && its.saturating_add(bytes) > share {
                return None;
            }
            state
                .tenants
                .insert(tenant.to_owned(), its.saturating_add(bytes));
        }
        state.all = state.all.saturating_add(bytes);
        drop(state);
        Some(Hold {
            of: Arc::clone(self),
            tenant: tenant.map(str::to_owned),
            bytes,
        })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.of.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.all = state.all.saturating_sub(self.bytes);
        let Some(tenant) = &self.tenant else { return };
        if let Some(its) = state.tenants.get_mut(tenant) {
            *its = its.saturating_sub(self.bytes);
            if *its == 0 {
                state.tenants.remove(tenant);
            }
        }
    }
}

/// Counts large answers for as long as they are in memory.
pub(crate) async fn bounded(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let whose = Whose::default();
    request.extensions_mut().insert(whose.clone());
    let response = next.run(request).await;
    let large = |body: &Body| body.size_hint().exact().filter(|size| *size > SMALL_BYTES);
    let Some(size) = large(response.body()) else {
        return response;
    };
    let Some(hold) = app.held.hold(whose.0.get().map(String::as_str), size) else {
        metrics::counter!("countersign_answers_refused_total").increment(1);
        let detail = "as many bytes of answers wait for their readers as may wait";
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::TOO_MANY_ANSWERS,
            detail,
        )
        .into_response();
    };
    let (parts, body) = response.into_parts();
    // It is whole already: nothing is waited for, and nothing copied.
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => {
            let owned = Bytes::from_owner(Owned { bytes, _hold: hold });
            Response::from_parts(parts, Body::from(owned))
        }
        Err(error) => Problem::internal(&error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_holds_its_share_and_all_of_them_leave_some() {
        let held = Arc::new(Held::new(400));
        let hold = |tenant, bytes| held.hold(tenant, bytes);
        let mut kept = Vec::new();
        for (tenant, bytes, is_held) in [
            (Some("a"), 60, true),
            (Some("a"), 41, false),
            (Some("a"), 40, true),
            (Some("b"), 150, true),
            (Some("b"), 1, false),
            (Some("c"), 51, false),
            (Some("c"), 50, true),
            (Some("d"), 1, false),
            (None, 101, false),
            (None, 100, true),
            (None, 1, false),
        ] {
            let got = hold(tenant, bytes);
            assert_eq!(got.is_some(), is_held, "{tenant:?} {bytes}");
            kept.extend(got);
        }
        assert_eq!(held.bytes(), 400);
        kept.clear();
        assert_eq!(held.bytes(), 0);
        assert!(held.state.lock().unwrap().tenants.is_empty());
        assert!(hold(Some("a"), 1000).is_some(), "a large one alone");
    }

    #[test]
    fn bytes_give_back_what_they_hold_with_their_last_part() {
        let held = Arc::new(Held::new(400));
        let hold = held.hold(Some("a"), 8).unwrap();
        let bytes = Bytes::from_static(b"12345678");
        let whole = Bytes::from_owner(Owned { bytes, _hold: hold });
        let part = whole.slice(6..);
        drop(whole);
        assert_eq!((held.bytes(), part.as_ref()), (8, &b"78"[..]));
        drop(part);
        assert_eq!(held.bytes(), 0);
    }
}
