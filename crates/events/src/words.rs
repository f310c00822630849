//! Closed words that events use and policy, views and read models share.

use std::fmt;

use countersign_ids::SiteId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $type {
            /// Every one, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The one that has this word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )*};
}

words! {
    /// How bad it is if an action goes wrong. A property of the kind and its parameters, not of the proposer.
    Risk {
        /// Nothing that anybody would notice for long.
        Low = "low",
        /// Visible, and undone by the rollback plan.
        Medium = "medium",
        /// Visible, and part of it may be lost.
        High = "high",
        /// The site's own safety is at stake.
        Critical = "critical",
    }
    /// What a site is for.
    Environment {
        /// Its visitors are customers.
        Production = "production",
        /// Its visitors are colleagues.
        Staging = "staging",
        /// Nobody depends on it.
        Development = "development",
    }
    /// What policy says of an action.
    Verdict {
        /// It needs nobody.
        Allow = "allow",
        /// It needs people.
        NeedsApproval = "needs-approval",
        /// No number of people is enough.
        Deny = "deny",
    }
    /// What stands at a site and executes.
    ConnectorKind {
        /// A static site: immutable releases and a symlink.
        Static = "static",
    }
    /// What a bearer token may do.
    TokenRole {
        /// Everything of the platform, nothing inside of a tenant.
        Admin = "admin",
        /// Everything of a tenant.
        Owner = "owner",
        /// Read a tenant and send signed approvals.
        Approver = "approver",
        /// Read a tenant and propose.
        Proposer = "proposer",
        /// Read a tenant.
        Observer = "observer",
    }
    /// Where an action was when nobody had acted in time.
    ExpiredFrom {
        /// Nobody assessed it.
        Proposed = "proposed",
        /// It waited for people, for the site or for its order.
        Waiting = "waiting",
        /// Its order was signed and never left.
        Authorized = "authorized",
    }
}

/// A site, or `*` for every site of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SiteOrAll {
    /// Every site: `*`.
    All,
    /// One site.
    Site(SiteId),
}

impl SiteOrAll {
    /// Whether `site` is meant.
    pub fn covers(&self, site: &SiteId) -> bool {
        match self {
            Self::All => true,
            Self::Site(one) => one == site,
        }
    }
}

impl fmt::Display for SiteOrAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Site(site) => site.fmt(f),
        }
    }
}

impl std::str::FromStr for SiteOrAll {
    type Err = countersign_ids::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            Ok(Self::All)
        } else {
            text.parse().map(Self::Site)
        }
    }
}

impl Serialize for SiteOrAll {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SiteOrAll {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SiteOrAll {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SiteOrAll".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let site = generator.subschema_for::<SiteId>();
        schemars::json_schema!({ "anyOf": [{ "const": "*" }, site] })
    }
}
