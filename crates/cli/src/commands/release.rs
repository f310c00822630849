//! `countersign release`: uploading a directory as a release, and listing what there is.

use super::Caller;
use crate::arguments::Release;
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::output;
use anyhow::Result;
use countersign_connector::site::Manifest;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn run(caller: Caller, arguments: Release) -> Result<ExitCode> {
    match arguments {
        Release::Add {
            directory,
            label,
            site,
        } => {
            let site = caller.profile.site(site.as_deref())?;
            let manifest = read(&label, &directory)?;
            let added = upload(&caller, &site, manifest).await?;
            output::either(caller.json, &added, |value| {
                output::field(value, "/release")
            })?;
        }
        Release::List { site } => {
            let site = caller.profile.site(site.as_deref())?;
            let releases = caller
                .client
                .get(&caller.path(&format!("/sites/{site}/releases"))?)
                .await?;
            output::either(caller.json, &releases, |value| {
                let rows: Vec<Vec<String>> = items(value)
                    .iter()
                    .map(|release| {
                        vec![
                            output::field(release, "/label"),
                            output::field(release, "/release"),
                        ]
                    })
                    .collect();
                output::table(&["LABEL", "RELEASE"], &rows)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A release to be uploaded: its manifest, and every file.
pub(crate) type Upload = (Manifest, Vec<Vec<u8>>);

/// Reads a directory as a release.
fn read(label: &str, directory: &Path) -> Result<Upload> {
    let (manifest, files) = Manifest::of_directory(label, directory)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok((manifest, files.into_values().collect()))
}

/// Uploads files, manifest and the fact that there is this release, in this order.
pub(crate) async fn upload(
    caller: &Caller,
    site: &str,
    (manifest, files): Upload,
) -> Result<Value> {
    for file in files {
        put(caller, file).await?;
    }
    let release = manifest.digest().to_string();
    put(caller, manifest.bytes().to_vec()).await?;
    let body = json!({ "release": release, "label": manifest.label() });
    let path = caller.path(&format!("/sites/{site}/releases"))?;
    caller
        .client
        .post(&path, Some(&fresh_key()?), &body)
        .await?;
    Ok(json!({ "release": release, "label": manifest.label(), "files": manifest.files().len() }))
}

async fn put(caller: &Caller, bytes: Vec<u8>) -> Result<()> {
    let digest = countersign_chain::sha256(&bytes);
    caller
        .client
        .put(&caller.path(&format!("/blobs/{digest}"))?, bytes)
        .await
}

/// The digest of the release that `name` means: itself, or the newest of that label.
pub(crate) async fn resolve(caller: &Caller, site: &str, name: &str) -> Result<String> {
    if name.starts_with("sha256:") {
        return Ok(name.to_owned());
    }
    let releases = caller
        .client
        .get(&caller.path(&format!("/sites/{site}/releases"))?)
        .await?;
    let found = items(&releases)
        .iter()
        .rev()
        .find(|release| output::field(release, "/label") == name);
    let found = found.ok_or_else(|| {
        Failure::usage(format!("the site `{site}` has no release `{name}`"))
            .with_hint("see `countersign release list`")
    })?;
    Ok(output::field(found, "/release"))
}

/// The elements of an answer that is a list, or has one as its member `items`.
pub(crate) fn items(value: &Value) -> &[Value] {
    value
        .get("items")
        .unwrap_or(value)
        .as_array()
        .map_or(&[], Vec::as_slice)
}
