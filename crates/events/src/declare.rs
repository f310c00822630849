//! The two macros behind every declaration: `events!` for one family, `families!` for the whole.

use countersign_ids::{EventType, Retention};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};

/// On which chains an event may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chains {
    /// The platform's chain.
    Platform,
    /// A tenant's chain.
    Tenant,
    /// A tenant's chain of heartbeats.
    Beats,
    /// Every chain but the platform's.
    Opened,
}

impl Chains {
    /// Where it stands, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Tenant => "tenant",
            Self::Beats => "tenant.beats",
            Self::Opened => "tenant, tenant.beats",
        }
    }

    /// Whether the event may stand on this chain.
    pub const fn hold(self, chain: &countersign_ids::ChainId) -> bool {
        match self {
            Self::Platform => chain.is_platform(),
            Self::Tenant => !chain.is_platform() && !chain.is_beats(),
            Self::Beats => chain.is_beats(),
            Self::Opened => !chain.is_platform(),
        }
    }
}

/// The body of one event type.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema {
    /// Its declaration.
    const SPEC: &'static Spec;
}

/// One declared event type.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The type: family, fact and version.
    pub event_type: EventType,
    /// The class of its family.
    pub retention: Retention,
    /// Where it may stand.
    pub chains: Chains,
    /// What `subject` of its header names.
    pub subject: &'static str,
    /// What it means: the first line, then the rest.
    pub doc: &'static str,
    pub(crate) schema: fn(&mut SchemaGenerator) -> schemars::Schema,
}

impl Spec {
    /// The schema as schemars makes it, before it is named.
    pub(crate) fn raw_schema(&self) -> serde_json::Value {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let schema = (self.schema)(&mut generator);
        let mut schema = schema.to_value();
        let definitions = generator.take_definitions(true);
        if let Some(object) = schema.as_object_mut()
            && !definitions.is_empty()
        {
            object.insert("$defs".to_owned(), serde_json::Value::Object(definitions));
        }
        schema
    }
}

/// Declares one family: its events, with the class they share.
///
/// Each event yields its struct (strict serde, schema with the doc comments), its entry of `SPECS`, and its variant of the
/// family's enum.
macro_rules! events {
    (
        $(#[$family_doc:meta])*
        $Family:ident = $family:literal $retention:ident;
        $(
            $(#[doc = $doc:literal])*
            $Name:ident = $fact:literal v $version:literal on $chains:ident about $subject:literal {
                $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
            }
        )*
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $Name {
                $( $(#[$field_meta])* pub $field: $type, )*
            }

            impl $crate::Payload for $Name {
                const SPEC: &'static $crate::Spec = &$crate::Spec {
                    event_type: countersign_ids::EventType::declared($family, $fact, $version),
                    retention: countersign_ids::Retention::$retention,
                    chains: $crate::Chains::$chains,
                    subject: $subject,
                    doc: concat!($($doc, "\n"),*),
                    schema: <$Name as schemars::JsonSchema>::json_schema,
                };
            }

            impl From<$Name> for $crate::Event {
                fn from(payload: $Name) -> Self {
                    Self::$Family($Family::$Name(payload))
                }
            }

            impl From<$Name> for $Family {
                fn from(payload: $Name) -> Self {
                    Self::$Name(payload)
                }
            }
        )*

        $(#[$family_doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum $Family {
            $( $(#[doc = $doc])* $Name($Name), )*
        }

        /// The events of this family, as declared.
        pub(crate) const SPECS: &[&$crate::Spec] = &[$(<$Name as $crate::Payload>::SPEC),*];

        impl $Family {
            /// The declaration of the event.
            pub const fn spec(&self) -> &'static $crate::Spec {
                match self {
                    $( Self::$Name(_) => <$Name as $crate::Payload>::SPEC, )*
                }
            }

            pub(crate) fn read(
                event_type: &countersign_ids::EventType,
                body: &[u8],
            ) -> Option<Result<Self, serde_json::Error>> {
                match (event_type.fact(), event_type.version()) {
                    $( ($fact, $version) => Some(serde_json::from_slice(body).map(Self::$Name)), )*
                    _ => None,
                }
            }
        }
    };
}

/// Puts the families together.
macro_rules! families {
    ($($(#[$doc:meta])* $module:ident $Family:ident,)*) => {
        /// Any event, by family.
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $( $(#[$doc])* $Family($module::$Family), )*
        }

        $( pub use $module::$Family; )*

        /// The table of every family.
        const FAMILIES: &[&[&Spec]] = &[$($module::SPECS,)*];

        impl Event {
            /// The declaration of the event.
            pub const fn spec(&self) -> &'static Spec {
                match self {
                    $( Self::$Family(event) => event.spec(), )*
                }
            }

            fn read(event_type: &EventType, body: &[u8]) -> Option<Result<Self, serde_json::Error>> {
                match event_type.family().as_str() {
                    $( stringify!($module) => {
                        $module::$Family::read(event_type, body).map(|read| read.map(Self::$Family))
                    } )*
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use {events, families};
