//! What a plan is made from: the workspace, the source's state and the compiler, looked at once.

use camino::{Utf8Path, Utf8PathBuf};

use super::request::Request;
use crate::model::failure::Result;
use crate::model::metadata::Compiler;
use crate::model::source::Source;
use crate::model::{Code, Failure, Platform};
use crate::world::cargo::{self, Member, Workspace};
use crate::world::files;
use crate::world::git::{self, Repository};

/// What there is.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The cargo workspace.
    pub workspace: Workspace,
    /// The git repository, if there is one.
    pub repository: Option<Repository>,
    /// The source's state.
    pub source: Source,
    /// The compiler of this host.
    pub compiler: Compiler,
}

impl Surroundings {
    /// The platform of this host.
    pub fn host_platform(&self) -> Result<Platform> {
        Platform::of_target(&self.compiler.host).ok_or_else(|| {
            Failure::new(
                Code::PlatformUnknown,
                format!("this host (`{}`) is no platform with a name", self.compiler.host),
            )
            .subject(self.compiler.host.clone())
            .hint("name a platform with `--platform`")
        })
    }

    /// What is to be said of path dependencies outside of the workspace's root, if there are any:
    /// cargo hashes their absolute path into the names of their symbols.
    pub fn path_warning(&self) -> Option<String> {
        let outside = &self.workspace.outside;
        (!outside.is_empty()).then(|| {
            let names = outside.join(", ");
            format!("a path dependency outside of the workspace's root ({names}) is not promised to be built the same elsewhere")
        })
    }

    /// Where the workspace is below the repository's root; empty when it is the root.
    pub fn below_repository(&self) -> Utf8PathBuf {
        let root = self.repository.as_ref().map(|repository| canonical(repository.root()));
        let below =
            root.and_then(|root| canonical(&self.workspace.root).strip_prefix(root).map(Utf8Path::to_owned).ok());
        below.unwrap_or_default()
    }

    /// The files that every archive takes along, with their paths inside the archive.
    ///
    /// READMEs, licences and notices of the packages, else those of the workspace's root.
    pub fn documents(&self, members: &[&Member]) -> Vec<(Utf8PathBuf, String)> {
        let mut found: Vec<(Utf8PathBuf, String)> = Vec::new();
        let named = members.iter().flat_map(|member| {
            [&member.readme, &member.licence_file].into_iter().flatten().map(|path| member.directory.join(path))
        });
        let beside = members
            .iter()
            .map(|member| member.directory.as_path())
            .chain([self.workspace.root.as_path()])
            .flat_map(documents_in);
        for path in named.chain(beside) {
            let Some(name) = path.file_name().map(str::to_owned) else { continue };
            // A link is followed, but never out of the workspace.
            let inside = path
                .canonicalize_utf8()
                .is_ok_and(|real| real.starts_with(canonical(&self.workspace.root)) && real.is_file());
            if inside && !found.iter().any(|(_, taken)| taken.eq_ignore_ascii_case(&name)) {
                found.push((path, name));
            }
        }
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found
    }
}

fn canonical(path: &Utf8Path) -> Utf8PathBuf {
    path.canonicalize_utf8().unwrap_or_else(|_| path.to_owned())
}

fn documents_in(directory: &Utf8Path) -> Vec<Utf8PathBuf> {
    let is_document = |name: &str| {
        let upper = name.to_ascii_uppercase();
        ["README", "LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"].iter().any(|start| {
            upper.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
        })
    };
    let names = files::list(directory).unwrap_or_default();
    names
        .into_iter()
        .filter(|(name, _)| is_document(name) && name.is_ascii())
        .map(|(name, _)| directory.join(name))
        .collect()
}

/// Looks around.
pub fn look(request: &Request) -> Result<Surroundings> {
    let workspace = cargo::workspace(request.cargo(), &request.directory)?;
    let repository = Repository::discover(&workspace.root)?;
    let dist = workspace.root.join(&request.dist);
    let usual = workspace.root.join("dist");
    let mut ignored = vec![dist.as_path(), workspace.target_directory.as_path()];
    // What an earlier run left in the usual place is no change of the source either.
    if usual.join("packages").is_dir() && usual.join("releases").is_dir() {
        ignored.push(&usual);
    }
    let source = match &repository {
        Some(repository) => repository.source(&ignored, request.source_date_epoch)?,
        None => git::source_without_git(request.source_date_epoch)?,
    };
    let compiler = cargo::compiler(request.rustc(), &workspace.root)?;
    Ok(Surroundings { workspace, repository, source, compiler })
}
