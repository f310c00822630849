//! The auditors' library: what a ledger says, checked by somebody who trusts nobody.
//!
//! Reads a data directory (live or stopped, from its journal only) or a bundle; never writes to either. Verdicts and
//! bundles are docs/format.md section 6. Also the command line behind `replay` and `countersign replay`.

pub mod zip;
