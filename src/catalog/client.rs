//! The TUF client: brings what is newest, in the order of the specification, and keeps what was seen.
//!
//! [`update`] is the whole of it for a catalog; [`refresh`] is one walk over any TUF repository, for
//! callers that keep documents in their own way. Whether a document may be believed is decided in
//! [`crate::trust::tuf::trusted`] alone; the time at which it is judged is handed in.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use camino::Utf8Path;
use jiff::Timestamp;

use super::entry::{Entry, Status};
use super::source::Source;
use super::state::{Documents, State};
use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Failure};
use crate::trust::anchor::Listed;
use crate::trust::tuf::roles::RoleName;
use crate::trust::tuf::trusted::{self, Forgotten, Roots, Snapped, Timed, Trusted, Wanted};
use crate::trust::tuf::view::{Found, View};
use crate::trust::{Anchor, Verified};

const TARGETS: &str = RoleName::Targets.as_str();

/// How often a catalog that does not fit together is read again, and after what pause.
///
/// The files of a catalog are replaced one after the other, so a reader may meet some of the old ones
/// beside some of the new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often it is read again.
    pub rereads: u32,
    /// How long to wait before.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { rereads: 2, pause: Duration::from_millis(250) }
    }
}

/// A change in what is trusted, told as soon as it is one.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// The document of a role is trusted from now on.
    Trusted {
        /// The name of the role.
        role: &'a str,
        /// The document.
        bytes: &'a [u8],
    },
    /// The timestamp and the snapshot that were kept are not trusted any more.
    Forgotten,
}

/// Somebody who keeps documents one by one.
pub type Keeper<'a> = dyn FnMut(Change<'_>) -> Result<()> + 'a;

/// A catalog that has been brought up to date.
#[derive(Debug)]
pub struct Catalog<'a> {
    source: &'a Source,
    trusted: Trusted,
    documents: Documents,
    notes: Vec<String>,
}

/// A refresh that did not succeed.
#[derive(Debug)]
pub struct Interrupted {
    /// Why.
    pub failure: Failure,
    /// Whether the documents do not fit together, which an update under way would explain.
    pub may_be_torn: bool,
}

/// Brings a catalog up to date and keeps it in the state, which is touched after full success only.
///
/// Without a state nothing that was seen before is known, and nothing is kept: for looking at a
/// catalog as it was at another time.
pub fn update<'a>(
    source: &'a Source,
    pinned_root: &[u8],
    state: Option<&State>,
    now: Timestamp,
    patience: Patience,
) -> Result<Catalog<'a>> {
    let (kept, note) = state.map_or_else(|| Ok(Default::default()), State::load)?;
    let mut read_again = 0;
    let mut catalog = loop {
        match refresh(source, pinned_root, kept.clone(), now, &mut |_| Ok(())) {
            Ok(catalog) => break catalog,
            Err(Interrupted { may_be_torn: true, .. }) if read_again < patience.rereads => {
                std::thread::sleep(patience.pause);
                read_again += 1;
            }
            Err(Interrupted { failure, .. }) => return Err(failure),
        }
    };
    catalog.notes.splice(0..0, note);
    if let Some(state) = state {
        state.save(&kept, &catalog.documents)?;
    }
    Ok(catalog)
}

/// One walk through the client workflow, telling a keeper of every document as soon as it is trusted.
pub fn refresh<'a>(
    source: &'a Source,
    pinned_root: &[u8],
    documents: Documents,
    now: Timestamp,
    keeper: &mut Keeper<'_>,
) -> Result<Catalog<'a>, Interrupted> {
    let mut walk = Walk { source, documents, keeper, notes: Vec::new(), may_be_torn: false };
    match walk.trusted(pinned_root, now) {
        Ok(trusted) => Ok(Catalog { source, trusted, documents: walk.documents, notes: walk.notes }),
        Err(failure) => {
            let fits_together = !matches!(
                failure.code(),
                Code::CatalogInvalid | Code::FileMissing | Code::FileTooLarge | Code::SizeMismatch
            );
            Err(Interrupted { may_be_torn: walk.may_be_torn && !fits_together, failure })
        }
    }
}

struct Walk<'a, 'k> {
    source: &'a Source,
    documents: Documents,
    keeper: &'a mut Keeper<'k>,
    notes: Vec<String>,
    /// Whether what is fetched now is not named by its version.
    may_be_torn: bool,
}

impl Walk<'_, '_> {
    fn trusted(&mut self, pinned_root: &[u8], now: Timestamp) -> Result<Trusted> {
        let settled = self.roots(pinned_root)?.settle(now)?;
        let is_consistent = settled.root().consistent_snapshot;
        self.may_be_torn = !is_consistent;
        let Documents { timestamp, snapshot, .. } = &self.documents;
        let (remembering, forgotten) = settled.remember(timestamp.as_deref(), snapshot.as_deref());
        if let Some(why) = forgotten {
            self.forget(why)?;
        }
        let bytes = self
            .source
            .metadata("timestamp", None, trusted::MAX_TIMESTAMP_BYTES)?
            .ok_or_else(|| self.source.nothing_there("timestamp.json"))?;
        let timed = remembering.timestamp(&bytes)?;
        if timed.is_new() {
            (self.keeper)(Change::Trusted { role: "timestamp", bytes: &bytes })?;
            self.documents.timestamp = Some(bytes);
        }
        let snapped = self.snapshot(timed, is_consistent)?;
        self.targets(snapped, is_consistent)
    }

    /// From the root that is pinned over those that were kept to the newest one.
    fn roots(&mut self, pinned_root: &[u8]) -> Result<Roots> {
        let mut roots = Roots::begin(pinned_root)?;
        let kept = std::mem::take(&mut self.documents.roots);
        let known = kept.len();
        for bytes in kept {
            if roots.advance(&bytes).is_err() {
                break;
            }
            self.documents.roots.push(bytes);
        }
        if self.documents.roots.len() < known {
            self.notes.push("a root that was kept cannot be used and is fetched again".to_owned());
        }
        // Keys that were replaced in an earlier update have been dealt with then.
        roots.begin_update();
        for _ in 0..trusted::MAX_ROOTS {
            let next = roots.current().version + 1;
            let Some(bytes) = self.source.metadata("root", Some(next), trusted::MAX_ROOT_BYTES)? else { break };
            roots.advance(&bytes)?;
            (self.keeper)(Change::Trusted { role: "root", bytes: &bytes })?;
            self.documents.roots.push(bytes);
        }
        Ok(roots)
    }

    fn forget(&mut self, why: Forgotten) -> Result<()> {
        self.documents.timestamp = None;
        self.documents.snapshot = None;
        self.documents.targets.clear();
        self.notes.push(match why {
            Forgotten::Rotated => {
                "the catalog's timestamp or snapshot keys were replaced: its versions count anew".to_owned()
            }
            Forgotten::Unusable => {
                "the timestamp or snapshot that was kept cannot be used any more: an older catalog than that would \
                 not be noticed this time"
                    .to_owned()
            }
        });
        (self.keeper)(Change::Forgotten)
    }

    fn snapshot(&mut self, timed: Timed, is_consistent: bool) -> Result<Snapped> {
        if let Some(kept) = &self.documents.snapshot
            && let Ok(snapped) = timed.clone().snapshot(kept)
        {
            return Ok(snapped);
        }
        let bytes = fetch(self.source, "snapshot", timed.wanted(), is_consistent, "timestamp.json")?;
        let snapped = timed.snapshot(&bytes)?;
        (self.keeper)(Change::Trusted { role: "snapshot", bytes: &bytes })?;
        self.documents.snapshot = Some(bytes);
        Ok(snapped)
    }

    fn targets(&mut self, snapped: Snapped, is_consistent: bool) -> Result<Trusted> {
        if let Some(kept) = self.documents.targets.get(TARGETS)
            && let Ok(trusted) = snapped.clone().targets(kept)
        {
            return Ok(trusted);
        }
        let bytes = fetch(self.source, TARGETS, snapped.wanted(TARGETS)?, is_consistent, "snapshot.json")?;
        let trusted = snapped.targets(&bytes)?;
        (self.keeper)(Change::Trusted { role: TARGETS, bytes: &bytes })?;
        self.documents.targets.insert(TARGETS.to_owned(), bytes);
        Ok(trusted)
    }
}

fn fetch(source: &Source, role: &str, wanted: Wanted, is_consistent: bool, by: &str) -> Result<Vec<u8>> {
    let version = is_consistent.then_some(wanted.version);
    source.metadata(role, version, wanted.max_bytes)?.ok_or_else(|| {
        let message = format!("`{by}` names version {} of `{}.json`, which is not there", wanted.version, shown(role));
        Failure::new(Code::FileMissing, message)
            .subject(shown(&format!("{role}.json")))
            .hint("an update may be under way, or the catalog is broken: try again, then ask the publisher")
    })
}

impl Catalog<'_> {
    /// What the catalog says.
    pub fn view(&self) -> Verified<View> {
        self.trusted.view()
    }

    /// Whom to believe about releases, by the word of this catalog.
    pub fn anchor(&self) -> Anchor {
        let view = self.view();
        let mut releases: BTreeMap<String, Listed> = BTreeMap::new();
        for (path, target) in view.targets() {
            let Some((release, name)) = path.split_once('/') else { continue };
            let digest = target.hashes.get("sha256").and_then(|hex| hex.parse().ok());
            // What has no such name or digest is not vouched for, and so refused where it turns up.
            let (Ok(name), Some(digest)) = (name.parse(), digest) else { continue };
            let listed = releases.entry(release.to_owned()).or_default();
            listed.files.insert(name, (target.length, digest));
            if let Some(Entry { status: Status::Yanked, reason, .. }) = Entry::of(target) {
                listed.withdrawn = Some(reason.unwrap_or_else(|| "no reason is given".to_owned()));
            }
        }
        Anchor::releases_of(view.root(), Some(releases))
    }

    /// What was brought, as it was fetched.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// What a user should know about how it came about.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Looks for a file, also where the catalog delegates to others.
    pub fn find(&mut self, path: &str) -> Result<Verified<Found>> {
        self.find_keeping(path, &mut |_| Ok(()))
    }

    /// The same, telling a keeper of every document of a delegated role.
    pub fn find_keeping(&mut self, path: &str, keeper: &mut Keeper<'_>) -> Result<Verified<Found>> {
        let Self { source, trusted, documents, .. } = self;
        let is_consistent = trusted.root().consistent_snapshot;
        let found = trusted.find(path, |branch| {
            let role = branch.role();
            if let Some(kept) = documents.targets.get(role)
                && let Ok(targets) = trusted.delegated(branch, kept)
            {
                return Ok(targets);
            }
            let bytes = fetch(source, role, trusted.wanted(branch)?, is_consistent, "snapshot.json")?;
            let targets = trusted.delegated(branch, &bytes)?;
            keeper(Change::Trusted { role, bytes: &bytes })?;
            documents.targets.insert(role.to_owned(), bytes);
            Ok(targets)
        })?;
        found.ok_or_else(|| {
            Failure::new(Code::TargetUnknown, format!("the catalog does not list {path:?}"))
                .subject(shown(path))
                .hint("`consign catalog show` lists what there is")
        })
    }

    /// Brings a file to a place where nothing is yet, checks it there, and gives it opened for reading.
    ///
    /// Only this user can read it. A failure leaves nothing.
    pub fn download(&self, found: &Verified<Found>, to: &Utf8Path) -> Result<std::fs::File> {
        let expected = found.expected().map_err(|why| {
            Failure::new(Code::CatalogInvalid, format!("the catalog does not say which bytes {:?} has", found.path()))
                .subject(shown(found.path()))
                .because(why)
                .hint("ask the publisher")
        })?;
        let digest = self.trusted.root().consistent_snapshot.then(|| expected.prefix());
        self.source.target(found.path(), digest.as_deref(), found.length(), to)?;
        check(found, expected, to).inspect_err(|_| {
            // What is left is the failure that is already being told.
            let _ = fs_err::remove_file(to);
        })
    }
}

fn check(found: &Found, mut expected: crate::trust::tuf::hashes::Expected, path: &Utf8Path) -> Result<std::fs::File> {
    use std::io::Seek as _;

    use crate::world::files::{failed, open_regular};
    let mut file = open_regular(path)?
        .ok_or_else(|| Failure::new(Code::FileIrregular, format!("`{path}` was replaced")).subject(path.as_str()))?;
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece).map_err(|error| failed("read", path, error))? {
            0 => break,
            read => expected.update(&piece[..read]),
        }
    }
    expected.finish().map_err(|why| {
        Failure::new(Code::DigestMismatch, format!("{:?} is not the file that the catalog lists", found.path()))
            .subject(shown(found.path()))
            .because(why)
            .hint("what is published there was changed: ask the publisher")
    })?;
    file.rewind().map_err(|error| failed("read", path, error))?;
    Ok(file)
}
