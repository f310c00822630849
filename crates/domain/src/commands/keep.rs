//! What is kept for how long, and what is removed: remarks, their expiry, the erasure of a person, and the receipt of both.

use countersign_events::remark::Made;
use countersign_events::retention::{BeatsSet, Erased, Expired, Removed, RowsDigest, Set};
use countersign_events::{Event, all};
use countersign_ids::{DataSubject, EventType, Retention, Sequence, SiteId, SubjectRef, limits};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::text::{self, REMARK_BYTES_MAX};

/// Notes what goes on at a site, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The site.
    pub site: SiteId,
    /// The words; they name no person.
    pub text: String,
}

/// Says how long operational bodies are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRetention {
    /// In days; 0 is until removal runs next.
    pub operational_days: u32,
}

/// Says how long heartbeats are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepBeats {
    /// In days; 0 is until they are recorded.
    pub beats_days: u32,
}

/// Orders the removal of the operational bodies that outlived their retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpireBodies;

/// Orders the erasure of a person's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erase {
    /// Whose, by the random name that headers have.
    pub subject: DataSubject,
}

/// Says that a removal is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRemoval {
    /// The event that ordered it.
    pub ordered: Sequence,
    /// How many bodies are gone by it.
    pub bodies: u64,
    /// The read models before.
    pub before: Vec<RowsDigest>,
    /// The read models after.
    pub after: Vec<RowsDigest>,
}

impl Remark {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        tenant.site(&self.site)?;
        text::line("remark", &self.text, REMARK_BYTES_MAX)?;
        let made = Made {
            site: self.site.clone(),
            text: self.text.clone(),
        };
        let draft = Draft::new(made, &self.site).at(&self.site);
        // A remark decides nothing, and only the site's registration decides whether it may stand.
        Ok(Decision::of([draft]).unless([about_retention()?]))
    }
}

impl SetRetention {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        if self.operational_days > limits::OPERATIONAL_DAYS_MAX {
            return Err(Rejection::RetentionTooLong {
                days_max: limits::OPERATIONAL_DAYS_MAX,
            });
        }
        let set = Set {
            operational_days: self.operational_days,
        };
        ordered(set)
    }
}

impl KeepBeats {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        if self.beats_days > limits::BEATS_DAYS_MAX {
            return Err(Rejection::RetentionTooLong {
                days_max: limits::BEATS_DAYS_MAX,
            });
        }
        let set = BeatsSet {
            beats_days: self.beats_days,
        };
        ordered(set)
    }
}

impl ExpireBodies {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        let until = tenant.keeping.expires_until(facts.now);
        let range = tenant
            .keeping
            .expired(&tenant.chain, facts.now)
            .ok_or(Rejection::NothingExpired { until })?;
        ordered(Expired {
            until,
            ranges: vec![range],
        })
    }
}

impl Erase {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        let unknown = || {
            let subject = self.subject.clone();
            if tenant.keeping.is_erased(&subject) {
                Rejection::SubjectErased { subject }
            } else {
                Rejection::SubjectUnknown { subject }
            }
        };
        let range = tenant
            .keeping
            .sealed(&tenant.chain, &self.subject)
            .ok_or_else(unknown)?;
        let erased = Erased {
            datasubject: self.subject.clone(),
            ranges: vec![range],
        };
        // What this person says meanwhile has to be named, too.
        let personal = Guard {
            types: personal_types(),
            ..Guard::default()
        };
        let draft = Draft::new(erased, &self.subject);
        Ok(Decision::of([draft]).unless([Guard::about(&self.subject), personal]))
    }
}

impl ReceiptRemoval {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let removal =
            tenant
                .keeping
                .pending()
                .get(&self.ordered)
                .ok_or(Rejection::RemovalUnknown {
                    ordered: self.ordered,
                })?;
        let subject = match removal {
            crate::Removal::Expired(_) => retention()?,
            crate::Removal::Erased(subject, _) => subject.into(),
        };
        let removed = Removed {
            ordered: self.ordered.get(),
            bodies: self.bodies,
            before: self.before.clone(),
            after: self.after.clone(),
        };
        let guard = Guard::about(subject.clone());
        Ok(Decision::of([Draft::new(removed, subject)]).unless([guard]))
    }
}

/// One event about the tenant's retention, unless another came.
fn ordered(event: impl Into<Event>) -> Result<Decision, Rejection> {
    let draft = Draft::new(event, retention()?);
    Ok(Decision::of([draft]).unless([about_retention()?]))
}

fn about_retention() -> Result<Guard, Rejection> {
    retention().map(Guard::about)
}

/// What the events about the tenant's retention are about.
fn retention() -> Result<SubjectRef, Rejection> {
    const RETENTION: &str = "retention";
    RETENTION.parse().map_err(|_| Rejection::LedgerUnknown)
}

fn personal_types() -> Vec<EventType> {
    all()
        .filter(|spec| spec.retention == Retention::Personal)
        .map(|spec| spec.event_type.clone())
        .collect()
}
