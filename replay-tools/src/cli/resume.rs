//! The file that one run of `verify` leaves for the next.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use countersign_ids::Digest;

use super::USAGE;
use super::run::Failure;
use crate::codes;
use crate::source::{Source, SourceError};
use crate::verify::{Pins, State, Verified};

/// Reads the state to go on from, and refuses one that does not belong to this ledger and these pins.
pub(super) fn read(
    path: Option<&Path>,
    source: &dyn Source,
    pins: &Pins,
) -> Result<Option<(State, Digest)>, Failure> {
    let Some(path) = path else {
        return Ok(None);
    };
    let bytes = fs::read(path).map_err(|error| failed(path, error))?;
    let state = State::parse(&bytes).and_then(|read| read.0.fits(source, pins).map(|()| read));
    state
        .map(Some)
        .map_err(|error| refused(&format!("cannot go on from `{}`: {error}", path.display())))
}

/// Writes the state beside and renames it, so that a run that is killed leaves the one before.
pub(super) fn save(path: &Path, verified: &Verified, err: &mut dyn Write) -> Result<(), Failure> {
    let Some(state) = &verified.state else {
        let why = match verified.verdict.exit {
            0 => "a level that a later run would take over was not verified, or nothing is signed",
            _ => "the verdict is not `verified`",
        };
        let message = format!("nothing was saved to `{}`: {why}", path.display());
        if verified.verdict.exit != 0 {
            // The verdict says more than its missing state, and has the exit code.
            writeln!(err, "replay: {message}")?;
            return Ok(());
        }
        return Err(refused(&message));
    };
    let (bytes, digest) = state
        .to_bytes()
        .map_err(|error| refused(&error.to_string()))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    fs::write(beside, bytes).map_err(|error| failed(beside, error))?;
    fs::rename(beside, path).map_err(|error| failed(path, error))?;
    writeln!(err, "replay: saved {digest} to {}", path.display())?;
    Ok(())
}

fn refused(message: &str) -> Failure {
    Failure {
        exit: USAGE,
        code: Some(codes::RESUME),
        message: message.to_owned(),
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    let path = path.display().to_string();
    SourceError::Io { path, error }.into()
}
