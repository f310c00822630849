//! Where and when a run was made; printed before the table, and written beside the file of `--json`.

use anyhow::{Context, Result};
use rustix::fs::statfs;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The conditions of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    date: String,
    profile: &'static str,
    processor: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    file_system: String,
    /// Over one, five and fifteen minutes, before anything was measured.
    load_average: String,
    /// What each figure was measured with.
    figures: Vec<How>,
}

#[derive(Debug, Serialize)]
struct How {
    name: String,
    how: String,
}

impl Conditions {
    /// What holds now, for ledgers in this directory.
    pub(crate) fn now(directory: &Path) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let date = countersign_ids::Time::from_unix_millis(u64::try_from(since.as_millis())?);
        let memory = line_of("/proc/meminfo", "MemTotal:")?;
        let kib: u64 = memory.trim_end_matches("kB").trim().parse()?;
        Ok(Self {
            date: date.to_string(),
            profile: if cfg!(debug_assertions) {
                "development"
            } else {
                "release"
            },
            processor: line_of("/proc/cpuinfo", "model name")?
                .trim_start_matches([':', ' '])
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?,
            file_system: file_system(directory)?,
            load_average: read("/proc/loadavg")?
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
            figures: Vec::new(),
        })
    }

    /// On standard error, one line each.
    pub(crate) fn show(&self) {
        let Self {
            date,
            profile,
            processor,
            cores,
            memory_mib,
            kernel,
            file_system,
            load_average,
            figures: _,
        } = self;
        for (what, value) in [
            ("date", date),
            ("profile", &(*profile).to_owned()),
            ("processor", &format!("{processor}, {cores} cores")),
            ("memory", &format!("{memory_mib} MiB")),
            ("kernel", kernel),
            ("file system of the ledgers", file_system),
            ("load average at the start", load_average),
        ] {
            crate::report::progress(format_args!("{what}: {value}"));
        }
    }

    /// Beside the file of the figures, with how each was measured.
    pub(crate) fn write(mut self, figures: &[crate::report::Figure], json: &Path) -> Result<()> {
        for figure in figures {
            let (name, how) = (figure.name.clone(), figure.how.clone());
            self.figures.push(How { name, how });
        }
        let path = beside(json);
        fs::write(&path, serde_json::to_string_pretty(&self)?)
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
}

fn beside(json: &Path) -> PathBuf {
    let mut name = json.as_os_str().to_owned();
    name.push(".conditions");
    name.into()
}

fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?;
    Ok(text.trim().to_owned())
}

/// What follows a word at the start of a line.
pub(crate) fn line_of(path: &str, word: &str) -> Result<String> {
    read(path)?
        .lines()
        .find_map(|line| line.strip_prefix(word))
        .map(|rest| rest.trim().to_owned())
        .with_context(|| format!("`{path}` does not say `{word}`"))
}

/// What the kernel calls the file system of a directory.
fn file_system(directory: &Path) -> Result<String> {
    let magic = u64::try_from(statfs(directory)?.f_type)?;
    Ok(match magic {
        0xEF53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683E => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x794C_7630 => "overlayfs".to_owned(),
        other => format!("magic {other:#x}"),
    })
}
