//! `trust`: who may sign what in a catalog. What it lists is the business of `catalog`.

mod init;
mod look;
mod propose;

use camino::Utf8PathBuf;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use owo_colors::OwoColorize as _;

use super::Context;
use super::catalog::describe as describe_catalog;
use super::catalog::place::{ForCatalog, HandArgs, hand};
use crate::catalog::edit::Ending;
use crate::catalog::lifetimes::Lifetimes;
use crate::catalog::proposal::{self, Signing};
use crate::catalog::repository::Repository;
use crate::config::{Overrides, values};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Exit, Failure};
use crate::trust::tuf::roles::RoleName;

/// The arguments of `trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    #[command(subcommand)]
    verb: TrustVerb,
}

#[derive(Debug, Subcommand)]
enum TrustVerb {
    /// Make a catalog: its first root says who may sign what
    #[command(after_help = "Examples:
  consign trust init /srv/releases --root-key root-a.pem --targets-key release.pub --snapshot-key ci.pub --timestamp-key ci.pub
  consign trust init /srv/releases --root-key a.pub --root-key b.pub --root-key c.pub --root-threshold 2 \\
    --targets-key release.pem --snapshot-key ci.pem --timestamp-key ci.pem

A key is a public or a private one; the private ones sign at once.")]
    Init(init::InitArgs),
    /// Propose a root in which a key has one more role
    #[command(after_help = "Examples:
  consign trust add-key --role root --new carol.pub --target /srv/releases --key alice.pem")]
    AddKey(propose::AddKeyArgs),
    /// Propose a root in which a key has one role less
    #[command(after_help = "Examples:
  consign trust remove-key --role root --old 3f1c0a9b --target /srv/releases --key alice.pem")]
    RemoveKey(propose::RemoveKeyArgs),
    /// Propose a root in which a key takes the place of another
    #[command(after_help = "Examples:
  consign trust rotate --role timestamp --old 3f1c0a9b --new ci-2.pem --target /srv/releases --key alice.pem")]
    Rotate(propose::RotateArgs),
    /// Propose a root in which a key has no role at all
    #[command(after_help = "Examples:
  consign trust revoke 3f1c0a9b --new release-2.pub --target /srv/releases --key alice.pem")]
    Revoke(propose::RevokeArgs),
    /// Propose a root in which another number of keys has to sign
    #[command(after_help = "Examples:
  consign trust set-threshold 2 --role root --target /srv/releases --key alice.pem")]
    SetThreshold(propose::SetThresholdArgs),
    /// Propose the same root with a later end
    #[command(after_help = "Examples:
  consign trust renew --expires 365d --target /srv/releases --key alice.pem")]
    Renew(propose::RenewArgs),
    /// Add one holder's signature to a file that waits for it
    #[command(after_help = "Examples:
  consign trust sign /srv/releases/tuf/proposed.root.json --key bob.pem
  consign trust sign proposed.root.json --trust-root 1.root.json --key bob.pem    away from the catalog
  consign trust sign /srv/releases/tuf/proposed.root.json --add from-bob.json     what came back")]
    Sign(SignArgs),
    /// Print the roles, their keys, when they end and what waits for signatures
    #[command(after_help = "Examples:
  consign trust show /srv/releases
  consign trust show --format json")]
    Show(look::ShowArgs),
    /// Follow the roots from the first, or from one that is pinned, to the newest
    #[command(after_help = "Examples:
  consign trust verify /srv/releases
  consign trust verify /srv/releases --trust-root root.json")]
    Verify(look::VerifyArgs),
}

#[derive(Debug, Args)]
struct SignArgs {
    /// The file: a proposed root, or a list whose role needs several signatures
    #[arg(id = "proposal", value_name = "FILE")]
    file: Utf8PathBuf,
    /// Take over the signatures of another copy of it (repeatable)
    #[arg(long, value_name = "FILE")]
    add: Vec<Utf8PathBuf>,
    /// The root before a proposed one, or the newest for a list, where the file is not in its catalog
    #[arg(long, value_name = "FILE")]
    trust_root: Option<Utf8PathBuf>,
    #[command(flatten)]
    hand: HandArgs,
}

impl TrustArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        match &self.verb {
            TrustVerb::Init(verb) => verb.run(context),
            TrustVerb::AddKey(verb) => verb.run(context),
            TrustVerb::RemoveKey(verb) => verb.run(context),
            TrustVerb::Rotate(verb) => verb.run(context),
            TrustVerb::Revoke(verb) => verb.run(context),
            TrustVerb::SetThreshold(verb) => verb.run(context),
            TrustVerb::Renew(verb) => verb.run(context),
            TrustVerb::Sign(verb) => verb.run(context),
            TrustVerb::Show(verb) => verb.run(context),
            TrustVerb::Verify(verb) => verb.run(context),
        }
    }
}

impl SignArgs {
    fn run(&self, context: &Context) -> Result<Exit> {
        let file = context.path(&self.file);
        // A file that travels has its holder's keys beside it; one in a catalog does not.
        let home = Repository::of_file(&file).filter(Repository::exists);
        let keys = self.hand.keys(context, ForCatalog::Ceremony, home.as_ref().map(Repository::target))?;
        let lifetimes = lifetimes(context, None)?;
        let copies: Vec<_> = self.add.iter().map(|path| context.path(path)).collect();
        let root = self.trust_root.as_ref().map(|path| context.path(path));
        let hand = hand(&keys, &lifetimes, self.hand.act());
        let signing = proposal::sign(&file, root.as_deref(), &copies, &hand)?;
        tell(context, &signing)
    }
}

/// How long documents are good for: as the settings say, but the root as the flag says.
fn lifetimes(context: &Context, root: Option<&str>) -> Result<Lifetimes> {
    let mut lifetimes = context.request(&Overrides::default())?.catalog;
    if let Some(given) = root {
        lifetimes.root = values::lifetime(given).map_err(|failure| {
            let hint = failure.way_out().unwrap_or_default().to_owned();
            Failure::new(crate::model::Code::Usage, failure.to_string()).subject("--expires").hint(hint)
        })?;
    }
    Ok(lifetimes)
}

fn tell(context: &Context, signing: &Signing) -> Result<Exit> {
    let of_catalog = signing.catalog.iter().flat_map(|outcome| &outcome.warnings);
    signing.warnings.iter().chain(of_catalog).for_each(|warning| context.warn(warning.as_str()));
    context.output.result(signing, || describe(signing))?;
    Ok(Exit::Done)
}

fn describe(signing: &Signing) -> String {
    let what = match (signing.status, signing.dry_run) {
        (Ending::Proposed, _) => "waits for signatures".yellow().bold().to_string(),
        (_, false) => "is in force".green().bold().to_string(),
        (_, true) => "would be in force".to_owned(),
    };
    let mut out = format!("{} {} {what}: {}\n", signing.role, signing.version, shown(&signing.file));
    for change in &signing.changes {
        out.push_str(&format!("  {change}\n"));
    }
    for id in &signing.signed_by {
        out.push_str(&format!("  signed now by {id}\n"));
    }
    for counted in &signing.signatures {
        let (have, need) = (counted.have, counted.need);
        out.push_str(&format!(
            "  {have} of {need} {} signatures by the keys of root {}\n",
            counted.role, counted.by_root
        ));
        if have < need {
            out.push_str(&format!("    could sign: {}\n", counted.could_sign.join(", ")));
        }
    }
    if signing.status == Ending::Proposed && !signing.dry_run {
        let command = format!("`consign trust sign {} --key FILE`", shown(&signing.file));
        out.push_str(&format!("{} have the other holders run {command}\n", "hint:".cyan()));
    }
    if let Some(outcome) = &signing.catalog {
        out.push_str(&describe_catalog(outcome));
    }
    out
}

fn roles() -> impl TypedValueParser<Value = RoleName> {
    PossibleValuesParser::new(RoleName::ALL.map(RoleName::as_str))
        .map(|word| RoleName::ALL.into_iter().find(|role| role.as_str() == word).unwrap_or(RoleName::Root))
}
