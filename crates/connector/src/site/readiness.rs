//! How ready the way back is: what would be restored after a change, proved now and not remembered.
//!
//! The release that is live now is what a change is taken back to. It is EXACT when every one of its files was hashed
//! again, and it was served at its preview address and probed; otherwise the plan says what is not as it was.

use std::{net::SocketAddr, sync::Arc};

use countersign_evidence::{
    OrDash,
    action::{Grade, RollbackPlan},
    wire::V1,
};
use countersign_ids::{Digest, SiteId};

use super::{Prober, ReleaseError, Releases};

/// The name of this executor in a plan.
pub const CONNECTOR: &str = "static";
/// The most names of changed files in a plan.
pub const LOST_MAX: usize = 64;

/// Proves how ready the way back to `restore` is.
pub async fn prove(
    releases: &Arc<Releases>,
    prober: &Prober,
    preview: SocketAddr,
    site: &SiteId,
    restore: Option<Digest>,
) -> Result<RollbackPlan, ReleaseError> {
    let (grade, lost) = match restore {
        None => (Grade::None, Vec::new()),
        Some(release) => {
            let lost = lost(releases, prober, preview, release).await?;
            (
                if lost.is_empty() {
                    Grade::Exact
                } else {
                    Grade::Stale
                },
                lost,
            )
        }
    };
    Ok(RollbackPlan {
        v: V1,
        site: site.clone(),
        connector: CONNECTOR.to_owned(),
        restore: OrDash(restore),
        grade,
        lost,
    })
}

/// Names, in order, what of a release is not as it was: the same state gives the same plan, byte for byte.
async fn lost(
    releases: &Arc<Releases>,
    prober: &Prober,
    preview: SocketAddr,
    release: Digest,
) -> Result<Vec<String>, ReleaseError> {
    let store = Arc::clone(releases);
    let changed = tokio::task::spawn_blocking(move || store.changed(&release)).await;
    let mut lost: Vec<String> = changed.map_err(|_| ReleaseError::Missing { release })??;
    if lost.is_empty() {
        let manifest = releases.manifest(&release)?;
        let report = prober.preview(preview, &manifest).await;
        lost = report
            .failures
            .into_iter()
            .map(|failure| format!("preview of {}", failure.page))
            .collect();
    }
    lost.truncate(LOST_MAX);
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::site::{preview, tests::install};

    #[tokio::test]
    async fn readiness_is_proved_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let server = preview(([127, 0, 0, 1], 0).into(), Arc::clone(&releases))
            .await
            .unwrap();
        let (prober, site) = (Prober::new().unwrap(), "www".parse().unwrap());
        let check = async |restore| {
            let plan = prove(&releases, &prober, server.address(), &site, restore)
                .await
                .unwrap();
            (plan.grade, plan.lost.join(" "), plan.digest().unwrap())
        };
        assert_eq!(check(None).await.0, Grade::None);
        let one = install(&releases, "one");
        let (grade, lost, digest) = check(Some(one)).await;
        assert_eq!((grade, lost.as_str()), (Grade::Exact, ""));
        assert_eq!(check(Some(one)).await.2, digest);

        let page = releases.directory(&one).join("files/guide/index.html");
        let whole = std::fs::read(&page).unwrap();
        std::fs::set_permissions(&page, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&page, "changed").unwrap();
        let (grade, lost, stale) = check(Some(one)).await;
        assert_eq!((grade, lost.as_str()), (Grade::Stale, "guide/index.html"));
        assert_ne!(stale, digest);
        std::fs::write(&page, whole).unwrap();
        assert_eq!(check(Some(one)).await.2, digest);
        std::fs::remove_file(&page).unwrap();
        assert_eq!(check(Some(one)).await.1, "guide/index.html");
    }

    #[tokio::test]
    async fn a_release_that_is_broken_in_preview_is_not_ready() {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let server = preview(([127, 0, 0, 1], 0).into(), Arc::clone(&releases))
            .await
            .unwrap();
        let mut files = crate::site::tests::sample_files("one");
        files.insert("x.html".parse().unwrap(), b"<img src=none.png>".to_vec());
        let release = crate::site::tests::install_files(&releases, "one", &files);
        let plan = prove(
            &releases,
            &Prober::new().unwrap(),
            server.address(),
            &"www".parse().unwrap(),
            Some(release),
        )
        .await
        .unwrap();
        assert_eq!(
            (plan.grade, plan.lost),
            (Grade::Stale, vec!["preview of x.html".to_owned()])
        );
    }
}
