//! Histories with every hash and link right that do what they must not.

use crate::support::{Twist, export, story, verify};
use crate::{case, check};

/// What histories do that they must not, with every hash and link right.
#[test]
fn histories_that_break_a_rule_of_evidence_are_named() {
    let evidence = |twist| (twist, 1, "evidence", "violation");
    for (twist, exit, level, status) in [
        evidence(Twist::ApprovedByProposer),
        evidence(Twist::ApprovedByOwner),
        evidence(Twist::StatementOverOtherDigest),
        evidence(Twist::StatementOverOtherView),
        evidence(Twist::StatementByStranger),
        evidence(Twist::StatementForged),
        evidence(Twist::SecondVoteOfOnePerson),
        evidence(Twist::StatementNonceReused),
        evidence(Twist::StatementReused),
        evidence(Twist::StatementExpired),
        evidence(Twist::OrderOutsideItsTimes),
        evidence(Twist::OrderByUnknownKey),
        evidence(Twist::OrderByEndedKey),
        evidence(Twist::KeyEndsEarlier),
        evidence(Twist::OrderWithoutApproval),
        evidence(Twist::OrderForOtherGeneration),
        evidence(Twist::OrderSequenceFalls),
        evidence(Twist::OrderWhileSiteHeld),
        evidence(Twist::OrderForOtherRelease),
        evidence(Twist::RollbackOtherThanActions),
        evidence(Twist::OutcomeOfOtherOrder),
        evidence(Twist::OutcomeByOtherKey),
        evidence(Twist::OutcomeSaysOtherResult),
        evidence(Twist::CounterSkips),
        evidence(Twist::SplitView),
        evidence(Twist::EnrolmentForged),
        evidence(Twist::ViewShowsOtherAction),
        evidence(Twist::DocumentOfOtherGenesis),
        evidence(Twist::PairedWithoutInvitation),
        evidence(Twist::DocumentPinnedAlone),
        evidence(Twist::RestatesOtherBody),
        (Twist::PolicyVerdictChanged, 1, "policy", "violation"),
        (Twist::PolicyEvaluationChanged, 1, "policy", "violation"),
        (Twist::HeadsOfOtherRoot, 1, "tree", "violation"),
        (Twist::HeadsLackKeys, 1, "tree", "violation"),
        (Twist::KeyStatementUnsigned, 1, "keys", "violation"),
        (Twist::KeyEndsAlone, 1, "keys", "violation"),
        (Twist::CheckpointByUnknownKey, 1, "checkpoints", "violation"),
    ] {
        let name: &'static str = Box::leak(format!("{twist:?}").into_boxed_str());
        let world = story::tell(2, twist);
        check(
            &case(name, exit, level, status),
            &export(&world, None, "whole.zip"),
        );
        let directory = verify(&world.data());
        assert_eq!(
            directory.exit,
            exit,
            "{name}: directory\n{}",
            directory.to_text()
        );
    }
}
