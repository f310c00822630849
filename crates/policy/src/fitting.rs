//! What is put to Cedar fits the schema, and is compared with it once for each shape.
//!
//! A policy that errs decides nothing in Cedar, and denies here; so what is put to it fits the schema. The schema that this crate was built with speaks of types only, never of single entities or values: what has the same names and types
//! as something that fitted fits. With any other schema everything is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use cedar_policy::{Context, Entities, Entity, Request, Schema};

use crate::{
    Error,
    term::{self, Term, Thing, Uid},
};

/// A schema, and the shapes that were found to fit it.
pub(crate) struct Fitting {
    schema: Schema,
    /// What the schema itself says of actions, which Cedar adds where it compares.
    actions: Vec<Entity>,
    /// Whether shapes may be remembered.
    types_only: bool,
    shapes: RwLock<BTreeSet<String>>,
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Request {
        detail: error.to_string(),
    }
}

impl Fitting {
    pub(crate) fn new(schema: Schema, types_only: bool) -> Result<Self, Error> {
        let actions = schema.action_entities().map_err(invalid)?;
        Ok(Self {
            schema,
            actions: actions.into_iter().collect(),
            types_only,
            shapes: RwLock::default(),
        })
    }

    pub(crate) const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Does `make` with the schema to compare with, unless all shapes fitted before.
    fn once<T>(
        &self,
        shapes: BTreeSet<String>,
        make: impl FnOnce(Option<&Schema>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let known = self.types_only && {
            let fitted = self.shapes.read().unwrap_or_else(PoisonError::into_inner);
            shapes.is_subset(&fitted)
        };
        if known {
            return make(None);
        }
        let made = make(Some(&self.schema))?;
        let mut fitted = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        fitted.extend(shapes);
        Ok(made)
    }

    /// The entities of a question.
    pub(crate) fn entities(&self, things: &[Thing]) -> Result<Entities, Error> {
        let entities = things
            .iter()
            .map(Thing::cedar)
            .collect::<Result<Vec<_>, _>>()?;
        self.once(things.iter().map(Thing::shape).collect(), |schema| {
            let actions = self.actions.iter().filter(|_| schema.is_none()).cloned();
            Entities::from_entities(entities.into_iter().chain(actions), schema).map_err(invalid)
        })
    }

    /// A request: who wants what done to what, and the circumstances.
    pub(crate) fn request(
        &self,
        [principal, action, resource]: [&Uid; 3],
        members: &BTreeMap<&'static str, Term>,
    ) -> Result<Request, Error> {
        let context = Context::from_pairs(term::record_cedar(members)?).map_err(invalid)?;
        let mut shape = format!("{} ", principal.full());
        for part in [&action.id, resource.full()] {
            shape.push_str(part);
            shape.push(' ');
        }
        term::record_shape(members, &mut shape);
        let names = (principal.cedar()?, action.cedar()?, resource.cedar()?);
        self.once(BTreeSet::from([shape]), |schema| {
            Request::new(names.0, names.1, names.2, context, schema).map_err(invalid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PolicySet, SCHEMA, term::Kind};

    fn things(floor: Term, owner: Option<Kind>) -> Vec<Thing> {
        let mut site = Thing::plain(Uid::new(Kind::Site, &"shop"));
        site.attributes = BTreeMap::from([
            ("eligible", Term::Long(1)),
            ("environment", Term::Text("production".to_owned())),
            ("floor", floor),
        ]);
        let mut agent = Thing::plain(Uid::new(Kind::Agent, &"bot"));
        let owner = owner.map(|kind| ("owner", Term::Name(Uid::new(kind, &"olga"))));
        agent.attributes.extend(owner);
        vec![agent, site]
    }

    #[test]
    fn what_does_not_fit_is_refused_before_and_behind_what_fitted() {
        let set = PolicySet::defaults().unwrap();
        let fits = |things: &[Thing]| set.fitting.entities(things);
        let wrong = [
            things(Term::Text("2".to_owned()), None),
            things(Term::Bool(true), Some(Kind::Person)),
            things(Term::Long(2), Some(Kind::Site)),
        ];
        for _ in 0..2 {
            for things in &wrong {
                assert!(fits(things).is_err());
            }
            for owner in [None, Some(Kind::Person)] {
                let [compared, known] = [2, 3].map(|floor| things(Term::Long(floor), owner));
                assert_eq!(
                    fits(&compared).unwrap().len(),
                    fits(&known).unwrap().len(),
                    "the schema's own entities are there both times"
                );
            }
        }
        let [bot, dispatch, site] = [
            (Kind::Agent, "bot"),
            (Kind::Action, "dispatch"),
            (Kind::Site, "shop"),
        ]
        .map(|(kind, id)| Uid::new(kind, &id));
        let change = Uid::new(Kind::Change, &"a1");
        let people = |kind| Term::Set(vec![Term::Name(Uid::new(kind, &"olga")); 2]);
        let context = |people| {
            let tally = BTreeMap::from([("approvals", Term::Long(2)), ("people", people)]);
            BTreeMap::from([
                ("containment", Term::Text("normal".to_owned())),
                ("freeze_active", Term::Bool(false)),
                ("tally", Term::Record(tally)),
            ])
        };
        let ask = |resource, people| {
            let names = [&bot, &dispatch, resource];
            set.fitting.request(names, &context(people))
        };
        for _ in 0..2 {
            assert!(ask(&change, people(Kind::Person)).is_ok());
            assert!(ask(&change, Term::Set(Vec::new())).is_ok());
            assert!(ask(&change, people(Kind::Agent)).is_err());
            assert!(ask(&site, people(Kind::Person)).is_err());
        }
    }

    #[test]
    fn the_schema_speaks_of_types_only() {
        let words = SCHEMA.split(|character: char| !character.is_ascii_alphanumeric());
        assert!(!words.into_iter().any(|word| word == "enum"));
    }
}
