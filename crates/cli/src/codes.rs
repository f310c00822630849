//! Codes of the failures that only the command line has.

use countersign_ids::Code;

/// `up` was pointed at a directory that it did not make.
pub(crate) const NOT_A_SAMPLE: Code = Code {
    id: "not-a-sample",
    title: "The directory was not made by `countersign up`",
};
/// `serve` was pointed at a directory that `up` made.
pub(crate) const SAMPLE_DATA: Code = Code {
    id: "sample-data",
    title: "A sample cannot be served for real",
};
/// A key file that others can read.
pub(crate) const KEY_EXPOSED: Code = Code {
    id: "key-exposed",
    title: "Others can read the private key",
};
/// The view document is not the one that the ledger names.
pub(crate) const VIEW_MISMATCH: Code = Code {
    id: "view-mismatch",
    title: "The server shows something else than it recorded",
};
