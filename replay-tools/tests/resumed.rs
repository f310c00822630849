//! A run that goes on from an earlier one says what a whole run says, and believes no state but its own ledger's.

#![cfg(test)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use countersign_replay::open::open;
use countersign_replay::progress::Progress;
use countersign_replay::verdict::Demands;
use countersign_replay::verify::{Pins, State, Verified, verify_from};
use support::{Twist, export, story, verify};

/// Verifies, and reads back what the run left, as the next one would.
fn run(path: &Path, from: Option<&[u8]>) -> (Verified, Option<Vec<u8>>) {
    let from = from.map(|bytes| State::parse(bytes).unwrap());
    let (pins, demands) = (Pins::default(), Demands::default());
    let mut source = open(path).unwrap();
    let verified = verify_from(
        source.as_mut(),
        from,
        (&pins, &demands),
        &mut Progress::hidden(),
    )
    .unwrap();
    let left = verified
        .state
        .as_ref()
        .map(|state| state.to_bytes().unwrap().0);
    (verified, left)
}

fn told(verdict: &countersign_replay::report::Verdict) -> serde_json::Value {
    let mut told: serde_json::Value = serde_json::from_str(&verdict.to_json()).unwrap();
    told["peak_memory_bytes"] = serde_json::Value::Null;
    told.as_object_mut().unwrap().remove("resumed");
    told
}

#[test]
fn a_resumed_run_finds_what_a_whole_run_finds() {
    let mut wrong = 0;
    for twist in [
        Twist::Sound,
        Twist::StatementReused,
        Twist::StatementNonceReused,
        Twist::SecondVoteOfOnePerson,
        Twist::OrderSequenceFalls,
        Twist::OrderByEndedKey,
        Twist::KeyEndsEarlier,
        Twist::OrderWhileSiteHeld,
        Twist::OutcomeOfOtherOrder,
        Twist::CounterSkips,
        Twist::SplitView,
        Twist::PolicyVerdictChanged,
        Twist::HeadsOfOtherRoot,
    ] {
        let mut story = story::Story::begin(1, twist);
        let mut states = vec![run(&story.world.data(), None).1];
        story.publish("act-1", b"release one", 1);
        story.beat();
        states.push(run(&story.world.data(), None).1);
        story.world.rotate_order_key();
        story.publish("act-2", b"release two", 2);
        story.beat();
        let world = story.end();
        let whole = run(&world.data(), None);
        for state in states.iter().flatten() {
            let resumed = run(&world.data(), Some(state));
            let text = resumed.0.verdict.to_text();
            assert_eq!(
                told(&resumed.0.verdict),
                told(&whole.0.verdict),
                "{twist:?}\n{text}"
            );
            assert_eq!(resumed.1, whole.1, "{twist:?}: both leave the same state");
            assert!(resumed.0.verdict.resumed.is_some());
            wrong += usize::from(resumed.0.verdict.exit == 1);
        }
        if twist == Twist::Sound {
            let resumed = run(&world.data(), whole.1.as_deref()).0.verdict;
            assert_eq!(told(&resumed), told(&whole.0.verdict), "nothing came after");
            assert_eq!(
                resumed.resumed.unwrap().chains.values().sum::<u64>(),
                resumed.counts.events - platform_events(&world.data()),
            );
        }
    }
    assert!(
        wrong >= 8,
        "{wrong} resumed runs met what is wrong behind them"
    );
}

fn platform_events(path: &Path) -> u64 {
    let source = open(path).unwrap();
    source.platform().unwrap().count() as u64
}

#[test]
fn a_bundle_is_resumed_from_its_own_run_and_not_from_one_that_saw_more() {
    let world = story::tell(1, Twist::Sound);
    let bundle = export(&world, Some("acme"), "acme.zip");
    let whole = run(&bundle, None);
    let resumed = run(&bundle, whole.1.as_deref());
    assert_eq!(told(&resumed.0.verdict), told(&whole.0.verdict));
    let of_directory = run(&world.data(), None).1.unwrap();
    let state = State::parse(&of_directory).unwrap().0;
    let refused = state.fits(open(&bundle).unwrap().as_ref(), &Pins::default());
    assert!(refused.unwrap_err().to_string().contains("chains"));
}

#[test]
fn another_history_behind_the_same_genesis_is_a_violation() {
    // The same keys, and so the same ledger; other salts, times and ids.
    let (one, other) = (story::tell(1, Twist::Sound), story::tell(1, Twist::Sound));
    let state = run(&one.data(), None).1.unwrap();
    assert_eq!(verify(&other.data()).exit, 0);
    let resumed = run(&other.data(), Some(&state)).0.verdict;
    assert_eq!(resumed.exit, 1);
    assert!(
        resumed
            .bad
            .iter()
            .any(|range| range.rule == "resume" && range.message.contains("saw another history"))
    );
    assert!(
        run(&other.data(), Some(&state)).1.is_none(),
        "nothing is left to go on from"
    );
    // A copy from before knows less than the earlier run saw.
    let early = story::Story::begin(1, Twist::Sound).end();
    let resumed = run(&early.data(), Some(&state)).0.verdict;
    assert_eq!(resumed.exit, 1, "{}", resumed.to_text());
}

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replay"))
        .args(arguments)
        .output()
        .unwrap()
}

#[track_caller]
fn exits(arguments: &[&str], code: i32) -> String {
    let output = replay(arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{err}"
    );
    out.into_owned() + &err
}

#[test]
fn what_is_no_state_of_this_ledger_is_refused() {
    let (world, foreign) = (story::tell(1, Twist::Sound), story::tell(2, Twist::Sound));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (data, other) = (text(&world.data()), text(&foreign.data()));
    let (state, theirs) = (text(&world.path("state")), text(&world.path("theirs")));
    assert!(exits(&["verify", &data, "--save", &state], 0).contains("saved sha256:"));
    let resumed = exits(&["verify", &data, "--from", &state, "--save", &state], 0);
    assert!(resumed.contains("resumed behind"), "{resumed}");
    exits(&["verify", &other, "--save", &theirs], 0);
    let refused = exits(&["verify", &data, "--from", &theirs], 64);
    assert!(refused.contains("resume-refused"), "{refused}");
    let keys = text(&world.path("keys"));
    fs::write(
        &keys,
        hex::encode(world.keys.mira.verifying_key().to_bytes()),
    )
    .unwrap();
    let refused = exits(
        &["verify", &data, "--from", &state, "--approvers", &keys],
        64,
    );
    assert!(refused.contains("pinned other"), "{refused}");
    // Somebody who changes the state without its digest, and somebody who changes both.
    let whole = fs::read_to_string(&state).unwrap();
    let changed = whole.replacen("\"orders\":2", "\"orders\":3", 1);
    assert_ne!(changed, whole);
    fs::write(&theirs, &changed).unwrap();
    assert!(exits(&["verify", &data, "--from", &theirs], 64).contains("digest"));
    fs::write(&theirs, whole.replace(',', ", ")).unwrap();
    exits(&["verify", &data, "--from", &theirs], 64);
    fs::write(&theirs, "").unwrap();
    exits(&["verify", &data, "--from", &theirs], 64);
    // A strict run believes no earlier one.
    let genesis = hex::encode(world.keys.genesis.verifying_key().to_bytes());
    let strict = [
        "verify",
        &data,
        "--strict",
        "--genesis",
        &genesis,
        "--allow",
        "projections",
    ];
    exits(&strict, 0);
    exits(&[&strict[..], &["--from", &state]].concat(), 2);
    // What was not verified is not saved.
    let early = ["verify", &data, "--through", "tree", "--save", &theirs];
    exits(&[&early[..], &["--allow", "checkpoints"]].concat(), 2);
    let skipping = story::tell(1, Twist::CounterSkips);
    let wrong = text(&skipping.data());
    assert!(exits(&["verify", &wrong, "--save", &theirs], 1).contains("nothing was saved"));
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "");
}

#[test]
fn a_checkpoint_that_the_ledger_did_not_sign_is_refused() {
    let world = story::tell(1, Twist::Sound);
    let bytes = run(&world.data(), None).1.unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let note = &mut file["state"]["chains"]["acme"]["checkpoint"];
    let forged = countersign_chain::Checkpoint::parse(
        countersign_chain::note::Note::parse(note.as_str().unwrap().as_bytes())
            .unwrap()
            .text(),
    )
    .unwrap()
    .sign(&world.keys.stranger)
    .unwrap();
    *note = forged.into();
    let canonical = countersign_chain::json::canonical(&file["state"]).unwrap();
    file["digest"] = countersign_chain::sha256(&canonical).to_string().into();
    let forged = countersign_chain::json::canonical(&file).unwrap();
    let verdict = run(&world.data(), Some(&forged)).0.verdict;
    assert_eq!(verdict.exit, 1, "{}", verdict.to_text());
    assert!(verdict.bad.iter().any(|range| range.rule == "resume"));
}
