//! Arguments of the commands that set up and run the parts.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `countersign up`
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where everything of the sample is kept.
    #[arg(long, value_name = "DIR", default_value = "countersign-data")]
    pub(crate) data: PathBuf,
    /// Where the control plane answers. The site and its preview take the next two ports unless they are given.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
    /// Where the sample site is served.
    #[arg(long, value_name = "ADDR")]
    pub(crate) site_listen: Option<SocketAddr>,
    /// Where previews are served.
    #[arg(long, value_name = "ADDR")]
    pub(crate) preview_listen: Option<SocketAddr>,
    /// Remove what an earlier `up` left in DIR, and begin again.
    #[arg(long)]
    pub(crate) fresh: bool,
}

/// `countersign serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The configuration.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where the ledger is kept.
    #[arg(long, value_name = "DIR", env = "COUNTERSIGN_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to answer.
    #[arg(long, value_name = "ADDR", env = "COUNTERSIGN_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// The origin of this ledger's checkpoints, a name like `ledger.example.org`; needed once, to create the ledger.
    #[arg(long, value_name = "NAME", env = "COUNTERSIGN_ORIGIN")]
    pub(crate) origin: Option<String>,
    /// Where the genesis key of a new ledger is written; keep it offline afterwards. Beside the data directory by default.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_GENESIS_KEY")]
    pub(crate) genesis_key: Option<PathBuf>,
}

/// `countersign release`
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Upload a directory as a release. It is named by its bytes; uploading it again changes nothing.
    Add {
        /// The directory.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// What people call it.
        #[arg(long)]
        label: String,
        /// The site.
        #[arg(long)]
        site: Option<String>,
    },
    /// The releases of a site.
    List {
        /// The site.
        #[arg(long)]
        site: Option<String>,
    },
}

/// `countersign site`
#[derive(Debug, Subcommand)]
pub(crate) enum Site {
    /// Register a site.
    Add {
        /// Its id.
        #[arg(value_name = "SITE")]
        site: String,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// For example `production`.
        #[arg(long, default_value = "production")]
        environment: String,
    },
    /// The tenant's sites.
    List,
    /// Make a pairing code for a connector: it works once, for ten minutes.
    Invite {
        /// The site.
        #[arg(value_name = "SITE")]
        site: String,
    },
}

/// `countersign tenant`
#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Create a tenant.
    Add {
        /// Its id.
        #[arg(value_name = "TENANT")]
        id: String,
        /// Its name for people.
        #[arg(long)]
        name: String,
    },
    /// All tenants.
    List,
}

/// `countersign approver`
#[derive(Debug, Subcommand)]
pub(crate) enum Approver {
    /// Enrol a person's key; the key signs its own enrolment.
    Enrol {
        /// Who.
        #[arg(long)]
        approver: String,
        /// Which of their keys.
        #[arg(long)]
        credential: String,
        /// The key, PKCS#8 PEM; it is read here and sent nowhere.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

/// `countersign token`
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Issue a token; it is printed once.
    Issue {
        /// `admin`, `owner`, `approver`, `proposer` or `observer`.
        #[arg(long)]
        role: String,
        /// Whom it stands for.
        #[arg(long)]
        actor: String,
        /// `person`, `agent` or `service`.
        #[arg(long, default_value = "person")]
        kind: String,
        /// Of an agent: the person for whom it acts, who never approves what it proposes.
        #[arg(long)]
        owner: Option<String>,
    },
    /// End a token.
    Revoke {
        /// Its id.
        #[arg(value_name = "TOKEN")]
        token: String,
    },
}

/// `countersign freeze`
#[derive(Debug, Subcommand)]
pub(crate) enum Freeze {
    /// Declare a time in which nothing is published.
    Declare {
        /// Its id.
        #[arg(value_name = "FREEZE")]
        freeze: String,
        /// The site, or `*` for all.
        #[arg(long, default_value = "*")]
        site: String,
        /// From, RFC 3339.
        #[arg(long)]
        from: String,
        /// Until, RFC 3339.
        #[arg(long)]
        until: String,
    },
    /// Lift it before its time.
    Lift {
        /// Its id.
        #[arg(value_name = "FREEZE")]
        freeze: String,
    },
}

/// `countersign connector`
#[derive(Debug, Subcommand)]
pub(crate) enum Connector {
    /// Pair with a control plane, once, by a code.
    Pair(ConnectorPair),
    /// Run beside the site until stopped.
    Run {
        /// The connector's directory.
        #[arg(long, value_name = "DIR")]
        directory: PathBuf,
        /// Where the site is served, if elsewhere than at pairing.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// Where previews are served, if elsewhere than at pairing.
        #[arg(long, value_name = "ADDR")]
        preview_listen: Option<SocketAddr>,
        /// Also stop when standard input ends.
        #[arg(long, hide = true)]
        until_stdin_closes: bool,
    },
    /// What the connector in DIR knows of itself.
    Status {
        /// The connector's directory.
        #[arg(long, value_name = "DIR")]
        directory: PathBuf,
    },
    /// Stop: nothing is executed any more until it is run again, whatever the control plane says.
    Stop {
        /// The connector's directory.
        #[arg(long, value_name = "DIR")]
        directory: PathBuf,
    },
}

/// `countersign connector pair`
#[derive(Debug, Args)]
pub(crate) struct ConnectorPair {
    /// The code, from `countersign site invite`.
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
    /// The connector's own directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Where the site is served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7401")]
    pub(crate) listen: SocketAddr,
    /// Where previews are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7402")]
    pub(crate) preview_listen: SocketAddr,
    /// Pair with another site or ledger although outcomes of the last one wait; they are kept as files.
    #[arg(long)]
    pub(crate) leave_unsaid: bool,
}

/// `countersign key`
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make an Ed25519 key in a new file.
    New {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// The public half of a key.
    Show {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `countersign completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
