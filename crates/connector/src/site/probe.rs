//! Probes: asks for every page of a release over HTTP, and for everything that those pages refer to on the same address,
//! and what their style sheets refer to.
//!
//! A page is whole when it answers with the bytes that the manifest names and nothing that it refers to is missing.
//! References to other addresses are not asked for: a probe never leaves the site.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use countersign_chain::sha256;
use countersign_ids::Digest;
use reqwest::{Url, header, redirect};
use serde::{Deserialize, Serialize};

use super::{Manifest, css, links, serve};

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most requests of one probe.
const REQUESTS_MAX: usize = 20_000;
/// How deep style sheets may import each other.
const IMPORTS_DEEP_MAX: usize = 16;
/// The most failures that a report names.
pub const FAILURES_MAX: usize = 20;

/// What was found broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The page, as the manifest names it.
    pub page: String,
    /// What is wrong with it.
    pub what: String,
}

/// What a probe saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many pages were asked for.
    pub pages: u64,
    /// How many requests that took.
    pub requests: u64,
    /// What was broken, the first of it.
    pub failures: Vec<Failure>,
}

impl Report {
    /// Whether nothing was broken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.failures.first() {
            None => format!("{} pages whole in {} requests", self.pages, self.requests),
            Some(first) => format!(
                "`{}`: {} ({} broken of {} pages)",
                first.page,
                first.what,
                self.failures.len(),
                self.pages
            ),
        }
    }
}

/// Asks for pages; keeps connections between them.
#[derive(Debug, Clone)]
pub struct Prober {
    client: reqwest::Client,
}

/// What an address answered.
struct Answer {
    status: u16,
    /// Where it answered from in the end: what it refers to is relative to that.
    url: Url,
    bytes: Vec<u8>,
    /// The release that answered, if it was ours.
    release: Option<String>,
    is_css: bool,
}

/// One probe under way: what it asks, and what was found out.
struct Probe<'a> {
    prober: &'a Prober,
    base: Url,
    manifest: &'a Manifest,
    seen: BTreeMap<String, Result<(), String>>,
}

impl Prober {
    /// Makes a client that uses no proxy and stays on the address.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_TIMEOUT)
            .redirect(redirect::Policy::limited(2))
            .build()?;
        Ok(Self { client })
    }

    /// Probes a release at its preview address.
    pub async fn preview(&self, address: SocketAddr, manifest: &Manifest) -> Report {
        let base = format!(
            "http://{}{}{}/",
            reachable(address),
            serve::PREVIEW,
            manifest.digest().hex()
        );
        self.probe(&base, manifest).await
    }

    /// Probes a release as the live one.
    pub async fn live(&self, address: SocketAddr, manifest: &Manifest) -> Report {
        self.probe(&format!("http://{}/", reachable(address)), manifest)
            .await
    }

    async fn probe(&self, base: &str, manifest: &Manifest) -> Report {
        let mut report = Report::default();
        let Ok(base) = Url::parse(base) else {
            report.failures.push(Failure {
                page: "-".to_owned(),
                what: format!("`{base}` is no address"),
            });
            return report;
        };
        let mut probe = Probe {
            prober: self,
            base,
            manifest,
            seen: BTreeMap::new(),
        };
        for page in manifest.pages() {
            report.pages += 1;
            let expected = manifest.file(page.as_str()).map(|file| file.digest);
            let failure = match probe.base.join(page.address()) {
                Ok(url) => probe.page(&url, expected).await.err(),
                Err(error) => Some(error.to_string()),
            };
            if let Some(what) = failure
                && report.failures.len() < FAILURES_MAX
            {
                report.failures.push(Failure {
                    page: page.to_string(),
                    what,
                });
            }
        }
        report.requests = u64::try_from(probe.seen.len())
            .unwrap_or(u64::MAX)
            .saturating_add(report.pages);
        report
    }

    async fn ask(&self, url: &Url, page: Option<&Url>) -> Result<Answer, String> {
        let mut request = self.client.get(url.clone());
        if let Some(page) = page {
            request = request.header(header::REFERER, page.as_str());
        }
        let mut answer = request.send().await.map_err(|error| unanswered(&error))?;
        let said = |name: &str| {
            let value = answer.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let (status, url) = (answer.status().as_u16(), answer.url().clone());
        let release = said(serve::RELEASE_HEADER);
        let is_css = said(header::CONTENT_TYPE.as_str()).is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or("");
            kind.trim().eq_ignore_ascii_case("text/css")
        });
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unanswered(&error))? {
            bytes.extend_from_slice(&chunk);
            if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > super::FILE_BYTES_MAX {
                return Err("answered with too many bytes".to_owned());
            }
        }
        Ok(Answer {
            status,
            url,
            bytes,
            release,
            is_css,
        })
    }
}

impl Probe<'_> {
    /// One page and what it refers to; the first thing that is wrong.
    async fn page(&mut self, url: &Url, expected: Option<Digest>) -> Result<(), String> {
        let answer = self.prober.ask(url, None).await?;
        if answer.status != 200 {
            return Err(format!("answered {}", answer.status));
        }
        if answer.release.as_deref() != Some(self.manifest.digest().to_string().as_str()) {
            return Err("another release answered".to_owned());
        }
        if Some(sha256(&answer.bytes)) != expected {
            return Err("the bytes are not those of the manifest".to_owned());
        }
        let links = links::links(&String::from_utf8_lossy(&answer.bytes));
        let relative_to = match &links.base {
            Some(base) => url.join(base).map_err(|_| format!("`{base}` is no base"))?,
            None => url.clone(),
        };
        self.references(&links.references, &relative_to, url, 0)
            .await
    }

    /// Asks for everything that a page or a style sheet refers to on its own address; the first thing that is wrong.
    async fn references(
        &mut self,
        references: &[String],
        relative_to: &Url,
        of: &Url,
        deep: usize,
    ) -> Result<(), String> {
        for reference in references {
            let Ok(mut target) = relative_to.join(reference) else {
                return Err(format!("`{reference}` is no reference"));
            };
            target.set_fragment(None);
            if target.origin() != of.origin() || target == *of {
                continue;
            }
            let found = match self.seen.get(target.as_str()) {
                Some(found) => found.clone(),
                None if self.seen.len() >= REQUESTS_MAX => {
                    Err("too many references to ask for".to_owned())
                }
                None => {
                    // Sheets may import each other in a circle: what is being asked for is not asked for again.
                    self.seen.insert(target.to_string(), Ok(()));
                    let found = Box::pin(self.reference(&target, of, deep)).await;
                    self.seen.insert(target.to_string(), found.clone());
                    found
                }
            };
            found.map_err(|what| format!("`{reference}` {what}"))?;
        }
        Ok(())
    }

    async fn reference(&mut self, target: &Url, page: &Url, deep: usize) -> Result<(), String> {
        let answer = self.prober.ask(target, Some(page)).await?;
        if answer.status != 200 {
            return Err(format!("answered {}", answer.status));
        }
        let path = answer.url.path().strip_prefix(self.base.path());
        let listed = path.and_then(|path| self.manifest.file(path));
        if listed.is_some_and(|file| file.digest != sha256(&answer.bytes)) {
            return Err("does not have the bytes of the manifest".to_owned());
        }
        if !answer.is_css {
            return Ok(());
        }
        if deep >= IMPORTS_DEEP_MAX {
            return Err("is imported too deep".to_owned());
        }
        let text = String::from_utf8_lossy(&answer.bytes);
        self.references(&css::references(&text), &answer.url, &answer.url, deep + 1)
            .await
            .map_err(|what| format!("refers to {what}"))
    }
}

fn unanswered(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        "did not answer in time".to_owned()
    } else {
        "did not answer".to_owned()
    }
}

/// A server that listens everywhere is asked on this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        let local = if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(local);
    }
    address
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::site::{
        Releases,
        tests::{install_files, sample_files},
    };

    struct Bench {
        _directory: tempfile::TempDir,
        releases: Arc<Releases>,
        live: serve::Served,
        preview: serve::Served,
        prober: Prober,
    }

    async fn bench() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        Bench {
            live: serve::live(local, Arc::clone(&releases)).await.unwrap(),
            preview: serve::preview(local, Arc::clone(&releases)).await.unwrap(),
            prober: Prober::new().unwrap(),
            releases,
            _directory: directory,
        }
    }

    impl Bench {
        /// What is broken in preview, and what is broken live.
        async fn both(&self, page: &str) -> (Vec<Failure>, Vec<Failure>) {
            let mut files = sample_files("one");
            files.insert(
                "guide/broken.html".parse().unwrap(),
                page.as_bytes().to_vec(),
            );
            let release = install_files(&self.releases, "one", &files);
            self.releases.switch(Some(&release)).unwrap();
            let manifest = self.releases.manifest(&release).unwrap();
            let preview = self.prober.preview(self.preview.address(), &manifest).await;
            let live = self.prober.live(self.live.address(), &manifest).await;
            assert_eq!((preview.pages, live.pages), (3, 3));
            (preview.failures, live.failures)
        }
    }

    #[tokio::test]
    async fn whole_pages_are_whole_in_preview_and_live() {
        let bench = bench().await;
        for page in [
            "<img src='../site.css'><a href='./'>guide</a><a href='../guide'>again</a><a href='#here'>here</a>",
            "<img src='/site.css'><a href='/'>home</a>",
            "<base href='../'><img src='site.css'><a href='guide/'>guide</a>",
            "<a href='https://example.org/none'>elsewhere</a><a href='mailto:a@example.org'>mail</a><img src='data:,'>",
        ] {
            assert_eq!(bench.both(page).await, (vec![], vec![]), "{page}");
        }
    }

    #[tokio::test]
    async fn a_missing_asset_breaks_its_page_by_name() {
        let bench = bench().await;
        let (preview, live) = bench.both("<img src='../none.png'>").await;
        let expected = Failure {
            page: "guide/broken.html".to_owned(),
            what: "`../none.png` answered 404".to_owned(),
        };
        assert_eq!((preview, live), (vec![expected.clone()], vec![expected]));
    }

    #[tokio::test]
    async fn what_a_style_sheet_refers_to_is_asked_for_too() {
        let bench = bench().await;
        let sheets = [
            (
                "style/all.css",
                "@import 'a.css'; b{background:url(../site.css)}",
            ),
            (
                "style/a.css",
                "@import url(all.css); @import \"/style/b.css\"; a{b:url(#c)}",
            ),
            (
                "style/b.css",
                "a{b:url(data:,x);c:url(https://example.org/none.png)}",
            ),
            ("style/none.css", "@import 'gone.css'"),
            ("style/deep.css", "a{b:url('../none.png')}"),
            ("style/over.css", "@import 'deep.css'"),
        ];
        let with = |page: &str| {
            let mut files = sample_files("one");
            for (path, text) in sheets.iter().chain(&[("guide/styled.html", page)]) {
                files.insert(path.parse().unwrap(), text.as_bytes().to_vec());
            }
            files
        };
        for (page, wrong) in [
            ("<link rel=stylesheet href='../style/all.css'>", None),
            ("<link rel=stylesheet href='/style/all.css'>", None),
            (
                "<style>a{b:url(../site.css)}</style><p style='b:url(/site.css)'>",
                None,
            ),
            (
                "<link rel=stylesheet href='/style/none.css'>",
                Some("`/style/none.css` refers to `gone.css` answered 404"),
            ),
            (
                "<link rel=stylesheet href='../style/over.css'>",
                Some(
                    "`../style/over.css` refers to `deep.css` refers to `../none.png` answered 404",
                ),
            ),
            (
                "<p style='background:url(none.png)'>",
                Some("`none.png` answered 404"),
            ),
        ] {
            let release = install_files(&bench.releases, "one", &with(page));
            bench.releases.switch(Some(&release)).unwrap();
            let manifest = bench.releases.manifest(&release).unwrap();
            let (prober, live) = (&bench.prober, bench.live.address());
            let reports = [
                prober.preview(bench.preview.address(), &manifest).await,
                prober.live(live, &manifest).await,
            ];
            for report in reports {
                let found = report.failures.first().map(|failure| failure.what.as_str());
                assert_eq!(found, wrong, "{page}");
            }
        }
    }

    #[tokio::test]
    async fn a_reference_to_a_preview_address_is_whole_in_preview_and_broken_live() {
        let bench = bench().await;
        let earlier = install_files(&bench.releases, "earlier", &sample_files("earlier"));
        let (preview, live) = bench
            .both(&format!("<img src='/preview/{}/site.css'>", earlier.hex()))
            .await;
        assert_eq!(preview, []);
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].page, "guide/broken.html");
    }

    #[tokio::test]
    async fn the_release_that_answers_is_the_one_that_was_asked_for() {
        let bench = bench().await;
        let one = install_files(&bench.releases, "one", &sample_files("one"));
        let two = install_files(&bench.releases, "two", &sample_files("two"));
        bench.releases.switch(Some(&one)).unwrap();
        let manifest = bench.releases.manifest(&two).unwrap();
        let report = bench.prober.live(bench.live.address(), &manifest).await;
        assert_eq!(report.failures.len(), 2, "{report:?}");
    }

    #[tokio::test]
    async fn the_last_sample_release_is_whole_in_preview_and_broken_live_on_one_page() {
        let bench = bench().await;
        let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/site");
        let releases = [
            ("release-1", "2026-summer", None),
            ("release-2", "2026-autumn", None),
            ("release-3", "2026-winter", Some("visit.html")),
        ];
        for (name, label, broken) in releases {
            let (manifest, blobs) = Manifest::of_directory(label, &samples.join(name)).unwrap();
            bench
                .releases
                .install(&manifest, |digest| Ok(blobs[digest].clone()))
                .unwrap();
            let preview = bench
                .prober
                .preview(bench.preview.address(), &manifest)
                .await;
            assert_eq!(preview.failures, [], "{name}");
            bench.releases.switch(Some(&manifest.digest())).unwrap();
            let live = bench.prober.live(bench.live.address(), &manifest).await;
            assert_eq!(
                live.failures.first().map(|failure| failure.page.as_str()),
                broken,
                "{name}"
            );
            assert!(live.failures.len() <= 1 && live.pages >= 12, "{name}");
        }
    }
}
