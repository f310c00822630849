//! Writing: callers prepare, one queue, one writer.
//!
//! - `prepare`: what needs no order, on the caller's thread;
//! - `front`: how callers reach the writer;
//! - `queue`: where callers meet;
//! - `lag`: who may still write when the log is far behind;
//! - `lanes`: whose turn it is where more waits than fits into a group;
//! - `recent`: conditions;
//! - `chains`: the end of each chain, and the header of the next event;
//! - `writer`: what owns the journal.

pub(crate) mod chains;
pub(crate) mod front;
pub(crate) mod lag;
pub(crate) mod lanes;
pub(crate) mod prepare;
pub(crate) mod queue;
#[cfg(test)]
mod queue_model;
pub(crate) mod recent;
pub(crate) mod writer;
