//! `cargo xtask mutants`: takes each check of an order out of the code, one at a time, and sees a test fail.
//!
//! It edits a copy below target/, never the sources, so there is no switch in any build that turns a check off. Every
//! entry names text that stands exactly once in its file; when the code changes and an entry does not fit it any more,
//! this says so and fails.

use crate::{report, run};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the table of spoiled orders needs: the crates of the copy, each after what it uses.
const CRATES: &[&str] = &["ids", "chain", "evidence"];

/// One check, and the code without it.
struct Mutant {
    check: &'static str,
    file: &'static str,
    find: &'static str,
    replace: &'static str,
}

const fn check(check: &'static str, find: &'static str, replace: &'static str) -> Mutant {
    let file = "crates/evidence/src/checks/steps.rs";
    Mutant {
        check,
        file,
        find,
        replace,
    }
}

const MUTANTS: &[Mutant] = &[
    check(
        "mode: held",
        "Mode::Hold | Mode::Dark | Mode::Quiet | Mode::Stopped => false",
        "_ => true",
    ),
    check(
        "mode: ask for all",
        "Mode::AskForAll => !order.statements.is_empty()",
        "Mode::AskForAll => true",
    ),
    check(
        "mode: rollback only",
        "Mode::RollbackOnly => order.action_object.kind.as_str() == RELEASE_ROLLBACK",
        "Mode::RollbackOnly => true",
    ),
    check(
        "event type",
        r#"if header.event_type.to_string() != "dev.countersign.action.authorized.v1" {"#,
        "if false {",
    ),
    check(
        "body hash",
        "if chain::body_hash(&delivery.event.salt, body) != header.bodyhash {",
        "if false {",
    ),
    check(
        "key statements",
        "next.follow(statement).map_err(Refusal::Keys)?;",
        "drop(next.follow(statement));",
    ),
    Mutant {
        check: "order signature",
        file: "crates/evidence/src/order.rs",
        find: "let payload = envelope.verify(PayloadType::Order, std::slice::from_ref(key))?;",
        replace: "let _ = key; let payload = envelope.unverified_payload();",
    },
    check(
        "order key ended",
        ".current(Role::Order)",
        ".keys().iter().filter(|held| held.role == Role::Order)",
    ),
    check(
        "audience: ledger",
        r#"("ledger", order.ledger != *of.ledger)"#,
        r#"("ledger", false)"#,
    ),
    check(
        "audience: chain",
        r#"("chain", order.chain != *of.chain)"#,
        r#"("chain", false)"#,
    ),
    check(
        "audience: site",
        "order.site != *of.site || order.action_object.site != *of.site",
        "false",
    ),
    check(
        "audience: connector",
        r#"("connector", order.connector != *of.connector)"#,
        r#"("connector", false)"#,
    ),
    check(
        "generation",
        "if order.generation == of.generation {",
        "if true {",
    ),
    check(
        "document",
        "Ok(digest) if digest == order.document_digest => Ok(())",
        "Ok(_) => Ok(())",
    ),
    check(
        "window",
        "if fits { Ok(()) } else { Err(Refusal::Window) }",
        "let _ = fits; Ok(())",
    ),
    check("not before", "if now < order.not_before {", "if false {"),
    check("expires", "if now > until {", "if false {"),
    check("nonce", "if nonces.contains(&order.nonce) {", "if false {"),
    check(
        "sequence",
        "Some(last) if order.sequence <= last =>",
        "Some(last) if false =>",
    ),
    check(
        "event: action",
        "order.action == *of_body && header.ledger",
        "*of_body == *of_body && header.ledger",
    ),
    check(
        "action: rollback plan",
        "if order.rollback_digest != order.action_object.rollback_digest {",
        "if false {",
    ),
    check(
        "statement: action",
        "&& statement.action == order.action",
        "",
    ),
    check(
        "statement: action digest",
        "&& statement.action_digest == digest",
        "",
    ),
    check(
        "statement: decision",
        "&& statement.decision == Decision::Approve",
        "",
    ),
    check(
        "statement: rollback plan",
        "&& statement.rollback_digest == order.rollback_digest",
        "",
    ),
    check(
        "statement: pinned",
        "document.credential(&named.approver, &named.credential)",
        "document.approvers.first()",
    ),
    Mutant {
        check: "statement: signature",
        file: "crates/evidence/src/statement.rs",
        find: "Some(true) =>",
        replace: "Some(_) =>",
    },
    check(
        "statement: break-glass",
        "if named.scope == Scope::BreakGlass && !document.break_glass {",
        "if false {",
    ),
    check(
        "statement: times",
        "if !named.counts_at(now) {",
        "if false {",
    ),
    check(
        "statement: used once",
        "if executed.contains(verified.digest()) {",
        "if false {",
    ),
    check(
        "statements: one a person",
        "if !people.insert(&statement.approver) || Some(statement.round) != round {",
        "if !people.insert(&statement.approver) && Some(statement.round) != round {",
    ),
    check("floor", "if approvals >= floor {", "if true {"),
    check(
        "checkpoint signature",
        "match Checkpoint::open(note.as_bytes(), &known) {",
        "drop(known); match note::Note::parse(note.as_bytes()).map(|note| Checkpoint::parse(note.text())).unwrap_or_else(|error| Err(error.into())) {",
    ),
    check(
        "checkpoint key ended",
        ".current(Role::Checkpoint)",
        ".keys().iter().filter(|held| held.role == Role::Checkpoint)",
    ),
    check(
        "checkpoint size",
        "if head.size < accepted.size {",
        "if false {",
    ),
    check("inclusion", ".map_err(|_| Refusal::Inclusion)?;", ".ok();"),
    check(
        "consistency",
        ".map_err(|_| Refusal::Consistency)?;",
        ".ok();",
    ),
    check(
        "precondition",
        "if order.action_object.precondition == *current {",
        "if true {",
    ),
    check(
        "readiness",
        "if order.rollback_digest == rollback_digest {",
        "if true {",
    ),
];

/// Takes each check out in turn; fails if one is not missed.
pub(crate) fn run() -> Result<()> {
    let copy = copy()?;
    let (sound, output) = test(&copy)?;
    ensure!(sound, "the tests fail without a mutation:\n{output}");
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        if noticed(&copy, mutant)? {
            report::line(format_args!("noticed: {}", mutant.check));
        } else {
            report::line(format_args!("NOT NOTICED: {}", mutant.check));
            missed.push(mutant.check);
        }
    }
    ensure!(
        missed.is_empty(),
        "no test fails without: {}",
        missed.join(", ")
    );
    report::line(format_args!(
        "{} checks, each one missed by a test when it is taken out",
        MUTANTS.len()
    ));
    Ok(())
}

/// Whether the table fails without the check.
fn noticed(copy: &Path, mutant: &Mutant) -> Result<bool> {
    let path = copy.join(mutant.file);
    let sound = fs::read_to_string(&path)?;
    let found = sound.matches(mutant.find).count();
    ensure!(
        found == 1,
        "`{}`: its text stands {found} times in {}",
        mutant.check,
        mutant.file
    );
    fs::write(&path, sound.replace(mutant.find, mutant.replace))?;
    let tested = test(copy);
    fs::write(&path, sound)?;
    let (passed, output) = tested?;
    if !passed && !output.contains("test result: FAILED") {
        bail!(
            "`{}`: the code without it does not build:\n{output}",
            mutant.check
        );
    }
    Ok(!passed)
}

/// Runs the table of spoiled orders in the copy; whether it passed, and what it said.
fn test(copy: &Path) -> Result<(bool, String)> {
    let mut command = run::cargo(&[
        "test",
        "--offline",
        "--package",
        "countersign-evidence",
        "--test",
        "checks",
    ])?;
    command
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", copy.join("target"));
    let output = command.output().context("could not start cargo")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// Copies the crates into a workspace of their own; what was built there before stays.
fn copy() -> Result<PathBuf> {
    let root = run::root()?;
    let copy = root.join("target").join("mutants");
    let crates = copy.join("crates");
    if crates.exists() {
        fs::remove_dir_all(&crates)?;
    }
    for name in CRATES {
        copy_tree(&root.join("crates").join(name), &crates.join(name))?;
    }
    let mut manifest: toml::Table = toml::from_str(&fs::read_to_string(root.join("Cargo.toml"))?)?;
    let workspace = manifest
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("Cargo.toml has no workspace")?;
    let members: Vec<String> = CRATES.iter().map(|name| format!("crates/{name}")).collect();
    workspace.insert("members".to_owned(), members.into());
    workspace.remove("default-members");
    fs::write(copy.join("Cargo.toml"), toml::to_string(&manifest)?)?;
    fs::copy(root.join("Cargo.lock"), copy.join("Cargo.lock"))?;
    Ok(copy)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
