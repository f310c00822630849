//! Which data subject a person is in a tenant: random, so that the ledger's name for them says nothing about them.
//!
//! One private file per tenant under `DATA/keys/subjects`, beside the keys that it leads to and never in a backup of bodies.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use countersign_ids::{ActorId, DataSubject, TenantId};

use crate::{Error, keyfiles, secrets};

/// The names of all tenants' data subjects.
#[derive(Debug)]
pub(crate) struct Subjects {
    directory: PathBuf,
    // INVARIANT: a name stands here only after it stands in the file.
    known: Mutex<BTreeMap<TenantId, BTreeMap<ActorId, DataSubject>>>,
}

impl Subjects {
    pub(crate) const fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            known: Mutex::new(BTreeMap::new()),
        }
    }

    /// The data subject of a person, made and kept if there is none yet.
    pub(crate) fn of(&self, tenant: &TenantId, person: &ActorId) -> Result<DataSubject, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(tenant) {
            known.insert(tenant.clone(), self.read(tenant)?);
        }
        let people = known.entry(tenant.clone()).or_default();
        if let Some(subject) = people.get(person) {
            return Ok(subject.clone());
        }
        let subject: DataSubject = secrets::name('d')?.parse()?;
        let mut next = people.clone();
        next.insert(person.clone(), subject.clone());
        let bytes = serde_json::to_vec(&next).map_err(Error::internal)?;
        keyfiles::write_private(&self.path(tenant), &bytes)?;
        *people = next;
        Ok(subject)
    }

    /// The data subject of a person, if there is one.
    pub(crate) fn find(
        &self,
        tenant: &TenantId,
        person: &ActorId,
    ) -> Result<Option<DataSubject>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(tenant) {
            known.insert(tenant.clone(), self.read(tenant)?);
        }
        Ok(known
            .get(tenant)
            .and_then(|people| people.get(person).cloned()))
    }

    /// Forgets whose data subject this was: what the person says from now on is of another one.
    pub(crate) fn forget(&self, tenant: &TenantId, subject: &DataSubject) -> Result<(), Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut people = match known.get(tenant) {
            Some(people) => people.clone(),
            None => self.read(tenant)?,
        };
        let before = people.len();
        people.retain(|_, known| known != subject);
        if people.len() != before {
            let bytes = serde_json::to_vec(&people).map_err(Error::internal)?;
            keyfiles::write_private(&self.path(tenant), &bytes)?;
        }
        known.insert(tenant.clone(), people);
        Ok(())
    }

    fn read(&self, tenant: &TenantId) -> Result<BTreeMap<ActorId, DataSubject>, Error> {
        let path = self.path(tenant);
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(Error::file(path, error)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::file(path, io::Error::new(io::ErrorKind::InvalidData, error))
            }),
        }
    }

    fn path(&self, tenant: &TenantId) -> PathBuf {
        self.directory.join(format!("{tenant}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_one_subject_per_tenant_until_it_is_erased() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Subjects::new(directory.path().join("subjects"));
        let (acme, other): (TenantId, TenantId) =
            ("acme".parse().unwrap(), "other".parse().unwrap());
        let (alice, bob): (ActorId, ActorId) = ("alice".parse().unwrap(), "bob".parse().unwrap());
        let first = open().of(&acme, &alice).unwrap();
        let again = open();
        assert_eq!(again.of(&acme, &alice).unwrap(), first);
        assert_ne!(again.of(&acme, &bob).unwrap(), first);
        assert_ne!(again.of(&other, &alice).unwrap(), first);
        let bobs = again.of(&acme, &bob).unwrap();
        assert_eq!(open().find(&acme, &alice).unwrap(), Some(first.clone()));
        open().forget(&acme, &first).unwrap();
        assert_eq!(open().find(&acme, &alice).unwrap(), None);
        assert_eq!(open().of(&acme, &bob).unwrap(), bobs);
        let next = open();
        assert_ne!(next.of(&acme, &alice).unwrap(), first);
        next.forget(&acme, &first).unwrap();
        assert!(next.find(&acme, &alice).unwrap().is_some());
    }
}
