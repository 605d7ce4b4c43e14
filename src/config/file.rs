//! `consign.toml` as it is written: the tables, their schema, and errors that name the line.
//!
//! The structs below are the one list of keys: the JSON schema, the check for unknown keys and the
//! test of the template are all made from them.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::nearest;
use crate::model::failure::Result;
use crate::model::index::ArchiveFormat;
use crate::model::stage::Stage;
use crate::model::{Code, Failure, Platform, text};
use crate::pipeline::request::Builder;
use crate::provider::ProviderKind;
use crate::world::files;

/// No configuration is larger.
const MAX_BYTES: usize = 1 << 20;

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
    /// The stage test.
    pub(super) test: TestTable,
    /// The stage smoke.
    pub(super) smoke: SmokeTable,
    /// The release notes.
    pub(super) notes: NotesTable,
    /// Where to publish to.
    pub(super) publish: PublishTable,
    /// The catalog of published versions.
    pub(super) catalog: CatalogTable,
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
    let mut schema = schema_value();
    if let Some(top) = schema.as_object_mut() {
        top.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    }
    String::from_utf8_lossy(&crate::model::pretty(&schema)).into_owned()
}

/// Reads and checks the file. Shown is the part of its path below `directory`, if it is there.
pub(super) fn read(path: &Utf8Path, directory: &Utf8Path) -> Result<File> {
    let shown = text::shown(path.strip_prefix(directory).unwrap_or(path).as_str()).into_owned();
    let invalid = |message: String| Failure::new(Code::ConfigInvalid, message).subject(&*shown);
    if !path.is_file() {
        return Err(invalid(format!("`{shown}` is not a file")).hint("`consign init` writes one"));
    }
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    let source = String::from_utf8(bytes).map_err(|error| {
        invalid(format!("`{shown}` is not UTF-8"))
            .because(error)
            .hint("save the file as UTF-8, without other encodings")
    })?;
    let parsed = parse(&source, &shown)?;
    Ok(File { path: path.to_owned(), shown, content: parsed.0, lines: parsed.1 })
}

/// Reads the text of a file: its content and the line of every key.
pub(super) fn parse(source: &str, shown: &str) -> Result<(Content, BTreeMap<String, usize>)> {
    let table = DeTable::parse(source).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = (line_of(source, at), column_of(source, at));
        Failure::new(Code::ConfigInvalid, format!("`{shown}` is not TOML at line {line}, column {column}"))
            .subject(format!("{shown}:{line}"))
            .because(text::shown(error.message()).into_owned())
    })?;
    let mut keys = Vec::new();
    let schema = schema_value();
    walk(table.get_ref(), &schema, "", &mut keys).map_err(|unknown| unknown.failure(source, shown))?;
    keys.sort_by_key(|(_, span)| span.start);
    let content = toml::from_str(source).map_err(|error| unusable(&error, &keys, source, shown))?;
    let lines = keys.into_iter().map(|(key, span)| (key, line_of(source, span.start))).collect();
    Ok((content, lines))
}

/// The failure of a value that has the wrong type.
fn unusable(error: &toml::de::Error, keys: &[(String, Range<usize>)], source: &str, shown: &str) -> Failure {
    let at = error.span().map_or(0, |span| span.start);
    let line = line_of(source, at);
    let key = keys.iter().rev().find(|(_, span)| span.start <= at).map_or("the file", |(key, _)| key);
    let key = text::shown(key);
    Failure::new(Code::ConfigInvalid, format!("`{key}` cannot be used, `{shown}` line {line}"))
        .subject(format!("{shown}:{line}"))
        .because(text::shown(error.message()).into_owned())
}

/// A key that means nothing.
struct Unknown {
    key: String,
    at: usize,
    nearest: Option<String>,
}

impl Unknown {
    fn failure(self, source: &str, shown: &str) -> Failure {
        let line = line_of(source, self.at);
        let failure = Failure::new(
            Code::ConfigInvalid,
            format!("unknown key `{}`, `{shown}` line {line}", text::shown(&self.key)),
        )
        .subject(format!("{shown}:{line}"));
        match self.nearest {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
            None => failure,
        }
    }
}

/// Notes where every key stands, and stops at the first one that the schema does not have.
fn walk(
    table: &DeTable<'_>,
    schema: &Value,
    above: &str,
    keys: &mut Vec<(String, Range<usize>)>,
) -> Result<(), Unknown> {
    // In the order of the file, so that the first mistake is the one that is named.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name: &str = key.get_ref();
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let below = below(schema, name).map_err(|known| Unknown {
            key: path.clone(),
            at: key.span().start,
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
        })?;
        keys.push((path.clone(), key.span()));
        if let (DeValue::Table(table), Some(schema)) = (value.get_ref(), below.filter(|schema| is_table(schema))) {
            walk(table, schema, &path, keys)?;
        }
    }
    Ok(())
}

/// The schema of a key in a table, or else the keys that there are.
fn below<'a>(schema: &'a Value, name: &str) -> Result<Option<&'a Value>, Vec<String>> {
    if let Some(properties) = schema["properties"].as_object() {
        return match properties.get(name) {
            Some(below) => Ok(Some(below)),
            None => Err(properties.keys().cloned().collect()),
        };
    }
    let names: Vec<String> = schema["propertyNames"]["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if names.is_empty() || names.iter().any(|known| known == name) {
        return Ok(schema.get("additionalProperties"));
    }
    Err(names)
}

fn is_table(schema: &Value) -> bool {
    schema.get("properties").is_some() || schema.get("propertyNames").is_some()
}

/// The schema with everything in its place, and with the names of platforms and hooks.
fn schema_value() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Content>().to_value();
    without_null(&mut schema);
    let platforms: Vec<_> = Platform::all().map(Platform::name).collect();
    schema["properties"]["platform"]["propertyNames"] = serde_json::json!({ "enum": platforms });
    schema["properties"]["hooks"]["propertyNames"] = serde_json::json!({ "enum": hook_names() });
    schema
}

/// TOML has no null: a key that may be left out is not one that may be null.
fn without_null(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(kind) = object.get("type").and_then(Value::as_array).and_then(|kinds| kinds.first()).cloned() {
            object.insert("type".to_owned(), kind);
        }
        if let Some(Value::Array(mut choices)) = object.remove("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = &*choices {
                for (key, value) in only {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            } else {
                object.insert("anyOf".to_owned(), choices.into());
            }
        }
        object.values_mut().for_each(without_null);
    } else if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(without_null);
    }
}

fn hook_names() -> Vec<String> {
    Stage::ALL.iter().flat_map(|stage| [format!("before-{stage}"), format!("after-{stage}")]).collect()
}

fn line_of(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn column_of(source: &str, at: usize) -> usize {
    let before = source.get(..at).unwrap_or(source);
    before.rsplit('\n').next().unwrap_or_default().chars().count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

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
