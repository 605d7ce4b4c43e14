//! A catalog as it is shown: its roots, roles and keys, and the versions that it lists.
//!
//! [`Overview`] is made from what a [`Repository`] holds after it was verified; what expired is shown
//! as that and refused by nobody here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::entry::{Entry, release_of};
use super::repository::{Chain, PROPOSED_ROOT, Repository, State, proposed_file_of};
use super::root::{differences, signatures_of};
use super::signatures::{Appointed, Signatures, count};
use crate::model::failure::Result;
use crate::trust::tuf::roles::{Key, Role, RoleName, Root, Snapshot, Target, Targets, TimestampRole, name_of};

/// The document type of an [`Overview`].
pub const TYPE: &str = "consign.trust/v1";
/// The document type of [`Versions`].
pub const VERSIONS_TYPE: &str = "consign.catalog/v1";

/// Who may sign what, until when, and what waits for signatures.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The directory of the versions.
    pub catalog: String,
    /// How many roots there have been; each was followed from the one before.
    pub roots: u64,
    /// The roles, the most trusted first.
    pub roles: Vec<RoleOverview>,
    /// What waits for signatures.
    pub proposals: Vec<Proposal>,
}

/// One role.
#[derive(Clone, Debug, Serialize)]
pub struct RoleOverview {
    /// Its name.
    pub role: String,
    /// How many of its keys have to sign.
    pub threshold: u64,
    /// Its keys.
    pub keys: Vec<KeyOverview>,
    /// The version of its document, if there is one.
    pub version: Option<u64>,
    /// When the document ends.
    pub expires: Option<Timestamp>,
    /// How many days are left until then; negative: it has ended.
    pub days_left: Option<i64>,
    /// Whether the keys of the newest root have signed the document.
    pub signed: bool,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyOverview {
    /// Its id.
    pub id: String,
    /// How it signs.
    pub algorithm: String,
}

/// A document that waits for signatures.
#[derive(Clone, Debug, Serialize)]
pub struct Proposal {
    /// Its file.
    pub file: String,
    /// The role.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// What is different in it.
    pub changes: Vec<String>,
    /// The signatures that it has and needs.
    pub signatures: Vec<Signatures>,
}

/// The versions that a catalog lists.
#[derive(Clone, Debug, Serialize)]
pub struct Versions {
    /// Always [`VERSIONS_TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The directory of the versions, or where else they were read from.
    pub catalog: String,
    /// The newest active version of each product that is no prerelease: the name of its directory.
    pub latest: BTreeMap<String, String>,
    /// Every version, the newest first.
    pub versions: Vec<VersionRow>,
}

/// One version.
#[derive(Clone, Debug, Serialize)]
pub struct VersionRow {
    /// The name of its directory.
    pub release: String,
    /// What is said of it.
    #[serde(flatten)]
    pub entry: Entry,
    /// How many files are listed for it.
    pub files: usize,
}

/// Looks at a catalog.
pub fn look(repository: &Repository, now: Timestamp) -> Result<Overview> {
    if !repository.exists()
        && let Some(first) = repository.read::<Root>(PROPOSED_ROOT)?
    {
        let proposal = Proposal {
            file: repository.path(PROPOSED_ROOT).to_string(),
            role: RoleName::Root.to_string(),
            version: first.signed.signed.version,
            changes: differences(None, &first.signed.signed),
            signatures: signatures_of(None, &first.signed),
        };
        let catalog = repository.target().to_string();
        return Ok(Overview { kind: TYPE, catalog, roots: 0, roles: Vec::new(), proposals: vec![proposal] });
    }
    let chain = repository.roots()?;
    let state = repository.state(&chain)?;
    Ok(Overview {
        kind: TYPE,
        catalog: repository.target().to_string(),
        roots: chain.roots().len() as u64,
        roles: RoleName::ALL.into_iter().map(|role| row(role, &chain, &state, now)).collect(),
        proposals: proposals(repository, &chain, &state)?,
    })
}

fn row(role: RoleName, chain: &Chain, state: &State, now: Timestamp) -> RoleOverview {
    use super::repository::{Standed, Standing};
    fn of<T: Role>(known: Option<&Standed<T>>) -> Option<(u64, Timestamp, bool)> {
        let known = known?;
        let signed = &known.document.signed.signed;
        Some((signed.version(), signed.expires(), known.standing == Standing::Current))
    }
    let root = chain.current();
    let document = match role {
        RoleName::Root => Some((root.version, root.expires, true)),
        RoleName::Targets => of(state.targets.as_ref()),
        RoleName::Snapshot => of(state.snapshot.as_ref()),
        RoleName::Timestamp => of(state.timestamp.as_ref()),
    };
    let appointed = root.roles.get(role);
    let key = |id: &String| KeyOverview {
        id: name_of(&root.keys, id),
        algorithm: root.keys.get(id).and_then(Key::public).map_or("unknown", |key| key.algorithm().as_str()).to_owned(),
    };
    RoleOverview {
        role: role.to_string(),
        threshold: appointed.threshold,
        keys: appointed.keyids.iter().map(key).collect(),
        version: document.map(|(version, ..)| version),
        expires: document.map(|(_, expires, _)| expires),
        days_left: document.map(|(_, expires, _)| expires.duration_since(now).as_hours().div_euclid(24)),
        signed: document.is_some_and(|(.., signed)| signed),
    }
}

fn proposals(repository: &Repository, chain: &Chain, state: &State) -> Result<Vec<Proposal>> {
    let mut out = Vec::new();
    let root = repository.read::<Root>(PROPOSED_ROOT)?;
    // A run that was killed may have left a proposal that is in force already.
    if let Some(next) = root.filter(|next| next.signed.signed.version > chain.current().version) {
        out.push(Proposal {
            file: repository.path(PROPOSED_ROOT).to_string(),
            role: RoleName::Root.to_string(),
            version: next.signed.signed.version,
            changes: differences(Some(chain.current()), &next.signed.signed),
            signatures: signatures_of(Some(chain.current()), &next.signed),
        });
    }
    let current = state.targets.as_ref().map_or(0, |known| known.document.signed.signed.version);
    let targets = repository.read::<Targets>(&proposed_file_of(RoleName::Targets))?;
    if let Some(next) = targets.filter(|next| next.signed.signed.version > current) {
        let mut proposal = proposal(repository, chain, &next.signed);
        proposal.changes = super::differences::differences(state.listed(), &next.signed.signed.targets);
        out.push(proposal);
    }
    if let Some(next) = repository.read::<Snapshot>(&proposed_file_of(RoleName::Snapshot))? {
        out.push(proposal(repository, chain, &next.signed));
    }
    if let Some(next) = repository.read::<TimestampRole>(&proposed_file_of(RoleName::Timestamp))? {
        out.push(proposal(repository, chain, &next.signed));
    }
    Ok(out)
}

fn proposal<T: Role>(repository: &Repository, chain: &Chain, next: &crate::trust::tuf::roles::Signed<T>) -> Proposal {
    Proposal {
        file: repository.path(&proposed_file_of(T::NAME)).to_string(),
        role: T::NAME.to_string(),
        version: next.signed.version(),
        changes: Vec::new(),
        signatures: vec![count(next, Appointed::by(chain.current(), T::NAME))],
    }
}

/// The versions that a list of files has, the newest first.
pub fn versions(catalog: &str, targets: &BTreeMap<String, Target>) -> Versions {
    let mut rows: Vec<_> = targets
        .iter()
        .filter_map(|(path, target)| {
            let release = release_of(path)?;
            let prefix = format!("{release}/");
            let files = targets.keys().filter(|path| path.starts_with(&prefix)).count();
            Some(VersionRow { release: release.to_owned(), entry: Entry::of(target)?, files })
        })
        .collect();
    rows.sort_by(|a, b| {
        (&a.entry.name, &b.entry.version, &b.release).cmp(&(&b.entry.name, &a.entry.version, &a.release))
    });
    let mut latest = BTreeMap::new();
    for row in rows.iter().filter(|row| row.entry.is_candidate()) {
        latest.entry(row.entry.name.to_string()).or_insert_with(|| row.release.clone());
    }
    Versions { kind: VERSIONS_TYPE, catalog: catalog.to_owned(), latest, versions: rows }
}
