//! Family `reason`: words that people gave. Personal, sealed and erasable.

use countersign_ids::Salt;

use crate::declare::events;

events! {
    /// Reasons that people gave: personal.
    Reason = "reason" Personal;

    /// The reason to which the event before it in the same append commits by `reason_digest`.
    ///
    /// B is stored sealed; this is what it holds once it is opened.
    Given = "given" v 1 on Tenant about "the action" {
        /// 16 random bytes, hexadecimal: without them nobody can guess the reason from its digest.
        pub salt: Salt,
        /// The reason.
        pub reason: String,
    }
}
