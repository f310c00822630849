//! A data directory, live or stopped: everything that can be said of it without opening the ledger.

use super::files::{self, Place};
use super::finding::Finding;
use super::journal::{self, Context};
use crate::codes;
use crate::exit::with_causes;
use crate::moment;
use crate::progress::Progress;
use crate::survey::Survey;
use anyhow::Result;
use countersign_service::{Policies, key_problems};
use countersign_store::read::Reader;
use countersign_store::{Error, codes as store};
use std::path::Path;

/// Everything about a directory. Policies stand in `policies` of it unless they are named.
pub(crate) fn examine(data: &Path, policies: Option<&Path>) -> Result<Vec<Finding>> {
    let reader = match Reader::open(data) {
        Ok(reader) => reader,
        Err(error) => {
            let what = with_causes(&error);
            return Ok(vec![Finding::wrong("directory", error.code(), what)]);
        }
    };
    let mut findings = vec![Finding::fine(
        "directory",
        format!("ledger {}", reader.description().ledger),
    )];
    let layout = reader.layout().clone();
    let live = layout.in_use();
    findings.push(Finding::fine(
        "lock",
        if live {
            "a process has the ledger open"
        } else {
            "no process has the ledger open"
        },
    ));
    findings.extend(files::permissions(&layout)?);
    findings.push(files::space(files::free_bytes(data)?));
    findings.push(policy(policies.unwrap_or(&data.join("policies"))));
    let progress = Progress::bytes("reading the journal", reader.journal_bytes().unwrap_or(0));
    let survey = match Survey::of(&reader, &progress) {
        Ok(survey) => survey,
        Err(error) => {
            progress.finish();
            let what = with_causes(&error);
            findings.push(Finding::wrong("journal", error.code(), what));
            return Ok(findings);
        }
    };
    progress.finish();
    let context = Context {
        survey: &survey,
        live,
        now: moment::now()?,
    };
    findings.extend(journal::examine(&context));
    findings.extend(keys(&reader, &survey));
    findings.extend(blobs(&reader, &survey));
    findings.extend(files::log(&reader, &survey, live)?);
    Ok(findings)
}

fn policy(directory: &Path) -> Finding {
    let shown = directory.display();
    if !directory.exists() {
        let what =
            format!("`{shown}` is not there; the next start makes it with the default policies");
        return Finding::note("policies", codes::POLICIES_ABSENT, what);
    }
    match Policies::open(directory) {
        Ok(policies) => Finding::fine(
            "policies",
            format!("policy set {}", policies.current().digest()),
        ),
        Err(error) => Finding::wrong("policies", error.code(), with_causes(&error)),
    }
}

/// The private keys: present, private, and those that the ledger names; and what should not lie beside them.
fn keys(reader: &Reader, survey: &Survey) -> Vec<Finding> {
    let (layout, ledger) = (reader.layout(), &reader.description().ledger);
    let keys = layout.keys();
    let mut findings: Vec<Finding> = key_problems(ledger, &survey.statements, &keys)
        .iter()
        .map(|error| Finding::wrong("keys", error.code(), with_causes(error)))
        .collect();
    if findings.is_empty() {
        findings.push(Finding::fine(
            "keys",
            "they are those that the ledger names",
        ));
    }
    findings.extend(
        files::open_files(&keys)
            .into_iter()
            .map(|what| Finding::wrong("keys", codes::KEY_EXPOSED, what)),
    );
    if keys.join("admin-token").exists() {
        let what = "the first administrator's token still lies in `keys/admin-token`";
        findings.push(Finding::note("keys", codes::SETUP_SECRET_KEPT, what));
    }
    let genesis = layout
        .root()
        .parent()
        .map(|beside| beside.join("genesis.pem"));
    if let Some(genesis) = genesis.filter(|path| path.exists()) {
        let what = format!("the genesis key still lies in `{}`", genesis.display());
        findings.push(Finding::note("keys", codes::SETUP_SECRET_KEPT, what));
    }
    let keyring = Place::Keyring.path(layout);
    let gone = survey
        .sealed
        .keys()
        .filter(|subject| !keyring.join(subject.as_str()).exists())
        .count();
    if gone > 0 {
        let what = format!(
            "the keys of {gone} of {} data subjects are not there: erased, or lost",
            survey.sealed.len()
        );
        findings.push(Finding::note("keyring", store::KEY_DESTROYED, what));
    }
    findings
}

/// Every blob that an event names is there, with its bytes.
fn blobs(reader: &Reader, survey: &Survey) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (digest, (chain, sequence)) in &survey.blobs {
        if let Err(error) = reader.blob(digest) {
            let what = format!(
                "event {sequence} of chain `{chain}` names it: {}",
                with_causes(&error)
            );
            let code = match error {
                Error::BlobUnknown { .. } => codes::BLOB_LOST,
                other => other.code(),
            };
            findings.push(Finding::wrong("blobs", code, what));
        }
    }
    if findings.is_empty() {
        let what = format!("all {} that events name are there", survey.blobs.len());
        findings.push(Finding::fine("blobs", what));
    }
    findings
}
