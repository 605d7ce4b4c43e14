//! Publishing to the releases of a repository on GitHub.
//!
//! A [`GitHub`] puts a release together as a draft, which only the repository's own people see, and
//! publishes that as its last deed. A draft is known by its number, for looking it up by its tag does
//! not find it, and as ours by a mark in its text: the digest of the index that it is to hold. Of several
//! such drafts the oldest is used and the others go; a draft without the mark is somebody else's.
//!
//! The tag is never made here. It has to be there, at the commit that was built, when the draft is begun
//! and once more right before it is published.

mod body;
mod branch;
mod documents;
mod drafts;
mod files;
mod target;
mod wire;

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use http::{Method, StatusCode};
use tokio::runtime::Runtime;

use self::documents::{Immutability, Pointer, Release, Repository};
use self::wire::{Answer, Call, Trouble, Wire};
use super::{Address, Asset, Draft, Look, Provider, Shelf, Stored, Turn, Upload};
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure, Release as ReleaseName, text};
use crate::world::http::{Client, ClientOptions};
use crate::world::place::quoted;

pub use branch::Branch;
pub use target::{Access, Target, Token};
pub use wire::Options;

/// How many pages of a list are read.
const MAX_PAGES: usize = 200;
/// How many tags may point to one another before a commit comes.
const MAX_TAG_DEPTH: usize = 5;

/// The releases of one repository.
pub struct GitHub {
    target: Target,
    wire: Arc<Wire>,
    runtime: Runtime,
    /// For files that lie with somebody else: nobody is told who asks.
    anonymous: Client,
}

impl GitHub {
    /// The releases of a repository. Nothing is asked yet.
    pub fn connect(target: &Target, options: Options) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| Failure::new(Code::Io, "failed to start what speaks with GitHub").because(error))?;
        let wire = {
            let _inside = runtime.enter();
            Wire::new(target, options)?
        };
        let options = wire.options();
        let anonymous = Client::new(ClientOptions {
            connect_timeout: options.connect_timeout,
            stall_timeout: options.stall_timeout,
            tries: options.tries,
            first_pause: options.first_pause,
            longest_pause: options.longest_pause,
            ..ClientOptions::default()
        });
        Ok(Self { target: target.clone(), wire: Arc::new(wire), runtime, anonymous })
    }

    /// Makes a call and waits for the answer.
    fn ask(&self, call: &Call) -> Result<Answer> {
        self.runtime.block_on(self.wire.call(call)).map_err(Trouble::into_failure)
    }

    /// Every item of a list that comes in pages.
    fn list<T: serde::de::DeserializeOwned>(&self, path: &str, what: &str) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut next = self.target.route(path);
        for _ in 0..MAX_PAGES {
            let answer = self.ask(&Call::get(&next))?;
            let page: Vec<T> = answer.accept(what)?;
            all.extend(page);
            match answer.next_page(&self.target.api)? {
                Some(address) => next = address,
                None => return Ok(all),
            }
        }
        Err(Failure::new(Code::RemoteUnavailable, format!("GitHub's list of {what} does not end")).subject(what))
    }

    /// Every release that the token may see, drafts among them.
    fn releases(&self) -> Result<Vec<Release>> {
        self.list("/releases?per_page=100", "the releases")
    }

    /// The published release of a tag.
    fn published(&self, tag: &str) -> Result<Option<Release>> {
        let answer = self.ask(&Call::get(self.target.route(&format!("/releases/tags/{}", path_of(tag)))))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let release: Release = answer.accept(&format!("the release `{tag}`"))?;
        // Servers that are not quite GitHub show drafts here, too.
        Ok(Some(release).filter(|release| !release.draft))
    }

    /// The commit that a tag points to on the server.
    fn commit_of(&self, tag: &str) -> Result<Option<String>> {
        let what = format!("the tag `{}`", text::shown(tag));
        let answer = self.ask(&Call::get(self.target.route(&format!("/git/ref/tags/{}", path_of(tag)))))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let Pointer { mut object } = answer.accept(&what)?;
        for _ in 0..MAX_TAG_DEPTH {
            if object.kind != "tag" {
                return Ok(Some(object.sha));
            }
            let answer = self.ask(&Call::get(self.target.route(&format!("/git/tags/{}", path_of(&object.sha)))))?;
            Pointer { object } = answer.accept(&what)?;
        }
        Ok(None)
    }

    /// Fails unless the tag is there and is the commit that was built.
    fn require_tag(&self, tag: &str, commit: Option<&str>) -> Result<()> {
        let shown = text::shown(tag);
        let refused = |message: String| Err(Failure::new(Code::GuardTag, message).subject(shown.clone()));
        match (self.commit_of(tag)?, commit) {
            (None, _) => refused(format!("there is no tag `{shown}` in {}", self.target.page())).map_err(|failure| {
                failure.hint(format!("push it first: `git push origin {shown}`; none is made for you"))
            }),
            (Some(there), Some(here)) if there == here => Ok(()),
            (Some(there), Some(here)) => {
                let there = text::shown(&there).into_owned();
                refused(format!("the tag `{shown}` is commit {there} in {}, and {here} was built", self.target.page()))
                    .map_err(|failure| {
                        failure.hint(
                            "release what the tag names, or a new version; a tag that was published stays where it is",
                        )
                    })
            }
            (Some(_), None) => {
                refused(format!("nobody knows which commit was built, so it may not be that of `{shown}`"))
            }
        }
    }

    /// Whether published releases can still be changed; nothing where the token may not ask.
    fn is_immutable(&self) -> Result<Option<bool>> {
        let answer = self.ask(&Call::get(self.target.route("/immutable-releases")))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Some(false)),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Ok(None),
            _ => answer.accept("its immutable releases").map(|found: Immutability| Some(found.enabled)),
        }
    }

    fn repository(&self) -> Result<Repository> {
        self.ask(&Call::get(self.target.route("")))?.accept(&format!("`{}`", self.target.page()))
    }

    fn require_token(&self) -> Result<()> {
        if self.target.token.is_some() {
            return Ok(());
        }
        let message = format!("there is no token to publish to {} with", self.target.page());
        Err(Failure::new(Code::TokenMissing, message).subject("GH_TOKEN").hint(
            "set GH_TOKEN or GITHUB_TOKEN to one that may write the repository's contents; for a server that only the target names, GH_ENTERPRISE_TOKEN",
        ))
    }
}

impl Provider for GitHub {
    fn preflight(&self, release: &ReleaseName, commit: Option<&str>) -> Vec<Look> {
        let token = self.require_token();
        if token.is_err() {
            return vec![Look { name: "github token", outcome: token.map(|()| String::new()) }];
        }
        vec![
            Look { name: "github repository", outcome: self.look_at_repository() },
            Look {
                name: "github tag",
                outcome: self
                    .require_tag(&release.tag, commit)
                    .map(|()| format!("`{}` is the commit to build", release.tag)),
            },
            Look { name: "github release", outcome: self.look_at_release(release) },
            Look { name: "github immutable releases", outcome: self.look_at_immutability() },
        ]
    }

    fn address(&self, release: &ReleaseName) -> Result<Address> {
        let (page, tag) = (self.target.page(), path_of(&release.tag));
        Ok(Address { page: format!("{page}/releases/tag/{tag}"), base: format!("{page}/releases/download/{tag}") })
    }

    fn find(&self, upload: &Upload<'_>) -> Result<Option<Box<dyn Shelf + '_>>> {
        self.require_token()?;
        drafts::refuse_names(upload)?;
        let found = self.published(&upload.release.tag)?;
        Ok(found.map(|release| -> Box<dyn Shelf> {
            Box::new(Files { github: self, release: release.id, page: release.html_url })
        }))
    }

    fn draft(&self, upload: &Upload<'_>) -> Result<Turn<'_>> {
        drafts::draft(self, upload)
    }

    fn fetch_closed(&self, release: &ReleaseName, into: &Utf8Path) -> Result<Option<()>> {
        if self.target.token.is_none() || !self.repository()?.private {
            return Ok(None);
        }
        let found = self.published(&release.tag)?.ok_or_else(|| {
            Failure::new(Code::RemoteNotFound, format!("`{}` is not published in {}", release.tag, self.target.page()))
        })?;
        let files = Files { github: self, release: found.id, page: found.html_url };
        files::fetch(self, &files.list()?, into).map(Some)
    }
}

impl GitHub {
    fn look_at_repository(&self) -> Result<String> {
        let found = self.repository()?;
        let page = self.target.page();
        if found.archived {
            return Err(Failure::new(
                Code::RemoteForbidden,
                format!("{page} is archived: nothing can be published there"),
            )
            .hint("unarchive it, or publish to another repository"));
        }
        if found.permissions.is_some_and(|permissions| !permissions.push) {
            return Err(Failure::new(Code::RemoteForbidden, format!("the token may not write to {page}")).hint(
                "use a token that may write the contents of the repository (`permissions: contents: write` in a workflow)",
            ));
        }
        Ok(format!("{page}{}", if found.private { ", private" } else { "" }))
    }

    fn look_at_release(&self, release: &ReleaseName) -> Result<String> {
        let tag = &release.tag;
        Ok(match self.published(tag)? {
            Some(_) => format!("`{tag}` is published already: the same bytes will be left, others refused"),
            None => format!("`{tag}` is free"),
        })
    }

    fn look_at_immutability(&self) -> Result<String> {
        Ok(match self.is_immutable()? {
            Some(true) => "on: what is published can never be changed, and a tag whose release is deleted is burned",
            Some(false) => "off: whoever may write to the repository can change what is published",
            None => "unknown: the token may not ask",
        }
        .to_owned())
    }
}

/// The files of one release, published or not.
struct Files<'a> {
    github: &'a GitHub,
    release: u64,
    page: String,
}

impl Shelf for Files<'_> {
    fn name(&self) -> String {
        text::shown(&self.page).into_owned()
    }

    fn list(&self) -> Result<Vec<Stored>> {
        let assets: Vec<documents::Asset> =
            self.github.list(&format!("/releases/{}/assets?per_page=100", self.release), "the files of the release")?;
        Ok(assets.into_iter().map(Stored::from).collect())
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        files::digest(self.github, stored)
    }
}

/// A tag, or anything else that may hold slashes, as a part of an address.
fn path_of(tag: &str) -> String {
    tag.split('/').map(quoted).collect::<Vec<_>>().join("/")
}
