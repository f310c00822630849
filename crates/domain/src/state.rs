//! Where an action is in its life, and every edge that leads on. docs/format.md, "Life of an action".

use std::fmt;

/// Where an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nobody assessed it yet.
    Proposed,
    /// Its proposer took it back.
    Withdrawn,
    /// Policy said no.
    Denied,
    /// It was assessed and waits: for people, for the site, or for nothing but the order.
    Waiting,
    /// A person said no.
    Rejected,
    /// Nobody acted in time.
    Expired,
    /// Somebody in charge took it back.
    Revoked,
    /// Its order is signed and durable.
    Authorized,
    /// Its order may have left.
    Delivered,
    /// The connector began.
    Accepted,
    /// The connector refused the order.
    Refused,
    /// It was done and observed.
    Succeeded,
    /// It was tried, and what became of it is in the outcome.
    Failed,
    /// It was tried, and the site was returned to what it was before.
    Undone,
    /// The order left and nothing was heard: the connector's journal settles it.
    Unresolved,
}

impl State {
    /// Every state, in the order of an action's life.
    pub const ALL: &[Self] = &[
        Self::Proposed,
        Self::Withdrawn,
        Self::Denied,
        Self::Waiting,
        Self::Rejected,
        Self::Expired,
        Self::Revoked,
        Self::Authorized,
        Self::Delivered,
        Self::Accepted,
        Self::Refused,
        Self::Succeeded,
        Self::Failed,
        Self::Undone,
        Self::Unresolved,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Withdrawn => "withdrawn",
            Self::Denied => "denied",
            Self::Waiting => "waiting",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Authorized => "authorized",
            Self::Delivered => "delivered",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Unresolved => "unresolved",
        }
    }

    /// The states that an event may lead to from here.
    ///
    /// A new round leads from waiting to waiting, another delivery from delivered to delivered. What the connector began and
    /// never finished is unresolved too: it keeps the site like any order that is out.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Proposed => &[
                Self::Waiting,
                Self::Denied,
                Self::Withdrawn,
                Self::Revoked,
                Self::Expired,
            ],
            Self::Waiting => &[
                Self::Waiting,
                Self::Denied,
                Self::Withdrawn,
                Self::Rejected,
                Self::Revoked,
                Self::Expired,
                Self::Authorized,
            ],
            Self::Authorized => &[Self::Delivered, Self::Expired],
            Self::Delivered => &[
                Self::Delivered,
                Self::Accepted,
                Self::Refused,
                Self::Unresolved,
            ],
            Self::Accepted => &[
                Self::Succeeded,
                Self::Failed,
                Self::Undone,
                Self::Unresolved,
            ],
            Self::Unresolved => &[
                Self::Accepted,
                Self::Refused,
                Self::Succeeded,
                Self::Failed,
                Self::Undone,
            ],
            Self::Withdrawn
            | Self::Denied
            | Self::Rejected
            | Self::Expired
            | Self::Revoked
            | Self::Refused
            | Self::Succeeded
            | Self::Failed
            | Self::Undone => &[],
        }
    }

    /// Whether an event may lead from here to `to`.
    #[must_use]
    pub fn leads_to(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    /// Whether nothing was authorised yet and something still may be.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Proposed | Self::Waiting)
    }

    /// Whether an order is out, so that the site is kept for it.
    #[must_use]
    pub const fn holds_site(self) -> bool {
        matches!(
            self,
            Self::Authorized | Self::Delivered | Self::Accepted | Self::Unresolved
        )
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        self.next().is_empty()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
