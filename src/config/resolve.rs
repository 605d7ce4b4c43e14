//! Flag over environment over file over default: the one place where the four meet.
//!
//! [`Settings::resolve`] makes the request and, in the same pass, the row of every value, so that
//! what `config show` prints is what is used.

mod publish;
mod register;
mod smoke;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::file::{Content, InteropTable, PlatformTable};
use super::values::{self, invalid};
use super::{Settings, environment};
use crate::catalog::lifetimes::{Lifetimes, Refresh};
use crate::model::failure::Result;
use crate::model::source::LATEST_SECONDS;
use crate::model::{Failure, Platform, text};
use crate::pipeline::interop::Interop;
use crate::pipeline::request::{
    ArchiveOptions, Build, Builder, Installer, Mode, NAME_PATTERN, PlatformBuild, Request, SmokePlace, Workflows,
};
use crate::provider::ProviderKind;

/// What the flags say. Nothing said: `None`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The release version or tag.
    pub version: Option<String>,
    /// Whether this is a rehearsal or the release.
    pub mode: Option<Mode>,
    /// The product's name.
    pub name: Option<String>,
    /// The cargo packages.
    pub packages: Option<Vec<String>>,
    /// The binaries.
    pub binaries: Option<Vec<String>>,
    /// The platforms, as they were written.
    pub platforms: Option<Vec<String>>,
    /// Where everything is written.
    pub dist: Option<Utf8PathBuf>,
    /// The builder.
    pub builder: Option<Builder>,
    /// The cargo profile.
    pub profile: Option<String>,
    /// Features to switch on.
    pub features: Option<Vec<String>>,
    /// Switch on every feature.
    pub all_features: Option<bool>,
    /// Leave the default features off.
    pub no_default_features: Option<bool>,
    /// Where the stage `smoke` runs something.
    pub smoke: Option<Vec<SmokePlace>>,
    /// Images, or tar files, in the place of bases of the services in containers.
    pub smoke_bases: Option<BTreeMap<String, String>>,
    /// A template of the user's own for the release notes.
    pub notes_template: Option<Utf8PathBuf>,
    /// The kind of place to publish to.
    pub provider: Option<ProviderKind>,
    /// The place to publish to.
    pub target: Option<String>,
    /// Where what was published can be fetched from.
    pub base_url: Option<String>,
    /// The registry that what was published becomes an artifact of.
    pub register: Option<String>,
}

/// Everything decided.
#[derive(Debug)]
pub struct Resolved {
    /// What the pipeline is asked for.
    pub request: Request,
    /// Whether every verification demands signatures (`CONSIGN_REQUIRE_SIGNATURES`).
    pub require_signatures: bool,
    /// Whether the environment asks for publishing, or against it (`CONSIGN_RUN_PUBLISH`).
    pub run_publish: Option<bool>,
    /// Every value with its origin, in the order of the documentation.
    pub rows: Vec<Row>,
    /// What the user should know and what stops nothing.
    pub warnings: Vec<String>,
}

/// One value with its origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The key, as in the file: `archive.format`.
    pub key: String,
    /// The value, without credentials; null where there is none.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
    /// What stands for a value that is not there.
    #[serde(skip)]
    absent: &'static str,
}

impl Row {
    /// The value as people read it.
    pub fn text(&self) -> String {
        match &self.value {
            Value::Null => format!("({})", self.absent),
            Value::String(text) => text.clone(),
            Value::Array(list) if list.is_empty() => format!("({})", self.absent),
            Value::Array(list) if list.iter().all(Value::is_string) => {
                list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment(&'static str),
    /// The file: `consign.toml:3`.
    File(String),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(place) => f.write_str(place),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Settings {
    /// Puts flags over environment over file over default.
    pub fn resolve(&self, flags: &Overrides) -> Result<Resolved> {
        let mut layers = Layers { settings: self, rows: Vec::new(), warnings: Vec::new() };
        let mode = flags.mode.unwrap_or_default();
        // The fields stand in the order of the documentation, for each of them makes its rows.
        let request = Request {
            directory: self.directory.clone(),
            mode,
            withheld: self.environment.secrets().names().to_vec(),
            version: layers.version(flags),
            name: layers.plain("name", flags.name.as_ref(), |file| file.name.clone(), "the package's name"),
            packages: layers.list(
                "packages",
                flags.packages.as_ref(),
                |file| file.packages.clone(),
                "those with binaries",
            ),
            binaries: layers.list(
                "binaries",
                flags.binaries.as_ref(),
                |file| file.binaries.clone(),
                "all of the packages'",
            ),
            platforms: layers.platforms(flags)?,
            dist: layers.dist(flags),
            build: layers.build(flags)?,
            platform: layers.platform_tables()?,
            archive: layers.archive()?,
            installer: layers.installer()?,
            test: layers.test()?,
            smoke: layers.smoke(flags)?,
            notes_template: layers.notes(flags),
            publish: layers.publish(flags, mode)?,
            remote_base_url: layers.base_url(flags),
            register: layers.register(flags)?,
            job: layers.job(),
            catalog: layers.catalog()?,
            workflows: layers.workflows()?,
            interop: layers.interop(),
            hooks: layers.hooks()?,
            source_date_epoch: layers.source_date_epoch()?,
            environment: self.environment.of_builds(),
        };
        let require_signatures = layers.switch("require-signatures", environment::CONSIGN_REQUIRE_SIGNATURES)?;
        let run_publish = layers.switch("run-publish", environment::CONSIGN_RUN_PUBLISH)?;
        Ok(Resolved {
            request,
            require_signatures: require_signatures.unwrap_or(false),
            run_publish,
            rows: layers.rows,
            warnings: layers.warnings,
        })
    }
}

/// The layers of one resolution, with the rows and warnings made so far.
struct Layers<'a> {
    settings: &'a Settings,
    rows: Vec<Row>,
    warnings: Vec<String>,
}

/// A value with where it comes from; the origin is what a failure blames.
type Sourced<T> = Option<(T, Origin)>;

impl<'a> Layers<'a> {
    fn version(&mut self, flags: &Overrides) -> Option<String> {
        let variable = self.variable(environment::CONSIGN_VERSION);
        let version = self.pick("version", flags.version.clone(), variable, None, "the workspace's version");
        version.map(|(version, _)| version)
    }

    fn platforms(&mut self, flags: &Overrides) -> Result<Vec<Platform>> {
        let variable = self.variable(environment::CONSIGN_PLATFORMS).map(|(name, value)| (name, words(&value)));
        let file = self.file(|file| file.platforms.clone());
        let platforms = self.pick("platforms", flags.platforms.clone(), variable, file, "this host");
        platforms.map_or(Ok(Vec::new()), |(names, origin)| parse_platforms(&names, &origin))
    }

    fn dist(&mut self, flags: &Overrides) -> Utf8PathBuf {
        let flag = flags.dist.clone().map(String::from);
        let variable = self.variable(environment::CONSIGN_DIST);
        let file = self.file(|file| file.dist.clone());
        self.fixed("dist", flag, variable, file, "dist".to_owned()).into()
    }

    fn build(&mut self, flags: &Overrides) -> Result<Build> {
        let builder = self.file(|file| file.build.builder);
        let builder = self.fixed("build.builder", flags.builder, None, builder, Builder::Cargo);
        let command = self.file(|file| file.build.command.clone());
        let command = self.pick("build.command", None, None, command, "none");
        if let Some((words, origin)) = &command {
            values::command(words).map_err(|failure| blame(failure, "build.command", origin))?;
        }
        let profile = self.file(|file| file.build.profile.clone());
        let features = |file: &Content| file.build.features.clone();
        let (all, none) = (self.file(|file| file.build.all_features), self.file(|file| file.build.no_default_features));
        Ok(Build {
            builder,
            command: command.map(|(words, _)| words).unwrap_or_default(),
            profile: Some(self.fixed("build.profile", flags.profile.clone(), None, profile, "release".to_owned())),
            features: self.list("build.features", flags.features.as_ref(), features, "the default features"),
            all_features: self.fixed("build.all-features", flags.all_features, None, all, false),
            no_default_features: self.fixed("build.no-default-features", flags.no_default_features, None, none, false),
        })
    }

    fn platform_tables(&mut self) -> Result<BTreeMap<Platform, PlatformBuild>> {
        let Some(file) = self.content() else { return Ok(BTreeMap::new()) };
        let mut platforms = BTreeMap::new();
        for (name, table) in &file.platform {
            let origin = self.place(&format!("platform.{name}"));
            let platform: Platform = name.parse().map_err(|failure| blame(failure, "platform", &origin))?;
            platforms.insert(platform, self.platform(name, table)?);
        }
        Ok(platforms)
    }

    fn platform(&mut self, name: &str, table: &PlatformTable) -> Result<PlatformBuild> {
        for (key, words) in [("command", &table.command), ("runner", &table.runner)] {
            if let Some(words) = words {
                let key = format!("platform.{name}.{key}");
                values::command(words).map_err(|failure| blame(failure, &key, &self.place(&key)))?;
            }
        }
        if let Some(variables) = &table.environment {
            let key = format!("platform.{name}.environment");
            values::variables(variables).map_err(|failure| blame(failure, &key, &self.place(&key)))?;
        }
        let platform = PlatformBuild {
            target: table.target.clone(),
            builder: table.builder,
            command: table.command.clone().unwrap_or_default(),
            linker: table.linker.clone(),
            runner: table.runner.clone().unwrap_or_default(),
            features: table.features.clone().unwrap_or_default(),
            arguments: table.arguments.clone().unwrap_or_default(),
            environment: table.environment.clone().unwrap_or_default(),
            format: table.format,
        };
        self.set(name, "target", table.target.as_ref());
        self.set(name, "builder", table.builder.as_ref());
        self.set(name, "command", table.command.as_ref());
        self.set(name, "linker", table.linker.as_ref());
        self.set(name, "runner", table.runner.as_ref());
        self.set(name, "features", table.features.as_ref());
        self.set(name, "arguments", table.arguments.as_ref());
        self.set(name, "environment", table.environment.as_ref());
        self.set(name, "format", table.format.as_ref());
        Ok(platform)
    }

    /// Makes the row of a key of a platform, where the file has one.
    fn set(&mut self, platform: &str, key: &str, value: Option<&impl Serialize>) {
        if let Some(value) = value {
            let key = format!("platform.{platform}.{key}");
            let origin = self.place(&key);
            self.row(&key, Some(value), origin, "none");
        }
    }

    fn archive(&mut self) -> Result<ArchiveOptions> {
        let format = |file: &Content| file.archive.format;
        let format = self.plain("archive.format", None, format, "zip for Windows, tar.gz elsewhere");
        let pattern = self.file(|file| file.archive.name_pattern.clone());
        let pattern = self.pick("archive.name-pattern", None, None, pattern, NAME_PATTERN);
        if let Some((pattern, origin)) = &pattern {
            values::pattern(pattern).map_err(|failure| blame(failure, "archive.name-pattern", origin))?;
        }
        let include = self.list("archive.include", None, |file| file.archive.include.clone(), "nothing more");
        let level = self.file(|file| file.archive.level);
        let level = self.pick("archive.level", None, None, level, "6, for zstd 19");
        if let Some((level, origin)) = &level {
            values::level(*level).map_err(|failure| blame(failure, "archive.level", origin))?;
        }
        Ok(ArchiveOptions {
            format,
            name_pattern: pattern.map(|(pattern, _)| pattern),
            include,
            level: level.map(|(level, _)| level),
        })
    }

    fn installer(&mut self) -> Result<Installer> {
        let sh = self.file(|file| file.installer.sh);
        let sh = self.fixed("installer.sh", None, None, sh, true);
        let ps1 = self.plain("installer.ps1", None, |file| file.installer.ps1, "for releases for Windows");
        let base_url = self.file(|file| file.installer.base_url.clone());
        let base_url = self.pick("installer.base-url", None, None, base_url, "the repository's releases");
        if let Some((url, origin)) = &base_url {
            values::base_url(url).map_err(|failure| blame(failure, "installer.base-url", origin))?;
        }
        let root = self.file(|file| file.installer.root.clone());
        let root = self.pick("installer.root", None, None, root, "none");
        if let Some((path, origin)) = &root {
            values::below(path).map_err(|failure| blame(failure, "installer.root", origin))?;
        }
        Ok(Installer { sh, ps1, base_url: base_url.map(|(url, _)| url), root: root.map(|(path, _)| path) })
    }

    /// Empty unless the user chose a command: the plan knows the default.
    fn test(&mut self) -> Result<Vec<String>> {
        let file = self.file(|file| file.test.command.clone());
        let command = self.pick("test.command", None, None, file, "cargo test --workspace");
        let Some((command, origin)) = command else { return Ok(Vec::new()) };
        values::command(&command).map_err(|failure| blame(failure, "test.command", &origin))?;
        Ok(command)
    }

    fn notes(&mut self, flags: &Overrides) -> Option<Utf8PathBuf> {
        let flag = flags.notes_template.as_ref().map(|path| self.settings.directory.join(path));
        let file = self.file(|file| file.notes.template.clone()).map(|path| self.beside_file(&path));
        self.pick("notes.template", flag, None, file, "the built-in one").map(|(path, _)| path)
    }

    fn catalog(&mut self) -> Result<Lifetimes> {
        let refresh = self.lifetime("catalog.refresh", |file| file.catalog.refresh.clone(), "by hand")?;
        let mut of = |key: &str, file: fn(&Content) -> Option<String>, default| {
            let lifetime =
                self.lifetime(key, file, if default == Lifetimes::DEFAULT { "365d" } else { "that of refresh" });
            lifetime.map(|lifetime| lifetime.unwrap_or(default))
        };
        Ok(Lifetimes {
            root: of("catalog.root-expires", |file| file.catalog.root_expires.clone(), Lifetimes::DEFAULT)?,
            targets: of("catalog.targets-expires", |file| file.catalog.targets_expires.clone(), Lifetimes::DEFAULT)?,
            snapshot: of("catalog.snapshot-expires", |file| file.catalog.snapshot_expires.clone(), Lifetimes::DEFAULT)?,
            timestamp: of(
                "catalog.timestamp-expires",
                |file| file.catalog.timestamp_expires.clone(),
                refresh.unwrap_or(Lifetimes::DEFAULT),
            )?,
            refresh: if refresh.is_some() { Refresh::Scheduled } else { Refresh::ByHand },
        })
    }

    fn interop(&mut self) -> Interop {
        let mut switch = |key: &str, file: fn(&InteropTable) -> Option<bool>| {
            let file = self.file(|content| file(&content.interop));
            self.fixed(&format!("interop.{key}"), None, None, file, false)
        };
        Interop {
            dist_manifest: switch("dist-manifest", |table| table.dist_manifest),
            homebrew: switch("homebrew", |table| table.homebrew),
            scoop: switch("scoop", |table| table.scoop),
            versions: switch("versions", |table| table.versions),
            minisign: switch("minisign", |table| table.minisign),
        }
    }

    fn lifetime(
        &mut self,
        key: &str,
        file: impl FnOnce(&Content) -> Option<String>,
        absent: &'static str,
    ) -> Result<Option<Duration>> {
        let file = self.file(file);
        let given = self.pick(key, None, None, file, absent);
        given
            .map(|(given, origin)| values::lifetime(&given).map_err(|failure| blame(failure, key, &origin)))
            .transpose()
    }

    fn workflows(&mut self) -> Result<Workflows> {
        let environment = self.file(|file| file.workflows.environment.clone());
        let environment = self.fixed("workflows.environment", None, None, environment, "release".to_owned());
        let attestations = self.file(|file| file.workflows.attestations);
        let attestations = self.fixed("workflows.attestations", None, None, attestations, true);
        let branch = self.file(|file| file.workflows.branch.clone());
        let branch = self.pick("workflows.branch", None, None, branch, "any").map(|(branch, _)| branch);
        for (key, name) in [("workflows.environment", Some(&environment)), ("workflows.branch", branch.as_ref())] {
            if let Some(name) = name {
                values::forge_name(name).map_err(|failure| blame(failure, key, &self.place(key)))?;
            }
        }
        let platforms = self.file(|file| file.workflows.platforms.clone());
        let platforms = self.pick("workflows.platforms", None, None, platforms, "those of platforms");
        let platforms = platforms.map_or(Ok(Vec::new()), |(names, origin)| parse_platforms(&names, &origin))?;
        Ok(Workflows { environment, attestations, branch, platforms })
    }

    fn hooks(&mut self) -> Result<BTreeMap<String, Vec<Vec<String>>>> {
        let Some(file) = self.content() else { return Ok(BTreeMap::new()) };
        let mut hooks = BTreeMap::new();
        for (name, commands) in &file.hooks {
            let (key, commands) = (format!("hooks.{name}"), commands.clone().list());
            let origin = self.place(&key);
            for words in &commands {
                values::command(words).map_err(|failure| blame(failure, &key, &origin))?;
            }
            self.row(&key, Some(&commands), origin, "none");
            hooks.insert(name.clone(), commands);
        }
        Ok(hooks)
    }

    fn source_date_epoch(&mut self) -> Result<Option<i64>> {
        let variable = match self.variable(environment::SOURCE_DATE_EPOCH) {
            None => None,
            Some((name, value)) => match value.parse::<i64>() {
                Ok(seconds) if (0..=LATEST_SECONDS).contains(&seconds) => Some((name, seconds)),
                _ => {
                    let what = format!("`{}` is not a number of seconds from 1970 to 2107", text::shown(&value));
                    let failure = invalid(what).hint("set it to a commit's time: `git log -1 --format=%ct`");
                    return Err(blame(failure, name, &Origin::Environment(name)));
                }
            },
        };
        Ok(self.pick("source-date-epoch", None, variable, None, "the commit's time").map(|(seconds, _)| seconds))
    }

    fn switch(&mut self, key: &str, name: &'static str) -> Result<Option<bool>> {
        let variable = match self.variable(name) {
            None => None,
            Some((name, value)) => {
                let on = values::switch(&value).map_err(|failure| blame(failure, name, &Origin::Environment(name)))?;
                Some((name, on))
            }
        };
        Ok(self.pick(key, None, variable, None, "not asked for").map(|(on, _)| on))
    }

    /// Chooses a value that no variable sets and that may be missing, and makes its row.
    fn plain<T: Serialize + Clone>(
        &mut self,
        key: &str,
        flag: Option<&T>,
        file: impl FnOnce(&Content) -> Option<T>,
        absent: &'static str,
    ) -> Option<T> {
        let file = self.file(file);
        self.pick(key, flag.cloned(), None, file, absent).map(|(value, _)| value)
    }

    /// The same for a list, which is empty where nobody said anything.
    fn list(
        &mut self,
        key: &str,
        flag: Option<&Vec<String>>,
        file: impl FnOnce(&Content) -> Option<Vec<String>>,
        absent: &'static str,
    ) -> Vec<String> {
        self.plain(key, flag, file, absent).unwrap_or_default()
    }

    /// Chooses a value that may be missing, and makes its row.
    fn pick<T: Serialize>(
        &mut self,
        key: &str,
        flag: Option<T>,
        variable: Option<(&'static str, T)>,
        file: Option<T>,
        absent: &'static str,
    ) -> Sourced<T> {
        let chosen = self.choose(key, flag, variable, file);
        let origin = chosen.as_ref().map_or(Origin::Default, |(_, origin)| origin.clone());
        self.row(key, chosen.as_ref().map(|(value, _)| value), origin, absent);
        chosen
    }

    /// Chooses a value that has a default of its own, and makes its row.
    fn fixed<T: Serialize>(
        &mut self,
        key: &str,
        flag: Option<T>,
        variable: Option<(&'static str, T)>,
        file: Option<T>,
        default: T,
    ) -> T {
        let (value, origin) = self.choose(key, flag, variable, file).unwrap_or((default, Origin::Default));
        self.row(key, Some(&value), origin, "none");
        value
    }

    fn choose<T>(
        &self,
        key: &str,
        flag: Option<T>,
        variable: Option<(&'static str, T)>,
        file: Option<T>,
    ) -> Sourced<T> {
        flag.map(|value| (value, Origin::Flag))
            .or_else(|| variable.map(|(name, value)| (value, Origin::Environment(name))))
            .or_else(|| file.map(|value| (value, self.place(key))))
    }

    fn row(&mut self, key: &str, value: Option<&impl Serialize>, origin: Origin, absent: &'static str) {
        let value = value.map_or(Value::Null, |value| serde_json::to_value(value).unwrap_or(Value::Null));
        self.rows.push(Row { key: key.to_owned(), value: text::value_without_credentials(value), origin, absent });
    }

    fn content(&self) -> Option<&'a Content> {
        self.settings.file.as_ref().map(|file| &file.content)
    }

    fn file<T>(&self, value: impl FnOnce(&Content) -> Option<T>) -> Option<T> {
        self.content().and_then(value)
    }

    fn place(&self, key: &str) -> Origin {
        self.settings.file.as_ref().map_or(Origin::Default, |file| Origin::File(file.place(key)))
    }

    fn beside_file(&self, path: &str) -> Utf8PathBuf {
        let directory = self.settings.path().and_then(Utf8Path::parent).unwrap_or(&self.settings.directory);
        directory.join(path)
    }

    fn variable(&self, name: &'static str) -> Option<(&'static str, String)> {
        self.settings.environment.get(name).map(|value| (name, value.to_owned()))
    }
}

/// Says whose value it is that cannot be used. The command line's own failures stay as they are.
fn blame(failure: Failure, key: &str, origin: &Origin) -> Failure {
    let (message, subject) = match origin {
        Origin::Flag | Origin::Default => return failure,
        Origin::Environment(name) => (format!("the environment variable {name} cannot be used"), (*name).to_owned()),
        Origin::File(place) => (format!("`{key}` cannot be used, {place}"), place.clone()),
    };
    let hint = failure.way_out().map(str::to_owned);
    let blamed = invalid(message).subject(subject).because(failure);
    match hint {
        Some(hint) => blamed.hint(hint),
        None => blamed,
    }
}

fn parse_platforms(names: &[String], origin: &Origin) -> Result<Vec<Platform>> {
    let mut platforms = Vec::new();
    for name in names {
        let platform = name.parse().map_err(|failure| blame(failure, "platforms", origin))?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

fn words(list: &str) -> Vec<String> {
    list.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
