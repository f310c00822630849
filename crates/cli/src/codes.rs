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

/// Files of the data directory that others can change, or that its owner cannot.
pub(crate) const DATA_PERMISSIONS: Code = Code {
    id: "data-permissions",
    title: "Files of the data directory belong to the wrong user or are open to others",
};
/// Little room is left.
pub(crate) const DISK_LOW: Code = Code {
    id: "disk-low",
    title: "Little space is left for the ledger",
};
/// No directory of policies.
pub(crate) const POLICIES_ABSENT: Code = Code {
    id: "policies-absent",
    title: "There is no directory of policies yet",
};
/// A secret of the set-up that should be elsewhere by now.
pub(crate) const SETUP_SECRET_KEPT: Code = Code {
    id: "setup-secret-kept",
    title: "A secret that is needed for set-up only is still on the server",
};
/// A blob that an event names is not there.
pub(crate) const BLOB_LOST: Code = Code {
    id: "blob-lost",
    title: "A file that an event names is not there",
};
/// Bytes of an unfinished write at the end of the journal.
pub(crate) const TAIL_TORN: Code = Code {
    id: "tail-torn",
    title: "The journal ends with an unfinished write",
};
/// The journal does not say `closed`.
pub(crate) const NOT_CLOSED: Code = Code {
    id: "not-closed",
    title: "The server was not stopped cleanly",
};
/// This machine's clock is behind the ledger.
pub(crate) const CLOCK_BEHIND: Code = Code {
    id: "clock-behind",
    title: "The clock is behind the last event",
};
/// Events that no checkpoint covers.
pub(crate) const CHECKPOINT_LATE: Code = Code {
    id: "checkpoint-late",
    title: "Events are under no signed checkpoint",
};
/// A connector without a lease.
pub(crate) const CONNECTOR_SILENT: Code = Code {
    id: "connector-silent",
    title: "A connector is silent for longer than its lease",
};
/// The log is absent, or an earlier one lies beside it.
pub(crate) const LOG_SET_ASIDE: Code = Code {
    id: "log-set-aside",
    title: "The log behind the journal was set aside or is absent",
};

/// The server's own work that is due and not done.
pub(crate) const WORK_STUCK: Code = Code {
    id: "work-stuck",
    title: "The server's own work is due and not done",
};
/// The log is late.
pub(crate) const LOG_BEHIND: Code = Code {
    id: "log-behind",
    title: "The log is behind the journal",
};
