//! The codes of what an auditor can run into; each has a page under docs/errors/.

use countersign_ids::Code;

use crate::source::SourceError;

/// A file or directory cannot be read.
pub const FILE: Code = Code {
    id: "ledger-file",
    title: "A ledger's file cannot be read",
};
/// Not a ledger, not a bundle, or of an unknown version.
pub const UNREADABLE: Code = Code {
    id: "ledger-unreadable",
    title: "Not readable as a ledger",
};
/// Not the one zip that a bundle may be.
pub const FRAMING: Code = Code {
    id: "bundle-framing",
    title: "The bundle is not the one zip it may be",
};
/// The verdict is `violation`.
pub const VIOLATION: Code = Code {
    id: "verdict-violation",
    title: "Verification found a contradiction",
};
/// The verdict is `incomplete`.
pub const INCOMPLETE: Code = Code {
    id: "verdict-incomplete",
    title: "Verification could not check everything",
};
/// No bundle was written.
pub const EXPORT: Code = Code {
    id: "export-refused",
    title: "The bundle was not written",
};
/// Rows in use differ from rebuilt ones.
pub const ROWS: Code = Code {
    id: "rows-differ",
    title: "A read model differs from its events",
};
/// A verification cannot go on from that file, or left none.
pub const RESUME: Code = Code {
    id: "resume-refused",
    title: "A verification cannot be resumed from that state",
};
/// There is no such event, or nothing to prove it under.
pub const NOT_FOUND: Code = Code {
    id: "event-not-found",
    title: "No such event, chain or checkpoint",
};

/// Every code of this crate.
pub const CODES: &[Code] = &[
    FILE, UNREADABLE, FRAMING, VIOLATION, INCOMPLETE, EXPORT, ROWS, RESUME, NOT_FOUND,
];

impl SourceError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Io { .. } => FILE,
            Self::Unreadable { .. } => UNREADABLE,
            Self::Framing { .. } => FRAMING,
        }
    }

    /// The exit code of docs/format.md section 6.
    pub const fn exit(&self) -> u8 {
        match self {
            Self::Io { .. } => 64,
            Self::Unreadable { .. } => 2,
            Self::Framing { .. } => 1,
        }
    }
}
