//! The workflows of a repository: jobs of a forge that do nothing but call our verbs.
//!
//! [`render`] is pure: the same settings give the same files. Users get them from `consign init`, and
//! Consign's own repository from `cargo xtask codegen`. Whatever comes from a setting is written as a quoted
//! word; whatever comes from an event reaches a command through its environment only. Actions are pinned by
//! commit.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use super::marks;
use super::request::Request;
use crate::catalog::lifetimes::Refresh;
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// Where a forge looks for workflows, below the repository's root.
pub const DIRECTORY: &str = ".github/workflows";

/// The repository in which Consign is released.
const REPOSITORY: &str = "consign-rs/consign";

/// The actions that are used: what the templates call them, the action, the commit and its tag.
const ACTIONS: [(&str, &str, &str, &str); 4] = [
    ("checkout", "actions/checkout", "3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    ("upload_artifact", "actions/upload-artifact", "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
    ("download_artifact", "actions/download-artifact", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    ("attest", "actions/attest-build-provenance", "a2bbfa25375fe432b6a289bc6b6cd05ecd0c4c32", "v4.1.0"),
];

/// The templates: those of whole files, and the parts that they share.
const TEMPLATES: [(&str, &str); 6] = [
    ("ci.yml", include_str!("../../templates/workflows/ci.yml.j2")),
    ("release.yml", include_str!("../../templates/workflows/release.yml.j2")),
    ("smoke.yml", include_str!("../../templates/workflows/smoke.yml.j2")),
    ("catalog-refresh.yml", include_str!("../../templates/workflows/catalog-refresh.yml.j2")),
    ("build.yml.j2", include_str!("../../templates/workflows/build.yml.j2")),
    ("setup.yml.j2", include_str!("../../templates/workflows/setup.yml.j2")),
];

/// A timestamp that is good for less is signed anew every hour, any other one every day.
const DAILY_FROM: Duration = Duration::from_secs(72 * 60 * 60);

/// Who calls the verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user: with a Consign that is released.
    Consign,
    /// Consign's own repository: with the source that is checked out.
    Xtask,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// Its name in [`DIRECTORY`].
    pub name: &'static str,
    /// Its content.
    pub content: String,
}

/// Everything that the templates use. Texts from settings are quoted already.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question that the templates ask")]
struct Page {
    own: bool,
    consign: &'static str,
    generator: &'static str,
    consign_repository: &'static str,
    consign_release: String,
    actions: BTreeMap<&'static str, String>,
    below: Option<String>,
    dist: String,
    branch: Option<String>,
    environment: String,
    catalog_environment: String,
    attestations: bool,
    platforms: Option<String>,
    provider_from_variables: bool,
    registry: Option<String>,
    on_windows: bool,
    cron: &'static str,
}

/// Renders every workflow that the settings ask for. `below` is where the workspace is below the
/// repository's root.
pub fn render(caller: Caller, request: &Request, below: &Utf8Path) -> Result<Vec<Workflow>> {
    let page = Value::from(Serde(page(caller, request, below)?));
    let environment = environment()?;
    let refreshed = request.catalog.refresh == Refresh::Scheduled;
    let wanted = |name: &str| name.strip_suffix(".yml").is_some() && (refreshed || name != "catalog-refresh.yml");
    TEMPLATES
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, _)| {
            let template = environment.get_template(name).map_err(|error| invalid(name, &error))?;
            let content = template.render(&page).map_err(|error| invalid(name, &error))?;
            Ok(Workflow { name, content })
        })
        .collect()
}

fn page(caller: Caller, request: &Request, below: &Utf8Path) -> Result<Page> {
    let (own, version) = (caller == Caller::Xtask, env!("CARGO_PKG_VERSION"));
    let dist = if request.dist.is_absolute() { request.dist.clone() } else { below.join(&request.dist) };
    let action = |(name, action, commit, tag): (_, &str, &str, &str)| (name, format!("{action}@{commit} # {tag}"));
    let settings = &request.workflows;
    let names: Vec<_> = settings.platforms.iter().map(|platform| platform.name()).collect();
    Ok(Page {
        own,
        consign: if own { "cargo xtask" } else { "consign" },
        generator: if own { "cargo xtask codegen" } else { "consign init" },
        consign_repository: REPOSITORY,
        consign_release: format!("https://github.com/{REPOSITORY}/releases/download/v{version}"),
        actions: ACTIONS.into_iter().map(action).collect(),
        below: if below.as_str().is_empty() { None } else { Some(path(below)?) },
        dist: path(&dist)?,
        branch: settings.branch.as_deref().map(quoted),
        environment: quoted(&settings.environment),
        catalog_environment: quoted(&format!("{}-catalog", settings.environment)),
        attestations: settings.attestations,
        platforms: if names.is_empty() { None } else { Some(quoted(&names.join(" "))) },
        provider_from_variables: request.publish.is_none(),
        registry: request.register.as_ref().map(|registry| quoted(&registry.address)),
        on_windows: false,
        cron: if request.catalog.timestamp < DAILY_FROM { "\"17 * * * *\"" } else { "\"17 4 * * *\"" },
    })
}

/// A path as it can stand in YAML, alone and before another part of it.
fn path(path: &Utf8Path) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    let text = path.as_str().replace('\\', "/");
    if text.starts_with(|c: char| c.is_ascii_alphanumeric() || "/._".contains(c)) && text.chars().all(plain) {
        return Ok(text);
    }
    Err(Failure::new(Code::NameInvalid, format!("the path {text:?} cannot be written into a workflow"))
        .subject("dist")
        .hint("use letters, digits, dots, hyphens and underscores only"))
}

/// A text that YAML reads as nothing but itself: JSON is YAML.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text always serialises")
}

fn environment() -> Result<Environment<'static>> {
    let mut environment = marks::environment().map_err(|error| invalid("workflows", &error))?;
    for (name, source) in TEMPLATES {
        environment.add_template(name, source).map_err(|error| invalid(name, &error))?;
    }
    Ok(environment)
}

fn invalid(name: &str, error: &minijinja::Error) -> Failure {
    Failure::new(Code::TemplateInvalid, format!("failed to render `{name}`")).subject(name).because(error.to_string())
}
