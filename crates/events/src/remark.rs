//! Family `remark`: what operators want to remember for a while. Operational: its bodies expire.

use countersign_ids::SiteId;

use crate::declare::events;

events! {
    /// Remarks of operators about a site: operational.
    Remark = "remark" Operational;

    /// Somebody noted what goes on at a site. It decides nothing and is removed when its retention ends.
    Made = "made" v 1 on Tenant about "the site" {
        /// The site.
        pub site: SiteId,
        /// The remark. It names no person: for that there are reasons, which are sealed.
        pub text: String,
    }
}
