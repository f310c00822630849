//! A Python with the packages of requirements.txt, made once and kept under target/.

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter. The first call makes a virtual environment and installs from PyPI; later ones, also of other processes,
/// wait for it and take it as it is.
pub fn python() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let requirements = package.join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("no requirements.txt")?;
    let directory = package
        .parent()
        .context("tests has no parent")?
        .join("target")
        .join("python");
    fs::create_dir_all(&directory).context("cannot make the directory for Python")?;
    let lock = File::create(directory.join("lock")).context("cannot make the lock")?;
    flock(&lock, FlockOperation::LockExclusive).context("cannot take the lock")?;
    let python = directory.join("venv").join("bin").join("python");
    let installed = directory.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) && python.exists()
    {
        return Ok(python);
    }
    fs::remove_dir_all(directory.join("venv")).ok();
    run(Command::new("python3")
        .args(["-m", "venv"])
        .arg(directory.join("venv")))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements))?;
    fs::write(&installed, wanted).context("cannot note what is installed")?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
