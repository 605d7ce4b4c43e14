//! Unpacking for installation: the right archive arrives whole, and of any other nothing stays.

use std::cell::Cell;
use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};
use consign::archive::{Inspector, Options, Packed, Writer};
use consign::install::receipt::InstalledFile;
use consign::install::unpack::{Loose, unpack, unpack_loose};
use consign::model::index::{ArchiveFormat, Package, PackagedBinary};
use consign::model::{Code, Digest, Failure};

use crate::hostile::{self, STEM};
use crate::support::Scratch;
use crate::verify::vectors;

const FORMATS: [ArchiveFormat; 3] = [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip];
const DATE: &str = "2025-01-02T03:04:05Z";

type Files = Vec<(&'static str, bool, Vec<u8>)>;

fn small() -> Files {
    vec![
        ("README.md", false, b"# tool\n".repeat(9)),
        ("bin/tool", true, b"content".to_vec()),
        ("share/man/man1/tool.1", false, Vec::new()),
    ]
}

fn pack(format: ArchiveFormat, files: &Files) -> Packed {
    let options = Options { format, level: None, date: DATE.parse().unwrap() };
    let mut writer = Writer::new(&STEM.parse().unwrap(), options);
    for (path, executable, content) in files {
        writer.append(path, *executable, content.len() as u64, &mut content.as_slice()).unwrap();
    }
    writer.finish().unwrap()
}

/// What an index says of an archive with these programs.
fn package(format: ArchiveFormat, bytes: &[u8], unpacked_size_bytes: u64, binaries: &[(&str, &[u8])]) -> Package {
    let binary = |(path, content): &(&str, &[u8])| PackagedBinary {
        path: (*path).to_owned(),
        sha256: Digest::of(content),
        size_bytes: content.len() as u64,
    };
    Package {
        platform: "linux-amd64".parse().unwrap(),
        target: "x86_64-unknown-linux-gnu".to_owned(),
        archive: format!("{STEM}.{}", format.extension()).parse().unwrap(),
        format,
        size_bytes: bytes.len() as u64,
        unpacked_size_bytes,
        sha256: Digest::of(bytes),
        binaries: binaries.iter().map(binary).collect(),
    }
}

/// The index's words for an archive of [`small`] files or of the harmless ones.
fn described(format: ArchiveFormat, bytes: &[u8], unpacked_size_bytes: u64) -> Package {
    package(format, bytes, unpacked_size_bytes, &[("bin/tool", b"content")])
}

/// A place to unpack into, and a look at what is there afterwards.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    fn staging(&self) -> Utf8PathBuf {
        self.scratch.path().join("staging")
    }

    fn unpack(&self, source: impl Read, package: &Package) -> Result<Vec<InstalledFile>, Failure> {
        unpack(source, package, STEM, &self.staging())
    }

    fn unpack_loose(&self, bytes: &[u8], format: ArchiveFormat, sha256: Option<Digest>) -> Result<Loose, Failure> {
        unpack_loose(bytes, "tool.archive", format, sha256, &self.staging())
    }

    /// Unpacks what must be refused with that code, and must leave nothing.
    fn refuse(&self, bytes: &[u8], package: &Package, code: Code, what: &str) -> String {
        let failure = self.unpack(bytes, package).expect_err(what);
        assert_eq!(failure.code(), code, "{what}: {failure}");
        self.assert_empty(what);
        let text = failure.chain().join(": ");
        assert!(!text.contains(char::is_control), "{what}: {text}");
        assert!(failure.way_out().is_some() && failure.about().is_some(), "{what}: {text}");
        text
    }

    fn assert_empty(&self, what: &str) {
        let left: Vec<_> = fs_err::read_dir(self.scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

/// Every path below a directory, with its mode and, for files, its content.
fn tree(directory: &Utf8Path) -> Vec<(String, u32, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in next.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let metadata = path.symlink_metadata().unwrap();
            let content = metadata.is_file().then(|| fs_err::read(&path).unwrap());
            found.push((path.strip_prefix(directory).unwrap().to_string(), mode(&metadata), content));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

#[cfg(not(unix))]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    if metadata.is_dir() { 0o755 } else { 0o644 }
}

#[test]
fn what_was_packed_arrives_with_its_modes_and_digests() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let place = Place::new();
        let package = described(format, &packed.bytes, packed.unpacked_size_bytes);
        let files = place.unpack(packed.bytes.as_slice(), &package).unwrap();
        assert_eq!(files.len(), small().len());
        for (file, (path, executable, content)) in files.iter().zip(small()) {
            assert_eq!((file.path.as_str(), file.executable), (path, executable));
            assert_eq!((file.sha256, file.size_bytes), (Digest::of(&content), content.len() as u64));
        }
        let file = |number: usize, mode| {
            let (path, _, content) = small().swap_remove(number);
            (path.to_owned(), mode, Some(content))
        };
        let directory = |path: &str| (path.to_owned(), 0o755, None);
        if cfg!(unix) {
            let expected = [
                file(0, 0o644),
                directory("bin"),
                file(1, 0o755),
                directory("share"),
                directory("share/man"),
                directory("share/man/man1"),
                file(2, 0o644),
            ];
            assert_eq!(tree(&place.staging()), expected, "{format:?}");
            assert_eq!(mode(&place.staging().symlink_metadata().unwrap()), 0o755);
        }
    }
}

#[test]
fn an_archive_alone_tells_its_own_directory() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let sha256 = Digest::of(&packed.bytes);
        for known in [None, Some(sha256)] {
            let place = Place::new();
            let loose = place.unpack_loose(&packed.bytes, format, known).unwrap();
            assert_eq!((loose.stem.as_str(), loose.sha256), (STEM, sha256));
            assert_eq!(loose.size_bytes, packed.bytes.len() as u64);
            assert_eq!(
                loose.files.len(),
                tree(&place.staging()).iter().filter(|(.., content)| content.is_some()).count()
            );
        }
        let place = Place::new();
        let failure = place.unpack_loose(&packed.bytes, format, Some(Digest::of(b"other"))).unwrap_err();
        assert_eq!(failure.code(), Code::DigestMismatch);
        let failure = place.unpack_loose(&packed.bytes[1..], format, None).unwrap_err();
        assert_eq!(failure.code(), Code::ArchiveInvalid);
        place.assert_empty("an archive alone");
    }
}

#[test]
fn a_hostile_archive_leaves_nothing_whoever_vouches_for_it() {
    for case in hostile::cases() {
        let place = Place::new();
        let package = described(case.format, &case.bytes, case.unpacked_size_bytes);
        place.refuse(&case.bytes, &package, Code::ArchiveInvalid, case.name);
        // Alone it says itself how much it unpacks to, and what its directory is called.
        let only_the_index_tells = case.bytes == hostile_whole(case.format);
        match place.unpack_loose(&case.bytes, case.format, None) {
            Ok(_) => assert!(only_the_index_tells, "{}", case.name),
            Err(failure) => {
                assert_eq!(failure.code(), Code::ArchiveInvalid, "{}", case.name);
                place.assert_empty(case.name);
            }
        }
    }
    for (format, bytes, unpacked) in hostile::harmless() {
        let place = Place::new();
        place.unpack(bytes.as_slice(), &described(format, &bytes, unpacked)).unwrap();
        assert_eq!(tree(&place.staging()).len(), 3);
    }
}

fn hostile_whole(format: ArchiveFormat) -> Vec<u8> {
    hostile::harmless().into_iter().find(|(other, ..)| *other == format).unwrap().1
}

#[test]
fn archives_of_other_makers_are_not_unpacked() {
    let Some(vectors) = vectors("tar") else { return };
    let mut seen = 0;
    for directory in [vectors.clone(), vectors.join("archives")] {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let bytes = fs_err::read(&path).unwrap();
            let what = path.display().to_string();
            let packed = [
                (ArchiveFormat::TarGz, hostile::gzip(&bytes)),
                (ArchiveFormat::TarZst, hostile::zstd(&bytes)),
                (ArchiveFormat::TarGz, bytes.clone()),
                (ArchiveFormat::TarZst, bytes.clone()),
                (ArchiveFormat::Zip, bytes.clone()),
            ];
            for (format, packed) in packed {
                let place = Place::new();
                let package = package(format, &packed, bytes.len() as u64, &[]);
                place.refuse(&packed, &package, Code::ArchiveInvalid, &what);
                let failure = place.unpack_loose(&packed, format, None).expect_err(&what);
                assert_eq!(failure.code(), Code::ArchiveInvalid, "{what}");
                place.assert_empty(&what);
            }
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let real = described(format, &packed.bytes, packed.unpacked_size_bytes);
        let place = Place::new();
        for length in 0..packed.bytes.len() {
            let cut = &packed.bytes[..length];
            place.refuse(cut, &real, Code::SizeMismatch, "cut off");
            let vouched = described(format, cut, packed.unpacked_size_bytes);
            place.refuse(cut, &vouched, Code::ArchiveInvalid, "cut off, and vouched for");
            if length % 9 == 0 {
                place.unpack_loose(cut, format, None).unwrap_err();
                place.assert_empty("cut off, alone");
            }
        }
        let longer = [&packed.bytes[..], b"\0"].concat();
        place.refuse(&longer, &real, Code::SizeMismatch, "a byte more");
        place.refuse(
            &longer,
            &described(format, &longer, packed.unpacked_size_bytes),
            Code::ArchiveInvalid,
            "the same",
        );
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let real = described(format, &packed.bytes, packed.unpacked_size_bytes);
        let place = Place::new();
        let mut inspector = Inspector::default();
        for at in 0..packed.bytes.len() {
            let mut bytes = packed.bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            place.refuse(&bytes, &real, Code::DigestMismatch, "a flipped bit");
            let vouched = described(format, &bytes, packed.unpacked_size_bytes);
            // Bits that deflate leaves unused are pinned by the digest alone.
            if inspector.inspect(format, &bytes, STEM, packed.unpacked_size_bytes).is_err() {
                place.refuse(&bytes, &vouched, Code::ArchiveInvalid, "a flipped bit, and vouched for");
            }
        }
    }
}

#[test]
fn other_programs_than_the_index_lists_are_refused() {
    let mut script = small();
    script[1].1 = false;
    for (files, binaries) in [
        (small(), vec![]),
        (small(), vec![("bin/tool", &b"other"[..])]),
        (small(), vec![("bin/tool", &b"content"[..]), ("bin/tool2", &b"content"[..])]),
        (small(), vec![("bin/other", &b"content"[..])]),
        (script, vec![("bin/tool", &b"content"[..])]),
    ] {
        for format in FORMATS {
            let packed = pack(format, &files);
            let package = package(format, &packed.bytes, packed.unpacked_size_bytes, &binaries);
            let place = Place::new();
            let text = place.refuse(&packed.bytes, &package, Code::ArchiveMismatch, "other programs");
            assert!(text.contains("`bin/"), "{text}");
        }
    }
}

#[test]
fn a_directory_that_is_in_use_is_left_alone() {
    let packed = pack(ArchiveFormat::TarGz, &small());
    let package = described(ArchiveFormat::TarGz, &packed.bytes, packed.unpacked_size_bytes);
    let place = Place::new();
    fs_err::create_dir(place.staging()).unwrap();
    place.unpack(packed.bytes.as_slice(), &package).unwrap();
    let before = tree(place.scratch.path());
    for bytes in [&packed.bytes[..], b"other"] {
        let failure = place.unpack(bytes, &package).unwrap_err();
        assert_eq!(failure.code(), Code::FileExists);
    }
    #[cfg(unix)]
    {
        let link = place.scratch.path().join("link");
        let elsewhere = Scratch::new();
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let failure = unpack(packed.bytes.as_slice(), &package, STEM, &link).unwrap_err();
        assert_eq!(failure.code(), Code::FileExists);
        assert!(tree(elsewhere.path()).is_empty());
        fs_err::remove_file(link).unwrap();
    }
    assert!(tree(place.scratch.path()) == before);
    let nowhere = unpack(packed.bytes.as_slice(), &package, STEM, &place.scratch.path().join("a/b")).unwrap_err();
    assert_eq!(nowhere.code(), Code::Io);
}

/// Gives one byte at a time with interruptions between them, and may fail at one place.
struct Slow<'a> {
    bytes: &'a [u8],
    given: usize,
    interrupted: bool,
    fails_at: Option<(usize, fn() -> io::Error)>,
    look: &'a dyn Fn(),
}

impl<'a> Slow<'a> {
    fn new(bytes: &'a [u8], look: &'a dyn Fn()) -> Self {
        Self { bytes, given: 0, interrupted: false, fails_at: None, look }
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        (self.look)();
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if let Some((_, error)) = self.fails_at.filter(|(at, _)| *at == self.given) {
            return Err(error());
        }
        let rest = &self.bytes[self.given..];
        let read = rest.len().min(out.len()).min(1);
        out[..read].copy_from_slice(&rest[..read]);
        self.given += read;
        Ok(read)
    }
}

#[test]
fn no_name_is_on_the_disk_before_the_last_byte_was_read() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let package = described(format, &packed.bytes, packed.unpacked_size_bytes);
        let place = Place::new();
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            for (path, mode, content) in tree(&place.staging()) {
                let number = path.strip_prefix("-spool").unwrap_or_else(|| panic!("{path}"));
                assert!(number.is_empty() || number[1..].bytes().all(|byte| byte.is_ascii_digit()), "{path}");
                if cfg!(unix) {
                    assert_eq!(mode, if content.is_some() { 0o600 } else { 0o700 });
                }
            }
        };
        let source = Slow::new(&packed.bytes, &look);
        place.unpack(source, &package).unwrap();
        assert!(looks.get() > packed.bytes.len());
        assert_eq!(tree(&place.staging()).len(), 7);
    }
}

#[test]
fn a_source_that_fails_is_not_called_a_bad_archive() {
    for format in FORMATS {
        let packed = pack(format, &small());
        let package = described(format, &packed.bytes, packed.unpacked_size_bytes);
        let place = Place::new();
        for at in 0..=packed.bytes.len() {
            for (error, code) in [(stalled as fn() -> io::Error, Code::RemoteUnavailable), (broken, Code::Io)] {
                let source = Slow { fails_at: Some((at, error)), ..Slow::new(&packed.bytes, &|| {}) };
                let failure = place.unpack(source, &package).unwrap_err();
                assert_eq!(failure.code(), code);
                place.assert_empty("a source that fails");
            }
        }
    }
}

fn stalled() -> io::Error {
    io::Error::other(Failure::new(Code::RemoteUnavailable, "it stalled"))
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[test]
fn of_a_source_that_goes_on_one_byte_is_read_too_many() {
    struct Counted<'a>(&'a Cell<u64>, io::Chain<&'a [u8], io::Repeat>);
    impl Read for Counted<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let read = self.1.read(out)?;
            self.0.set(self.0.get() + read as u64);
            Ok(read)
        }
    }
    for format in FORMATS {
        let packed = pack(format, &small());
        let package = described(format, &packed.bytes, packed.unpacked_size_bytes);
        for start in [&packed.bytes[..], b"", &packed.bytes[..40]] {
            let place = Place::new();
            let count = Cell::new(0);
            let failure = place.unpack(Counted(&count, start.chain(io::repeat(b'x'))), &package).unwrap_err();
            assert_eq!(failure.code(), Code::SizeMismatch);
            assert_eq!(count.get(), package.size_bytes + 1);
            place.assert_empty("a source that goes on");
        }
    }
}
