//! The question that the domain asks, as the entities and the context that policies see.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::json;
use countersign_domain::PolicyInput;
use countersign_domain::words::{grade_word, reversibility_word};
use countersign_ids::{ApproverId, AuthType};

use crate::{
    Error,
    term::{Kind, Term, Thing, Uid},
};

/// How many people one evaluation names.
const PEOPLE_MAX: usize = 1000;

/// The question as Cedar sees it.
pub(crate) struct Facts<'a>(pub(crate) &'a PolicyInput);

impl Facts<'_> {
    pub(crate) fn principal(&self) -> Uid {
        let kind = match self.0.proposer.kind {
            AuthType::Person => Kind::Person,
            AuthType::Agent => Kind::Agent,
            AuthType::Connector | AuthType::Service | AuthType::Reactor => Kind::Service,
        };
        Uid::new(kind, &self.0.proposer.id)
    }

    pub(crate) fn change(&self) -> Uid {
        Uid::new(Kind::Change, &self.0.action)
    }

    /// The context of a request on the approvals of `people`.
    pub(crate) fn context(
        &self,
        people: &BTreeSet<ApproverId>,
    ) -> Result<BTreeMap<&'static str, Term>, Error> {
        let names = people
            .iter()
            .map(|person| Term::Name(Uid::new(Kind::Person, person)))
            .collect();
        let tally = BTreeMap::from([
            ("approvals", Term::Long(count(people)?)),
            ("people", Term::Set(names)),
        ]);
        Ok(BTreeMap::from([
            ("containment", text(self.0.containment.as_str())),
            ("freeze_active", Term::Bool(self.0.freeze_active)),
            ("tally", Term::Record(tally)),
        ]))
    }

    /// Every entity of the request, in the order of their names.
    pub(crate) fn things(&self) -> Result<Vec<Thing>, Error> {
        let site = Uid::new(Kind::Site, &self.0.site);
        let mut things: BTreeMap<Uid, Thing> = BTreeMap::new();
        for person in &self.0.approvers {
            let uid = Uid::new(Kind::Person, &person.id);
            things.insert(uid.clone(), Thing::plain(uid));
        }
        let mut principal = Thing::plain(self.principal());
        if let (Some(owner), Kind::Agent | Kind::Service) =
            (&self.0.proposer_owner, principal.uid.kind)
        {
            let owner = Uid::new(Kind::Person, owner);
            principal
                .attributes
                .insert("owner", Term::Name(owner.clone()));
            things.insert(owner.clone(), Thing::plain(owner));
        }
        things.insert(principal.uid.clone(), principal);
        things.insert(
            site.clone(),
            Thing {
                uid: site.clone(),
                attributes: BTreeMap::from([
                    ("eligible", Term::Long(count(&self.0.eligible())?)),
                    ("environment", text(self.0.environment.as_str())),
                    ("floor", Term::Long(self.0.floor)),
                ]),
                parents: Vec::new(),
            },
        );
        things.insert(
            self.change(),
            Thing {
                uid: self.change(),
                attributes: BTreeMap::from([
                    ("blast_radius", Term::Long(self.0.blast_radius)),
                    ("kind", text(&self.0.kind)),
                    ("readiness", text(grade_word(self.0.readiness))),
                    (
                        "reversibility",
                        text(reversibility_word(self.0.reversibility)),
                    ),
                    ("risk", text(self.0.risk.as_str())),
                    ("site", Term::Name(site.clone())),
                ]),
                parents: vec![site],
            },
        );
        Ok(things.into_values().collect())
    }

    /// The entities as they are kept: canonical JSON in Cedar's own form.
    pub(crate) fn snapshot(things: &[Thing]) -> Result<Vec<u8>, Error> {
        json::to_canonical(things).map_err(|error| Error::Request {
            detail: error.to_string(),
        })
    }
}

fn text(word: &str) -> Term {
    Term::Text(word.to_owned())
}

fn count(people: &BTreeSet<ApproverId>) -> Result<u64, Error> {
    let too_many = || Error::TooManyPeople {
        count: people.len(),
        limit: PEOPLE_MAX,
    };
    if people.len() > PEOPLE_MAX {
        return Err(too_many());
    }
    u64::try_from(people.len()).map_err(|_| too_many())
}
