//! Which GNU C library a program needs, by its own word.
//!
//! A program that was linked against a newer library than the machine has does not start there, and
//! says so in the loader's words. The versions that it asks for stand in its section
//! `.gnu.version_r` (Linux Standard Base, "Symbol Versioning"), so that it can be told beforehand.
//! What cannot be read asks for nothing here: the program is run once anyway.

use std::fmt;
use std::fs::File;

use camino::Utf8Path;
use elf::ElfStream;
use elf::abi::SHT_GNU_VERNEED;
use elf::endian::AnyEndian;
use elf::gnu_symver::VerNeedIterator;
use elf::string_table::StringTable;

use crate::world::files;

/// The largest section that is read, in bytes.
const MAX_SECTION_BYTES: u64 = 16 << 20;

/// A version of the GNU C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// Reads `2.36`, and no more of `2.36.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        Some(Self { major: parts.next()??, minor: parts.next()?? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The newest version that a program asks for, if it asks for any.
pub fn needed(program: &Utf8Path) -> Option<Version> {
    asked_for(files::open_regular(program).ok()??)
}

fn asked_for(file: File) -> Option<Version> {
    let mut elf = ElfStream::<AnyEndian, _>::open_stream(file).ok()?;
    let is_read = |size| size <= MAX_SECTION_BYTES;
    let needs = *elf.section_headers().iter().find(|section| section.sh_type == SHT_GNU_VERNEED)?;
    let strings = *elf.section_headers().get(usize::try_from(needs.sh_link).ok()?)?;
    if !is_read(needs.sh_size) || !is_read(strings.sh_size) {
        return None;
    }
    let names = elf.section_data(&strings).ok()?.0.to_vec();
    let (names, endianness, class) = (StringTable::new(&names), elf.ehdr.endianness, elf.ehdr.class);
    let (data, _) = elf.section_data(&needs).ok()?;
    let libraries = VerNeedIterator::new(endianness, class, u64::from(needs.sh_info), 0, data);
    let versions = libraries.flat_map(|(_, versions)| versions).filter_map(|version| {
        let name = names.get_raw(usize::try_from(version.vna_name).ok()?).ok()?;
        Version::parse(std::str::from_utf8(name).ok()?.strip_prefix("GLIBC_")?)
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_not_text() {
        let version = |text| Version::parse(text).expect(text);
        assert!(version("2.9") < version("2.36") && version("2.36.9000") == version("2.36"));
        for wrong in ["", "2", "PRIVATE", "2.x", "2."] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn a_program_says_what_it_needs_and_what_is_none_needs_nothing() {
        let program = camino::Utf8PathBuf::from_path_buf(std::env::current_exe().expect("it runs")).expect("UTF-8");
        let needed = needed(&program).expect("a test is linked against it");
        assert!(needed >= Version::parse("2.17").expect("a version"), "{needed}");
        let whole = fs_err::read(&program).expect("readable");
        for (size, what) in [(0, "empty"), (20, "cut in its header"), (whole.len() / 2, "cut in half")] {
            let mut file = tempfile::tempfile().expect("temporary");
            std::io::Write::write_all(&mut file, &whole[..size]).expect("room");
            assert_eq!(asked_for(file), None, "{what}");
        }
        assert_eq!(super::needed(Utf8Path::new("/dev/null")), None);
    }
}
