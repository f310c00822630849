//! How callers reach the one writer.
//!
//! They meet in a bounded queue that the writer's thread empties: a group closes when it is large or when nothing more waits,
//! never by a timer. A caller who is alone takes the writer itself and writes on its own thread, because two changes of
//! thread cost a third of an fdatasync. The writer is behind one lock, so there is still exactly one.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use super::prepare::Prepared;
use super::queue::{Queue, Refusals, Refused};
use super::writer::{Outcome, Request, Writer};
use crate::Error;

/// The writer and the way to it.
#[derive(Debug)]
pub(crate) struct Front {
    writer: Mutex<Writer>,
    queue: Queue<Request>,
    callers: AtomicUsize,
}

/// Counts a caller for as long as it waits for its answer.
#[derive(Debug)]
struct Caller<'a>(&'a AtomicUsize);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Front {
    pub(crate) const fn new(writer: Writer, queue: Queue<Request>) -> Self {
        Self {
            writer: Mutex::new(writer),
            queue,
            callers: AtomicUsize::new(0),
        }
    }

    /// How many callers wait for their answers.
    pub(crate) fn waiting(&self) -> usize {
        self.callers.load(Ordering::Acquire)
    }

    /// How often the queue refused something.
    pub(crate) fn refusals(&self) -> Refusals {
        self.queue.refusals()
    }

    /// The writer's thread: runs until the queue is closed and empty.
    pub(crate) fn run(&self) {
        let mut inbox = VecDeque::new();
        while self.queue.receive(&mut inbox).is_some() {
            // After a panic the rest of the inbox is taken in like everything later: it is refused.
            while !inbox.is_empty() {
                drop(guarded(&mut self.writer(), |writer| {
                    writer.take_all(&mut inbox);
                    // Whoever came while these were checked shares their fdatasync.
                    while let Some(room) = writer.room()
                        && self.queue.receive_more(&mut inbox, room)
                    {
                        writer.take_all(&mut inbox);
                    }
                    writer.commit();
                }));
            }
        }
    }

    /// Writes one append, from a task.
    pub(crate) async fn append(&self, append: Box<Prepared>) -> Result<Outcome, Error> {
        let (_caller, alone) = self.enter();
        let append = if alone && may_block() {
            self.alone(append)?
        } else {
            Err(append)
        };
        match append {
            Ok(outcome) => Ok(outcome),
            Err(append) => answered(self.queue(append)?.await),
        }
    }

    /// Writes one append, from a thread that may wait.
    pub(crate) fn append_blocking(&self, append: Box<Prepared>) -> Result<Outcome, Error> {
        let (_caller, alone) = self.enter();
        let append = if alone {
            self.alone(append)?
        } else {
            Err(append)
        };
        match append {
            Ok(outcome) => Ok(outcome),
            Err(append) => answered(self.queue(append)?.blocking_recv()),
        }
    }

    /// Leaves something for the writer's thread.
    pub(crate) fn send(&self, request: Request) -> Result<(), Error> {
        match self.queue.send(request) {
            Ok(()) => Ok(()),
            Err(Refused::Full(by)) => Err(Error::overloaded(by)),
            Err(Refused::Closed) => Err(Error::Closed),
        }
    }

    /// Writes again after a failure that passed.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        guarded(&mut self.writer(), Writer::resume)?
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn stop(&self) {
        self.queue.close();
    }

    /// Writes the frame of a clean stop, after [`Front::stop`] and after the thread has ended.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.writer().close()
    }

    /// Counts a caller who queues several appends, until the guard goes.
    pub(crate) fn together(&self) -> impl Drop + '_ {
        self.enter().0
    }

    fn enter(&self) -> (Caller<'_>, bool) {
        let alone = self.callers.fetch_add(1, Ordering::AcqRel) == 0;
        (Caller(&self.callers), alone)
    }

    /// Leaves one append to the writer's thread; whoever queues several waits for the answers afterwards.
    pub(crate) fn queue(
        &self,
        append: Box<Prepared>,
    ) -> Result<oneshot::Receiver<Result<Outcome, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Append { append, reply })?;
        Ok(answer)
    }

    /// Writes on this thread if nobody else is writing or waits; otherwise the append is given back.
    fn alone(&self, append: Box<Prepared>) -> Result<Result<Outcome, Box<Prepared>>, Error> {
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::WouldBlock) => return Ok(Err(append)),
            Err(TryLockError::Poisoned(writer)) => writer.into_inner(),
        };
        // Looked at under the lock: nothing is written once the queue is closed.
        if !self.queue.is_idle() {
            return Ok(Err(append));
        }
        guarded(&mut writer, |writer| writer.append_now(append))?.map(Ok)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // What a panic leaves behind, `Writer::give_up` has made unable to write.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `act`; if it panics, the writer never writes again and everybody who waits for it is told.
fn guarded<T>(writer: &mut Writer, act: impl FnOnce(&mut Writer) -> T) -> Result<T, Error> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| act(writer)));
    done.map_err(|_| writer.give_up())
}

/// The answer to a request that was queued. One that was dropped unanswered was in the hands of a writer that panicked.
pub(crate) fn answered<T>(
    answer: Result<Result<T, Error>, oneshot::error::RecvError>,
) -> Result<T, Error> {
    answer.unwrap_or(Err(Error::WriterPanicked))
}

/// Whether this thread may wait for the disk: not if it is the only one that its runtime has.
fn may_block() -> bool {
    Handle::try_current().map_or(true, |handle| {
        handle.runtime_flavor() == RuntimeFlavor::MultiThread && handle.metrics().num_workers() > 1
    })
}
