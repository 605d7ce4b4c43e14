//! Reading in one pass against reading in memory, and against everybody else's readers.

#![expect(clippy::disallowed_methods, reason = "other programs are run as they are")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::process::Command;

use consign::archive::stream::{self, Accepted, Expected, Refused, Sink};
use consign::archive::{Inspector, Options, Writer};
use consign::model::index::ArchiveFormat;
use consign::model::{Digest, FileName};

use crate::hostile::{self, STEM};
use crate::support::{Scratch, need, succeed};

const FORMATS: [ArchiveFormat; 3] = [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip];

/// Numbers that look random and are the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn noise(&mut self, size: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.below(256).to_le_bytes()[0]).take(size).collect()
    }
}

#[derive(Clone)]
struct Archive {
    format: ArchiveFormat,
    bytes: Vec<u8>,
    unpacked_size_bytes: u64,
}

/// An archive with a few files of all kinds of sizes, or nothing where their names clash.
fn archive(numbers: &mut Numbers) -> Option<Archive> {
    const PARTS: [&str; 12] =
        ["a", "b", "bin", "Bin", "tool", "tool.exe", "share", "man1", "README.md", "x y", ".config", "long-name"];
    let format = FORMATS[numbers.below(3)];
    let mut files = BTreeMap::new();
    for _ in 0..=numbers.below(8) {
        let parts: Vec<_> = (0..=numbers.below(3)).map(|_| PARTS[numbers.below(PARTS.len())]).collect();
        let mut path = parts.join("/");
        if numbers.one_in(9) {
            path = format!("{}/{path}", "d".repeat(60 + numbers.below(30)));
        }
        let size = [0, 1, 511, 512, 513, 7000, 140_000][numbers.below(7)];
        let content = if numbers.one_in(2) { numbers.noise(size) } else { vec![b'x'; size] };
        files.insert(path, (numbers.one_in(2), content));
    }
    let seconds = i64::try_from(315_532_800 + numbers.below(1 << 30)).unwrap();
    let level = Some(u8::try_from(1 + numbers.below(12)).unwrap());
    let options = Options { format, level, date: jiff::Timestamp::from_second(seconds).unwrap() };
    let mut writer = Writer::new(&STEM.parse::<FileName>().unwrap(), options);
    for (path, (executable, content)) in files {
        writer.append(&path, executable, content.len() as u64, &mut content.as_slice()).ok()?;
    }
    let packed = writer.finish().unwrap();
    Some(Archive { format, bytes: packed.bytes, unpacked_size_bytes: packed.unpacked_size_bytes })
}

/// The archive with one thing changed, on one of its layers; it may still be a right one.
fn spoil(archive: &Archive, numbers: &mut Numbers) -> Archive {
    let mut spoiled = archive.clone();
    if archive.format == ArchiveFormat::Zip && numbers.one_in(2) {
        rename(&mut spoiled.bytes, numbers);
    } else if archive.format == ArchiveFormat::Zip || numbers.one_in(4) {
        damage(&mut spoiled.bytes, numbers);
    } else {
        let mut tar = unpacked(archive);
        if numbers.one_in(3) {
            damage(&mut tar, numbers);
        } else {
            rearrange(&mut tar, numbers);
        }
        spoiled.unpacked_size_bytes = tar.len() as u64;
        spoiled.bytes = if archive.format == ArchiveFormat::TarGz { hostile::gzip(&tar) } else { hostile::zstd(&tar) };
    }
    if numbers.one_in(12) {
        spoiled.unpacked_size_bytes = (spoiled.unpacked_size_bytes + 512 * numbers.below(3) as u64).saturating_sub(512);
    }
    spoiled
}

fn unpacked(archive: &Archive) -> Vec<u8> {
    let mut tar = Vec::new();
    match archive.format {
        ArchiveFormat::TarGz => flate2::read::GzDecoder::new(archive.bytes.as_slice()).read_to_end(&mut tar).unwrap(),
        _ => zstd::Decoder::new(archive.bytes.as_slice()).unwrap().read_to_end(&mut tar).unwrap(),
    };
    tar
}

/// Gives entries of a zip other names of the same length, in all its headers.
fn rename(zip: &mut [u8], numbers: &mut Numbers) {
    const NAMES: [(&str, &str); 9] = [
        ("README.md", "../README"),
        ("tool", "TOOL"),
        ("bin", "Bin"),
        ("share", "a\\b\\c"),
        ("x y", "x\ny"),
        ("/a", "//"),
        ("tool.exe", "/tmp/exe"),
        ("man1", "man1"),
        ("long-name", "long/name"),
    ];
    let (from, to) = NAMES[numbers.below(NAMES.len())];
    for at in 0..zip.len() - from.len() {
        if zip[at..].starts_with(from.as_bytes()) {
            zip[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
}

/// Changes bytes wherever they are.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let at = numbers.below(bytes.len());
    match numbers.below(6) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, 0),
        2 => drop(bytes.remove(at)),
        3 => bytes.extend(vec![0; 1 + numbers.below(600)]),
        4 => bytes.extend(bytes.clone()),
        _ => bytes[at] ^= 1 << numbers.below(8),
    }
}

/// Changes headers in a way that other readers of tar understand.
fn rearrange(tar: &mut Vec<u8>, numbers: &mut Numbers) {
    let headers: Vec<usize> = (0..tar.len()).step_by(512).filter(|at| &tar[at + 257..at + 262] == b"ustar").collect();
    let at = headers[numbers.below(headers.len())];
    let block = tar[at..at + 512].to_vec();
    let record = |kind: u8, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{STEM}/record")).unwrap();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let mut fixed = at;
    match numbers.below(12) {
        0 => tar.splice(at..at, record(b'x', b"12 path=evil\n")).for_each(drop),
        1 => tar.splice(at..at, record(b'x', b"9 size=1\n")).for_each(drop),
        2 => tar.splice(at..at, record(b'g', b"12 path=evil\n")).for_each(drop),
        3 => tar.splice(at..at, record(b'L', b"another/name\0")).for_each(drop),
        4 => tar.splice(at..at, record(b'0', b"a file more")).for_each(drop),
        5 => tar.splice(at..at, [0; 512]).for_each(drop),
        6 => tar.splice(at..at, block).for_each(drop),
        7 => tar.splice(at..at + 512, []).for_each(drop),
        8 => tar[at + 156] = b"0125679SxLKVMD\0"[numbers.below(15)],
        9 => tar[at + 124..at + 135].copy_from_slice(format!("{:011o}", numbers.below(3000)).as_bytes()),
        10 => tar[at + 100..at + 107].copy_from_slice(format!("{:07o}", numbers.below(0o10000)).as_bytes()),
        _ => tar[at + numbers.below(345)] ^= 0x20,
    }
    if !tar[at..].starts_with(&[0; 512]) {
        while fixed + 512 <= tar.len() && &tar[fixed + 257..fixed + 262] != b"ustar" {
            fixed += 512;
        }
        for at in [at, fixed] {
            if let Some(header) = tar.get_mut(at..at + 512) {
                let mut right = tar::Header::from_byte_slice(header).clone();
                right.set_cksum();
                header.copy_from_slice(right.as_bytes());
            }
        }
    }
}

/// Keeps what it gets.
#[derive(Default)]
struct Kept(Vec<(u64, Vec<u8>)>);

impl Sink for Kept {
    fn begin(&mut self, size_bytes: u64) -> io::Result<()> {
        self.0.push((size_bytes, Vec::new()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().unwrap().1.extend(bytes);
        Ok(())
    }
}

/// Gives pieces of any size.
struct Pieces<'a>(&'a [u8], Numbers);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bound = [1, 2, 40, 4000, 100_000][self.1.below(5)];
        let piece = out.len().min(1 + self.1.below(bound));
        self.0.read(&mut out[..piece])
    }
}

/// Reads an archive both ways, and sees that both say the same of it.
fn read_both_ways(inspector: &mut Inspector, archive: &Archive, what: &str) -> Option<Accepted> {
    let Archive { format, bytes, unpacked_size_bytes } = archive;
    let expected = Expected { stem: Some(STEM), unpacked_size_bytes: Some(*unpacked_size_bytes) };
    let mut kept = Kept::default();
    let streamed = stream::read(*format, &mut Pieces(bytes, Numbers(bytes.len() as u64)), &expected, &mut kept);
    let inspected = inspector.inspect(*format, bytes, STEM, *unpacked_size_bytes);
    match (inspected, streamed) {
        (Err(_), Err(Refused::Archive(problem))) => {
            assert!(!problem.to_string().contains(char::is_control), "{what}: {problem}");
            None
        }
        (Ok(contents), Ok(accepted)) => {
            assert_eq!(accepted.stem, STEM, "{what}");
            assert_eq!(accepted.entries, contents.entries, "{what}");
            assert_eq!(accepted.date, contents.date, "{what}");
            assert_eq!(kept.0.len(), accepted.entries.len(), "{what}");
            for (entry, (size, content)) in accepted.entries.iter().zip(&kept.0) {
                assert_eq!((*size, Digest::of(content)), (entry.size_bytes, entry.sha256), "{what}");
                assert_eq!(contents.read(&entry.path), Some(content.as_slice()), "{what}");
            }
            Some(accepted)
        }
        (inspected, streamed) => {
            panic!("{what}: {:?} in memory, {streamed:?} in one pass", inspected.map(|contents| contents.entries))
        }
    }
}

/// At least so many archives, half of them spoiled.
fn corpus() -> Vec<Archive> {
    let mut numbers = Numbers(1);
    let mut corpus = Vec::new();
    while corpus.len() < 600 {
        if let Some(archive) = archive(&mut numbers) {
            let spoiled = spoil(&archive, &mut numbers);
            corpus.extend([archive, spoiled]);
        }
    }
    corpus
}

#[test]
fn one_pass_accepts_what_memory_accepts_and_nothing_else() {
    let mut inspector = Inspector::default();
    let mut accepted = 0;
    let corpus = corpus();
    for (number, archive) in corpus.iter().enumerate() {
        let read = read_both_ways(&mut inspector, archive, &format!("archive {number}"));
        assert!(number % 2 == 1 || read.is_some(), "archive {number} is a right one");
        accepted += usize::from(read.is_some());
    }
    let refused = corpus.len() - accepted;
    assert!(accepted > 300 && refused > 200, "{accepted} accepted, {refused} refused");
    for case in hostile::cases() {
        let archive = Archive { format: case.format, bytes: case.bytes, unpacked_size_bytes: case.unpacked_size_bytes };
        assert_eq!(read_both_ways(&mut inspector, &archive, case.name), None, "{}", case.name);
    }
}

/// What a reader lists: paths without the stem, files with size and digest where it tells them.
type Listing = BTreeSet<Row>;
type Row = (String, Option<(u64, String)>);

fn listing(accepted: &Accepted) -> Listing {
    let mut listing = Listing::from([(String::new(), None)]);
    for entry in &accepted.entries {
        let directories = entry.path.match_indices('/').map(|(slash, _)| (entry.path[..=slash].to_owned(), None));
        listing.extend(directories);
        listing.insert((entry.path.clone(), Some((entry.size_bytes, entry.sha256.to_string()))));
    }
    listing
}

#[test]
fn whatever_others_see_otherwise_is_refused() {
    let scratch = Scratch::new();
    let mut inspector = Inspector::default();
    let mut ours = BTreeMap::new();
    for (number, archive) in corpus().iter().enumerate() {
        let name = format!("{number:03}.{}", archive.format.extension());
        scratch.write(&name, &archive.bytes);
        ours.insert(name, read_both_ways(&mut inspector, archive, "of the corpus").map(|read| listing(&read)));
    }
    if need("python3") {
        let theirs = python(&scratch);
        let mut fooled = 0;
        for (name, listing) in &ours {
            // Python reads Zstandard only from version 3.14 on.
            let Some(theirs) = theirs.get(name) else { continue };
            match (listing, theirs) {
                (Some(listing), theirs) => assert_eq!(theirs.as_ref(), Some(listing), "{name}"),
                (None, theirs) => fooled += usize::from(theirs.is_some()),
            }
        }
        assert!(fooled > 50, "most of the spoiled archives are none for Python either: {fooled}");
    }
    for program in ["tar", "bsdtar"] {
        if !need(program) {
            continue;
        }
        for (name, listing) in &ours {
            let Some(listing) = listing else { continue };
            // GNU tar reads no zip files, and Zstandard only through a program.
            if program == "tar" && (name.ends_with("zip") || name.ends_with("zst") && !need("zstd")) {
                continue;
            }
            let listed = succeed(Command::new(program).args(["-t", "-f", name]).current_dir(scratch.path()));
            let theirs: Vec<_> =
                listed.lines().map(|line| line.strip_prefix(STEM).unwrap().strip_prefix('/').unwrap()).collect();
            let mut ours: Vec<_> = listing.iter().map(|(path, _)| path.as_str()).collect();
            ours.sort_unstable();
            let mut sorted = theirs.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, ours, "{program} {name}");
        }
    }
}

/// What Python sees in every archive of a directory, or nothing where it refuses one.
fn python(scratch: &Scratch) -> BTreeMap<String, Option<Listing>> {
    const SCRIPT: &str = "
import hashlib, json, os, sys, tarfile, zipfile
stem = sys.argv[1] + '/'
def below(name):
    return name[len(stem):] if name.startswith(stem) else '!' + name
def row(name, content):
    return [below(name), content and [len(content[0]), hashlib.sha256(content[0]).hexdigest()]]
def rows(name):
    if name.endswith('.zip'):
        z = zipfile.ZipFile(name)
        return [row(i.filename, None if i.is_dir() else [z.read(i)]) for i in z.infolist()]
    t = tarfile.open(name)
    out = []
    for m in t:
        kind = '' if m.isreg() or m.isdir() else 'special '
        content = [t.extractfile(m).read()] if m.isreg() else None
        out.append(row(kind + m.name + ('/' if m.isdir() else ''), content))
    return out
for name in sorted(os.listdir('.')):
    if not name.endswith('.zst'):
        try:
            found = rows(name)
        except Exception:
            found = None
        print(json.dumps([name, found]))
";
    let printed = succeed(Command::new("python3").args(["-c", SCRIPT, STEM]).current_dir(scratch.path()));
    let mut seen: BTreeMap<String, Option<Listing>> = BTreeMap::new();
    for line in printed.lines() {
        let (name, rows): (String, Option<Vec<Row>>) = serde_json::from_str(line).unwrap();
        // Whoever sees one path twice sees something else than a set of paths.
        let listing = rows.map(|rows| {
            let (count, mut listing) = (rows.len(), Listing::from_iter(rows));
            if listing.len() != count {
                listing.insert(("twice".to_owned(), None));
            }
            listing
        });
        seen.insert(name, listing);
    }
    seen
}

/// A source and a sink that both count, to see how much is between them.
struct Flow<'a> {
    given: &'a Cell<u64>,
    most: u64,
    written: u64,
}

impl Sink for Flow<'_> {
    fn begin(&mut self, _size_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.most = self.most.max(self.given.get().saturating_sub(self.written));
        self.written += bytes.len() as u64;
        Ok(())
    }
}

struct Counted<'a>(&'a [u8], &'a Cell<u64>);

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        self.1.set(self.1.get() + read as u64);
        Ok(read)
    }
}

#[test]
fn what_comes_in_goes_out_at_once() {
    let mut numbers = Numbers(7);
    let noise = numbers.noise(12 << 20);
    for format in FORMATS {
        let options = Options { format, level: Some(1), date: "2025-01-02T03:04:05Z".parse().unwrap() };
        let mut writer = Writer::new(&STEM.parse().unwrap(), options);
        writer.append("bin/tool", true, noise.len() as u64, &mut noise.as_slice()).unwrap();
        let packed = writer.finish().unwrap();
        let given = Cell::new(0);
        let mut flow = Flow { given: &given, most: 0, written: 0 };
        let expected = Expected { stem: None, unpacked_size_bytes: Some(packed.unpacked_size_bytes) };
        stream::read(format, &mut Counted(&packed.bytes, &given), &expected, &mut flow).unwrap();
        assert_eq!(flow.written, noise.len() as u64);
        assert!(flow.most < 512 << 10, "{format:?}: {} bytes are held back", flow.most);
    }
}

#[test]
fn a_bomb_is_stopped_at_what_it_may_be() {
    let size = 64 << 20;
    let stem: FileName = STEM.parse().unwrap();
    for format in FORMATS {
        let options = Options { format, level: Some(1), date: "2025-01-02T03:04:05Z".parse().unwrap() };
        let mut writer = Writer::new(&stem, options);
        writer.append("bin/tool", true, size, &mut io::repeat(0).take(size)).unwrap();
        let bytes = writer.finish().unwrap().bytes;
        let given = Cell::new(0);
        let mut flow = Flow { given: &given, most: 0, written: 0 };
        let expected = Expected { stem: Some(STEM), unpacked_size_bytes: Some(1 << 20) };
        let read = stream::read(format, &mut bytes.as_slice(), &expected, &mut flow);
        assert!(matches!(read, Err(Refused::Archive(_))), "{format:?}");
        assert_eq!(flow.written, 0, "its size is larger than what it may unpack to: {format:?}");
    }
}

#[test]
fn a_sink_that_fails_is_told_apart_from_a_bad_archive() {
    struct Full(bool);
    impl Sink for Full {
        fn begin(&mut self, _size_bytes: u64) -> io::Result<()> {
            if self.0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    for (format, bytes, unpacked) in hostile::harmless() {
        let expected = Expected { stem: Some(STEM), unpacked_size_bytes: Some(unpacked) };
        for mut sink in [Full(true), Full(false)] {
            let read = stream::read(format, &mut bytes.as_slice(), &expected, &mut sink);
            assert!(matches!(read, Err(Refused::Sink(error)) if error.kind() == io::ErrorKind::StorageFull));
        }
    }
}

/// The most memory that this process has used so far, in kilobytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The test is its own measured program: where it is told of archives, it unpacks them one after the
/// other and says what it has taken after each. The first is small, and shows what the program
/// itself takes.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_archive() {
    use consign::install::unpack::unpack_loose;
    const ARCHIVES: &str = "STREAM_TEST_ARCHIVES";
    const SIZES: [u64; 3] = [1 << 10, 10 << 20, 80 << 20];
    if let Ok(directory) = std::env::var(ARCHIVES) {
        let directory = camino::Utf8PathBuf::from(directory);
        for size in SIZES {
            for format in FORMATS.into_iter().filter(|format| directory.ends_with(format.extension())) {
                let file = fs_err::File::open(directory.join(size.to_string())).unwrap();
                unpack_loose(file, "archive", format, None, &directory.join(format!("{size}-unpacked"))).unwrap();
                println!("\nafter {}", peak_memory());
            }
        }
        return;
    }
    let scratch = Scratch::new();
    for format in FORMATS {
        for size in SIZES {
            // The level that asks for the largest window that a reader has to have.
            let level = Some(if format == ArchiveFormat::TarZst { 19 } else { 1 });
            let options = Options { format, level, date: "2025-01-02T03:04:05Z".parse().unwrap() };
            let mut writer = Writer::new(&STEM.parse().unwrap(), options);
            writer.append("bin/tool", true, size, &mut io::repeat(0).take(size)).unwrap();
            scratch.write(&format!("{}/{size}", format.extension()), writer.finish().unwrap().bytes);
        }
        let said = succeed(
            Command::new(std::env::current_exe().unwrap())
                .args(["stream::memory_does_not_grow_with_the_archive", "--exact", "--nocapture"])
                .env(ARCHIVES, scratch.path().join(format.extension())),
        );
        let after = said.lines().filter_map(|line| line.strip_prefix("after "));
        let after: Vec<u64> = after.map(|kilobytes| kilobytes.parse().unwrap()).collect();
        let [small, middle, large] = after[..] else { panic!("{said}") };
        // What the program itself takes differs a little from run to run.
        let window = if format == ArchiveFormat::TarZst { 9_000 } else { 0 };
        assert!(large < small + window + 3_000, "{format:?}: {after:?} kB");
        assert!(large < middle + 3_000, "{format:?}: {after:?} kB");
    }
}
