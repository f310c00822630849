//! Reading a ledger that is served: bodies may go while it is read.
//!
//! A removal is ordered by an event that is durable before any body goes. If one was ordered behind the end of what was read, a
//! body may be gone whose explanation was not read; then everything is read again, that event included.

use std::path::Path;

use crate::open::open;
use crate::source::{Source, SourceError};

/// How often a ledger is read at most. Each time somebody must have ordered a removal while it was read.
const READINGS_MAX: u32 = 4;

/// What was read, and whether it explains what is gone.
#[derive(Debug)]
pub struct Reading<T> {
    /// What came of it.
    pub outcome: T,
    /// False where a removal was ordered behind its end each time.
    pub settled: bool,
}

/// Opens what a path names and reads it, again where it changed under the reader.
///
/// `read` is told which reading it is, from 0; `needs` says whether an outcome would be another one with the explanation.
///
/// # Errors
/// What `read` returns, and what opening does.
pub fn read_settled<T, E: From<SourceError>>(
    path: &Path,
    mut read: impl FnMut(&mut dyn Source, u32) -> Result<T, E>,
    needs: impl Fn(&T) -> bool,
) -> Result<Reading<T>, E> {
    let mut reading = 0;
    loop {
        let mut source = open(path)?;
        let outcome = read(source.as_mut(), reading)?;
        let settled = !needs(&outcome) || !source.removes_behind()?;
        reading += 1;
        if settled || reading == READINGS_MAX {
            return Ok(Reading { outcome, settled });
        }
    }
}
