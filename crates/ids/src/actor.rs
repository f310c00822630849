//! Who acts, and how long what they said is kept.

use std::fmt;

use crate::{ActorId, Invalid, text::textual};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $pattern:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $type {
            /// Every one, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            fn parse(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Invalid::new($what, concat!("it follows ", $pattern), text)),
                }
            }

            /// The word that stands in headers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        textual!($type, $what, $pattern);
    };
}

words! {
    /// What kind of actor sent a command.
    AuthType, "a kind of actor", "^(person|agent|connector|service|reactor)$",
    /// A person.
    Person = "person",
    /// A program that acts for a person.
    Agent = "agent",
    /// The program beside a site.
    Connector = "connector",
    /// The control plane itself, when it is set up and run.
    Service = "service",
    /// What turns events into commands.
    Reactor = "reactor",
}

words! {
    /// How long a body is kept.
    Retention, "a retention class", "^(evidence|operational|personal)$",
    /// As long as the ledger.
    Evidence = "evidence",
    /// Days, as the tenant says.
    Operational = "operational",
    /// Sealed, and erasable per data subject.
    Personal = "personal",
}

/// Who sent a command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// What kind of actor.
    pub kind: AuthType,
    /// Its pseudonymous id.
    pub id: ActorId,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}
