//! The draft of a release: found or made, filled, and published.

use super::documents::{Mark, Release, Wanted, is_latest};
use super::wire::{Answer, Call, Trouble};
use super::{
    Asset, Code, Digest, Draft, Failure, Files, GitHub, Listener, Method, Result, Shelf, StatusCode, Stored, Turn,
    Upload, Utf8Path, Utf8PathBuf, files, text,
};

/// The largest file that a release takes, in bytes.
const MAX_FILE_BYTES: u64 = (2 << 30) - 1;
/// How many files a release takes.
const MAX_FILES: usize = 1000;
/// How often a draft is made before that is given up.
const TRIES: usize = 3;

/// Refuses what GitHub would store under another name or not at all, before anything is sent.
pub(super) fn refuse_names(upload: &Upload<'_>) -> Result<()> {
    for asset in upload.files() {
        let name = asset.name.as_str();
        if name.ends_with('.') || name.contains("..") {
            return Err(Failure::new(Code::NameInvalid, format!("GitHub would store `{name}` under another name"))
                .subject(name)
                .hint("name it without two full stops in a row and without one at its end (`archive.name-pattern`)"));
        }
        if asset.size_bytes > MAX_FILE_BYTES {
            return Err(Failure::new(
                Code::FileTooLarge,
                format!("`{name}` is larger than the 2 GiB that GitHub takes"),
            )
            .subject(name)
            .hint("publish it to a directory, or make the package smaller"));
        }
    }
    let count = upload.files().count();
    if count > MAX_FILES {
        return Err(Failure::new(
            Code::FileTooLarge,
            format!("GitHub takes {MAX_FILES} files in a release, and these are {count}"),
        )
        .hint("release fewer platforms together"));
    }
    Ok(())
}

/// Finds the draft of an earlier run, or makes one.
pub(super) fn draft<'a>(github: &'a GitHub, upload: &Upload<'_>) -> Result<Turn<'a>> {
    let tag = upload.release.tag.as_str();
    github.require_tag(tag, upload.commit.as_deref())?;
    let mark = Mark::of(upload).ok_or_else(|| Failure::new(Code::BundleMissing, "the bundle has no index"))?;
    for _ in 0..TRIES {
        let all = github.releases()?;
        let (published, drafts): (Vec<_>, Vec<_>) =
            all.iter().filter(|release| release.tag_name == tag).partition(|release| !release.draft);
        if let Some(found) = published.first() {
            let page = found.html_url.clone();
            return Ok(Turn::Published(Box::new(Files { github, release: found.id, page })));
        }
        let is_ours = |release: &&&Release| {
            Mark::read(release.body.as_deref().unwrap_or_default()).is_some_and(|found| found.index == mark.index)
        };
        let mut ours: Vec<&Release> = drafts.iter().filter(is_ours).copied().collect();
        ours.sort_by_key(|release| release.id);
        if let Some((oldest, others)) = ours.split_first() {
            for other in others {
                delete(github, other.id)?;
            }
            return adopt(github, upload, mark, oldest, &all);
        }
        if let Some(foreign) = drafts.first() {
            let page = text::shown(&foreign.html_url).into_owned();
            return Err(Failure::new(
                Code::TargetForeign,
                format!("there is a draft of `{tag}` that is not of this bundle: {page}"),
            )
            .subject(page)
            .hint("publish or delete that draft, and publish again"));
        }
        // Whether or not it was made, the list will tell; and whether somebody else made one as well.
        make(github, upload, mark, &all)?;
    }
    let message = format!("a draft of `{tag}` was made in {} and cannot be found", github.target.page());
    Err(Failure::new(Code::RemoteUnavailable, message).subject(tag).hint("try again later"))
}

fn wanted<'a>(upload: &'a Upload<'_>, mark: Mark, others: &[Release], draft: bool) -> Wanted<'a> {
    let release = &upload.release;
    Wanted {
        tag_name: &release.tag,
        target_commitish: upload.commit.as_deref(),
        name: &release.tag,
        body: mark.written(&upload.notes),
        draft,
        prerelease: !release.version.pre.is_empty(),
        make_latest: if is_latest(release, others) { "true" } else { "false" },
    }
}

fn make(github: &GitHub, upload: &Upload<'_>, mark: Mark, others: &[Release]) -> Result<()> {
    let document = wanted(upload, mark, others, true);
    let call = Call::with(Method::POST, github.target.route("/releases"), &document);
    match github.runtime.block_on(github.wire.call(&call)) {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(refused(&answer, &upload.release.tag)),
        Err(Trouble::Unsure(_)) => {
            github.runtime.block_on(github.wire.pause(1));
            Ok(())
        }
        Err(Trouble::Failed(failure)) => Err(failure),
    }
}

/// Takes over a draft of ours, which may be of a run that packaged the same index in another way.
fn adopt<'a>(
    github: &'a GitHub,
    upload: &Upload<'_>,
    mark: Mark,
    found: &Release,
    all: &[Release],
) -> Result<Turn<'a>> {
    let is_ours = Mark::read(found.body.as_deref().unwrap_or_default()) == Some(mark);
    let address = github.target.route(&format!("/releases/{}", found.id));
    if !is_ours {
        let claim = serde_json::json!({ "body": mark.written(&upload.notes) });
        let answer = github.ask(&Call::with(Method::PATCH, &address, &claim))?;
        if !answer.status.is_success() {
            return Err(refused(&answer, &upload.release.tag));
        }
    }
    let make_latest = wanted(upload, mark, all, true).make_latest;
    let files = Files { github, release: found.id, page: found.html_url.clone() };
    Ok(Turn::Draft(Box::new(Open { files, address, upload_url: found.upload_url.clone(), mark, make_latest })))
}

fn delete(github: &GitHub, id: u64) -> Result<()> {
    let answer = github.ask(&Call::delete(github.target.route(&format!("/releases/{id}"))))?;
    match answer.status {
        status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
        _ => Err(answer.failure("to delete a draft that is there twice")),
    }
}

/// What GitHub refuses when a release is made or published.
fn refused(answer: &Answer, tag: &str) -> Failure {
    let tag = text::shown(tag);
    if answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.message().contains("immutable") {
        let message =
            format!("the tag `{tag}` is burned: an immutable release had it, and it can never be published again");
        return Failure::new(Code::VersionPublished, message)
            .subject(tag)
            .because(answer.message())
            .hint("release a new version");
    }
    answer.failure(&format!("the release `{tag}`"))
}

/// A draft of ours.
struct Open<'a> {
    files: Files<'a>,
    address: String,
    upload_url: String,
    mark: Mark,
    make_latest: &'static str,
}

impl Open<'_> {
    /// The draft as it is now, if it is still one and still ours.
    fn look(&self, tag: &str) -> Result<Option<Release>> {
        let answer = self.files.github.ask(&Call::get(&self.address))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let found: Release = answer.accept("the draft")?;
        if !found.draft {
            return Ok(None);
        }
        let mark = Mark::read(found.body.as_deref().unwrap_or_default());
        if mark != Some(self.mark) || found.tag_name != tag {
            let message = format!("somebody else has taken the draft of `{}` over", text::shown(tag));
            return Err(Failure::new(Code::Busy, message)
                .subject(text::shown(&found.html_url))
                .hint("let one publisher at a time do it, and run it again"));
        }
        Ok(Some(found))
    }
}

impl Shelf for Open<'_> {
    fn name(&self) -> String {
        format!("the draft {}", self.files.name())
    }

    fn list(&self) -> Result<Vec<Stored>> {
        self.files.list()
    }

    fn digest(&self, stored: &Stored) -> Result<Digest> {
        self.files.digest(stored)
    }
}

impl Draft for Open<'_> {
    fn store(&mut self, upload: &Upload<'_>, files: &[&Asset], listener: &dyn Listener) -> Result<()> {
        files::store(self.files.github, &self.files, &self.upload_url, upload, files, listener)
    }

    fn remove(&mut self, stored: &Stored) -> Result<()> {
        files::remove(self.files.github, &self.address, stored)
    }

    fn fetch(&mut self, into: &Utf8Path) -> Result<Utf8PathBuf> {
        files::fetch(self.files.github, &self.files.list()?, into)?;
        Ok(into.to_owned())
    }

    fn flip(self: Box<Self>, upload: &Upload<'_>) -> Result<bool> {
        let (github, tag) = (self.files.github, upload.release.tag.as_str());
        for _ in 0..TRIES {
            if self.look(tag)?.is_none() {
                return Ok(false);
            }
            github.require_tag(tag, upload.commit.as_deref())?;
            let document = Wanted { make_latest: self.make_latest, ..wanted(upload, self.mark, &[], false) };
            let call = Call::with(Method::PATCH, &self.address, &document);
            match github.runtime.block_on(github.wire.call(&call)) {
                Ok(answer) if answer.status.is_success() => {
                    let found: Release = answer.accept("the release")?;
                    if !found.draft && found.tag_name == tag {
                        return Ok(true);
                    }
                }
                // Another run may have published it in between, and then it can be changed no more.
                Ok(answer) => return if self.look(tag)?.is_none() { Ok(false) } else { Err(refused(&answer, tag)) },
                // It may be published now: who looks again sees it.
                Err(Trouble::Unsure(_)) => github.runtime.block_on(github.wire.pause(1)),
                Err(Trouble::Failed(failure)) => return Err(failure),
            }
        }
        let message = format!("`{}` stays a draft", text::shown(tag));
        Err(Failure::new(Code::RemoteUnavailable, message).subject(text::shown(tag)).hint("try again later"))
    }
}
