//! Archives that differ from an accepted one in a single point, and must be refused for it.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use consign::model::index::ArchiveFormat;
use libdeflater::{CompressionLvl, Compressor};
use tar::{EntryType, Header};

/// The one directory of every archive here.
pub const STEM: &str = "tool-1.0.0-linux-amd64";

pub struct Case {
    pub name: &'static str,
    pub format: ArchiveFormat,
    pub bytes: Vec<u8>,
    pub unpacked_size_bytes: u64,
}

/// One entry of a tar, by default a regular file as the writer makes it.
#[derive(Clone)]
struct Raw {
    path: Vec<u8>,
    kind: EntryType,
    mode: u32,
    content: Vec<u8>,
    change: fn(&mut Header),
}

fn file(path: &str) -> Raw {
    let path = format!("{STEM}/{path}").into_bytes();
    let mode = if path.ends_with(b"tool") { 0o755 } else { 0o644 };
    Raw { path, kind: EntryType::Regular, mode, content: b"content".to_vec(), change: |_| {} }
}

fn directory(path: &str) -> Raw {
    Raw { kind: EntryType::Directory, mode: 0o755, content: Vec::new(), ..file(path) }
}

fn raw_path(path: impl Into<Vec<u8>>) -> Raw {
    Raw { path: path.into(), ..file("x") }
}

/// What is accepted: two files and the directories that they need.
fn plain() -> Vec<Raw> {
    vec![directory(""), file("README.md"), directory("bin/"), file("bin/tool")]
}

fn render(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let mut header = Header::new_ustar();
        let place = &mut header.as_ustar_mut().unwrap().name;
        let length = entry.path.len().min(place.len());
        place[..length].copy_from_slice(&entry.path[..length]);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(entry.content.len() as u64);
        header.set_mtime(1_735_787_045);
        (entry.change)(&mut header);
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(&entry.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// One gzip member with the header that the writer uses.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(6).unwrap());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let size = compressor.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(size);
    out
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    compressor.include_checksum(true).unwrap();
    compressor.compress(bytes).unwrap()
}

/// The archives that every case starts from, which are accepted.
pub fn harmless() -> Vec<(ArchiveFormat, Vec<u8>, u64)> {
    let tar = render(&plain());
    let (zip, unpacked) = zip();
    vec![
        (ArchiveFormat::TarGz, gzip(&tar), tar.len() as u64),
        (ArchiveFormat::TarZst, zstd(&tar), tar.len() as u64),
        (ArchiveFormat::Zip, zip, unpacked),
    ]
}

fn zip() -> (Vec<u8>, u64) {
    use consign::archive::{Options, Writer};
    let options = Options { format: ArchiveFormat::Zip, level: None, date: "2025-01-02T03:04:05Z".parse().unwrap() };
    let mut writer = Writer::new(&STEM.parse().unwrap(), options);
    let long = b"content ".repeat(50);
    writer.append("README.md", false, 400, &mut long.as_slice()).unwrap();
    writer.append("bin/tool", true, 7, &mut &b"content"[..]).unwrap();
    let packed = writer.finish().unwrap();
    (packed.bytes, packed.unpacked_size_bytes)
}

pub fn cases() -> Vec<Case> {
    let mut cases = tar_cases();
    cases.extend(stream_cases());
    cases.extend(compression_cases());
    cases.extend(zip_cases());
    cases.extend(crate::hostile_formats::cases());
    cases
}

fn tar_gz(name: &'static str, tar: &[u8]) -> Case {
    Case { name, format: ArchiveFormat::TarGz, bytes: gzip(tar), unpacked_size_bytes: tar.len() as u64 }
}

/// An accepted archive with one more entry, or one entry changed.
#[expect(clippy::too_many_lines, reason = "it is one list")]
fn tar_cases() -> Vec<Case> {
    let with = |place: usize, entry: Raw| {
        let mut entries = plain();
        entries.insert(place, entry);
        entries
    };
    let changed = |place: usize, change: fn(&mut Raw)| {
        let mut entries = plain();
        change(&mut entries[place]);
        entries
    };
    let link = |kind: EntryType, target: &'static str| Raw {
        kind,
        content: Vec::new(),
        change: match target {
            "/etc/passwd" => |header: &mut Header| header.set_link_name("/etc/passwd").unwrap(),
            _ => |header: &mut Header| header.set_link_name_literal("..").unwrap(),
        },
        ..file("z")
    };
    let record = |kind: u8, content: &str| Raw {
        kind: EntryType::new(kind),
        content: content.as_bytes().to_vec(),
        ..file("PaxHeaders")
    };
    let pax = |content: &str| with(1, record(b'x', content));
    let many: Vec<Raw> = std::iter::once(directory("")).chain((0..10_001).map(|n| file(&format!("{n:05}")))).collect();
    let deep = "d/".repeat(30);
    let mut nested: Vec<Raw> = (0..=30).map(|depth| directory(&deep[..2 * depth])).collect();
    nested.push(file(&format!("{deep}f")));
    [
        ("a path out of the directory", with(1, file("../evil"))),
        ("a path out of the archive", with(0, raw_path("../evil"))),
        ("a path out, further in", with(4, file("bin/../../../evil"))),
        ("an absolute path", with(0, raw_path("/etc/evil"))),
        ("a second directory", with(4, raw_path("zzz/evil"))),
        ("a file where the directory's name only begins", with(4, raw_path(format!("{STEM}x/evil")))),
        ("a symbolic link", with(4, link(EntryType::Symlink, "/etc/passwd"))),
        ("a symbolic link upwards", with(4, link(EntryType::Symlink, ".."))),
        ("a hard link", with(4, link(EntryType::Link, "/etc/passwd"))),
        ("a pipe", with(4, link(EntryType::Fifo, ".."))),
        ("a device", with(4, link(EntryType::Char, ".."))),
        ("a contiguous file", with(4, Raw { kind: EntryType::Continuous, ..file("z") })),
        ("an unknown type", with(4, Raw { kind: EntryType::new(b'Q'), ..file("z") })),
        ("a sparse file", with(4, Raw { kind: EntryType::GNUSparse, ..file("z") })),
        ("the old type of a file", with(4, Raw { change: |header| header.as_old_mut().linkflag = [0], ..file("z") })),
        ("a PAX size", pax("9 size=9\n")),
        ("a PAX path", pax("22 path=../../etc/x\n")),
        ("a global PAX header", with(1, record(b'g', "9 size=9\n"))),
        ("a GNU long name", with(1, record(b'L', "../../etc/passwd\0"))),
        ("a GNU long link", with(1, record(b'K', "../../etc/passwd\0"))),
        ("a duplicate", with(4, file("bin/tool"))),
        ("a directory twice", with(3, directory("bin/"))),
        ("another case", with(2, file("readme.MD"))),
        (
            "a directory of another case",
            vec![directory(""), directory("BIN/"), file("BIN/a"), directory("bin/"), file("bin/b")],
        ),
        ("a file and a directory of one name", vec![directory(""), file("bin"), directory("bin/"), file("bin/tool")]),
        ("not sorted", vec![directory(""), directory("bin/"), file("bin/tool"), file("README.md")]),
        ("a directory that is missing", vec![directory(""), file("README.md"), file("bin/tool")]),
        ("no directory at all", vec![file("README.md")]),
        ("an empty directory", with(4, directory("share/"))),
        ("nothing but directories", vec![directory(""), directory("bin/")]),
        ("nothing", vec![]),
        ("set user id", changed(3, |entry| entry.mode = 0o4755)),
        ("set group id", changed(3, |entry| entry.mode = 0o2755)),
        ("sticky", changed(2, |entry| entry.mode = 0o1755)),
        ("writable by all", changed(3, |entry| entry.mode = 0o777)),
        ("no rights", changed(3, |entry| entry.mode = 0)),
        ("a directory that cannot be entered", changed(2, |entry| entry.mode = 0o644)),
        ("a directory with content", changed(2, |entry| entry.content = b"hidden".to_vec())),
        ("an owner", changed(1, |entry| entry.change = |header| header.set_uid(1000))),
        ("an owner's name", changed(1, |entry| entry.change = |header| header.set_username("root").unwrap())),
        ("another time", changed(3, |entry| entry.change = |header| header.set_mtime(1))),
        (
            "a link name that nobody reads",
            changed(3, |entry| entry.change = |header| header.set_link_name("x").unwrap()),
        ),
        ("a device number", changed(3, |entry| entry.change = |header| header.set_device_major(1).unwrap())),
        ("a size beyond the end", changed(3, |entry| entry.change = |header| header.set_size(1 << 33))),
        ("a size of sixteen exabytes", changed(3, |entry| entry.change = |header| header.set_size(u64::MAX))),
        (
            "a size spelled otherwise",
            changed(3, |entry| {
                entry.change = |header| {
                    header.as_old_mut().size.copy_from_slice(b"         07\0");
                }
            }),
        ),
        (
            "a GNU header",
            changed(3, |entry| {
                entry.change = |header| {
                    header.as_ustar_mut().unwrap().magic.copy_from_slice(b"ustar ");
                }
            }),
        ),
        (
            "something behind the name",
            changed(3, |entry| {
                entry.change = |header| {
                    header.as_old_mut().name[99] = b'x';
                }
            }),
        ),
        (
            "something in the reserved bytes",
            changed(3, |entry| {
                entry.change = |header| {
                    *header.as_mut_bytes().last_mut().unwrap() = 1;
                }
            }),
        ),
        ("an escape character", with(4, file("z\u{1b}[2J"))),
        ("a line feed", with(4, file("z\nz"))),
        ("a bidirectional override", with(4, file("z\u{202e}gpj.exe"))),
        ("a leading hyphen", with(1, file("-rf"))),
        ("a device of Windows", with(4, file("nul.txt"))),
        ("an alternate stream", with(4, file("z:hidden"))),
        ("a backslash", with(4, file("z\\..\\evil"))),
        ("a name that is not UTF-8", with(4, Raw { path: [STEM.as_bytes(), b"/z\xff"].concat(), ..file("z") })),
        ("an empty name", with(0, raw_path(""))),
        ("a dot", with(1, file("./README.md"))),
        ("two slashes", with(4, file("bin//x"))),
        ("too many entries", many),
        ("too deep", nested),
    ]
    .into_iter()
    .map(|(name, entries)| tar_gz(name, &render(&entries)))
    .collect()
}

/// An accepted tar stream, changed outside of its entries.
fn stream_cases() -> Vec<Case> {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&'static str, Change); 9] = [
        ("no end", |tar| tar.truncate(tar.len() - 1024)),
        ("half an end", |tar| tar.truncate(tar.len() - 512)),
        ("a longer end", |tar| tar.resize(tar.len() + 512, 0)),
        ("cut off in a file", |tar| tar.truncate(tar.len() - 1024 - 510)),
        ("cut off in a header", |tar| tar.truncate(tar.len() - 1024 - 700)),
        ("something after the end", |tar| tar.push(b'x')),
        ("something in the end", |tar| *tar.last_mut().unwrap() = 1),
        ("something in the padding", |tar| {
            let at = tar.len() - 1025;
            tar[at] = 1;
        }),
        ("another archive after the end", |tar| tar.extend(tar.clone())),
    ];
    let changed = changes.into_iter().map(|(name, change)| {
        let mut tar = render(&plain());
        change(&mut tar);
        tar_gz(name, &tar)
    });
    changed.collect()
}

/// An accepted tar stream, packed in another way.
fn compression_cases() -> Vec<Case> {
    let tar = render(&plain());
    let unpacked = tar.len() as u64;
    let (gz, zst) = (gzip(&tar), zstd(&tar));
    let changed = |bytes: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        bytes
    };
    let trailer = gz[gz.len() - 8..].to_vec();
    let named = {
        let mut bytes = gz.clone();
        bytes[3] = 8;
        bytes.splice(10..10, b"name\0".iter().copied());
        bytes
    };
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, b'e', b'v', b'i', b'l'];
    let without_checksum = zstd::bulk::compress(&tar, 3).unwrap();
    let gz_cases = [
        ("a second gzip member", [gz.clone(), gz.clone()].concat(), unpacked),
        ("an empty second member", [gz.clone(), gzip(b"")].concat(), unpacked),
        ("bytes after the member", changed(&gz, &|gz| gz.extend(b"evil")), unpacked),
        ("zeros after the member", changed(&gz, &|gz| gz.extend([0; 512])), unpacked),
        ("bytes hidden before a second trailer", [&gz[..], b"evil", &trailer[..]].concat(), unpacked),
        ("the trailer twice", [&gz[..], &trailer[..]].concat(), unpacked),
        ("a name in the gzip header", named, unpacked),
        ("a time in the gzip header", changed(&gz, &|gz| gz[4] = 1), unpacked),
        ("a level in the gzip header", changed(&gz, &|gz| gz[8] = 2), unpacked),
        ("a wrong checksum", changed(&gz, &|gz| *gz.iter_mut().nth_back(7).unwrap() ^= 1), unpacked),
        ("a wrong size", changed(&gz, &|gz| *gz.iter_mut().nth_back(3).unwrap() ^= 1), unpacked),
        ("less than the index says", gz.clone(), unpacked + 512),
        ("more than the index says", gz.clone(), unpacked - 512),
        ("a bomb", gzip(&vec![0; 64 << 20]), unpacked),
        ("more than may be", gz.clone(), u64::MAX),
        ("nothing at all", Vec::new(), 0),
        ("cut off", gz[..gz.len() / 2].to_vec(), unpacked),
        ("another format", zst.clone(), unpacked),
    ];
    let zst_cases = [
        ("a second frame", [zst.clone(), zst.clone()].concat(), unpacked),
        ("a skippable frame after it", [&zst[..], &skippable].concat(), unpacked),
        ("a skippable frame before it", [&skippable, &zst[..]].concat(), unpacked),
        ("bytes after the frame", changed(&zst, &|zst| zst.push(0)), unpacked),
        ("no checksum in the frame", without_checksum, unpacked),
        ("a wrong checksum in the frame", changed(&zst, &|zst| *zst.last_mut().unwrap() ^= 1), unpacked),
        ("an unused bit in the frame", changed(&zst, &|zst| zst[4] |= 0b1_0000), unpacked),
        ("a bomb in a frame", zstd(&vec![0; 64 << 20]), unpacked),
        ("less than the index says in a frame", zst.clone(), unpacked + 512),
        ("a cut off frame", zst[..zst.len() / 2].to_vec(), unpacked),
        ("an empty frame file", Vec::new(), 0),
        ("only the magic", zst[..4].to_vec(), unpacked),
    ];
    let case = |format: ArchiveFormat| {
        move |(name, bytes, unpacked_size_bytes): (&'static str, Vec<u8>, u64)| Case {
            name,
            format,
            bytes,
            unpacked_size_bytes,
        }
    };
    let gz_cases = gz_cases.into_iter().map(case(ArchiveFormat::TarGz));
    gz_cases.chain(zst_cases.into_iter().map(case(ArchiveFormat::TarZst))).collect()
}

/// An accepted zip file, changed in one place.
fn zip_cases() -> Vec<Case> {
    let (whole, unpacked) = zip();
    let end = whole.len() - 22;
    let start = u32::from_le_bytes(whole[end + 16..end + 20].try_into().unwrap()) as usize;
    // Every byte of every header, of the directory and of the end record.
    let packed_starts = STEM.len() + 1 + 30;
    let mut cases: Vec<Case> = (0..packed_starts)
        .chain(start..whole.len())
        .map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            ("a flipped byte", bytes)
        })
        .chain([
            ("bytes before a zip", [b"MZ", &whole[..]].concat()),
            ("bytes after a zip", [&whole[..], b"x"].concat()),
            ("a comment", {
                let mut bytes = whole.clone();
                *bytes.iter_mut().nth_back(1).unwrap() = 1;
                bytes.push(b'x');
                bytes
            }),
            ("bytes before the directory", [&whole[..start], b"evil", &whole[start..]].concat()),
            ("no directory", whole[..start].to_vec()),
            ("cut off", whole[..whole.len() - 1].to_vec()),
            ("an empty zip", whole[whole.len() - 22..].to_vec()),
            ("two zips", [&whole[..], &whole[..]].concat()),
            ("bytes after the compressed data", with_slack(&whole)),
        ])
        .map(|(name, bytes)| Case { name, format: ArchiveFormat::Zip, bytes, unpacked_size_bytes: unpacked })
        .collect();
    let case = |name, unpacked_size_bytes| Case {
        name,
        format: ArchiveFormat::Zip,
        bytes: whole.clone(),
        unpacked_size_bytes,
    };
    cases.extend([case("a zip of more than the index says", unpacked - 1), case("of less", unpacked + 1)]);
    let (bytes, unpacked_size_bytes) = with_directory_as_content();
    cases.push(Case { name: "the directory as content", format: ArchiveFormat::Zip, bytes, unpacked_size_bytes });
    cases
}

/// A zip file whose last entry claims all that follows it as its compressed data.
fn with_directory_as_content() -> (Vec<u8>, u64) {
    use consign::archive::{Options, Writer};
    let options = Options { format: ArchiveFormat::Zip, level: None, date: "2025-01-02T03:04:05Z".parse().unwrap() };
    let mut writer = Writer::new(&STEM.parse().unwrap(), options);
    writer.append("bin/tool", true, 400, &mut b"content ".repeat(50).as_slice()).unwrap();
    let packed = writer.finish().unwrap();
    let mut bytes = packed.bytes;
    let find = |bytes: &[u8], magic: &[u8]| bytes.windows(4).rposition(|window| window == magic).unwrap();
    let (local, central, end) = (find(&bytes, b"PK\x03\x04"), find(&bytes, b"PK\x01\x02"), bytes.len() - 22);
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let behind = u32::try_from(bytes.len()).unwrap() - number(&bytes, end + 16);
    for at in [local + 18, central + 20, end + 16] {
        let more = number(&bytes, at) + behind;
        bytes[at..at + 4].copy_from_slice(&more.to_le_bytes());
    }
    (bytes, packed.unpacked_size_bytes)
}

/// A zip file with four bytes hidden after an entry's compressed data, all sizes and places right.
fn with_slack(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let local = STEM.len() + 1 + 30;
    let add = |bytes: &mut Vec<u8>, at: usize| {
        let number = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + 4;
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    };
    let find = |bytes: &[u8], magic: &[u8], number: usize| {
        let found = bytes.windows(4).enumerate().filter(|(_, window)| *window == magic).nth(number);
        found.map(|(at, _)| at)
    };
    let next = find(&bytes, b"PK\x03\x04", 2).unwrap();
    bytes.splice(next..next, *b"evil");
    add(&mut bytes, local + 18);
    for number in 0..4 {
        let central = find(&bytes, b"PK\x01\x02", number).unwrap();
        match number {
            0 => {}
            1 => add(&mut bytes, central + 20),
            _ => add(&mut bytes, central + 42),
        }
    }
    let end = bytes.len() - 22;
    add(&mut bytes, end + 16);
    bytes
}
