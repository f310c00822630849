//! `countersign config show`: every setting in force and where it came from. What is secret is named, never shown.

use crate::arguments::{Settings, Shared};
use crate::output;
use crate::profile::Profile;
use crate::settings::{Line, Source};
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What stands where a secret would.
const HIDDEN: &str = "(set, not shown)";

/// Runs the command.
pub(crate) fn run(arguments: Settings, shared: &Shared) -> Result<ExitCode> {
    let Settings::Show(serve) = arguments;
    let config = serve.config.clone();
    let lines = serve.settings()?.lines();
    let serving: Vec<Value> = lines.iter().map(setting).collect();
    let value = json!({
        "config": config,
        "profile": shared.profile,
        "serve": serving,
        "call": calling(shared)?,
    });
    output::either(shared.json, &value, text)?;
    Ok(ExitCode::SUCCESS)
}

/// What commands that call a server are called with.
fn calling(shared: &Shared) -> Result<Vec<Value>> {
    let profile = Profile::of(shared)?;
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    // A flag that repeats what the environment says anyway is told as the environment.
    let source = |flag: Option<String>, given: &Option<String>, variable: &str| match (flag, given)
    {
        (_, None) => Source::Default,
        (Some(flag), _) if std::env::var(variable).is_ok_and(|text| text == flag) => {
            Source::Environment
        }
        (Some(_), _) => Source::Flag,
        (None, _) => Source::File,
    };
    let line = |name, variable, flag, value, about| {
        let source = source(flag, &value, variable);
        setting(&Line {
            name,
            value,
            source,
            variable,
            about,
        })
    };
    let (given, kept) = (shared.clone(), profile);
    let key = std::env::var("COUNTERSIGN_KEY").ok();
    let token = std::env::var("COUNTERSIGN_TOKEN").ok();
    let hidden = token.as_ref().map(|_| HIDDEN.to_owned());
    let keys = (key.clone(), key.or_else(|| path(&kept.key)));
    let files = (path(&given.token_file), path(&kept.token_file));
    let (server, tenant) = ("COUNTERSIGN_SERVER", "COUNTERSIGN_TENANT");
    let (token_file, key) = ("COUNTERSIGN_TOKEN_FILE", "COUNTERSIGN_KEY");
    Ok(vec![
        line("server", server, given.server, kept.server, "Its address."),
        line("tenant", tenant, given.tenant, kept.tenant, "The tenant."),
        line("site", "-", None, kept.site, "The site."),
        line("token_file", token_file, files.0, files.1, "A file."),
        line("key", key, keys.0, keys.1, "The approver's key file."),
        line("approver", "-", None, kept.approver, "Who approves."),
        line("credential", "-", None, kept.credential, "By which key."),
        line("token", "COUNTERSIGN_TOKEN", token, hidden, "The token."),
    ])
}

fn setting(line: &Line) -> Value {
    json!({
        "name": line.name,
        "value": line.value,
        "source": line.source.text(),
        "variable": line.variable,
        "about": line.about,
    })
}

fn text(value: &Value) -> String {
    let rows = |list: &str| -> Vec<Vec<String>> {
        let settings = value.get(list).and_then(Value::as_array);
        let row = |setting: &Value| {
            ["/name", "/value", "/source", "/variable"]
                .map(|path| output::field(setting, path))
                .to_vec()
        };
        settings.into_iter().flatten().map(row).collect()
    };
    format!(
        "settings file: {}\n{}\nprofile: {}\n{}",
        output::field(value, "/config"),
        output::table(&["SERVE", "VALUE", "FROM", "VARIABLE"], &rows("serve")),
        output::field(value, "/profile"),
        output::table(&["CALL", "VALUE", "FROM", "VARIABLE"], &rows("call")),
    )
}
