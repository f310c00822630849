//! Opening whatever a path names: a data directory or a bundle.

use std::path::Path;

use crate::bundle::Bundle;
use crate::directory::Directory;
use crate::source::{Source, SourceError};

/// Opens a data directory or a bundle.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let io = |error| SourceError::Io {
        path: path.display().to_string(),
        error,
    };
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(Box::new(Directory::open(path)?));
    }
    Ok(Box::new(Bundle::open(path)?))
}
