//! The two addresses of a site: the live one serves what `current` names at `/`, the preview one any kept release.
//!
//! Only what a manifest lists is served, by the path as it stands there; the file system is never asked about a path that
//! came over the network. A preview stands at `/preview/<64 hex>/` and at `/preview/<label>/`; a root-absolute reference of
//! such a page is answered from the release that its `Referer` names, so a site built for `/` is whole in preview too.
//! A page that refers to a preview address therefore looks whole there and is broken live.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use countersign_ids::Digest;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Manifest, ReleaseError, ReleaseFile, Releases, path::INDEX};

/// The header that says which release answered.
pub const RELEASE_HEADER: &str = "countersign-release";
/// Below this path stands one preview per kept release.
pub const PREVIEW: &str = "/preview/";

/// Which of the two addresses answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Live,
    Preview,
}

/// A server that answers until it is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves what is live at `/`.
pub async fn live(listen: SocketAddr, releases: Arc<Releases>) -> std::io::Result<Served> {
    serve(listen, releases, View::Live).await
}

/// Serves every kept release at its preview address.
pub async fn preview(listen: SocketAddr, releases: Arc<Releases>) -> std::io::Result<Served> {
    serve(listen, releases, View::Preview).await
}

async fn serve(listen: SocketAddr, releases: Arc<Releases>, view: View) -> std::io::Result<Served> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(handle).with_state((releases, view));
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a site server ended");
        }
    });
    Ok(Served { address, task })
}

async fn handle(
    State((releases, view)): State<(Arc<Releases>, View)>,
    request: Request,
) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, HEAD")],
            "only GET and HEAD\n",
        )
            .into_response();
    }
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let answered =
        tokio::task::spawn_blocking(move || answer(&releases, view, &path, &headers)).await;
    answered.unwrap_or_else(|_| {
        plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the page could not be read\n",
        )
    })
}

fn answer(releases: &Releases, view: View, path: &str, headers: &HeaderMap) -> Response {
    let target = match view {
        View::Live => match releases.current() {
            Ok(Some(release)) => Some((release, path.strip_prefix('/').unwrap_or(path))),
            Ok(None) => return plain(StatusCode::NOT_FOUND, "no release is live here yet\n"),
            Err(error) => return failed(&error),
        },
        View::Preview => previewed(releases, path, referrer(headers)),
    };
    let Some((release, path)) = target else {
        return plain(
            StatusCode::NOT_FOUND,
            "previews stand at /preview/<release>/\n",
        );
    };
    match releases.manifest(&release) {
        Ok(manifest) => respond(releases, &manifest, path, headers),
        Err(ReleaseError::Missing { .. }) => {
            plain(StatusCode::NOT_FOUND, "this release is not kept here\n")
        }
        Err(error) => failed(&error),
    }
}

/// The release that a preview path is about, and the path below its base path.
fn previewed<'a>(
    releases: &Releases,
    path: &'a str,
    referrer: Option<&str>,
) -> Option<(Digest, &'a str)> {
    let referring = referrer
        .and_then(split)
        .and_then(|(name, _)| named(releases, name, None));
    match split(path) {
        Some((name, below)) => Some((named(releases, name, referring)?, below)),
        None => Some((referring?, path.strip_prefix('/')?)),
    }
}

/// `/preview/<name>/<below>`.
fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(PREVIEW)?.split_once('/')
}

/// A release by its 64 hexadecimal digits, or by its label; of several with one label the one that refers comes first.
fn named(releases: &Releases, name: &str, referring: Option<Digest>) -> Option<Digest> {
    if let Ok(release) = format!("sha256:{name}").parse() {
        return Some(release);
    }
    let labelled = |release: &Digest| {
        releases
            .manifest(release)
            .is_ok_and(|manifest| manifest.label() == name)
    };
    referring
        .filter(labelled)
        .or_else(|| releases.list().ok()?.into_iter().find(labelled))
}

/// The path of the page that refers here.
fn referrer(headers: &HeaderMap) -> Option<&str> {
    let (_, behind) = headers
        .get(header::REFERER)?
        .to_str()
        .ok()?
        .split_once("://")?;
    behind.find('/').and_then(|at| behind.get(at..))
}

fn respond(releases: &Releases, manifest: &Manifest, path: &str, headers: &HeaderMap) -> Response {
    let Some(path) = decoded(path) else {
        return plain(StatusCode::BAD_REQUEST, "the path cannot be decoded\n");
    };
    let (name, status) = if path.is_empty() || path.ends_with('/') {
        (format!("{path}{INDEX}"), StatusCode::OK)
    } else {
        (path.clone(), StatusCode::OK)
    };
    if let Some(file) = manifest.file(&name) {
        return send(releases, manifest, file, status, headers);
    }
    if manifest.file(&format!("{path}/{INDEX}")).is_some() {
        let last = path.rsplit('/').next().unwrap_or("");
        return (
            StatusCode::PERMANENT_REDIRECT,
            [(header::LOCATION, format!("{last}/"))],
        )
            .into_response();
    }
    match manifest.file("404.html") {
        Some(file) => send(
            releases,
            manifest,
            file,
            StatusCode::NOT_FOUND,
            &HeaderMap::new(),
        ),
        None => plain(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

fn send(
    releases: &Releases,
    manifest: &Manifest,
    file: &ReleaseFile,
    status: StatusCode,
    headers: &HeaderMap,
) -> Response {
    let tag = format!("\"{}\"", file.digest.hex());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let mut response = if known
        .split(',')
        .any(|each| each.trim().trim_start_matches("W/") == tag || each.trim() == "*")
    {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        match releases.read(&manifest.digest(), file) {
            Ok(bytes) => (status, Body::from(bytes)).into_response(),
            Err(error) => return failed(&error),
        }
    };
    let release = manifest.digest().to_string();
    let sent = [
        (header::ETAG, tag.as_str()),
        (header::CONTENT_TYPE, file.content_type.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::HeaderName::from_static(RELEASE_HEADER),
            release.as_str(),
        ),
    ];
    for (name, value) in sent {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text,
    )
        .into_response()
}

fn failed(error: &ReleaseError) -> Response {
    tracing::error!(%error, "a page could not be served");
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the page could not be read\n",
    )
}

/// Undoes percent-encoding once; `None` if that gives no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).ok()?;
            bytes.extend(decoded);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::{install, sample};

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        get_with(address, path, &[]).await
    }

    /// Asks over a bare socket: a client library would normalise the paths that are tried here.
    async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all(format!("{request}\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    fn local() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    #[tokio::test]
    async fn only_what_the_manifest_lists_is_served() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "secret").unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let server = live(local(), Arc::clone(&releases)).await.unwrap();
        assert_eq!(get(server.address(), "/").await.0, 404);
        let one = install(&releases, "one");
        releases.switch(Some(&one)).unwrap();
        for (path, status) in [
            ("/", 200),
            ("/index.html", 200),
            ("/guide/", 200),
            ("/guide", 308),
            ("/site.css", 200),
            ("/site%2ecss", 200),
            ("/none", 404),
            ("/manifest.json", 404),
            ("/../manifest.json", 404),
            ("/../../../secret", 404),
            ("/%2e%2e/%2e%2e/%2e%2e/secret", 404),
            ("/..%2f..%2f..%2fsecret", 404),
            ("/guide/../../../../secret", 404),
            ("//etc/passwd", 404),
            ("/%00", 404),
            ("/%ff", 400),
            ("/%zz", 400),
            ("/preview/", 404),
        ] {
            let (got, text) = get(server.address(), path).await;
            assert_eq!(got, status, "{path}: {text}");
            assert!(!text.contains("secret\n"), "{path}");
        }
    }

    #[tokio::test]
    async fn a_link_inside_a_release_is_not_followed() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let one = install(&releases, "one");
        releases.switch(Some(&one)).unwrap();
        let files = releases.directory(&one).join("files");
        let length = sample("one").0.file("site.css").unwrap().bytes;
        let outside = directory.path().join("outside");
        std::fs::write(&outside, vec![b'x'; usize::try_from(length).unwrap()]).unwrap();
        std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::remove_file(files.join("site.css")).unwrap();
        std::os::unix::fs::symlink(&outside, files.join("site.css")).unwrap();
        let server = live(local(), releases).await.unwrap();
        assert_eq!(get(server.address(), "/site.css").await.0, 500);
    }

    #[tokio::test]
    async fn answers_carry_type_tag_and_release() {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let one = install(&releases, "one");
        releases.switch(Some(&one)).unwrap();
        let server = live(local(), Arc::clone(&releases)).await.unwrap();
        let (_, text) = get(server.address(), "/site.css").await;
        let manifest = releases.manifest(&one).unwrap();
        let tag = format!("\"{}\"", manifest.file("site.css").unwrap().digest.hex());
        assert!(text.contains(&format!("etag: {tag}")), "{text}");
        assert!(text.contains("content-type: text/css"), "{text}");
        assert!(text.contains(&format!("{RELEASE_HEADER}: {one}")), "{text}");
        assert_eq!(
            get_with(server.address(), "/site.css", &[("if-none-match", &tag)])
                .await
                .0,
            304
        );
        assert_eq!(
            get_with(
                server.address(),
                "/site.css",
                &[("if-none-match", "\"other\"")]
            )
            .await
            .0,
            200
        );
    }

    #[tokio::test]
    async fn previews_stand_below_their_release() {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let one = install(&releases, "one");
        let server = preview(local(), releases).await.unwrap();
        let base = format!("/preview/{}/", one.hex());
        assert_eq!(get(server.address(), &base).await.0, 200);
        assert_eq!(
            get(server.address(), &format!("{base}site.css")).await.0,
            200
        );
        assert_eq!(
            get(server.address(), &format!("{base}../site.css")).await.0,
            404
        );
        assert_eq!(get(server.address(), "/site.css").await.0, 404);
        let referrer = format!("http://x{base}guide/");
        assert_eq!(
            get_with(server.address(), "/site.css", &[("referer", &referrer)])
                .await
                .0,
            200
        );
        let unknown = format!("/preview/{}/", "0".repeat(64));
        assert_eq!(get(server.address(), &unknown).await.0, 404);
        assert_eq!(get(server.address(), "/preview/one/site.css").await.0, 200);
        assert_eq!(get(server.address(), "/preview/two/site.css").await.0, 404);
    }
}
