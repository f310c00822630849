//! What is gone from one chain, against the events that ordered it and the receipts that say it is done.
//!
//! A body that is expired or erased needs an event of its chain that names its range, and that event stands behind it; a
//! receipt is refused where a body is still there, or where the read models are not what they were. docs/format.md section 2.

use std::collections::BTreeMap;

use countersign_chain::{Absence, Body, Header};
use countersign_events::retention::{Range, Removed, Retention as Event};
use countersign_ids::{DataSubject, Retention, Time};

use super::fault::{Checked, Fault, bad, need};

/// Nobody names the range of a body that is gone.
const UNEXPLAINED: &str = "absent-unexplained";
/// An event orders what it cannot.
const RANGE: &str = "removal-range";
/// A receipt of a removal does not hold.
const RECEIPT: &str = "removal-receipt";

/// The bodies of one chain that do not stay for ever.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    /// By place, until a receipt says that they are gone.
    mortal: BTreeMap<u64, Mortal>,
    /// Removals that were ordered and have no receipt.
    pending: BTreeMap<u64, Ordered>,
}

/// A body that may go.
#[derive(Debug)]
struct Mortal {
    time: Time,
    subject: Option<DataSubject>,
    absent: Option<Absence>,
    ordered: bool,
}

/// What an event ordered: of whom, or of nobody where bodies expired.
#[derive(Debug)]
struct Ordered {
    subject: Option<DataSubject>,
    ranges: Vec<Range>,
}

impl Ordered {
    fn holds(&self, at: u64, mortal: &Mortal) -> bool {
        let within = |range: &Range| (range.from..=range.to).contains(&at);
        self.subject == mortal.subject && self.ranges.iter().any(within)
    }
}

impl Removals {
    /// Takes note of an event whose place in the chain was verified.
    pub(crate) fn note(&mut self, header: &Header, body: &Body) {
        if header.retention == Retention::Evidence {
            return;
        }
        let mortal = Mortal {
            time: header.time,
            subject: header.datasubject.clone(),
            absent: match body {
                Body::Present { .. } => None,
                Body::Absent(absence) => Some(*absence),
            },
            ordered: false,
        };
        self.mortal.insert(header.sequence.get(), mortal);
    }

    /// An event of family `retention`. Gives how many sealed bodies nobody can open any more since it.
    pub(crate) fn apply(&mut self, header: &Header, event: &Event) -> Checked<u64> {
        let (ordered, until) = match event {
            Event::Set(_) | Event::BeatsSet(_) => return Ok(0),
            Event::Removed(removed) => return self.receipt(removed),
            Event::Expired(expired) => {
                let ranges = expired.ranges.clone();
                let subject = None;
                (Ordered { subject, ranges }, expired.until)
            }
            Event::Erased(erased) => {
                let ranges = erased.ranges.clone();
                let subject = Some(erased.datasubject.clone());
                (Ordered { subject, ranges }, header.time)
            }
        };
        let at = header.sequence.get();
        let before =
            |range: &Range| range.chain == header.chain && range.from <= range.to && range.to < at;
        need(
            !ordered.ranges.is_empty() && ordered.ranges.iter().all(before),
            RANGE,
            "a removal names events of its own chain that stand before it",
        )?;
        let mut young = false;
        for (at, mortal) in &mut self.mortal {
            if ordered.holds(*at, mortal) {
                young |= mortal.time > until;
                mortal.ordered = true;
            }
        }
        self.pending.insert(at, ordered);
        need(
            !young,
            RANGE,
            "a body whose retention had not ended is in the range",
        )
        .map(|()| 0)
    }

    fn receipt(&mut self, removed: &Removed) -> Checked<u64> {
        let ordered = self
            .pending
            .remove(&removed.ordered)
            .ok_or_else(|| bad(RECEIPT, "no removal is pending that was ordered there"))?;
        let held = |at: &u64, mortal: &Mortal| ordered.holds(*at, mortal);
        let (mut bodies, mut kept) = (0_u64, None);
        for (at, mortal) in self.mortal.iter().filter(|(at, mortal)| held(at, mortal)) {
            bodies = bodies.saturating_add(1);
            // A sealed body stays; it is its key that is gone.
            if mortal.absent.is_none() && ordered.subject.is_none() {
                kept.get_or_insert(*at);
            }
        }
        self.mortal.retain(|at, mortal| !held(at, mortal));
        if let Some(at) = kept {
            let message = format!("the body of event {at} is still there");
            return Err(bad(RECEIPT, message));
        }
        need(
            removed.bodies == bodies,
            RECEIPT,
            "it counts other bodies than its range holds",
        )?;
        need(
            removed.before == removed.after,
            RECEIPT,
            "the read models are not what they were",
        )?;
        Ok(if ordered.subject.is_some() { bodies } else { 0 })
    }

    /// Bodies that are gone without an event that says so, by place.
    pub(crate) fn unexplained(&self) -> impl Iterator<Item = (u64, Fault)> {
        let without = |mortal: &Mortal| {
            !mortal.ordered && matches!(mortal.absent, Some(Absence::Expired | Absence::Erased))
        };
        let message = "a body is expired or erased, and no event names its range";
        self.mortal
            .iter()
            .filter(move |(_, mortal)| without(mortal))
            .map(move |(at, _)| (*at, bad(UNEXPLAINED, message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_events::retention::{Erased, Expired, RowsDigest};
    use countersign_ids::{Digest, EventHash, Salt, Sequence};

    fn header(at: u64, retention: Retention, subject: Option<&str>) -> Header {
        let name = |text: &str| text.parse().unwrap();
        Header {
            ledger: countersign_chain::ledger_id(&[9; 32]),
            chain: "acme".parse().unwrap(),
            id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
            event_type: countersign_ids::EventType::new("remark", "made", 1).unwrap(),
            subject: name("www"),
            site: None,
            time: Time::from_unix_millis(at * 1000),
            retention,
            sequence: Sequence::new(at),
            familysequence: Sequence::ZERO,
            prevhash: EventHash::from_bytes([0; 32]),
            bodyhash: countersign_ids::BodyHash::from_bytes([0; 32]),
            bodykey: None,
            datasubject: subject.map(|subject| subject.parse().unwrap()),
            actor: countersign_ids::Actor {
                kind: countersign_ids::AuthType::Person,
                id: "olga".parse().unwrap(),
            },
            commandid: countersign_ids::CommandId::from_bytes([0; 16]),
            requestdigest: None,
            platformhead: None,
            correlationid: None,
            causationid: None,
            traceparent: None,
            ownerepoch: None,
        }
    }

    fn ranges(chain: &str, from: u64, to: u64) -> Vec<Range> {
        let chain = chain.parse().unwrap();
        vec![Range { chain, from, to }]
    }

    /// The event that a word stands for.
    fn event(words: &[&str]) -> Event {
        let number = |text: &str| text.parse::<u64>().unwrap();
        let rows = |byte| {
            vec![RowsDigest {
                projection: "timeline".to_owned(),
                version: 1,
                digest: Digest::from_bytes([byte; 32]),
            }]
        };
        match *words {
            ["expired", until, chain, from, to] => Event::Expired(Expired {
                until: Time::from_unix_millis(number(until) * 1000),
                ranges: ranges(chain, number(from), number(to)),
            }),
            ["erased", subject, chain, from, to] => Event::Erased(Erased {
                datasubject: subject.parse().unwrap(),
                ranges: ranges(chain, number(from), number(to)),
            }),
            ["removed", ordered, bodies, after] => Event::Removed(Removed {
                ordered: number(ordered),
                bodies: number(bodies),
                before: rows(1),
                after: rows(u8::try_from(number(after)).unwrap()),
            }),
            _ => panic!("{words:?}"),
        }
    }

    /// Reads a chain, a word an event; gives the first rule that is broken, or `ok <destroyed>`.
    fn read(lines: &[&str]) -> String {
        let mut removals = Removals::default();
        let mut destroyed = 0;
        let rule = |fault| match fault {
            Fault::Bad(rule, _) => rule.to_owned(),
            other => format!("{other:?}"),
        };
        for (at, line) in (0..).zip(lines) {
            let words: Vec<&str> = line.split(' ').collect();
            let present = || Body::Present {
                salt: Salt::from_bytes([0; 16]),
                bytes: Vec::new(),
            };
            let gone = |reason: &str| Body::Absent(reason.parse().unwrap());
            match *words {
                ["evidence"] => removals.note(&header(at, Retention::Evidence, None), &present()),
                ["remark"] => removals.note(&header(at, Retention::Operational, None), &present()),
                ["remark", reason] => {
                    removals.note(&header(at, Retention::Operational, None), &gone(reason));
                }
                ["sealed", subject] => {
                    let header = header(at, Retention::Personal, Some(subject));
                    removals.note(&header, &present());
                }
                ["sealed", subject, reason] => {
                    let header = header(at, Retention::Personal, Some(subject));
                    removals.note(&header, &gone(reason));
                }
                _ => match removals.apply(&header(at, Retention::Evidence, None), &event(&words)) {
                    Ok(more) => destroyed += more,
                    Err(fault) => return rule(fault),
                },
            }
        }
        let found = removals.unexplained().next();
        found.map_or_else(|| format!("ok {destroyed}"), |(_, fault)| rule(fault))
    }

    #[test]
    fn what_is_gone_needs_its_event_and_a_receipt_that_holds() {
        for (lines, expected) in [
            (&["remark", "evidence"][..], "ok 0"),
            (&["remark withheld", "sealed d1 withheld"], "ok 0"),
            (&["remark expired"], UNEXPLAINED),
            (&["remark erased"], UNEXPLAINED),
            (&["sealed d1 erased"], UNEXPLAINED),
            (&["remark expired", "expired 0 acme 0 0"], "ok 0"),
            (&["remark", "expired 0 acme 0 0"], "ok 0"),
            (
                &["remark expired", "remark expired", "expired 0 acme 0 0"],
                UNEXPLAINED,
            ),
            (&["sealed d1 expired", "expired 0 acme 0 0"], UNEXPLAINED),
            (&["remark expired", "erased d1 acme 0 0"], UNEXPLAINED),
            (&["sealed d1 erased", "erased d1 acme 0 0"], "ok 0"),
            (&["sealed d1 erased", "erased d2 acme 0 0"], UNEXPLAINED),
            (&["evidence", "remark expired", "expired 0 acme 0 1"], RANGE),
            (&["remark expired", "expired 0 acme 0 1"], RANGE),
            (&["remark expired", "expired 0 acme 1 0"], RANGE),
            (&["remark expired", "expired 0 other 0 0"], RANGE),
            (
                &["remark expired", "expired 9 acme 0 0", "removed 1 1 1"],
                "ok 0",
            ),
            (&["remark", "expired 9 acme 0 0", "removed 1 1 1"], RECEIPT),
            (
                &["remark withheld", "expired 9 acme 0 0", "removed 1 1 1"],
                "ok 0",
            ),
            (
                &["remark expired", "expired 9 acme 0 0", "removed 1 2 1"],
                RECEIPT,
            ),
            (
                &["remark expired", "expired 9 acme 0 0", "removed 1 1 2"],
                RECEIPT,
            ),
            (
                &["remark expired", "expired 9 acme 0 0", "removed 0 1 1"],
                RECEIPT,
            ),
            (
                &[
                    "remark expired",
                    "expired 9 acme 0 0",
                    "removed 1 1 1",
                    "removed 1 1 1",
                ],
                RECEIPT,
            ),
            (
                &[
                    "sealed d1",
                    "sealed d2",
                    "sealed d1",
                    "erased d1 acme 0 2",
                    "removed 3 2 1",
                ],
                "ok 2",
            ),
        ] {
            assert_eq!(read(lines), expected, "{lines:?}");
        }
    }
}
