//! Codes of the HTTP layer's own refusals; the others come from the crates below.

use countersign_ids::Code;

macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal;)*) => {
        $(pub(crate) const $name: Code = Code { id: $id, title: $title };)*

        /// Every code of the HTTP layer.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    CONTENT_TYPE = "content-type", "The content type is not the one that this route takes";
    BODY_TOO_LARGE = "body-too-large", "The request body is too large";
    BODY_MALFORMED = "body-malformed", "The request body cannot be read";
    LIST_MALFORMED = "list-malformed", "The list in the request cannot be used";
    PATH_MALFORMED = "path-malformed", "A part of the path or the query cannot be read";
    KEY_MALFORMED = "idempotency-key-malformed", "The Idempotency-Key cannot be used";
    CURSOR_MALFORMED = "cursor-malformed", "The Last-Event-ID is no sequence";
    CURSOR_AHEAD = "cursor-ahead", "The cursor is beyond the end of the chain";
    NO_ROUTE = "route-not-found", "There is no such route";
    NO_PAGE = "page-not-found", "There is no page for such a code";
    METHOD = "method-not-allowed", "The route does not take this method";
    TOO_SLOW = "request-too-slow", "The request took too long";
    TOO_MANY_STREAMS = "too-many-streams", "Too many event streams are open";
    TOO_MANY_ANSWERS = "too-many-answers", "Too many bytes of answers wait for their readers";
    TOO_MANY_REQUESTS = "too-many-requests", "The caller asks more than it may in a time";
    PRECONDITION = "precondition-failed", "The action is not the one that If-Match names";
}
