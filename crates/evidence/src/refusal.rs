//! Why a connector refuses an order: one variant and one stable code per check.

use countersign_ids::{ApproverId, Code, CredentialId, Digest, Nonce, Sequence, Time};

use crate::codes;
use crate::keys::KeyError;
use crate::message::Mode;
use crate::statement::StatementError;

/// A check that did not pass. The code stands in the signed outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The delivery holds no order that can be read.
    #[error("the delivery holds no order that can be read: {0}")]
    Malformed(String),
    /// B is not the body that E names.
    #[error("the body of the delivered event does not hash to the one that its header names")]
    Body,
    /// The connector's mode.
    #[error("the connector is in mode `{0:?}`, which does not let this order pass")]
    Mode(Mode),
    /// A key statement of the delivery.
    #[error("a key statement of the delivery is refused: {0}")]
    Keys(#[source] KeyError),
    /// The signature of the order.
    #[error("no order key of the ledger that holds now signed the order")]
    Signature,
    /// Ledger, chain, site or connector.
    #[error("the order is for another {0}")]
    Audience(&'static str),
    /// The generation of the pairing.
    #[error("the order is for generation {found} of the pairing, this is {wanted}")]
    Generation {
        /// The connector's generation.
        wanted: u64,
        /// The order's.
        found: u64,
    },
    /// The pinned document.
    #[error("the order was made for another pinned document than the one in force here")]
    Document,
    /// It begins later.
    #[error("the order counts from `{from}`, and it is `{now}` here")]
    NotYet {
        /// `not_before`.
        from: Time,
        /// The connector's clock.
        now: Time,
    },
    /// It is over.
    #[error("the order or its action expired at `{until}`, and it is `{now}` here")]
    Expired {
        /// The earlier end of order and action.
        until: Time,
        /// The connector's clock.
        now: Time,
    },
    /// Its window.
    #[error("the order counts for longer than 120 seconds, or ends before it begins")]
    Window,
    /// Its nonce.
    #[error("the order's nonce `{0}` was used before")]
    NonceSeen(Nonce),
    /// Its sequence.
    #[error("the order's sequence {} is not above the last accepted, {}", found.get(), last.get())]
    Sequence {
        /// The last accepted.
        last: Sequence,
        /// The order's.
        found: Sequence,
    },
    /// Action, action object, event.
    #[error("the order, its event and its action object do not name one action")]
    Action,
    /// A statement that approves something else, or does not approve.
    #[error("the statement by credential `{0}` does not approve this action")]
    StatementAction(CredentialId),
    /// A credential that is not pinned.
    #[error("the site pins no credential `{0}`")]
    StatementUnpinned(CredentialId),
    /// A statement that does not verify.
    #[error("a statement is refused: {0}")]
    Statement(#[source] StatementError),
    /// A statement outside of its times.
    #[error("the statement by credential `{credential}` does not count at `{now}`")]
    StatementTime {
        /// The credential.
        credential: CredentialId,
        /// The clock.
        now: Time,
    },
    /// Break-glass where it does not count.
    #[error("`{0}` broke the glass, and the site's document does not let that count")]
    BreakGlass(ApproverId),
    /// A person twice, or votes of two rounds.
    #[error("the statement by `{0}` is a second one, or of another round")]
    StatementRepeated(ApproverId),
    /// Executed under before.
    #[error("the statement `{0}` was executed under before")]
    StatementExecuted(Digest),
    /// Too few.
    #[error("the site's floor asks for {wanted} people, and {found} approved")]
    Floor {
        /// The floor.
        wanted: u64,
        /// Distinct people.
        found: u64,
    },
    /// The checkpoint's signature or origin.
    #[error("no checkpoint key of the ledger that holds now signed the checkpoint of this chain")]
    Checkpoint,
    /// A smaller checkpoint.
    #[error("the checkpoint has size {found}, below the accepted {accepted}")]
    CheckpointBehind {
        /// The size accepted before.
        accepted: u64,
        /// The size of this one.
        found: u64,
    },
    /// The inclusion proof.
    #[error("the order's event is not shown to be in the tree that the checkpoint signs")]
    Inclusion,
    /// The consistency proof.
    #[error("the checkpoint is not shown to extend the one that was accepted")]
    Consistency,
    /// The state of the site.
    #[error("the site is not in the state that the action was planned against")]
    Precondition,
    /// The rollback plan.
    #[error("the rollback plan is not the one that was approved")]
    Readiness,
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => codes::ORDER_MALFORMED,
            Self::Body => codes::ORDER_BODY,
            Self::Mode(_) => codes::ORDER_MODE,
            Self::Keys(_) => codes::KEY_STATEMENT_REFUSED,
            Self::Signature => codes::ORDER_SIGNATURE,
            Self::Audience(_) => codes::ORDER_AUDIENCE,
            Self::Generation { .. } => codes::ORDER_GENERATION,
            Self::Document => codes::ORDER_DOCUMENT,
            Self::NotYet { .. } => codes::ORDER_NOT_YET,
            Self::Expired { .. } => codes::ORDER_EXPIRED,
            Self::Window => codes::ORDER_WINDOW,
            Self::NonceSeen(_) => codes::ORDER_NONCE_SEEN,
            Self::Sequence { .. } => codes::ORDER_SEQUENCE,
            Self::Action => codes::ORDER_ACTION,
            Self::StatementAction(_) => codes::STATEMENT_ACTION,
            Self::StatementUnpinned(_) => codes::STATEMENT_UNPINNED,
            Self::Statement(_) => codes::STATEMENT_REFUSED,
            Self::StatementTime { .. } => codes::STATEMENT_TIME,
            Self::BreakGlass(_) => codes::STATEMENT_BREAK_GLASS,
            Self::StatementRepeated(_) => codes::STATEMENT_REPEATED,
            Self::StatementExecuted(_) => codes::STATEMENT_EXECUTED,
            Self::Floor { .. } => codes::ORDER_FLOOR,
            Self::Checkpoint => codes::ORDER_CHECKPOINT,
            Self::CheckpointBehind { .. } => codes::ORDER_CHECKPOINT_BEHIND,
            Self::Inclusion => codes::ORDER_INCLUSION,
            Self::Consistency => codes::ORDER_CONSISTENCY,
            Self::Precondition => codes::ORDER_PRECONDITION,
            Self::Readiness => codes::ORDER_READINESS,
        }
    }
}
