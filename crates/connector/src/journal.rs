//! The fsynced journal: every decision is on disk before anything follows from it.
//!
//! One line is one write: `<8 hex digits: length> <16 hex digits: checksum> <canonical JSON>`. The checksum covers the one
//! before it, so a line can be neither changed nor taken out. A line that an interrupted write left is cut off when the
//! journal is opened; any other line that does not fit is damage, and the connector refuses to start on it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use countersign_chain::{json, sha256};
use countersign_ids::Time;
use serde::{Deserialize, Serialize};

use crate::{
    files,
    state::{Contradiction, Entry, State},
};

/// After so many lines a journal begins anew with one line that says the same.
const LINES_MAX: usize = 4096;
/// The fixed part of a line: length, checksum and the blanks behind them.
const HEAD_BYTES: usize = 8 + 1 + 16 + 1;

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system failed. Nothing more is written before a restart has read what is on disk.
    #[error("the journal `{path}` cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: io::Error,
    },
    /// A whole line is not the one that was written.
    #[error("line {line} of the journal is damaged: {what}")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A write failed before: what is on disk is not known until the journal is opened again.
    #[error("an earlier write to the journal failed; start again")]
    Failed,
}

impl From<Contradiction> for JournalError {
    fn from(contradiction: Contradiction) -> Self {
        Self::Damaged {
            line: 0,
            what: contradiction.to_string(),
        }
    }
}

/// Where lines go. Only tests have another one, to fail at every write in turn.
pub(crate) trait Disk: std::fmt::Debug + Send {
    /// Appends and makes durable. When it returns an error, the bytes may be there, in part, or not.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.sync_data()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    entries: Vec<Entry>,
}

/// The journal, open for writing by the one process that holds the lock.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    disk: Box<dyn Disk>,
    state: State,
    sum: String,
    lines: usize,
    failed: bool,
}

/// What a file says.
struct Read {
    state: State,
    sum: String,
    lines: usize,
    /// How many bytes of the file are whole lines.
    whole: usize,
}

impl Journal {
    /// Opens the journal, or makes one that says nothing yet; cuts off what an interrupted write left.
    pub(crate) fn open(path: &Path, now: Time) -> Result<Self, JournalError> {
        let at = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let Some(bytes) = files::read_if_there(path).map_err(at)? else {
            return Self::begin(path, State::default());
        };
        let read = read(&bytes)?;
        if read.lines > LINES_MAX {
            let mut state = read.state;
            state.forget(now);
            return Self::begin(path, state);
        }
        let file = OpenOptions::new().append(true).open(path).map_err(at)?;
        if read.whole < bytes.len() {
            tracing::warn!(
                bytes = bytes.len() - read.whole,
                "an interrupted write was cut off the journal"
            );
            file.set_len(u64::try_from(read.whole).unwrap_or(u64::MAX))
                .and_then(|()| file.sync_all())
                .map_err(at)?;
        }
        Ok(Self {
            path: path.to_owned(),
            disk: Box::new(file),
            state: read.state,
            sum: read.sum,
            lines: read.lines,
            failed: false,
        })
    }

    /// Reads the journal and changes nothing; `None` if there is none.
    pub(crate) fn look(path: &Path) -> Result<Option<State>, JournalError> {
        let bytes = files::read_if_there(path).map_err(|source| JournalError::Io {
            path: path.to_owned(),
            source,
        })?;
        bytes.map(|bytes| Ok(read(&bytes)?.state)).transpose()
    }

    fn begin(path: &Path, state: State) -> Result<Self, JournalError> {
        let at = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let entries = vec![Entry::Snapshot {
            state: Box::new(state.clone()),
        }];
        let (line, sum) = write_line("", entries)?;
        files::replace(path, &line, files::OWNER_ONLY).map_err(at)?;
        let file = OpenOptions::new().append(true).open(path).map_err(at)?;
        Ok(Self {
            path: path.to_owned(),
            disk: Box::new(file),
            state,
            sum,
            lines: 1,
            failed: false,
        })
    }

    /// What the journal says.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Writes entries, all or none of them; they are durable when this returns.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Failed);
        }
        let mut state = self.state.clone();
        for entry in &entries {
            state.apply(entry)?;
        }
        let (line, sum) = write_line(&self.sum, entries)?;
        if let Err(source) = self.disk.append(&line) {
            self.failed = true;
            return Err(JournalError::Io {
                path: self.path.clone(),
                source,
            });
        }
        (self.state, self.sum, self.lines) = (state, sum, self.lines.saturating_add(1));
        Ok(())
    }

    /// Begins the file anew if it has grown long.
    pub(crate) fn compact(&mut self, now: Time) -> Result<(), JournalError> {
        if self.lines <= LINES_MAX || self.failed {
            return Ok(());
        }
        let mut state = self.state.clone();
        state.forget(now);
        *self = Self::begin(&self.path, state)?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn put_disk(&mut self, disk: impl FnOnce(Box<dyn Disk>) -> Box<dyn Disk>) {
        let placeholder = Box::new(OpenOptions::new().append(true).open(&self.path).unwrap());
        self.disk = disk(std::mem::replace(&mut self.disk, placeholder));
    }
}

fn write_line(before: &str, entries: Vec<Entry>) -> Result<(Vec<u8>, String), JournalError> {
    let text = json::to_canonical(&Line { entries });
    let text = text.map_err(|error| JournalError::Damaged {
        line: 0,
        what: error.to_string(),
    })?;
    let sum = checksum(before, &text);
    let mut line = format!("{:08x} {sum} ", text.len()).into_bytes();
    line.extend_from_slice(&text);
    line.push(b'\n');
    Ok((line, sum))
}

fn checksum(before: &str, text: &[u8]) -> String {
    let mut bytes = before.as_bytes().to_vec();
    bytes.extend_from_slice(text);
    sha256(&bytes).hex().chars().take(16).collect()
}

fn read(bytes: &[u8]) -> Result<Read, JournalError> {
    let mut read = Read {
        state: State::default(),
        sum: String::new(),
        lines: 0,
        whole: 0,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let line = read.lines + 1;
        let damaged = |what: &str| JournalError::Damaged {
            line,
            what: what.to_owned(),
        };
        match next(&read.sum, rest) {
            Next::Line { text, length, sum } => {
                let text: Line =
                    serde_json::from_slice(text).map_err(|error| damaged(&error.to_string()))?;
                for entry in &text.entries {
                    read.state
                        .apply(entry)
                        .map_err(|error| damaged(&error.to_string()))?;
                }
                (read.sum, read.lines, read.whole) = (sum, line, read.whole + length);
                rest = rest.get(length..).unwrap_or_default();
            }
            // A file always begins with a whole line: it appears by a rename.
            Next::Torn if read.lines > 0 => break,
            Next::Torn => return Err(damaged("the first line is cut off")),
            Next::Damaged(what) => return Err(damaged(what)),
        }
    }
    if read.lines == 0 {
        Err(JournalError::Damaged {
            line: 1,
            what: "the file is empty".to_owned(),
        })
    } else {
        Ok(read)
    }
}

enum Next<'a> {
    Line {
        text: &'a [u8],
        length: usize,
        sum: String,
    },
    Torn,
    Damaged(&'static str),
}

/// Reads one line. What is left is torn only where a write can have left it so: too short, or ending in zeros.
fn next<'a>(before: &str, rest: &'a [u8]) -> Next<'a> {
    let whole = || {
        let head = std::str::from_utf8(rest.get(..HEAD_BYTES)?).ok()?;
        let (length, sum) = head.strip_suffix(' ')?.split_once(' ')?;
        let length = usize::from_str_radix(length, 16).ok()?;
        let text = rest.get(HEAD_BYTES..HEAD_BYTES.checked_add(length)?)?;
        let end = rest.get(HEAD_BYTES + length)?;
        (*end == b'\n' && checksum(before, text) == sum)
            .then(|| (text, HEAD_BYTES + length + 1, sum.to_owned()))
    };
    if let Some((text, length, sum)) = whole() {
        return Next::Line { text, length, sum };
    }
    let declared = rest
        .get(..8)
        .and_then(|digits| usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    let long_enough = declared.is_none_or(|length| rest.len() > HEAD_BYTES.saturating_add(length));
    match declared {
        _ if rest.ends_with(&[0]) => Next::Torn,
        // The end of a line is the last byte of a write, and no line holds one inside.
        _ if rest.contains(&b'\n') => Next::Damaged("it is not what its length and checksum say"),
        None if rest.len() < 8 => Next::Torn,
        _ if long_enough => Next::Damaged("its end is missing"),
        _ => Next::Torn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Quiet;

    fn quiet(code: &str) -> Vec<Entry> {
        vec![Entry::WentQuiet {
            quiet: Quiet {
                code: code.to_owned(),
                detail: "x".to_owned(),
            },
        }]
    }

    fn written() -> (tempfile::TempDir, PathBuf, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = Journal::open(&path, Time::MIN).unwrap();
        journal.write(quiet("one")).unwrap();
        journal.write(quiet("two")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        (directory, path, bytes)
    }

    fn code_of(state: &State) -> &str {
        state.quiet.as_ref().map_or("", |quiet| &quiet.code)
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (_directory, path, _) = written();
        assert_eq!(
            code_of(Journal::open(&path, Time::MIN).unwrap().state()),
            "two"
        );
        assert_eq!(code_of(&Journal::look(&path).unwrap().unwrap()), "two");
        assert!(
            Journal::look(&path.with_extension("none"))
                .unwrap()
                .is_none()
        );
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_torn_tail_is_cut_off_at_every_length() {
        let (_directory, path, bytes) = written();
        let last = bytes[..bytes.len() - 1]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .unwrap()
            + 1;
        for length in last..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let mut journal = Journal::open(&path, Time::MIN).unwrap();
            assert_eq!(code_of(journal.state()), "one", "{length}");
            journal.write(quiet("three")).unwrap();
            drop(journal);
            assert_eq!(
                code_of(Journal::open(&path, Time::MIN).unwrap().state()),
                "three",
                "{length}"
            );
        }
        let mut zeros = bytes[..last].to_vec();
        zeros.extend(vec![0; bytes.len() - last]);
        std::fs::write(&path, &zeros).unwrap();
        assert_eq!(
            code_of(Journal::open(&path, Time::MIN).unwrap().state()),
            "one"
        );
    }

    #[test]
    fn every_changed_byte_is_damage() {
        let (_directory, path, bytes) = written();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x01;
            std::fs::write(&path, &changed).unwrap();
            match Journal::open(&path, Time::MIN) {
                Err(JournalError::Damaged { .. }) => {}
                other => panic!("byte {at}: {other:?}"),
            }
        }
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        std::fs::write(&path, [lines[0], lines[2]].concat()).unwrap();
        assert!(matches!(
            Journal::open(&path, Time::MIN),
            Err(JournalError::Damaged { line: 2, .. })
        ));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(
            Journal::open(&path, Time::MIN),
            Err(JournalError::Damaged { line: 1, .. })
        ));
    }

    #[test]
    fn an_entry_that_cannot_follow_is_not_written() {
        let (_directory, path, bytes) = written();
        let mut journal = Journal::open(&path, Time::MIN).unwrap();
        for entry in [
            Entry::Applying,
            Entry::Applied,
            Entry::Verified { document: None },
        ] {
            assert!(matches!(
                journal.write(vec![entry]),
                Err(JournalError::Damaged { .. })
            ));
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
