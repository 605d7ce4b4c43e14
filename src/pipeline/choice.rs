//! What is released: which packages of the workspace, which of their programs, under which name.
//!
//! Whatever the user named is taken; the rest follows from the workspace, the way cargo itself would
//! choose. Where that leaves a doubt, it is a failure that names the choices, never a guess.

use std::collections::BTreeSet;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::request::Request;
use super::surroundings::Surroundings;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName, Release, text};
use crate::world::cargo::{FeatureChoice, Member, Workspace};

/// The packages to release: those that were named, else what the workspace makes clear.
pub(super) fn packages<'a>(
    request: &Request,
    given: Option<&Release>,
    workspace: &'a Workspace,
) -> Result<Vec<&'a Member>> {
    let of_tag = given.and_then(|release| release.package.clone());
    let named: Vec<_> =
        if request.packages.is_empty() { of_tag.into_iter().collect() } else { request.packages.clone() };
    let mut members = if named.is_empty() {
        evident_members(workspace)
    } else {
        named.iter().map(|name| member(workspace, name)).collect::<Result<_>>()?
    };
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members.dedup_by(|a, b| a.name == b.name);
    check_tag_of_another(given, &members, workspace)?;
    let Some(first) = members.first() else {
        return Err(Failure::new(Code::NoBinaries, "the workspace has no package with a program to release")
            .hint("Consign releases programs; add a `src/main.rs` or a `[[bin]]`"));
    };
    if let Some(library) = members.iter().find(|member| member.binaries.is_empty()) {
        return Err(Failure::new(Code::NoBinaries, format!("package `{}` has no program to release", library.name))
            .subject(library.name.clone())
            .hint("name a package with a `[[bin]]`"));
    }
    if members.iter().any(|member| member.version != first.version) {
        let list: Vec<_> = members.iter().map(|member| format!("{} {}", member.name, member.version)).collect();
        return Err(Failure::new(
            Code::PackageAmbiguous,
            format!("the packages have different versions: {}", list.join(", ")),
        )
        .hint(format!(
            "release one at a time, as in `-p {}`, or name some in consign.toml: `packages = […]`",
            first.name
        )));
    }
    Ok(members)
}

/// A tag may start with any word, but not with the name of a package that is not released.
fn check_tag_of_another(given: Option<&Release>, members: &[&Member], workspace: &Workspace) -> Result<()> {
    let Some((release, package)) = given.and_then(|release| Some((release, release.package.as_deref()?))) else {
        return Ok(());
    };
    let is_other = workspace.members.iter().any(|member| member.name == package);
    if is_other && !members.iter().any(|member| member.name == package) {
        let names: Vec<_> = members.iter().map(|member| format!("`{}`", member.name)).collect();
        return Err(Failure::new(
            Code::Usage,
            format!("the tag {} belongs to `{package}`, and {} is to be released", release.tag, names.join(", ")),
        )
        .subject(release.tag.clone())
        .hint("leave out `-p`, or name the tag of that package"));
    }
    Ok(())
}

/// What cargo itself would build from the workspace's root, without chores that are never published.
fn evident_members(workspace: &Workspace) -> Vec<&Member> {
    let with_programs = || workspace.members.iter().filter(|member| !member.binaries.is_empty());
    let choices: [Vec<&Member>; 4] = [
        with_programs().filter(|member| member.is_root).collect(),
        with_programs().filter(|member| member.is_default && member.is_publishable).collect(),
        with_programs().filter(|member| member.is_publishable).collect(),
        with_programs().collect(),
    ];
    choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or_default()
}

fn member<'a>(workspace: &'a Workspace, name: &str) -> Result<&'a Member> {
    workspace.members.iter().find(|member| member.name == name).ok_or_else(|| {
        let nearest = workspace
            .members
            .iter()
            .max_by(|a, b| strsim::jaro(&a.name, name).total_cmp(&strsim::jaro(&b.name, name)))
            .map_or_else(String::new, |member| format!("did you mean `{}`?", member.name));
        let name = text::shown(name);
        Failure::new(Code::PackageUnknown, format!("the workspace has no package {name:?}")).subject(name).hint(nearest)
    })
}

/// The package whose name goes into the tag: the one that was named, where there are others.
pub(super) fn own_package<'a>(request: &'a Request, workspace: &Workspace) -> Option<&'a str> {
    let others = workspace.members.iter().filter(|member| !member.binaries.is_empty()).count() > 1;
    match request.packages.as_slice() {
        [only] if others => Some(only),
        _ => None,
    }
}

pub(super) fn name(request: &Request, members: &[&Member]) -> Result<FileName> {
    let of_repository = || {
        let repository = members.iter().find_map(|member| member.repository.as_deref())?;
        let last = repository.trim_end_matches('/').rsplit('/').next()?;
        last.trim_end_matches(".git").parse::<FileName>().ok()
    };
    if let Some(name) = &request.name {
        return name.parse().map_err(|error| {
            Failure::new(Code::NameInvalid, "the product's name cannot be part of a file name")
                .because(error)
                .hint("set another `name` in consign.toml")
        });
    }
    if let [_, _, ..] = members
        && let Some(name) = of_repository()
    {
        return Ok(name);
    }
    members[0].name.trim_start_matches('_').parse().map_err(|error| {
        Failure::new(Code::NameInvalid, "the package's name cannot be part of a file name")
            .because(error)
            .hint("set a `name` in consign.toml")
    })
}

/// A mistyped feature is found here and not by the build.
fn known_features(members: &[&Member], named: &[String]) -> Result<()> {
    // `package/feature` may be a dependency's, which only cargo knows.
    let is_known = |name: &str| {
        name.contains('/') || name == "default" || members.iter().any(|member| member.features.contains_key(name))
    };
    let Some(unknown) = named.iter().find(|name| !is_known(name)) else { return Ok(()) };
    let all: BTreeSet<&str> = members.iter().flat_map(|member| member.features.keys().map(String::as_str)).collect();
    let unknown = text::shown(unknown);
    let list = all.into_iter().collect::<Vec<_>>().join(", ");
    Err(Failure::new(Code::ConfigInvalid, format!("the chosen packages have no feature `{unknown}`"))
        .subject(unknown)
        .hint(if list.is_empty() { "they have no features at all".to_owned() } else { format!("they have: {list}") }))
}

/// Where everything is written: a directory of its own, which nothing else lives in.
pub(super) fn output_directory(workspace: &Workspace, dist: &Utf8Path) -> Result<Utf8PathBuf> {
    let place = normal(&workspace.root.join(dist));
    let holds_source = workspace.root.starts_with(&place)
        || place.components().any(|part| part.as_str() == ".git")
        || workspace
            .members
            .iter()
            .any(|member| member.directory == place || place.starts_with(member.directory.join("src")));
    if !holds_source {
        return Ok(place);
    }
    Err(Failure::new(Code::ConfigInvalid, format!("`{dist}` cannot be the output directory: it holds the source"))
        .subject("dist")
        .hint("name a directory that is used for nothing else, such as `dist`"))
}

/// A path without `.` and `..`, worked out from its text.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut out = Utf8PathBuf::new();
    for part in path.components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

pub(super) fn programs(request: &Request, members: &[&Member], features: &[String]) -> Result<Vec<String>> {
    known_features(members, features)?;
    let choice = FeatureChoice {
        named: features,
        all: request.build.all_features,
        with_default: !request.build.no_default_features,
    };
    let mut found: Vec<&str> = members.iter().flat_map(|member| member.binaries_with(&choice)).collect();
    found.sort_unstable();
    if let Some(pair) = found.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::new(Code::PackageAmbiguous, format!("two packages have a program `{}`", pair[0]))
            .subject(pair[0])
            .hint("release one package at a time with `-p`"));
    }
    let wanted: Vec<String> = if request.binaries.is_empty() {
        found.iter().map(|&name| name.to_owned()).collect()
    } else {
        let missing = request.binaries.iter().find(|name| !found.contains(&name.as_str()));
        if let Some(missing) = missing {
            return Err(Failure::new(
                Code::PackageUnknown,
                format!("there is no program {:?} in the chosen packages", text::shown(missing)),
            )
            .subject(text::shown(missing))
            .hint(format!("the programs are: {}", found.join(", "))));
        }
        let sorted: BTreeSet<_> = request.binaries.iter().cloned().collect();
        sorted.into_iter().collect()
    };
    if wanted.is_empty() {
        return Err(Failure::new(Code::NoBinaries, "every program needs features that are not switched on")
            .hint("name them with `--features`"));
    }
    for name in &wanted {
        name.parse::<FileName>().map_err(|error| {
            Failure::new(Code::NameInvalid, "a program's name cannot be a file name of a release").because(error)
        })?;
    }
    Ok(wanted)
}
/// What the stage `test` runs.
pub(super) fn test_command(request: &Request, around: &Surroundings) -> Vec<String> {
    if !request.test.is_empty() {
        return request.test.clone();
    }
    let locked = around.workspace.has_lock.then_some("--locked");
    [request.cargo(), "test", "--workspace"].into_iter().chain(locked).map(str::to_owned).collect()
}
