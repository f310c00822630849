//! Embeds docs/errors, so that every code that an answer names leads to its page on the same server.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> io::Result<()> {
    let manifest = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let pages = Path::new(&manifest).join("../../docs/errors");
    writeln!(io::stdout(), "cargo::rerun-if-changed={}", pages.display())?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&pages)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            names.push(path);
        }
    }
    names.sort();
    let mut code = b"&[\n".to_vec();
    for path in names {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let path = path.canonicalize()?;
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.extend_from_slice(b"]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("error_pages.rs"), code)
}
