//! What cargo really compiles for one target and one set of features.
//!
//! [`resolve_all`] asks two commands at the same time: `cargo tree` knows exactly which crates are
//! compiled, for the target or for the host; `cargo metadata` knows their licences, authors and
//! sources. Checksums come from Cargo.lock. Nothing is built and nothing but cargo is run.

pub mod lock;
mod tree;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, Package, PackageId, TargetKind};
use semver::Version;

use super::process::{Output, Program};
use crate::model::failure::Result;
use crate::model::sbom::{Component, ComponentKey, Resolved, Role};
use crate::model::{Code, Failure, text};

/// What is to be compiled.
#[derive(Clone, Debug)]
pub struct Query {
    /// The workspace's manifest.
    pub manifest_path: Utf8PathBuf,
    /// The cargo packages to release; empty: those that cargo takes by default.
    pub packages: Vec<String>,
    /// The Rust target triple, without a version of the C library.
    pub target: String,
    /// The triple of the host, for which build scripts and procedural macros are compiled.
    pub host: String,
    /// Features to switch on.
    pub features: Vec<String>,
    /// Switch on every feature.
    pub all_features: bool,
    /// Leave the default features off.
    pub no_default_features: bool,
    /// Fail if Cargo.lock would have to change, instead of changing it.
    pub locked: bool,
}

/// Finds every crate that is compiled, with its role, dependencies and facts.
pub fn resolve(query: &Query) -> Result<Resolved> {
    let mut all = resolve_all(std::slice::from_ref(query))?;
    all.pop().ok_or_else(|| unreadable("nothing was asked"))
}

/// What cargo knows of the packages of queries that switch on the same features.
type Known = BTreeMap<Vec<String>, Result<Metadata>>;

/// The same for several targets of one workspace, of which cargo is asked as seldom as it can be.
pub fn resolve_all(queries: &[Query]) -> Result<Vec<Resolved>> {
    let (trees, known) = std::thread::scope(|scope| {
        let trees = scope.spawn(|| queries.iter().map(|query| read_tree(query, &query.packages)).collect::<Vec<_>>());
        let mut known = Known::new();
        for query in queries {
            let features = query.feature_arguments();
            known.entry(features).or_insert_with_key(|features| {
                let same = queries.iter().filter(|other| other.feature_arguments() == *features);
                read_metadata(query, &same.map(|other| other.target.as_str()).collect::<Vec<_>>(), features)
            });
        }
        (trees.join(), known)
    });
    let trees = trees.map_err(|_| unreadable("the reading thread panicked"))?;
    queries.iter().zip(trees).map(|(query, tree)| combine(query, tree, &known)).collect()
}

fn combine(query: &Query, tree: Result<String>, known: &Known) -> Result<Resolved> {
    let metadata = known.get(&query.feature_arguments()).and_then(|metadata| metadata.as_ref().ok());
    let tree = match tree {
        Err(failure) if is_ambiguous(&failure) => {
            // A dependency has the name of a package of the workspace: ask by full identifier.
            let Some(metadata) = metadata else { return Err(failure) };
            read_tree(query, &identifiers(metadata, &query.packages))?
        }
        tree => tree?,
    };
    let lines = tree::parse(&tree).map_err(unreadable)?;
    if let Some(Ok(resolved)) = metadata.map(|metadata| join(&lines, metadata)) {
        return Ok(resolved);
    }
    // `cargo metadata` applies features to other packages than `cargo build -p` does; asked for all
    // features, it knows every crate that could be meant.
    join(&lines, &read_metadata(query, &[&query.target], &["--all-features".to_owned()])?)
}

impl Query {
    fn cargo(&self, command: &str) -> Program {
        let directory = self.manifest_path.parent().filter(|parent| !parent.as_str().is_empty());
        let manifest = match directory {
            // The directory becomes the current one, so that its cargo and rustup settings apply.
            Some(_) => self.manifest_path.file_name().unwrap_or("Cargo.toml"),
            None => self.manifest_path.as_str(),
        };
        let program = Program::new("cargo").args([command, "--manifest-path", manifest, "--color", "never"]);
        let program = if self.locked { program.arg("--locked") } else { program };
        program.directory(directory.unwrap_or(Utf8Path::new(".")))
    }

    fn feature_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<_> = self.features.iter().map(|feature| format!("--features={feature}")).collect();
        if self.all_features {
            arguments.push("--all-features".to_owned());
        }
        if self.no_default_features {
            arguments.push("--no-default-features".to_owned());
        }
        arguments
    }
}

fn read_tree(query: &Query, packages: &[String]) -> Result<String> {
    let program = query
        .cargo("tree")
        .args(["--edges=normal,build", "--prefix=indent", "--charset=ascii"])
        .arg(format!("--format={}", tree::FORMAT))
        .arg(format!("--target={}", query.target))
        .args(packages.iter().map(|package| format!("--package={package}")))
        .args(query.feature_arguments());
    let output = program.output()?;
    if !output.status.success() {
        return Err(explained(&program, &output));
    }
    String::from_utf8(output.stdout).map_err(|_| unreadable("it is not UTF-8"))
}

fn read_metadata(query: &Query, targets: &[&str], features: &[String]) -> Result<Metadata> {
    let platforms: BTreeSet<_> = targets.iter().copied().chain([query.host.as_str()]).collect();
    let program = query
        .cargo("metadata")
        .arg("--format-version=1")
        .args(platforms.iter().map(|target| format!("--filter-platform={target}")))
        .args(features);
    let output = program.output()?;
    if !output.status.success() {
        return Err(explained(&program, &output));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| unreadable("`cargo metadata` printed").because(error))
}

/// Puts together what is compiled and what is known of it.
fn join(lines: &[tree::Line<'_>], metadata: &Metadata) -> Result<Resolved> {
    let packages = Packages::of(metadata);
    let checksums = lock::read(&metadata.workspace_root.join("Cargo.lock"))?;
    let graph = Graph::read(lines, &packages)?;
    let mut resolved = Resolved { roots: graph.roots.iter().map(|&root| key(root)).collect(), ..Resolved::default() };
    let mut seen = BTreeSet::new();
    let mut open: Vec<Node<'_>> =
        graph.roots.iter().map(|package| Node { id: &package.id, role: Role::Runtime }).collect();
    while let Some(node) = open.pop() {
        if !seen.insert(node) {
            continue;
        }
        let package = graph.packages[node.id];
        let made = || component(package, node.role, checksums.of(package));
        let component = resolved.components.entry(key(package)).or_insert_with(made);
        component.role = component.role.min(node.role);
        for (below, edge) in graph.edges.get(&node).into_iter().flatten() {
            let known = component.depends_on.entry(key(graph.packages[below.id])).or_insert(*edge);
            *known = (*known).min(*edge);
            open.push(*below);
        }
    }
    Ok(resolved)
}

/// A crate as it is compiled: for the target, or for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node<'a> {
    id: &'a PackageId,
    role: Role,
}

/// Which crate is compiled for which.
#[derive(Default)]
struct Graph<'a> {
    packages: BTreeMap<&'a PackageId, &'a Package>,
    roots: Vec<&'a Package>,
    edges: BTreeMap<Node<'a>, BTreeMap<Node<'a>, Role>>,
}

impl<'a> Graph<'a> {
    /// Every edge that is printed. Whether a program needs it, shows on the way from the roots: the
    /// dependencies of a crate may be printed only where it is not compiled, and stand for all places.
    fn read(lines: &[tree::Line<'_>], packages: &Packages<'a>) -> Result<Self> {
        let mut graph = Self::default();
        // The crate on every level above the current line.
        let mut above: Vec<(Node<'a>, &'a Package)> = Vec::new();
        for line in lines {
            let package = packages.find(line)?;
            above.truncate(line.depth);
            let edge = if line.is_build || is_procedural_macro(package) { Role::Build } else { Role::Runtime };
            let role = match above.last() {
                // What a build script or a procedural macro uses is compiled for the host too.
                Some((parent, _)) => edge.max(parent.role),
                None => Role::Runtime,
            };
            let node = Node { id: &package.id, role };
            graph.packages.insert(&package.id, package);
            match above.last() {
                None => graph.roots.push(package),
                // Published crates often leave out their build script and keep its dependencies.
                Some((_, parent)) if line.is_build && !has_build_script(parent) => {}
                Some((parent, _)) => {
                    let known = graph.edges.entry(*parent).or_default().entry(node).or_insert(edge);
                    *known = (*known).min(edge);
                }
            }
            above.push((node, package));
        }
        Ok(graph)
    }
}

/// The packages of the metadata by what `cargo tree` prints of them.
struct Packages<'a>(HashMap<(&'a str, &'a Version), Vec<&'a Package>>);

impl<'a> Packages<'a> {
    fn of(metadata: &'a Metadata) -> Self {
        let mut packages = HashMap::<_, Vec<_>>::new();
        for package in &metadata.packages {
            packages.entry((package.name.as_str(), &package.version)).or_default().push(package);
        }
        Self(packages)
    }

    fn find(&self, line: &tree::Line<'_>) -> Result<&'a Package> {
        let candidates = self.0.get(&(line.name, &line.version)).map(Vec::as_slice).unwrap_or_default();
        let found = match candidates {
            [only] => Some(*only),
            several => several.iter().copied().find(|package| is_shown_as(package, line.source)),
        };
        found.ok_or_else(|| unreadable(format!("`{} {}` is compiled and unknown", line.name, line.version)))
    }
}

/// Whether `cargo tree` shows the package with this source. Only asked when name and version are not
/// enough, because the form is meant for people.
fn is_shown_as(package: &Package, shown: &str) -> bool {
    let Some(source) = &package.source else {
        let directory = package.manifest_path.parent().map_or("", Utf8Path::as_str);
        return shown.starts_with(&format!("({directory})"));
    };
    if source.is_crates_io() {
        return !shown.starts_with('(') || shown.starts_with("(proc-macro)");
    }
    let Some(git) = source.repr.strip_prefix("git+") else { return shown.starts_with("(registry ") };
    let Some((address, commit)) = git.rsplit_once('#') else { return false };
    let printed = shown.trim_start_matches('(').split(')').next().unwrap_or_default();
    printed.rsplit_once('#').is_some_and(|(known, short)| known == address && commit.starts_with(short))
}

fn is_procedural_macro(package: &Package) -> bool {
    package.targets.iter().any(|target| target.is_kind(TargetKind::ProcMacro))
}

fn has_build_script(package: &Package) -> bool {
    package.targets.iter().any(|target| target.is_kind(TargetKind::CustomBuild))
}

fn key(package: &Package) -> ComponentKey {
    let source = package.source.as_ref().map(|source| clean_source(&source.repr)).unwrap_or_default();
    ComponentKey { name: package.name.to_string(), version: package.version.clone(), source }
}

/// A source without credentials: none before the host, and none in the query, of which only what
/// cargo itself puts there stays.
fn clean_source(source: &str) -> String {
    let source = text::without_credentials(source);
    let (address, commit) = source.split_once('#').map_or((&*source, None), |(before, after)| (before, Some(after)));
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    let known = |pair: &&str| ["branch=", "tag=", "rev="].iter().any(|name| pair.starts_with(name));
    let query: Vec<_> = query.split('&').filter(known).collect();
    let mut clean = address.to_owned();
    if !query.is_empty() {
        clean.push('?');
        clean.push_str(&query.join("&"));
    }
    if let Some(commit) = commit {
        clean.push('#');
        clean.push_str(commit);
    }
    clean
}

fn component(package: &Package, role: Role, checksum: Option<crate::model::Digest>) -> Component {
    Component {
        licence: package.license.clone(),
        authors: package.authors.clone(),
        description: package.description.clone(),
        repository: package.repository.as_deref().map(|address| text::without_credentials(address).into_owned()),
        checksum,
        role,
        depends_on: BTreeMap::new(),
    }
}

/// The full identifiers of packages of the workspace, for names that mean several packages.
fn identifiers(metadata: &Metadata, names: &[String]) -> Vec<String> {
    let members = metadata.workspace_packages();
    let identifier = |name: &String| {
        let member = members.iter().find(|member| member.name.as_str() == name);
        member.map_or_else(|| name.clone(), |member| member.id.repr.clone())
    };
    names.iter().map(identifier).collect()
}

fn is_ambiguous(failure: &Failure) -> bool {
    failure.chain().iter().any(|line| line.contains("is ambiguous"))
}

fn unreadable(problem: impl std::fmt::Display) -> Failure {
    Failure::new(Code::WorkspaceInvalid, format!("what cargo says of the workspace cannot be understood: {problem}"))
        .hint("`cargo tree` and `cargo metadata` show what cargo sees")
}

/// The failure of cargo, by what it complains of.
fn explained(program: &Program, output: &Output) -> Failure {
    let complaint = output.complaint();
    // Before its error cargo tells how it fetched the index and waited for locks.
    let complaint = complaint.find("error:").map_or(&*complaint, |at| &complaint[at..]).to_owned();
    let says = |words: &str| complaint.contains(words);
    let failure = |code, message: &str, hint: &str| Failure::new(code, message).hint(hint);
    let failure = if says("cannot create the lock file") {
        failure(Code::LockMissing, "Cargo.lock is missing", "run `cargo generate-lockfile` and commit Cargo.lock")
    } else if says("--locked was passed") {
        let hint = "run `cargo update --workspace` and commit Cargo.lock";
        failure(Code::LockOutdated, "Cargo.lock does not fit the manifests", hint)
    } else if says("did not match any packages") {
        let hint = "`cargo metadata --no-deps` lists the packages of the workspace";
        failure(Code::PackageUnknown, "the workspace has no such package", hint)
    } else if says("could not find `Cargo.toml`") || says("does not exist") && says("manifest path") {
        failure(Code::WorkspaceMissing, "there is no cargo workspace here", "run it inside a cargo workspace")
    } else {
        let hint = "`cargo tree` shows the same complaint";
        failure(Code::WorkspaceInvalid, &format!("`{}` cannot read the workspace", program.name()), hint)
    };
    if complaint.is_empty() { failure } else { failure.because(complaint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_keeps_its_commit_and_no_secret() {
        for (given, expected) in [
            ("git+https://u:p@host/x.git?branch=main#abc", "git+https://host/x.git?branch=main#abc"),
            ("git+https://token@host/x?private_token=s&tag=v1#abc", "git+https://host/x?tag=v1#abc"),
            ("git+https://host/x?access=s#abc", "git+https://host/x#abc"),
            ("git+ssh://git@host/x#abc", "git+ssh://git@host/x#abc"),
            ("sparse+https://u:p@registry.example/index/", "sparse+https://registry.example/index/"),
        ] {
            assert_eq!(clean_source(given), expected);
        }
    }
}
