//! A new root on its way: made, signed by one holder after another, and put in force.
//!
//! A proposal is a file that travels by any means. [`sign`] adds one holder's signature to it; the
//! signature that makes it enough, by the old root's word and by its own, also puts it in force.
//! The same verb signs a list of files whose role needs several signatures.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::differences::differences;
use super::edit::{Act, Ending, Hand, Outcome, open};
use super::entry::{path_of, release_of};
use super::repository::{Chain, PROPOSED_ROOT, Repository, State, invalid, proposed_file_of, read};
use super::root::{self, Change, appointed_for, follow, signatures_of, sound};
use super::settle::{Wanted, settle};
use super::signatures::{Appointed, Signatures, add, count, merge, without_role};
use crate::model::failure::Result;
use crate::model::{Code, Failure, index, text};
use crate::trust::key::PublicKey;
use crate::trust::tuf::json::Json;
use crate::trust::tuf::roles::{Key, Role, RoleName, Root, Signed, Snapshot, Targets, TimestampRole};
use crate::trust::tuf::trusted::Roots;
use crate::world::files;

/// The document type of a [`Signing`].
pub const TYPE: &str = "consign.trust-change/v1";
/// The largest signature file that is looked at, in bytes.
const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// What came of making or signing a document.
#[derive(Clone, Debug, Serialize)]
pub struct Signing {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The role whose document it is.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// The file that it is in now.
    pub file: String,
    /// Whether it is in force.
    pub status: Ending,
    /// Whether it was only rehearsed.
    pub dry_run: bool,
    /// What is different in it from what is in force, one sentence each.
    pub changes: Vec<String>,
    /// The ids of the keys that have signed now.
    pub signed_by: Vec<String>,
    /// How many signatures it has of those that it needs.
    pub signatures: Vec<Signatures>,
    /// What became of the rest of the catalog, where anything did.
    pub catalog: Option<Outcome>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Whether a proposal that is there already is changed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A proposal that is there is in the way.
    InForce,
    /// The proposal is changed, and loses its signatures.
    Proposal,
}

/// Makes a catalog with its first root, which waits for signatures if some are missing.
pub fn init(repository: &Repository, first: Root, hand: &Hand<'_>) -> Result<Signing> {
    let _turn = (hand.act == Act::Write).then(|| repository.lock()).transpose()?;
    for name in ["1.root.json", "root.json", PROPOSED_ROOT] {
        let path = repository.path(name);
        if path.symlink_metadata().is_ok() {
            return Err(Failure::new(Code::FileExists, format!("there is a catalog already: `{path}`"))
                .subject(path.as_str())
                .hint("change it with `consign trust add-key`, `rotate` and the like, or name another directory"));
        }
    }
    bring(repository, None, Signed::new(first), None, hand)
}

/// Makes the next root of a catalog, which waits for signatures if some are missing.
pub fn propose(
    repository: &Repository,
    changes: &[Change],
    base: Base,
    out: Option<&Utf8Path>,
    hand: &Hand<'_>,
) -> Result<Signing> {
    let _turn = (hand.act == Act::Write && repository.exists()).then(|| repository.lock()).transpose()?;
    let chain = repository.roots()?;
    let version = chain.current().version + 1;
    let path = out.map_or_else(|| repository.path(PROPOSED_ROOT), Utf8Path::to_owned);
    let there = path.symlink_metadata().is_ok().then(|| read::<Root>(&path)).transpose()?;
    let there = there.filter(|known| known.signed.signed.version == version).map(|known| known.signed.signed);
    let from = match (there, base) {
        (Some(_), Base::InForce) => {
            return Err(Failure::new(Code::ProposalPending, format!("root {version} is proposed already: `{path}`"))
                .subject(path.as_str())
                .hint(format!(
                    "sign it with `consign trust sign {path} --key FILE`, change it too with `--amend`, or remove it"
                )));
        }
        (Some(proposed), Base::Proposal) => {
            sound(&proposed)?;
            proposed
        }
        (None, _) => chain.current().clone(),
    };
    let next = Signed::new(root::change(&from, version, changes, hand.expires(RoleName::Root)?)?);
    bring(repository, Some(&chain), next, out, hand)
}

/// Adds one holder's signature, and those of other copies, to a document that waits for them.
pub fn sign(
    path: &Utf8Path,
    trust_root: Option<&Utf8Path>,
    copies: &[Utf8PathBuf],
    hand: &Hand<'_>,
) -> Result<Signing> {
    match kind_of(path)? {
        RoleName::Root => sign_root(path, trust_root, copies, hand),
        RoleName::Targets => sign_other::<Targets>(path, trust_root, copies, hand),
        RoleName::Snapshot => sign_other::<Snapshot>(path, trust_root, copies, hand),
        RoleName::Timestamp => sign_other::<TimestampRole>(path, trust_root, copies, hand),
    }
}

fn kind_of(path: &Utf8Path) -> Result<RoleName> {
    let bytes = files::read_bounded(path, super::repository::MAX_BYTES)?;
    let document =
        Json::parse(&bytes).map_err(|error| invalid(path, "it is no document of a catalog").because(error))?;
    let kind = match document.get("signed").and_then(|signed| signed.get("_type")) {
        Some(Json::Text(kind)) => RoleName::ALL.into_iter().find(|role| role.as_str() == kind),
        _ => None,
    };
    kind.ok_or_else(|| invalid(path, "it is no document of a catalog"))
}

/// The catalog around a file, if the file lies in one under the name of a proposal.
fn home(path: &Utf8Path, role: RoleName) -> Option<Repository> {
    let absolute = camino::absolute_utf8(path).ok()?;
    let is_proposal = path.file_name() == Some(&proposed_file_of(role));
    Repository::of_file(&absolute).filter(|_| is_proposal)
}

fn sign_root(
    path: &Utf8Path,
    trust_root: Option<&Utf8Path>,
    copies: &[Utf8PathBuf],
    hand: &Hand<'_>,
) -> Result<Signing> {
    let home = home(path, RoleName::Root);
    let _turn = home.as_ref().filter(|_| hand.act == Act::Write).map(Repository::lock).transpose()?;
    let mut next = read::<Root>(path)?.signed;
    sound(&next.signed).map_err(|failure| invalid(path, "its roles cannot be used").because(failure))?;
    let chain = home.as_ref().filter(|home| home.exists()).map(Repository::roots).transpose()?;
    let given = trust_root.map(read::<Root>).transpose()?.map(|document| document.signed.signed);
    let previous = chain.as_ref().map(|chain| chain.current().clone()).or(given);
    let version = next.signed.version;
    match &previous {
        Some(previous) if version != previous.version + 1 => {
            let problem = format!("it is root {version}, and root {} is next", previous.version + 1);
            return Err(invalid(path, &problem).hint("have its author make it anew from the newest root"));
        }
        None if version > 1 => {
            let message = format!("root {} is not here, and its keys have to accept `{path}`", version - 1);
            return Err(Failure::new(Code::CatalogMissing, message)
                .subject(path.as_str())
                .hint(format!("name it with `--trust-root {}.root.json`", version - 1)));
        }
        _ => {}
    }
    for copy in copies {
        let other = read::<Root>(copy)?.signed;
        let own = next.signed.clone();
        merge(&mut next, &other, &appointed_for(previous.as_ref(), &own))?;
    }
    match home {
        Some(home) => bring(&home, chain.as_ref(), next, None, hand),
        None => travel(path, previous.as_ref(), next, hand),
    }
}

/// Signs a root away from its catalog.
fn travel(path: &Utf8Path, previous: Option<&Root>, mut next: Signed<Root>, hand: &Hand<'_>) -> Result<Signing> {
    let signed_by = sign_by(&mut next, previous, hand)?;
    if hand.act == Act::Write {
        files::write(path, &next.render())?;
    }
    Ok(report(path, previous, &next, signed_by, Ending::Proposed, hand))
}

fn sign_by(next: &mut Signed<Root>, previous: Option<&Root>, hand: &Hand<'_>) -> Result<Vec<String>> {
    let own = next.signed.clone();
    let appointed = appointed_for(previous, &own);
    let signed_by = add(next, &appointed, &hand.signers)?;
    let may = |key: &PublicKey| {
        appointed
            .iter()
            .any(|by| by.role.keyids.iter().any(|id| by.keys.get(id).and_then(Key::public).as_ref() == Some(key)))
    };
    // Keys for other roles are welcome where they sign the rest of the catalog.
    let has_any = |key: &PublicKey| may(key) || own.keys.values().any(|known| known.public().as_ref() == Some(key));
    let stranger = hand.signers.iter().find(|signer| !has_any(signer.public()));
    match stranger {
        Some(stranger) => Err(without_role(RoleName::Root, &[*stranger], &appointed)),
        None => Ok(signed_by),
    }
}

fn report(
    path: &Utf8Path,
    previous: Option<&Root>,
    next: &Signed<Root>,
    signed_by: Vec<String>,
    status: Ending,
    hand: &Hand<'_>,
) -> Signing {
    Signing {
        kind: TYPE,
        role: RoleName::Root.to_string(),
        version: next.signed.version,
        file: path.to_string(),
        status,
        dry_run: hand.act == Act::Rehearse,
        changes: root::differences(previous, &next.signed),
        signed_by,
        signatures: signatures_of(previous, next),
        catalog: None,
        warnings: Vec::new(),
    }
}

/// Signs a root in its catalog, and puts it in force if that is enough.
fn bring(
    repository: &Repository,
    chain: Option<&Chain>,
    mut next: Signed<Root>,
    out: Option<&Utf8Path>,
    hand: &Hand<'_>,
) -> Result<Signing> {
    let previous = chain.map(|chain| chain.current().clone());
    let signed_by = sign_by(&mut next, previous.as_ref(), hand)?;
    let is_good = follow(previous.as_ref(), &next).is_ok() && next.signed.expires > hand.now;
    let proposed = out.map_or_else(|| repository.path(PROPOSED_ROOT), Utf8Path::to_owned);
    let mut warnings = Vec::new();
    if hand.lifetimes.root.as_secs() < 60 * 24 * 60 * 60 {
        warnings.push(format!("this root ends {}; its holders have to meet again before", day(&next.signed)));
    }
    if !is_good || out.is_some() {
        if hand.act == Act::Write {
            write_proposal(repository, out, &next)?;
        }
        let mut signing = report(&proposed, previous.as_ref(), &next, signed_by, Ending::Proposed, hand);
        signing.warnings = warnings;
        return Ok(signing);
    }
    let file = repository.path(&format!("{}.root.json", next.signed.version));
    let mut signing = report(&file, previous.as_ref(), &next, signed_by, Ending::Published, hand);
    signing.warnings = warnings;
    if let (Some(chain), Some(previous)) = (chain, &previous) {
        signing.warnings.extend(orphaned(repository, &repository.state(chain)?, previous, &next.signed)?);
    }
    let bytes = next.render();
    if let Some(chain) = chain {
        // What has been counted here is judged once more by the client's own rule.
        Roots::begin(&chain.last().render())?.advance(&bytes)?;
    }
    if hand.act == Act::Write {
        let name = format!("{}.root.json", next.signed.version);
        repository.place(&[(name, bytes.clone()), ("root.json".to_owned(), bytes)])?;
        repository.remove(&[PROPOSED_ROOT.to_owned()])?;
        signing.catalog = resign(repository, hand, &mut signing.warnings)?;
    }
    Ok(signing)
}

fn day(root: &Root) -> String {
    root.expires.strftime("%Y-%m-%d").to_string()
}

fn write_proposal(repository: &Repository, out: Option<&Utf8Path>, next: &Signed<Root>) -> Result<()> {
    match out {
        Some(path) => files::write(path, &next.render()),
        None => repository.place(&[(PROPOSED_ROOT.to_owned(), next.render())]),
    }
}

/// Signs what a new root's keys have not signed yet, as far as they are at hand. The root itself is
/// in force whatever becomes of it.
fn resign(repository: &Repository, hand: &Hand<'_>, warnings: &mut Vec<String>) -> Result<Option<Outcome>> {
    let chain = repository.roots()?;
    let state = repository.state(&chain)?;
    let wanted = Wanted { targets: None, renew: Vec::new(), insists: Some(RoleName::Targets) };
    match settle(repository, &chain, &state, &wanted, hand) {
        Ok(outcome) => {
            warnings.extend(outcome.missing.iter().map(waits));
            Ok(Some(outcome))
        }
        Err(failure) if failure.code() == Code::KeyUntrusted => {
            warnings.push(match state.targets {
                None => "nothing is listed yet: `consign catalog add` publishes the first version".to_owned(),
                Some(_) => "clients cannot read the catalog until `consign catalog refresh` has signed it with the \
                            keys of the new root"
                    .to_owned(),
            });
            Ok(None)
        }
        Err(failure) if failure.code().exit() == crate::model::Exit::Failed => Err(failure),
        Err(failure) => {
            let way = failure.way_out().map(|hint| format!(": {hint}")).unwrap_or_default();
            warnings.push(format!("the rest of the catalog was not signed: {failure}{way}"));
            Ok(None)
        }
    }
}

fn waits(signatures: &Signatures) -> String {
    format!(
        "{}.json has {} of {} signatures, and clients need it: run `consign catalog refresh` with its keys",
        signatures.role, signatures.have, signatures.need
    )
}

/// The releases whose detached signatures are by a key that may not sign for targets any more.
fn orphaned(repository: &Repository, state: &State, previous: &Root, next: &Root) -> Result<Vec<String>> {
    let of = |root: &Root| -> Vec<PublicKey> {
        root.roles.targets.keyids.iter().filter_map(|id| root.keys.get(id)?.public()).collect()
    };
    let kept = of(next);
    let mut out = Vec::new();
    for gone in of(previous).into_iter().filter(|key| !kept.contains(key)) {
        let mut releases = Vec::new();
        for release in state.listed().keys().filter_map(|path| release_of(path)) {
            if is_signed_by(repository, release, state, &gone)? {
                releases.push(text::shown(release).into_owned());
            }
        }
        if !releases.is_empty() {
            out.push(format!(
                "detached signatures by key {} no longer count where a trust root is given: {}; sign these releases \
                 with the new key, and add them again",
                gone.id(),
                releases.join(", ")
            ));
        }
    }
    Ok(out)
}

fn is_signed_by(repository: &Repository, release: &str, state: &State, key: &PublicKey) -> Result<bool> {
    let directory = repository.target().join(release);
    let path = directory.join(index::FILE_NAME);
    if !path.is_file() {
        return Ok(false);
    }
    let message = files::read_bounded(&path, index::MAX_BYTES)?;
    let prefix = path_of(release, index::FILE_NAME);
    let names = state.listed().keys().filter(|path| path.starts_with(&prefix));
    for path in names.filter(|path| path.rsplit('.').next() == Some("sig")) {
        let path = repository.target().join(path);
        if path.is_file() && key.verify(&message, &files::read_bounded(&path, MAX_SIGNATURE_BYTES)?).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sign_other<T: Role + Clone>(
    path: &Utf8Path,
    trust_root: Option<&Utf8Path>,
    copies: &[Utf8PathBuf],
    hand: &Hand<'_>,
) -> Result<Signing> {
    let home = home(path, T::NAME);
    let opened = home.as_ref().map(|home| open(home, hand)).transpose()?;
    let root = match (&opened, trust_root) {
        (Some((_, chain, _)), _) => chain.current().clone(),
        (None, Some(given)) => read::<Root>(given)?.signed.signed,
        (None, None) => {
            return Err(Failure::new(Code::CatalogMissing, format!("no root says who may sign `{path}`"))
                .subject(path.as_str())
                .hint("name the newest one with `--trust-root root.json`"));
        }
    };
    let mut document: Signed<T> = read::<T>(path)?.signed;
    let appointed = [Appointed::by(&root, T::NAME)];
    for copy in copies {
        merge(&mut document, &read::<T>(copy)?.signed, &appointed)?;
    }
    let signed_by = add(&mut document, &appointed, &hand.signers)?;
    if signed_by.is_empty() && copies.is_empty() && !hand.signers.is_empty() && !is_signer(&appointed, hand) {
        return Err(without_role(T::NAME, &hand.signers, &appointed));
    }
    let mut signing = Signing {
        kind: TYPE,
        role: T::NAME.to_string(),
        version: document.signed.version(),
        file: path.to_string(),
        status: Ending::Proposed,
        dry_run: hand.act == Act::Rehearse,
        changes: changes_of(&document, opened.as_ref().map(|(_, _, state)| state)),
        signed_by,
        signatures: vec![count(&document, appointed[0])],
        catalog: None,
        warnings: Vec::new(),
    };
    if hand.act == Act::Rehearse {
        return Ok(signing);
    }
    files::write(path, &document.render())?;
    if let (Some(home), Some((_, chain, state))) = (&home, &opened)
        && signing.signatures.iter().all(Signatures::are_enough)
    {
        let wanted = Wanted { targets: None, renew: Vec::new(), insists: None };
        let outcome = settle(home, chain, state, &wanted, hand)?;
        signing.status = outcome.status;
        signing.warnings.extend(outcome.missing.iter().map(waits));
        signing.catalog = Some(outcome);
    }
    Ok(signing)
}

fn is_signer(appointed: &[Appointed<'_>], hand: &Hand<'_>) -> bool {
    let may = |key: &PublicKey| {
        appointed
            .iter()
            .any(|by| by.role.keyids.iter().any(|id| by.keys.get(id).and_then(Key::public).as_ref() == Some(key)))
    };
    hand.signers.iter().any(|signer| may(signer.public()))
}

/// What is different in a list of files; the other documents have nothing to tell.
fn changes_of<T: Role + Clone>(document: &Signed<T>, state: Option<&State>) -> Vec<String> {
    let bytes = document.render();
    let Ok(targets) = Signed::<Targets>::parse(&bytes) else { return Vec::new() };
    let nothing = std::collections::BTreeMap::new();
    differences(state.map_or(&nothing, State::listed), &targets.signed.targets)
}
