//! Names in `bin` where links cannot be made and a running program cannot be replaced.
//!
//! There a program is copied into `bin`. One that runs cannot be written over or removed, but it can
//! be renamed: for another version it steps aside as `.old-<number>-<program>`, and where it is taken
//! away it becomes `.gone-<number>-<program>`; either is removed as soon as it does not run. The rules
//! for the names are here for every system, so that they are tested on every system.

/// How the name of a program begins that stepped aside for another version of it.
pub const ASIDE: &str = ".old-";
/// How the name of a program begins that is to go, as soon as it does not run.
pub const GONE: &str = ".gone-";

/// The first name to step aside to that nothing has.
pub fn aside(program: &str, there: &[&str]) -> String {
    free(ASIDE, program, there)
}

/// The first name for a program on its way out that nothing has.
pub fn gone(program: &str, there: &[&str]) -> String {
    free(GONE, program, there)
}

fn free(start: &str, program: &str, there: &[&str]) -> String {
    (1..=u64::MAX)
        .map(|number| format!("{start}{number}-{program}"))
        // Names differ there only if they differ in more than upper and lower case.
        .find(|name| !there.iter().any(|other| other.eq_ignore_ascii_case(name)))
        .expect("there are more numbers than files")
}

/// What becomes of a file in `bin` that a run has left there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left<'a> {
    /// It goes back to this program's place if nothing is there, and goes if something is: a run was
    /// killed before or after it put the other version there.
    Aside(&'a str),
    /// It goes: its program was taken away, and must not come back.
    Gone,
}

/// What becomes of a file of this name; nothing, if no run has left it.
pub fn left(name: &str) -> Option<Left<'_>> {
    let numbered = |start| {
        let (number, program) = name.strip_prefix(start)?.split_once('-')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && !program.is_empty()).then_some(program)
    };
    numbered(ASIDE).map(Left::Aside).or_else(|| numbered(GONE).map(|_| Left::Gone))
}

#[cfg(not(unix))]
mod copies {
    use std::fs::Metadata;
    use std::io::ErrorKind;

    use camino::{Utf8Path, Utf8PathBuf};

    use super::super::programs::{Lead, NEXT};
    use super::super::{current, prefix, prefix::Prefix, receipt};
    use super::Left;
    use crate::model::failure::Result;
    use crate::model::{Digest, FileName};
    use crate::world::files;

    /// The largest program that is looked at.
    const MAX_BYTES: usize = 1 << 30;

    /// Whose the copy is, by its digest, and of which version it is.
    pub(in super::super) fn owner(
        prefix: &Prefix,
        name: &FileName,
        program: &FileName,
        metadata: &Metadata,
    ) -> Result<Option<(FileName, Lead)>> {
        if metadata.is_symlink() || prefix::look(&prefix.all_receipts())?.is_none() {
            return Ok(None);
        }
        let digest = Digest::of(&files::read_bounded(&prefix.bin().join(program.as_str()), MAX_BYTES)?);
        let path = format!("bin/{program}");
        let others = files::list(&prefix.all_receipts())?.into_iter().filter_map(|(other, _)| other.parse().ok());
        for product in std::iter::once(name.clone()).chain(others) {
            if let Some(used) = current::read(prefix, &product)? {
                let used = prefix.product(&product).join(used.directory()).join(&path);
                if used.is_file() && Digest::of(&files::read_bounded(&used, MAX_BYTES)?) == digest {
                    return Ok(Some((product, Lead::Right)));
                }
            }
            for version in receipt::versions(prefix, &product)? {
                let Some(receipt) = receipt::read(prefix, &product, &version)? else { continue };
                if receipt.files.iter().any(|file| file.path == path && file.sha256 == digest) {
                    return Ok(Some((product, Lead::Stale)));
                }
            }
        }
        Ok(None)
    }

    pub(in super::super) fn lead(prefix: &Prefix, name: &FileName, program: &FileName) -> Result<()> {
        let (place, next) = (prefix.bin().join(program.as_str()), prefix.bin().join(NEXT));
        let Some(used) = current::read(prefix, name)? else { return Ok(()) };
        let source = prefix.product(name).join(used.directory()).join("bin").join(program.as_str());
        fs_err::copy(&source, &next).map_err(|error| prefix::failed("copy", &source, error))?;
        let aside = step_aside(&place)?;
        if let Err(error) = fs_err::rename(&next, &place) {
            if let Some(aside) = aside {
                let _ = fs_err::rename(aside, &place);
            }
            return Err(prefix::failed("put in place", &place, error));
        }
        if let Some(aside) = aside {
            // It fails if it runs; the next run removes it.
            let _ = fs_err::remove_file(aside);
        }
        Ok(())
    }

    pub(in super::super) fn remove(place: &Utf8Path) -> Result<()> {
        let failed = |error| prefix::failed("remove", place, error);
        match fs_err::remove_file(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            // It runs, and may be this very program. A later run removes it.
            Err(_) => fs_err::rename(place, beside(place, super::gone)?).map_err(failed),
            Ok(()) => Ok(()),
        }
    }

    pub(in super::super) fn sweep(prefix: &Prefix) -> Result<()> {
        if prefix::look(&prefix.bin())?.is_none() {
            return Ok(());
        }
        for (name, _) in files::list(&prefix.bin())? {
            let old = prefix.bin().join(&name);
            match super::left(&name) {
                Some(Left::Aside(program)) if prefix::look(&prefix.bin().join(program))?.is_none() => {
                    let place = prefix.bin().join(program);
                    fs_err::rename(&old, &place).map_err(|error| prefix::failed("put back", &place, error))?;
                }
                // It fails if it still runs.
                Some(Left::Aside(_) | Left::Gone) => drop(fs_err::remove_file(old)),
                None => {}
            }
        }
        let _ = fs_err::remove_file(prefix.bin().join(NEXT));
        Ok(())
    }

    fn step_aside(place: &Utf8Path) -> Result<Option<Utf8PathBuf>> {
        if prefix::look(place)?.is_none() {
            return Ok(None);
        }
        let aside = beside(place, super::aside)?;
        fs_err::rename(place, &aside).map_err(|error| prefix::failed("move aside", place, error))?;
        Ok(Some(aside))
    }

    /// A free name beside a program's.
    fn beside(place: &Utf8Path, name: fn(&str, &[&str]) -> String) -> Result<Utf8PathBuf> {
        let there = files::list(place.parent().unwrap_or(Utf8Path::new(".")))?;
        let there: Vec<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        Ok(place.with_file_name(name(place.file_name().unwrap_or_default(), &there)))
    }
}
#[cfg(not(unix))]
pub(super) use copies::{lead, owner, remove, sweep};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_steps_aside_to_a_name_that_is_free() {
        assert_eq!(aside("tool.exe", &[]), ".old-1-tool.exe");
        assert_eq!(aside("tool.exe", &["tool.exe", ".OLD-1-Tool.exe", ".old-3-tool.exe"]), ".old-2-tool.exe");
    }

    #[test]
    fn only_what_a_run_has_left_is_taken_for_it() {
        assert_eq!(left(&aside("to-ol.exe", &[])), Some(Left::Aside("to-ol.exe")));
        // What was uninstalled while it ran must not come back to its place.
        assert_eq!(left(&gone("to-ol.exe", &[".gone-1-to-ol.exe"])), Some(Left::Gone));
        for other in [
            "tool.exe",
            ".old-tool.exe",
            ".old-1-",
            ".old--tool.exe",
            ".old-x-tool.exe",
            "old-1-tool.exe",
            ".gone-tool.exe",
            ".gone-1-",
        ] {
            assert_eq!(left(other), None, "{other}");
        }
    }
}
