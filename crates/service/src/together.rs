//! Commands of one chain that are decided together: one look at the state, one group of blobs, one way to the writer.
//!
//! Each stays a command of its own, with its own condition, frame and receipt; what becomes of one is nothing to the others.
//! What the chain moved under is decided again, the others are not.

use countersign_ids::ChainId;
use countersign_store::{Ledger, Receipt};

use crate::Error;
use crate::engine::{Command, Committed, Decided, accepted, append, became, own_receipt, store};

/// Commands on their way.
#[derive(Debug)]
pub(crate) struct Together<'a> {
    ledger: &'a Ledger,
    chain: &'a ChainId,
    commands: &'a [Command],
    // INVARIANT: as many as commands; none is what is still to be decided.
    results: Vec<Option<Result<Option<Receipt>, Error>>>,
}

impl<'a> Together<'a> {
    /// Begins with what was accepted before: that has its receipt.
    pub(crate) fn begin(ledger: &'a Ledger, chain: &'a ChainId, commands: &'a [Command]) -> Self {
        let before = |command| accepted(ledger, chain, command).map(|found| found.map(Some));
        let results = commands
            .iter()
            .map(|command| before(command).transpose())
            .collect();
        Self {
            ledger,
            chain,
            commands,
            results,
        }
    }

    /// The places of the commands that are still to be decided.
    pub(crate) fn open(&self) -> Vec<usize> {
        let open = self.results.iter().enumerate();
        open.filter(|(_, result)| result.is_none())
            .map(|(place, _)| place)
            .collect()
    }

    /// Writes what was decided; what the domain refused is refused.
    pub(crate) async fn commit(&mut self, decided: Vec<(usize, Result<Decided, Error>)>) {
        let mut ready = Vec::new();
        for (place, decided) in decided {
            let Some(command) = self.commands.get(place) else {
                continue;
            };
            match decided {
                Ok(decided) if decided.decision.drafts.is_empty() => self.end(place, Ok(None)),
                Ok(decided) => ready.push((place, command, decided)),
                // The same command, in flight twice, may be what stood in its own way.
                Err(error) => {
                    self.end(place, own_receipt(self.ledger, self.chain, command, error));
                }
            }
        }
        self.store(&mut ready).await;
        let (mut places, mut appends) = (Vec::new(), Vec::new());
        for (place, command, decided) in ready {
            match append(self.chain, command, decided) {
                Ok(append) => {
                    places.push((place, command));
                    appends.push(append);
                }
                Err(error) => self.end(place, Err(error)),
            }
        }
        let answers = self.ledger.append_all(appends).await;
        for ((place, command), answer) in places.into_iter().zip(answers) {
            match became(self.ledger, self.chain, command, answer) {
                Ok(Committed::Again) => {}
                Ok(Committed::Done(receipt)) => self.end(place, Ok(receipt)),
                Err(error) => self.end(place, Err(error)),
            }
        }
    }

    /// The results, in the order of the commands; the chain moved too often under what is still open.
    pub(crate) fn end_all(self) -> Vec<Result<Option<Receipt>, Error>> {
        let contended = || {
            Err(Error::Contended {
                chain: self.chain.clone(),
            })
        };
        self.results
            .into_iter()
            .map(|result| result.unwrap_or_else(contended))
            .collect()
    }

    /// Makes the blobs of all durable at once; if that fails, each command for itself, so that each has its own answer.
    async fn store(&mut self, ready: &mut Vec<(usize, &Command, Decided)>) {
        let blobs = |decided: &Decided| decided.decision.blobs.clone();
        let all = ready.iter().flat_map(|(_, _, decided)| blobs(decided));
        if store(self.ledger, self.chain, all.collect()).await.is_ok() {
            return;
        }
        let mut stored = Vec::new();
        for (place, command, decided) in ready.drain(..) {
            match store(self.ledger, self.chain, blobs(&decided)).await {
                Ok(()) => stored.push((place, command, decided)),
                Err(error) => self.end(place, Err(error)),
            }
        }
        *ready = stored;
    }

    fn end(&mut self, place: usize, result: Result<Option<Receipt>, Error>) {
        if let Some(open) = self.results.get_mut(place) {
            *open = Some(result);
        }
    }
}
