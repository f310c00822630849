//! `replay`, the auditors' program: verifies, reads and exports a ledger.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(countersign_replay::cli::main())
}
