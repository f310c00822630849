//! Entities and contexts, described once and rendered twice: as Cedar values to evaluate, and as JSON to keep.
//!
//! Building Cedar values from JSON costs ten times an evaluation, so the live path never does; the JSON is Cedar's own
//! form, so that other Cedar tools read what we keep.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use serde_json::{Value, json};

use crate::Error;

/// The namespace of every type and action.
const NAMESPACE: &str = "Countersign";

/// A type of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Person,
    Agent,
    Service,
    Site,
    Change,
    Action,
}

/// Every type's name as Cedar has it: reading one runs Cedar's whole grammar, and a question names dozens.
static NAMES: LazyLock<Result<BTreeMap<Kind, EntityTypeName>, String>> = LazyLock::new(|| {
    Kind::ALL
        .iter()
        .map(|kind| match kind.full().parse() {
            Ok(name) => Ok((*kind, name)),
            Err(error) => Err(format!("`{}`: {error}", kind.full())),
        })
        .collect()
});

impl Kind {
    const ALL: &[Self] = &[
        Self::Person,
        Self::Agent,
        Self::Service,
        Self::Site,
        Self::Change,
        Self::Action,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Person => "Person",
            Self::Agent => "Agent",
            Self::Service => "Service",
            Self::Site => "Site",
            Self::Change => "Change",
            Self::Action => "Action",
        }
    }

    /// The type with its namespace.
    fn full(self) -> String {
        format!("{NAMESPACE}::{}", self.name())
    }

    fn cedar(self) -> Result<EntityTypeName, Error> {
        let unnamed = |detail: String| Error::Request { detail };
        let names = NAMES.as_ref().map_err(|error| unnamed(error.clone()))?;
        let name = names.get(&self).ok_or_else(|| unnamed(self.full()))?;
        Ok(name.clone())
    }
}

/// The name of one entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Uid {
    pub(crate) kind: Kind,
    pub(crate) id: String,
}

impl Uid {
    pub(crate) fn new(kind: Kind, id: &impl ToString) -> Self {
        Self {
            kind,
            id: id.to_string(),
        }
    }

    /// The type with its namespace.
    pub(crate) fn full(&self) -> String {
        self.kind.full()
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "id": self.id, "type": self.full() })
    }

    pub(crate) fn cedar(&self) -> Result<EntityUid, Error> {
        let id = EntityId::new(&self.id);
        Ok(EntityUid::from_type_name_and_id(self.kind.cedar()?, id))
    }
}

fn too_large(number: u64) -> Error {
    Error::Request {
        detail: format!("{number} is larger than any number in Cedar"),
    }
}

/// A Cedar name of an entity.
pub(crate) fn uid(kind: &str, id: &str) -> Result<EntityUid, Error> {
    let kind: EntityTypeName = kind.parse().map_err(|error| Error::Request {
        detail: format!("`{kind}`: {error}"),
    })?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// One value of an attribute or of a context.
#[derive(Debug, Clone)]
pub(crate) enum Term {
    Long(u64),
    Bool(bool),
    Text(String),
    Name(Uid),
    Set(Vec<Self>),
    Record(BTreeMap<&'static str, Self>),
}

impl Term {
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Long(number) => json!(number),
            Self::Bool(truth) => json!(truth),
            Self::Text(text) => json!(text),
            Self::Name(uid) => json!({ "__entity": uid.json() }),
            Self::Set(terms) => Value::Array(terms.iter().map(Self::json).collect()),
            Self::Record(members) => record_json(members),
        }
    }

    pub(crate) fn cedar(&self) -> Result<RestrictedExpression, Error> {
        Ok(match self {
            Self::Long(number) => RestrictedExpression::new_long(
                i64::try_from(*number).map_err(|_| too_large(*number))?,
            ),
            Self::Bool(truth) => RestrictedExpression::new_bool(*truth),
            Self::Text(text) => RestrictedExpression::new_string(text.clone()),
            Self::Name(uid) => RestrictedExpression::new_entity_uid(uid.cedar()?),
            Self::Set(terms) => RestrictedExpression::new_set(
                terms
                    .iter()
                    .map(Self::cedar)
                    .collect::<Result<Vec<_>, _>>()?,
            ),
            Self::Record(members) => RestrictedExpression::new_record(record_cedar(members)?)
                .map_err(|error| Error::Request {
                    detail: error.to_string(),
                })?,
        })
    }
}

pub(crate) fn members_json(members: &BTreeMap<&'static str, Term>) -> BTreeMap<String, Value> {
    members
        .iter()
        .map(|(name, term)| ((*name).to_owned(), term.json()))
        .collect()
}

fn record_json(members: &BTreeMap<&'static str, Term>) -> Value {
    Value::Object(members_json(members).into_iter().collect())
}

pub(crate) fn record_cedar(
    members: &BTreeMap<&'static str, Term>,
) -> Result<Vec<(String, RestrictedExpression)>, Error> {
    members
        .iter()
        .map(|(name, term)| Ok(((*name).to_owned(), term.cedar()?)))
        .collect()
}

/// One entity with all that policy sees of it.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) uid: Uid,
    pub(crate) attributes: BTreeMap<&'static str, Term>,
    pub(crate) parents: Vec<Uid>,
}

impl Thing {
    pub(crate) fn plain(uid: Uid) -> Self {
        Self {
            uid,
            attributes: BTreeMap::new(),
            parents: Vec::new(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "attrs": record_json(&self.attributes),
            "parents": self.parents.iter().map(Uid::json).collect::<Vec<_>>(),
            "uid": self.uid.json(),
        })
    }

    pub(crate) fn cedar(&self) -> Result<Entity, Error> {
        let parents = self
            .parents
            .iter()
            .map(Uid::cedar)
            .collect::<Result<_, _>>()?;
        let attributes = record_cedar(&self.attributes)?.into_iter().collect();
        Entity::new(self.uid.cedar()?, attributes, parents).map_err(|error| Error::Request {
            detail: error.to_string(),
        })
    }
}
