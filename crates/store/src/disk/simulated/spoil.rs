//! Bits that change on a simulated disk without anybody writing them.

use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::{Node, Simulation};

impl Simulation {
    /// The files in a directory, in order of their names.
    #[must_use]
    pub fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let mut names = self.list(dir).unwrap_or_default();
        names.sort();
        names.into_iter().map(|name| dir.join(name)).collect()
    }

    /// What a reader of a file sees; nothing where there is no file.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let read = self.open(path).and_then(|file| file.read_all());
        read.unwrap_or_default()
    }

    /// Flips bits of one byte of a file.
    pub fn flip(&self, path: &Path, byte: usize, mask: u8) {
        let Ok(file) = self.open(path) else { return };
        if let Some(Node::File(contents)) = self.state().nodes.get_mut(file.node) {
            contents.flip(byte, mask);
        }
    }
}

impl Contents {
    fn flip(&mut self, at: usize, mask: u8) {
        for bytes in [&mut self.cache, &mut self.disk] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
    }
}
