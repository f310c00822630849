//! Opening: the log as far as it can be trusted, then the part of the journal that it lacks, through the code that a running
//! ledger runs.
//!
//! The log is set aside, out loud, when it does not open, does not verify, or does not belong to this journal. Damage in the
//! journal is gone over, by name, and whoever lost something by it is read-only. A log that reaches further than the journal
//! means that the journal lost its end: then nothing is opened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, RwLock};

use countersign_chain::Hashed;
use countersign_ids::{ChainId, LedgerId, Sequence};
use tokio::sync::watch;

use crate::damage::{Place, Remedy};
use crate::disk::Disk;
use crate::journal::footer::Footer;
use crate::journal::hole::Hole;
use crate::journal::pruning::Stump;
use crate::journal::scan::{self, End, Frame, Scan, Step};
use crate::journal::segment::{Journal, Placed, harden};
use crate::journal::{Kind, frame, record};
use crate::log::behind::Behind;
use crate::log::handover::{What, Written};
use crate::log::loaded::{Loaded, LogPosition, Opened, load};
use crate::log::project::Projector;
use crate::log::run_writer::IndexWriter;
use crate::log::{COMMAND_BYTES, EVENT_BYTES};
use crate::log::{Log, forget_damage, is_marked_damaged, open};
use crate::mend::{self, Mender, Outcome};
use crate::status::Board;
use crate::view::{Chain, View};
use crate::write::chains::{Appender, Marks};
use crate::{Blobs, Checkpoint, Damage, Description, Entry, Error, Layout, Options, Position};

/// A ledger that is open and up to date, before its threads run.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) view: Arc<View>,
    pub(crate) behind: Behind,
    pub(crate) journal: Journal,
    pub(crate) chains: (BTreeMap<ChainId, Appender>, Marks),
}

/// Opens everything in a data directory whose lock is held.
pub(crate) fn recover(
    layout: &Layout,
    description: &Description,
    options: &Options,
    blobs: &Blobs,
) -> Result<Recovered, Error> {
    let (view, mut behind, from) = open_log(layout, description, options, blobs)?;
    let failed = |error| Error::io(&layout.journal(), error);
    // The log must not take in what a power cut could still remove from the journal.
    harden(layout.disk(), &layout.journal(), from)?;
    let (end, footer) = replay(layout, &view, &mut behind, from)?;
    let (disk, dir) = (layout.disk(), layout.journal());
    let journal = Journal::open(disk, &dir, options.segment_bytes, end, footer).map_err(failed)?;
    behind.catch_up()?;
    behind.log()?;
    view.durable.send_replace(journal.durable());
    view.folded.send_replace(journal.durable());
    tell(&view.board, from, &end);
    let (ends, marks) = behind.ends();
    let chains = ends
        .into_iter()
        .map(|(chain, state)| (chain.id.clone(), Appender::restore(chain, &state)));
    Ok(Recovered {
        chains: (chains.collect(), marks),
        view,
        behind,
        journal,
    })
}

/// Opens the log, and says how far into the journal it reaches.
fn open_log(
    layout: &Layout,
    description: &Description,
    options: &Options,
    blobs: &Blobs,
) -> Result<(Arc<View>, Behind, Position), Error> {
    let board = Board::default();
    let opened = trusted_log(layout, &description.ledger, options, &board)?;
    let (view, opened) = view_of(layout, &description.ledger, opened, board);
    let from = view.logged();
    let Rest {
        loaded,
        commands,
        events,
        projector,
    } = opened;
    let behind = Behind::new(
        Arc::clone(&view),
        blobs.clone(),
        (layout.sled(), open::file(&layout.sled())?),
        loaded,
        (commands, events),
        projector,
    )?;
    Ok((view, behind, from))
}

/// What a log that was opened holds besides what everybody reads.
struct Rest {
    loaded: Loaded,
    commands: IndexWriter<COMMAND_BYTES>,
    events: IndexWriter<EVENT_BYTES>,
    projector: Projector,
}

/// The view over a log that was opened; its chains are not in it yet.
fn view_of(layout: &Layout, ledger: &LedgerId, opened: Opened, board: Board) -> (Arc<View>, Rest) {
    let Opened {
        db,
        loaded,
        commands,
        events,
        projector,
    } = opened;
    let from = Position::new(loaded.position.end);
    let view = Arc::new(View {
        ledger: *ledger,
        chains: RwLock::default(),
        log: Log::new(db, commands.0, events.0, layout.clone()),
        rows: RwLock::default(),
        generations: RwLock::new(projector.served()),
        board,
        durable: watch::Sender::new(from),
        folded: watch::Sender::new(from),
        logged: from.get().into(),
    });
    let rest = Rest {
        loaded,
        commands: commands.1,
        events: events.1,
        projector,
    };
    (view, rest)
}

/// Takes in what the log lacks; returns how the journal ends and what its last segment holds.
fn replay(
    layout: &Layout,
    view: &View,
    behind: &mut Behind,
    from: Position,
) -> Result<(End, Footer), Error> {
    let mut scan = Scan::over_damage(layout.disk(), &layout.journal(), from, from)?;
    let mut footer = Footer::default();
    let mut mender = Mender::new(layout, view);
    while let Some(step) = scan.next_step()? {
        let mut made_again = false;
        let frames = match step {
            Step::Frame(frame) => vec![frame],
            Step::Mended(frame, bytes) => {
                mender.flipped(&frame, bytes);
                vec![frame]
            }
            Step::Hole(hole) => match mender.fill(&hole, &footer)? {
                Outcome::Filled(frames) => {
                    made_again = true;
                    frames
                }
                Outcome::Lost(unread) => {
                    lost(layout, view, behind, &hole, from)?;
                    let reason = "it is damaged in the journal and in the log";
                    for (chain, at) in unread {
                        behind.lose(&known(view, &chain), at, reason);
                    }
                    continue;
                }
            },
        };
        for frame in frames {
            match read_frame(view, &frame, &mut footer) {
                Ok(written) if frame.position >= from && frame.head.kind != Kind::Closed => {
                    behind.absorb_recovered(&written)?;
                }
                // The log knows the journal by that frame.
                Ok(written) if made_again && frame.end == from => behind.placed_again(&written),
                Ok(_) => {}
                Err(Unreadable::Malformed(what)) => {
                    let hole = Hole {
                        from: frame.position,
                        to: frame.end,
                        segment: Some(frame.head.segment),
                        ends: false,
                        what,
                    };
                    lost(layout, view, behind, &hole, from)?;
                }
                Err(other) => return Err(other.at(&frame)),
            }
        }
    }
    mender.finish(scan.flawed())?;
    Ok((scan.end(), footer))
}

/// What stood in a hole is lost where the log does not have it: the chains that its bytes name are read-only, or all that there
/// are if they name none.
fn lost(
    layout: &Layout,
    view: &View,
    behind: &mut Behind,
    hole: &Hole,
    from: Position,
) -> Result<(), Error> {
    let mut chains = Vec::new();
    if hole.to > from {
        let named = hole.chains(layout.disk(), &layout.journal())?;
        let all = || view.all().into_iter().map(|chain| chain.id.clone());
        chains = named.map_or_else(|| all().collect(), |named| named.into_iter().collect());
    }
    let damage = Damage::of_hole(hole, chains);
    let reason = format!("what came next is lost with {damage}");
    for chain in &damage.chains {
        behind.lose_next(&known(view, chain), &reason);
    }
    view.board.damage_left(damage);
    Ok(())
}

/// How the journal of a ledger that is open ends at `durable`, and what its last segment holds; everything up to there is
/// read again.
pub(crate) fn last_segment(
    view: &View,
    (disk, dir): (&Disk, &Path),
    durable: Position,
) -> Result<(End, Footer), Error> {
    let last = scan::segments(disk, dir)?.pop();
    let mut end = End {
        position: last.map_or(Position::ZERO, |segment| segment.base),
        ..End::default()
    };
    let mut scan = Scan::over_damage(disk, dir, end.position, durable)?;
    let mut footer = Footer::default();
    while end.position < durable {
        match scan.next_step()? {
            Some(Step::Frame(frame) | Step::Mended(frame, _)) => {
                end.sealed = frame.head.kind == Kind::Footer;
                end.position = frame.end;
                match read_frame(view, &frame, &mut footer) {
                    // It was named when the ledger was opened.
                    Ok(_) | Err(Unreadable::Malformed(_)) => {}
                    Err(other) => return Err(other.at(&frame)),
                }
            }
            Some(Step::Hole(hole)) => end.position = hole.to,
            None => break,
        }
    }
    if end.position != durable {
        let what = format!("no frame ends at {durable}, where one did");
        let at = end.position;
        return Err(scan::Error::Damaged { at, what }.into());
    }
    Ok((end, footer))
}

/// Says what was found.
fn tell(board: &Board, from: Position, end: &End) {
    let made_again = from == Position::ZERO && end.position > Position::ZERO;
    if made_again && board.read().log_notices.is_empty() {
        board.log_notice("the log was missing and was made again".to_owned());
    }
    board.with(|status| {
        status.torn = end.torn;
        status.was_closed = end.closed.is_some();
    });
    if let Some(torn) = end.torn {
        tracing::warn!(at = %torn.at, bytes = torn.bytes, "the end of the journal was torn and is cut off");
    }
}

/// The log, or a new one where it cannot be trusted.
fn trusted_log(
    layout: &Layout,
    ledger: &LedgerId,
    options: &Options,
    board: &Board,
) -> Result<Opened, Error> {
    let dir = layout.sled();
    crate::log::rewrite::finish(&dir)?;
    if is_marked_damaged(layout) {
        if dir.exists() {
            if let Ok(db) = open::open(&dir, ledger)? {
                mend_from(layout, ledger, db, options);
            }
            set_aside(layout, board, "it was found damaged while it was read")?;
        }
        forget_damage(layout);
    }
    match open::open(&dir, ledger)? {
        Ok(db) => {
            let opened = load(&db)
                .and_then(|loaded| verified(layout, ledger, &db, loaded))
                .and_then(|loaded| Opened::load(db.clone(), loaded, options));
            match opened {
                Ok(opened) => return Ok(opened),
                Err(reason) => {
                    mend_from(layout, ledger, db, options);
                    set_aside(layout, board, &reason)?;
                }
            }
        }
        Err(reason) => set_aside(layout, board, &reason)?,
    }
    let empty = Loaded {
        heads: Vec::new(),
        position: LogPosition::default(),
    };
    open::open(&dir, ledger)?
        .and_then(|db| Opened::load(db, empty, options))
        .map_err(|reason| Error::Foreign { path: dir, reason })
}

/// Heals the journal from a log that is about to be made again from it: what else is wrong with that log, it may be the only
/// copy of what the journal lost. Nothing of it is taken that does not verify.
fn mend_from(layout: &Layout, ledger: &LedgerId, db: sled::Db, options: &Options) {
    let opened = load(&db).and_then(|loaded| Opened::load(db, loaded, options));
    let mended = opened.and_then(|opened| {
        let (view, opened) = view_of(layout, ledger, opened, Board::default());
        for (number, row) in &opened.loaded.heads {
            let chain = Arc::new(Chain::new(row.chain.clone(), *number));
            chain.restore(row);
            view.add(chain);
            if let Some(damage) = &row.damaged {
                view.board
                    .chain_damaged(&row.chain, damage.at, &damage.reason);
            }
        }
        let until = view.logged();
        mend::journal(layout, &view, until, &|| false).map_err(|error| error.to_string())
    });
    if let Err(reason) = mended {
        tracing::warn!(reason, "the log that is set aside heals nothing");
    }
}

fn set_aside(layout: &Layout, board: &Board, reason: &str) -> Result<(), Error> {
    let aside = open::set_aside(&layout.sled())?;
    board.damage_healed(Damage {
        place: Place::Log,
        what: reason.to_owned(),
        chains: Vec::new(),
        healed: Some(Remedy::Journal),
    });
    board.log_notice(format!(
        "the log was set aside as `{}` and made again: {reason}",
        aside.display()
    ));
    board.with(|status| status.set_aside = Some(aside));
    Ok(())
}

/// Whether the log belongs to this journal and its heads are the ends of its blocks.
fn verified(
    layout: &Layout,
    ledger: &LedgerId,
    db: &sled::Db,
    loaded: Loaded,
) -> Result<Loaded, String> {
    let position = loaded.position;
    if position.end > 0 {
        let found = scan::frame_at(
            layout.disk(),
            &layout.journal(),
            Position::new(position.frame),
        )
        .map_err(|error| error.to_string())?;
        // Where the journal holds no frame at all, the scan decides whether it lost one.
        if found.is_some_and(|found| {
            found.head.crc() != position.crc || found.end.get() != position.end
        }) {
            return Err("it belongs to another journal".to_owned());
        }
    }
    for (number, row) in &loaded.heads {
        let Some(last) = row.state.size().checked_sub(1) else {
            continue;
        };
        if row.base.as_ref().is_some_and(|base| base.cut > last) {
            // Nothing behind its cut was taken in yet.
            continue;
        }
        let last = crate::log::hash_at(db, ledger, &row.chain, *number, Sequence::new(last))
            .map_err(|error| error.to_string())?;
        if last != Some(row.state.head()) {
            return Err(format!("the end of chain `{}` is not its head", row.chain));
        }
    }
    Ok(loaded)
}

/// Takes a frame apart into what the log takes in. Unknown chains become known.
fn read_frame(view: &View, frame: &Frame, footer: &mut Footer) -> Result<Written, Unreadable> {
    let place = Placed {
        at: frame.position,
        end: frame.end,
        crc: frame.head.crc(),
    };
    let what = match frame.head.kind {
        Kind::Events => read_events(view, frame, footer)?,
        Kind::Checkpoint => read_checkpoint(view, frame)?,
        Kind::Pruned => read_stump(view, frame)?,
        Kind::Footer => {
            *footer = Footer::default();
            return Ok(Written {
                place,
                what: What::Other,
            });
        }
        Kind::Lost => What::Other,
        Kind::Closed => {
            return Ok(Written {
                place,
                what: What::Other,
            });
        }
        Kind::Prepared | Kind::Committed | Kind::Voided => {
            return Err(Unreadable::Replicated);
        }
    };
    footer.frame();
    Ok(Written { place, what })
}

fn read_events(view: &View, frame: &Frame, footer: &mut Footer) -> Result<What, Unreadable> {
    let records =
        record::decode(&frame.payload).ok_or_else(|| malformed("its events are malformed"))?;
    let mut entries = Vec::with_capacity(records.len());
    for record in records {
        let hashed =
            Hashed::of(record).map_err(|error| Unreadable::Malformed(error.source.to_string()))?;
        let header = hashed.header();
        footer.event(&header.chain, header.sequence, hashed.hash());
        entries.push(Entry::of(hashed));
    }
    let first = entries
        .first()
        .ok_or_else(|| malformed("it holds no event"))?
        .header()
        .clone();
    let one = |entry: &Entry| {
        entry.header().chain == first.chain && entry.header().commandid == first.commandid
    };
    if !entries.iter().all(one) {
        return Err(malformed("it holds more than one command"));
    }
    Ok(What::Events {
        chain: known(view, &first.chain),
        entries,
    })
}

fn read_checkpoint(view: &View, frame: &Frame) -> Result<What, Unreadable> {
    let mut payload = frame.payload.as_slice();
    let mut part =
        || frame::take(&mut payload).and_then(|part| String::from_utf8(part.to_vec()).ok());
    let chain = part().and_then(|chain| chain.parse().ok());
    let checkpoint = part().and_then(Checkpoint::of_note);
    let (chain, checkpoint) = chain
        .zip(checkpoint)
        .ok_or_else(|| malformed("its checkpoint is malformed"))?;
    Ok(What::Checkpoint {
        chain: known(view, &chain),
        checkpoint,
    })
}

fn read_stump(view: &View, frame: &Frame) -> Result<What, Unreadable> {
    let stump = Stump::parse(&frame.payload)
        .ok_or_else(|| malformed("what is left of pruned events is malformed"))?;
    Ok(What::Pruned {
        chain: known(view, &stump.chain),
        stump,
    })
}

/// Why a frame with the right checksum cannot be taken in.
enum Unreadable {
    /// Its bytes are not what this program writes.
    Malformed(String),
    /// It is of a ledger that is replicated.
    Replicated,
}

impl Unreadable {
    fn at(self, frame: &Frame) -> Error {
        let what = match self {
            Self::Malformed(what) => what,
            Self::Replicated => {
                "a frame of a replicated ledger, which this program cannot open".to_owned()
            }
        };
        let at = frame.position;
        scan::Error::Damaged { at, what }.into()
    }
}

fn malformed(what: &str) -> Unreadable {
    Unreadable::Malformed(what.to_owned())
}

fn known(view: &View, id: &ChainId) -> Arc<Chain> {
    if let Some(chain) = view.chain(id) {
        return chain;
    }
    let chain = Arc::new(Chain::new(id.clone(), view.next_number()));
    view.add(Arc::clone(&chain));
    chain
}
