//! `install`: put a verified release where it can be run.

use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::Args;
use owo_colors::OwoColorize as _;
use semver::VersionReq;

use super::catalog_source::{CatalogArgs, Place as CatalogPlace, state_directory};
use super::pubkeys::PubkeyArgs;
use super::{Context, output, usage};
use crate::catalog::source::{Source, metadata_path};
use crate::config::environment;
use crate::install::activate;
use crate::install::host::Host;
use crate::install::loose::{self, Given, Loose, Said};
use crate::install::pins::Pins;
use crate::install::prefix::Prefix;
use crate::install::programs::Foreign;
use crate::install::receipt::{self, Origin, Trust};
use crate::install::resolve::{self, Request, Resolved};
use crate::install::session::{self, Ending, Installation, Options, Order};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Digest, Exit, Failure, FileName, Platform};
use crate::trust::Anchor;
use crate::trust::anchor::MAX_ROOT_BYTES;
use crate::world::http::Client;
use crate::world::parcel::Parcel;
use crate::world::place::{self, Place};
use crate::world::{clock, files};

/// The arguments of `install`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  consign install --index https://example.com/releases/v1.2.3/index.json --pubkey release.pub
  consign install --catalog https://example.com/releases --trust-root root.json
  consign install --catalog /srv/releases --trust-root root.json --version '^1.2' --prefix /opt/tool
  consign install --from tool-1.2.3-linux-amd64.tar.gz --sha256 3aab…
  consign install --from tool.tar --trust-root root.json --offline
  consign install --index dist/packages/v1.2.3/index.json --dry-run")]
pub struct InstallArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    how: HowArgs,
    /// Say so where there is nothing to upgrade, and install all the same
    #[arg(long)]
    upgrade: bool,
}

/// What is installed, and who vouches for it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Source options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct SourceArgs {
    /// The address or path of an index.json, or the path of a parcel
    #[arg(long, value_name = "PATH|URL", conflicts_with_all = ["catalog", "from"])]
    pub index: Option<String>,
    /// A release's directory (an address of one ends with `/` or a version), an archive that Consign packed, a
    /// program, or a parcel that `bundle export` wrote
    #[arg(long, value_name = "PATH|URL", conflicts_with = "catalog")]
    pub from: Option<String>,
    /// A catalog instead.
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// The version, or a range such as `^1.2`; a prerelease is taken where it is named [default: the latest]
    #[arg(long, value_name = "REQ")]
    pub version: Option<String>,
    /// The product, where a catalog has several
    #[arg(long, value_name = "NAME")]
    pub name: Option<FileName>,
    /// The platform [default: the best for this machine]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// The digest that the chosen archive has to have
    #[arg(long, value_name = "SHA256")]
    pub sha256: Option<Digest>,
    /// Whose signature counts.
    #[command(flatten)]
    pub pubkeys: PubkeyArgs,
    /// Fail where nobody known has signed
    #[arg(long, conflicts_with = "skip_signature")]
    pub require_signature: bool,
    /// Ask nobody for a signature; refused for what was verified before
    #[arg(long, conflicts_with_all = ["pubkey", "trust_root", "catalog"])]
    pub skip_signature: bool,
    /// Take a version that was withdrawn
    #[arg(long)]
    pub allow_yanked: bool,
    /// Use nothing but what is on this machine
    #[arg(long)]
    pub offline: bool,
}

/// Where it is put, and what stays.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Installation options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct HowArgs {
    /// Where.
    #[command(flatten)]
    pub prefix: PrefixArgs,
    /// How many versions are kept to go back to
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub keep: usize,
    /// Replace a foreign file in the way without keeping it
    #[arg(long)]
    pub skip_backup: bool,
    /// Let an older version take the place of a newer one
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Do not run the programs once before they are used
    #[arg(long)]
    pub no_run: bool,
    /// Choose and verify, and install nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Where installations are.
#[derive(Clone, Debug, Default, Args)]
pub struct PrefixArgs {
    /// The directory with `bin` and `lib` [default: /usr/local for root, else ~/.local]
    #[arg(long, value_name = "DIR")]
    pub prefix: Option<Utf8PathBuf>,
}

impl InstallArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let done = self.source.installation(context, &self.how)?;
        if self.upgrade && done.previous.is_none() {
            context.warn(format!("no installation of {} was found: it is installed afresh", done.name));
        }
        context.output.result(&done, || describe(&done))?;
        tell(context, &done);
        Ok(Exit::Done)
    }
}

impl SourceArgs {
    fn request(&self) -> Result<Request> {
        Ok(Request {
            name: self.name.clone(),
            platform: self.platform,
            sha256: self.sha256,
            allow_yanked: self.allow_yanked,
            ..request(self.version.as_ref())?
        })
    }

    /// Whether anything was named to install from.
    pub(super) fn is_named(&self) -> bool {
        self.index.is_some() || self.from.is_some() || self.catalog.catalog.is_some()
    }

    /// Installs from whatever was named.
    pub(super) fn installation(&self, context: &Context, how: &HowArgs) -> Result<Installation> {
        match (&self.index, &self.from, &self.catalog.catalog) {
            (Some(index), ..) => self.install_index(context, how, resolve::place_of_index(index, &context.directory)?),
            (None, Some(from), _) => self.install_from(context, how, &place::located(from, &context.directory)),
            (None, None, Some(catalog)) => {
                self.stay_here(catalog)?;
                self.install_catalog(context, how, self.catalog.place(context)?, None)
            }
            (None, None, None) => Err(usage("it is not said what to install")
                .hint("add `--index PATH|URL`, `--catalog PATH|URL` or `--from PATH|URL`")),
        }
    }

    /// Refuses the web where it was forbidden.
    pub(super) fn stay_here(&self, given: &str) -> Result<()> {
        if self.offline && place::is_address(given) {
            return Err(usage(format!("`{}` is not on this machine", shown(given)))
                .hint("give a path, or leave `--offline` out"));
        }
        Ok(())
    }

    /// Installs from the place of an index.
    pub(super) fn install_index(&self, context: &Context, how: &HowArgs, place: Place) -> Result<Installation> {
        if matches!(place, Place::Web(_)) {
            self.stay_here(&place.shown())?;
            // The machine is looked at while the first answer is on its way.
            drop(std::thread::spawn(Host::look));
        }
        let client = Client::new(context.client_options()?);
        let (named, pins) = self.anchor(context)?;
        let known = receipt::all(&how.prefix.prefix(context)?)?;
        let mut resolved = resolve::from_index(place.clone(), &named, &known, &client)?;
        if !named.is_checked() && !self.skip_signature {
            // Nobody was named, so nothing of it is believed but its name: whoever was named before counts.
            if let Some(pinned) = pinned_anchor(context, &resolved.index.name)? {
                resolved = resolve::from_index(place, &pinned, &known, &client)?;
            }
        }
        self.demand(context, &resolved.trust)?;
        self.install(context, how, &What::Release(&resolved), &client, pins)
    }

    /// Installs from a catalog. The version that is installed will do where there is nothing newer.
    pub(super) fn install_catalog(
        &self,
        context: &Context,
        how: &HowArgs,
        from: CatalogPlace,
        installed: Option<semver::Version>,
    ) -> Result<Installation> {
        let from = from.remembering(context)?;
        let mut catalog = from.update(context)?;
        let client = Client::new(context.client_options()?);
        let request = Request { installed: installed.filter(|_| !how.allow_downgrade), ..self.request()? };
        let mut resolved = resolve::from_catalog(&mut catalog, &from.files(), &request)?;
        if let (Trust::Catalog { judged_at, .. }, Some(at)) = (&mut resolved.trust, self.catalog.at) {
            *judged_at = Some(at);
            context
                .warn(format!("the catalog is judged as at {at}: what was withdrawn or replaced since is not known"));
        }
        self.install(context, how, &What::Release(&resolved), &client, Some(Pins::of_root(from.pinned_root())))
    }

    /// Installs from whatever is there.
    fn install_from(&self, context: &Context, how: &HowArgs, given: &str) -> Result<Installation> {
        self.stay_here(given)?;
        match Given::of(given) {
            Given::Release => self.install_index(context, how, Place::parse(given, "index.json")?),
            Given::Parcel => match Place::parse(given, "index.json")? {
                Place::Parcel { parcel, .. } => self.install_parcel(context, how, parcel),
                _ => self.install_file(context, how, given),
            },
            Given::File => self.install_file(context, how, given),
        }
    }

    /// Installs from a parcel: by its catalog where a root is known, else by the keys of its one release.
    fn install_parcel(&self, context: &Context, how: &HowArgs, parcel: Arc<Parcel>) -> Result<Installation> {
        let has_catalog = parcel.has(&metadata_path("timestamp", None));
        if !has_catalog || !self.pubkeys.pubkeys.is_empty() || self.skip_signature {
            return self.install_index(context, how, resolve::place_in(&parcel)?);
        }
        let name = self.name.clone().or_else(|| resolve::product_in(&parcel));
        let pins = name.map_or(Ok(None), |name| Pins::read(&state_directory(context)?, &name))?;
        let root = match self.catalog.root(context)? {
            Some(root) => Some(root),
            None => pins.and_then(|pins| pins.root).map(String::into_bytes),
        };
        match root {
            Some(root) => {
                let place = CatalogPlace::of(context, Source::of_parcel(parcel), root, self.catalog.at)?;
                self.install_catalog(context, how, place, None)
            }
            None if self.anchor(context)?.0.is_checked() => {
                self.install_index(context, how, resolve::place_in(&parcel)?)
            }
            None => Err(Failure::new(Code::KeyMissing, format!("it is not said who vouches for `{}`", parcel.path()))
                .subject(parcel.path().as_str())
                .hint("add `--trust-root FILE`, with a root that did not come with it, or `--pubkey FILE`")),
        }
    }

    /// Installs a file that has no index.
    fn install_file(&self, context: &Context, how: &HowArgs, given: &str) -> Result<Installation> {
        let client = Client::new(context.client_options()?);
        let (anchor, pins) = self.anchor(context)?;
        let exact = |given: &String| {
            semver::Version::parse(given.strip_prefix('v').unwrap_or(given)).map_err(|problem| {
                Failure::new(Code::VersionInvalid, format!("`{}` is no version", shown(given)))
                    .because(problem)
                    .hint("a file has one version and not a range: write it as `1.2.3`")
            })
        };
        let version = self.version.as_ref().map(exact).transpose()?;
        let said = Said { name: self.name.clone(), version, sha256: self.sha256, may_run: !how.no_run };
        let anchor_of = |name: &FileName| {
            let pinned = if anchor.is_checked() || self.skip_signature { None } else { pinned_anchor(context, name)? };
            Ok(pinned.unwrap_or_else(|| anchor.clone()))
        };
        let found = loose::fetch(given, &said, &anchor_of, &client, context.listener())?;
        self.demand(context, &found.trust)?;
        self.install(context, how, &What::File(&found), &client, pins)
    }

    /// Refuses what nobody has vouched for, where somebody has to.
    fn demand(&self, context: &Context, trust: &Trust) -> Result<()> {
        if !self.must_be_signed(context) || *trust != Trust::Unchecked {
            return Ok(());
        }
        Err(Failure::new(Code::KeyMissing, "signatures are required, and no key is given to check them")
            .hint("add `--pubkey FILE`, or take it from a catalog with `--trust-root FILE`"))
    }

    fn must_be_signed(&self, context: &Context) -> bool {
        self.require_signature || (!self.skip_signature && context.requires_signatures())
    }

    /// Whom the flags and the environment name, and what is to be remembered of it.
    fn anchor(&self, context: &Context) -> Result<(Anchor, Option<Pins>)> {
        if let Some(path) = &self.catalog.trust_root {
            let bytes = files::read_bounded(&context.path(path), MAX_ROOT_BYTES)?;
            let anchor = Anchor::of_root(&bytes, self.catalog.at.unwrap_or_else(clock::now))?;
            return Ok((anchor, Some(Pins::of_root(&bytes))));
        }
        if self.skip_signature {
            return Ok((Anchor::Unchecked, None));
        }
        let keys = self.pubkeys.keys(context)?;
        Ok(if keys.is_empty() {
            (Anchor::Unchecked, None)
        } else {
            let pins = Pins::of_keys(&keys);
            (Anchor::Keys(keys), Some(pins))
        })
    }

    fn install(
        &self,
        context: &Context,
        how: &HowArgs,
        what: &What<'_>,
        client: &Client,
        pins: Option<Pins>,
    ) -> Result<Installation> {
        let (prefix, host) = (how.prefix.prefix(context)?, Host::look());
        let name = match what {
            What::Release(resolved) => &resolved.index.name,
            What::File(loose) => &loose.name,
        };
        let state = state_directory(context)?;
        let pinned_rank = Pins::read(&state, name)?.map_or(0, |pins| pins.rank());
        let options = how.options();
        let order = Order { prefix: &prefix, host: &host, options, pinned_rank, listener: context.listener() };
        let done = match what {
            What::Release(resolved) => session::install(resolved, &self.request()?, client, &order)?,
            What::File(loose) => session::install_loose(loose, &order)?,
        };
        if let Some(pins) = pins.filter(|_| !how.dry_run) {
            pins.write(&state, &done.name)?;
        }
        Ok(done)
    }
}

/// A version, or the newest of a range.
pub(super) fn request(version: Option<&String>) -> Result<Request> {
    let range = |given: &String| {
        // A bare version means that one and not all that are like it.
        let exact = semver::Version::parse(given.strip_prefix('v').unwrap_or(given)).ok();
        let range = exact.map_or_else(|| VersionReq::parse(given), |exact| VersionReq::parse(&format!("={exact}")));
        range.map(|range| (range, given.clone())).map_err(|problem| {
            Failure::new(Code::VersionInvalid, format!("`{}` is no version and no range", shown(given)))
                .because(problem)
                .hint("write it as `1.2.3`, `^1.2` or `>=1.2, <2`")
        })
    };
    Ok(Request { version: version.map(range).transpose()?, ..Request::default() })
}

/// What was found.
enum What<'a> {
    Release(&'a Resolved),
    File(&'a Loose),
}

/// Whom a product's releases were verified by before.
fn pinned_anchor(context: &Context, name: &FileName) -> Result<Option<Anchor>> {
    let Some(pins) = Pins::read(&state_directory(context)?, name)? else { return Ok(None) };
    match (pins.anchor()?, &pins.root) {
        (Some(anchor), _) => Ok(Some(anchor)),
        (None, Some(root)) => Anchor::of_root(root.as_bytes(), clock::now()).map(Some),
        (None, None) => Ok(None),
    }
}

impl HowArgs {
    fn options(&self) -> Options {
        Options {
            activation: activate::Options {
                keep: self.keep,
                foreign: if self.skip_backup { Foreign::Replace } else { Foreign::Keep },
                now: clock::now(),
            },
            allow_downgrade: self.allow_downgrade,
            run: !self.no_run,
            dry_run: self.dry_run,
        }
    }
}

impl PrefixArgs {
    /// The prefix that was named, or that of this user.
    pub(super) fn prefix(&self, context: &Context) -> Result<Prefix> {
        if let Some(prefix) = &self.prefix {
            return Prefix::resolve(&context.path(prefix));
        }
        if is_root() {
            return Prefix::resolve("/usr/local".into());
        }
        let home = context.environment.get(environment::HOME).filter(|home| !home.is_empty());
        let home =
            home.ok_or_else(|| usage("there is no home directory to install into").hint("add `--prefix DIR`"))?;
        Prefix::resolve(&context.path(home.as_ref()).join(".local"))
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// What a user should know of an installation besides.
pub(super) fn tell(context: &Context, done: &Installation) {
    if let Some(reason) = &done.withdrawn {
        context.warn(format!("{} {} was withdrawn: {}", done.name, done.version, shown(reason)));
    }
    let Some(bin) = done.programs.first().and_then(|program| program.parent()) else { return };
    let on_path = context
        .environment
        .get(environment::PATH)
        .is_some_and(|path| std::env::split_paths(path).any(|one| bin == one));
    if !on_path && done.status != Ending::Planned {
        context
            .output
            .note(&format!("`{bin}` is not on your PATH: add `export PATH=\"{bin}:$PATH\"` to your shell's profile"));
    }
}

/// What was installed, and how it was verified.
pub(super) fn describe(done: &Installation) -> String {
    let what = format!("{} {}", done.name, done.version);
    let headline = match (done.status, &done.previous) {
        (Ending::Unchanged, _) => format!("{what} is installed already"),
        (Ending::Planned, Some(previous)) => format!("{} {what}, in the place of {previous}", "would install".cyan()),
        (Ending::Planned, None) => format!("{} {what}", "would install".cyan()),
        (_, Some(previous)) => format!("{} {what}, in the place of {previous}", "installed".green()),
        (_, None) => format!("{} {what}", "installed".green()),
    };
    let platform = done.platform.map_or_else(|| "unknown".to_owned(), |platform| platform.to_string());
    let mut rows = vec![
        row("platform", platform),
        row(kind_of(&done.origin), shown(place_of(&done.origin)).into_owned()),
        row("archive", format!("{}, {}", done.archive, output::bytes(done.size_bytes))),
        row("sha256", done.sha256.to_string()),
        row("verified", verified(&done.trust)),
    ];
    rows.extend(done.programs.iter().map(|program| row("program", program.to_string())));
    rows.extend(done.backups.iter().map(|backup| row("kept aside", backup.to_string())));
    rows.extend(done.removed.iter().map(|version| row("removed", version.to_string())));
    format!("{headline}\n{}", output::table(&rows))
}

/// A line of a table: what it is about, and that.
pub(super) fn row(name: &str, value: String) -> Vec<String> {
    vec![name.dimmed().to_string(), value]
}

/// What something was installed from, in a word.
pub(super) const fn kind_of(origin: &Origin) -> &'static str {
    match origin {
        Origin::Index { .. } => "index",
        Origin::Catalog { .. } => "catalog",
        Origin::Loose { .. } => "file",
    }
}

/// Where that is.
pub(super) fn place_of(origin: &Origin) -> &str {
    match origin {
        Origin::Index { place } | Origin::Catalog { place, .. } | Origin::Loose { place } => place,
    }
}

/// How something was verified.
pub(super) fn verified(trust: &Trust) -> String {
    match trust {
        Trust::Unchecked => format!("{}, and by nobody known: no key was named", "whole".yellow()),
        Trust::Keys { keys } => format!("{} by {}", "signed".green(), keys.join(" and ")),
        Trust::Catalog { root_version, judged_at } => {
            let when = judged_at.map(|at| format!(", as at {at}")).unwrap_or_default();
            format!("{} in the catalog of root version {root_version}{when}", "listed".green())
        }
    }
}
