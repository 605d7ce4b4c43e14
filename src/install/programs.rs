//! The names in `bin` that lead to what is installed.
//!
//! A program's name is a link through `current`, made beside its place and renamed over what is
//! there, so that the name leads to a working program at every instant. What somebody else put
//! there is kept beside it first. Whom a link belongs to is read from its text, never by following
//! it: a user's own link to one of our links is the user's. How a name leads to a version where there
//! are no links is in [`super::windows`].

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::lock::Turn;
use super::prefix::{self, Prefix};
use super::settle;
#[cfg(not(unix))]
use super::windows as entrance;
use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};
use crate::world::files;

/// What a link or a copy in `bin` is called before it is renamed. There is one at a time.
pub const NEXT: &str = ".consign-next";

/// What becomes of a file that somebody else put where a program goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is kept beside the program.
    Keep,
    /// It is replaced for good.
    Replace,
}

/// What is at a program's place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// It leads to this product.
    Ours(Lead),
    /// It leads to another product, which is installed.
    Taken(FileName),
    Foreign,
    /// A directory, a pipe or something else that nobody replaces.
    Immovable,
}

/// How a name leads to the product that it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Just as it should.
    Right,
    /// To a version that is not in use. Only where programs are copied.
    #[cfg_attr(unix, expect(dead_code, reason = "a link never leads to a version, only a copy does"))]
    Stale,
    /// In a way that a user has made.
    Otherwise,
}

/// Refuses programs that cannot have their places. Nothing is changed.
pub fn check(prefix: &Prefix, name: &FileName, programs: &[FileName]) -> Result<()> {
    for program in programs {
        let place = prefix.bin().join(program.as_str());
        match look(prefix, name, program)? {
            Found::Taken(other) => {
                let message = format!("`{place}` belongs to `{other}`, which is installed");
                return Err(Failure::new(Code::ProgramTaken, message)
                    .subject(program.as_str())
                    .hint(format!("uninstall `{other}`, or name another prefix with `--prefix`")));
            }
            Found::Immovable => {
                let message = format!("`{place}` is neither a file nor a link, and is not replaced");
                return Err(Failure::new(Code::FileExists, message)
                    .subject(place.as_str())
                    .hint("move it away, or name another prefix with `--prefix`"));
            }
            Found::Nothing | Found::Ours(_) | Found::Foreign => {}
        }
    }
    Ok(())
}

/// Makes a program's name lead to the version in use. Gives back where a foreign file is kept now.
pub fn enter(turn: &Turn, program: &FileName, foreign: Foreign, now: Timestamp) -> Result<Entered> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let place = prefix.bin().join(program.as_str());
    let backup = match look(prefix, name, program)? {
        Found::Ours(Lead::Right) => return Ok(Entered::Unchanged),
        Found::Foreign if foreign == Foreign::Keep => Some(keep(&place, now)?),
        Found::Nothing | Found::Ours(_) | Found::Foreign => None,
        // Somebody was faster than the check.
        Found::Taken(_) | Found::Immovable => {
            check(prefix, name, std::slice::from_ref(program))?;
            None
        }
    };
    entrance::lead(prefix, name, program)?;
    files::sync_directory(&prefix.bin())?;
    Ok(Entered::Led { backup })
}

/// What was done for a program's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// Nothing: it led there already.
    Unchanged,
    /// It leads there now.
    Led {
        /// Where the foreign file is that was in the way.
        backup: Option<Utf8PathBuf>,
    },
}

/// Takes away the names of programs that the version in use does not have.
pub fn leave_all_but(turn: &Turn, programs: &[FileName]) -> Result<Vec<FileName>> {
    leave(turn, &|program, lead| lead != Lead::Otherwise && !programs.contains(program))
}

/// Takes away every name that leads to the product, also those which its user made.
pub fn leave_all(turn: &Turn) -> Result<Vec<FileName>> {
    leave(turn, &|_, _| true)
}

fn leave(turn: &Turn, goes: &dyn Fn(&FileName, Lead) -> bool) -> Result<Vec<FileName>> {
    let (prefix, name) = (turn.prefix(), turn.name());
    let mut gone = Vec::new();
    if prefix::look(&prefix.bin())?.is_none() {
        return Ok(gone);
    }
    for (entry, _) in files::list(&prefix.bin())? {
        let Ok(program) = entry.parse::<FileName>() else { continue };
        if let Found::Ours(lead) = look(prefix, name, &program)?
            && goes(&program, lead)
        {
            entrance::remove(&prefix.bin().join(program.as_str()))?;
            gone.push(program);
        }
    }
    if !gone.is_empty() {
        files::sync_directory(&prefix.bin())?;
    }
    Ok(gone)
}

/// What a killed run left in `bin`. The right to change it is held.
pub fn sweep(prefix: &Prefix) -> Result<()> {
    entrance::sweep(prefix)
}

/// Where files are kept that were in a program's way.
pub fn backups(prefix: &Prefix, programs: &[FileName]) -> Result<Vec<Utf8PathBuf>> {
    if prefix::look(&prefix.bin())?.is_none() {
        return Ok(Vec::new());
    }
    let names = files::list(&prefix.bin())?;
    let is_backup = |name: &str| programs.iter().any(|program| is_backup_of(program, name));
    Ok(names.into_iter().filter(|(name, _)| is_backup(name)).map(|(name, _)| prefix.bin().join(name)).collect())
}

fn look(prefix: &Prefix, name: &FileName, program: &FileName) -> Result<Found> {
    let place = prefix.bin().join(program.as_str());
    let Some(metadata) = prefix::look(&place)? else { return Ok(Found::Nothing) };
    if !metadata.is_symlink() && !metadata.is_file() {
        return Ok(Found::Immovable);
    }
    Ok(match entrance::owner(prefix, name, program, &metadata)? {
        Some((owner, lead)) if owner == *name => Found::Ours(lead),
        // What leads to a product that is not there leads nowhere.
        Some((owner, _)) if prefix::look(&prefix.current(&owner))?.is_some() => Found::Taken(owner),
        _ => Found::Foreign,
    })
}

fn is_backup_of(program: &FileName, name: &str) -> bool {
    let rest = name.strip_prefix(program.as_str()).and_then(|rest| rest.strip_prefix(".bak."));
    rest.is_some_and(|rest| rest.len() >= 14 && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

/// Keeps what is at a place under another name beside it, and leaves it at its place too.
fn keep(place: &Utf8Path, now: Timestamp) -> Result<Utf8PathBuf> {
    let bin = place.parent().unwrap_or(Utf8Path::new("."));
    let program: FileName =
        place.file_name().unwrap_or_default().parse().expect("the place of a program ends with its name");
    for (name, _) in files::list(bin)? {
        // A run that was killed has kept it already.
        if is_backup_of(&program, &name) && is_same(place, &bin.join(&name))? {
            return Ok(bin.join(name));
        }
    }
    let time = now.strftime("%Y%m%d%H%M%S");
    let names = std::iter::once(format!("{place}.bak.{time}"))
        .chain((2..).map(|number| format!("{place}.bak.{time}-{number}")))
        .map(Utf8PathBuf::from);
    for backup in names {
        if prefix::look(&backup)?.is_none() {
            copy(place, &backup)?;
            files::sync_directory(bin)?;
            return Ok(backup);
        }
    }
    unreachable!("there are more names than files")
}

/// The same bytes under another name; a link stays a link.
fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    // Some file systems have no links, and some systems do not let people link others' files.
    if fs_err::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let failed = |error| prefix::failed(&format!("keep as `{to}`"), from, error);
    #[cfg(unix)]
    if let Ok(target) = fs_err::read_link(from) {
        return fs_err::os::unix::fs::symlink(target, to).map_err(failed);
    }
    let beside = to.with_file_name(NEXT);
    settle::remove(&beside)?;
    fs_err::copy(from, &beside).map_err(failed)?;
    fs_err::File::open(&beside).and_then(|file| file.sync_all()).map_err(failed)?;
    fs_err::rename(&beside, to).map_err(failed)
}

fn is_same(one: &Utf8Path, other: &Utf8Path) -> Result<bool> {
    let (Some(first), Some(second)) = (prefix::look(one)?, prefix::look(other)?) else { return Ok(false) };
    if first.is_symlink() || second.is_symlink() {
        let target = |path: &Utf8Path| fs_err::read_link(path).ok();
        return Ok(first.is_symlink() && second.is_symlink() && target(one) == target(other));
    }
    if !first.is_file() || !second.is_file() || first.len() != second.len() {
        return Ok(false);
    }
    let open = |path: &Utf8Path| fs_err::File::open(path).map_err(|error| prefix::failed("read", path, error));
    same_bytes(open(one)?, open(other)?).map_err(|error| prefix::failed("compare", one, error))
}

fn same_bytes(one: impl std::io::Read, other: impl std::io::Read) -> std::io::Result<bool> {
    use std::io::{BufRead as _, BufReader};
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (first, second) = (one.fill_buf()?, other.fill_buf()?);
        let length = first.len().min(second.len());
        if length == 0 {
            return Ok(first.is_empty() && second.is_empty());
        }
        if first[..length] != second[..length] {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// How a name leads to a version where there are links.
#[cfg(unix)]
mod entrance {
    use std::fs::Metadata;

    use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

    use super::super::current;
    use super::super::prefix::{self, Prefix};
    use super::{Lead, NEXT};
    use crate::model::FileName;
    use crate::model::failure::Result;

    fn target(name: &FileName, program: &FileName) -> String {
        format!("../lib/consign/{name}/current/bin/{program}")
    }

    /// Whose the link is, and how it leads there, by its text.
    pub(super) fn owner(
        prefix: &Prefix,
        name: &FileName,
        program: &FileName,
        metadata: &Metadata,
    ) -> Result<Option<(FileName, Lead)>> {
        if !metadata.is_symlink() {
            return Ok(None);
        }
        let place = prefix.bin().join(program.as_str());
        let text = fs_err::read_link(&place).map_err(|error| prefix::failed("read", &place, error))?;
        let Some(text) = text.to_str() else { return Ok(None) };
        let led = plain(&prefix.bin().join(text));
        let owner = led.strip_prefix(prefix.library()).ok().and_then(|rest| rest.iter().next());
        let lead = if text == target(name, program) { Lead::Right } else { Lead::Otherwise };
        Ok(owner.and_then(|owner| owner.parse().ok()).map(|owner| (owner, lead)))
    }

    /// A path without `.` and `..`, by its text alone: nothing below the prefix is a link.
    fn plain(path: &Utf8Path) -> Utf8PathBuf {
        let mut plain = Utf8PathBuf::new();
        for component in path.components() {
            match component {
                Utf8Component::CurDir => {}
                Utf8Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        plain
    }

    pub(super) fn lead(prefix: &Prefix, name: &FileName, program: &FileName) -> Result<()> {
        let bin = prefix.bin();
        current::point(&bin.join(NEXT), &bin.join(program.as_str()), &target(name, program))
    }

    pub(super) fn remove(place: &Utf8Path) -> Result<()> {
        fs_err::remove_file(place).map_err(|error| prefix::failed("remove", place, error))
    }

    pub(super) fn sweep(prefix: &Prefix) -> Result<()> {
        let next = prefix.bin().join(NEXT);
        match prefix::look(&next)? {
            Some(metadata) if !metadata.is_dir() => remove(&next),
            _ => Ok(()),
        }
    }
}
