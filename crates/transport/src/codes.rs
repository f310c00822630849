//! The codes of what goes wrong between a connector and its control plane; each has a page in docs/errors/.

use countersign_ids::Code;

/// The connector's clock is too far from the server's.
pub const CLOCK_SKEW: Code = Code {
    id: "clock-skew",
    title: "The connector's clock is too far from the server's",
};
/// The key that signed is not the one that was paired, or was replaced.
pub const UNKNOWN_KEY: Code = Code {
    id: "unknown-key",
    title: "The message is not signed by the connector's current key",
};
/// The counter was used before by another message, or is not the next one.
pub const MESSAGE_REPLAYED: Code = Code {
    id: "message-replayed",
    title: "The message's counter is not the next one",
};
/// Containment keeps the message or the order back.
pub const CONTAINED: Code = Code {
    id: "contained",
    title: "Containment of the tenant or the site forbids this",
};
/// No answer came.
pub const PLANE_UNREACHABLE: Code = Code {
    id: "plane-unreachable",
    title: "The control plane did not answer",
};
/// An answer came that is not of the expected form.
pub const PLANE_ANSWER: Code = Code {
    id: "plane-answer",
    title: "The control plane's answer has another form",
};
/// The code string is not one that `countersign` printed.
pub const PAIRING_CODE_MALFORMED: Code = Code {
    id: "pairing-code-malformed",
    title: "The text is no pairing code",
};

/// All codes of this crate.
pub const CODES: &[Code] = &[
    CLOCK_SKEW,
    UNKNOWN_KEY,
    MESSAGE_REPLAYED,
    CONTAINED,
    PLANE_UNREACHABLE,
    PLANE_ANSWER,
    PAIRING_CODE_MALFORMED,
];
