//! The clock of whoever calls: for expiries and for the window of a statement.

use anyhow::{Context, Result};
use countersign_ids::Time;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by this machine.
pub(crate) fn now() -> Result<Time> {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    Ok(Time::from_unix_millis(u64::try_from(elapsed.as_millis())?))
}
