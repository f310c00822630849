//! What becomes of sled when the power is cut: anything from its last fdatasync on, damage, or nothing at all.

use std::path::Path;

use countersign_store::faults::Random;

/// What becomes of sled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFate {
    /// It took in everything before the end.
    Kept,
    /// It is as it was when it was last made durable.
    Synced,
    /// It is gone.
    Absent,
    /// Its file is cut off.
    Short,
    /// Its file is something else.
    Foreign,
    /// Its configuration is empty.
    Unconfigured,
}

impl LogFate {
    pub(super) fn choose(random: &mut Random) -> Self {
        match random.below(8) {
            0 | 1 => Self::Kept,
            2..=4 => Self::Synced,
            5 => Self::Absent,
            6 => Self::Short,
            _ if random.coin() => Self::Foreign,
            _ => Self::Unconfigured,
        }
    }

    /// Lets it happen to `log`; `synced` is a copy of its last durable state.
    pub(super) fn befall(self, log: &Path, synced: &Path, random: &mut Random) {
        let file = log.join("db");
        match self {
            Self::Kept => {}
            Self::Synced => {
                drop(std::fs::remove_dir_all(log));
                copy(synced, log);
            }
            Self::Absent => drop(std::fs::remove_dir_all(log)),
            Self::Short => {
                // Near its beginning: what lies further back depends on when its batches were written.
                if let Ok(open) = std::fs::OpenOptions::new().write(true).open(&file) {
                    open.set_len(random.below(512) as u64).unwrap();
                }
            }
            Self::Foreign if file.is_file() => std::fs::write(&file, [0xab; 4096]).unwrap(),
            Self::Unconfigured if log.is_dir() => std::fs::write(log.join("conf"), b"").unwrap(),
            Self::Foreign | Self::Unconfigured => {}
        }
    }
}

/// Copies a directory of files; one that is not there is an empty one.
pub(super) fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    let Ok(entries) = std::fs::read_dir(from) else {
        return;
    };
    std::fs::create_dir_all(to).unwrap();
    for entry in entries {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
