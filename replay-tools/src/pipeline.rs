//! Work on a stream over several threads: items are pulled in batches, prepared in parallel, and folded in their order.
//!
//! Preparing is what needs nothing of the items before. Folding happens on the caller's thread, which prepares too while it
//! waits. Memory is bounded by [`AHEAD`] batches, whatever the stream holds.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Items in a batch, and about how many bytes.
const BATCH_ITEMS: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may be ready at once, per thread.
const AHEAD: usize = 3;

/// What the stream hands out.
pub(crate) trait Weighed {
    /// About how many bytes it holds.
    fn weight(&self) -> usize;
}

/// How many threads there are to use; 0 means as many as the machine has.
pub(crate) fn threads(asked: usize) -> usize {
    match asked {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        asked => asked,
    }
}

/// Prepares and folds a whole stream on `threads` threads, this one included.
pub(crate) fn run<I, S, T, E>(
    items: S,
    threads: usize,
    prepare: impl Fn(I) -> T + Sync,
    mut fold: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E>
where
    I: Weighed,
    S: Iterator<Item = Result<I, E>> + Send,
    T: Send,
    E: Send,
{
    let helpers = threads.saturating_sub(1);
    let line = Line {
        feed: Mutex::new(Feed {
            items,
            next: 0,
            failed: None,
            done: false,
        }),
        shelf: Mutex::new(Shelf {
            ready: BTreeMap::new(),
            closed: false,
        }),
        changed: Condvar::new(),
        ahead: AHEAD.saturating_mul(threads),
        prepare,
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|| line.help());
        }
        let _guard = Guard(&line);
        line.fold(&mut fold)
    })
}

/// Where batches come from, one after another.
struct Feed<S, E> {
    items: S,
    next: u64,
    failed: Option<E>,
    done: bool,
}

/// A batch, or why the stream ends.
type Batch<T, E> = Result<Vec<T>, E>;

/// Batches that are prepared and not folded yet, by number.
struct Shelf<T, E> {
    ready: BTreeMap<u64, Batch<T, E>>,
    closed: bool,
}

struct Line<S, T, E, P> {
    feed: Mutex<Feed<S, E>>,
    shelf: Mutex<Shelf<T, E>>,
    changed: Condvar,
    ahead: usize,
    prepare: P,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I, S, T, E, P> Line<S, T, E, P>
where
    I: Weighed,
    S: Iterator<Item = Result<I, E>> + Send,
    P: Fn(I) -> T + Sync,
{
    /// The next batch as it comes from the stream, with its number; none at the end.
    fn pull(&self) -> Option<(u64, Batch<I, E>)> {
        let mut feed = lock(&self.feed);
        if feed.done {
            return None;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        if let Some(error) = feed.failed.take() {
            feed.done = true;
            return Some((feed.next, Err(error)));
        }
        while batch.len() < BATCH_ITEMS && bytes < BATCH_BYTES {
            match feed.items.next() {
                Some(Ok(item)) => {
                    bytes = bytes.saturating_add(item.weight());
                    batch.push(item);
                }
                Some(Err(error)) => {
                    feed.failed = Some(error);
                    break;
                }
                None => {
                    feed.done = true;
                    break;
                }
            }
        }
        let number = feed.next;
        feed.next = number.saturating_add(1);
        Some((number, Ok(batch)))
    }

    fn prepared(&self, batch: Batch<I, E>) -> Batch<T, E> {
        batch.map(|items| items.into_iter().map(&self.prepare).collect())
    }

    /// Prepares batches until there are no more, or nobody wants them.
    fn help(&self) {
        let _guard = PanicGuard(self);
        loop {
            let mut shelf = lock(&self.shelf);
            while !shelf.closed && shelf.ready.len() >= self.ahead {
                shelf = self
                    .changed
                    .wait(shelf)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if shelf.closed {
                return;
            }
            drop(shelf);
            let Some((number, batch)) = self.pull() else {
                return;
            };
            self.put(number, self.prepared(batch));
        }
    }

    fn put(&self, number: u64, batch: Batch<T, E>) {
        lock(&self.shelf).ready.insert(number, batch);
        self.changed.notify_all();
    }

    fn fold(&self, fold: &mut dyn FnMut(T) -> Result<(), E>) -> Result<(), E> {
        let mut number = 0;
        while let Some(batch) = self.take(number) {
            for item in batch? {
                fold(item)?;
            }
            number = number.saturating_add(1);
        }
        Ok(())
    }

    /// The batch of that number, prepared here if nobody else did; none behind the last.
    fn take(&self, number: u64) -> Option<Batch<T, E>> {
        loop {
            let mut shelf = lock(&self.shelf);
            if let Some(batch) = shelf.ready.remove(&number) {
                drop(shelf);
                self.changed.notify_all();
                return Some(batch);
            }
            drop(shelf);
            match self.pull() {
                Some((pulled, batch)) if pulled == number => return Some(self.prepared(batch)),
                Some((pulled, batch)) => self.put(pulled, self.prepared(batch)),
                None => return self.wait_for(number),
            }
        }
    }

    /// Nothing is left to pull: the batch is a helper's, or there is none.
    fn wait_for(&self, number: u64) -> Option<Batch<T, E>> {
        if number >= lock(&self.feed).next {
            return None;
        }
        let mut shelf = lock(&self.shelf);
        while !shelf.closed && !shelf.ready.contains_key(&number) {
            shelf = self
                .changed
                .wait(shelf)
                .unwrap_or_else(PoisonError::into_inner);
        }
        shelf.ready.remove(&number)
    }
}

impl<S, T, E, P> Line<S, T, E, P> {
    fn close(&self) {
        lock(&self.shelf).closed = true;
        self.changed.notify_all();
    }
}

/// Closes the line when folding ends, however it ends: helpers that wait for room go home.
struct Guard<'l, S, T, E, P>(&'l Line<S, T, E, P>);

impl<S, T, E, P> Drop for Guard<'_, S, T, E, P> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Closes the line if a helper panics: the folding thread must not wait for it, and the panic goes on when the scope ends.
struct PanicGuard<'l, S, T, E, P>(&'l Line<S, T, E, P>);

impl<S, T, E, P> Drop for PanicGuard<'_, S, T, E, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceError;

    impl Weighed for u64 {
        fn weight(&self) -> usize {
            1000
        }
    }

    fn broken(reason: &str) -> SourceError {
        SourceError::Unreadable {
            path: "here".to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn items_are_folded_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            for length in [0_u64, 1, 255, 256, 257, 10_000] {
                let mut folded = Vec::new();
                run(
                    (0..length).map(Ok::<_, SourceError>),
                    threads,
                    |item| item * 3,
                    |item| {
                        folded.push(item);
                        Ok(())
                    },
                )
                .unwrap();
                let expected: Vec<u64> = (0..length).map(|item| item * 3).collect();
                assert_eq!(folded, expected, "{threads} threads, {length} items");
            }
        }
    }

    #[test]
    fn an_error_comes_after_everything_before_it() {
        for threads in [1, 3] {
            let items = (0..700).map(Ok).chain([Err(broken("over"))]).chain([Ok(9)]);
            let mut folded = 0;
            let ended = run(
                items,
                threads,
                |item: u64| item,
                |_| {
                    folded += 1;
                    Ok(())
                },
            );
            assert!(ended.is_err());
            assert_eq!(folded, 700);
        }
    }

    #[test]
    fn whoever_folds_may_stop() {
        let stopped = run(
            (0..100_000_u64).map(Ok::<_, SourceError>),
            3,
            |item| item,
            |item| {
                if item < 1000 {
                    Ok(())
                } else {
                    Err(broken("enough"))
                }
            },
        );
        assert!(stopped.is_err());
    }

    #[test]
    fn a_panic_on_any_thread_ends_the_run() {
        let here = thread::current().id();
        for helper in [false, true] {
            let ended = std::panic::catch_unwind(|| {
                run(
                    (0..100_000_u64).map(Ok::<_, SourceError>),
                    3,
                    |item| {
                        let mine = thread::current().id() == here;
                        assert!(mine || !helper, "a helper panics");
                        item
                    },
                    |item| {
                        assert!(helper || item < 1000, "the folding thread panics");
                        Ok(())
                    },
                )
            });
            // Where this thread is done before any helper began, nobody panics.
            assert!(ended.is_err() || helper);
        }
    }
}
