//! The pages of docs/errors, embedded, so that every code that an answer names leads to its page on the same server.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::edge::{Caller, Segments};
use crate::{codes, problem::Problem};

const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// The page of a code, as Markdown.
#[must_use]
pub fn error_page(code: &str) -> Option<&'static str> {
    PAGES
        .iter()
        .find(|(name, _)| *name == code)
        .map(|(_, page)| *page)
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfCode {
    code: String,
}

/// Shows what a code means, what is safe, and what to do.
#[utoipa::path(get, path = "/errors/{code}", tag = "errors", params(("code" = String, Path, pattern = "^[a-z0-9-]{1,63}$")),
    responses((status = 200, description = "The page", body = String, content_type = "text/markdown")))]
pub(crate) async fn get_page(
    _caller: Caller,
    Segments(OfCode { code }): Segments<OfCode>,
) -> Result<Response, Problem> {
    let page = error_page(&code).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            codes::NO_PAGE,
            "no answer of this server names that code",
        )
    })?;
    Ok((
        [(header::CONTENT_TYPE, "text/markdown; charset=utf-8")],
        page,
    )
        .into_response())
}
