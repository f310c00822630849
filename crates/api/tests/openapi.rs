//! The OpenAPI description says what holds for every operation, and points at nothing that is not there.

use serde_json::Value;

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get("$ref") {
                found.push(target.clone());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_description_is_whole() {
    let text = countersign_api::openapi_json().unwrap();
    assert_eq!(text, countersign_api::openapi_json().unwrap());
    let api: Value = serde_json::from_str(&text).unwrap();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut found = Vec::new();
    references(&api, &mut found);
    for target in &found {
        assert!(
            api.pointer(target.strip_prefix('#').unwrap()).is_some(),
            "{target} is not there"
        );
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} stands twice");
            assert!(
                operation["summary"].is_string(),
                "{method} {path} says nothing"
            );
            assert!(
                operation["security"].is_array(),
                "{method} {path} says nothing of tokens"
            );
            assert!(
                operation["responses"]["default"]["content"]["application/problem+json"]
                    .is_object()
            );
        }
    }
    assert!(ids.len() > 35, "{} operations", ids.len());
}

#[test]
fn every_code_of_this_crate_has_a_page() {
    for code in countersign_api::CODES {
        let page =
            countersign_api::error_page(code.id).unwrap_or_else(|| panic!("`{code}` has no page"));
        for heading in ["## What happened", "## What is safe", "## What to do"] {
            assert!(page.contains(heading), "`{code}`: {heading}");
        }
    }
}
