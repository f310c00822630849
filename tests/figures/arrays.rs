//! Arrays of proposals over HTTP until policy has judged the last one, beside the bare parts of the same measured alone.

use crate::Run;
use crate::child::{Asked, Plane, Running};
use crate::http::proposal;
use crate::limit;
use crate::load::{self, Requests};
use crate::policy;
use crate::report::{Figure, median};
use crate::stage::Stage;
use crate::writing::{per_second, runtime};
use anyhow::{Context as _, Result, ensure};
use countersign_domain::PolicyInput;
use countersign_ids::TenantId;
use countersign_policy::PolicySet;
use countersign_store::read::{Item, Reader};
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Proposals of one array.
const ARRAY: u64 = 100;
/// How often both are measured, in turns.
const ROUNDS: u64 = 5;
/// For how long arrays are sent each time.
const TURN: Duration = Duration::from_secs(4);
/// The longest that policy may take for what was sent.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at what was judged.
const LOOK: Duration = Duration::from_millis(5);
/// Events of one proposal: proposed, its sealed reason, assessed.
const EVENTS_EACH: u32 = 3;
/// How often each bare part is done in a turn.
const BARE_ARRAYS: u32 = 20;
/// Groups of bare events in a turn.
const BARE_GROUPS: u32 = 60;
/// Events of one bare group.
const GROUP: usize = 1024;

/// Proposals per second.
pub(crate) fn arrays(_: &Run) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let plane = Running::<Plane>::start("plane", directory.path())?;
    let body = body(&plane.said.stage);
    let (mut answered, mut judged, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for round in 0..ROUNDS {
        let turn = turn(&plane.said, &body, round)?;
        answered.push(per_second(turn.proposals, turn.answered));
        judged.push(per_second(turn.proposals, turn.judged));
        if round == 0 {
            bytes = event_bytes(directory.path())?;
        }
        bare.push(Bare::measure(directory.path(), &body, bytes)?);
    }
    plane.stop()?;
    let last = bare.last().context("no bare parts")?.to_string();
    let how = format!(
        "arrays of {ARRAY}, {} bytes of JSON, one connection for each of 16 tenants, {EVENTS_EACH} events of {bytes} bytes a proposal; {ROUNDS} turns of {} s and until the last is judged; bare, microseconds a proposal in the last turn: {last}",
        body.len(),
        TURN.as_secs()
    );
    let sums = bare.iter().map(Bare::proposals_per_second).collect();
    Ok(vec![
        Figure::plain(
            "arrays of 100 proposals, judged",
            "proposals/s",
            median(judged),
        )
        .beside("sum of the bare parts, one thread", median(sums))
        .at_least(0.5)
        .how(how),
        Figure::plain(
            "arrays of 100 proposals, answered",
            "proposals/s",
            median(answered),
        )
        .how("the same, while they are sent: each is durable, policy is asked behind"),
    ])
}

/// What came of one turn.
struct Turn {
    proposals: u64,
    answered: Duration,
    judged: Duration,
}

fn turn(plane: &Plane, body: &str, round: u64) -> Result<Turn> {
    let before = events(plane)?;
    let began = Instant::now();
    let requests = requests(&plane.stage, body, round);
    let (sent, answered) =
        runtime()?.block_on(load::send_for(plane.address, TURN, requests, "200"))?;
    let proposals = sent * ARRAY;
    while events(plane)? < before + proposals * u64::from(EVENTS_EACH) {
        ensure!(
            began.elapsed() < PATIENCE,
            "policy has not judged everything"
        );
        std::thread::sleep(LOOK);
    }
    Ok(Turn {
        proposals,
        answered,
        judged: began.elapsed(),
    })
}

/// One connection for each tenant's agent; each array has its own key.
fn requests(stage: &Stage, body: &str, round: u64) -> Vec<Requests> {
    let array = |(tenant, token): &(TenantId, String)| {
        let path = format!("/v1/tenants/{tenant}/actions:batch");
        let headers = format!("authorization: Bearer {token}\r\n");
        let body = body.to_owned();
        let array = move |number: u64| {
            let key = format!("idempotency-key: array-{round}-{number}\r\n");
            load::post(&path, &format!("{headers}{key}"), &body)
        };
        Box::new(array) as Requests
    };
    stage.agents.iter().map(array).collect()
}

fn body(stage: &Stage) -> String {
    let item = json!({ "proposal": proposal(stage) });
    let items: Vec<_> = (0..ARRAY).map(|_| &item).collect();
    json!({ "items": items }).to_string()
}

/// How many events the chains of all tenants have.
fn events(plane: &Plane) -> Result<u64> {
    #[derive(Deserialize)]
    struct Tenants {
        items: Vec<Tenant>,
    }
    #[derive(Deserialize)]
    struct Tenant {
        size: u64,
    }
    let asked = load::get(plane.address, "/v1/tenants", &plane.stage.admin);
    let answer = runtime()?.block_on(asked)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
    let tenants: Tenants = serde_json::from_str(body)?;
    Ok(tenants.items.iter().map(|tenant| tenant.size).sum())
}

/// What an event takes in the journal, on average.
fn event_bytes(directory: &Path) -> Result<usize> {
    let mut items = Reader::open(&directory.join("ledger"))?.journal()?;
    let mut events = 0;
    for item in items.by_ref() {
        if let Item::Events { records, .. } = item? {
            events += records.len();
        }
    }
    Ok(usize::try_from(items.end().position.get())? / events.max(1))
}

/// The bare parts of one proposal, each measured alone.
struct Bare {
    decode: Duration,
    policy: Duration,
    events: Duration,
}

impl Bare {
    fn measure(directory: &Path, body: &str, event_bytes: usize) -> Result<Self> {
        let proposals = BARE_ARRAYS * u32::try_from(ARRAY)?;
        let began = Instant::now();
        for _ in 0..BARE_ARRAYS {
            black_box(serde_json::from_str::<Array>(black_box(body))?);
        }
        let decode = began.elapsed() / proposals;
        // What is asked here: nobody is enrolled, so three evaluations tell that nobody can approve.
        let question = PolicyInput {
            approvers: Vec::new(),
            proposer_owner: None,
            ..policy::question()?
        };
        let asked = policy::Bare::new(&PolicySet::defaults()?.assess(&question)?)?;
        let began = Instant::now();
        for _ in 0..proposals {
            asked.ask();
        }
        let policy = began.elapsed() / proposals;
        let mut segment = limit::Bare::create(directory)?;
        let event = vec![7; event_bytes];
        let began = Instant::now();
        for _ in 0..BARE_GROUPS {
            segment.group(std::iter::repeat_n(event.as_slice(), GROUP))?;
        }
        let events = u32::try_from(GROUP)? * BARE_GROUPS / EVENTS_EACH;
        Ok(Self {
            decode,
            policy,
            events: began.elapsed() / events,
        })
    }

    fn proposals_per_second(&self) -> f64 {
        1.0 / (self.decode + self.policy + self.events).as_secs_f64()
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [decode, policy, events] =
            [self.decode, self.policy, self.events].map(|part| part.as_secs_f64() * 1_000_000.0);
        write!(
            f,
            "decode {decode:.1}, policy {policy:.1}, events {events:.1}"
        )
    }
}

/// An array, as it is decoded.
#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded and dropped")]
struct Array {
    items: Vec<ArrayItem>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded and dropped")]
struct ArrayItem {
    proposal: Asked,
}
