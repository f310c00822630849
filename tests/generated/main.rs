//! What is generated from declarations in the code: compared, or written when COUNTERSIGN_GENERATED is `write`.
//!
//! A test target, so that it is built once with all the others; `cargo xtask gen` starts it.

#[cfg(test)]
mod artefacts;

#[cfg(test)]
mod tests {
    use super::artefacts::{self, DIRECTORIES};
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .to_path_buf()
    }

    /// Files that stand in a directory which is generated as a whole, and are generated no more.
    fn stale(root: &Path, wanted: &BTreeMap<String, String>) -> Vec<String> {
        let mut stale = Vec::new();
        for directory in DIRECTORIES {
            for entry in fs::read_dir(root.join(directory)).into_iter().flatten() {
                let path = format!(
                    "{directory}/{}",
                    entry.unwrap().file_name().to_string_lossy()
                );
                if !wanted.contains_key(&path) {
                    stale.push(path);
                }
            }
        }
        stale
    }

    #[test]
    fn generated_files_are_what_the_code_declares() {
        let root = root();
        let wanted = artefacts::all(&root);
        let stale = stale(&root, &wanted);
        let differing: Vec<&String> = wanted
            .iter()
            .filter(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(*text))
            .map(|(path, _)| path)
            .collect();
        if std::env::var("COUNTERSIGN_GENERATED").as_deref() == Ok("write") {
            for path in differing {
                let file = root.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, &wanted[path]).unwrap();
            }
            for path in stale {
                fs::remove_file(root.join(path)).unwrap();
            }
            return;
        }
        assert!(
            differing.is_empty() && stale.is_empty(),
            "run `cargo xtask gen`: {differing:?} differ, {stale:?} are generated no more"
        );
    }
}
