//! Power cuts on a real file system: what the device had received at a moment is all that is left.
//!
//! The server writes to ext4 on a loop device. It is stopped where it is, the image is copied, the server is killed and the copy
//! takes the image's place: pages that were written and never made durable are gone, which no kill of a process shows.

use crate::http::Caller;
use crate::stage::Plane;
use crate::world::{SMALL, Volume};
use crate::writers::{Notes, Writers, declared};
use tokio::task::block_in_place;

const CUTS: u64 = 20;
const WRITERS: u64 = 4;
const ACKNOWLEDGED: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let volume = match Volume::try_new(256) {
        Ok(volume) => volume,
        // The only test that may be skipped in CI too: not every machine lends its devices.
        Err(why) => {
            eprintln!("SKIPPED: no power is cut here: {why}");
            return;
        }
    };
    let mut plane = block_in_place(|| Plane::start_set(&volume.path(), &[SMALL]));
    let token = block_in_place(|| plane.tenant());
    let owner = Caller::new(&plane.url(), &token);
    let notes = Notes::default();
    let (mut interrupted, mut aside) = (0, 0);
    for cut in 0..CUTS {
        let writers = Writers::start(WRITERS, &owner, cut, &notes);
        block_in_place(|| {
            writers.wait(ACKNOWLEDGED);
            plane.running().pause();
            let left = volume.what_is_left();
            plane.kill();
            volume.put_back(left);
        });
        interrupted += u64::from(writers.end().await > 0);
        aside += block_in_place(|| {
            plane.verify();
            plane.resume();
            set_aside(&plane)
        });
        notes.again(&owner, cut, usize::MAX).await;
        assert_eq!(
            declared(&owner).await,
            notes.count(),
            "as many events as commands"
        );
    }
    notes.all_again(&owner).await;
    eprintln!(
        "{interrupted} of {CUTS} power cuts had commands under way, {} commands in all; sled was set aside {aside} times",
        notes.count()
    );
    assert!(interrupted * 2 >= CUTS);
    assert!(
        aside * 2 < CUTS,
        "sled seldom survives, so it is not what was tested"
    );
    block_in_place(|| {
        assert_eq!(plane.stop(), Some(0));
        plane.verify();
    });
}

/// Whether the log did not survive; what was set aside is removed.
fn set_aside(plane: &Plane) -> u64 {
    let mut found = 0;
    for entry in std::fs::read_dir(plane.data()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("sled.aside-") {
            std::fs::remove_dir_all(path).unwrap();
            found += 1;
        }
    }
    found
}
