//! A running server: what it says of itself, and whether its clock is ours.

use super::figures::{self, Figures};
use super::finding::Finding;
use crate::client::{self, Answer};
use crate::exit::Failure;
use crate::moment;
use crate::profile::Profile;
use anyhow::{Context as _, Result};
use countersign_transport::codes::CLOCK_SKEW;
use serde::Deserialize;
use std::time::{Duration, SystemTime};

/// Connectors and plane refuse each other's messages beyond this.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// What `/readyz` says.
#[derive(Deserialize)]
struct Ready {
    ready: bool,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

/// Everything that the server of a profile says. Without a token its figures are not asked for.
pub(crate) async fn examine(profile: &Profile) -> Result<Vec<Finding>> {
    let server = profile.server()?;
    let lives = client::open(server, "/livez", None).await?;
    if !lives.status.is_success() {
        let message = format!("`{server}` answers, but not as a control plane does");
        return Err(Failure::unavailable(message).into());
    }
    let mut findings = vec![Finding::fine("server", format!("`{server}` answers"))];
    findings.extend(clock(&lives, SystemTime::now()));
    let ready = client::open(server, "/readyz", None).await?;
    findings.extend(readiness(&ready.bytes)?);
    let Ok(token) = profile.token() else {
        let what = "not asked for: that takes an administrator's token";
        findings.push(Finding::fine("figures", what));
        return Ok(findings);
    };
    let shown = client::open(server, "/metrics", Some(&token)).await?;
    if shown.status.is_success() {
        let figures = Figures::parse(&String::from_utf8_lossy(&shown.bytes));
        let now = Duration::from_millis(moment::now()?.unix_millis());
        findings.extend(figures::examine(&figures, now.as_secs_f64()));
    } else {
        let what = format!("not shown for this token: {}", shown.status);
        findings.push(Finding::fine("figures", what));
    }
    Ok(findings)
}

/// What the server finds wrong itself.
fn readiness(body: &[u8]) -> Result<Vec<Finding>> {
    let ready: Ready =
        serde_json::from_slice(body).context("`/readyz` did not answer as it should")?;
    let mut findings: Vec<Finding> = ready
        .problems
        .into_iter()
        .map(|problem| Finding::wrong_at_server("ready", problem.code, problem.detail))
        .collect();
    if ready.ready {
        findings.push(Finding::fine("ready", "commands are taken"));
    }
    Ok(findings)
}

/// The `Date` of an answer, compared with our clock.
fn clock(answer: &Answer, now: SystemTime) -> Option<Finding> {
    let theirs = httpdate(answer.date.as_deref()?)?;
    let apart = now
        .duration_since(theirs)
        .unwrap_or_else(|behind| behind.duration());
    let what = format!("the server's clock is {} s from this one", apart.as_secs());
    Some(if apart > SKEW_MAX {
        Finding::wrong("clock", CLOCK_SKEW, what)
    } else {
        Finding::fine("clock", what)
    })
}

/// An IMF-fixdate (RFC 9110 section 5.6.7), which is what servers send.
fn httpdate(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, date) = text.split_once(", ")?;
    let mut parts = date.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS
        .iter()
        .position(|name| *name == month)?
        .checked_add(1)?;
    let text = format!("{year}-{month:02}-{day}T{time}.000Z");
    let time: countersign_ids::Time = text.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(time.unix_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn clocks_apart_are_found_either_way() {
        let answer = Answer {
            status: reqwest::StatusCode::OK,
            date: Some("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()),
            bytes: Vec::new(),
        };
        let theirs = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (ours, severity) in [
            (theirs, Severity::Fine),
            (theirs + SKEW_MAX, Severity::Fine),
            (theirs + SKEW_MAX + Duration::from_secs(1), Severity::Wrong),
            (theirs - SKEW_MAX - Duration::from_secs(1), Severity::Wrong),
        ] {
            assert_eq!(clock(&answer, ours).unwrap().severity(), severity);
        }
    }

    #[test]
    fn what_the_server_finds_wrong_is_wrong() {
        let body = br#"{"ready":false,"problems":[{"code":"disk-full","detail":"no space"}]}"#;
        let findings = readiness(body).unwrap();
        assert!(findings[0].is("ready", Severity::Wrong, "disk-full"));
        assert_eq!(findings.len(), 1);
        assert!(readiness(b"<html>").is_err());
    }
}
