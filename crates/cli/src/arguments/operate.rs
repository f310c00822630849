//! Arguments of the commands that set up and run the parts.

use crate::settings::{Effective, Layer, LogFormat};
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

/// `countersign serve`, and what `countersign config show` takes to say what `serve` would do.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The settings, a TOML file; environment and flags win over it.
    #[arg(long, value_name = "FILE", env = "COUNTERSIGN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where the ledger is kept (or COUNTERSIGN_DATA).
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where to answer (or COUNTERSIGN_LISTEN).
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The origin of this ledger's checkpoints, a name like `ledger.example.org`; needed once, to create the ledger (or
    /// COUNTERSIGN_ORIGIN).
    #[arg(long, value_name = "NAME")]
    pub(crate) origin: Option<String>,
    /// Where the genesis key of a new ledger is written; keep it offline afterwards. Beside the data directory by default (or
    /// COUNTERSIGN_GENESIS_KEY).
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis_key: Option<PathBuf>,
    /// What is logged, like `info,countersign=debug` (or RUST_LOG).
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// `text` or `json` (or COUNTERSIGN_LOG_FORMAT).
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl Serve {
    /// What these flags, the environment and the file come to.
    pub(crate) fn settings(self) -> anyhow::Result<Effective> {
        let flags = Layer {
            data: self.data,
            listen: self.listen,
            origin: self.origin,
            genesis_key: self.genesis_key,
            log: self.log,
            log_format: self.log_format,
            ..Layer::default()
        };
        Effective::of(self.config.as_deref(), flags)
    }
}

/// `countersign config`
#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Every setting in force, and where it came from. No secret is shown.
    Show(Serve),
}

/// `countersign doctor`: a directory, or the server of `--server`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// A data directory, live or stopped; without one the server is asked.
    #[arg(value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where the policies stand, if not in DATA/policies.
    #[arg(long, value_name = "DIR", requires = "data")]
    pub(crate) policies: Option<PathBuf>,
}

/// `countersign backup`
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The data directory, of a running server or a stopped one.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The directory of the backups; what it holds already is not copied again.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// How many backups are kept in it, the new one included.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) keep: std::num::NonZeroUsize,
    /// Where the policies stand, if not in DATA/policies.
    #[arg(long, value_name = "DIR")]
    pub(crate) policies: Option<PathBuf>,
}

/// `countersign restore`
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The directory of the backups.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The data directory to make. What stands there is set aside.
    #[arg(long, value_name = "DATA")]
    pub(crate) to: PathBuf,
    /// Which backup, by its number; the newest by default.
    #[arg(long, value_name = "N")]
    pub(crate) number: Option<u64>,
    /// A copy of DATA/keys, which no backup holds; by default those of the directory that is replaced.
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// A signed checkpoint that somebody has seen: the backup must hold at least that much. Repeatable.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) at_least: Vec<PathBuf>,
    /// Restore although events that were acknowledged are lost by it.
    #[arg(long)]
    pub(crate) lose_acknowledged_events: bool,
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
    /// Note what goes on at a site; the words go when the retention of operational bodies ends, and name no person.
    Remark {
        /// The site.
        #[arg(value_name = "SITE")]
        site: String,
        /// The words.
        #[arg(value_name = "TEXT")]
        text: String,
    },
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

/// `countersign retention`
#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// What is kept, for how long, and what is being removed.
    Show,
    /// Keep operational bodies for so many days; 0 removes them when they are looked for next.
    Set {
        /// Days, at most what the platform keeps.
        #[arg(value_name = "DAYS")]
        days: u32,
    },
    /// Keep heartbeats for so many days; 0 prunes them as soon as they are recorded.
    Beats {
        /// Days, at most what the platform keeps.
        #[arg(value_name = "DAYS")]
        days: u32,
    },
}

/// `countersign erase`
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The person, as events name who acts; with --subject the random name of the data subject, as headers have it.
    #[arg(value_name = "WHO")]
    pub(crate) who: String,
    /// WHO is a data subject.
    #[arg(long)]
    pub(crate) subject: bool,
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

/// `countersign keys`
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// The keys of the ledger, by its key statements; ended ones too.
    List,
    /// End a key of the server and bring in a new one, which the server makes. Needs a token of role `admin`.
    Rotate {
        /// What the key signs: `checkpoint` or `order`.
        #[arg(value_name = "USE", value_parser = ["checkpoint", "order"])]
        r#use: String,
    },
}

/// `countersign projections`
#[derive(Debug, Subcommand)]
pub(crate) enum Projections {
    /// The read models, how far those are that are made again, and where one stopped.
    List,
    /// How many events and bytes making one again takes, and about how long. Nothing is begun.
    Cost {
        /// Its name.
        #[arg(value_name = "NAME")]
        projection: String,
    },
    /// Make one again in every chain; what is there is served until the new one reaches as far.
    Rebuild {
        /// Its name.
        #[arg(value_name = "NAME")]
        projection: String,
        /// Wait until it is served.
        #[arg(long)]
        wait: bool,
    },
}

/// `countersign completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}
