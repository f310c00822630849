//! Tenants that can be proposed to: an agent's token, a site with a release, and a connector that has reported it.

use anyhow::{Context, Result, bail};
use countersign_connector::site::Manifest;
use countersign_connector::{Config, pair, run};
use countersign_events::words::{Environment, TokenRole};
use countersign_ids::{Actor, AuthType, ChainId, Sequence, TenantId};
use countersign_service::{
    Need, NewSite, NewTenant, NewToken, PlatformAccess, Request, Service, TenantAccess,
};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tokio::sync::oneshot;

/// How many tenants; each has a chain of its own.
const TENANTS: u64 = crate::corpus::CHAINS;
/// The site of each.
pub(crate) const SITE: &str = "shop";
/// The longest that a connector may take to report.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a proposer needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// A release that every site has and none serves.
    pub(crate) release: String,
    /// The administrator's token.
    pub(crate) admin: String,
    /// Tenants, each with its agent's token.
    pub(crate) agents: Vec<(TenantId, String)>,
}

impl Stage {
    /// The chains of the tenants.
    pub(crate) fn chains(&self) -> Vec<ChainId> {
        let tenants = self.agents.iter();
        tenants.map(|(tenant, _)| tenant.chain()).collect()
    }
}

/// Sets all of it up in a running plane, or reads what was set up in this directory before.
pub(crate) async fn set_once(service: &Service, directory: &Path, url: &str) -> Result<Stage> {
    let kept = directory.join("stage.json");
    if kept.exists() {
        let stage: Stage = serde_json::from_slice(&fs::read(kept)?)?;
        for (tenant, token) in &stage.agents {
            // Reading a tenant folds its whole chain.
            let agent = service.authenticate(token)?.tenant(tenant, Need::Read)?;
            service.sites(&agent)?;
        }
        return Ok(stage);
    }
    let stage = set(service, directory, url).await?;
    fs::write(kept, serde_json::to_vec(&stage)?)?;
    Ok(stage)
}

async fn set(service: &Service, directory: &Path, url: &str) -> Result<Stage> {
    let admin_token = std::fs::read_to_string(service.admin_token_file())?;
    let admin_token = admin_token.trim().to_owned();
    let admin = service.authenticate(&admin_token)?.platform()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/site/release-1");
    let (manifest, files) = Manifest::of_directory("release-1", &source)?;
    let mut agents = Vec::new();
    for number in 0..TENANTS {
        let tenant: TenantId = format!("tenant-{number}").parse()?;
        let new = NewTenant {
            tenant: tenant.clone(),
            name: format!("Tenant {number}"),
        };
        service
            .create_tenant(&admin, &Request::default(), new)
            .await?;
        let owner = token(service, &admin, &tenant, TokenRole::Owner).await?;
        let owner = service
            .authenticate(&owner)?
            .tenant(&tenant, Need::Operate)?;
        for (digest, bytes) in &files {
            service.put_blob(&owner, *digest, bytes.clone()).await?;
        }
        let bytes = manifest.bytes().to_vec();
        service.put_blob(&owner, manifest.digest(), bytes).await?;
        site(service, &owner, &manifest).await?;
        observed(service, &owner, &directory.join(tenant.as_str()), url).await?;
        let agent = token(service, &admin, &tenant, TokenRole::Proposer).await?;
        agents.push((tenant, agent));
    }
    Ok(Stage {
        admin: admin_token,
        release: manifest.digest().to_string(),
        agents,
    })
}

async fn token(
    service: &Service,
    admin: &PlatformAccess,
    tenant: &TenantId,
    role: TokenRole,
) -> Result<String> {
    let new = NewToken {
        id: None,
        tenant: Some(tenant.clone()),
        role,
        actor: Actor {
            kind: AuthType::Agent,
            id: "figures".parse()?,
        },
        owner: None,
    };
    let issued = service.issue_token(admin, &Request::default(), new).await?;
    let token = issued.token.context("a new token has no secret")?;
    Ok(token.reveal().to_string())
}

async fn site(service: &Service, owner: &TenantAccess, manifest: &Manifest) -> Result<()> {
    let new = NewSite {
        site: SITE.parse()?,
        name: "Shop".to_owned(),
        environment: Environment::Production,
    };
    service
        .register_site(owner, &Request::default(), new)
        .await?;
    let label = "release-1".to_owned();
    let (request, release) = (Request::default(), manifest.digest());
    service
        .add_release(owner, &request, SITE.parse()?, release, label)
        .await?;
    Ok(())
}

/// Pairs a real connector, and lets it run until it has said what is live.
async fn observed(
    service: &Service,
    owner: &TenantAccess,
    directory: &Path,
    url: &str,
) -> Result<()> {
    let invitation = service
        .invite(owner, &Request::default(), SITE.parse()?)
        .await?;
    let code = invitation.code.context("an invitation without a code")?;
    let anywhere = ([127, 0, 0, 1], 0).into();
    let config = Config::new(directory, anywhere, anywhere, url);
    pair(&config, &code.to_string()).await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let connector =
        tokio::spawn(
            async move { run(&config, async { stopped.await.unwrap_or_default() }).await },
        );
    let reported = async {
        let mut follow = service.follow(owner, Sequence::ZERO);
        while service.site(owner, &SITE.parse()?)?.site.observed.is_none() {
            if follow.next().await?.is_none() {
                bail!("the chain ended");
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, reported)
        .await
        .context("the connector does not report")??;
    drop(stop);
    Ok(connector.await??)
}
