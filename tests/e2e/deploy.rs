//! What is handed to those who run it: the unit, the dashboard, the alerts, and the runbook that the alerts lead to.

use crate::harness::{binary, root, told};
use crate::http::Caller;
use crate::stage::{Plane, Stage};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

const UNIT: &str = "deploy/systemd/countersign.service";
const DASHBOARD: &str = "deploy/grafana/countersign.json";
const ALERTS: &str = "deploy/prometheus/countersign.rules.yml";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The names of figures of ours in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let part_of_name = |character: char| character.is_ascii_lowercase() || character == '_';
    text.split(|character: char| !part_of_name(character))
        .filter(|word| {
            let ours = ["countersign_", "process_"]
                .iter()
                .find_map(|prefix| word.strip_prefix(prefix));
            ours.is_some_and(|rest| !rest.is_empty())
        })
        .map(str::to_owned)
        .collect()
}

/// What `/metrics` of a server shows: the names before labels and values.
fn live_metrics(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_figure_that_dashboard_and_alerts_name_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(Plane::start(directory.path()));
    let caller = Caller::new(&stage.plane.url(), &stage.plane.admin());
    let answer = caller
        .request(reqwest::Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    let text = answer.text().await.unwrap();
    let live = live_metrics(&text);
    let mut named = 0;
    for file in [DASHBOARD, ALERTS] {
        for name in metrics_in(&read(file)) {
            assert!(
                live.contains(&name),
                "{file} names `{name}`, which is not in:\n{text}"
            );
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
    // Nothing of a tenant but its id, and nothing of a site or a person, leaves by this door.
    for secret in [crate::stage::SITE, "alice", "olive", "2026-autumn"] {
        assert!(!text.contains(secret), "`{secret}` is in:\n{text}");
    }
}

#[tokio::test]
async fn work_that_waits_is_told_from_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(Plane::start(directory.path()));
    let caller = Caller::new(&stage.plane.url(), &stage.plane.admin());
    let figure = |text: &str, wanted: &str| {
        let line = text.lines().find(|line| line.starts_with(wanted));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value
            .unwrap_or_else(|| panic!("no `{wanted}` in:\n{text}"))
            .1
            .parse::<f64>()
            .unwrap()
    };
    let metrics = || async {
        let answer = caller.request(reqwest::Method::GET, "/metrics").send();
        answer.await.unwrap().text().await.unwrap()
    };
    let text = metrics().await;
    let decision = "countersign_waiting{work=\"decision\"}";
    assert!(figure(&text, decision).abs() < 0.5, "nothing waits");
    assert!(figure(&text, "countersign_connectors{tenant=\"harbour\"}") > 0.5);
    assert!(figure(&text, "countersign_disk_free_bytes") > 1.0);

    stage.propose("2026-autumn");
    let mut text = String::new();
    for _ in 0..400 {
        text = metrics().await;
        if figure(&text, decision) > 0.5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(figure(&text, decision) > 0.5, "{text}");
    // The server's own work is done: that one waits for a person.
    for work in ["assess", "mint", "expire", "unresolved"] {
        let name = format!("countersign_waiting{{work=\"{work}\"}}");
        assert!(figure(&text, &name).abs() < 0.5, "{text}");
    }
    // The log writes at most once a second.
    for part in ["reactions", "checkpoints", "heads", "log"] {
        let name = format!("countersign_last_progress_timestamp_seconds{{part=\"{part}\"}}");
        let mut got_on = false;
        for _ in 0..400 {
            text = metrics().await;
            got_on = figure(&text, &name) > 1.0e9;
            if got_on {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        assert!(got_on, "`{part}` never got on: {text}");
    }
}

#[test]
fn the_dashboard_is_what_grafana_reads() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        let right = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(right <= 24, "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(!metrics_in(expression).is_empty(), "{expression}");
            for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                let count = |wanted| expression.chars().filter(|found| *found == wanted).count();
                assert_eq!(count(open), count(close), "{expression}");
            }
        }
    }
}

#[test]
fn every_alert_has_a_section_of_the_runbook() {
    let (alerts, runbook) = (read(ALERTS), read("docs/operations.md"));
    let mut names = BTreeSet::new();
    let mut lines = alerts.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line.trim().strip_prefix("- alert: ") else {
            continue;
        };
        assert!(names.insert(name.to_owned()), "`{name}` stands twice");
        let body: Vec<&str> =
            std::iter::from_fn(|| lines.next_if(|line| !line.trim().starts_with("- alert: ")))
                .collect();
        let body = body.join("\n");
        for part in ["expr: ", "labels: { severity: ", "summary: "] {
            assert!(body.contains(part), "`{name}` lacks `{part}`");
        }
        let anchor = format!("runbook: \"docs/operations.md#{}\"", name.to_lowercase());
        assert!(body.contains(&anchor), "`{name}` lacks `{anchor}`");
        let heading = format!("\n### {name}\n");
        let (_, section) = runbook
            .split_once(&heading)
            .unwrap_or_else(|| panic!("docs/operations.md lacks `### {name}`"));
        let section = section.split("\n#").next().unwrap();
        for part in ["Look at", "Do"] {
            assert!(section.contains(part), "`### {name}` does not say `{part}`");
        }
    }
    assert!(names.len() > 15, "{names:?}");
    let sections = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### Countersign"));
    for section in sections {
        assert!(
            names.contains(&format!("Countersign{section}")),
            "no alert `{section}`"
        );
    }
}

/// systemd itself reads the unit, where it is installed; what it must say stands here too, for machines without it.
#[test]
fn the_unit_is_sound_and_keeps_the_server_to_itself() {
    let unit = read(UNIT);
    for line in [
        "User=countersign",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "KillSignal=SIGTERM",
        "Restart=on-failure",
        "StateDirectoryMode=0700",
    ] {
        assert!(
            unit.lines().any(|found| found == line),
            "the unit lacks `{line}`"
        );
    }
    for line in unit.lines() {
        let section = line.starts_with('[') && line.ends_with(']');
        let comment = line.is_empty() || line.starts_with('#');
        assert!(section || comment || line.contains('='), "`{line}`");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("countersign.service");
    let program = binary();
    let here = unit.replace("/usr/bin/countersign", program.to_str().unwrap());
    assert_ne!(here, unit, "the unit starts the program");
    std::fs::write(&path, here).unwrap();
    let verify = |arguments: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(arguments).arg(&path).output()
    };
    let Ok(verified) = verify(&["verify"]) else {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "this test needs systemd-analyze (package systemd)"
        );
        eprintln!("SKIPPED: systemd did not read the unit, systemd-analyze is not installed");
        return;
    };
    assert!(verified.status.success(), "{}", told(&verified));
    assert!(verified.stderr.is_empty(), "{}", told(&verified));
    // 0 is closed, 100 is open.
    let exposed = verify(&["security", "--offline=true", "--threshold=20"]).unwrap();
    assert!(exposed.status.success(), "{}", told(&exposed));
}
