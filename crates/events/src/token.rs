//! Family `token`: bearer tokens, of which the ledger holds digests only.

use countersign_evidence::OrDash;
use countersign_ids::{ActorId, ApproverId, AuthType, Digest, TenantId, TokenId};

use crate::declare::events;
use crate::words::TokenRole;

events! {
    /// Bearer tokens.
    Token = "token" Evidence;

    /// A bearer token was issued. Its secret was shown once and is not kept.
    Issued = "issued" v 1 on Platform about "the token" {
        /// The token's public id.
        pub token: TokenId,
        /// SHA-256 of its secret.
        pub secret_digest: Digest,
        /// The tenant to which it is bound, `-` for the platform.
        pub tenant: OrDash<TenantId>,
        /// What it may do.
        pub role: TokenRole,
        /// What kind of actor uses it: a person or an agent.
        pub kind: AuthType,
        /// Who uses it: the `authid` of what it sends.
        pub actor: ActorId,
        /// The person for whom an agent acts, and who therefore never approves what it proposes; `-` where there is none.
        pub owner: OrDash<ApproverId>,
    }

    /// A bearer token does not count any more.
    Revoked = "revoked" v 1 on Platform about "the token" {
        /// The token.
        pub token: TokenId,
    }
}
