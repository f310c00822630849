//! Family `freeze`: windows in which nothing is changed.

use countersign_ids::{FreezeId, Time};

use crate::declare::events;
use crate::words::SiteOrAll;

events! {
    /// Windows in which nothing is changed.
    Freeze = "freeze" Evidence;

    /// A freeze was declared. What it forbids is the policy's to say.
    Declared = "declared" v 1 on Tenant about "the freeze" {
        /// The freeze.
        pub freeze: FreezeId,
        /// The site that it covers, `*` for all of the tenant's.
        pub site: SiteOrAll,
        /// It begins here.
        pub from: Time,
        /// It ends here.
        pub until: Time,
    }

    /// A freeze does not count any more.
    Lifted = "lifted" v 1 on Tenant about "the freeze" {
        /// The freeze.
        pub freeze: FreezeId,
    }
}
