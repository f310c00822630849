//! Backups of running ledgers, and back: consistent, incremental, never a silent loss, whole whenever they are killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::*;
use countersign_ids::{Retention, Time};
use countersign_store::backup::{
    Error, Known, Manifest, Restore, Restored, Take, Taken, generations, restore, take,
};
use countersign_store::read::Reader;
use countersign_store::{Ledger, Projections};

/// A directory for everything of one test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("ledger")
    }

    fn backups(&self) -> PathBuf {
        self.0.path().join("backups")
    }

    fn restored(&self) -> PathBuf {
        self.0.path().join("restored")
    }

    /// A ledger with so many commands, its sealed segments compressed, then stopped.
    fn with(commands: usize) -> Self {
        let place = Self::new();
        let ledger = fresh(&place.data(), options());
        write(&ledger, 0, commands);
        until_compressed(&place.data());
        ledger.close().unwrap();
        place
    }

    fn more(&self, from: usize, commands: usize) {
        let ledger = Ledger::open(&self.data(), options()).unwrap();
        write(&ledger, from, commands);
        until_compressed(&self.data());
        ledger.close().unwrap();
    }

    fn take(&self) -> Taken {
        self.keep(1).unwrap()
    }

    fn keep(&self, keep: usize) -> Result<Taken, Error> {
        take_from(&self.data(), &self.backups(), keep, &mut |_| ())
    }

    fn restore(&self, to: &Path) -> Result<Restored, Error> {
        restore(&self.backups(), to, &Restore::default(), &mut |_| ())
    }
}

fn take_from(
    data: &Path,
    to: &Path,
    keep: usize,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken, Error> {
    let options = Take {
        now: Time::from_unix_millis(1),
        keep,
        policies: data.join("policies"),
    };
    take(data, to, &options, progress)
}

fn write(ledger: &Ledger, from: usize, commands: usize) {
    for number in from..from + commands {
        ledger
            .append_blocking(command("shop", &format!("c{number}")))
            .unwrap();
    }
}

/// Opens a directory, audits it, and writes on.
#[track_caller]
fn goes_on(data: &Path, commands: usize) {
    let ledger = Ledger::open(data, options()).unwrap();
    ledger.audit(&Projections::none()).unwrap();
    let size = u64::try_from(commands).unwrap();
    assert_eq!(
        ledger.head(&chain("shop")).map_or(0, |head| head.size),
        size
    );
    if commands > 0 {
        let again = ledger.append_blocking(command("shop", "c0")).unwrap();
        assert!(again.replayed, "the first receipt is given again");
    }
    let next = ledger.append_blocking(command("shop", "next")).unwrap();
    assert_eq!(next.first.get(), size);
    ledger.close().unwrap();
}

fn code(result: Result<Restored, Error>) -> &'static str {
    result.unwrap_err().code().id
}

#[test]
fn a_ledger_is_backed_up_while_it_is_written_and_goes_on_when_it_is_restored() {
    let place = Place::new();
    let ledger = fresh(&place.data(), options());
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut backups = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (ledger, stop, acknowledged) = (&ledger, &stop, &acknowledged);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("w{writer}-{number}");
                    ledger.append_blocking(command("blog", &name)).unwrap();
                    acknowledged.lock().unwrap().push(name);
                }
            });
        }
        // Each backup must hold what was acknowledged before it began; the segments of 64 KiB roll meanwhile.
        for round in 1..=4_usize {
            while acknowledged.lock().unwrap().len() < round * 300 {
                std::thread::yield_now();
            }
            let before = acknowledged.lock().unwrap().clone();
            backups.push((before, place.keep(10).unwrap().path));
        }
        stop.store(true, Ordering::SeqCst);
    });
    ledger.close().unwrap();
    assert!(
        Reader::open(&place.data())
            .unwrap()
            .segments()
            .unwrap()
            .len()
            > 4
    );
    for (number, (before, path)) in (1_u64..).zip(backups) {
        let to = place.restored();
        let options_of_restore = Restore {
            number: Some(number),
            ..Restore::default()
        };
        let restored = restore(&place.backups(), &to, &options_of_restore, &mut |_| ()).unwrap();
        assert_eq!(restored.from, path);
        let ledger = Ledger::open(&to, options()).unwrap();
        ledger.audit(&Projections::none()).unwrap();
        for name in &before {
            let again = ledger.append_blocking(command("blog", name)).unwrap();
            assert!(
                again.replayed,
                "`{name}` was acknowledged and is not in {path:?}"
            );
        }
        assert!(
            !ledger
                .append_blocking(command("blog", "next"))
                .unwrap()
                .replayed
        );
        ledger.close().unwrap();
        std::fs::remove_dir_all(to).unwrap();
    }
}

#[test]
fn a_sealed_segment_is_copied_once_and_again_when_it_was_rewritten() {
    let place = Place::with(300);
    let first = place.take();
    assert!(first.segments_copied > 2 && first.segments_linked == 0);
    let unchanged = place.take();
    assert_eq!(
        (unchanged.segments_linked, unchanged.segments_copied),
        (first.segments_copied - 1, 1),
        "all but the one that was being written"
    );
    place.more(300, 200);
    let second = place.take();
    assert!(second.segments_copied + second.segments_linked > first.segments_copied);
    assert_eq!(place.take().segments_copied, 1, "the newest one");
    assert_eq!(generations(&place.backups()).unwrap().len(), 1);

    // Expiry rewrites sealed segments as a whole, by rename: the bytes of before must not stay in the backup.
    let oldest = Reader::open(&place.data()).unwrap().segments().unwrap();
    let oldest = oldest[0].path.clone();
    let beside = oldest.with_extension("tmp");
    std::fs::copy(&oldest, &beside).unwrap();
    std::fs::rename(&beside, &oldest).unwrap();
    let rewritten = place.take();
    assert_eq!(rewritten.segments_copied, 2);
    place.restore(&place.restored()).unwrap();
    goes_on(&place.restored(), 500);
}

#[test]
fn what_would_be_lost_is_said_and_needs_a_word() {
    let place = Place::with(40);
    place.take();
    let note_of = |size, root| Known {
        chain: chain("shop"),
        size,
        root,
        head: None,
        from: "a checkpoint".to_owned(),
    };
    let with = |known: Known| {
        let options = Restore {
            known: vec![known],
            ..Restore::default()
        };
        restore(&place.backups(), &place.restored(), &options, &mut |_| ())
    };
    assert_eq!(code(with(note_of(41, None))), "restore-would-lose");
    assert_eq!(
        code(with(note_of(40, Some([0; 32])))),
        "backup-other-history"
    );
    assert!(!place.restored().exists());
    with(note_of(40, None)).unwrap();

    // The ledger itself went on since.
    place.more(40, 3);
    let error = place.restore(&place.data()).unwrap_err();
    assert_eq!(error.code().id, "restore-would-lose");
    assert!(
        error
            .to_string()
            .contains("chain `shop` has 43 events by the ledger in"),
        "{error}"
    );
    assert!(
        error.to_string().contains("40 of them in the backup"),
        "{error}"
    );
    let lose = Restore {
        lose: true,
        ..Restore::default()
    };
    let restored = restore(&place.backups(), &place.data(), &lose, &mut |_| ()).unwrap();
    assert_eq!(restored.lost.len(), 1);
    goes_on(&restored.set_aside.unwrap(), 43);
    goes_on(&place.data(), 40);

    // It went on differently: as many events, another history.
    place.more(41, 3);
    take_from(
        &place.data(),
        &place.0.path().join("others"),
        1,
        &mut |_| (),
    )
    .unwrap();
    let error = restore(
        &place.0.path().join("others"),
        &place.0.path().join("ledger.before-restore-1"),
        &Restore::default(),
        &mut |_| (),
    );
    assert_eq!(code(error), "backup-other-history");
}

#[test]
fn what_stands_in_the_way_is_left_alone() {
    let place = Place::with(10);
    place.take();
    let open = Ledger::open(&place.data(), options()).unwrap();
    assert_eq!(code(place.restore(&place.data())), "ledger-locked");
    open.close().unwrap();
    drop(open);

    let segment = &Reader::open(&place.data()).unwrap().segments().unwrap()[0].path;
    let mut bytes = std::fs::read(segment).unwrap();
    bytes[200] ^= 1;
    std::fs::write(segment, &bytes).unwrap();
    assert_eq!(code(place.restore(&place.data())), "restore-would-lose");
    assert_eq!(std::fs::read(segment).unwrap(), bytes, "it is still there");

    let thesis = place.0.path().join("thesis");
    std::fs::create_dir(&thesis).unwrap();
    std::fs::write(thesis.join("text"), "ten years").unwrap();
    assert_eq!(code(place.restore(&thesis)), "restore-target");
    let foreign = place.0.path().join("foreign");
    Ledger::create(&foreign, [8; 32], &options()).unwrap();
    assert_eq!(code(place.restore(&foreign)), "restore-target");
    let into_thesis = take_from(&foreign, &thesis, 1, &mut |_| ()).unwrap_err();
    assert_eq!(into_thesis.code().id, "not-a-backup");
    let into_another = take_from(&foreign, &place.backups(), 1, &mut |_| ()).unwrap_err();
    assert_eq!(into_another.code().id, "not-a-backup");
    assert_eq!(
        code(restore(
            &thesis,
            &place.restored(),
            &Restore::default(),
            &mut |_| ()
        )),
        "not-a-backup"
    );
}

#[test]
fn a_damaged_backup_is_refused_and_a_damaged_ledger_replaces_no_backup() {
    let place = Place::with(300);
    let taken = place.take();
    let journal = taken.path.join("journal");
    for entry in std::fs::read_dir(&journal).unwrap() {
        let path = entry.unwrap().path();
        let sound = std::fs::read(&path).unwrap();
        let mut flipped = sound.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for broken in [flipped, sound[..sound.len() - 1].to_vec()] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(code(place.restore(&place.restored())), "backup-damaged");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(code(place.restore(&place.restored())), "backup-damaged");
        std::fs::write(&path, sound).unwrap();
    }
    let manifest = taken.path.join("backup.json");
    let sound = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, sound.replace("countersign-backup/1", "other/1")).unwrap();
    assert_eq!(code(place.restore(&place.restored())), "backup-damaged");
    std::fs::write(&manifest, sound).unwrap();
    assert!(!place.restored().exists());

    let segments = Reader::open(&place.data()).unwrap().segments().unwrap();
    let mut bytes = std::fs::read(&segments[0].path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segments[0].path, bytes).unwrap();
    assert_eq!(place.keep(1).unwrap_err().code().id, "ledger-damaged");
    place.restore(&place.restored()).unwrap();
    goes_on(&place.restored(), 300);
}

#[test]
fn a_backup_holds_no_key_and_what_was_sealed_opens_with_the_keys_that_were_kept_apart() {
    let place = Place::with(3);
    let ledger = Ledger::open(&place.data(), options()).unwrap();
    let mut sealed = command("shop", "sealed");
    sealed.events = vec![countersign_store::NewEvent {
        event_type: countersign_ids::EventType::new("reason", "given", 1).unwrap(),
        retention: Retention::Personal,
        seal: Some("d1".parse().unwrap()),
        ..event("given", "a1", "{\"reason\":\"my cousin asked\"}")
    }];
    let receipt = ledger.append_blocking(sealed).unwrap();
    ledger.close().unwrap();
    let secret = std::fs::read_to_string(place.data().join("keys/keyring/d1")).unwrap();
    let kept = place.0.path().join("kept");
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(place.data().join("keys"))
            .arg(&kept)
            .status()
            .unwrap()
            .success()
    );
    place.take();
    for file in all_files(&place.backups()) {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(!holds(&secret), "{file:?} holds a key");
        assert!(!holds("my cousin asked"), "{file:?} holds the text");
    }
    let open = |to: &Path| {
        let ledger = Ledger::open(to, options()).unwrap();
        let entry = ledger.event(&chain("shop"), receipt.first).unwrap();
        ledger.unseal(&entry).map_err(|error| error.code().id)
    };
    assert!(!place.restore(&place.restored()).unwrap().with_keys);
    assert_eq!(open(&place.restored()), Err("key-destroyed"));
    let with_keys = place.0.path().join("with-keys");
    let options = Restore {
        keys: Some(kept),
        ..Restore::default()
    };
    assert!(
        restore(&place.backups(), &with_keys, &options, &mut |_| ())
            .unwrap()
            .with_keys
    );
    assert_eq!(
        open(&with_keys).unwrap(),
        b"{\"reason\":\"my cousin asked\"}"
    );
    use std::os::unix::fs::PermissionsExt as _;
    for (path, mode) in [
        ("keys", 0o700),
        ("keys/keyring", 0o700),
        ("keys/keyring/d1", 0o600),
    ] {
        let found = std::fs::metadata(with_keys.join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
}

fn all_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            files.extend(all_files(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}

const JOB: &str = "COUNTERSIGN_BACKUP_TEST_JOB";
const ROOT: &str = "COUNTERSIGN_BACKUP_TEST_ROOT";
const STEP: &str = "COUNTERSIGN_BACKUP_TEST_STEP";

/// Not a test of its own: what the child process runs until it kills itself at a step of its work.
#[test]
fn child() {
    let (Ok(job), Ok(root)) = (std::env::var(JOB), std::env::var(ROOT)) else {
        return;
    };
    let mut left: usize = std::env::var(STEP).unwrap().parse().unwrap();
    let mut step = |_| {
        if left == 0 {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
        left -= 1;
    };
    let root = Path::new(&root);
    let (data, backups) = (root.join("ledger"), root.join("backups"));
    if job == "take" {
        take_from(&data, &backups, 1, &mut step).unwrap();
    } else {
        let lose = Restore {
            lose: true,
            ..Restore::default()
        };
        restore(&backups, &data, &lose, &mut step).unwrap();
    }
}

/// Runs a job that kills itself at a step; whether it came to its end before.
fn killed_at(place: &Place, job: &str, step: usize) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "backup::child", "--test-threads=1"])
        .env(JOB, job)
        .env(ROOT, place.0.path())
        .env(STEP, step.to_string())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    use std::os::unix::process::ExitStatusExt as _;
    assert!(status.success() || status.signal() == Some(9), "{status}");
    status.success()
}

#[test]
fn killed_at_any_step_a_backup_is_the_one_before_or_the_new_one() {
    let place = Place::with(150);
    place.take();
    place.more(150, 50);
    let mut outcomes = [0, 0];
    for step in 0.. {
        let done = killed_at(&place, "take", step);
        let (_, newest) = generations(&place.backups()).unwrap().pop_last().unwrap();
        let events = Manifest::read(&newest).unwrap().sizes()[&chain("shop")];
        assert!(events == 150 || events == 200, "{events}");
        outcomes[usize::from(events == 200)] += 1;
        place.restore(&place.restored()).unwrap();
        goes_on(&place.restored(), usize::try_from(events).unwrap());
        std::fs::remove_dir_all(place.restored()).unwrap();
        if done {
            break;
        }
    }
    assert!(outcomes[0] > 2 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn killed_at_any_step_a_restored_directory_is_the_one_before_or_the_restored_one() {
    let place = Place::with(100);
    place.take();
    let kept = place.0.path().join("kept");
    let copy = |from: &Path, to: &Path| {
        let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(status.unwrap().success());
    };
    place.more(100, 20);
    copy(&place.data(), &kept);
    let mut outcomes = [0, 0];
    for step in 0.. {
        let done = killed_at(&place, "restore", step);
        let events = {
            let ledger = Ledger::open(&place.data(), options()).unwrap();
            ledger.audit(&Projections::none()).unwrap();
            ledger.head(&chain("shop")).unwrap().size
        };
        assert!(events == 100 || events == 120, "{events}");
        outcomes[usize::from(events == 100)] += 1;
        // The ledger that stood there is somewhere, whole, whatever happened.
        let mut anywhere = std::fs::read_dir(place.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        assert!(anywhere.any(|path| {
            path != kept
                && Reader::open(&path).is_ok_and(|reader| {
                    let records = reader.journal().unwrap().map(|item| match item.unwrap() {
                        countersign_store::read::Item::Events { records, .. } => records.len(),
                        countersign_store::read::Item::Checkpoint { .. }
                        | countersign_store::read::Item::Pruned { .. } => 0,
                    });
                    records.sum::<usize>() == 120
                })
        }));
        if done {
            break;
        }
        for entry in std::fs::read_dir(place.0.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with("ledger.before-restore") {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        std::fs::remove_dir_all(place.data()).unwrap();
        copy(&kept, &place.data());
    }
    assert!(outcomes[0] > 2 && outcomes[1] > 0, "{outcomes:?}");
}
