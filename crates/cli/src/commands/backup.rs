//! `countersign backup` and `countersign restore`: what they did, for people and programs.

use crate::arguments::{Backup, Restore, Shared};
use crate::client::Client;
use crate::exit::{Failure, with_causes};
use crate::moment;
use crate::output::{self, Facts, field};
use crate::profile::Profile;
use crate::progress::Progress;
use anyhow::{Context as _, Result};
use countersign_chain::{Checkpoint, note::Note};
use countersign_ids::{Code, TenantId};
use countersign_store::backup::{self, Known, Restored, Taken};
use countersign_store::read::Reader;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Takes a backup.
pub(crate) fn take(arguments: &Backup, as_json: bool) -> Result<ExitCode> {
    let options = backup::Take {
        now: moment::now()?,
        keep: arguments.keep.get(),
        policies: arguments
            .policies
            .clone()
            .unwrap_or_else(|| arguments.data.join("policies")),
    };
    let segments = Reader::open(&arguments.data).and_then(|reader| reader.segments());
    let bytes = segments.iter().flatten().map(|segment| segment.bytes).sum();
    let progress = Progress::bytes("backing up", bytes);
    let mut done = 0_u64;
    let taken = backup::take(&arguments.data, &arguments.to, &options, &mut |more| {
        done = done.saturating_add(more);
        progress.at(done);
    });
    progress.finish();
    let taken = taken.map_err(|error| failure(&error))?;
    output::either(as_json, &told(&taken), |value| {
        let mut facts = Facts::default();
        facts
            .add("backup", field(value, "/backup"))
            .add("events", field(value, "/events"))
            .add("journal ends at", field(value, "/position"))
            .add("segments copied", field(value, "/segments_copied"))
            .add("segments held already", field(value, "/segments_linked"))
            .add(
                "backups removed because they held what was removed",
                field(value, "/backups_removed"),
            )
            .add("bytes copied", field(value, "/bytes_copied"))
            .add("files copied", field(value, "/blobs_copied"))
            .add("keys", "none: they are kept apart, see docs/operations.md");
        facts.text()
    })?;
    for lost in &taken.blobs_lost {
        output::note(format_args!("not copied: {lost}"));
    }
    for unread in &taken.backups_unread {
        output::note(format_args!(
            "an older backup cannot be read and may hold what was removed: {unread}"
        ));
    }
    Ok(
        if taken.blobs_lost.is_empty() && taken.backups_unread.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        },
    )
}

fn told(taken: &Taken) -> Value {
    let chains = taken.manifest.sizes();
    json!({
        "backup": taken.path,
        "ledger": taken.manifest.ledger,
        "made": taken.manifest.made,
        "position": taken.manifest.position,
        "events": chains.values().sum::<u64>(),
        "chains": chains,
        "segments_copied": taken.segments_copied,
        "segments_linked": taken.segments_linked,
        "backups_removed": taken.backups_removed,
        "backups_unread": taken.backups_unread,
        "bytes_copied": taken.bytes_copied,
        "blobs_copied": taken.blobs_copied,
        "blobs_lost": taken.blobs_lost,
    })
}

/// Restores a backup.
pub(crate) async fn restore(arguments: Restore, shared: &Shared) -> Result<ExitCode> {
    let mut known = arguments
        .at_least
        .iter()
        .map(|path| checkpoint(path))
        .collect::<Result<Vec<_>>>()?;
    let profile = Profile::of(shared)?;
    if profile.server.is_some() {
        known.extend(of_server(&profile).await?);
    }
    let options = backup::Restore {
        number: arguments.number,
        keys: arguments.keys.clone(),
        known,
        lose: arguments.lose_acknowledged_events,
    };
    let progress = Progress::bytes("restoring", 0);
    let mut done = 0_u64;
    let restored = backup::restore(&arguments.from, &arguments.to, &options, &mut |more| {
        done = done.saturating_add(more);
        progress.at(done);
    });
    progress.finish();
    let restored = restored.map_err(|error| failure(&error))?;
    let value = outcome(&restored, &arguments.to);
    output::either(shared.json, &value, |value| {
        let mut facts = Facts::default();
        facts
            .add("restored", field(value, "/restored"))
            .add("from", field(value, "/from"))
            .add("events", field(value, "/events"))
            .add("set aside", field(value, "/set_aside"))
            .add("keys", field(value, "/keys"));
        facts.text()
    })?;
    for lost in &restored.lost {
        output::note(format_args!("lost: {lost}"));
    }
    if !restored.with_keys {
        let keys = arguments.to.join("keys");
        output::note(format_args!(
            "put the keys into `{}` before the server is started",
            keys.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn outcome(restored: &Restored, to: &Path) -> Value {
    let chains = restored.manifest.sizes();
    let lost: Vec<String> = restored.lost.iter().map(ToString::to_string).collect();
    json!({
        "restored": to,
        "from": restored.from,
        "ledger": restored.manifest.ledger,
        "made": restored.manifest.made,
        "events": chains.values().sum::<u64>(),
        "chains": chains,
        "set_aside": restored.set_aside,
        "keys": if restored.with_keys { "in place" } else { "missing" },
        "lost": lost,
    })
}

/// What a signed checkpoint says. Its signature is not asked for: a forged one can only keep us from restoring.
fn checkpoint(path: &Path) -> Result<Known> {
    let wrong =
        |what: String| Failure::usage(format!("`{}` is no checkpoint: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let note = Note::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    let read = Checkpoint::parse(note.text()).map_err(|error| wrong(error.to_string()))?;
    let chain = read
        .origin
        .rsplit('/')
        .find_map(|part| part.parse().ok())
        .ok_or_else(|| wrong("its origin names no chain".to_owned()))?;
    Ok(Known {
        chain,
        size: read.head.size,
        root: Some(read.head.root),
        head: None,
        from: format!("the checkpoint `{}`", path.display()),
    })
}

/// How far a running server is, as its administrator sees it.
async fn of_server(profile: &Profile) -> Result<Vec<Known>> {
    let server = profile.server()?.to_owned();
    let answer = Client::of(profile)?.get("/v1/tenants").await?;
    let tenants = answer.get("items").and_then(Value::as_array);
    let known = |tenant: &Value| {
        let id: TenantId = tenant.get("tenant")?.as_str()?.parse().ok()?;
        Some(Known {
            chain: id.chain(),
            size: tenant.get("size")?.as_u64()?,
            root: None,
            head: None,
            from: format!("the server `{server}`"),
        })
    };
    tenants
        .context("the server did not name its tenants")?
        .iter()
        .map(|tenant| known(tenant).context("the server did not name its tenants"))
        .collect()
}

fn failure(error: &backup::Error) -> anyhow::Error {
    let code: Code = error.code();
    let text = with_causes(error);
    let failure = match error {
        backup::Error::Store(_) => Failure::unavailable(text),
        backup::Error::WouldLose { .. } | backup::Error::OtherHistory { .. } => {
            Failure::refused(text).with_hint("--lose-acknowledged-events restores all the same")
        }
        backup::Error::NotABackup { .. }
        | backup::Error::Damaged { .. }
        | backup::Error::Target { .. } => Failure::refused(text),
    };
    failure.with_code(code).into()
}
