//! Free text that people give: printable, trimmed, bounded; and reasons, which are personal.

use countersign_events::reason::Given;
use countersign_evidence::OrDash;
use countersign_evidence::statement::reason_digest;
use countersign_ids::{ActionId, DataSubject, Digest, Salt, SiteId};

use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::tenant::Tenant;

/// Longest name of a tenant or site.
pub const NAME_TEXT_BYTES_MAX: usize = 128;
/// Longest title of an action.
pub const TITLE_BYTES_MAX: usize = 160;
/// Longest remark.
pub const REMARK_BYTES_MAX: usize = 1024;
/// Longest reason.
pub const REASON_BYTES_MAX: usize = 4096;

/// Refuses text that is empty, too long, padded or not printable on one line.
pub(crate) fn line(what: &'static str, text: &str, bytes_max: usize) -> Result<(), Rejection> {
    let fits = !text.is_empty()
        && text.len() <= bytes_max
        && text.trim() == text
        && !text.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err(Rejection::TextUnfit { what, bytes_max })
    }
}

/// A reason: it is stored sealed, and events commit to it by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// 16 random bytes.
    pub salt: Salt,
    /// The words.
    pub text: String,
    /// Whose words they are.
    pub person: DataSubject,
}

impl Reason {
    /// What events and statements commit to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        reason_digest(self.salt.as_bytes(), &self.text)
    }

    fn check(&self) -> Result<(), Rejection> {
        let printable = self
            .text
            .chars()
            .all(|letter| !letter.is_control() || letter == '\n' || letter == '\t');
        if printable && !self.text.trim().is_empty() && self.text.len() <= REASON_BYTES_MAX {
            Ok(())
        } else {
            Err(Rejection::TextUnfit {
                what: "reason",
                bytes_max: REASON_BYTES_MAX,
            })
        }
    }
}

/// What a reason adds to a decision.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    /// The event that holds the words.
    draft: Option<Draft>,
    /// The person: no word is sealed under a name whose key goes.
    guard: Option<Guard>,
}

impl Sealed {
    /// A decision to write `draft`, and the words behind it.
    pub(crate) fn behind(self, draft: Draft) -> Decision {
        Decision::of([draft].into_iter().chain(self.draft)).unless(self.guard)
    }
}

/// The digest that an event carries for a reason, and the sealed event that holds the words.
pub(crate) fn given(
    tenant: &Tenant,
    reason: Option<&Reason>,
    action: &ActionId,
    site: &SiteId,
) -> Result<(OrDash<Digest>, Sealed), Rejection> {
    let Some(reason) = reason else {
        return Ok((OrDash::NONE, Sealed::default()));
    };
    reason.check()?;
    if tenant.keeping.is_erased(&reason.person) {
        return Err(Rejection::SubjectErased {
            subject: reason.person.clone(),
        });
    }
    let given = Given {
        salt: reason.salt,
        reason: reason.text.clone(),
    };
    let sealed = Sealed {
        draft: Some(Draft::new(given, action).at(site).sealed(&reason.person)),
        guard: Some(Guard::about(&reason.person)),
    };
    Ok((OrDash(Some(reason.digest())), sealed))
}
