//! Sound histories verify: as a directory, as a whole bundle, as a tenant's bundle.

#![cfg(test)]

mod support;

use support::{Twist, export, story, verify};

#[test]
fn a_sound_history_verifies_in_every_form() {
    let world = story::tell(1, Twist::Sound);
    for path in [
        world.data(),
        export(&world, None, "whole.zip"),
        export(&world, Some("acme"), "acme.zip"),
    ] {
        let verdict = verify(&path);
        assert_eq!(verdict.exit, 0, "{}\n{}", path.display(), verdict.to_text());
        assert!(!verdict.pinned);
        assert_eq!(verdict.counts.decisions, 4, "two assessments, two mints");
        assert_eq!(
            verdict.levels[&countersign_replay::verdict::Level::Policy].word(),
            "verified"
        );
    }
}
