//! README's five minutes, taken out of README and executed.
//!
//! Two things differ from what a reader does: `cargo run --release --` is the binary of this build, and the ports are free
//! ones. The block marked `up` runs beside the others; the others run in one shell, in their order, and those marked `down`
//! after it was stopped.

use crate::harness::{Running, binary, root, three_ports, told};
use std::path::Path;
use std::process::{Command, Stdio};

/// What README calls the program.
const PROGRAM: &str = "cargo run --release --";

/// The fenced blocks of README: the word after `sh`, and the text.
fn blocks() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if let Some(mark) = line.strip_prefix("```sh") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((mark.trim().to_owned(), text.join("\n")));
        }
    }
    blocks
}

#[test]
fn five_minutes() {
    let directory = tempfile::tempdir().unwrap();
    let port = three_ports();
    let program = binary().display().to_string();
    let prepared = |text: &str| {
        let mut text = text.replace(PROGRAM, &program);
        for beside in 0..=2_u16 {
            text = text.replace(
                &format!("127.0.0.1:{}", 7400 + beside),
                &format!("127.0.0.1:{}", port + beside),
            );
        }
        text
    };
    let blocks = blocks();
    let up = blocks
        .iter()
        .find(|(mark, _)| mark == "up")
        .expect("README starts the sample");
    let mut line = prepared(&up.1)
        .split_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    line.extend([
        "--listen".to_owned(),
        format!("127.0.0.1:{port}"),
        "--json".to_owned(),
    ]);
    let mut command = Command::new(&line[0]);
    command
        .args(&line[1..])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .env("RUST_LOG", "warn");
    let sample = Running::start(command);

    let steps = |wanted: &str| -> Vec<String> {
        let wanted = blocks.iter().filter(|(mark, _)| mark == wanted);
        wanted.map(|(_, text)| prepared(text)).collect()
    };
    assert!(steps("").len() >= 5, "README's tour has lost its blocks");
    run(&steps(""), directory.path());
    assert_eq!(sample.stop(), Some(0), "Ctrl-C is a clean end");
    run(&steps("down"), directory.path());
}

/// Runs blocks in one shell that stops at the first failure.
fn run(steps: &[String], directory: &Path) {
    let script = format!("set -euo pipefail\n{}", steps.join("\n"));
    let mut command = Command::new("bash");
    command
        .arg("-c")
        .arg(&script)
        .current_dir(directory)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{script}\n{}", told(&output));
}
