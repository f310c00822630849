//! What docs/requirements.md names is there: every path, and every test as `path#name`.

use super::{Finding, Source};

const PAGE: &str = "docs/requirements.md";

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let page = sources.iter().find(|source| source.path == PAGE);
    let Some(text) = page.and_then(|page| page.text.as_deref()) else {
        return vec![Finding(format!("`{PAGE}` is missing"))];
    };
    references(text)
        .filter(|(path, test)| !is_there(sources, path, *test))
        .map(|(path, test)| {
            let what = test.map_or_else(|| path.to_owned(), |test| format!("{path}#{test}"));
            Finding(format!("`{PAGE}` names `{what}`, which is not there"))
        })
        .collect()
}

/// Words in back quotes that are paths, and the tests behind `#`.
fn references(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| word.contains('/') && !word.starts_with('/') && !word.contains([' ', '<']))
        .map(|word| match word.split_once('#') {
            Some((path, test)) => (path, Some(test)),
            None => (word, None),
        })
}

fn is_there(sources: &[Source], path: &str, test: Option<&str>) -> bool {
    let Some(test) = test else {
        let directory = format!("{}/", path.trim_end_matches('/'));
        return sources
            .iter()
            .any(|source| source.path == path || source.path.starts_with(&directory));
    };
    let file = sources.iter().find(|source| source.path == path);
    let text = file.and_then(|file| file.text.as_deref());
    text.is_some_and(|text| text.contains(&format!("fn {test}(")))
}

#[cfg(test)]
mod tests {
    use super::{Source, is_there, references};

    #[test]
    fn paths_and_tests_are_looked_up() {
        let text = "| `crates/a` `crates/a/src/lib.rs#it_works` `POST /v1/x` `/v1` `a.b` |";
        let found: Vec<_> = references(text).collect();
        let wanted = [
            ("crates/a", None),
            ("crates/a/src/lib.rs", Some("it_works")),
        ];
        assert_eq!(found, wanted);
        let sources = [Source {
            path: "crates/a/src/lib.rs".to_owned(),
            text: Some("#[test]\nfn it_works() {}".to_owned()),
        }];
        assert!(is_there(&sources, "crates/a", None));
        assert!(!is_there(&sources, "crates/b", None));
        assert!(is_there(&sources, "crates/a/src/lib.rs", Some("it_works")));
        assert!(!is_there(&sources, "crates/a/src/lib.rs", Some("it_fails")));
    }
}
