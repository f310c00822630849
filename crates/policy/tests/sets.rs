//! Which policy files are taken, and what is said about the others.

use countersign_policy::{DEFAULTS, Error, PolicySet};

fn load(text: &str) -> Result<PolicySet, Error> {
    PolicySet::load([("site.cedar".to_owned(), text.to_owned())].into())
}

#[test]
fn unsound_files_are_refused_by_name() {
    let named = |body: &str| format!("@id(\"a\") @reason(\"b\") {body}");
    for (text, expected) in [
        ("", "there is no policy"),
        ("// nothing", "there is no policy"),
        ("permit (", "`site.cedar` is not Cedar"),
        ("permit (principal, action, resource);", "has no `@id`"),
        (
            "@id(\"A b\") permit (principal, action, resource);",
            "has no `@id`",
        ),
        (
            "@id(\"a\") permit (principal, action, resource);",
            "the policy `a` in `site.cedar` has no `@reason`",
        ),
        (
            &named("permit (principal, action, resource) when { resource.riks == \"low\" };"),
            "do not fit the schema",
        ),
        (
            &named(
                "permit (principal, action, resource) when { context.tally.approvals > \"1\" };",
            ),
            "do not fit the schema",
        ),
        (
            &named("permit (principal == ?principal, action, resource);"),
            "holds a template",
        ),
        (
            &(named("permit (principal, action, resource);")
                + &named("forbid (principal, action, resource);")),
            "exists twice",
        ),
    ] {
        let said = load(text).unwrap_err().to_string();
        assert!(said.contains(expected), "`{text}`: {said}");
    }
}

#[test]
fn every_default_is_named_and_reasoned() {
    let set = PolicySet::defaults().unwrap();
    assert_eq!(set.names().count(), 18);
    for name in set.names() {
        assert!(
            set.reason(name)
                .is_some_and(|reason| reason.is_ascii() && !reason.ends_with('.')),
            "{name}"
        );
    }
}

#[test]
fn editing_a_file_changes_the_digest() {
    let mut files: std::collections::BTreeMap<String, String> = DEFAULTS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let before = *PolicySet::load(files.clone()).unwrap().digest();
    files
        .get_mut("publish.cedar")
        .unwrap()
        .push_str("\n// reviewed\n");
    assert_ne!(before, *PolicySet::load(files).unwrap().digest());
}

#[test]
fn blobs_of_another_form_are_refused() {
    for bytes in [
        &b""[..],
        b"{}",
        b"{\"v\":2,\"schema\":\"\",\"policies\":{}}",
        b"{\"v\":1,\"schema\":\"entity\",\"policies\":{\"a\":\"\"}}",
    ] {
        assert!(PolicySet::from_blob(bytes).is_err());
    }
}
