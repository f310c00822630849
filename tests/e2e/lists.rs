//! Lists of proposals through the real server: partly refused, sent again, and with the server killed in between.

use crate::http::Caller;
use crate::stage::{Plane, SITE, Stage, TENANT};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const KILLS: usize = 5;
const ITEMS: usize = 40;

fn path() -> String {
    format!("/v1/tenants/{TENANT}/actions:batch")
}

/// The digest of a release that is not live.
async fn release(caller: &Caller) -> String {
    let path = format!("/v1/tenants/{TENANT}/sites/{SITE}/releases");
    let releases = caller.get(&path).await.body;
    let items = releases["items"].as_array().unwrap();
    let autumn = items.iter().find(|item| item["label"] == "2026-autumn");
    autumn.unwrap()["release"].as_str().unwrap().to_owned()
}

fn proposal(release: &str) -> Value {
    json!({ "site": SITE, "kind": "release.publish", "parameters": { "release": release }, "reason": "many at once" })
}

/// The items of an answer: each the action and the events, or the code of its problem.
fn answers(body: &Value) -> Vec<Result<(String, Value), String>> {
    let answer = |item: &Value| match item["action"].as_str() {
        Some(action) => {
            assert_eq!(item["status"], 201);
            Ok((action.to_owned(), item["receipt"]["events"].clone()))
        }
        None => Err(item["problem"]["code"].as_str().unwrap().to_owned()),
    };
    body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(answer)
        .collect()
}

async fn proposed(caller: &Caller) -> BTreeSet<String> {
    let path = format!("/v1/tenants/{TENANT}/actions");
    let actions = caller.get(&path).await.body;
    let items = actions["items"].as_array().unwrap();
    let id = |item: &Value| item["action"].as_str().unwrap().to_owned();
    items.iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_done_once_item_by_item_whenever_the_server_dies() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = tokio::task::block_in_place(|| Stage::set(Plane::start(directory.path())));
    let caller = Caller::new(&stage.plane.url(), &stage.agent);
    let release = release(&Caller::new(&stage.plane.url(), &stage.owner)).await;
    let mut known = proposed(&caller_of(&stage)).await;

    let unknown = format!("sha256:{}", "0".repeat(64));
    let items = [
        json!({ "key": "first", "proposal": proposal(&release) }),
        json!({ "proposal": proposal(&unknown) }),
        json!({ "proposal": proposal(&release) }),
    ];
    let list = json!({ "items": items });
    let answer = caller.post(&path(), "list", &list).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let first = answers(&answer.body);
    assert_eq!(first[1], Err("release-unknown".to_owned()));
    let again = answers(&caller.post(&path(), "list", &list).await.body);
    assert_eq!(again, first);
    known.extend(first.iter().flatten().map(|(action, _)| action.clone()));

    let malformed = json!({ "items": [{ "proposal": proposal(&release) }, { "proposal": {} }] });
    let answer = caller.post(&path(), "malformed", &malformed).await;
    assert_eq!((answer.status, answer.code()), (400, "body-malformed"));
    let none = caller.post(&path(), "none", &json!({ "items": [] })).await;
    assert_eq!((none.status, none.code()), (400, "list-malformed"));
    assert_eq!(
        proposed(&caller_of(&stage)).await,
        known,
        "nothing of a refused list"
    );

    let mut interrupted = 0;
    for round in 0..KILLS {
        let items: Vec<_> = (0..ITEMS)
            .map(|_| json!({ "proposal": proposal(&release) }))
            .collect();
        let (list, key) = (json!({ "items": items }), format!("killed-{round}"));
        let sent = tokio::spawn({
            let (caller, list, key) = (caller_of(&stage), list.clone(), key.clone());
            async move { caller.try_post(&path(), &key, &list).await }
        });
        // It dies as soon as the chain shows something of the list, wherever the list is by then.
        let before = known.len();
        while !sent.is_finished() && proposed(&caller_of(&stage)).await.len() == before {}
        tokio::task::block_in_place(|| stage.plane.kill());
        let acknowledged = sent.await.unwrap().ok().map(|answer| answers(&answer.body));
        interrupted += usize::from(acknowledged.is_none());
        tokio::task::block_in_place(|| {
            stage.plane.verify();
            stage.plane.resume();
        });
        let answer = caller_of(&stage).post(&path(), &key, &list).await;
        let whole = answers(&answer.body);
        assert!(whole.iter().all(Result::is_ok), "{whole:?}");
        if let Some(acknowledged) = acknowledged {
            assert_eq!(acknowledged, whole, "the receipts are the first ones");
        }
        known.extend(whole.into_iter().flatten().map(|(action, _)| action));
        assert_eq!(known.len(), before + ITEMS);
        assert_eq!(
            proposed(&caller_of(&stage)).await,
            known,
            "nothing twice, nothing lost"
        );
    }
    eprintln!("{interrupted} of {KILLS} lists were under way when the server was killed");
}

fn caller_of(stage: &Stage) -> Caller {
    Caller::new(&stage.plane.url(), &stage.agent)
}

#[test]
fn a_file_of_proposals_is_sent_line_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(Plane::start(directory.path()));
    let releases = stage
        .plane
        .run(&stage.owner, &["release", "list", "--site", SITE, "--json"]);
    let releases: Value = serde_json::from_str(&releases).unwrap();
    let items = releases["items"]
        .as_array()
        .or(releases.as_array())
        .unwrap();
    let autumn = items.iter().find(|item| item["label"] == "2026-autumn");
    let release = autumn.unwrap()["release"].as_str().unwrap();
    let file = directory.path().join("proposals");
    let one = json!({ "kind": "release.publish", "parameters": { "release": release } });
    std::fs::write(&file, format!("{one}\n\n{one}\n")).unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["propose", "--file", file, "--site", SITE, "--key", "monday"];
    let actions = stage.plane.run(&stage.agent, &arguments);
    let distinct: BTreeSet<_> = actions.lines().collect();
    assert_eq!(distinct.len(), 2, "{actions}");
    assert_eq!(
        stage.plane.run(&stage.agent, &arguments),
        actions,
        "sent again"
    );

    let wrong = json!({ "kind": "release.publish", "parameters": { "release": "none" } });
    std::fs::write(file, json!([one, wrong, one]).to_string()).unwrap();
    let output = stage
        .plane
        .try_run(&stage.agent, &["propose", "--file", file, "--site", SITE]);
    assert_eq!(output.status.code(), Some(1));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[1].starts_with("2: parameters-malformed: "),
        "{lines:?}"
    );
}
