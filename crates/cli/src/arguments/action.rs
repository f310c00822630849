//! Arguments of the commands in an action's life.

use clap::Args;
use std::path::PathBuf;

/// `countersign propose`
#[derive(Debug, Args)]
pub(crate) struct Propose {
    /// The release to publish: its label or its digest.
    #[arg(value_name = "RELEASE", required_unless_present = "file")]
    pub(crate) release: Option<String>,
    /// Propose everything that this file holds, as a JSON array or one object a line, each as the API takes it; `-` is
    /// standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["release", "reason", "expires_in", "wait"])]
    pub(crate) file: Option<PathBuf>,
    /// What makes sending the same file again the same thing; a new one is made and told if there is none.
    #[arg(long, requires = "file")]
    pub(crate) key: Option<String>,
    /// The site; of a file, the site of those that name none.
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Why; sealed, and erasable.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// After this many minutes it is too late to decide.
    #[arg(long, default_value_t = 24 * 60, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 60))]
    pub(crate) expires_in: u64,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Whether to wait for the end of an action.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait until the action has ended; exit 3 if it did not succeed.
    #[arg(long)]
    pub(crate) wait: bool,
    /// The longest to wait.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) wait_at_most: u64,
}

/// `countersign queue`
#[derive(Debug, Args)]
pub(crate) struct Queue {
    /// Print the ids of the actions only.
    #[arg(long, conflicts_with = "json")]
    pub(crate) ids: bool,
}

/// `countersign show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The action.
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `countersign approve` and `countersign deny`
#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// The action.
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    #[command(flatten)]
    pub(crate) signer: Signer,
    /// Why; sealed, and erasable.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Do not ask; sign what was shown.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Who signs.
#[derive(Debug, Args)]
pub(crate) struct Signer {
    /// Your Ed25519 key, PKCS#8 PEM; it is read here and sent nowhere.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// Who you are.
    #[arg(long)]
    pub(crate) approver: Option<String>,
    /// Which of your keys it is.
    #[arg(long)]
    pub(crate) credential: Option<String>,
}

/// `countersign withdraw`
#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    /// The action.
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    /// Take back your own vote instead of the action.
    #[arg(long)]
    pub(crate) vote: bool,
    #[command(flatten)]
    pub(crate) signer: Signer,
    /// Why; sealed, and erasable.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Do not ask; sign what was shown.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `countersign rollback`
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The release to go back to: label or digest; the one before the live one if none is given.
    #[arg(value_name = "RELEASE")]
    pub(crate) release: Option<String>,
    /// The site.
    #[arg(long)]
    pub(crate) site: Option<String>,
    /// Why; sealed, and erasable.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `countersign status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this site.
    #[arg(value_name = "SITE")]
    pub(crate) site: Option<String>,
}
