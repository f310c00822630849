//! Gets a release to the site by its digest: what is kept already is used again, what is missing is fetched and hashed.

use std::{fs, io, path::Path, sync::Arc};

use countersign_chain::sha256;
use countersign_ids::Digest;

use crate::{
    agent::{Agent, pairing},
    error::{MANIFEST_INVALID, RELEASE_DIFFERS, release_code},
    execute::Unobtained,
    files,
    site::{MANIFEST_BYTES_MAX, Manifest, ReleaseError},
};

impl Agent {
    /// Makes a release whole here; gives its manifest.
    pub(crate) async fn obtain(&self, release: &Digest) -> Result<Arc<Manifest>, Unobtained> {
        let kept = self.changed(release).await?;
        if kept.is_some_and(|changed| changed.is_empty()) {
            return self.site.releases.manifest(release).map_err(failed);
        }
        let bytes = self
            .blob(
                release,
                u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX),
            )
            .await?;
        let manifest = Manifest::parse(&bytes).map_err(|error| Unobtained {
            code: MANIFEST_INVALID,
            detail: error.to_string(),
        })?;
        let incoming = self.layout.incoming();
        let made = files::make_private_directory(&incoming);
        made.map_err(because)?;
        for file in manifest.files() {
            let path = incoming.join(file.digest.hex());
            if !is_whole(&path, &file.digest) {
                let bytes = match self.site.releases.find(&file.digest) {
                    Some(bytes) => bytes,
                    None => self.blob(&file.digest, file.bytes).await?,
                };
                fs::write(&path, bytes).map_err(because)?;
            }
        }
        self.install(manifest).await?;
        // What is left over is fetched again or overwritten; it is no part of any release.
        if let Err(error) = fs::remove_dir_all(&incoming) {
            tracing::warn!(%error, "what was fetched could not be cleared away");
        }
        self.site.releases.manifest(release).map_err(failed)
    }

    /// What of a kept release changed; `None` if it is not kept.
    async fn changed(&self, release: &Digest) -> Result<Option<Vec<String>>, Unobtained> {
        if !self.site.releases.directory(release).is_dir() {
            return Ok(None);
        }
        let (releases, release) = (Arc::clone(&self.site.releases), *release);
        let changed = tokio::task::spawn_blocking(move || releases.changed(&release)).await;
        changed.map_err(because)?.map(Some).map_err(failed)
    }

    async fn install(&self, manifest: Manifest) -> Result<(), Unobtained> {
        let (releases, incoming) = (Arc::clone(&self.site.releases), self.layout.incoming());
        let blob =
            move |digest: &Digest| -> io::Result<Vec<u8>> { fs::read(incoming.join(digest.hex())) };
        let installed =
            tokio::task::spawn_blocking(move || releases.install(&manifest, blob)).await;
        installed.map_err(because)?.map_err(failed)
    }

    /// Fetches a blob; whatever the server sends, only the bytes that the digest names are taken.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Unobtained> {
        let proof = self.poll().map_err(because)?;
        let state = self.state();
        let connector = &pairing(&state).map_err(because)?.connector;
        let fetched = self.client.blob(connector, &proof, digest, bytes_max).await;
        let bytes = fetched.map_err(|error| Unobtained::because(format!("`{digest}`: {error}")))?;
        if sha256(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(Unobtained {
                code: RELEASE_DIFFERS,
                detail: format!("what came for `{digest}` has other bytes"),
            })
        }
    }
}

fn because(error: impl Into<Box<dyn std::error::Error>>) -> Unobtained {
    Unobtained::because(error.into().to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn failed(error: ReleaseError) -> Unobtained {
    Unobtained {
        code: release_code(&error),
        detail: error.to_string(),
    }
}

fn is_whole(path: &Path, digest: &Digest) -> bool {
    fs::read(path).is_ok_and(|bytes| sha256(&bytes) == *digest)
}
