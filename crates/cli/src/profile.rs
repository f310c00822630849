//! Where a command's server, tenant, token and key come from: flags, then environment, then a profile file.
//!
//! A profile is a TOML file with members `server`, `tenant`, `token_file`, `key`, `approver`, `credential`; relative paths
//! in it are relative to it. Secrets themselves never stand in it.

use crate::arguments::Shared;
use crate::exit::Failure;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<String>,
}

impl Profile {
    /// What the flags, the environment and the profile file say, in this order of precedence.
    pub(crate) fn of(shared: &Shared) -> Result<Self> {
        let mut profile = match &shared.profile {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        let flags = shared.clone();
        profile.server = flags.server.or(profile.server);
        profile.tenant = flags.tenant.or(profile.tenant);
        profile.token_file = flags.token_file.or(profile.token_file);
        Ok(profile)
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "cannot read the profile `{}`: {error}",
                path.display()
            ))
        })?;
        let mut profile: Self = toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("`{}` is not a profile: {error}", path.display()))
        })?;
        let beside = path.parent().unwrap_or_else(|| Path::new("."));
        for file in [&mut profile.token_file, &mut profile.key]
            .into_iter()
            .flatten()
        {
            *file = beside.join(&*file);
        }
        Ok(profile)
    }

    /// The bearer token: `COUNTERSIGN_TOKEN`, else the token file.
    pub(crate) fn token(&self) -> Result<String> {
        if let Ok(token) = std::env::var("COUNTERSIGN_TOKEN") {
            return Ok(token.trim().to_owned());
        }
        let path = self.token_file.as_ref().ok_or_else(|| {
            Failure::usage("no token")
                .with_hint("give --token-file, a profile, or set COUNTERSIGN_TOKEN")
        })?;
        let token = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token file `{}`", path.display()))?;
        Ok(token.trim().to_owned())
    }

    /// The server's address, without a slash at its end.
    pub(crate) fn server(&self) -> Result<&str> {
        let server = self.server.as_deref();
        let server = server
            .ok_or_else(|| Failure::usage("no server").with_hint("give --server or --profile"))?;
        Ok(server.trim_end_matches('/'))
    }

    /// The tenant.
    pub(crate) fn tenant(&self) -> Result<&str> {
        let tenant = self.tenant.as_deref();
        Ok(tenant
            .ok_or_else(|| Failure::usage("no tenant").with_hint("give --tenant or --profile"))?)
    }

    /// The site: the flag of the command, else the profile's.
    pub(crate) fn site(&self, flag: Option<&str>) -> Result<String> {
        let site = flag.map(str::to_owned).or_else(|| self.site.clone());
        Ok(site.ok_or_else(|| Failure::usage("no site").with_hint("give --site or --profile"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;
    use crate::arguments::Shared;

    #[test]
    fn a_flag_wins_over_the_profile_and_paths_are_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile.toml");
        std::fs::write(
            &path,
            "server = 'http://one/'\ntenant = 'a'\ntoken_file = 'token'\n",
        )
        .unwrap();
        let shared = Shared {
            profile: Some(path.clone()),
            tenant: Some("b".to_owned()),
            ..Shared::default()
        };
        let profile = Profile::of(&shared).unwrap();
        assert_eq!(profile.server().unwrap(), "http://one");
        assert_eq!(profile.tenant().unwrap(), "b");
        assert_eq!(profile.token_file.unwrap(), directory.path().join("token"));
        std::fs::write(&path, "servre = 'x'\n").unwrap();
        assert!(
            Profile::of(&shared)
                .unwrap_err()
                .to_string()
                .contains("not a profile")
        );
    }
}
