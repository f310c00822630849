//! The clock goes back and jumps ahead, and the disk is slow. No test may do that to the machine, so the server is told by a
//! file (crates/store/src/world.rs), which only a build for tests reads.

use crate::http::Caller;
use crate::stage::{Plane, TENANT};
use crate::world::Commands;
use serde_json::Value;
use std::path::PathBuf;

const TOOK: &str = "countersign_http_request_seconds_sum";

struct World {
    file: PathBuf,
}

impl World {
    fn is(&self, what: &str) {
        // By rename, so that the server never reads half of it.
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, what).unwrap();
        std::fs::rename(&beside, &self.file).unwrap();
    }
}

fn start(directory: &std::path::Path) -> (World, Plane) {
    let world = World {
        file: directory.join("world"),
    };
    world.is("");
    let plane = Plane::start_set(
        directory,
        &[("COUNTERSIGN_FAULTS", world.file.to_str().unwrap())],
    );
    (world, plane)
}

/// The times of a chain's events, in order.
async fn times(caller: &Caller) -> Vec<String> {
    let events = caller
        .get(&format!("/v1/tenants/{TENANT}/events?limit=500"))
        .await;
    let time = |event: &Value| {
        let header: Value = serde_json::from_str(event["header"].as_str().unwrap()).unwrap();
        header["time"].as_str().unwrap().to_owned()
    };
    events.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(time)
        .collect()
}

#[tokio::test]
async fn a_clock_that_jumps_stops_commands_until_it_returns_and_one_that_goes_back_is_written_down()
{
    let directory = tempfile::tempdir().unwrap();
    let (world, mut plane) = start(directory.path());
    let owner = plane.tenant();
    let mut commands = Commands::new(Caller::new(&plane.url(), &owner));
    commands.send_all(20).await;
    world.is("clock 7200000\n");
    let refused = commands.until_refused().await;
    assert_eq!(
        (refused.status, refused.code()),
        (503, "clock-jumped"),
        "{refused:?}"
    );
    assert_eq!(
        commands.unready().await,
        Some(vec!["clock-jumped".to_owned()])
    );
    commands.read().await;
    world.is("clock 0\n");
    commands.until_taken().await;
    commands.until_ready().await;

    world.is("clock -600000\n");
    commands.send_all(20).await;
    let journal = plane.data().join("journal");
    crate::harness::until("the step back in the platform chain", || {
        let segments = crate::world::files_ending(&journal, ".seg");
        let written = |path: &PathBuf| {
            let bytes = std::fs::read(path).unwrap();
            String::from_utf8_lossy(&bytes).contains("dev.countersign.clock.stepped-back")
        };
        segments.iter().any(written).then_some(())
    });
    let times = times(&commands.caller).await;
    assert!(
        times.is_sorted(),
        "the time of a chain never falls: {times:?}"
    );
    commands.check().await;
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
}

#[tokio::test]
async fn a_slow_disk_slows_commands_and_loses_none() {
    let directory = tempfile::tempdir().unwrap();
    let (world, mut plane) = start(directory.path());
    let owner = plane.tenant();
    let mut commands = Commands::new(Caller::new(&plane.url(), &owner));
    commands.send_all(11).await;
    world.is("sync 400\n");
    let before = crate::world::figure(&plane, TOOK).await;
    for _ in 0..3 {
        commands.send_all(1).await;
        commands.read().await;
    }
    // No less than the disk took: nobody was answered before, and the figures say so.
    assert!(crate::world::figure(&plane, TOOK).await - before >= 1.2);
    world.is("");
    commands.check().await;
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
}
