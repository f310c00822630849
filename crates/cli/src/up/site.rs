//! The sample site's releases, embedded by build.rs from examples/site/.

use anyhow::{Context, Result};
use countersign_connector::site::{FilePath, Manifest};
use std::collections::BTreeMap;

/// One release, as committed.
#[derive(Debug)]
pub(crate) struct Release {
    /// What people call it.
    pub(crate) label: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

/// All releases, in the order of their publication.
pub(crate) const RELEASES: &[Release] = include!(concat!(env!("OUT_DIR"), "/site.rs"));

impl Release {
    /// The manifest, and the bytes of every file.
    pub(crate) fn describe(&self) -> Result<(Manifest, Vec<Vec<u8>>)> {
        let mut files = BTreeMap::new();
        for (path, bytes) in self.files {
            let path: FilePath = path
                .parse()
                .with_context(|| format!("`{path}` is no path of a release"))?;
            files.insert(path, bytes.to_vec());
        }
        let manifest = Manifest::build(self.label, &files)
            .context("the sample release cannot be described")?;
        Ok((manifest, files.into_values().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::RELEASES;

    #[test]
    fn the_broken_page_points_at_the_preview_of_the_first_release() {
        let (first, _) = RELEASES[0].describe().unwrap();
        let preview = format!("\"/preview/{}/assets/plan.", first.digest().hex());
        let page = RELEASES[2]
            .files
            .iter()
            .find(|(path, _)| *path == "visit.html")
            .unwrap()
            .1;
        assert!(
            String::from_utf8_lossy(page).contains(&preview),
            "build.py and the manifest disagree on the digest"
        );
    }

    #[test]
    fn every_release_has_a_dozen_pages() {
        for release in RELEASES {
            assert!(
                release.describe().unwrap().0.pages().len() >= 12,
                "{}",
                release.label
            );
        }
    }
}
