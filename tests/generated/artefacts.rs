//! Every generated file: its path from the root, and its text.

use countersign_events::generate;
use std::collections::BTreeMap;
use std::path::Path;

/// Directories that hold generated files and nothing else (but for the frozen copy of the index).
pub(crate) const DIRECTORIES: &[&str] = &[generate::SCHEMAS];

/// The index of schemas as it was at the last release. What stands in it never changes and never goes.
pub(crate) const RELEASED: &str = "schemas/events/released.json";

/// All of them.
pub(crate) fn all(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    if let Ok(released) = std::fs::read(root.join(RELEASED)) {
        generate::check_released(&released).unwrap();
        files.insert(RELEASED.to_owned(), String::from_utf8(released).unwrap());
    }
    for (name, bytes) in generate::files() {
        files.insert(
            format!("{}/{name}", generate::SCHEMAS),
            String::from_utf8(bytes).unwrap(),
        );
    }
    files.insert("docs/events.md".to_owned(), generate::documentation());
    files.insert(
        "schemas/openapi.json".to_owned(),
        countersign_api::openapi_json().unwrap(),
    );
    files.insert("docs/errors/index.md".to_owned(), error_index(root));
    files
}

/// The list of error pages: code and title, from the pages themselves (that every code has its page, `xtask tidy` checks).
fn error_index(root: &Path) -> String {
    let mut pages = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("docs/errors")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(code) = name.strip_suffix(".md").filter(|code| *code != "index") {
            let text = std::fs::read_to_string(root.join("docs/errors").join(&name)).unwrap();
            let title = text
                .lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("# ")
                .to_owned();
            pages.insert(code.to_owned(), title);
        }
    }
    let mut text = String::from(
        "# Errors\n\nGenerated from the pages. Every failure that an operator can meet has a code and a page.\n\n",
    );
    for (code, title) in pages {
        text.push_str(&format!("- [`{code}`]({code}.md): {title}\n"));
    }
    text
}
