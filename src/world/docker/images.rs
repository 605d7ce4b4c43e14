//! Images: finding, pulling, loading from a file, building, taking away.

use std::collections::HashMap;

use bollard::body_try_stream;
use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use camino::Utf8Path;
use fs_err::File;
use futures_util::{Stream, StreamExt as _};

use super::archive::{self, Entry};
use super::{Engine, Patience, bounded, trouble};
use crate::model::failure::Result;
use crate::model::{Code, Failure};
use crate::world::files;

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id, the digest of its configuration: `sha256:…`.
    pub id: String,
    /// The digests that registries know it by: `debian@sha256:…`.
    pub digests: Vec<String>,
    /// Its architecture, in Docker's words.
    pub architecture: String,
}

/// An image to build.
#[derive(Clone, Debug)]
pub struct Build {
    /// What it is called in messages.
    pub name: String,
    /// What is sent.
    pub context: Vec<Entry>,
    /// The path of the Dockerfile in it.
    pub dockerfile: String,
    /// Build arguments.
    pub arguments: HashMap<String, String>,
    /// Labels.
    pub labels: HashMap<String, String>,
    /// The platform, in Docker's words.
    pub platform: Option<String>,
}

impl Engine {
    /// An image by its name or id, if the engine has it.
    pub fn image(&self, name: &str, patience: &Patience) -> Result<Option<Image>> {
        let deed = format!("look for the image `{name}`");
        match self.attempt(&deed, patience, self.docker.inspect_image(name))? {
            Ok(found) => Ok(Some(Image {
                id: found.id.unwrap_or_default(),
                digests: found.repo_digests.unwrap_or_default(),
                architecture: found.architecture.unwrap_or_default(),
            })),
            Err(error) if trouble::is_absent(&error) => Ok(None),
            Err(error) => Err(trouble::failure(&deed, error)),
        }
    }

    /// Pulls an image from its registry.
    pub fn pull(&self, name: &str, platform: Option<&str>, patience: &Patience) -> Result<()> {
        let mut options = CreateImageOptionsBuilder::new().from_image(name);
        // A name with neither would mean every tag there is.
        if !name.contains('@') && !has_tag(name) {
            options = options.tag("latest");
        }
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let deed = format!("pull the image `{name}`");
        let pulled = self.docker.create_image(Some(options.build()), None, None);
        self.drained(&deed, patience, pulled, |info| info.error_detail.and_then(|detail| detail.message)).map_err(
            |failure| {
                if failure.code() == Code::EngineFailed {
                    let failure = failure.chain().split_off(1).into_iter().next().map_or_else(
                        || Failure::new(Code::ImageMissing, format!("failed to {deed}")),
                        |said| Failure::new(Code::ImageMissing, format!("failed to {deed}")).because(said),
                    );
                    failure
                        .subject(name)
                        .hint("check its name, the network, and `docker login`; or bring it from a file with `tar`")
                } else {
                    failure
                }
            },
        )
    }

    /// Makes an image from a file that holds the root directory, under a name.
    pub fn import(
        &self,
        tar: &Utf8Path,
        name: &str,
        tag: &str,
        platform: Option<&str>,
        patience: &Patience,
    ) -> Result<()> {
        let mut options = CreateImageOptionsBuilder::new().from_src("-").repo(name).tag(tag);
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let file = File::open(tar).map_err(|error| files::failed("read", tar, error))?;
        let body = body_try_stream(futures_util::stream::iter(archive::pieces_of_file(file)));
        let imported = self.docker.create_image(Some(options.build()), Some(body), None);
        let deed = format!("import `{tar}`");
        let mut id = None;
        self.drained(&deed, patience, imported, |info| {
            id = info.status.filter(|status| status.starts_with("sha256:")).or(id.take());
            info.error_detail.and_then(|detail| detail.message)
        })?;
        // Podman names it in its own way.
        let Some(id) = id.filter(|_| !matches!(self.image(&format!("{name}:{tag}"), patience), Ok(Some(_)))) else {
            return Ok(());
        };
        let options = TagImageOptionsBuilder::new().repo(name).tag(tag).build();
        self.call(&deed, patience, self.docker.tag_image(&id, Some(options)))
    }

    /// Loads what `docker save` wrote, and gives back the name or id of the first image in it.
    pub fn load(&self, tar: &Utf8Path, patience: &Patience) -> Result<String> {
        let deed = format!("load `{tar}`");
        let file = File::open(tar).map_err(|error| files::failed("read", tar, error))?;
        let options = ImportImageOptionsBuilder::new().build();
        let pieces = futures_util::stream::iter(archive::pieces_of_file(file));
        let mut loaded = None;
        self.drained(&deed, patience, self.docker.import_image_stream(options, pieces, None), |info| {
            let said = info.stream.as_deref().unwrap_or_default();
            let name = ["Loaded image: ", "Loaded image ID: "].iter().find_map(|start| said.strip_prefix(start));
            loaded = loaded.take().or(name.map(|name| name.trim().to_owned()));
            wrong(info)
        })?;
        loaded.ok_or_else(|| {
            Failure::new(Code::ImageMissing, format!("`{tar}` holds no image"))
                .subject(tar.as_str())
                .hint("write one with `docker save`, or a root directory with `docker export`")
        })
    }

    /// Builds an image, hands on what the build prints, and gives back the image's id.
    pub fn build(&self, build: Build, patience: &Patience, hear: &mut dyn FnMut(&[u8])) -> Result<String> {
        let options = BuildImageOptionsBuilder::new()
            .dockerfile(&build.dockerfile)
            .buildargs(&build.arguments)
            .labels(&build.labels)
            .rm(true)
            .forcerm(true);
        let options = match &build.platform {
            Some(platform) => options.platform(platform),
            None => options,
        };
        let body = body_try_stream(futures_util::stream::iter(archive::pieces(build.context)));
        let deed = format!("build `{}`", build.name);
        let mut id = None;
        self.drained(&deed, patience, self.docker.build_image(options.build(), None, Some(body)), |info| {
            hear(info.stream.as_deref().unwrap_or_default().as_bytes());
            let said = info.stream.as_deref().unwrap_or_default();
            // Podman says the id in words only.
            let in_words = said.strip_prefix("Successfully built ").map(|id| id.trim().to_owned());
            id = info.aux.as_ref().and_then(|aux| aux.id.clone()).or(in_words).or(id.take());
            wrong(info)
        })?;
        let id =
            id.ok_or_else(|| Failure::new(Code::EngineFailed, format!("failed to {deed}: the engine names no image")))?;
        // In full, whatever form it was told in.
        let image = self.image(&id, patience)?;
        image
            .map(|image| image.id)
            .ok_or_else(|| Failure::new(Code::EngineFailed, format!("failed to {deed}: the image is gone")))
    }

    /// Takes an image away with what only it is made of. That it is gone already is as good.
    pub fn remove_image(&self, id: &str, patience: &Patience) -> Result<()> {
        let options = RemoveImageOptionsBuilder::new().force(true).noprune(false).build();
        let deed = format!("remove the image `{id}`");
        match self.attempt(&deed, patience, self.docker.remove_image(id, Some(options), None))? {
            Err(error) if !trouble::is_absent(&error) => Err(trouble::failure(&deed, error)),
            _ => Ok(()),
        }
    }

    /// Reads an answer to its end, and fails where the engine says that something went wrong.
    fn drained<T>(
        &self,
        deed: &str,
        patience: &Patience,
        answer: impl Stream<Item = Result<T, Error>>,
        mut look: impl FnMut(T) -> Option<String>,
    ) -> Result<()> {
        self.runtime.block_on(async {
            let mut answer = std::pin::pin!(answer);
            while let Some(piece) = bounded(deed, patience, answer.next()).await? {
                let wrong = match piece {
                    Ok(piece) => look(piece).map(|error| Error::DockerStreamError { error }),
                    Err(error) => Some(error),
                };
                if let Some(error) = wrong {
                    return Err(trouble::failure(deed, error));
                }
            }
            Ok(())
        })
    }
}

fn wrong(info: BuildInfo) -> Option<String> {
    info.error_detail.and_then(|detail| detail.message)
}

/// Whether a name says which tag: a colon after the last slash, for before it there is a port.
fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}
