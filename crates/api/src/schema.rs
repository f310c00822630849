//! How the parsed types of the core look in the OpenAPI description. Nothing here is used at run time.

use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! texts {
    ($($type:ident),*) => {$(
        #[derive(Debug)]
        pub(crate) struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let schema = <countersign_ids::$type as schemars::JsonSchema>::json_schema(&mut schemars::SchemaGenerator::default());
                let pattern = schema.get("pattern").and_then(|pattern| pattern.as_str()).map(str::to_owned);
                ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(pattern).build().into()
            }
        }

        impl ToSchema for $type {}
    )*};
}

texts!(
    ActionId,
    ActorId,
    ApproverId,
    AuthType,
    ChainId,
    CommandId,
    ConnectorId,
    CredentialId,
    DataSubject,
    Digest,
    EventHash,
    EventId,
    EventType,
    FreezeId,
    LedgerId,
    Salt,
    Sequence,
    SiteId,
    TenantId,
    Time,
    TokenId
);

macro_rules! words {
    ($($type:ident),*) => {$(
        #[derive(Debug)]
        pub(crate) struct $type;

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&str> = countersign_events::words::$type::ALL.iter().map(|word| word.as_str()).collect();
                ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).enum_values(Some(words)).build().into()
            }
        }

        impl ToSchema for $type {}
    )*};
}

words!(Environment, Risk, TokenRole, Verdict);

/// A DSSE envelope.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Envelope {
    /// The signed bytes, base64.
    payload: String,
    /// What the payload is.
    #[schema(rename = "payloadType")]
    payload_type: String,
    /// One signature per key that has to sign.
    signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct EnvelopeSignature {
    /// `sha256:` of the raw public key.
    #[schema(value_type = Digest)]
    keyid: String,
    /// The Ed25519 signature, base64.
    #[schema(pattern = "^[A-Za-z0-9+/]{86}==$")]
    sig: String,
}

/// A statement as an approver signed it.
#[derive(Debug, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct SignedStatement {
    /// How it is signed: `ed25519`; `ssh` and `webauthn` are refused until they are built.
    alg: String,
    /// The statement's RFC 8785 bytes, as a string.
    statement: String,
    /// The signature, base64.
    signature: String,
    /// Of a passkey.
    authenticator_data: Option<String>,
    /// Of a passkey.
    client_data: Option<String>,
}
