//! Entities and contexts, described once and rendered twice: as Cedar values to evaluate, and as JSON to keep.
//!
//! Building Cedar values from JSON costs ten times an evaluation, so the live path never does; the JSON is Cedar's own
//! form, so that other Cedar tools read what we keep.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;

use crate::Error;

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

    /// The type with its namespace.
    const fn full(self) -> &'static str {
        match self {
            Self::Person => "Countersign::Person",
            Self::Agent => "Countersign::Agent",
            Self::Service => "Countersign::Service",
            Self::Site => "Countersign::Site",
            Self::Change => "Countersign::Change",
            Self::Action => "Countersign::Action",
        }
    }

    fn cedar(self) -> Result<EntityTypeName, Error> {
        let unnamed = |detail: String| Error::Request { detail };
        let names = NAMES.as_ref().map_err(|error| unnamed(error.clone()))?;
        let name = names
            .get(&self)
            .ok_or_else(|| unnamed(self.full().to_owned()))?;
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
    pub(crate) const fn full(&self) -> &'static str {
        self.kind.full()
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
    fn own_shape(&self) -> String {
        let mut out = String::new();
        self.shape(&mut out);
        out
    }

    /// Adds what a schema could tell this value's type from.
    fn shape(&self, out: &mut String) {
        match self {
            Self::Long(_) => out.push('L'),
            Self::Bool(_) => out.push('B'),
            Self::Text(_) => out.push('T'),
            Self::Name(uid) => out.push_str(uid.full()),
            Self::Set(terms) => {
                // As many of one type as there may be: one shape.
                let mut shapes: Vec<String> = terms.iter().map(Self::own_shape).collect();
                shapes.dedup();
                out.push('[');
                out.extend(shapes);
                out.push(']');
            }
            Self::Record(members) => record_shape(members, out),
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

/// The shape of a record: names and types, no values.
pub(crate) fn record_shape(members: &BTreeMap<&'static str, Term>, out: &mut String) {
    out.push('{');
    for (name, term) in members {
        out.push_str(name);
        out.push(':');
        term.shape(out);
        out.push(',');
    }
    out.push('}');
}

pub(crate) fn members_json(
    members: &BTreeMap<&'static str, Term>,
) -> Result<BTreeMap<String, Value>, Error> {
    let json = |term| {
        serde_json::to_value(term).map_err(|error| Error::Request {
            detail: error.to_string(),
        })
    };
    members
        .iter()
        .map(|(name, term)| Ok(((*name).to_owned(), json(term)?)))
        .collect()
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

    /// What a schema could tell this entity's type from.
    pub(crate) fn shape(&self) -> String {
        let mut out = self.uid.full().to_owned();
        record_shape(&self.attributes, &mut out);
        for parent in &self.parents {
            out.push_str(parent.full());
            out.push(',');
        }
        out
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

/// Cedar's own form of a name, an attribute and an entity.
impl Serialize for Uid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Uid", 2)?;
        members.serialize_field("id", &self.id)?;
        members.serialize_field("type", self.full())?;
        members.end()
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Long(number) => serializer.serialize_u64(*number),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Name(uid) => {
                let mut members = serializer.serialize_struct("Name", 1)?;
                members.serialize_field("__entity", uid)?;
                members.end()
            }
            Self::Set(terms) => serializer.collect_seq(terms),
            Self::Record(members) => serializer.collect_map(members),
        }
    }
}

impl Serialize for Thing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Thing", 3)?;
        members.serialize_field("attrs", &self.attributes)?;
        members.serialize_field("parents", &self.parents)?;
        members.serialize_field("uid", &self.uid)?;
        members.end()
    }
}
