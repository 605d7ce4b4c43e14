//! `catalog`: what a catalog lists. Who may sign it is the business of `trust`.

mod look;
pub mod place;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use owo_colors::OwoColorize as _;

use super::{Context, planning};
use crate::catalog::edit::{self, Ending, Listing, Outcome};
use crate::catalog::entry::Status;
use crate::catalog::repository::Repository;
use crate::config::Overrides;
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Exit, Failure};
use crate::pipeline::verify;
use place::{ForCatalog, HandArgs, Place, PlaceArgs, TargetArgs, hand};

/// The arguments of `catalog`.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    #[command(subcommand)]
    verb: CatalogVerb,
}

#[derive(Debug, Subcommand)]
enum CatalogVerb {
    /// List the files of verified bundles
    #[command(after_help = "Examples:
  consign catalog add /srv/releases/v1.2.3 --target /srv/releases --key release.pem --key ci.pem
  CONSIGN_CATALOG_KEY=ci.pem consign catalog add dist/packages/v1.2.3 --key release.pem")]
    Add(AddArgs),
    /// Withdraw a version: it stays listed and is chosen no more
    #[command(after_help = "Examples:
  consign catalog yank v1.2.3 --reason 'loses data on Windows' --key release.pem --key ci.pem
  consign catalog yank v1.2.3 --reason 'broken' --provider github --target owner/tool --key release.pem --key ci.pem")]
    Yank(YankArgs),
    /// Give a withdrawn version back
    #[command(after_help = "Examples:
  consign catalog unyank v1.2.3 --key release.pem --key ci.pem")]
    Unyank(UnyankArgs),
    /// Sign the timestamp anew, and what else is about to end
    #[command(after_help = "Examples:
  consign catalog refresh --target /srv/releases --key ci.pem
  CONSIGN_CATALOG_KEY=\"$KEY\" consign catalog refresh        as a scheduled job does
  consign catalog refresh --provider github --target owner/tool --key ci.pem")]
    Refresh(RefreshArgs),
    /// Print every version that is listed
    #[command(after_help = "Examples:
  consign catalog show /srv/releases
  consign catalog show --format json")]
    Show(look::ShowArgs),
    /// Check the documents as a client does, and every listed file
    #[command(after_help = "Examples:
  consign catalog verify /srv/releases
  consign catalog verify /srv/releases --trust-root root.json")]
    Verify(look::VerifyArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The directories of bundles
    #[arg(id = "bundles", value_name = "DIR", required = true)]
    bundles: Vec<Utf8PathBuf>,
    /// The oldest Consign that can install them
    #[arg(long, value_name = "VERSION")]
    minimum_client: Option<semver::Version>,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    hand: HandArgs,
}

#[derive(Debug, Args)]
struct YankArgs {
    /// The version, or the name of its directory
    #[arg(value_name = "VERSION")]
    version: String,
    /// Why, for whoever has it installed
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    hand: HandArgs,
}

#[derive(Debug, Args)]
struct UnyankArgs {
    /// The version, or the name of its directory
    #[arg(value_name = "VERSION")]
    version: String,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    hand: HandArgs,
}

#[derive(Debug, Args)]
struct RefreshArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    hand: HandArgs,
}

impl CatalogArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            CatalogVerb::Add(add) => add.run(context),
            CatalogVerb::Yank(yank) => {
                let message = format!("catalog: yank {}", yank.version);
                change(context, &yank.place.place(context)?, &yank.hand, &message, |repository, hand| {
                    edit::mark(repository, &yank.version, Status::Yanked, Some(&yank.reason), hand)
                })
            }
            CatalogVerb::Unyank(unyank) => {
                let message = format!("catalog: unyank {}", unyank.version);
                change(context, &unyank.place.place(context)?, &unyank.hand, &message, |repository, hand| {
                    edit::mark(repository, &unyank.version, Status::Active, None, hand)
                })
            }
            CatalogVerb::Refresh(refresh) => {
                let place = refresh.place.place(context)?;
                change(context, &place, &refresh.hand, "catalog: refresh", edit::refresh)
            }
            CatalogVerb::Show(show) => show.run(context),
            CatalogVerb::Verify(verify) => verify.run(context),
        }
    }
}

impl AddArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let place = Place::Directory(self.target.repository(context)?);
        change(context, &place, &self.hand, "", |repository, hand| {
            let requirements = planning::requirements(context);
            let mut listings = Vec::new();
            for directory in &self.bundles {
                let directory = context.path(directory);
                let bundle = verify::verify(&directory, None, &requirements, context.listener())?.accept()?;
                let release = bundle.release.directory()?;
                let published = repository.target().join(release.as_str());
                if !published.is_dir() {
                    context.warn(format!("`{published}` is not there: readers find `{release}` once it is published"));
                }
                listings.push(Listing::of(&bundle, &published, self.minimum_client.clone())?);
            }
            edit::add(repository, &listings, hand)
        })
    }
}

/// Changes a catalog; in a branch, by a commit with this message.
fn change(
    context: &Context,
    place: &Place,
    args: &HandArgs,
    message: &str,
    deed: impl Fn(&Repository, &edit::Hand<'_>) -> Result<Outcome>,
) -> Result<Exit> {
    let directory = match place {
        Place::Directory(repository) => {
            if !repository.exists() {
                // Before keys are asked for and bundles read.
                repository.roots()?;
            }
            Some(repository.target())
        }
        Place::Branch(_) => None,
    };
    let keys = args.keys(context, ForCatalog::Everyday, directory)?;
    if keys.is_empty() {
        return Err(Failure::new(Code::Usage, "there is no key to sign the catalog with")
            .hint("give `--key FILE`, or set CONSIGN_CATALOG_KEY"));
    }
    let lifetimes = context.request(&Overrides::default())?.catalog;
    let hand = hand(&keys, &lifetimes, args.act());
    let outcome = match place {
        Place::Directory(repository) => deed(repository, &hand)?,
        Place::Branch(branch) => branch.change(message, |repository| deed(repository, &hand))?,
    };
    outcome.warnings.iter().for_each(|warning| context.warn(warning.as_str()));
    context.output.result(&outcome, || describe(&outcome))?;
    Ok(Exit::Done)
}

/// A change for people.
pub fn describe(outcome: &Outcome) -> String {
    let what = match (outcome.status, outcome.dry_run) {
        (Ending::Published, false) => "published".green().bold().to_string(),
        (Ending::Proposed, false) => "waiting for signatures".yellow().bold().to_string(),
        (Ending::Unchanged, _) => "nothing to do".to_owned(),
        (Ending::Published, true) => "would be published".to_owned(),
        (Ending::Proposed, true) => "would wait for signatures".to_owned(),
    };
    let mut out = format!("{} {what}\n", shown(&outcome.catalog));
    for change in &outcome.changes {
        out.push_str(&format!("  {change}\n"));
    }
    let versions: Vec<_> = outcome.versions.iter().map(|(role, version)| format!("{role} {version}")).collect();
    out.push_str(&format!("  {}\n", versions.join(", ")));
    for missing in &outcome.missing {
        out.push_str(&format!(
            "  {}: {} of {} signatures; could sign: {}\n",
            missing.role,
            missing.have,
            missing.need,
            missing.could_sign.join(", ")
        ));
        out.push_str(&format!(
            "  {} have the other holders run `consign trust sign {}/tuf/proposed.{}.json --key FILE`\n",
            "hint:".cyan(),
            shown(&outcome.catalog),
            missing.role
        ));
    }
    out
}
