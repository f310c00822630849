//! Connections within bounds: so many at one time, and none whose other end takes nothing or that is silent for long.
//!
//! A peer that does not read fills the kernel's buffers and would hold a stream's memory for ever; here a write that makes no
//! progress in time fails, and the connection with it. A peer that asks nothing would hold a connection for ever; a read that
//! waits while nothing goes in or out fails as well. Polls and streams write within that time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// A listener that keeps its bounds.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    connections: Arc<Semaphore>,
    stalled: Duration,
    idle: Duration,
    cut: fn(),
}

impl Bounded {
    /// So many connections at one time; a write that makes no progress for `stalled` fails, and so does a read that waits
    /// while nothing went in or out for `idle`.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        connections: usize,
        stalled: Duration,
        idle: Duration,
    ) -> Self {
        Self {
            listener,
            connections: Arc::new(Semaphore::new(connections)),
            stalled,
            idle,
            cut: || (),
        }
    }

    /// The same, telling whenever a connection is cut because its other end takes nothing.
    #[must_use]
    pub fn telling(mut self, cut: fn()) -> Self {
        self.cut = cut;
        self
    }
}

impl Listener for Bounded {
    type Io = Guarded<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let permit = Arc::clone(&self.connections).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        stream.set_nodelay(true).ok();
        (
            Guarded {
                cut: self.cut,
                ..Guarded::new(stream, self.stalled, self.idle, permit)
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection whose writes must make progress, and that must not be silent.
#[derive(Debug)]
pub struct Guarded<S> {
    stream: S,
    stalled: Duration,
    /// Set while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    idle: Duration,
    /// Ends when nothing went in or out for so long.
    silence: Pin<Box<Sleep>>,
    /// Told once when it is cut because its writes make no progress.
    cut: fn(),
    _permit: Option<OwnedSemaphorePermit>,
}

impl<S> Guarded<S> {
    fn new(
        stream: S,
        stalled: Duration,
        idle: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            stream,
            stalled,
            deadline: None,
            idle,
            silence: Box::pin(sleep(idle)),
            cut: || (),
            _permit: permit,
        }
    }

    /// Something went in or out.
    fn heard(&mut self) {
        if let Some(end) = Instant::now().checked_add(self.idle) {
            self.silence.as_mut().reset(end);
        }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    fn guard<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.deadline = None;
            return Poll::Ready(done);
        }
        let stalled = self.stalled;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(stalled)));
        ready!(deadline.as_mut().poll(context));
        std::mem::replace(&mut self.cut, || ())();
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer takes nothing",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.heard();
            return Poll::Ready(done);
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer asks nothing",
        )))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = self.guard(context, |stream, context| stream.poll_write(context, bytes));
        if done.is_ready() {
            self.heard();
        }
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.guard(context, |stream, context| stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = self.guard(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        });
        if done.is_ready() {
            self.heard();
        }
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (ours, theirs) = tokio::io::duplex(64);
        let stalled = Duration::from_millis(20);
        let mut guarded = Guarded::new(ours, stalled, Duration::from_secs(60), None);
        let error = guarded.write_all(&[0; 1024]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_peer_that_asks_nothing_is_cut_but_not_while_it_is_served() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let idle = Duration::from_millis(200);
        let mut guarded = Guarded::new(ours, Duration::from_secs(60), idle, None);
        sleep(idle / 2).await;
        let served = Instant::now();
        guarded.write_all(b"x").await.unwrap();
        let error = guarded.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(served.elapsed() >= idle);
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(guarded.read_u8().await.unwrap(), b'x');
    }
}
