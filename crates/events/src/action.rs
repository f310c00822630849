//! Family `action`: one proposed change to a site, from proposal to outcome.

use countersign_evidence::message::TreeHead;
use countersign_evidence::{ActionObject, Envelope, JsonObject, OrDash, SignedStatement};
use countersign_ids::{ActionId, ApproverId, Digest};

use crate::declare::events;
use crate::evaluation::Evaluation;
use crate::words::{ExpiredFrom, Risk, Verdict};

events! {
    /// Actions, from proposal to outcome.
    Action = "action" Evidence;

    /// Somebody asked for one change to a site.
    Proposed = "proposed" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// What would be executed.
        pub action_object: ActionObject,
        /// SHA-256 of the canonical bytes of the action object.
        pub action_digest: Digest,
        /// What would change; its canonical bytes hash to the action object's `plan_digest`.
        pub plan: JsonObject,
        /// One line for people, made from the kind and its parameters.
        pub title: String,
        /// How bad it is if it goes wrong.
        pub risk: Risk,
        /// How many things it touches, in the unit of its kind: pages of a static site.
        pub blast_radius: u64,
        /// The person for whom the proposing agent acts, `-` where there is none.
        pub proposer_owner: OrDash<ApproverId>,
        /// SHA-256 of 16 random bytes and the reason, `-` where none was given.
        pub reason_digest: OrDash<Digest>,
        /// Blobs that belong to the proposal and are no evidence: release files, diffs.
        pub attachments: Vec<Digest>,
    }

    /// Policy said what the action needs, for one round of votes. Votes of earlier rounds do not count any more.
    Assessed = "assessed" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The round, dense from 1.
        pub round: u64,
        /// What policy said.
        pub verdict: Verdict,
        /// How many people have to approve; 0 where policy allows.
        pub needed: u64,
        /// The evaluations behind the verdict, with their full requests.
        pub evaluations: Vec<Evaluation>,
        /// SHA-256 of the policy set, a blob.
        pub policy_digest: Digest,
        /// The version of Cedar that evaluated.
        pub cedar_version: String,
        /// SHA-256 of the entity snapshot, a blob.
        pub entities_digest: Digest,
        /// SHA-256 of the view document of this round, a blob: what approvers are shown.
        pub view_digest: Digest,
        /// SHA-256 of the rollback plan that they are shown, `-` where there is none.
        pub rollback_digest: OrDash<Digest>,
        /// Why, one line per policy that decided.
        pub reasons: Vec<String>,
        /// Evidence blobs: policy set, entity snapshot, view document; sorted.
        pub blobs: Vec<Digest>,
    }

    /// A person approved in this round.
    Approved = "approved" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The round.
        pub round: u64,
        /// The statement, as signed.
        pub signed: SignedStatement,
    }

    /// A person said no in this round.
    Rejected = "rejected" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The round.
        pub round: u64,
        /// The statement, as signed.
        pub signed: SignedStatement,
    }

    /// A person took an approval of this round back.
    ApprovalWithdrawn = "approval-withdrawn" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The round.
        pub round: u64,
        /// The statement, as signed.
        pub signed: SignedStatement,
    }

    /// The proposer took the action back.
    Withdrawn = "withdrawn" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// SHA-256 of 16 random bytes and the reason, `-` where none was given.
        pub reason_digest: OrDash<Digest>,
    }

    /// Somebody in charge took the action back.
    Revoked = "revoked" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// SHA-256 of 16 random bytes and the reason, `-` where none was given.
        pub reason_digest: OrDash<Digest>,
    }

    /// The order was minted: policy evaluated again, votes consumed.
    Authorized = "authorized" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The round whose votes it consumes.
        pub round: u64,
        /// The order, signed by an order key of the ledger.
        pub envelope: Envelope,
        /// The evaluations at the mint, with the votes that stood.
        pub evaluations: Vec<Evaluation>,
        /// SHA-256 of the policy set, a blob; the one of the round.
        pub policy_digest: Digest,
        /// The version of Cedar that evaluated.
        pub cedar_version: String,
        /// SHA-256 of the entity snapshot, a blob.
        pub entities_digest: Digest,
        /// Why, one line per policy that decided.
        pub reasons: Vec<String>,
        /// Evidence blobs: policy set and entity snapshot; sorted.
        pub blobs: Vec<Digest>,
    }

    /// The order is about to leave; this is durable before a byte does.
    Delivered = "delivered" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// SHA-256 of the order's payload.
        pub order_digest: Digest,
        /// The checkpoint under which it leaves.
        pub checkpoint: TreeHead,
    }

    /// The connector made every check and begins. It is not success.
    Accepted = "accepted" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The connector's outcome `accepted`.
        pub envelope: Envelope,
    }

    /// The connector refused the order and did nothing.
    Refused = "refused" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The connector's outcome `refused`, with the check that did not pass.
        pub envelope: Envelope,
    }

    /// The change was made and observed.
    Succeeded = "succeeded" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The connector's outcome `succeeded`.
        pub envelope: Envelope,
    }

    /// The change was tried and did not succeed; the outcome says what the site is now.
    Failed = "failed" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The connector's outcome `failed`.
        pub envelope: Envelope,
    }

    /// The change was made, found wrong, and the site returned to what it was.
    Undone = "undone" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// The connector's outcome `undone`.
        pub envelope: Envelope,
    }

    /// Nobody acted in time; nothing was done.
    Expired = "expired" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
        /// Where it was.
        pub from: ExpiredFrom,
    }

    /// The order left and nothing was heard. The site is kept until the connector's journal settles it.
    Unresolved = "unresolved" v 1 on Tenant about "the action" {
        /// The action.
        pub action: ActionId,
    }
}
