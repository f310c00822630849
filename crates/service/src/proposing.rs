//! Proposals, one or many: their manifests are read, the domain decides, each is a command of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_domain::{Facts, Propose, Reason, Rejection, Site, Source, blobs_wanted, decide};
use countersign_ids::Digest;
use countersign_store::Receipt;

use crate::engine::{ATTEMPTS, Command, Decided};
use crate::model::{Proposal, Proposed, Request};
use crate::service::{about, command, told, written};
use crate::together::Together;
use crate::{Error, Service, TenantAccess, secrets};

/// How long an action waits when nobody says otherwise.
const LIFETIME_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// How often a site may move on while proposals are made.
const MOVES_MAX: usize = 8;

impl Service {
    /// Proposes a change. Policy is asked right after, by what follows from the proposal.
    ///
    /// # Errors
    /// The domain refuses it: see its rejections.
    pub async fn propose(
        &self,
        access: &TenantAccess,
        request: &Request,
        proposal: Proposal,
    ) -> Result<Proposed, Error> {
        let one = vec![(request.clone(), proposal)];
        let answer = self.propose_all(access, one).await.pop();
        answer.unwrap_or_else(|| Err(Error::internal("a proposal without an answer")))
    }

    /// Proposes several changes, each a command of its own; the answers are in their order. What becomes of one is nothing
    /// to the others.
    pub async fn propose_all(
        &self,
        access: &TenantAccess,
        proposals: Vec<(Request, Proposal)>,
    ) -> Vec<Result<Proposed, Error>> {
        let mut made = Vec::with_capacity(proposals.len());
        let (mut commands, mut whats) = (Vec::new(), Vec::new());
        for (request, proposal) in proposals {
            made.push(match self.made(access, &request, proposal).await {
                Ok((command, what)) => {
                    commands.push(command);
                    whats.push(what);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        let results = self.write_all(access, &commands, &mut whats).await;
        let mut answers = whats.into_iter().zip(results).map(|(what, result)| {
            let receipt = written(result?)?;
            self.proposed(what, receipt)
        });
        let unanswered = || Err(Error::internal("a proposal without an answer"));
        made.into_iter()
            .map(|made| made.and_then(|()| answers.next().unwrap_or_else(unanswered)))
            .collect()
    }

    /// The command of one proposal, and what it says.
    async fn made(
        &self,
        access: &TenantAccess,
        request: &Request,
        proposal: Proposal,
    ) -> Result<(Command, Propose), Error> {
        self.inner.open_for_work()?;
        let reason = self.own_reason(access, proposal.reason.clone())?;
        let what = self.proposal(access, proposal, reason).await?;
        let command = command(access.actor(), request)?;
        let about = about(&what.clone().into());
        Ok((Command { about, ..command }, what))
    }

    /// Decides and writes them; what a site needs beside, because it moved on meanwhile, is read on the way.
    async fn write_all(
        &self,
        access: &TenantAccess,
        commands: &[Command],
        whats: &mut [Propose],
    ) -> Vec<Result<Option<Receipt>, Error>> {
        let chain = access.tenant().chain();
        let mut together = Together::begin(&self.inner.ledger, &chain, commands);
        let mut moves = 0;
        for _ in 0..ATTEMPTS.saturating_add(MOVES_MAX) {
            let open = together.open();
            if open.is_empty() {
                break;
            }
            let mut ready = Vec::with_capacity(open.len());
            let mut moved = false;
            for (place, mut decided) in self.decide_all(access, commands, whats, &open) {
                if decided.is_err()
                    && moves < MOVES_MAX
                    && let Some(what) = whats.get_mut(place)
                {
                    match self.moved_on(access, what).await {
                        Ok(false) => {}
                        Ok(true) => {
                            moved = true;
                            continue;
                        }
                        Err(error) => decided = Err(error),
                    }
                }
                ready.push((place, decided));
            }
            moves += usize::from(moved);
            together.commit(ready).await;
        }
        let results = together.end_all();
        for (command, result) in commands.iter().zip(&results) {
            told(&chain, command, result);
        }
        results
    }

    /// Decides those at these places on one state.
    fn decide_all(
        &self,
        access: &TenantAccess,
        commands: &[Command],
        whats: &[Propose],
        places: &[usize],
    ) -> Vec<(usize, Result<Decided, Error>)> {
        let now = self.inner.now();
        self.inner
            .decide_on(access.tenant(), places, |state, place| {
                let (command, what) = commands.get(place).zip(whats.get(place))?;
                let facts = Facts {
                    now,
                    actor: command.actor.clone(),
                };
                Some(decide(state, &what.clone().into(), &facts))
            })
    }

    fn proposed(&self, what: Propose, receipt: Receipt) -> Result<Proposed, Error> {
        let action = if receipt.replayed {
            self.inner.subject_of(&receipt)?.parse()?
        } else {
            what.action
        };
        Ok(Proposed { action, receipt })
    }

    /// The command of a proposal, with the manifests that its plan is made from.
    pub(crate) async fn proposal(
        &self,
        access: &TenantAccess,
        proposal: Proposal,
        reason: Option<Reason>,
    ) -> Result<Propose, Error> {
        let action = match proposal.action.clone() {
            Some(action) => action,
            None => secrets::name('a')?.parse()?,
        };
        let expires = proposal
            .expires
            .unwrap_or_else(|| self.inner.now().plus_millis(LIFETIME_MILLIS));
        let (wanted, title) = self.inner.tenant(access.tenant(), |fold| {
            let wanted = blobs_wanted(
                &fold.tenant,
                &proposal.site,
                &proposal.kind,
                &proposal.parameters,
            )?;
            let title = match proposal.title.clone() {
                Some(title) => title,
                None => title(fold.tenant.site(&proposal.site)?, &proposal),
            };
            Ok::<_, Rejection>((wanted, title))
        })??;
        Ok(Propose {
            action,
            site: proposal.site,
            kind: proposal.kind,
            parameters: proposal.parameters,
            title,
            expires,
            owner: access.owner().cloned(),
            reason,
            blobs: self.read_blobs(access, wanted).await?,
        })
    }

    /// Whether the site moved on since the manifests of a plan were read, so that it needs another one; that is read now.
    async fn moved_on(&self, access: &TenantAccess, what: &mut Propose) -> Result<bool, Error> {
        let wanted = self.inner.tenant(access.tenant(), |fold| {
            blobs_wanted(&fold.tenant, &what.site, &what.kind, &what.parameters)
        })?;
        let mut unread = wanted.unwrap_or_default();
        unread.retain(|digest| !what.blobs.contains_key(digest));
        let moved = !unread.is_empty();
        what.blobs.extend(self.read_blobs(access, unread).await?);
        Ok(moved)
    }

    async fn read_blobs(
        &self,
        access: &TenantAccess,
        wanted: Vec<Digest>,
    ) -> Result<BTreeMap<Digest, Source>, Error> {
        let (inner, chain) = (Arc::clone(&self.inner), access.tenant().chain());
        let (mut found, mut unread) = (BTreeMap::new(), Vec::new());
        for digest in wanted {
            match inner.sources.get(&chain, &digest) {
                Some(source) => drop(found.insert(digest, source)),
                None => unread.push(digest),
            }
        }
        if unread.is_empty() {
            return Ok(found);
        }
        let read = move || {
            let read = |digest: Digest| {
                let source = Source::new(inner.ledger.blobs().get(&chain, &digest)?);
                inner.sources.add(&chain, digest, &source);
                Ok((digest, source))
            };
            unread
                .into_iter()
                .map(read)
                .collect::<Result<Vec<_>, Error>>()
        };
        let read = tokio::task::spawn_blocking(read);
        found.extend(read.await.map_err(Error::internal)??);
        Ok(found)
    }
}

/// One line for people, from the kind and the release that it is about.
fn title(site: &Site, proposal: &Proposal) -> String {
    let release = proposal
        .parameters
        .text("release")
        .and_then(|text| text.parse().ok());
    let label = release.map_or("unknown", |release| site.label(&release));
    match proposal.kind.as_str() {
        "release.publish" => format!("Publish release {label} on {}", site.name),
        "release.rollback" => format!("Return to release {label} on {}", site.name),
        "document.replace" => format!("Replace the pinned document of {}", site.name),
        other => format!("{other} on {}", site.name),
    }
}
