//! `catalog show` and `catalog verify`: looking, and changing nothing.

use camino::Utf8PathBuf;
use clap::Args;
use jiff::Timestamp;
use owo_colors::OwoColorize as _;

use super::place::repository;
use crate::catalog::audit::{self, Audit};
use crate::catalog::entry::Status;
use crate::catalog::overview::{self, Versions};
use crate::catalog::repository::{Repository, read};
use crate::cli::catalog_source::CatalogArgs;
use crate::cli::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::trust::tuf::roles::Root;
use crate::world::clock;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The directory of the versions [default: the publishing target]
    #[arg(id = "catalog-root", value_name = "ROOT")]
    root: Option<Utf8PathBuf>,
}

impl ShowArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let repository = repository(context, self.root.as_ref())?;
        let chain = repository.roots()?;
        let state = repository.state(&chain)?;
        let versions = overview::versions(repository.target().as_str(), state.listed());
        context.output.result(&versions, || describe(&versions))?;
        Ok(Exit::Done)
    }
}

fn describe(versions: &Versions) -> String {
    if versions.versions.is_empty() {
        return format!("{} lists nothing\n", shown(&versions.catalog));
    }
    let heading = ["release", "name", "version", "channel", "status", "files"].map(str::to_owned).to_vec();
    let rows = versions.versions.iter().map(|row| {
        let entry = &row.entry;
        let is_latest = versions.latest.values().any(|latest| *latest == row.release);
        let status = match (entry.status, is_latest) {
            (Status::Active, true) => "latest".green().to_string(),
            (Status::Active, false) => "active".to_owned(),
            (Status::Yanked, _) => {
                format!("{}: {}", "yanked".red(), shown(entry.reason.as_deref().unwrap_or("no reason given")))
            }
        };
        let cells = [row.release.as_str(), entry.name.as_str(), &entry.version.to_string(), &entry.channel];
        let mut cells: Vec<_> = cells.into_iter().map(|cell| shown(cell).into_owned()).collect();
        cells.extend([status, row.files.to_string()]);
        cells
    });
    output::table(&[heading].into_iter().chain(rows).collect::<Vec<_>>())
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The directory of the versions, or its address [default: the publishing target]
    #[arg(id = "catalog-root", value_name = "PATH|URL")]
    root: Option<String>,
    /// The root that is trusted, from elsewhere
    #[arg(long, value_name = "FILE")]
    trust_root: Option<Utf8PathBuf>,
    /// Judge the catalog as it was at this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

impl VerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let web = self.root.as_ref().filter(|root| root.contains("://"));
        let here = match web {
            Some(_) => None,
            None => Some(repository(context, self.root.as_ref().map(Utf8PathBuf::from).as_ref())?),
        };
        let source = self.source(context, web, here.as_ref())?;
        let place = source.place(context)?;
        let pinned = source.trust_root.as_ref().map(|path| read::<Root>(&context.path(path))).transpose()?;
        if let Some(here) = &here {
            audit::roots(here, None, source.at.unwrap_or_else(clock::now))?;
        }
        let catalog = place.update(context)?;
        let view = catalog.view();
        let findings = match &here {
            Some(here) => audit::files(here.target(), view.targets())?,
            None => Vec::new(),
        };
        let audit = Audit {
            kind: audit::TYPE,
            catalog: place.shown(),
            root: view.root_version(),
            pinned_root: pinned.map_or(0, |pinned| pinned.signed.signed.version),
            files: view.targets().len(),
            files_read: if here.is_some() { view.targets().len() } else { 0 },
            findings,
        };
        context.output.result(&audit, || describe_audit(&audit))?;
        Ok(audit.exit())
    }

    /// What is read, by whose word. A catalog here may vouch for itself, and nothing of it is kept then.
    fn source(&self, context: &Context, web: Option<&String>, here: Option<&Repository>) -> Result<CatalogArgs> {
        let mut source = CatalogArgs { catalog: web.cloned(), trust_root: self.trust_root.clone(), at: self.at };
        if let Some(here) = here {
            source.catalog = Some(here.target().to_string());
            if source.trust_root.is_none() {
                // The failure for a place without a catalog is this one.
                here.roots()?;
                context.warn("no root was pinned with `--trust-root`: the catalog vouches for itself");
                source.trust_root = Some(here.path("1.root.json"));
                source.at = source.at.or_else(|| Some(clock::now()));
            }
        }
        Ok(source)
    }
}

fn describe_audit(audit: &Audit) -> String {
    let mut out = String::new();
    for finding in &audit.findings {
        out.push_str(&format!("{} {}: {} [{}]\n", "wrong:".red().bold(), finding.file, finding.message, finding.code));
        out.push_str(&format!("  {} {}\n", "hint:".cyan(), finding.hint));
    }
    let status = if audit.findings.is_empty() { "verified".green().to_string() } else { "failed".red().to_string() };
    let (root, files, read) = (audit.root, audit.files, audit.files_read);
    out.push_str(&format!("{} {status}: root {root}, {files} files listed, {read} read\n", shown(&audit.catalog)));
    out
}
