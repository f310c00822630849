//! `countersign doctor`: what is wrong, what is safe, what to do. It reads only, from a directory or from a server.

mod directory;
mod figures;
mod files;
mod finding;
mod journal;
mod server;
#[cfg(test)]
mod tests;

use crate::arguments::{Doctor, Shared};
use crate::output;
use anyhow::Result;
use finding::{Finding, Severity};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Looks at a data directory.
pub(crate) fn directory(arguments: &Doctor, shared: &Shared) -> Result<Option<ExitCode>> {
    let Some(data) = &arguments.data else {
        return Ok(None);
    };
    let findings = directory::examine(data, arguments.policies.as_deref())?;
    let subject = data.display().to_string();
    report(&subject, &findings, shared.json).map(Some)
}

/// Looks at a running server.
pub(crate) async fn server(shared: &Shared) -> Result<ExitCode> {
    let profile = crate::profile::Profile::of(shared)?;
    let findings = server::examine(&profile).await?;
    report(profile.server()?, &findings, shared.json)
}

/// Prints the findings, worst last, where a terminal shows them; 1 if something is wrong.
fn report(subject: &str, findings: &[Finding], json: bool) -> Result<ExitCode> {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| finding.severity());
    let worst = ordered.last().map(|finding| finding.severity());
    let wrong = worst == Some(Severity::Wrong);
    let value = json!({
        "examined": subject,
        "wrong": wrong,
        "findings": ordered.iter().map(|finding| finding.json()).collect::<Vec<Value>>(),
    });
    output::either(json, &value, |_| {
        let mut text: String = ordered.iter().map(|finding| finding.text()).collect();
        text.push_str(match worst {
            Some(Severity::Wrong) => "something is wrong\n",
            _ => "nothing is wrong\n",
        });
        text
    })?;
    Ok(if wrong {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    })
}
