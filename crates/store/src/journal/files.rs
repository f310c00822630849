//! The segment files of a journal directory; a file of another name is none of them.

use std::path::{Path, PathBuf};

use super::Position;
use super::scan::Error;
use crate::disk::Disk;

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    /// The position of its first byte; also its name.
    pub(crate) base: Position,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// The position of the first byte of the next one, if there is one.
    pub(crate) next: Option<Position>,
}

/// The name of the segment that begins at `base`.
pub(crate) fn file_name(base: Position) -> String {
    format!("{:020}.seg", base.get())
}

/// The segments of a journal directory, in order.
pub(crate) fn segments(disk: &Disk, dir: &Path) -> Result<Vec<SegmentFile>, Error> {
    let failed = |source| Error::Io {
        path: dir.to_path_buf(),
        source,
    };
    let mut found = Vec::new();
    for name in disk.list(dir).map_err(failed)? {
        let base = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .filter(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        if let Some(base) = base {
            found.push(SegmentFile {
                base: Position::new(base),
                path: dir.join(name),
                next: None,
            });
        }
    }
    found.sort_by_key(|segment: &SegmentFile| segment.base);
    let bases: Vec<_> = found.iter().map(|segment| segment.base).collect();
    for (segment, next) in found.iter_mut().zip(bases.into_iter().skip(1)) {
        segment.next = Some(next);
    }
    Ok(found)
}
