//! Names in `bin` where links cannot be made and a running program cannot be replaced.
//!
//! There a program is copied into `bin`. One that runs cannot be written over or removed, but it can
//! be renamed: it steps aside as `.old-<number>-<program>` and is removed as soon as it does not
//! run. The rules for the names are here for every system, so that they are tested
//! on every system.

/// How the name of a program begins that stepped aside.
pub const ASIDE: &str = ".old-";

/// The first name to step aside to that nothing has.
pub fn aside(program: &str, there: &[&str]) -> String {
    (1..=u64::MAX)
        .map(|number| format!("{ASIDE}{number}-{program}"))
        // Names differ there only if they differ in more than upper and lower case.
        .find(|name| !there.iter().any(|other| other.eq_ignore_ascii_case(name)))
        .expect("there are more numbers than files")
}

/// The program that stepped aside under a name, if it is such a name.
pub fn stepped_aside(name: &str) -> Option<&str> {
    let (number, program) = name.strip_prefix(ASIDE)?.split_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !program.is_empty()).then_some(program)
}

#[cfg(not(unix))]
mod copies {
    use std::fs::Metadata;

    use camino::Utf8Path;

    use super::super::programs::{Lead, NEXT};
    use super::super::{current, prefix, prefix::Prefix, receipt};
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
        if let Some(aside) = step_aside(place)? {
            // It fails if it runs; a later run removes it.
            let _ = fs_err::remove_file(aside);
        }
        Ok(())
    }

    pub(in super::super) fn sweep(prefix: &Prefix) -> Result<()> {
        for (name, _) in files::list(&prefix.bin())? {
            let Some(program) = super::stepped_aside(&name) else { continue };
            let (old, place) = (prefix.bin().join(&name), prefix.bin().join(program));
            // A run that was killed between the two renames has left the name without a program.
            if prefix::look(&place)?.is_none() {
                fs_err::rename(&old, &place).map_err(|error| prefix::failed("put back", &place, error))?;
            } else {
                let _ = fs_err::remove_file(old);
            }
        }
        let _ = fs_err::remove_file(prefix.bin().join(NEXT));
        Ok(())
    }

    fn step_aside(place: &Utf8Path) -> Result<Option<camino::Utf8PathBuf>> {
        let (Some(bin), Some(program)) = (place.parent(), place.file_name()) else { return Ok(None) };
        if prefix::look(place)?.is_none() {
            return Ok(None);
        }
        let there = files::list(bin)?;
        let there: Vec<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        let aside = bin.join(super::aside(program, &there));
        fs_err::rename(place, &aside).map_err(|error| prefix::failed("move aside", place, error))?;
        Ok(Some(aside))
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
    fn only_what_stepped_aside_is_taken_for_it() {
        assert_eq!(stepped_aside(&aside("to-ol.exe", &[])), Some("to-ol.exe"));
        for other in ["tool.exe", ".old-tool.exe", ".old-1-", ".old--tool.exe", ".old-x-tool.exe", "old-1-tool.exe"] {
            assert_eq!(stepped_aside(other), None, "{other}");
        }
    }
}
