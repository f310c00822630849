//! Family `platform`: platform facts restated in a tenant's chain, where they decide something.

use countersign_evidence::EventCopy;
use countersign_ids::Salt;

use crate::declare::events;

events! {
    /// Platform facts restated in a tenant's chain.
    Platform = "platform" Evidence;

    /// A platform event, whole: from here on it decides in this chain. `platformhead` is at or after it.
    Noted = "noted" v 1 on Tenant about "the subject of the event restated" {
        /// The header E of the platform event, byte for byte.
        pub header: String,
        /// The salt of its body.
        pub salt: Salt,
        /// Its body B, byte for byte.
        pub body: String,
    }
}

impl From<EventCopy> for Noted {
    fn from(copy: EventCopy) -> Self {
        Self {
            header: copy.header,
            salt: copy.salt,
            body: copy.body,
        }
    }
}

impl Noted {
    /// The event restated, as text.
    pub fn copy(&self) -> EventCopy {
        EventCopy {
            header: self.header.clone(),
            salt: self.salt,
            body: self.body.clone(),
        }
    }
}
