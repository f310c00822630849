//! Why a policy set is not used, or a verdict could not be given.

use countersign_ids::Code;
use thiserror::Error;

/// A policy set is refused as a whole, or a request cannot be put to it.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no policy at all, which would deny everything without a reason.
    #[error("there is no policy file")]
    Empty,
    /// A file is larger, or there are more of them, than anybody reads.
    #[error("the policies are larger than {limit} bytes")]
    TooLarge {
        /// The largest size of all files together.
        limit: usize,
    },
    /// A file is not Cedar.
    #[error("`{file}` is not Cedar: {detail}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser says, with the place.
        detail: String,
    },
    /// A policy has no `@id` of the right form, so its decisions could not be read later.
    #[error("a policy in `{file}` has no `@id` of lower-case letters, digits, dots and dashes")]
    Unnamed {
        /// The file.
        file: String,
    },
    /// A policy has no `@reason`, so nobody could be told why.
    #[error("the policy `{policy}` in `{file}` has no `@reason`")]
    Unreasoned {
        /// The file.
        file: String,
        /// The policy.
        policy: String,
    },
    /// Two policies have one name.
    #[error("the policy `{policy}` in `{file}` exists twice")]
    Twice {
        /// The file.
        file: String,
        /// The policy.
        policy: String,
    },
    /// A template decides nothing by itself.
    #[error("`{file}` holds a template; policies have no slots here")]
    Template {
        /// The file.
        file: String,
    },
    /// The policies do not fit the schema.
    #[error("the policies do not fit the schema: {detail}")]
    Invalid {
        /// What the validator says, a line a finding.
        detail: String,
    },
    /// The schema itself cannot be read.
    #[error("the policy schema cannot be read: {detail}")]
    Schema {
        /// What the parser says.
        detail: String,
    },
    /// The blob of a recorded policy set cannot be read.
    #[error("the recorded policy set cannot be read: {detail}")]
    Blob {
        /// What is wrong with it.
        detail: String,
    },
    /// A recorded request or entity snapshot cannot be read, or does not fit the schema.
    #[error("the recorded request cannot be read: {detail}")]
    Request {
        /// What is wrong with it.
        detail: String,
    },
    /// More people may approve than one evaluation names.
    #[error("{count} people may approve; at most {limit} are evaluated")]
    TooManyPeople {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// The policies cannot be used.
pub const POLICY_INVALID: Code = Code {
    id: "policy-invalid",
    title: "The policies cannot be used",
};
const EVIDENCE: Code = Code {
    id: "policy-evidence-unreadable",
    title: "A recorded policy decision cannot be evaluated again",
};
const PEOPLE: Code = Code {
    id: "policy-too-many-people",
    title: "More people may approve than policy evaluates",
};

/// Every code of this crate.
pub const CODES: &[Code] = &[POLICY_INVALID, EVIDENCE, PEOPLE];

impl Error {
    /// The stable code of the failure.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Empty
            | Self::TooLarge { .. }
            | Self::Syntax { .. }
            | Self::Unnamed { .. }
            | Self::Unreasoned { .. }
            | Self::Twice { .. }
            | Self::Template { .. }
            | Self::Invalid { .. }
            | Self::Schema { .. } => POLICY_INVALID,
            Self::Blob { .. } | Self::Request { .. } => EVIDENCE,
            Self::TooManyPeople { .. } => PEOPLE,
        }
    }
}
