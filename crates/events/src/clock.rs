//! Family `clock`: what the server's clock did.

use countersign_ids::Time;

use crate::declare::events;

events! {
    /// The server's clock.
    Clock = "clock" Evidence;

    /// The server's clock went back by more than two seconds. Chain times do not follow it back.
    SteppedBack = "stepped-back" v 1 on Platform about "`clock`" {
        /// The last time that was given out.
        pub from: Time,
        /// What the clock says now.
        pub to: Time,
    }
}
