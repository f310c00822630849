//! Callers that are slow, on purpose or not: they are let go of, and hold nothing up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::time::Duration;

use countersign_api::Bounds;
use support::{BOUND, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to the server, as bare as it gets.
async fn connect(server: &Server) -> TcpStream {
    let address = server.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_trickle_are_not_waited_for() {
    let bounds = Bounds {
        headers: Duration::from_millis(300),
        ..Bounds::default()
    };
    let server = Server::open(tempfile::tempdir().unwrap(), bounds).await;
    let mut trickle = connect(&server).await;
    trickle
        .write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\nx-slow: ")
        .await
        .unwrap();
    let cut = async {
        let mut byte = [0];
        loop {
            // Never silent: a byte every moment, and never a whole header.
            let said = tokio::time::timeout(Duration::from_millis(20), trickle.read(&mut byte));
            match said.await {
                Err(_) => {
                    if trickle.write_all(b"x").await.is_err() {
                        return;
                    }
                }
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(BOUND, cut)
        .await
        .expect("it is waited for");
    let whole = server.admin().get("/v1/tenants").await;
    assert!(whole.status.is_success(), "{whole:?}");
    server.stop().await;
}
