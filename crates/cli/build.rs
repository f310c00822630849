//! Embeds the sample site, so that `countersign up` needs no files beside the binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Releases in the order of their publication: directory and label, as examples/site/build.py names them.
const RELEASES: &[(&str, &str)] = &[
    ("release-1", "2026-summer"),
    ("release-2", "2026-autumn"),
    ("release-3", "2026-winter"),
];

fn main() -> io::Result<()> {
    let manifest = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let site = Path::new(&manifest).join("../../examples/site");
    writeln!(io::stdout(), "cargo::rerun-if-changed={}", site.display())?;
    let mut code = b"&[\n".to_vec();
    for (directory, label) in RELEASES {
        let root = site.join(directory);
        let mut files = Vec::new();
        collect(&root, &mut files)?;
        files.sort();
        writeln!(code, "    Release {{ label: {label:?}, files: &[")?;
        for file in files {
            let name = file
                .strip_prefix(&root)
                .map_err(io::Error::other)?
                .to_string_lossy()
                .into_owned();
            let path = file.canonicalize()?;
            writeln!(code, "        ({name:?}, include_bytes!({path:?})),")?;
        }
        code.extend_from_slice(b"    ] },\n");
    }
    code.extend_from_slice(b"]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("site.rs"), code)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
