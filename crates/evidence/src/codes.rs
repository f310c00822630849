//! The stable codes of this crate's failures; each has a page `docs/errors/<id>.md`.

use countersign_ids::Code;

/// The bytes are not an approval statement.
pub const STATEMENT_MALFORMED: Code = Code {
    id: "statement-malformed",
    title: "The bytes are not an approval statement",
};
/// The statement's times are not one window of at most 24 hours.
pub const STATEMENT_WINDOW: Code = Code {
    id: "statement-window",
    title: "The statement's times are not one window of at most 24 hours",
};
/// This way of signing is not supported yet.
pub const ALG_UNSUPPORTED: Code = Code {
    id: "alg-unsupported",
    title: "This way of signing is not supported yet",
};
/// The statement names a credential that is not the enrolled one.
pub const STATEMENT_CREDENTIAL: Code = Code {
    id: "statement-credential",
    title: "The statement names a credential that is not the enrolled one",
};
/// The signature is not the approver's over this statement.
pub const STATEMENT_SIGNATURE: Code = Code {
    id: "statement-signature",
    title: "The signature is not the approver's over this statement",
};
/// The key did not prove its own enrolment.
pub const ENROLMENT_PROOF: Code = Code {
    id: "enrolment-proof",
    title: "The key did not prove its own enrolment",
};
/// The pinned document breaks one of its rules.
pub const DOCUMENT_INVALID: Code = Code {
    id: "document-invalid",
    title: "The pinned document breaks one of its rules",
};
/// The message is not signed by this connector's key.
pub const MESSAGE_SIGNATURE: Code = Code {
    id: "message-signature",
    title: "The message is not signed by this connector's key",
};
/// The bytes are not a connector's message.
pub const MESSAGE_MALFORMED: Code = Code {
    id: "message-malformed",
    title: "The bytes are not a connector's message",
};
/// A key statement does not follow or is not signed as it must be.
pub const KEY_STATEMENT_REFUSED: Code = Code {
    id: "key-statement-refused",
    title: "A key statement does not follow or is not signed as it must be",
};
/// The connector's mode does not let this order pass.
pub const ORDER_MODE: Code = Code {
    id: "order-mode",
    title: "The connector's mode does not let this order pass",
};
/// The delivery holds no order that can be read.
pub const ORDER_MALFORMED: Code = Code {
    id: "order-malformed",
    title: "The delivery holds no order that can be read",
};
/// The body of the delivered event is not the one that its header names.
pub const ORDER_BODY: Code = Code {
    id: "order-body",
    title: "The body of the delivered event is not the one that its header names",
};
/// No order key of the ledger that holds now signed the order.
pub const ORDER_SIGNATURE: Code = Code {
    id: "order-signature",
    title: "No order key of the ledger that holds now signed the order",
};
/// The order is for another ledger, chain, site or connector.
pub const ORDER_AUDIENCE: Code = Code {
    id: "order-audience",
    title: "The order is for another ledger, chain, site or connector",
};
/// The order is for another generation of the pairing.
pub const ORDER_GENERATION: Code = Code {
    id: "order-generation",
    title: "The order is for another generation of the pairing",
};
/// The order was made for another pinned document.
pub const ORDER_DOCUMENT: Code = Code {
    id: "order-document",
    title: "The order was made for another pinned document",
};
/// The order does not count yet by the connector's clock.
pub const ORDER_NOT_YET: Code = Code {
    id: "order-not-yet",
    title: "The order does not count yet by the connector's clock",
};
/// The order, or its action, has expired by the connector's clock.
pub const ORDER_EXPIRED: Code = Code {
    id: "order-expired",
    title: "The order, or its action, has expired by the connector's clock",
};
/// The order counts for longer than an order may.
pub const ORDER_WINDOW: Code = Code {
    id: "order-window",
    title: "The order counts for longer than an order may",
};
/// The order's nonce was used before.
pub const ORDER_NONCE_SEEN: Code = Code {
    id: "order-nonce-seen",
    title: "The order's nonce was used before",
};
/// The order's sequence is not above the last accepted.
pub const ORDER_SEQUENCE: Code = Code {
    id: "order-sequence",
    title: "The order's sequence is not above the last accepted",
};
/// The order, its event and its action object do not name one action.
pub const ORDER_ACTION: Code = Code {
    id: "order-action",
    title: "The order, its event and its action object do not name one action",
};
/// A statement approves something else than this action.
pub const STATEMENT_ACTION: Code = Code {
    id: "order-statement-action",
    title: "A statement approves something else than this action",
};
/// A statement is by a credential that the site does not pin.
pub const STATEMENT_UNPINNED: Code = Code {
    id: "order-statement-unpinned",
    title: "A statement is by a credential that the site does not pin",
};
/// A statement is malformed or not signed by its credential.
pub const STATEMENT_REFUSED: Code = Code {
    id: "order-statement-refused",
    title: "A statement is malformed or not signed by its credential",
};
/// A statement does not count now by the connector's clock.
pub const STATEMENT_TIME: Code = Code {
    id: "order-statement-time",
    title: "A statement does not count now by the connector's clock",
};
/// A break-glass statement, and the site does not let them count.
pub const STATEMENT_BREAK_GLASS: Code = Code {
    id: "order-break-glass",
    title: "A break-glass statement, and the site does not let them count",
};
/// Two statements are by one person.
pub const STATEMENT_REPEATED: Code = Code {
    id: "order-statement-repeated",
    title: "Two statements are by one person",
};
/// A statement was executed under before.
pub const STATEMENT_EXECUTED: Code = Code {
    id: "order-statement-executed",
    title: "A statement was executed under before",
};
/// Fewer people approved than the site's floor asks for.
pub const ORDER_FLOOR: Code = Code {
    id: "order-floor",
    title: "Fewer people approved than the site's floor asks for",
};
/// The checkpoint is not signed by a checkpoint key of the ledger that holds now.
pub const ORDER_CHECKPOINT: Code = Code {
    id: "order-checkpoint",
    title: "The checkpoint is not signed by a checkpoint key of the ledger that holds now",
};
/// The checkpoint is smaller than one that the connector accepted.
pub const ORDER_CHECKPOINT_BEHIND: Code = Code {
    id: "order-checkpoint-behind",
    title: "The checkpoint is smaller than one that the connector accepted",
};
/// The order's event is not in the tree that the checkpoint signs.
pub const ORDER_INCLUSION: Code = Code {
    id: "order-inclusion",
    title: "The order's event is not in the tree that the checkpoint signs",
};
/// The checkpoint does not extend the one that the connector accepted.
pub const ORDER_CONSISTENCY: Code = Code {
    id: "order-consistency",
    title: "The checkpoint does not extend the one that the connector accepted",
};
/// The site is not in the state that the action was planned against.
pub const ORDER_PRECONDITION: Code = Code {
    id: "order-precondition",
    title: "The site is not in the state that the action was planned against",
};
/// The rollback plan is not the one that was approved.
pub const ORDER_READINESS: Code = Code {
    id: "order-readiness",
    title: "The rollback plan is not the one that was approved",
};

/// All of them.
pub const CODES: &[Code] = &[
    STATEMENT_MALFORMED,
    STATEMENT_WINDOW,
    ALG_UNSUPPORTED,
    STATEMENT_CREDENTIAL,
    STATEMENT_SIGNATURE,
    ENROLMENT_PROOF,
    DOCUMENT_INVALID,
    MESSAGE_SIGNATURE,
    MESSAGE_MALFORMED,
    KEY_STATEMENT_REFUSED,
    ORDER_MODE,
    ORDER_MALFORMED,
    ORDER_BODY,
    ORDER_SIGNATURE,
    ORDER_AUDIENCE,
    ORDER_GENERATION,
    ORDER_DOCUMENT,
    ORDER_NOT_YET,
    ORDER_EXPIRED,
    ORDER_WINDOW,
    ORDER_NONCE_SEEN,
    ORDER_SEQUENCE,
    ORDER_ACTION,
    STATEMENT_ACTION,
    STATEMENT_UNPINNED,
    STATEMENT_REFUSED,
    STATEMENT_TIME,
    STATEMENT_BREAK_GLASS,
    STATEMENT_REPEATED,
    STATEMENT_EXECUTED,
    ORDER_FLOOR,
    ORDER_CHECKPOINT,
    ORDER_CHECKPOINT_BEHIND,
    ORDER_INCLUSION,
    ORDER_CONSISTENCY,
    ORDER_PRECONDITION,
    ORDER_READINESS,
];
