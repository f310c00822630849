//! Where a connector lives, where it serves, and whom it talks to.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a heartbeat goes out.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a connector is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its own directory: `state` (key, journal, lock) and beside it `site` (releases, `current`).
    pub dir: PathBuf,
    /// Where the live site is served, at `/`.
    pub site_listen: SocketAddr,
    /// Where previews are served, at `/preview/<release>/`.
    pub preview_listen: SocketAddr,
    /// The control plane: `http://host:port`.
    pub server_url: String,
    /// How often a heartbeat goes out and readiness is proved again.
    pub heartbeat: Duration,
}

impl Config {
    /// The usual configuration: a heartbeat every 15 seconds.
    #[must_use]
    pub fn new(
        dir: &Path,
        site_listen: SocketAddr,
        preview_listen: SocketAddr,
        server_url: &str,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            site_listen,
            preview_listen,
            server_url: server_url.to_owned(),
            heartbeat: HEARTBEAT,
        }
    }
}

/// The files of a connector.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Keys, nonces and the journal: outside of everything that is served.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The releases and the link that says which one is live.
    pub(crate) fn site(&self) -> PathBuf {
        self.dir.join("site")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.state().join("journal")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.state().join("key")
    }

    /// The key of a pairing that is not finished.
    pub(crate) fn new_key(&self) -> PathBuf {
        self.state().join("key.next")
    }

    /// The request of a pairing that is not finished.
    pub(crate) fn pairing(&self) -> PathBuf {
        self.state().join("pairing")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.state().join("lock")
    }

    /// A running connector stops when this file appears.
    pub(crate) fn stop(&self) -> PathBuf {
        self.state().join("stop")
    }

    /// Outcomes that no control plane took.
    pub(crate) fn unsaid(&self) -> PathBuf {
        self.state().join("unsaid")
    }

    /// Blobs of a release that is being fetched.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.state().join("incoming")
    }
}
