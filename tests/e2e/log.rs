//! What is logged: enough to follow one command from its request into the ledger, and never a secret.

use crate::harness::{countersign, told};
use crate::stage::{Plane, Stage, TENANT};
use base64::Engine as _;
use serde_json::Value;
use std::path::Path;

/// A whole action with everything logged that could be, by server and connector; then each secret is looked for.
#[test]
fn a_whole_action_is_followed_by_its_ids_and_no_secret_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut stage = Stage::set(Plane::start_logged(directory.path(), &log));
    let action = stage.propose("2026-autumn");
    assert_eq!(stage.decide("approve", &action), Some(0));

    let data = stage.plane.data();
    let mut secrets = vec![
        stage.plane.admin(),
        stage.owner.clone(),
        stage.agent.clone(),
        stage.approver.clone(),
        stage.code.clone(),
        // The reason of the proposal: text about a person, which the ledger holds sealed.
        "it is time".to_owned(),
    ];
    for token in secrets.clone() {
        // The secret half alone, without the name before it.
        secrets.extend(token.rsplit_once('_').map(|(_, half)| half.to_owned()));
        secrets.extend(token.split('.').nth(1).map(str::to_owned));
    }
    for key in [
        data.join("keys/checkpoint.pem"),
        data.join("keys/order.pem"),
        directory.path().join("genesis.pem"),
        stage.key.clone(),
        stage.connector_directory.join("state/key"),
    ] {
        secrets.extend(forms_of_key(&key));
    }
    let keyring = std::fs::read_dir(data.join("keys/keyring")).unwrap();
    let sealed: Vec<String> = keyring
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!sealed.is_empty());
    secrets.extend(sealed);

    let id = command_id(&data);
    assert_eq!(stage.plane.stop(), Some(0));
    drop(stage);
    let text = std::fs::read_to_string(&log).unwrap();
    for secret in &secrets {
        assert!(secret.len() >= 10, "`{secret}` is no secret");
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "`{secret}` is in the log");
    }
    let followed = text.lines().filter_map(|line| {
        // What people read on the terminal stands in the same stream.
        let line: Value = serde_json::from_str(line).ok()?;
        (line["command"] == id.as_str()).then(|| line.clone())
    });
    let followed: Vec<Value> = followed.collect();
    assert_eq!(followed.len(), 1, "one command, one line: {followed:?}");
    let line = &followed[0];
    assert_eq!(line["chain"], TENANT, "{line}");
    assert_eq!(line["outcome"], "written", "{line}");
    let request = line["span"]["request"].as_str().unwrap();
    let answered = text.lines().any(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line["message"] == "answered" && line["span"]["request"] == request
    });
    assert!(answered, "the request `{request}` has no answer in the log");
}

/// A private key as text might hold it: the lines of its PEM, its seed in hex and in base64.
fn forms_of_key(path: &Path) -> Vec<String> {
    let pem = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(lines.concat())
        .unwrap();
    // PKCS#8 of an Ed25519 key: its seed stands behind a fixed head of 16 bytes.
    let seed = &der[16..48];
    let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(seed);
    let mut forms = vec![hex::encode(seed), encoded];
    forms.extend(lines.iter().map(|line| (*line).to_owned()));
    forms.retain(|form| form.len() >= 10);
    forms
}

/// The id of the command that proposed the newest action.
fn command_id(data: &Path) -> String {
    let arguments = [
        "replay",
        "show",
        data.to_str().unwrap(),
        "--json",
        "--chain",
        TENANT,
        "--type",
        "action.proposed",
    ];
    let output = countersign(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, after) = text.rsplit_once("commandid").unwrap();
    let id: String = after
        .chars()
        .skip_while(|character| !character.is_ascii_hexdigit())
        .take(32)
        .collect();
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    id
}
