//! Closed words that the domain adds to those of the events, and the spelling of those that evidence brings.

use std::fmt;

pub use countersign_events::words::{
    ConnectorKind, Environment, ExpiredFrom, Risk, SiteOrAll, TokenRole, Verdict,
};
pub use countersign_evidence::Reversibility;
pub use countersign_evidence::action::Grade;

/// How quiet a tenant or a site was made, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Containment {
    /// Nothing is held back.
    Normal,
    /// Everything waits for a person.
    AskForAll,
    /// Nothing is authorised.
    Hold,
    /// Only ways back are authorised.
    RollbackOnly,
    /// Nothing reaches the site.
    Dark,
}

impl Containment {
    /// Every one, in the order of declaration.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::AskForAll,
        Self::Hold,
        Self::RollbackOnly,
        Self::Dark,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::AskForAll => "ask-for-all",
            Self::Hold => "hold",
            Self::RollbackOnly => "rollback-only",
            Self::Dark => "dark",
        }
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far the way back was tested, in the word that the connector signed.
#[must_use]
pub const fn grade_word(grade: Grade) -> &'static str {
    match grade {
        Grade::Exact => "EXACT",
        Grade::Lossy => "LOSSY",
        Grade::None => "NONE",
        Grade::Stale => "STALE",
    }
}

/// How an action is taken back, in the word that policies and approvers read.
#[must_use]
pub const fn reversibility_word(reversibility: Reversibility) -> &'static str {
    match reversibility {
        Reversibility::Reversible => "reversible",
        Reversibility::Partial => "partial",
        Reversibility::Irreversible => "irreversible",
    }
}
