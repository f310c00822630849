//! Parsers of untrusted bytes as functions of bytes: for the tests, for `cargo xtask fuzz`, and for any other fuzzer.
//!
//! A target panics where a promise is broken: bytes that a reader takes must be the bytes that a writer would write. What it
//! returns says how the bytes were judged; the driver keeps inputs that were judged in a new way. libFuzzer can wrap each:
//! `fuzz_target!(|bytes: &[u8]| { (countersign_tests::fuzz::find("note").unwrap().run)(bytes); })`.

mod container;
mod driver;
mod http;
mod signed;

pub use driver::{Driver, Found, read_corpus};

/// One parser.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Judges bytes; panics where a promise is broken.
    pub run: fn(&[u8]) -> String,
    /// Makes bytes pass the checksum that would otherwise hide everything behind it; the driver does so to half of them.
    pub mend: Option<fn(&mut [u8])>,
}

/// Every parser of bytes that come from elsewhere.
pub const TARGETS: &[Target] = &[
    Target {
        name: "frame",
        run: container::frame,
        mend: Some(container::mend_frame),
    },
    plain("header", signed::header),
    plain("body", signed::body),
    plain("note", signed::note),
    plain("proof", signed::proof),
    plain("bundle", container::bundle),
    plain("bundle-line", container::line),
    plain("bundle-manifest", container::manifest),
    plain("statement", signed::statement),
    plain("document", signed::document),
    plain("order", signed::order),
    plain("delivery", signed::delivery),
    plain("http", http::http),
];

const fn plain(name: &'static str, run: fn(&[u8]) -> String) -> Target {
    Target {
        name,
        run,
        mend: None,
    }
}

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// How bytes were judged: the words of the refusal in front of the first thing that it quotes.
fn refused(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let words = text.split(['`', '"']).next().unwrap_or_default();
    let words: String = words
        .chars()
        .filter(|character| !character.is_ascii_digit())
        .collect();
    format!("refused: {words}")
}
