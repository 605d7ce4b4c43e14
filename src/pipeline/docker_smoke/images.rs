//! From what the matrix names to the one image that is run.
//!
//! Each source is resolved once in a run, and what is run afterwards is the id: a tag that is moved
//! in between moves nothing here.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobMatcher};

use super::dockerfile;
use super::log::{Log, Voice};
use super::matrix::{Pull, Source};
use super::preflight;
use crate::model::digest::Hasher;
use crate::model::failure::Result;
use crate::model::{Code, Failure, Platform};
use crate::world::docker::{Build, Engine, Entry, Image, Patience};
use crate::world::files;
use crate::world::interrupt::Interrupt;

/// How long an image may take to be pulled or built.
const TIME: Duration = Duration::from_secs(30 * 60);
/// The largest Dockerfile and `.dockerignore`, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;
/// The name of the Dockerfile in what is sent.
const DOCKERFILE: &str = ".consign-dockerfile";
/// What images from root directories are named: they stay, and are found again by the next run.
const KEPT: &str = "consign-base";

type Key = (Source, Option<Platform>);
type Slot = Arc<OnceLock<Result<Image, Arc<Failure>>>>;

/// Resolves sources.
pub(super) struct Images<'a> {
    engine: &'a Engine,
    labels: HashMap<String, String>,
    slots: Mutex<BTreeMap<Key, Slot>>,
}

impl<'a> Images<'a> {
    /// Nothing is resolved yet. What is built gets these labels.
    pub(super) fn new(engine: &'a Engine, labels: HashMap<String, String>) -> Self {
        Self { engine, labels, slots: Mutex::default() }
    }

    /// The image of a source. The first who asks does the work; its output goes to their log.
    pub(super) fn resolve(
        &self,
        source: &Source,
        platform: Option<Platform>,
        log: &Log,
        interrupt: &Interrupt,
    ) -> Result<Image> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((source.clone(), platform)).or_default())
        };
        let found = slot.get_or_init(|| self.find(source, platform, log, interrupt).map_err(Arc::new));
        found.clone().map_err(|failure| again(&failure))
    }

    fn find(&self, source: &Source, platform: Option<Platform>, log: &Log, interrupt: &Interrupt) -> Result<Image> {
        let patience = Patience::of(TIME, interrupt);
        let wanted = platform.map(preflight::docker_platform);
        let image = match source {
            Source::Image { name, pull } => self.named(name, *pull, wanted.as_deref(), log, &patience)?,
            Source::Tar(path) => self.brought(path, wanted.as_deref(), log, &patience)?,
            Source::Dockerfile { path, context, arguments, base } => {
                let mut arguments: HashMap<_, _> = arguments.clone().into_iter().collect();
                if let Some(base) = base {
                    let base = self.resolve(base, platform, log, interrupt)?;
                    arguments.insert("BASE".to_owned(), base.id);
                }
                let build = self.build_of(path, context.as_deref(), arguments, wanted.clone())?;
                log.note(&format!("build {path}"));
                let id = self.engine.build(build, &patience, &mut |bytes| log.hear(Voice::Build, bytes))?;
                self.present(&id, &patience)?
            }
        };
        if let Some(wanted) = platform.map(preflight::architecture).filter(|wanted| *wanted != image.architecture) {
            return Err(Failure::new(
                Code::EngineArchitecture,
                format!("the image `{source}` is for {}, and {wanted} is asked for", image.architecture),
            )
            .hint("name an image of that platform, or leave `platform` out"));
        }
        Ok(image)
    }

    fn named(&self, name: &str, pull: Pull, platform: Option<&str>, log: &Log, patience: &Patience) -> Result<Image> {
        if pull != Pull::Always {
            let found = self.engine.image(name, patience)?;
            let fits = |image: &Image| platform.is_none_or(|platform| platform.ends_with(&image.architecture));
            match found {
                Some(image) if fits(&image) || pull == Pull::Never => return Ok(image),
                None if pull == Pull::Never => {
                    return Err(Failure::new(Code::ImageMissing, format!("the engine has no image `{name}`"))
                        .subject(name)
                        .hint("`pull = \"missing\"` lets it be pulled"));
                }
                _ => {}
            }
        }
        log.note(&format!("pull {name}"));
        self.engine.pull(name, platform, patience)?;
        self.present(name, patience)
    }

    /// An image from a file. A root directory is imported once and kept under the digest of the file.
    fn brought(&self, path: &Utf8Path, platform: Option<&str>, log: &Log, patience: &Patience) -> Result<Image> {
        let is_saved = holds_an_image(path)?;
        if is_saved {
            log.note(&format!("load {path}"));
            let name = self.engine.load(path, patience)?;
            return self.present(&name, patience);
        }
        let digest = digest_of(path)?;
        let stem: String = path.file_stem().unwrap_or_default().to_lowercase();
        let stem: String = stem.chars().filter(char::is_ascii_alphanumeric).take(30).collect();
        let (repository, tag) = (format!("{KEPT}/{}", if stem.is_empty() { "x" } else { &stem }), &digest[..32]);
        let name = format!("{repository}:{tag}");
        if let Some(image) = self.engine.image(&name, patience)? {
            return Ok(image);
        }
        log.note(&format!("import {path}"));
        self.engine.import(path, &repository, tag, platform, patience)?;
        self.present(&name, patience)
    }

    fn present(&self, name: &str, patience: &Patience) -> Result<Image> {
        self.engine.image(name, patience)?.ok_or_else(|| {
            Failure::new(Code::ImageMissing, format!("the engine has no image `{name}` any more")).subject(name)
        })
    }

    fn build_of(
        &self,
        path: &Utf8Path,
        context: Option<&Utf8Path>,
        arguments: HashMap<String, String>,
        platform: Option<String>,
    ) -> Result<Build> {
        let dockerfile = files::read_bounded(path, MAX_FILE_BYTES)?;
        let dockerfile = String::from_utf8_lossy(&dockerfile);
        let mut entries = context.map(context_of).transpose()?.unwrap_or_default();
        entries.push(Entry::bytes(DOCKERFILE, dockerfile::labelled(&dockerfile, &self.labels)));
        Ok(Build {
            name: path.to_string(),
            context: entries,
            dockerfile: DOCKERFILE.to_owned(),
            arguments,
            labels: self.labels.clone(),
            platform,
        })
    }
}

/// A failure once more, for another service that needs the same image.
fn again(failure: &Failure) -> Failure {
    let copy = Failure::new(failure.code(), failure.to_string());
    let copy = match failure.way_out() {
        Some(hint) => copy.hint(hint),
        None => copy,
    };
    match failure.chain().split_first() {
        Some((_, causes)) if !causes.is_empty() => copy.because(causes.join(": ")),
        _ => copy,
    }
}

/// Whether a tar file is what `docker save` wrote, and not a root directory: it has a manifest.
fn holds_an_image(path: &Utf8Path) -> Result<bool> {
    let unreadable = |error| files::failed("read", path, error);
    let file = fs_err::File::open(path).map_err(unreadable)?;
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name);
        if name == b"manifest.json" || name == b"oci-layout" {
            return Ok(true);
        }
        // Root directories have many entries, and one of these among the first.
        if [b"bin".as_slice(), b"usr", b"etc", b"lib"]
            .iter()
            .any(|word| name.strip_suffix(b"/").unwrap_or(name) == *word)
        {
            return Ok(false);
        }
    }
    Ok(false)
}

fn digest_of(path: &Utf8Path) -> Result<String> {
    use std::io::Read as _;
    let unreadable = |error| files::failed("read", path, error);
    let mut file = fs_err::File::open(path).map_err(unreadable)?;
    let (mut hasher, mut piece) = (Hasher::default(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(hasher.finish().to_string()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// Everything in a directory that its `.dockerignore` does not leave out.
fn context_of(directory: &Utf8Path) -> Result<Vec<Entry>> {
    let ignored = directory.join(".dockerignore");
    let ignored = if ignored.is_file() {
        let text = files::read_bounded(&ignored, MAX_FILE_BYTES)?;
        Ignored::parse(&String::from_utf8_lossy(&text))?
    } else {
        Ignored(Vec::new())
    };
    let mut entries = Vec::new();
    collect(directory, Utf8Path::new(""), &ignored, &mut entries)?;
    Ok(entries)
}

fn collect(root: &Utf8Path, below: &Utf8Path, ignored: &Ignored, entries: &mut Vec<Entry>) -> Result<()> {
    let directory = root.join(below);
    let unreadable = |error| files::failed("read", &directory, error);
    let mut found = Vec::new();
    for entry in fs_err::read_dir(&directory).map_err(unreadable)? {
        found.push(files::utf8(entry.map_err(unreadable)?.file_name().into())?);
    }
    found.sort();
    for name in found {
        let path: Utf8PathBuf = below.join(&name);
        let full = root.join(&path);
        let metadata = fs_err::symlink_metadata(&full).map_err(|error| files::failed("read", &full, error))?;
        let is_ignored = ignored.holds(&path);
        if metadata.is_dir() {
            // A file in it may be taken back by a later pattern.
            if !is_ignored || ignored.has_exceptions() {
                if !is_ignored {
                    entries.push(Entry::directory(path.as_str()));
                }
                collect(root, &path, ignored, entries)?;
            }
        } else if is_ignored {
        } else if metadata.is_symlink() {
            let target = fs_err::read_link(&full).map_err(|error| files::failed("read", &full, error))?;
            entries.push(Entry::link(path.as_str(), files::utf8(target)?.as_str()));
        } else if metadata.is_file() {
            let entry = Entry::file(path.as_str(), full);
            entries.push(if is_executable(&metadata) { entry.executable() } else { entry });
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

/// Docker does the same where files have no modes.
#[cfg(not(unix))]
fn is_executable(_metadata: &std::fs::Metadata) -> bool {
    true
}

/// The patterns of a `.dockerignore`: the last one that matches decides.
struct Ignored(Vec<(GlobMatcher, bool)>);

impl Ignored {
    fn parse(text: &str) -> Result<Self> {
        let mut patterns = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (pattern, is_ignored) = match line.strip_prefix('!') {
                Some(pattern) => (pattern.trim(), false),
                None => (line, true),
            };
            let pattern = pattern.trim_start_matches("./").trim_matches('/');
            if pattern.is_empty() || pattern == "." {
                continue;
            }
            // What is below a directory that matches, matches too.
            for glob in [pattern.to_owned(), format!("{pattern}/**")] {
                let glob = GlobBuilder::new(&glob).literal_separator(true).build().map_err(|error| {
                    Failure::new(Code::ConfigInvalid, "a pattern of `.dockerignore` cannot be read").because(error)
                })?;
                patterns.push((glob.compile_matcher(), is_ignored));
            }
        }
        Ok(Self(patterns))
    }

    fn holds(&self, path: &Utf8Path) -> bool {
        self.0.iter().rev().find(|(glob, _)| glob.is_match(path)).is_some_and(|(_, is_ignored)| *is_ignored)
    }

    fn has_exceptions(&self) -> bool {
        self.0.iter().any(|(_, is_ignored)| !is_ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_of_a_dockerignore_decides() {
        let ignored = Ignored::parse("# target\ntarget/\n**/*.log\n!keep/x.log\n/only-here\n").expect("patterns");
        for (path, expected) in [
            ("target", true),
            ("target/a/b", true),
            ("a/target", false),
            ("a/b.log", true),
            ("b.log", true),
            ("keep/x.log", false),
            ("only-here", true),
            ("a/only-here", false),
        ] {
            assert_eq!(ignored.holds(path.into()), expected, "{path}");
        }
    }

    #[test]
    fn a_context_is_what_is_not_ignored() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Utf8Path::from_path(directory.path()).expect("UTF-8");
        for path in ["a/x", "a/y.log", "target/z", ".dockerignore"] {
            files::write(&root.join(path), b"text").expect("written");
        }
        files::write(&root.join(".dockerignore"), b"target\n*/*.log\n").expect("written");
        let entries: Vec<_> = context_of(root).expect("read").into_iter().map(|entry| entry.path).collect();
        assert_eq!(entries, [".dockerignore", "a", "a/x"]);
    }
}
