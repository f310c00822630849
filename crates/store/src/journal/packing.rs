//! Compressing sealed segments, off everybody's way: by a thread of its own, at the lowest priority, one segment at a time.
//!
//! The compressed file is written beside, made durable, read back and compared byte by byte, and only then takes the name of
//! the segment. A crash at any point leaves one of the two under that name. Only segments are compressed behind which another
//! one is and which the log does not need any more, so the segment that is written to is never touched.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use super::packed::{self, BLOCK_BYTES, Block, Segment};
use super::scan::{SegmentFile, segments};
use super::{Position, bytes};
use crate::disk::{Disk, Part};

/// The file that is being made; what a crash leaves of it is written over.
const BESIDE: &str = "packing.tmp";

/// Held while a sealed segment is replaced: by its compressed form, or by one without bodies that are to go.
pub(crate) fn replacing() -> MutexGuard<'static, ()> {
    static REPLACING: Mutex<()> = Mutex::new(());
    REPLACING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that compresses.
#[derive(Debug)]
pub(crate) struct Packing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Packing {
    /// Starts the thread; it looks for work each time it is told how far the log reaches, and ends with the sender.
    pub(crate) fn start(disk: &Disk, dir: &Path) -> io::Result<(Self, mpsc::Sender<Position>)> {
        let (sender, logged) = mpsc::channel::<Position>();
        let stop = Arc::new(AtomicBool::new(false));
        let (disk, dir, stopped) = (disk.clone(), dir.to_path_buf(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("countersign-pack".to_owned())
            .spawn(move || {
                // On Linux this is the thread's own.
                if let Err(error) = rustix::process::nice(19) {
                    tracing::debug!(%error, "compressing goes on at the usual priority");
                }
                while let Ok(mut until) = logged.recv() {
                    until = logged.try_iter().last().unwrap_or(until);
                    try_all(&disk, &dir, until, &stopped);
                }
            })?;
        let packing = Self {
            stop,
            thread: Some(thread),
        };
        Ok((packing, sender))
    }
}

impl Drop for Packing {
    /// The sender is gone by now. A segment that is half compressed stays as it was.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn try_all(disk: &Disk, dir: &Path, until: Position, stop: &AtomicBool) {
    if let Err(error) = pack_all(disk, dir, until, stop) {
        tracing::warn!(%error, "a sealed segment could not be compressed; it stays as it is");
    }
}

/// Compresses every sealed segment that ends at or before `until` and is not compressed yet.
pub(crate) fn pack_all(
    disk: &Disk,
    dir: &Path,
    until: Position,
    stop: &AtomicBool,
) -> io::Result<()> {
    let all = segments(disk, dir).map_err(io::Error::other)?;
    for (segment, next) in all.iter().zip(all.iter().skip(1)) {
        if next.base > until || stop.load(Ordering::Acquire) {
            break;
        }
        pack(disk, dir, segment, next.base.since(segment.base), stop)?;
    }
    Ok(())
}

/// Compresses a segment of `length` bytes, unless it is compressed.
fn pack(
    disk: &Disk,
    dir: &Path,
    segment: &SegmentFile,
    length: u64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let _replacing = replacing();
    let source = Segment::open(disk, segment)?;
    if source.is_packed() || !is_blank_behind(&source, length)? {
        return Ok(());
    }
    let source = Source {
        segment: &source,
        length,
        patches: &Patches::new(),
    };
    replace((disk, Part::Segment), dir, segment, &source, stop)
}

/// What stands elsewhere than in the segment itself: whole frames, by their offsets, each as long as the one it replaces.
pub(crate) type Patches = BTreeMap<u64, Vec<u8>>;

/// The bytes that a compressed segment is made from.
pub(crate) struct Source<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) length: u64,
    pub(crate) patches: &'a Patches,
}

/// Removes what a crash left of a compressed segment; nobody may be making one.
pub(crate) fn remove_leftover(disk: &Disk, part: Part, dir: &Path) -> io::Result<()> {
    let path = dir.join(BESIDE);
    Beside { disk, part, path }.remove()
}

/// Puts a compressed segment of these bytes in the place of the one that stands there; whoever calls holds [`replacing`].
pub(crate) fn replace(
    (disk, part): (&Disk, Part),
    dir: &Path,
    segment: &SegmentFile,
    source: &Source<'_>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let length = source.length;
    let beside = Beside {
        disk,
        part,
        path: dir.join(BESIDE),
    };
    beside.remove()?;
    let target = disk.create(part, &beside.path, 0o600)?;
    let mut blocks = Vec::new();
    let mut at = packed::head_bytes(length);
    let mut raw = vec![0; BLOCK_BYTES];
    for start in starts(length) {
        if stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let packed = packed::pack(source.read(&mut raw, start)?)?;
        target.write_at(part, &packed, at)?;
        at = at.saturating_add(bytes(packed.len()));
        blocks.push(Block {
            length: u32::try_from(packed.len()).unwrap_or(u32::MAX),
            crc: crc32c::crc32c(&packed),
        });
    }
    let head = packed::head(segment.base, length, &blocks);
    target.write_at(part, &head, 0)?;
    target.sync_all(part)?;
    let made = SegmentFile {
        path: beside.path.clone(),
        ..segment.clone()
    };
    let made = Segment::open(disk, &made)?;
    let mut unpacked = vec![0; BLOCK_BYTES];
    for start in starts(length) {
        let same = source.read(&mut raw, start)? == read(&made, &mut unpacked, start, length)?;
        if !same {
            return Err(io::Error::other("what was compressed does not read back"));
        }
    }
    disk.rename(part, &beside.path, &segment.path)?;
    disk.sync_dir(part, dir)
}

/// Whether nothing stands behind the end of the segment: the blank rest of one that was not cut off, at most.
fn is_blank_behind(source: &Segment, length: u64) -> io::Result<bool> {
    let mut rest = vec![0; BLOCK_BYTES];
    let mut at = length;
    loop {
        let read = source.read_at(&mut rest, at)?;
        if read == 0 {
            return Ok(source.length()? >= length);
        }
        if rest.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = at.saturating_add(bytes(read));
    }
}

impl Source<'_> {
    /// The bytes of one block.
    fn read<'a>(&self, buffer: &'a mut [u8], start: u64) -> io::Result<&'a [u8]> {
        let filled = read(self.segment, buffer, start, self.length)?.len();
        let block = buffer.get_mut(..filled).unwrap_or_default();
        let end = start.saturating_add(bytes(filled));
        for (at, patch) in self.patches.range(..end) {
            let patched = at.saturating_add(bytes(patch.len()));
            let (from, until) = (start.max(*at), end.min(patched));
            let part = |begin: u64| index(from - begin)..index(until.max(from) - begin);
            if from < until
                && let Some(target) = block.get_mut(part(start))
                && let Some(bytes) = patch.get(part(*at))
            {
                target.copy_from_slice(bytes);
            }
        }
        Ok(block)
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn starts(length: u64) -> impl Iterator<Item = u64> {
    (0..length).step_by(BLOCK_BYTES)
}

fn read<'a>(
    segment: &Segment,
    buffer: &'a mut [u8],
    start: u64,
    length: u64,
) -> io::Result<&'a [u8]> {
    let wanted = length.saturating_sub(start).min(bytes(buffer.len()));
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let part = buffer.get_mut(..wanted).unwrap_or_default();
    if segment.read_at(part, start)? < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part)
}

/// The file that is being made. It goes away with this unless it was given its name.
struct Beside<'a> {
    disk: &'a Disk,
    part: Part,
    path: PathBuf,
}

impl Beside<'_> {
    fn remove(&self) -> io::Result<()> {
        match self.disk.remove(self.part, &self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        drop(self.remove());
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::{Frame, Scan, frame_at};
    use super::super::segment::Journal;
    use super::super::{Kind, scan};
    use super::*;

    const SEGMENT_BYTES: u64 = 3 * 1024 * 1024;

    /// Frames over several segments of several blocks each; what compresses and what does not.
    fn journal(dir: &Path) -> Journal {
        let disk = Disk::default();
        Journal::create(&disk, dir, SEGMENT_BYTES).unwrap();
        let (end, footer) = (
            scan::End::default(),
            super::super::footer::Footer::default(),
        );
        let mut journal = Journal::open(&disk, dir, SEGMENT_BYTES, end, footer).unwrap();
        let mut noise = blake3::Hasher::new().finalize_xof();
        for number in 0..180_u8 {
            let mut payload = vec![number; 60_000];
            noise.fill(&mut payload[..20_000]);
            if !journal.fits(payload.len()) {
                journal.roll(payload.len()).unwrap();
            }
            journal.push(Kind::Events, &payload);
            journal.commit().unwrap();
        }
        journal
    }

    fn frames(dir: &Path) -> Result<Vec<Frame>, scan::Error> {
        let mut scan = Scan::new(&Disk::default(), dir, Position::ZERO, Position::ZERO)?;
        let mut frames = Vec::new();
        while let Some(frame) = scan.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn same(before: &[Frame], after: &[Frame]) -> bool {
        before.len() == after.len()
            && before.iter().zip(after).all(|(before, after)| {
                (before.head, before.position, before.end, &before.payload)
                    == (after.head, after.position, after.end, &after.payload)
            })
    }

    fn pack_up_to(dir: &Path, until: Position) {
        pack_all(&Disk::default(), dir, until, &AtomicBool::new(false)).unwrap();
    }

    fn is_packed(segment: &SegmentFile) -> bool {
        let opened = Segment::open(&Disk::default(), segment);
        opened.unwrap().is_packed()
    }

    #[test]
    fn a_compressed_segment_reads_as_before_and_only_what_may_be_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, disk) = (dir.path(), Disk::default());
        let journal = journal(dir);
        let before = frames(dir).unwrap();
        let all = segments(&disk, dir).unwrap();
        assert!(all.len() > 3, "{}", all.len());
        let stopped = AtomicBool::new(true);
        pack_all(&disk, dir, journal.durable(), &stopped).unwrap();
        pack_up_to(dir, all[1].base.plus(1));
        assert_eq!(
            all.iter().map(is_packed).collect::<Vec<_>>()[..3],
            [true, false, false],
            "the log needs the others"
        );
        std::fs::write(dir.join(BESIDE), b"what a crash left").unwrap();
        for _ in 0..2 {
            pack_up_to(dir, journal.durable());
            assert!(same(&before, &frames(dir).unwrap()));
        }
        let (last, sealed) = all.split_last().unwrap();
        assert!(sealed.iter().all(is_packed) && !is_packed(last));
        assert!(!dir.join(BESIDE).exists());
        for frame in before.iter().step_by(17) {
            let found = frame_at(&disk, dir, frame.position).unwrap().unwrap();
            assert_eq!(found.payload, frame.payload);
        }
        assert_eq!(
            frame_at(&disk, dir, Position::new(7)).unwrap().map(|_| ()),
            None
        );
    }

    /// The same segment as a program wrote it whose blocks were plain zstd frames.
    #[test]
    fn a_segment_of_the_first_version_reads_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, disk) = (dir.path(), Disk::default());
        let journal = journal(dir);
        let before = frames(dir).unwrap();
        let all = segments(&disk, dir).unwrap();
        let (segment, next) = (&all[0], &all[1]);
        let length = next.base.since(segment.base);
        let bytes = std::fs::read(&segment.path).unwrap();
        let blocks = bytes[..usize::try_from(length).unwrap()].chunks(BLOCK_BYTES);
        let frames_of = blocks.map(|block| zstd::bulk::compress(block, 1).unwrap());
        let zstd_frames: Vec<Vec<u8>> = frames_of.collect();
        let table = zstd_frames.iter().map(|frame| Block {
            length: u32::try_from(frame.len()).unwrap(),
            crc: crc32c::crc32c(frame),
        });
        let mut head = packed::head(segment.base, length, &table.collect::<Vec<_>>());
        head.truncate(head.len() - 4);
        head[4] = 1;
        let crc = crc32c::crc32c(&head).to_be_bytes();
        std::fs::write(
            &segment.path,
            [head, crc.to_vec(), zstd_frames.concat()].concat(),
        )
        .unwrap();
        assert!(is_packed(segment));
        assert!(same(&before, &frames(dir).unwrap()));
        pack_up_to(dir, journal.durable());
        assert_eq!(std::fs::read(&segment.path).unwrap()[4], 1, "it stays");
        assert_eq!(std::fs::read(&next.path).unwrap()[4], 2);
        assert!(same(&before, &frames(dir).unwrap()));
    }

    #[test]
    fn any_changed_byte_of_a_compressed_segment_is_found_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let journal = journal(dir);
        let before = frames(dir).unwrap();
        pack_up_to(dir, journal.durable());
        let all = segments(&Disk::default(), dir).unwrap();
        let (segment, next) = (&all[1], &all[2]);
        let bytes = std::fs::read(&segment.path).unwrap();
        let head = (0..70).step_by(3);
        for at in head.chain((70..bytes.len()).step_by(bytes.len() / 23)) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&segment.path, &changed).unwrap();
            let Err(scan::Error::Damaged { at: named, what }) = frames(dir) else {
                panic!("byte {at} was changed and not found");
            };
            assert!(
                (segment.base..next.base).contains(&named),
                "{at}: {named} {what}"
            );
        }
        for length in [0, 10, 40, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&segment.path, &bytes[..length]).unwrap();
            assert!(
                matches!(frames(dir), Err(scan::Error::Damaged { .. })),
                "{length}"
            );
        }
        std::fs::write(&segment.path, [bytes.as_slice(), &[0]].concat()).unwrap();
        assert!(matches!(frames(dir), Err(scan::Error::Damaged { .. })));
        std::fs::write(&segment.path, &bytes).unwrap();
        assert!(same(&before, &frames(dir).unwrap()));
        // What follows a compressed segment was there when it was compressed.
        for later in &all[2..] {
            std::fs::remove_file(&later.path).unwrap();
        }
        let Err(scan::Error::Damaged { at, .. }) = frames(dir) else {
            panic!("the missing segments were not found");
        };
        assert_eq!(at, next.base);
    }
}
