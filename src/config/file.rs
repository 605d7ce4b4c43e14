//! `consign.toml` as it is written: the tables, their schema, and errors that name the line.
//!
//! The structs below are the one list of keys: the JSON schema, the check for unknown keys and the
//! test of the template are all made from them.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::document;
use crate::model::Platform;
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::stage::Stage;
use crate::pipeline::request::{Builder, SmokePlace};
use crate::provider::ProviderKind;

/// The file: its content and where each key stands.
#[derive(Debug)]
pub(super) struct File {
    /// Where it was read from.
    pub(super) path: Utf8PathBuf,
    /// The path as it is shown.
    pub(super) shown: String,
    /// What it says.
    pub(super) content: Content,
    /// `archive.format` → the line it stands on.
    lines: BTreeMap<String, usize>,
}

impl File {
    /// Where a key stands, as it is shown: `consign.toml:3`.
    pub(super) fn place(&self, key: &str) -> String {
        match self.lines.get(key) {
            Some(line) => format!("{}:{line}", self.shown),
            None => self.shown.clone(),
        }
    }
}

/// The settings of a release. Everything is optional.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "consign.toml")]
pub(super) struct Content {
    /// The product's name, which archives begin with; default: the package's name.
    pub(super) name: Option<String>,
    /// The cargo packages to release; default: those with binaries.
    pub(super) packages: Option<Vec<String>>,
    /// The binaries to release; default: all of the packages'.
    pub(super) binaries: Option<Vec<String>>,
    /// The platforms to release for, such as linux-amd64; default: the host.
    pub(super) platforms: Option<Vec<String>>,
    /// Where everything is written, below the workspace's root; default: dist.
    pub(super) dist: Option<String>,
    /// How to build where a platform says nothing else.
    pub(super) build: BuildTable,
    /// What is different for a platform.
    pub(super) platform: BTreeMap<String, PlatformTable>,
    /// How archives are made.
    pub(super) archive: ArchiveTable,
    /// The installers that are rendered for each release.
    pub(super) installer: InstallerTable,
    /// The stage test.
    pub(super) test: TestTable,
    /// The stage smoke.
    pub(super) smoke: SmokeTable,
    /// The release notes.
    pub(super) notes: NotesTable,
    /// Where to publish to.
    pub(super) publish: PublishTable,
    /// The registry that what was published becomes an artifact of.
    pub(super) registry: RegistryTable,
    /// The catalog of published versions.
    pub(super) catalog: CatalogTable,
    /// The workflows that `consign init` renders.
    pub(super) workflows: WorkflowsTable,
    /// What other installers are given to read.
    pub(super) interop: InteropTable,
    /// Commands before and after stages, without a shell: before-<stage>, after-<stage>.
    pub(super) hooks: BTreeMap<String, Commands>,
}

/// How to build.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct BuildTable {
    /// What builds; default: cargo.
    pub(super) builder: Option<Builder>,
    /// The command of the builder `command`, as a list of words.
    pub(super) command: Option<Vec<String>>,
    /// The cargo profile; default: release.
    pub(super) profile: Option<String>,
    /// Features to switch on.
    pub(super) features: Option<Vec<String>>,
    /// Switch on every feature.
    pub(super) all_features: Option<bool>,
    /// Leave the default features off.
    pub(super) no_default_features: Option<bool>,
}

/// What is different for a platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct PlatformTable {
    /// Another Rust target triple.
    pub(super) target: Option<String>,
    /// Another builder.
    pub(super) builder: Option<Builder>,
    /// Another command of the builder `command`.
    pub(super) command: Option<Vec<String>>,
    /// The linker for the target.
    pub(super) linker: Option<String>,
    /// The program that runs this platform's binaries on this host, as a list of words.
    pub(super) runner: Option<Vec<String>>,
    /// More features.
    pub(super) features: Option<Vec<String>>,
    /// More arguments for cargo, such as `-Zbuild-std`.
    pub(super) arguments: Option<Vec<String>>,
    /// Variables for the build, such as `RUSTC`. Never put a secret here: the plan shows them.
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// Another archive format.
    pub(super) format: Option<ArchiveFormat>,
}

/// How archives are made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct ArchiveTable {
    /// The format; default: zip for Windows, tar.gz elsewhere.
    pub(super) format: Option<ArchiveFormat>,
    /// The file name without its ending, with {name}, {version}, {platform} and {target}.
    pub(super) name_pattern: Option<String>,
    /// More files to pack: globs below the workspace's root.
    pub(super) include: Option<Vec<String>>,
    /// The compression level; default: 6 for gzip and zip, 19 for zstd.
    #[schemars(range(min = 1, max = 22))]
    pub(super) level: Option<u8>,
}

/// The installers that are rendered for each release.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct InstallerTable {
    /// Whether there is an install.sh; default: true.
    pub(super) sh: Option<bool>,
    /// Whether there is an install.ps1; default: if there is a platform of Windows.
    pub(super) ps1: Option<bool>,
    /// Where they fetch a release from, with {tag} and {version}; default: the releases of the GitHub repository.
    pub(super) base_url: Option<String>,
    /// The catalog's root that they carry, a path below the workspace's root.
    pub(super) root: Option<String>,
}

/// The stage test.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct TestTable {
    /// The command, as a list of words; default: cargo test --workspace.
    pub(super) command: Option<Vec<String>>,
}

/// The stage smoke.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct SmokeTable {
    /// Where: host, docker, or both; default: host.
    pub(super) on: Option<Vec<SmokePlace>>,
    /// The services to run in containers, a path beside this file; default: docker/smoke.toml.
    pub(super) matrix: Option<String>,
    /// Run the services with one of these labels; default: all.
    pub(super) labels: Option<Vec<String>>,
    /// Images, or tar files, in the place of bases of that file.
    pub(super) bases: Option<BTreeMap<String, String>>,
    /// The arguments that each binary is run with; default: --version, then --help.
    pub(super) commands: Option<Commands>,
    /// How long one may take, such as 10s or 500ms; default: 10s.
    pub(super) timeout: Option<String>,
}

/// The release notes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct NotesTable {
    /// A template of your own, a path beside this file.
    pub(super) template: Option<String>,
}

/// Where to publish to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct PublishTable {
    /// The kind of place.
    pub(super) provider: Option<ProviderKind>,
    /// The place: a directory, seen from this file, or a repository on GitHub (`owner/repository`).
    pub(super) target: Option<String>,
    /// Where what was published can be fetched from.
    pub(super) base_url: Option<String>,
}

/// The registry that what was published becomes an artifact of.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RegistryTable {
    /// Its address; default: nothing is registered.
    pub(super) url: Option<String>,
    /// What the artifact is one of; default: the product's name.
    pub(super) service: Option<String>,
}

/// The catalog of published versions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct CatalogTable {
    /// How long its timestamp is good for where a scheduled job signs it anew, such as 14d.
    pub(super) refresh: Option<String>,
    /// How long a root is good for; default: 365d.
    pub(super) root_expires: Option<String>,
    /// How long the list of files is good for; default: 365d.
    pub(super) targets_expires: Option<String>,
    /// How long a snapshot is good for; default: 365d.
    pub(super) snapshot_expires: Option<String>,
    /// How long a timestamp is good for; default: that of refresh, else 365d.
    pub(super) timestamp_expires: Option<String>,
}

/// The workflows that `consign init` renders.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct WorkflowsTable {
    /// The environment of the forge that guards publishing and holds its secrets; default: release.
    pub(super) environment: Option<String>,
    /// Whether the forge attests every release, and its attestation becomes an asset; default: true.
    pub(super) attestations: Option<bool>,
    /// The branch that a released commit has to be part of; default: any.
    pub(super) branch: Option<String>,
    /// The platforms that they release for, where this machine has no need of them; default: platforms.
    pub(super) platforms: Option<Vec<String>>,
}

/// What other installers are given to read; all of it is off by default.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct InteropTable {
    /// Write dist-manifest.json, as dist does.
    pub(super) dist_manifest: Option<bool>,
    /// Write NAME.rb, a Homebrew formula.
    pub(super) homebrew: Option<bool>,
    /// Write NAME.json, a Scoop manifest.
    pub(super) scoop: Option<bool>,
    /// Write NAME.ndjson: the release on one line, for a list of versions.
    pub(super) versions: Option<bool>,
    /// Sign every asset in minisign's form too; this takes an Ed25519 key.
    pub(super) minisign: Option<bool>,
}

/// One command or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a command as a list of words, or a list of such lists")]
pub(super) enum Commands {
    /// A command as a list of words.
    One(Vec<String>),
    /// Several commands.
    Many(Vec<Vec<String>>),
}

impl Commands {
    /// The commands as a list.
    pub(super) fn list(self) -> Vec<Vec<String>> {
        match self {
            Self::One(words) if words.is_empty() => Vec::new(),
            Self::One(words) => vec![words],
            Self::Many(commands) => commands,
        }
    }
}

/// The JSON schema of the file, as text.
pub fn schema() -> String {
    document::schema_text(schema_value())
}

/// Reads and checks the file. Shown is the part of its path below `directory`, if it is there.
pub(super) fn read(path: &Utf8Path, directory: &Utf8Path) -> Result<File> {
    let (shown, source) = document::read(path, directory, "`consign init` writes one")?;
    let (content, lines) = parse(&source, &shown)?;
    Ok(File { path: path.to_owned(), shown, content, lines })
}

/// Reads the text of a file: its content and the line of every key.
pub(super) fn parse(source: &str, shown: &str) -> Result<(Content, BTreeMap<String, usize>)> {
    document::parse(source, shown, &schema_value())
}

/// The schema with everything in its place, and with the names of platforms and hooks.
fn schema_value() -> Value {
    let mut schema = document::schema_of::<Content>();
    let platforms: Vec<_> = Platform::all().map(Platform::name).collect();
    schema["properties"]["platform"]["propertyNames"] = serde_json::json!({ "enum": platforms });
    schema["properties"]["hooks"]["propertyNames"] = serde_json::json!({ "enum": hook_names() });
    schema
}

fn hook_names() -> Vec<String> {
    Stage::ALL.iter().flat_map(|stage| [format!("before-{stage}"), format!("after-{stage}")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;

    fn refused(source: &str) -> (String, Option<String>, Vec<String>) {
        let failure = parse(source, "consign.toml").expect_err(source);
        assert_eq!(failure.code(), Code::ConfigInvalid);
        (failure.to_string(), failure.way_out().map(str::to_owned), failure.chain())
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest() {
        for (source, key, line, nearest) in [
            ("name = \"x\"\nplatfroms = []\n", "platfroms", 2, "platforms"),
            ("[build]\nbuilder = \"cargo\"\nprofil = \"x\"", "build.profil", 3, "profile"),
            ("[platform.linux-amd64]\n\nlinkr = \"x\"", "platform.linux-amd64.linkr", 3, "linker"),
            ("[platform.linux-amd46]\nlinker = \"x\"", "platform.linux-amd46", 1, "linux-amd64"),
            ("[hooks]\nbefore-bulid = []", "hooks.before-bulid", 2, "before-build"),
            ("[archiv]\n", "archiv", 1, "archive"),
            ("archive.nam-pattern = \"x\"", "archive.nam-pattern", 1, "name-pattern"),
            ("publish = { base_url = \"x\" }", "publish.base_url", 1, "base-url"),
        ] {
            let (message, hint, _) = refused(source);
            assert_eq!(message, format!("unknown key `{key}`, `consign.toml` line {line}"));
            assert_eq!(hint, Some(format!("did you mean `{nearest}`?")), "{source}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key_and_line() {
        let (message, _, chain) = refused("name = \"x\"\n[archive]\ninclude = \"README\"\n");
        assert_eq!(message, "`archive.include` cannot be used, `consign.toml` line 3");
        assert!(chain[1].contains("expected a sequence"), "{chain:?}");
        let (message, _, chain) = refused("[hooks]\nbefore-build = 7\n");
        assert_eq!(message, "`hooks.before-build` cannot be used, `consign.toml` line 2");
        assert!(chain[1].contains("list of words"), "{chain:?}");
        let (message, ..) = refused("build = 3");
        assert_eq!(message, "`build` cannot be used, `consign.toml` line 1");
        let (_, _, chain) = refused("[build]\nbuilder = \"make\"");
        assert!(chain[1].contains("zigbuild"), "{chain:?}");
    }

    #[test]
    fn what_is_not_toml_names_line_and_column() {
        let (message, ..) = refused("name = \"x\"\nplatforms = [\"a\"\n[build\n");
        assert!(message.starts_with("`consign.toml` is not TOML at line "), "{message}");
        refused("name = \"a\"\nname = \"b\"");
        refused("\u{1b}[31m = 1");
    }

    #[test]
    fn one_command_and_several_are_both_read() {
        let (content, lines) =
            parse("[hooks]\nbefore-build = [\"a\", \"b\"]\nafter-build = [[\"c\"], [\"d\"]]", "x").expect("good");
        let hook = |name: &str| content.hooks[name].clone().list();
        assert_eq!(hook("before-build"), [["a", "b"]]);
        assert_eq!(hook("after-build"), [["c"], ["d"]]);
        assert_eq!(lines["hooks.after-build"], 3);
    }
}
