//! `countersign up`: everything on one machine, to be looked at. Not a way to run it for real; that is `serve`.
//!
//! Three things run: the control plane in this process, on loopback; a connector in a process of its own, with its own key;
//! the sample site behind it. The approver's key lies outside the server's directory, where the server never reads.

mod child;
mod layout;
mod seed;
mod site;

pub(crate) use layout::SAMPLE;

use crate::arguments::Up;
use crate::exit::Failure;
use crate::output::{self, field, note};
use crate::serve::{Server, Settings};
use anyhow::{Context, Result};
use child::Connector;
use layout::Layout;
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Where the parts answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    plane: SocketAddr,
    site: SocketAddr,
    preview: SocketAddr,
}

impl Addresses {
    fn of(arguments: &Up) -> Result<Self> {
        let plane = resolved(arguments.listen)?;
        let beside = |number: u16| {
            let port = plane
                .port()
                .checked_add(number)
                .context("the port is too high; give --site-listen and --preview-listen")?;
            Ok::<_, anyhow::Error>(SocketAddr::new(plane.ip(), port))
        };
        let site = arguments.site_listen.map_or_else(|| beside(1), resolved)?;
        let preview = arguments
            .preview_listen
            .map_or_else(|| beside(2), resolved)?;
        Ok(Self {
            plane,
            site,
            preview,
        })
    }

    pub(crate) fn server(&self) -> String {
        format!("http://{}", self.plane)
    }

    /// As the connector's commands take them.
    fn arguments(&self) -> [String; 6] {
        let own = |name: &str| name.to_owned();
        [
            own("--server"),
            self.server(),
            own("--listen"),
            self.site.to_string(),
            own("--preview-listen"),
            self.preview.to_string(),
        ]
    }
}

/// Port 0 means any free one; it is chosen here, because profiles and the connector must know it before anybody listens.
fn resolved(address: SocketAddr) -> Result<SocketAddr> {
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .context("no free port")
}

/// Runs the sample until Ctrl-C.
pub(crate) async fn run(arguments: Up, as_json: bool) -> Result<ExitCode> {
    let addresses = Addresses::of(&arguments)?;
    if !addresses.plane.ip().is_loopback() {
        let message = format!(
            "`{}` is not a loopback address; the sample has sample keys",
            addresses.plane
        );
        return Err(Failure::usage(message)
            .with_hint("run `countersign serve` for real")
            .into());
    }
    // Before anything is started, so that no signal is missed while it is.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let layout = Layout::new(&arguments.data);
    let stands = layout.open(arguments.fresh)?;
    let server = Server::start(Settings::sample(
        &layout.ledger(),
        &layout.actor("genesis"),
        addresses.plane,
    )?)
    .await?;
    let work = serve_sample(
        &layout,
        &addresses,
        &arguments.data,
        &server,
        stands,
        as_json,
    );
    let ended = tokio::select! {
        ended = work => ended,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    note(format_args!("stopping"));
    server.stop().await?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up if needed, runs the connector, says what to do; returns when the connector ends, or is dropped by a signal.
async fn serve_sample(
    layout: &Layout,
    addresses: &Addresses,
    data: &Path,
    server: &Server,
    stands: bool,
    as_json: bool,
) -> Result<()> {
    let url = addresses.server();
    if stands {
        // The addresses may be others than last time.
        for (directory, ..) in seed::ACTORS {
            layout.write_actor(directory, None, &seed::profile(&url, directory))?;
        }
    } else {
        note(format_args!(
            "setting the sample up in `{}`",
            data.display()
        ));
        let admin = std::fs::read_to_string(server.admin_token_file())
            .context("the server made no first token")?;
        seed::seed(layout, addresses, admin.trim()).await?;
        layout.mark(true)?;
    }
    let mut connector = Connector::run(&layout.connector(), addresses)?;
    let action = waiting(layout, &url).await?;
    if as_json {
        output::data(&serde_json::to_string(&json!({
            "server": url,
            "site": format!("http://{}/", addresses.site),
            "preview": format!("http://{}/preview/", addresses.preview),
            "ledger": layout.ledger(),
            "profile": layout.profile("approver"),
            "waiting": action,
        }))?)?;
    } else {
        output::data(&instructions(layout, addresses, action.as_deref()))?;
    }
    let status = connector.ended().await?;
    Err(Failure::unavailable(format!("the connector ended by itself: {status}")).into())
}

/// The action that waits for a decision, if one does; policy judges a proposal right after it was made.
async fn waiting(layout: &Layout, url: &str) -> Result<Option<String>> {
    let approver = seed::of(layout, url, "approver")?;
    let proposed = approver.client.get(&approver.path("/actions")?).await?;
    for action in crate::commands::release::items(&proposed) {
        if field(action, "/state") == "proposed" {
            crate::commands::watch::assessed(&approver, &field(action, "/action")).await?;
        }
    }
    let queue = approver.client.get(&approver.path("/queue")?).await?;
    Ok(crate::commands::release::items(&queue)
        .first()
        .map(|item| field(item, "/action")))
}

/// What to paste.
fn instructions(layout: &Layout, addresses: &Addresses, action: Option<&str>) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "countersign".to_owned());
    let approver = layout.profile("approver");
    let approver = approver.display();
    let agent = layout.profile("agent");
    let agent = agent.display();
    let ledger = layout.ledger();
    let ledger = ledger.display();
    let site = addresses.site;
    let action = action.unwrap_or("ACTION");
    format!(
        "\
The sample is up. Ctrl-C stops it; the same command continues it.

  control plane  {server}
  the site       http://{site}/
  its previews   http://{preview}/preview/<release>/

In another terminal, in this directory:

  # what waits, and what it would change
  {program} queue --profile {approver}
  {program} show {action} --profile {approver}

  # approve it with a key that the server never sees, and look at the new page
  {program} approve {action} --profile {approver} --wait
  curl -s http://{site}/ | grep '<h1>'

  # verify the whole ledger, without asking the server
  {program} replay verify {ledger}

  # go back: propose it as the agent, approve it as the approver
  ACTION=$({program} rollback --profile {agent})
  {program} approve $ACTION --profile {approver} --wait

  # a release that is whole in preview and broken when live: it comes back by itself
  ACTION=$({program} propose 2026-winter --profile {agent})
  {program} approve $ACTION --profile {approver} --wait
",
        server = addresses.server(),
        preview = addresses.preview,
    )
}
