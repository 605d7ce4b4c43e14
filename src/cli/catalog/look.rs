//! `catalog show` and `catalog verify`: looking, and changing nothing.

use camino::Utf8PathBuf;
use clap::Args;
use owo_colors::OwoColorize as _;

use super::place::repository;
use crate::catalog::audit::{self, Audit};
use crate::catalog::entry::Status;
use crate::catalog::overview::{self, Versions};
use crate::cli::{Context, output};
use crate::model::Exit;
use crate::model::failure::Result;
use crate::model::text::shown;
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
    /// The directory of the versions [default: the publishing target]
    #[arg(id = "catalog-root", value_name = "ROOT")]
    root: Option<Utf8PathBuf>,
    /// The root that is trusted, from elsewhere
    #[arg(long, value_name = "FILE")]
    trust_root: Option<Utf8PathBuf>,
}

impl VerifyArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let repository = repository(context, self.root.as_ref())?;
        let pinned = self.trust_root.as_ref().map(|path| context.path(path));
        if pinned.is_none() {
            context.warn("no root was pinned with `--trust-root`: the catalog vouches for itself");
        }
        let audit = audit::audit(&repository, pinned.as_deref(), clock::now())?;
        context.output.result(&audit, || describe_audit(&audit))?;
        Ok(audit.exit())
    }
}

fn describe_audit(audit: &Audit) -> String {
    let mut out = String::new();
    for finding in &audit.findings {
        out.push_str(&format!("{} {}: {} [{}]\n", "wrong:".red().bold(), finding.file, finding.message, finding.code));
        out.push_str(&format!("  {} {}\n", "hint:".cyan(), finding.hint));
    }
    let status = if audit.findings.is_empty() { "verified".green().to_string() } else { "failed".red().to_string() };
    out.push_str(&format!("{} {status}: root {}, {} files\n", shown(&audit.catalog), audit.root, audit.files));
    out
}
