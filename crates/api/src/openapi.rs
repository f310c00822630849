//! The OpenAPI description, made from the handlers, and what holds for all of them said once.

use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, Required, ResponseBuilder};

use crate::edge::KEY_HEADER;
use crate::problem::ProblemBody;

/// What is not said by a handler.
#[derive(OpenApi)]
#[openapi(
    info(title = "Countersign", description = "The control plane's HTTP interface. Every problem is RFC 9457 with a stable `code`, whose page is at `/errors/<code>`."),
    components(schemas(ProblemBody)),
    tags(
        (name = "tenants"), (name = "sites"), (name = "actions"), (name = "approvers"), (name = "tokens"), (name = "freezes"), (name = "retention"),
        (name = "events"), (name = "views"), (name = "blobs"), (name = "ledger"), (name = "keys"), (name = "projections"), (name = "connector"), (name = "health"), (name = "errors")
    )
)]
pub(crate) struct Base;

const BEARER: &str = "bearer";

/// Says of every operation what holds for all: the token, the key of a command, and the form of a problem.
pub(crate) fn complete(api: &mut utoipa::openapi::OpenApi) {
    let components = api.components.get_or_insert_with(Default::default);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("csk_<id>_<secret>")
        .build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    for item in api.paths.paths.values_mut() {
        let PathItem {
            get,
            put,
            post,
            delete,
            ..
        } = item;
        for (operation, takes_key) in [(get, false), (put, false), (post, true), (delete, true)] {
            if let Some(operation) = operation {
                complete_operation(operation, takes_key);
            }
        }
    }
}

fn complete_operation(operation: &mut Operation, takes_key: bool) {
    let open = operation.security.is_some();
    if !open {
        operation.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(
            BEARER,
            [],
        )]);
    }
    if takes_key && !open {
        operation
            .parameters
            .get_or_insert_default()
            .push(key_parameter().into());
    }
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemBody")))
        .build();
    let response = ResponseBuilder::new()
        .description("A problem (RFC 9457)")
        .content("application/problem+json", problem)
        .build();
    operation
        .responses
        .responses
        .insert("default".to_owned(), response.into());
}

fn key_parameter() -> Parameter {
    ParameterBuilder::new()
        .name(KEY_HEADER)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Makes the command the same one when it is sent again: it is done once, and answered with its first receipt for \
             ever; with another body it is refused. One key names one request. Without a key every request is a new command.",
        ))
        .schema(Some(ObjectBuilder::new().pattern(Some("^[!-~]{1,128}$")).schema_type(utoipa::openapi::schema::Type::String)))
        .build()
}
