//! Going back to a version that was kept.
//!
//! Without a version it is the one that was in use before, so that going back twice leads to where
//! one was. Nothing is fetched, and nothing removed.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use semver::Version;
use serde::Serialize;

use super::activate::{Options, Placed, Used, use_version};
use super::lock::Turn;
use super::prefix::Prefix;
use super::receipt::{Origin, Receipt, Trust};
use super::{current, history, programs, receipt};
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};

/// The document type of a [`Reverted`].
pub const TYPE: &str = "consign.reversion/v1";

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reverted {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product.
    pub name: FileName,
    /// The version in use now.
    pub version: Version,
    /// The version that was in use before, if it was another one.
    pub previous: Option<Version>,
    /// Where it came from.
    pub origin: Origin,
    /// How far it was verified when it was installed.
    pub trust: Trust,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Where its programs can be run from.
    pub programs: Vec<Utf8PathBuf>,
    /// Files that were in a program's way, where they are now.
    pub backups: Vec<Utf8PathBuf>,
}

/// Puts a kept version in use, by default the one that was in use before.
pub fn revert(turn: &Turn, to: Option<&Version>, options: Options) -> Result<Reverted> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let used = current::version(prefix, name)?;
    let kept = history::kept(prefix, name, used.as_ref())?;
    if used.is_none() && kept.is_empty() {
        return Err(not_installed(prefix, name));
    }
    let wanted = match to {
        Some(version) => Some(version.clone()).filter(|version| kept.contains(version)),
        None => history::previous(prefix, name, used.as_ref())?,
    };
    let missing = || not_kept(turn, to, used.as_ref(), &kept);
    let wanted = wanted.ok_or_else(missing)?;
    let receipt = receipt::read(prefix, name, &wanted)?.ok_or_else(missing)?;
    let damage = receipt::damage(&prefix.version(name, &wanted), &receipt)?;
    if let Some(first) = damage.first() {
        let message = format!("version {wanted} of `{name}` is damaged: {first}");
        return Err(Failure::new(Code::InstallationDamaged, message)
            .subject(name.as_str())
            .hint(format!("install version {wanted} again")));
    }
    let _shared = turn.shared()?;
    programs::check(prefix, name, &receipt.programs)?;
    let Used { before, backups, .. } = use_version(turn, &receipt, Placed::Before, options)?;
    let Receipt { origin, trust, installed_at, programs, .. } = receipt;
    let programs = programs.iter().map(|program| prefix.bin().join(program.as_str())).collect();
    let name = name.clone();
    Ok(Reverted { kind: TYPE, name, version: wanted, previous: before, origin, trust, installed_at, programs, backups })
}

/// The failure of everything that needs an installation.
pub(super) fn not_installed(prefix: &Prefix, name: &FileName) -> Failure {
    Failure::new(Code::NotInstalled, format!("`{name}` is not installed in `{}`", prefix.path()))
        .subject(name.as_str())
        .hint("`installed` lists what is; `--prefix` names another place")
}

fn not_kept(turn: &Turn, to: Option<&Version>, used: Option<&Version>, kept: &[Version]) -> Failure {
    let name = turn.name();
    let message = match to {
        Some(version) => format!("version {version} of `{name}` is not kept"),
        None => format!("no version of `{name}` was in use before this one"),
    };
    let others: Vec<String> = kept.iter().filter(|version| Some(*version) != used).map(Version::to_string).collect();
    let hint = if others.is_empty() {
        "no other version is kept: install the one that you want".to_owned()
    } else {
        format!("kept: {}", others.join(", "))
    };
    Failure::new(Code::VersionNotKept, message).subject(name.as_str()).hint(hint)
}
