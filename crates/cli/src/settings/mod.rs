//! The settings of a server: declared once, read from a file, the environment and flags, later ones win.
//!
//! Each keeps where it came from, for `countersign config show`. No setting is a secret: secrets stand in files that a
//! setting names, or in the environment of a caller.

pub(crate) mod log;
mod units;

pub(crate) use units::{LogFormat, Pace, Size, Span, Text};

use crate::exit::Failure;
use anyhow::Result;
use countersign_api::{Bounds, Rates};
use countersign_service::Config;
use countersign_store::Options;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    Flag,
}

impl Source {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// A value, and where it came from; none where nobody gave one and there is no default.
#[derive(Debug, Clone)]
pub(crate) struct Sourced<T> {
    pub(crate) value: Option<T>,
    pub(crate) source: Source,
}

impl<T> Sourced<T> {
    fn of(flag: Option<T>, environment: Option<T>, file: Option<T>, default: Option<T>) -> Self {
        let layers = [
            (flag, Source::Flag),
            (environment, Source::Environment),
            (file, Source::File),
        ];
        let given = layers
            .into_iter()
            .find_map(|(value, source)| value.map(|value| (value, source)));
        match given {
            Some((value, source)) => Self {
                value: Some(value),
                source,
            },
            None => Self {
                value: default,
                source: Source::Default,
            },
        }
    }
}

/// One line of `config show`.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
    pub(crate) variable: &'static str,
    pub(crate) about: &'static str,
}

macro_rules! settings {
    ($($(#[doc = $about:literal])+ $name:ident: $type:ty = $default:expr, $variable:literal;)*) => {
        /// What one source says. Unknown names are refused: a misspelt one would be believed to work.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Layer {
            $($(#[doc = $about])+ pub(crate) $name: Option<$type>,)*
        }

        impl Layer {
            fn environment(read: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
                Ok(Self { $($name: parsed($variable, read)?,)* })
            }
        }

        /// The settings in force.
        #[derive(Debug, Clone)]
        pub(crate) struct Effective {
            $($(#[doc = $about])+ pub(crate) $name: Sourced<$type>,)*
        }

        impl Effective {
            fn layered(file: Layer, environment: Layer, flags: Layer) -> Self {
                Self { $($name: Sourced::of(flags.$name, environment.$name, file.$name, $default),)* }
            }

            /// All of them, in the order of their declaration.
            pub(crate) fn lines(&self) -> Vec<Line> {
                vec![$(Line {
                    name: stringify!($name),
                    value: self.$name.value.as_ref().map(Text::text),
                    source: self.$name.source,
                    variable: $variable,
                    about: concat!($($about),+).trim_ascii_start(),
                }),*]
            }
        }
    };
}

settings! {
    /// The ledger's directory.
    data: PathBuf = None, "COUNTERSIGN_DATA";
    /// Where to answer; put a proxy with TLS in front.
    listen: SocketAddr = Some(SocketAddr::from(([127, 0, 0, 1], 7400))), "COUNTERSIGN_LISTEN";
    /// The name in checkpoints, for a new ledger only; by default made from the ledger's id.
    origin: String = None, "COUNTERSIGN_ORIGIN";
    /// The file of the genesis key, for a new ledger only; by default beside `data`.
    genesis_key: PathBuf = None, "COUNTERSIGN_GENESIS_KEY";
    /// The directory of the policies; by default `policies` in `data`.
    policies: PathBuf = None, "COUNTERSIGN_POLICIES";
    /// What is logged, as a filter like `info,countersign=debug`.
    log: String = Some("info".to_owned()), "RUST_LOG";
    /// How it is logged: `text` or `json`.
    log_format: LogFormat = Some(LogFormat::Text), "COUNTERSIGN_LOG_FORMAT";
    /// The longest time for which a chain has changed without a signed checkpoint.
    checkpoint_age: Span = Some(Span::of(defaults().checkpoint_age)), "COUNTERSIGN_CHECKPOINT_AGE";
    /// The longest time for which chains have changed without recorded heads.
    heads_age: Span = Some(Span::of(defaults().heads_age)), "COUNTERSIGN_HEADS_AGE";
    /// How often bodies are looked for whose retention ended.
    expiry_age: Span = Some(Span::of(defaults().expiry_age)), "COUNTERSIGN_EXPIRY_AGE";
    /// How often everything that is kept is read, to find damage before somebody needs what it is in.
    sweep_age: Span = Some(Span::of(defaults().sweep_age)), "COUNTERSIGN_SWEEP_AGE";
    /// How large the journal's segments are allocated.
    segment_size: Size = Some(Size::of(Options::default().segment_bytes)), "COUNTERSIGN_SEGMENT_SIZE";
    /// How much of the journal the log behind it may lack before appends are refused.
    journal_lag: Size = Some(Size::of(Options::default().lag_bytes_max)), "COUNTERSIGN_JOURNAL_LAG";
    /// Commands that may wait for the disk, a quarter of them in one chain; more are refused.
    queue: usize = Some(Options::default().queue_requests), "COUNTERSIGN_QUEUE";
    /// Commands that one token may send in a time.
    token_commands: Pace = Some(Pace::of(Rates::of_token().commands)), "COUNTERSIGN_TOKEN_COMMANDS";
    /// Reads that one token may ask for in a time.
    token_reads: Pace = Some(Pace::of(Rates::of_token().reads)), "COUNTERSIGN_TOKEN_READS";
    /// Event streams that one token may open in a time.
    token_streams: Pace = Some(Pace::of(Rates::of_token().streams)), "COUNTERSIGN_TOKEN_STREAMS";
    /// Commands that all tokens of one tenant may send in a time.
    tenant_commands: Pace = Some(Pace::of(Rates::of_tenant().commands)), "COUNTERSIGN_TENANT_COMMANDS";
    /// Reads that all tokens of one tenant may ask for in a time.
    tenant_reads: Pace = Some(Pace::of(Rates::of_tenant().reads)), "COUNTERSIGN_TENANT_READS";
    /// Event streams that all tokens of one tenant may open in a time.
    tenant_streams: Pace = Some(Pace::of(Rates::of_tenant().streams)), "COUNTERSIGN_TENANT_STREAMS";
    /// Connections at one time; more wait.
    connections: usize = Some(Bounds::default().connections), "COUNTERSIGN_CONNECTIONS";
    /// Event streams at one time; more are refused.
    streams: usize = Some(Bounds::default().streams), "COUNTERSIGN_STREAMS";
    /// Memory of large answers that wait for their readers; more are refused.
    answers: Size = Some(Size::of(Bounds::default().answer_bytes)), "COUNTERSIGN_ANSWERS";
    /// How long the headers of a request may take, counted from the answer before.
    headers_timeout: Span = Some(Span::of(Bounds::default().headers)), "COUNTERSIGN_HEADERS_TIMEOUT";
    /// How long a request's body may take to arrive.
    body_timeout: Span = Some(Span::of(Bounds::default().body)), "COUNTERSIGN_BODY_TIMEOUT";
    /// How long a command or a read may take.
    request_timeout: Span = Some(Span::of(Bounds::default().request)), "COUNTERSIGN_REQUEST_TIMEOUT";
    /// How long a reader may take nothing before it is cut.
    stalled_timeout: Span = Some(Span::of(Bounds::default().stalled)), "COUNTERSIGN_STALLED_TIMEOUT";
    /// How long a connection may be silent before it is closed.
    idle_timeout: Span = Some(Span::of(Bounds::default().idle)), "COUNTERSIGN_IDLE_TIMEOUT";
    /// The time between two signs of life on an event stream.
    keep_alive: Span = Some(Span::of(Bounds::default().keep_alive)), "COUNTERSIGN_KEEP_ALIVE";
    /// How long requests under way may take when the server stops.
    drain: Span = Some(Span::of(Bounds::default().drain)), "COUNTERSIGN_DRAIN";
}

/// The service's own defaults; nothing is opened by asking for them.
fn defaults() -> Config {
    Config::new("", "")
}

/// The smallest and the largest segment; a smaller one holds too few frames, a larger one is copied as a whole by a backup.
const SEGMENT_SIZES: (Size, Size) = (Size::of(1 << 20), Size::of(4 << 30));
/// A quarter of it is one tenant's, and a blob can be 64 MiB.
const ANSWERS: (Size, Size) = (Size::of(256 << 20), Size::of(1 << 40));
/// The shortest and the longest queue; in a shorter one a tenant's share is next to nothing, a longer one only makes callers
/// wait for what they could send again.
const QUEUES: (usize, usize) = (8, 1 << 20);

impl Effective {
    /// What the file, the environment of this process and the flags come to.
    pub(crate) fn of(file: Option<&Path>, flags: Layer) -> Result<Self> {
        let read = |name: &str| std::env::var(name).ok();
        Self::from_layers(file, &read, flags)
    }

    fn from_layers(
        file: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
        flags: Layer,
    ) -> Result<Self> {
        let file = file.map_or_else(|| Ok(Layer::default()), in_file)?;
        let mut all = Self::layered(file, Layer::environment(environment)?, flags);
        if let (None, Some(data)) = (&all.genesis_key.value, &all.data.value) {
            let beside = data.parent().unwrap_or_else(|| Path::new(""));
            all.genesis_key.value = Some(beside.join("genesis.pem"));
        }
        if let (None, Some(data)) = (&all.policies.value, &all.data.value) {
            all.policies.value = Some(data.join("policies"));
        }
        all.check()?;
        Ok(all)
    }

    fn check(&self) -> Result<()> {
        for (name, size, (least, most)) in [
            ("segment_size", &self.segment_size, SEGMENT_SIZES),
            ("journal_lag", &self.journal_lag, SEGMENT_SIZES),
            ("answers", &self.answers, ANSWERS),
        ] {
            if let Some(value) = size.value.filter(|size| !(least..=most).contains(size)) {
                let message = format!("`{name}` is {value}; it must be {least} to {most}");
                return Err(Failure::usage(message).into());
            }
        }
        let (least, most) = QUEUES;
        if let Some(number) = self
            .queue
            .value
            .filter(|number| !(least..=most).contains(number))
        {
            let message = format!("`queue` is {number}; it must be {least} to {most}");
            return Err(Failure::usage(message).into());
        }
        for (name, number) in [
            ("connections", &self.connections),
            ("streams", &self.streams),
        ] {
            if number.value == Some(0) {
                return Err(Failure::usage(format!("`{name}` is 0; nobody could connect")).into());
            }
        }
        Ok(())
    }
}

/// The layer in a TOML file.
fn in_file(path: &Path) -> Result<Layer> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read `{}`: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| {
        let message = format!("`{}` is not a configuration: {error}", path.display());
        Failure::usage(message).into()
    })
}

/// A variable as a value; an empty one counts as not set.
fn parsed<T: Text>(variable: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Option<T>> {
    let Some(text) = read(variable).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wrong = |what: String| Failure::usage(format!("{variable}: {what}"));
    Ok(Some(T::parse(&text).map_err(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::{Effective, Layer, Source};
    use std::path::Path;

    #[track_caller]
    fn effective(
        file: &str,
        environment: &[(&str, &str)],
        flags: Layer,
    ) -> Result<Effective, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("countersign.toml");
        std::fs::write(&path, file).unwrap();
        let read = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Effective::from_layers(Some(&path), &read, flags).map_err(|error| error.to_string())
    }

    #[test]
    fn later_sources_win_and_each_value_names_its_own() {
        let file = "data = '/srv/one'\nlisten = '127.0.0.1:1'\nheads_age = '2m'\n";
        let flags = Layer {
            listen: Some(([127, 0, 0, 1], 3).into()),
            ..Layer::default()
        };
        let environment = [
            ("COUNTERSIGN_DATA", "/srv/two"),
            ("COUNTERSIGN_LISTEN", "127.0.0.1:2"),
            ("COUNTERSIGN_ORIGIN", ""),
        ];
        let all = effective(file, &environment, flags).unwrap();
        let told = |name: &str| {
            let line = all.lines().into_iter().find(|line| line.name == name);
            let line = line.unwrap();
            (line.value, line.source)
        };
        let given = |value: &str, source| (Some(value.to_owned()), source);
        assert_eq!(told("data"), given("/srv/two", Source::Environment));
        assert_eq!(told("listen"), given("127.0.0.1:3", Source::Flag));
        assert_eq!(told("heads_age"), given("2m", Source::File));
        assert_eq!(told("segment_size"), given("64MiB", Source::Default));
        assert_eq!(told("origin"), (None, Source::Default));
        assert_eq!(
            all.genesis_key.value.as_deref(),
            Some(Path::new("/srv/genesis.pem"))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (file, environment, part) in [
            ("date = '/srv'", None, "unknown field `date`"),
            ("heads_age = 60", None, "heads_age"),
            ("heads_age = '60'", None, "`500ms`"),
            ("segment_size = '1KiB'", None, "1MiB to 4GiB"),
            ("streams = 0", None, "nobody could connect"),
            ("answers = '255MiB'", None, "256MiB to 1TiB"),
            ("queue = 7", None, "8 to 1048576"),
            ("queue = 1048577", None, "8 to 1048576"),
            ("queue = -1", None, "queue"),
            ("token_reads = 100", None, "token_reads"),
            ("token_reads = '100'", None, "`200/s`"),
            ("tenant_commands = '0/s'", None, "`off`"),
            (
                "",
                Some(("COUNTERSIGN_TENANT_STREAMS", "many")),
                "COUNTERSIGN_TENANT_STREAMS: `many`",
            ),
            (
                "",
                Some(("COUNTERSIGN_DRAIN", "soon")),
                "COUNTERSIGN_DRAIN: `soon`",
            ),
        ] {
            let environment: Vec<_> = environment.into_iter().collect();
            let error = effective(file, &environment, Layer::default()).unwrap_err();
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
