//! The server and the connector are killed in turn, a hundred times, with commands and an order under way, and asked afterwards
//! what they know.
//!
//! Nothing acknowledged may be lost, nothing doubled; the ledger verifies after each kill; every command sent again gives its
//! first receipt, also after sled was deleted; no order is executed twice.

use crate::http::Caller;
use crate::orders::Orders;
use crate::stage::{Plane, Stage};
use crate::writers::{Notes, Writers, declared};
use tokio::task::block_in_place;

const KILLS: u64 = 100;
/// More of them keep the chain so busy that the order is not decided for seconds.
const WRITERS: u64 = 2;
/// Acknowledgements before each kill; the writers never pause, so commands are under way when it comes.
const ACKNOWLEDGED: u64 = 10;
/// Of each round, so many commands are sent again after the kill; all of them at the end.
const SENT_AGAIN: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_done_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = block_in_place(|| Stage::set(Plane::start(directory.path())));
    let owner = Caller::new(&stage.plane.url(), &stage.owner);
    let mut orders = Orders::new(&stage, directory.path()).await;
    let notes = Notes::default();
    let (mut commands, mut interrupted) = (0, 0);
    for round in 0..KILLS {
        let of_server = round % 2 == 0;
        let writers = Writers::start(WRITERS, &owner, round, &notes);
        let action = orders.begin(&stage, round).await;
        block_in_place(|| writers.wait(ACKNOWLEDGED));
        orders.until(&action, round).await;
        let order_out = orders.is_out(&action).await;
        block_in_place(|| {
            if of_server {
                stage.plane.kill();
            } else {
                stage.kill_connector();
            }
        });
        let unanswered = writers.end().await;
        commands += unanswered;
        interrupted += u64::from(unanswered > 0 || order_out);
        block_in_place(|| {
            stage.plane.verify_on();
            if of_server {
                if round % 14 == 6 {
                    std::fs::remove_dir_all(stage.plane.data().join("sled")).unwrap();
                }
                stage.plane.resume();
            } else {
                stage.run_connector();
            }
        });
        notes.again(&owner, round, SENT_AGAIN).await;
        orders.settle(&stage, &action).await;
    }
    eprintln!(
        "{interrupted} of {KILLS} kills had commands or an order under way, {commands} commands in all; actions ended {:?}",
        orders.ended
    );
    assert!(
        interrupted * 2 >= KILLS,
        "only {interrupted} of {KILLS} kills had anything under way"
    );
    orders.check(&stage).await;
    // All of them once more, over a log that is new.
    block_in_place(|| {
        assert_eq!(stage.plane.stop(), Some(0));
        std::fs::remove_dir_all(stage.plane.data().join("sled")).unwrap();
        stage.plane.resume();
    });
    notes.all_again(&owner).await;
    assert_eq!(
        declared(&owner).await,
        notes.count(),
        "as many events as commands"
    );
    block_in_place(|| {
        stage.stop_connector();
        assert_eq!(stage.plane.stop(), Some(0));
        stage.plane.verify();
    });
}
