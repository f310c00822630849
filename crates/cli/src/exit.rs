//! How the program ends: exit codes, and errors as a person or a program wants to read them.

use countersign_ids::Code;
use std::fmt;
use std::process::ExitCode;

/// What `--help` says about exit codes.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   refused: a rule said no, or a check failed; the code of the refusal is printed
  2   not possible now: nobody answered, something is missing or overloaded; trying again may help
  3   waited for an action, and it ended without success
  64  wrong usage";

/// An end without success.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    code: Option<String>,
    message: String,
    hint: Option<String>,
}

/// Which exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A rule or a check said no.
    Refused,
    /// It may work later.
    Unavailable,
    /// The caller asked for something that makes no sense.
    Usage,
}

impl Failure {
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Refused,
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Unavailable,
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    /// With one of our own codes.
    pub(crate) fn with_code(self, code: Code) -> Self {
        self.with_code_of_server(code.id)
    }

    /// With the code that a server sent.
    pub(crate) fn with_code_of_server(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The stable code of the refusal, if it has one.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error and its causes on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// The exit code of an action that ended without success while somebody waited for it.
pub(crate) fn ended_badly() -> ExitCode {
    ExitCode::from(3)
}

/// What clap found wrong with the arguments; help and version are no error.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    error.print().ok();
    if error.use_stderr() {
        ExitCode::from(64)
    } else {
        ExitCode::SUCCESS
    }
}

/// Prints an error once, with its causes, and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let failure = error.downcast_ref::<Failure>();
    let code = failure.and_then(Failure::code);
    let hint = failure.and_then(|failure| failure.hint.as_deref());
    if json {
        let value = serde_json::json!({ "error": { "code": code, "message": format!("{error:#}"), "hint": hint } });
        crate::output::note(format_args!("{value}"));
    } else {
        match code {
            Some(code) => crate::output::note(format_args!("error[{code}]: {error:#}")),
            None => crate::output::note(format_args!("error: {error:#}")),
        }
        if let Some(hint) = hint {
            crate::output::note(format_args!("hint: {hint}"));
        }
    }
    match failure.map(|failure| failure.kind) {
        Some(Kind::Refused) => ExitCode::from(1),
        Some(Kind::Usage) => ExitCode::from(64),
        Some(Kind::Unavailable) | None => ExitCode::from(2),
    }
}
