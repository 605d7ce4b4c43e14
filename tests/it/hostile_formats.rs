//! More archives that must be refused: what the formats allow, other programs write or read, and Consign does
//! not. Every one is an accepted archive but for a single point.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use consign::model::index::ArchiveFormat;

use crate::hostile::{Case, STEM, gzip, zstd};

const BLOCK: usize = 512;

/// What is in every archive here; also what an index says of it is right.
pub const PROGRAM: &[u8] = b"#!/bin/sh\necho tool 1.0.0\n";

/// The accepted contents: what a package for `linux-amd64` holds.
fn contents() -> Vec<(&'static str, u32, Vec<u8>)> {
    let platform = "linux-amd64".parse().unwrap();
    let metadata = consign::model::pretty(&crate::fixture::metadata(platform));
    vec![
        ("README.md", 0o644, b"# tool\n".to_vec()),
        ("bin/tool", 0o755, PROGRAM.to_vec()),
        ("metadata.json", 0o644, metadata),
    ]
}

/// One entry of a tar with every field as it stands in the header.
#[derive(Clone)]
struct Field {
    name: Vec<u8>,
    prefix: Vec<u8>,
    mode: Vec<u8>,
    size: Vec<u8>,
    time: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    magic: Vec<u8>,
    content: Vec<u8>,
    /// Changes the whole block before its checksum is made.
    change: fn(&mut [u8; BLOCK]),
    /// Writes the checksum, given its right value.
    checksum: fn(u32) -> Vec<u8>,
}

fn octal(number: usize, digits: usize) -> Vec<u8> {
    format!("{number:0digits$o}\0").into_bytes()
}

fn entry(path: &str, kind: u8, mode: usize, content: &[u8]) -> Field {
    Field {
        name: format!("{STEM}/{path}").into_bytes(),
        prefix: Vec::new(),
        mode: octal(mode, 7),
        size: octal(content.len(), 11),
        time: octal(1_735_787_045, 11),
        kind,
        link: Vec::new(),
        magic: b"ustar\x0000".to_vec(),
        content: content.to_vec(),
        change: |_| {},
        checksum: |sum| format!("{sum:07o}\0").into_bytes(),
    }
}

fn file(path: &str) -> Field {
    entry(path, b'0', 0o644, b"content")
}

fn directory(path: &str) -> Field {
    entry(path, b'5', 0o755, b"")
}

fn special(kind: u8, path: &str, link: &str) -> Field {
    Field { link: link.as_bytes().to_vec(), ..entry(path, kind, 0o644, b"") }
}

fn record(kind: u8, content: &[u8]) -> Field {
    entry("PaxHeaders/x", kind, 0o644, content)
}

fn plain() -> Vec<Field> {
    let mut entries = vec![directory("")];
    for (path, mode, content) in contents() {
        if path.starts_with("bin/") {
            entries.push(directory("bin/"));
        }
        entries.push(entry(path, b'0', mode as usize, &content));
    }
    entries
}

/// Where the program stands among the plain entries.
const TOOL: usize = 3;

fn render(entries: &[Field]) -> Vec<u8> {
    let mut tar = Vec::new();
    for entry in entries {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8], room: usize| {
            let bytes = &bytes[..bytes.len().min(room)];
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &entry.name, 100);
        put(100, &entry.mode, 8);
        put(108, &octal(0, 7), 8);
        put(116, &octal(0, 7), 8);
        put(124, &entry.size, 12);
        put(136, &entry.time, 12);
        put(148, b"        ", 8);
        put(156, &[entry.kind], 1);
        put(157, &entry.link, 100);
        put(257, &entry.magic, 8);
        put(345, &entry.prefix, 155);
        (entry.change)(&mut block);
        let sum = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(&(entry.checksum)(sum)[..8]);
        tar.extend(block);
        tar.extend(&entry.content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// The accepted archive in each format, to see that nothing but the single point is refused.
pub fn accepted() -> Vec<Case> {
    let tar = render(&plain());
    let (zip, unpacked) = Zip::plain().render();
    let unpacked_size_bytes = tar.len() as u64;
    let name = "accepted";
    vec![
        Case { name, format: ArchiveFormat::TarGz, bytes: gzip(&tar), unpacked_size_bytes },
        Case { name, format: ArchiveFormat::TarZst, bytes: zstd(&tar), unpacked_size_bytes },
        Case { name, format: ArchiveFormat::Zip, bytes: zip, unpacked_size_bytes: unpacked },
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, entries) in numbers().into_iter().chain(headers()).chain(paths()).chain(links()).chain(records()) {
        let tar = render(&entries);
        let unpacked_size_bytes = tar.len() as u64;
        cases.push(Case { name, format: ArchiveFormat::TarGz, bytes: gzip(&tar), unpacked_size_bytes });
    }
    cases.extend(members());
    cases.extend(frames());
    cases.extend(zips());
    cases
}

type Changed = (&'static str, Vec<Field>);

fn with(place: usize, entry: Field) -> Vec<Field> {
    let mut entries = plain();
    entries.insert(place, entry);
    entries
}

fn changed(place: usize, change: impl FnOnce(&mut Field)) -> Vec<Field> {
    let mut entries = plain();
    change(&mut entries[place]);
    entries
}

/// Numbers that readers understand in several ways.
fn numbers() -> Vec<Changed> {
    let size = PROGRAM.len();
    let binary = |number: i64| {
        let mut field = vec![if number < 0 { 0xff } else { 0x80 }; 4];
        field[1..].fill(if number < 0 { 0xff } else { 0 });
        field.extend(number.to_be_bytes());
        field
    };
    vec![
        ("a size in binary", changed(TOOL, |tool| tool.size = binary(i64::try_from(size).unwrap()))),
        ("a size of less than nothing", changed(TOOL, |tool| tool.size = binary(-1))),
        ("a size of less than nothing in octal", changed(TOOL, |tool| tool.size = b"-0000000031\0".to_vec())),
        ("a size of the most that binary can say", changed(TOOL, |tool| tool.size = binary(i64::MAX))),
        ("a size with spaces before it", changed(TOOL, |tool| tool.size = format!("{size:11o}\0").into_bytes())),
        ("a size with a space after it", changed(TOOL, |tool| tool.size = format!("{size:011o} ").into_bytes())),
        ("a size of twelve digits", changed(TOOL, |tool| tool.size = format!("{size:012o}").into_bytes())),
        ("a size without a zero before it", changed(TOOL, |tool| tool.size = format!("{size:o}\0").into_bytes())),
        ("a size that is no octal number", changed(TOOL, |tool| tool.size = b"0000000009x\0".to_vec())),
        ("no size", changed(TOOL, |tool| tool.size = vec![0; 12])),
        ("a size that is too small", changed(TOOL, |tool| tool.size = octal(0, 11))),
        ("a time before 1970", changed(TOOL, |tool| tool.time = binary(-1))),
        ("a time in binary", changed(TOOL, |tool| tool.time = binary(1_735_787_045))),
        ("a time with a fraction", changed(TOOL, |tool| tool.time = b"1473543465.5".to_vec())),
        ("a mode with the kind of file in it", changed(TOOL, |tool| tool.mode = octal(0o100_755, 7))),
        ("a mode of six digits", changed(TOOL, |tool| tool.mode = b"000755 \0".to_vec())),
        ("an owner in binary", changed(TOOL, |tool| tool.change = |block| block[108] = 0x80)),
        ("the largest owner", changed(TOOL, |tool| tool.change = |block| block[108..115].fill(b'7'))),
        ("the largest group", changed(TOOL, |tool| tool.change = |block| block[116..123].fill(b'7'))),
        (
            "a checksum of another form",
            changed(TOOL, |tool| tool.checksum = |sum| format!("{sum:06o}\0 ").into_bytes()),
        ),
        ("a checksum with spaces", changed(TOOL, |tool| tool.checksum = |sum| format!("{sum:7o}\0").into_bytes())),
        (
            "a wrong checksum in a header",
            changed(TOOL, |tool| {
                tool.checksum = |sum| format!("{:07o}\0", sum + 1).into_bytes();
            }),
        ),
        // Some readers add the bytes as signed numbers.
        (
            "a signed checksum",
            changed(TOOL, |tool| {
                tool.change = |block| block[500] = 0xff;
                tool.checksum = |sum| format!("{:07o}\0", sum - 256).into_bytes();
            }),
        ),
        ("no checksum", changed(TOOL, |tool| tool.checksum = |_| b"        ".to_vec())),
    ]
}

/// Headers of other formats, and fields that nothing is to be in.
fn headers() -> Vec<Changed> {
    let mut cases = vec![
        ("a header of Unix V7", changed(TOOL, |tool| tool.magic = vec![0; 8])),
        ("a header of old GNU tar", changed(TOOL, |tool| tool.magic = b"ustar  \0".to_vec())),
        ("a ustar header of version 1", changed(TOOL, |tool| tool.magic = b"ustar\x0001".to_vec())),
        ("a header of star", changed(TOOL, |tool| tool.change = |block| block[508..].copy_from_slice(b"tar\0"))),
        ("device numbers of zero", changed(TOOL, |tool| tool.change = |block| block[329..336].fill(b'0'))),
        (
            "a minor device number",
            changed(TOOL, |tool| tool.change = |block| block[337..344].copy_from_slice(b"0000001")),
        ),
        ("a group's name", changed(TOOL, |tool| tool.change = |block| block[297..301].copy_from_slice(b"root"))),
        ("a link name of a directory", changed(0, |top| top.link = b"/etc".to_vec())),
        ("a directory that is a file with a slash", changed(2, |bin| bin.kind = b'0')),
        ("a directory without a slash", changed(2, |bin| bin.name.truncate(bin.name.len() - 1))),
        ("a file that is a directory without a slash", changed(TOOL, |tool| tool.kind = b'5')),
        ("a header of spaces", changed(TOOL, |tool| tool.change = |block| block[..100].fill(b' '))),
        ("a block of zeros between entries", {
            let mut entries = plain();
            let nothing = Field {
                name: Vec::new(),
                change: |block| block.fill(0),
                checksum: |_| vec![0; 8],
                ..entry("", 0, 0, b"")
            };
            entries.insert(TOOL, nothing);
            entries
        }),
    ];
    for (name, kind) in [
        ("the type NUL", 0),
        ("the type of a contiguous file", b'7'),
        ("the type of a directory's dump", b'D'),
        ("the type of a continued file", b'M'),
        ("the type of an old long name", b'N'),
        ("the type of a sparse file", b'S'),
        ("the type of a volume's name", b'V'),
        ("the type of Solaris's attributes", b'X'),
        ("the type of Solaris's access list", b'A'),
        ("the type of an inode", b'I'),
        ("a type of nobody", b'Z'),
        ("a type that is a space", b' '),
        ("a type that is no letter", 0xff),
    ] {
        cases.push((name, changed(TOOL, |tool| tool.kind = kind)));
    }
    cases
}

/// Names, and where they stand.
fn paths() -> Vec<Changed> {
    let stem = || STEM.as_bytes().to_vec();
    let long = format!("{}/{}", "d".repeat(60), "f".repeat(60));
    let names: [(&'static str, &str); 12] = [
        ("a path of Windows", "C:\\evil"),
        ("a path of a share", "\\\\server\\share\\x"),
        ("a parent with a backslash", "..\\evil"),
        ("three dots", ".../evil"),
        ("a parent at the end", "x/.."),
        ("a home", "~root/../x"),
        ("a delete character", "x\u{7f}"),
        ("a dot and a space", "x. "),
        ("a short name of Windows", "com1"),
        ("a combining accent", "e\u{301}"),
        ("a composed accent", "\u{e9}"),
        ("a tab", "a\tb"),
    ];
    let mut cases: Vec<Changed> = names.into_iter().map(|(what, name)| (what, with(5, file(name)))).collect();
    cases.extend([
        ("a dot before everything", {
            let mut entries = plain();
            for entry in &mut entries {
                entry.name.splice(0..0, *b"./");
            }
            entries
        }),
        ("a slash before everything", {
            let mut entries = plain();
            for entry in &mut entries {
                entry.name.insert(0, b'/');
            }
            entries
        }),
        (
            "a prefix where none is needed",
            changed(TOOL, |tool| {
                (tool.prefix, tool.name) = (stem(), b"bin/tool".to_vec());
            }),
        ),
        (
            "a prefix that leads out",
            changed(TOOL, |tool| {
                (tool.prefix, tool.name) = (b"..".to_vec(), b"evil".to_vec());
            }),
        ),
        (
            "a prefix that is absolute",
            changed(TOOL, |tool| {
                (tool.prefix, tool.name) = (b"/".to_vec(), b"etc/passwd".to_vec());
            }),
        ),
        (
            "a path in the prefix alone",
            changed(TOOL, |tool| {
                (tool.prefix, tool.name) = ([STEM, "/bin/tool"].concat().into_bytes(), Vec::new());
            }),
        ),
        (
            "a path of more than two hundred bytes",
            with(
                4,
                Field { prefix: format!("{STEM}/{}", "d".repeat(100)).into_bytes(), name: vec![b'f'; 99], ..file("") },
            ),
        ),
        ("a long path that is split elsewhere", {
            let deep = format!("{STEM}/{long}/x");
            let slash = STEM.len();
            let mut entries = plain();
            entries.insert(4, directory(&format!("{}/", "d".repeat(60))));
            entries.insert(
                5,
                Field {
                    prefix: deep.as_bytes()[..slash].to_vec(),
                    name: deep.as_bytes()[slash + 1..].to_vec(),
                    ..file("")
                },
            );
            entries
        }),
        ("the stem in another case", changed(TOOL, |tool| tool.name[0] = b'T')),
        ("a file that is called like the stem", with(0, Field { name: stem(), ..file("") })),
        ("nothing but a slash", with(0, Field { name: b"/".to_vec(), ..directory("") })),
        ("nothing but a dot", with(0, Field { name: b"./".to_vec(), ..directory("") })),
        ("a program in another case", with(TOOL, file("bin/TOOL"))),
        ("a file below a file", with(2, file("README.md/x"))),
        ("a receipt of its own", with(1, file("../../receipts/tool/1.0.0.json"))),
    ]);
    cases
}

/// What is neither a file nor a directory, and what is written through it.
fn links() -> Vec<Changed> {
    let several = |entries: Vec<Field>| {
        let mut all = plain();
        all.extend(entries);
        all
    };
    vec![
        ("a link and a file through it", several(vec![special(b'2', "z", "/tmp"), file("z/evil")])),
        ("a link upwards and a file through it", several(vec![special(b'2', "z", ".."), file("z/evil")])),
        ("a link in two steps", several(vec![special(b'2', "y", "."), special(b'2', "z", "y/.."), file("z/evil")])),
        ("a link and a directory of its name", several(vec![special(b'2', "z", ".."), directory("z/"), file("z/a")])),
        ("a link within the directory", several(vec![special(b'2', "z", "bin/tool")])),
        ("a hard link within the directory", several(vec![special(b'1', "z", &format!("{STEM}/bin/tool"))])),
        (
            "a hard link with content",
            several(vec![Field { link: format!("{STEM}/bin/tool").into_bytes(), kind: b'1', ..file("z") }]),
        ),
        ("a hard link to a file that comes later", with(1, special(b'1', "A", &format!("{STEM}/bin/tool")))),
        ("a block device", several(vec![special(b'4', "z", "")])),
        ("a program that is a link", {
            let mut entries = plain();
            entries[TOOL] = special(b'2', "bin/tool", "/bin/sh");
            entries
        }),
        ("a directory that is a link", {
            let mut entries = plain();
            entries[2] = special(b'2', "bin", "/usr/bin");
            entries
        }),
    ]
}

/// Records that say something of the entry after them, where one reader believes them and another does not.
fn records() -> Vec<Changed> {
    let pax = |text: &str| {
        // A record begins with its own length.
        let mut length = text.len() + 3;
        while format!("{length} {text}\n").len() != length {
            length += 1;
        }
        format!("{length} {text}\n").into_bytes()
    };
    let two = |place: usize, first: Field, second: Field| {
        let mut entries = with(place, second);
        entries.insert(place, first);
        entries
    };
    let nested = {
        let inner = render(&[file("../../evil")]);
        let mut hidden = entry("data", b'0', 0o644, &inner);
        hidden.size = octal(0, 11);
        two(TOOL + 1, record(b'x', &pax(&format!("size={}", inner.len()))), hidden)
    };
    vec![
        ("a size of another parser", nested),
        ("a record of a record", two(TOOL, record(b'x', &pax("size=4")), record(b'L', b"../../evil\0"))),
        ("a path with NUL in a record", with(TOOL, record(b'x', &pax("path=a\0/../../evil")))),
        ("a link's path in a record", with(TOOL, record(b'x', &pax("linkpath=/etc/passwd")))),
        ("a sparse file of eight exabytes", with(TOOL, record(b'x', &pax("GNU.sparse.realsize=9223372036854775807")))),
        ("a sparse file's name", with(TOOL, record(b'x', &pax("GNU.sparse.name=../../evil")))),
        ("a character set in a record", with(TOOL, record(b'x', &pax("hdrcharset=BINARY")))),
        ("an attribute in a record", with(TOOL, record(b'x', &pax("SCHILY.xattr.security.capability=x")))),
        ("an empty record", with(TOOL, record(b'x', b""))),
        ("a record with a wrong length", with(TOOL, record(b'x', b"99999999 path=x\n"))),
        ("a global record at the beginning", with(0, record(b'g', &pax("comment=0123456789")))),
        ("a record at the end", with(5, record(b'x', &pax("path=evil")))),
        ("a record of Solaris", with(TOOL, record(b'X', &pax("path=evil")))),
        ("a long name that is never used", with(5, record(b'L', b"evil\0"))),
        ("a long name of a megabyte", with(TOOL, record(b'L', &vec![b'a'; 1 << 20]))),
        ("a volume's name", with(0, record(b'V', b""))),
        (
            "a sparse file with a map",
            with(
                4,
                Field {
                    change: |block| {
                        block[257..265].copy_from_slice(b"ustar  \0");
                        block[386..398].copy_from_slice(b"00000000000\0");
                        block[483..495].copy_from_slice(b"77777777777\0");
                    },
                    ..entry("z", b'S', 0o644, b"x")
                },
            ),
        ),
    ]
}

/// Headers of gzip that say more than they have to.
pub fn members() -> Vec<Case> {
    let tar = render(&plain());
    let unpacked_size_bytes = tar.len() as u64;
    let whole = gzip(&tar);
    let flagged = |flag: u8, more: &[u8]| {
        let mut bytes = whole.clone();
        bytes[3] |= flag;
        bytes.splice(10..10, more.iter().copied());
        bytes
    };
    let set = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let half = render(&plain()[..2]);
    let entries = half.len() - 2 * BLOCK;
    [
        ("an extra field of gzip", flagged(4, b"\x04\x00evil")),
        ("an extra field of gzip that does not end", flagged(4, b"\xff\xff")),
        ("a comment of gzip", flagged(16, b"evil\0")),
        ("a header checksum of gzip", flagged(2, &[0, 0])),
        ("a text flag of gzip", flagged(1, b"")),
        ("a reserved flag of gzip", flagged(0x80, b"")),
        ("another system of gzip", set(9, if whole[9] == 3 { 255 } else { 3 })),
        ("another method of gzip", set(2, 7)),
        ("one tar in two members", [gzip(&tar[..entries]), gzip(&tar[entries..])].concat()),
        ("a gzip in a gzip", gzip(&whole)),
        ("a tar that is not packed", tar.clone()),
        ("a compressed file of old Unix", [b"\x1f\x9d\x90", &whole[3..]].concat()),
        ("an empty member first", [gzip(b""), whole.clone()].concat()),
    ]
    .into_iter()
    .map(|(name, bytes)| Case { name, format: ArchiveFormat::TarGz, bytes, unpacked_size_bytes })
    .collect()
}

/// Zstandard frames that ask for more than they have to.
fn frames() -> Vec<Case> {
    let tar = render(&plain());
    let unpacked_size_bytes = tar.len() as u64;
    let compressed = |set: &dyn Fn(&mut zstd::bulk::Compressor<'_>)| {
        let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
        compressor.include_checksum(true).unwrap();
        set(&mut compressor);
        compressor.compress(&tar).unwrap()
    };
    let whole = zstd(&tar);
    let with_dictionary = {
        let mut compressor = zstd::bulk::Compressor::with_dictionary(3, &tar).unwrap();
        compressor.include_checksum(true).unwrap();
        compressor.compress(&tar).unwrap()
    };
    let mut wide = whole.clone();
    // Not one segment, so that a window follows; its field says 2^41 bytes.
    wide[4] &= !0b10_0000;
    wide.insert(5, 0xf8);
    let old = [&0xfd2f_b527_u32.to_le_bytes()[..], &whole[4..]].concat();
    let halves = [zstd(&tar[..BLOCK]), zstd(&tar[BLOCK..])].concat();
    let mut unsized_frame = zstd::Encoder::new(Vec::new(), 3).unwrap();
    unsized_frame.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut unsized_frame, &tar).unwrap();
    let without_size = unsized_frame.finish().unwrap();
    [
        ("a frame without its size", compressed(&|compressor| compressor.include_contentsize(false).unwrap())),
        ("a frame that was streamed", without_size),
        ("a frame that needs a dictionary", with_dictionary),
        ("a window of terabytes", wide),
        ("a frame of an old format", old),
        ("one tar in two frames", halves),
        ("a frame without a magic number", whole[4..].to_vec()),
        ("a frame in a frame", zstd(&whole)),
    ]
    .into_iter()
    .map(|(name, bytes)| Case { name, format: ArchiveFormat::TarZst, bytes, unpacked_size_bytes })
    .collect()
}

/// A file in a zip, with what its two headers say of it.
#[derive(Clone)]
struct Member {
    local: Vec<u8>,
    central: Vec<u8>,
    content: Vec<u8>,
    flags: [u16; 2],
    method: u16,
    attributes: u32,
    made_by: u16,
    needed: u16,
    extra: [Vec<u8>; 2],
    comment: Vec<u8>,
    crc: [u32; 2],
    size: [u32; 2],
    packed: [u32; 2],
    /// What follows the content.
    behind: Vec<u8>,
    offset: Option<u32>,
    is_listed: bool,
}

struct Zip {
    members: Vec<Member>,
    /// What stands before the record at the end.
    before_end: Vec<u8>,
    disks: [u16; 2],
    count: Option<u16>,
    comment: Vec<u8>,
}

fn member(path: &str, mode: u32, content: &[u8]) -> Member {
    let name = format!("{STEM}/{path}").into_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(content);
    let (crc, size) = (crc.finalize(), u32::try_from(content.len()).unwrap());
    let kind = if path.is_empty() || path.ends_with('/') { 0o040_000 << 16 | 0x10 } else { 0o100_000 << 16 };
    Member {
        local: name.clone(),
        central: name,
        content: content.to_vec(),
        flags: [0; 2],
        method: 0,
        attributes: kind | mode << 16,
        made_by: 0x0314,
        needed: 20,
        extra: [Vec::new(), Vec::new()],
        comment: Vec::new(),
        crc: [crc; 2],
        size: [size; 2],
        packed: [size; 2],
        behind: Vec::new(),
        offset: None,
        is_listed: true,
    }
}

impl Zip {
    fn plain() -> Self {
        let mut members = vec![member("", 0o755, b"")];
        for (path, mode, content) in contents() {
            if path.starts_with("bin/") {
                members.push(member("bin/", 0o755, b""));
            }
            members.push(member(path, mode, &content));
        }
        Self { members, before_end: Vec::new(), disks: [0; 2], count: None, comment: Vec::new() }
    }

    fn changed(change: impl FnOnce(&mut Self)) -> Self {
        let mut zip = Self::plain();
        change(&mut zip);
        zip
    }

    /// The bytes, and what they unpack to.
    fn render(&self) -> (Vec<u8>, u64) {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        let mut unpacked = 0;
        for member in &self.members {
            let offset = member.offset.unwrap_or(u32::try_from(out.len()).unwrap());
            let common = |side: usize, name: &[u8], to: &mut Vec<u8>| {
                // A date and a time that fit into steps of two seconds.
                for number in [member.needed, member.flags[side], member.method, 0x1882, 0x5a22] {
                    to.extend(number.to_le_bytes());
                }
                for number in [member.crc[side], member.packed[side], member.size[side]] {
                    to.extend(number.to_le_bytes());
                }
                to.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
                to.extend(u16::try_from(member.extra[side].len()).unwrap().to_le_bytes());
            };
            out.extend(b"PK\x03\x04");
            common(0, &member.local, &mut out);
            for bytes in [&member.local, &member.extra[0], &member.content, &member.behind] {
                out.extend(bytes);
            }
            unpacked += member.content.len() as u64;
            if !member.is_listed {
                continue;
            }
            directory.extend(b"PK\x01\x02");
            directory.extend(member.made_by.to_le_bytes());
            common(1, &member.central, &mut directory);
            directory.extend(u16::try_from(member.comment.len()).unwrap().to_le_bytes());
            directory.extend([0; 4]);
            directory.extend(member.attributes.to_le_bytes());
            directory.extend(offset.to_le_bytes());
            for bytes in [&member.central, &member.extra[1], &member.comment] {
                directory.extend(bytes);
            }
        }
        let start = u32::try_from(out.len()).unwrap();
        let listed = self.members.iter().filter(|member| member.is_listed).count();
        let count = self.count.unwrap_or(u16::try_from(listed).unwrap());
        out.extend(&directory);
        out.extend(&self.before_end);
        out.extend(b"PK\x05\x06");
        for number in [self.disks[0], self.disks[1], count, count] {
            out.extend(number.to_le_bytes());
        }
        out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend(u16::try_from(self.comment.len()).unwrap().to_le_bytes());
        out.extend(&self.comment);
        (out, unpacked)
    }
}

/// Zip files of which two readers read different things, or that ask for what Consign does not do.
#[expect(clippy::too_many_lines, reason = "a list of cases, one after another")]
fn zips() -> Vec<Case> {
    let tool = |change: fn(&mut Member)| Zip::changed(|zip| change(&mut zip.members[TOOL]));
    let zip64 = |size: u32| {
        let mut extra = vec![1, 0, 8, 0];
        extra.extend(u64::from(size).to_le_bytes());
        extra
    };
    let size = u32::try_from(PROGRAM.len()).unwrap();
    let descriptor = |signed: bool| {
        Zip::changed(|zip| {
            let member = &mut zip.members[TOOL];
            member.flags = [8; 2];
            let mut behind = if signed { b"PK\x07\x08".to_vec() } else { Vec::new() };
            for number in [member.crc[1], member.packed[1], member.size[1]] {
                behind.extend(number.to_le_bytes());
            }
            (member.crc[0], member.packed[0], member.size[0], member.behind) = (0, 0, 0, behind);
        })
    };
    let second = |change: fn(&mut Member)| {
        Zip::changed(|zip| {
            let mut more = member("z", 0o644, b"evil");
            change(&mut more);
            zip.members.push(more);
        })
    };
    let cases = [
        ("another name in the directory", tool(|tool| tool.central = [STEM, "/bin/evil"].concat().into_bytes())),
        ("another name before the content", tool(|tool| tool.local = [STEM, "/bin/evil"].concat().into_bytes())),
        ("another checksum in the directory", tool(|tool| tool.crc[1] ^= 1)),
        ("another size in the directory", tool(|tool| tool.size[1] += 1)),
        ("another packed size in the directory", tool(|tool| tool.packed[1] += 1)),
        ("another size before the content", tool(|tool| tool.size[0] += 1)),
        ("another flag in the directory", tool(|tool| tool.flags[1] = 0x800)),
        ("a flag for UTF-8", tool(|tool| tool.flags = [0x800; 2])),
        ("an encrypted file", tool(|tool| tool.flags = [1; 2])),
        ("a strongly encrypted file", tool(|tool| tool.flags = [0x41; 2])),
        ("a masked header", tool(|tool| tool.flags = [0x2000; 2])),
        ("a patch", tool(|tool| tool.flags = [0x20; 2])),
        ("a size after the content", descriptor(true)),
        ("a size after the content without a word", descriptor(false)),
        ("an extra field before the content", tool(|tool| tool.extra[0] = b"ux\x04\0evil".to_vec())),
        ("an extra field in the directory", tool(|tool| tool.extra[1] = b"ux\x04\0evil".to_vec())),
        (
            "another name in an extra field",
            tool(|tool| {
                // Info-ZIP's Unicode path: version, checksum of the name in the header, the name in UTF-8.
                let mut crc = crc32fast::Hasher::new();
                crc.update(&tool.central);
                let mut extra = b"up\x09\0\x01".to_vec();
                extra.extend(crc.finalize().to_le_bytes());
                extra.extend(b"evil");
                tool.extra = [extra.clone(), extra];
            }),
        ),
        (
            "sizes of 64 bits before the content",
            Zip::changed(|zip| {
                let member = &mut zip.members[TOOL];
                (member.size[0], member.extra[0]) = (u32::MAX, zip64(size));
            }),
        ),
        (
            "sizes of 64 bits in the directory",
            Zip::changed(|zip| {
                let member = &mut zip.members[TOOL];
                (member.size[1], member.extra[1]) = (u32::MAX, zip64(size));
            }),
        ),
        ("a comment of a file", tool(|tool| tool.comment = b"evil".to_vec())),
        ("a symbolic link in a zip", second(|more| more.attributes = 0o120_777 << 16)),
        ("a device in a zip", second(|more| more.attributes = 0o020_644 << 16)),
        ("a program with the user's rights", tool(|tool| tool.attributes = 0o104_755 << 16)),
        ("a program that all may write", tool(|tool| tool.attributes = 0o100_777 << 16)),
        ("no mode in a zip", tool(|tool| tool.attributes = 0)),
        ("a zip made on DOS", tool(|tool| tool.made_by = 20)),
        ("a file that DOS calls a directory", tool(|tool| tool.attributes |= 0x10)),
        (
            "a directory with content in a zip",
            Zip::changed(|zip| {
                zip.members[2] = {
                    let mut full = member("bin/", 0o755, b"evil");
                    full.attributes = 0o040_755 << 16 | 0x10;
                    full
                }
            }),
        ),
        ("a method of nobody", tool(|tool| tool.method = 99)),
        ("a file packed by bzip2", tool(|tool| tool.method = 12)),
        ("a file packed by Zstandard", tool(|tool| tool.method = 93)),
        ("a method that it is not packed by", tool(|tool| tool.method = 8)),
        ("a version that nobody has", tool(|tool| tool.needed = 63)),
        ("a file that is not in the directory", second(|more| more.is_listed = false)),
        ("a file in the directory that is another", second(|more| more.offset = Some(0))),
        ("two files in one place", Zip::changed(|zip| zip.members[TOOL].offset = Some(0))),
        (
            "a path out of a zip",
            second(|more| {
                (more.local, more.central) = (b"../evil".to_vec(), b"../evil".to_vec());
            }),
        ),
        (
            "an absolute path in a zip",
            second(|more| {
                (more.local, more.central) = (b"/etc/evil".to_vec(), b"/etc/evil".to_vec());
            }),
        ),
        (
            "a backslash in a zip",
            second(|more| {
                let name = [STEM, "\\..\\..\\evil"].concat().into_bytes();
                (more.local, more.central) = (name.clone(), name);
            }),
        ),
        (
            "another case in a zip",
            second(|more| {
                let name = [STEM, "/readme.md"].concat().into_bytes();
                (more.local, more.central) = (name.clone(), name);
            }),
        ),
        ("the same file twice in a zip", Zip::changed(|zip| zip.members.push(zip.members[4].clone()))),
        (
            "a NUL in a name of a zip",
            second(|more| {
                let name = [STEM, "/z\0.txt"].concat().into_bytes();
                (more.local, more.central) = (name.clone(), name);
            }),
        ),
        (
            "a name that is not UTF-8 in a zip",
            second(|more| {
                let name = [STEM.as_bytes(), b"/z\xff"].concat();
                (more.local, more.central) = (name.clone(), name);
            }),
        ),
        ("bytes between two files of a zip", tool(|tool| tool.behind = b"evil".to_vec())),
        ("a second disk", Zip::changed(|zip| zip.disks = [1, 1])),
        ("fewer files than there are", Zip::changed(|zip| zip.count = Some(2))),
        ("more files than there are", Zip::changed(|zip| zip.count = Some(9))),
        ("a count of 64 bits", Zip::changed(|zip| zip.count = Some(u16::MAX))),
        ("a comment that is another zip", Zip::changed(|zip| zip.comment = Zip::plain().render().0)),
        (
            "two records at the end",
            Zip::changed(|zip| {
                zip.before_end = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
            }),
        ),
        (
            "a record at the end for 64 bits",
            Zip::changed(|zip| {
                zip.before_end = [&b"PK\x06\x07"[..], &[0; 16]].concat();
            }),
        ),
        ("a signature of the directory", Zip::changed(|zip| zip.before_end = b"PK\x05\x05\x04\0evil".to_vec())),
        ("a zip that is a tar", Zip::changed(|zip| zip.members.clear())),
    ];
    cases
        .into_iter()
        .map(|(name, zip)| {
            let (bytes, unpacked_size_bytes) = zip.render();
            Case { name, format: ArchiveFormat::Zip, bytes, unpacked_size_bytes }
        })
        .collect()
}
