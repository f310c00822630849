//! Which durable writes there are. With the feature `faults` each of them can be made to fail by its name.

/// A part of the store that writes durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "faults"),
    expect(
        unreachable_pub,
        reason = "parts are named outside where they can fail"
    )
)]
pub enum Part {
    /// The directories of a data directory.
    Layout,
    /// `ledger.toml`.
    Description,
    /// Making, placing and shortening segment files.
    Segment,
    /// A group of frames.
    Group,
    /// The frame that seals a segment.
    Footer,
    /// The frame of a clean stop.
    Closed,
    /// What opening writes to the journal: the last group again, and the cut behind it.
    Recovery,
    /// The bytes of a blob.
    Blob,
    /// What says that a chain may read a blob.
    Scope,
    /// A new key of a data subject.
    Key,
    /// The end of such a key.
    Erasure,
    /// Frames that were damaged, written again.
    Mending,
    /// Removing bodies: segments that are rewritten, and what was found before.
    Removal,
    /// What says that the log must be made again.
    Mark,
    /// sled's directory, which is never simulated.
    Log,
}

/// What is done to a file or directory.
#[cfg(feature = "faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A file is created.
    Create,
    /// A directory is created.
    MakeDir,
    /// Blocks are reserved.
    Allocate,
    /// Bytes are written.
    Write,
    /// A file is cut off.
    SetLength,
    /// The bytes of a file are made durable, its length with them where that is asked.
    Sync,
    /// A file is given its name.
    Rename,
    /// A file is removed.
    Remove,
    /// The entries of a directory are made durable.
    SyncDir,
}

/// One durable write: what it is, and for whom.
#[cfg(feature = "faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// For whom.
    pub part: Part,
    /// What.
    pub step: Step,
}

#[cfg(feature = "faults")]
mod table {
    use super::{Part, Point, Step};
    use std::fmt;
    use std::str::FromStr;

    const PLACED: &[Step] = &[
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::Rename,
        Step::SyncDir,
    ];
    const PLACED_IN_A_NEW_DIRECTORY: &[Step] = &[
        Step::MakeDir,
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::Rename,
        Step::SyncDir,
    ];

    /// Every durable write of the store. The simulated disk refuses one that is not named here.
    const POINTS: &[(Part, &str, &[Step])] = &[
        (Part::Layout, "layout", &[Step::MakeDir, Step::SyncDir]),
        (Part::Description, "description", PLACED),
        (
            Part::Segment,
            "segment",
            &[
                Step::Create,
                Step::Allocate,
                Step::Write,
                Step::Sync,
                Step::Rename,
                Step::SyncDir,
                Step::SetLength,
                Step::Remove,
            ],
        ),
        (Part::Group, "group", &[Step::Write, Step::Sync]),
        (Part::Footer, "footer", &[Step::Write, Step::Sync]),
        (Part::Closed, "closed", &[Step::Write, Step::Sync]),
        (
            Part::Recovery,
            "recovery",
            &[
                Step::Write,
                Step::Sync,
                Step::SetLength,
                Step::Allocate,
                Step::SyncDir,
            ],
        ),
        (Part::Blob, "blob", PLACED_IN_A_NEW_DIRECTORY),
        (
            Part::Scope,
            "scope",
            &[
                Step::MakeDir,
                Step::Create,
                Step::Sync,
                Step::Rename,
                Step::SyncDir,
            ],
        ),
        (Part::Key, "key", PLACED),
        (
            Part::Erasure,
            "erasure",
            &[Step::Write, Step::Sync, Step::Remove, Step::SyncDir],
        ),
        (
            Part::Removal,
            "removal",
            &[
                Step::MakeDir,
                Step::Create,
                Step::Write,
                Step::Sync,
                Step::Rename,
                Step::SyncDir,
                Step::Remove,
            ],
        ),
        (Part::Mending, "mending", &[Step::Write, Step::Sync]),
        (
            Part::Mark,
            "mark",
            &[
                Step::Create,
                Step::Sync,
                Step::Rename,
                Step::SyncDir,
                Step::Remove,
            ],
        ),
    ];

    impl Step {
        const fn name(self) -> &'static str {
            match self {
                Self::Create => "create",
                Self::MakeDir => "make-dir",
                Self::Allocate => "allocate",
                Self::Write => "write",
                Self::SetLength => "set-length",
                Self::Sync => "sync",
                Self::Rename => "rename",
                Self::Remove => "remove",
                Self::SyncDir => "sync-dir",
            }
        }
    }

    impl Point {
        /// All of them.
        pub fn all() -> impl Iterator<Item = Self> {
            POINTS.iter().flat_map(|(part, _, steps)| {
                steps.iter().map(|step| Self {
                    part: *part,
                    step: *step,
                })
            })
        }
    }

    impl fmt::Display for Point {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let known = POINTS.iter().find(|(part, ..)| *part == self.part);
            let part = known.map_or("unnamed", |(_, name, _)| *name);
            write!(f, "{part}.{}", self.step.name())
        }
    }

    impl FromStr for Point {
        type Err = String;

        fn from_str(name: &str) -> Result<Self, String> {
            Self::all()
                .find(|point| point.to_string() == name)
                .ok_or_else(|| format!("no durable write is named `{name}`"))
        }
    }
}
