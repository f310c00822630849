//! `propose --file`: many proposals from a file, sent in lists; one line of answer for each.

use super::Caller;
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::output;
use anyhow::{Context as _, Result};
use countersign_ids::limits;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest key of a file.
const KEY_BYTES_MAX: usize = limits::IDEMPOTENCY_KEY_BYTES_MAX - 8;
/// Bytes of proposals in one request; the rest is for what stands around them.
const LIST_BYTES_MAX: usize = limits::REQUEST_BYTES_MAX - 16 * 1024;

pub(crate) async fn propose(
    caller: Caller,
    file: &Path,
    site: Option<String>,
    key: Option<String>,
) -> Result<ExitCode> {
    let proposals = read(file)?;
    let site = site.or_else(|| caller.profile.site(None).ok());
    let items = proposals
        .into_iter()
        .map(|proposal| item(proposal, site.as_deref()))
        .collect::<Result<Vec<_>>>()?;
    let key = match key {
        // Each list is sent under the key and its number.
        Some(key) if key.len() > KEY_BYTES_MAX => {
            let why = format!(
                "--key has {} bytes, at most {KEY_BYTES_MAX} with --file",
                key.len()
            );
            return Err(Failure::usage(why).into());
        }
        Some(key) => key,
        None => {
            let key = fresh_key()?;
            output::note(format_args!("sending this file again: --key {key}"));
            key
        }
    };
    let path = caller.path("/actions:batch")?;
    let (mut answers, mut refused) = (Vec::new(), 0_usize);
    for (number, list) in lists(items).into_iter().enumerate() {
        let (body, key) = (json!({ "items": list }), format!("{key}.{number}"));
        let answer = caller.client.post(&path, Some(&key), &body).await?;
        for answer in answer
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            refused += usize::from(answer.get("action").is_none());
            if !caller.json {
                output::data(&line(answers.len() + 1, answer))?;
            }
            answers.push(answer.clone());
        }
    }
    let total = answers.len();
    if caller.json {
        output::data(&serde_json::to_string_pretty(&json!({ "items": answers }))?)?;
    }
    if refused > 0 {
        let message = format!("{refused} of {total} proposals were refused");
        return Err(Failure::refused(message).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The proposals of a file: a JSON array, or one object a line.
fn read(file: &Path) -> Result<Vec<Value>> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .take(FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot open `{shown}`"))?;
        opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    };
    read.with_context(|| format!("cannot read `{shown}`"))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(
            Failure::usage(format!("`{shown}` is larger than {FILE_BYTES_MAX} bytes")).into(),
        );
    }
    let proposals = parse(&text).map_err(|error| Failure::usage(format!("`{shown}`: {error}")))?;
    if proposals.is_empty() {
        return Err(Failure::usage(format!("`{shown}` holds no proposal")).into());
    }
    Ok(proposals)
}

fn parse(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("not a JSON array: {error}"));
    }
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let number = number + 1;
        serde_json::from_str(line).map_err(|error| format!("line {number} is not JSON: {error}"))
    };
    lines.map(read).collect()
}

/// An item of a list: the proposal without its key, which stands beside it.
fn item(mut proposal: Value, site: Option<&str>) -> Result<Value> {
    let Some(members) = proposal.as_object_mut() else {
        return Err(Failure::usage("a proposal in the file is no JSON object").into());
    };
    let key = members.remove("key");
    if let (Some(site), false) = (site, members.contains_key("site")) {
        members.insert("site".to_owned(), json!(site));
    }
    Ok(match key {
        Some(key) => json!({ "key": key, "proposal": proposal }),
        None => json!({ "proposal": proposal }),
    })
}

/// Lists that the server takes, by count and by bytes.
fn lists(items: Vec<Value>) -> Vec<Vec<Value>> {
    let mut lists: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0_usize;
    for item in items {
        let more = item.to_string().len() + 1;
        match lists.last_mut() {
            Some(last) if last.len() < limits::PROPOSALS_MAX && bytes + more <= LIST_BYTES_MAX => {
                bytes += more;
                last.push(item);
            }
            _ => {
                bytes = more;
                lists.push(vec![item]);
            }
        }
    }
    lists
}

/// What became of one proposal: the action, or why not.
fn line(number: usize, answer: &Value) -> String {
    if let Some(action) = answer.get("action").and_then(Value::as_str) {
        return action.to_owned();
    }
    let problem = |member| output::printable(&output::field(answer, &format!("/problem/{member}")));
    format!("{number}: {}: {}", problem("code"), problem("detail"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_an_array_or_lines() {
        let two = vec![json!({ "site": "a" }), json!({ "site": "b" })];
        for text in [
            "[{\"site\":\"a\"},{\"site\":\"b\"}]",
            " \n[ {\"site\":\"a\"} ,\n {\"site\":\"b\"} ]\n",
            "{\"site\":\"a\"}\n\n{\"site\":\"b\"}\n",
        ] {
            assert_eq!(parse(text).unwrap(), two, "{text}");
        }
        assert!(parse("{\"site\":\"a\"}\n{").unwrap_err().contains("line 2"));
        assert!(parse("[{}").is_err());
    }

    #[test]
    fn a_key_stands_beside_its_proposal_and_a_site_is_filled_in() {
        let read = |value, site| item(value, site).unwrap();
        assert_eq!(
            read(json!({ "key": "k", "kind": "x" }), Some("shop")),
            json!({ "key": "k", "proposal": { "kind": "x", "site": "shop" } })
        );
        assert_eq!(
            read(json!({ "site": "blog" }), Some("shop")),
            json!({ "proposal": { "site": "blog" } })
        );
        assert!(item(json!(1), None).is_err());
    }

    #[test]
    fn lists_are_no_larger_than_the_server_takes() {
        let small = vec![json!({ "proposal": {} }); 250];
        let sizes: Vec<_> = lists(small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let large = vec![json!({ "proposal": { "reason": "x".repeat(100_000) } }); 9];
        let sizes: Vec<_> = lists(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [5, 4]);
    }
}
