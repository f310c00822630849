//! The independent verifier in Python, in an environment of its own that is made once under the target directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the Python verifier said.
#[derive(Debug)]
pub(crate) struct Said {
    pub exit: i32,
    pub levels: BTreeMap<String, String>,
    pub first_bad: Option<(String, u64)>,
    pub found: serde_json::Value,
}

/// The interpreter, or none where it cannot be made and nobody insists (`CI=true` insists).
pub(crate) fn interpreter() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MADE.get_or_init(make) {
        Ok(path) => Some(path),
        Err(reason) => {
            let insist = std::env::var("CI").is_ok_and(|ci| ci == "true");
            assert!(!insist, "the Python verifier cannot run: {reason}");
            eprintln!("SKIPPED: the Python verifier cannot run here: {reason}");
            None
        }
    }
}

/// Whether both import, of the versions that the arguments pin.
const PINNED: &str = "import sys, blake3, cryptography
from importlib.metadata import version
for pin in sys.argv[1:]:
    name, wanted = pin.split('==')
    assert version(name) == wanted, pin";

/// The verifier's two libraries, as `tests/requirements.txt` pins them.
fn pins() -> Result<Vec<String>, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/requirements.txt");
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    ["blake3==", "cryptography=="]
        .into_iter()
        .map(|name| {
            text.lines()
                .map(str::trim)
                .find(|line| line.starts_with(name))
                .map(ToOwned::to_owned)
                .ok_or_else(|| format!("{} does not pin {name}", file.display()))
        })
        .collect()
}

fn make() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verify-venv");
    let python = folder.join("bin/python");
    // Two test processes must not make it at once.
    let lock = File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let pins = pins()?;
    let works = |python: &Path| {
        Command::new(python)
            .args(["-c", PINNED])
            .args(&pins)
            .output()
            .is_ok_and(|run| run.status.success())
    };
    if !works(&python) {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(&pins))?;
    }
    if works(&python) {
        Ok(python)
    } else {
        Err("blake3 and cryptography do not import, or are of other versions".to_owned())
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Runs the verifier on a bundle.
pub(crate) fn verify(python: &Path, bundle: &Path, arguments: &[&str]) -> Said {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify/verify.py");
    let output = Command::new(python)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(script)
        .arg(bundle)
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!(
            "{error}: {text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let levels = said["levels"].as_object().unwrap();
    let first = &said["first_bad"];
    Said {
        exit: output.status.code().unwrap(),
        levels: levels
            .iter()
            .map(|(level, word)| (level.clone(), word.as_str().unwrap().to_owned()))
            .collect(),
        first_bad: first["chain"]
            .as_str()
            .map(|chain| (chain.to_owned(), first["sequence"].as_u64().unwrap())),
        found: said["found"].clone(),
    }
}
