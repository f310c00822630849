//! The two addresses of a site: the live one serves what `current` names at `/`, the preview one any kept release.
//!
//! Only what a manifest lists is served, by the path as it stands there; the file system is never asked about a path that
//! came over the network. A preview stands at `/preview/<64 hex>/` and at `/preview/<label>/`; a root-absolute reference of
//! such a page is sent on to the preview that its `Referer` names, so a site built for `/` is whole in preview too. A page that
//! refers to a preview address therefore looks whole there and is broken live. Connections, the time that a question may
//! take and memory are bounded: files are sent as they are read.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use countersign_ids::Digest;
use countersign_transport::{Bounded, answer as answer_all};
use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinHandle};
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use super::{Manifest, ReleaseError, ReleaseFile, Releases, path::INDEX};

/// The header that says which release answered.
pub const RELEASE_HEADER: &str = "countersign-release";
/// Below this path stands one preview per kept release.
pub const PREVIEW: &str = "/preview/";

/// The most connections of one address at one time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;
/// How long the head of a question may take, a connection that asks nothing included.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a visitor may take nothing of an answer.
const STALLED_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest silence on a connection; a question's own bound ends it earlier.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a file is in memory at one time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What an address lets its visitors use.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    question: Duration,
    stalled: Duration,
}

const BOUNDS: Bounds = Bounds {
    connections: CONNECTIONS_MAX,
    question: QUESTION_TIMEOUT,
    stalled: STALLED_TIMEOUT,
};

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
    serve(listen, releases, View::Live, BOUNDS).await
}

/// Serves every kept release at its preview address.
pub async fn preview(listen: SocketAddr, releases: Arc<Releases>) -> std::io::Result<Served> {
    serve(listen, releases, View::Preview, BOUNDS).await
}

async fn serve(
    listen: SocketAddr,
    releases: Arc<Releases>,
    view: View,
    bounds: Bounds,
) -> std::io::Result<Served> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let router = Router::new().fallback(handle).with_state((releases, view));
    let listener = Bounded::new(listener, bounds.connections, bounds.stalled, IDLE_TIMEOUT);
    let stop = CancellationToken::new();
    let task = tokio::spawn(answer_all(listener, router, bounds.question, stop));
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
        View::Preview => match split(path) {
            Some((name, below)) => {
                let referring = referrer(headers).and_then(|name| named(releases, name, None));
                named(releases, name, referring).map(|release| (release, below))
            }
            None => match referrer(headers) {
                Some(name) => {
                    return Redirect::temporary(&format!("{PREVIEW}{name}{path}")).into_response();
                }
                None => None,
            },
        },
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

/// The name in the preview path of the page that refers here.
fn referrer(headers: &HeaderMap) -> Option<&str> {
    let (_, behind) = headers
        .get(header::REFERER)?
        .to_str()
        .ok()?
        .split_once("://")?;
    let path = behind.find('/').and_then(|at| behind.get(at..))?;
    split(path).map(|(name, _)| name)
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
        let opened = match releases.open_file(&manifest.digest(), file) {
            Ok(opened) => tokio::fs::File::from_std(opened),
            Err(error) => return failed(&error),
        };
        let bytes = ReaderStream::with_capacity(opened.take(file.bytes), CHUNK_BYTES);
        let length = HeaderValue::from(file.bytes);
        let body = Body::from_stream(bytes);
        (status, [(header::CONTENT_LENGTH, length)], body).into_response()
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

    use tokio::io::AsyncWriteExt;

    async fn get(address: SocketAddr, path: &str) -> (u16, String) {
        get_with(address, path, &[]).await
    }

    /// Asks over a bare socket: a client library would normalise the paths that are tried here.
    async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
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
        // A reference to the root of the site is one to the root of the preview.
        let referrer = format!("http://x{base}guide/");
        let (status, sent_on) =
            get_with(server.address(), "/site.css", &[("referer", &referrer)]).await;
        assert_eq!(status, 307);
        assert!(sent_on.contains(&format!("location: {base}site.css\r\n")));
        let elsewhere = [("referer", "http://x/guide/")];
        assert_eq!(
            get_with(server.address(), "/site.css", &elsewhere).await.0,
            404
        );
        let unknown = format!("/preview/{}/", "0".repeat(64));
        assert_eq!(get(server.address(), &unknown).await.0, 404);
        assert_eq!(get(server.address(), "/preview/one/site.css").await.0, 200);
        assert_eq!(get(server.address(), "/preview/two/site.css").await.0, 404);
    }

    /// Everything that comes before the other side ends the connection.
    async fn until_cut(stream: &mut tokio::net::TcpStream) -> usize {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok();
        bytes.len()
    }

    #[tokio::test]
    async fn a_visitor_who_does_not_finish_asking_or_does_not_take_is_cut_off_and_the_next_is_served()
     {
        let directory = tempfile::tempdir().unwrap();
        let releases = Arc::new(Releases::open(directory.path()).unwrap());
        let mut files = crate::site::tests::sample_files("one");
        let large = vec![b'x'; 16 << 20];
        files.insert("large.bin".parse().unwrap(), large.clone());
        let one = crate::site::tests::install_files(&releases, "one", &files);
        releases.switch(Some(&one)).unwrap();
        let bounds = Bounds {
            connections: 1,
            question: Duration::from_millis(200),
            stalled: Duration::from_millis(200),
        };
        let server = serve(local(), releases, View::Live, bounds).await.unwrap();
        let connect = || tokio::net::TcpStream::connect(server.address());
        let (mut silent, mut half, mut deaf) = (
            connect().await.unwrap(),
            connect().await.unwrap(),
            connect().await.unwrap(),
        );
        half.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        deaf.write_all(b"GET /large.bin HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        // One at a time: each is served only because the one before was cut off.
        let (status, text) = get(server.address(), "/site.css").await;
        assert_eq!(status, 200, "{text}");
        assert_eq!(until_cut(&mut silent).await, 0);
        until_cut(&mut half).await;
        assert!(until_cut(&mut deaf).await < large.len());
        // Whoever takes gets all of it.
        let (_, text) = get(server.address(), "/large.bin").await;
        assert!(text.ends_with(std::str::from_utf8(&large).unwrap()));
        assert!(text.contains(&format!("content-length: {}\r\n", large.len())));
    }
}
