//! What each command does, from parsed arguments to an exit code.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use countersign_ids::Code;

use super::{
    Command, DiffArgs, ExportArgs, ProveArgs, RebuildArgs, ShowArgs, TimelineArgs, USAGE,
    VerifyArgs, resume,
};
use crate::codes;
use crate::cost::cost;
use crate::diff::diff;
use crate::export::{self, ExportError, Period, Scope};
use crate::open::open;
use crate::progress::Progress;
use crate::prove::{ProveError, prove};
use crate::rebuild::{RebuildError, rebuild};
use crate::report::Verdict;
use crate::settled::read_settled;
use crate::show::{Filter, ShowError, Style, show};
use crate::source::{Source, SourceError};
use crate::timeline::timeline;
use crate::verdict::Demands;
use crate::verify::{GenesisPin, PinError, Pins, Verified, parse_keys, verify_from};

/// What is said of a bundle that may lack an explanation.
const UNSETTLED: &str = "bodies were ordered to go whenever the ledger was read; one that is gone may lack its event in this bundle: export again";

/// A failure with the exit code and the page that go with it.
pub(super) struct Failure {
    pub(super) exit: u8,
    pub(super) code: Option<Code>,
    pub(super) message: String,
}

/// Runs one command; gives the exit code.
pub fn run(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let outcome = match command {
        Command::Verify(arguments) => run_verify(arguments, out, err),
        Command::Show(arguments) => run_show(arguments, out),
        Command::Export(arguments) => run_export(arguments, out, err),
        Command::Rebuild(arguments) => run_rebuild(arguments, out),
        Command::Prove(arguments) => run_prove(arguments, out),
        Command::Timeline(arguments) => run_timeline(arguments, out),
        Command::Diff(arguments) => run_diff(arguments, out),
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            let code = failure
                .code
                .map(|code| format!(" [{}]", code.id))
                .unwrap_or_default();
            // Nothing is left to do if standard error is gone too.
            writeln!(err, "replay: {}{code}", failure.message).ok();
            failure.exit
        }
    }
}

fn run_verify(
    arguments: &VerifyArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let pins = read_pins(arguments)?;
    let demands = Demands {
        allow: arguments.allow.iter().copied().collect(),
        strict: arguments.strict,
        through: arguments.through,
        threads: arguments.threads,
    };
    let mut progress = Progress::on_terminal();
    // What is wrong may be a body that an event behind the end orders to go.
    let is_wrong = |verified: &Verified| verified.verdict.exit != 0;
    let read = |source: &mut dyn Source, _| {
        let from = resume::read(arguments.from.as_deref(), source, &pins).map_err(Stop::Before)?;
        Ok(verify_from(source, from, (&pins, &demands), &mut progress)?)
    };
    let verified = match read_settled(&arguments.source, read, is_wrong) {
        Ok(reading) => reading.outcome,
        Err(Stop::Before(failure)) => return Err(failure),
        Err(Stop::Unread(error)) => Verified {
            verdict: Verdict::of_unread(&arguments.source, &error).ok_or(error)?,
            state: None,
        },
    };
    let verdict = &verified.verdict;
    let text = if arguments.json {
        verdict.to_json() + "\n"
    } else {
        verdict.to_text()
    };
    out.write_all(text.as_bytes())?;
    if let Some(path) = &arguments.save {
        resume::save(path, &verified, err)?;
    }
    Ok(verdict.exit)
}

/// Why there is no verification.
enum Stop {
    /// What it should go on from does not fit.
    Before(Failure),
    /// The source cannot be read.
    Unread(SourceError),
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Unread(error)
    }
}

fn read_pins(arguments: &VerifyArgs) -> Result<Pins, Failure> {
    let keys = |path: &Option<std::path::PathBuf>| -> Result<_, Failure> {
        path.as_deref()
            .map(|path| Ok(parse_keys(&read_text(path)?)?))
            .transpose()
    };
    Ok(Pins {
        genesis: arguments
            .genesis
            .as_deref()
            .map(GenesisPin::parse)
            .transpose()?,
        approvers: keys(&arguments.approvers)?,
        connectors: keys(&arguments.connectors)?,
        witnesses: keys(&arguments.witnesses)?,
        at_least: arguments.at_least.as_deref().map(read_text).transpose()?,
    })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |error| SourceError::Io {
        path: path.display().to_string(),
        error,
    };
    Ok(fs::read_to_string(path).map_err(failed)?)
}

fn style(json: bool) -> Style {
    if json { Style::Json } else { Style::Text }
}

fn run_show(arguments: &ShowArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let source = open(&arguments.source)?;
    let filter = Filter {
        chain: arguments.chain.clone(),
        from: arguments.from,
        limit: arguments.limit,
        event_type: arguments.event_type.clone(),
        action: arguments.action.clone(),
    };
    show(source.as_ref(), &filter, style(arguments.json), out)?;
    Ok(0)
}

fn run_diff(arguments: &DiffArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let (one, other) = (open(&arguments.one)?, open(&arguments.other)?);
    let found = diff(one.as_ref(), other.as_ref(), &mut Progress::on_terminal())?;
    let text = match arguments.json {
        true => found.to_json() + "\n",
        false => found.to_text(),
    };
    out.write_all(text.as_bytes())?;
    Ok(found.exit())
}

fn run_timeline(arguments: &TimelineArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let source = open(&arguments.source)?;
    let (tenant, action) = (arguments.tenant.as_deref(), arguments.action.as_deref());
    timeline(source.as_ref(), tenant, action, style(arguments.json), out)?;
    Ok(0)
}

fn run_export(
    arguments: &ExportArgs,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let scope = Scope {
        tenant: arguments.tenant.clone(),
        attachments: arguments.attachments,
        period: Period {
            from: arguments.from,
            until: arguments.until,
        },
    };
    let mut progress = Progress::on_terminal();
    let read = |source: &mut dyn Source, reading| {
        if reading > 0 {
            fs::remove_file(&arguments.out)?;
        }
        let exported = export::export(source, &scope, &arguments.out, &mut progress)?;
        Ok::<_, Failure>(exported)
    };
    let reading = read_settled(&arguments.source, read, |_| true)?;
    let mut exported = reading.outcome;
    if !reading.settled {
        exported.warnings.push(UNSETTLED.to_owned());
    }
    for warning in &exported.warnings {
        writeln!(err, "replay: {warning}")?;
    }
    if arguments.json {
        writeln!(
            out,
            "{}",
            serde_json::to_string(&exported).unwrap_or_default()
        )?;
    } else {
        writeln!(
            out,
            "wrote {}: {} events of {} chains, {} blobs, {} bytes, {}",
            arguments.out.display(),
            exported.events,
            exported.chains,
            exported.blobs,
            exported.bytes,
            exported.digest
        )?;
    }
    Ok(0)
}

fn run_rebuild(arguments: &RebuildArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut progress = Progress::on_terminal();
    if arguments.cost {
        let cost = cost(&arguments.source, &mut progress)?;
        let text = if arguments.json {
            cost.to_json() + "\n"
        } else {
            cost.to_text()
        };
        out.write_all(text.as_bytes())?;
        return Ok(0);
    }
    let report = rebuild(&arguments.source, arguments.check, &mut progress)?;
    let text = if arguments.json {
        report.to_json() + "\n"
    } else {
        report.to_text()
    };
    out.write_all(text.as_bytes())?;
    Ok(report.exit())
}

fn run_prove(arguments: &ProveArgs, out: &mut dyn Write) -> Result<u8, Failure> {
    let source = open(&arguments.source)?;
    let proof = prove(source.as_ref(), &arguments.chain, arguments.sequence)?.to_string();
    match &arguments.out {
        None => out.write_all(proof.as_bytes())?,
        Some(path) => {
            let failed = |error| SourceError::Io {
                path: path.display().to_string(),
                error,
            };
            fs::write(path, proof).map_err(failed)?;
        }
    }
    Ok(0)
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let message = chain(&error);
        Self {
            exit: error.exit(),
            code: Some(error.code()),
            message,
        }
    }
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        Self {
            exit: USAGE,
            code: None,
            message: error.to_string(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            exit: USAGE,
            code: None,
            message: format!("cannot write the output: {error}"),
        }
    }
}

impl From<ShowError> for Failure {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Source(error) => error.into(),
            ShowError::Output(error) => error.into(),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Source(error) => error.into(),
            error => Self {
                exit: error.exit(),
                code: Some(codes::EXPORT),
                message: chain(&error),
            },
        }
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Source(error) => error.into(),
            error => Self {
                exit: 2,
                code: Some(codes::NOT_FOUND),
                message: chain(&error),
            },
        }
    }
}

impl From<RebuildError> for Failure {
    fn from(error: RebuildError) -> Self {
        match error {
            RebuildError::Source(error) => error.into(),
            error => Self {
                exit: error.exit(),
                code: Some(error.code()),
                message: chain(&error),
            },
        }
    }
}

/// An error and its causes on one line, printed once, here.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}
