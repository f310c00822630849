//! The static-site executor: immutable releases by digest, two addresses, probes, and how ready the way back is.
//!
//! Knows nothing of orders or signatures: `execute` decides what to do and when, this module does it to one directory.

mod beneath;
mod css;
mod links;
mod manifest;
mod path;
mod probe;
mod readiness;
mod releases;
mod serve;

pub use manifest::{
    FILE_BYTES_MAX, FILES_MAX, LABEL_BYTES_MAX, LIVE_BASE_PATH, MANIFEST_BYTES_MAX, Manifest,
    ManifestError, PAGES_MAX, ReleaseFile,
};
pub use path::{FilePath, PATH_BYTES_MAX};
pub use probe::{FAILURES_MAX, Failure, Prober, Report};
pub use readiness::{CONNECTOR, LOST_MAX, prove};
pub use releases::{ReleaseError, Releases};
pub use serve::{PREVIEW, RELEASE_HEADER, Served, live, preview};

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use countersign_chain::sha256;
    use countersign_ids::Digest;

    use super::*;

    pub(crate) fn sample_files(label: &str) -> BTreeMap<FilePath, Vec<u8>> {
        let page = |title: &str, up: &str| {
            format!("<title>{title}</title><link rel=\"stylesheet\" href=\"{up}site.css\"><h1>{label} {title}</h1>").into_bytes()
        };
        [
            ("index.html", page("home", "")),
            ("guide/index.html", page("guide", "../")),
            (
                "site.css",
                format!("h1 {{ content: '{label}' }}").into_bytes(),
            ),
        ]
        .into_iter()
        .map(|(path, bytes)| (path.parse().unwrap(), bytes))
        .collect()
    }

    pub(crate) fn described(
        label: &str,
        files: &BTreeMap<FilePath, Vec<u8>>,
    ) -> (Manifest, BTreeMap<Digest, Vec<u8>>) {
        let blobs = files
            .values()
            .map(|bytes| (sha256(bytes), bytes.clone()))
            .collect();
        (Manifest::build(label, files).unwrap(), blobs)
    }

    pub(crate) fn sample(label: &str) -> (Manifest, BTreeMap<Digest, Vec<u8>>) {
        described(label, &sample_files(label))
    }

    pub(crate) fn install_files(
        releases: &Releases,
        label: &str,
        files: &BTreeMap<FilePath, Vec<u8>>,
    ) -> Digest {
        let (manifest, blobs) = described(label, files);
        releases
            .install(&manifest, |digest| Ok(blobs[digest].clone()))
            .unwrap();
        manifest.digest()
    }

    pub(crate) fn install(releases: &Releases, label: &str) -> Digest {
        install_files(releases, label, &sample_files(label))
    }
}
