//! The commands of a tenant, one module each: what it asks, and what the chain makes of it.
//!
//! Every `decide` is pure: state, command and the moment in, drafts or a named refusal out. What a command needs beyond the
//! chain (a manifest, a policy outcome, a verified message) stands in it as a plain fact.

mod assess;
mod deliver;
mod expire;
mod freeze;
mod keep;
mod mint;
mod note;
mod observe;
mod open;
mod outcome;
mod pair;
mod propose;
mod register;
mod release;
mod vote;
mod withdraw;

use countersign_ids::{Actor, Time};

use crate::decision::Decision;
use crate::rejection::Rejection;
use crate::tenant::Tenant;

pub use assess::Assess;
pub use deliver::Deliver;
pub use expire::{Expire, MarkUnresolved};
pub(crate) use expire::{expires_at, unresolved_at};
pub use freeze::{DeclareFreeze, LiftFreeze};
pub use keep::{Erase, ExpireBodies, KeepBeats, ReceiptRemoval, Remark, SetRetention};
pub use mint::{Mint, compose, obstacle};
pub use note::NotePlatform;
pub use observe::RecordObservation;
pub use open::OpenTenant;
pub use outcome::RecordOutcome;
pub use pair::{InviteConnector, PairConnector, PairingTerms, pairing_terms};
pub use propose::{
    ACTION_LIFETIME_MILLIS_MAX, ACTION_LIFETIME_MILLIS_MIN, Propose, blobs_wanted, imagine,
};
pub use register::RegisterSite;
pub use release::AddRelease;
pub use vote::Vote;
pub use withdraw::{Revoke, Withdraw};

/// The moment and the sender of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Now, by the writer's clock.
    pub now: Time,
    /// Who sends it.
    pub actor: Actor,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Any command of a tenant.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Command {
            $($(#[$doc])* $name($name),)*
        }

        $(impl From<$name> for Command {
            fn from(command: $name) -> Self {
                Self::$name(command)
            }
        })*

        /// Decides a command of a tenant.
        pub fn decide(tenant: &Tenant, command: &Command, facts: &Facts) -> Result<Decision, Rejection> {
            match command {
                $(Command::$name(command) => command.decide(tenant, facts),)*
            }
        }
    };
}

commands! {
    /// Begins the tenant's chain.
    OpenTenant,
    /// Restates a platform event.
    NotePlatform,
    /// Adds a site.
    RegisterSite,
    /// Gives out a pairing code.
    InviteConnector,
    /// Pairs a connector.
    PairConnector,
    /// Records what a connector saw.
    RecordObservation,
    /// Adds a release.
    AddRelease,
    /// Asks for a change.
    Propose,
    /// Records what policy said.
    Assess,
    /// Casts a vote, or takes one back.
    Vote,
    /// Takes a proposal back.
    Withdraw,
    /// Takes somebody's proposal back.
    Revoke,
    /// Authorises.
    Mint,
    /// Notes that an order is about to leave.
    Deliver,
    /// Records what became of an order.
    RecordOutcome,
    /// Notes that nobody acted in time.
    Expire,
    /// Notes that nothing was heard of an order.
    MarkUnresolved,
    /// Declares a freeze.
    DeclareFreeze,
    /// Lifts a freeze.
    LiftFreeze,
    /// Notes what goes on at a site.
    Remark,
    /// Says how long operational bodies are kept.
    SetRetention,
    /// Says how long heartbeats are kept.
    KeepBeats,
    /// Orders that expired bodies go.
    ExpireBodies,
    /// Orders that a person's data goes.
    Erase,
    /// Says that it is gone.
    ReceiptRemoval,
}
