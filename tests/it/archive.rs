//! Archives: written one way, readable by everyone, read back in that one way only.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::process::Command;

use consign::archive::{Inspector, Options, Packed, Writer};
use consign::model::index::ArchiveFormat;
use consign::model::{Code, Digest};

use crate::support::{Scratch, need, succeed};

const FORMATS: [ArchiveFormat; 3] = [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip];
const STEM: &str = "tool-1.0.0-linux-amd64";

fn options(format: ArchiveFormat) -> Options {
    Options { format, level: None, date: "2025-01-02T03:04:05Z".parse().unwrap() }
}

fn files() -> Vec<(&'static str, bool, Vec<u8>)> {
    let program: Vec<u8> = (0..50_000_u32).flat_map(|n| (n.wrapping_mul(n) >> 7).to_le_bytes()).collect();
    vec![
        ("LICENSE", false, b"MIT\n".to_vec()),
        ("README.md", false, "# tool\n".repeat(300).into_bytes()),
        ("bin/tool", true, program),
        ("empty", false, Vec::new()),
        ("share/man/man1/tool.1", false, vec![b'x'; 512]),
    ]
}

fn pack(options: Options, files: &[(&str, bool, Vec<u8>)]) -> Packed {
    let mut writer = Writer::new(&STEM.parse().unwrap(), options);
    for (path, executable, content) in files {
        let digest = writer.append(path, *executable, content.len() as u64, &mut content.as_slice()).unwrap();
        assert_eq!(digest, Digest::of(content));
    }
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read() {
    let mut inspector = Inspector::default();
    for format in FORMATS {
        let packed = pack(options(format), &files());
        let contents = inspector.inspect(format, &packed.bytes, STEM, packed.unpacked_size_bytes).unwrap();
        assert!(contents.date.is(options(format).date));
        assert!(!contents.date.is("2025-01-02T03:04:07Z".parse().unwrap()));
        assert_eq!(contents.entries.len(), files().len());
        for (entry, (path, executable, content)) in contents.entries.iter().zip(files()) {
            assert_eq!((entry.path.as_str(), entry.executable), (path, executable));
            assert_eq!((entry.size_bytes, entry.sha256), (content.len() as u64, Digest::of(&content)));
            assert_eq!(contents.read(path), Some(content.as_slice()));
        }
        assert_eq!(contents.read("bin/other"), None);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for format in FORMATS {
        let first = pack(options(format), &files()).bytes;
        assert!(first == pack(options(format), &files()).bytes, "{format:?}");
        let other = Options { level: Some(1), ..options(format) };
        assert!(first != pack(other, &files()).bytes, "the level has an effect: {format:?}");
        let other = Options { date: "2025-01-02T03:04:08Z".parse().unwrap(), ..options(format) };
        assert!(first != pack(other, &files()).bytes, "the date has an effect: {format:?}");
    }
}

#[test]
fn every_other_reader_understands_them() {
    let scratch = Scratch::new();
    let listing = "import sys,tarfile,zipfile
name = sys.argv[1]
if name.endswith('.zip'):
    z = zipfile.ZipFile(name); assert z.testzip() is None
    for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), i.file_size, i.date_time, i.extra)
else:
    for m in tarfile.open(name):
        assert m.pax_headers == {} and (m.uid, m.gid, m.uname, m.gname) == (0, 0, '', '')
        print(m.name + ('/' if m.isdir() else ''), oct(m.mode), m.size, m.mtime)
";
    for format in FORMATS {
        let name = format!("a.{}", format.extension());
        let path = scratch.write(&name, pack(options(format), &files()).bytes);
        let run = |program: &str, arguments: &[&str]| {
            if need(program) {
                return Some(succeed(Command::new(program).args(arguments).arg(&path).current_dir(scratch.path())));
            }
            None
        };
        match format {
            ArchiveFormat::Zip => {
                run("unzip", &["-t"]);
            }
            ArchiveFormat::TarGz => {
                run("gzip", &["-t"]);
            }
            ArchiveFormat::TarZst => {
                run("zstd", &["-q", "-t"]);
            }
        }
        if format != ArchiveFormat::Zip && (format == ArchiveFormat::TarGz || need("zstd")) {
            let names = run("tar", &["-t", "-f"]).unwrap_or_default();
            assert!(names.starts_with(&format!("{STEM}/\n{STEM}/LICENSE\n")), "{names}");
        }
        // Python reads Zstandard only from version 3.14 on.
        if format != ArchiveFormat::TarZst && need("python3") {
            let seen = succeed(Command::new("python3").args(["-c", listing]).arg(&path));
            let modes: Vec<_> = seen.lines().collect();
            assert_eq!(modes.len(), files().len() + 5, "{seen}");
            assert!(seen.contains(&format!("{STEM}/bin/tool 0o")), "{seen}");
        }
    }
}

#[test]
fn incompressible_content_is_stored_in_a_zip() {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(5000)
    .collect();
    let packed = pack(options(ArchiveFormat::Zip), &[("noise", false, noise.clone())]);
    assert!(packed.bytes.windows(noise.len()).any(|window| window == noise));
    let mut inspector = Inspector::default();
    inspector.inspect(ArchiveFormat::Zip, &packed.bytes, STEM, 5000).unwrap();
}

#[test]
fn files_that_change_meanwhile_are_noticed() {
    for format in FORMATS {
        for size in [4, 6] {
            let mut writer = Writer::new(&STEM.parse().unwrap(), options(format));
            let failure = writer.append("a", false, size, &mut &b"12345"[..]).unwrap_err();
            assert_eq!(failure.code(), Code::Io);
            assert!(failure.to_string().contains("`a`"), "{failure}");
            assert!(writer.finish().is_err());
        }
    }
}

#[test]
fn what_cannot_be_packed_is_refused_by_name() {
    let long = format!("{}/x", "d".repeat(150));
    for (path, format) in
        [("../a", ArchiveFormat::Zip), ("nul", ArchiveFormat::TarGz), (long.as_str(), ArchiveFormat::TarZst)]
    {
        let mut writer = Writer::new(&STEM.parse().unwrap(), options(format));
        let failure = writer.append(path, false, 0, &mut std::io::empty()).unwrap_err();
        assert_eq!(failure.code(), Code::IncludeRefused);
        assert!(failure.to_string().contains(path.trim_end_matches("/x")), "{failure}");
    }
    let empty = Writer::new(&STEM.parse().unwrap(), options(ArchiveFormat::Zip)).finish().unwrap_err();
    assert_eq!(empty.code(), Code::IncludeRefused);
    for (format, level) in [(ArchiveFormat::TarGz, 13), (ArchiveFormat::TarZst, 23), (ArchiveFormat::Zip, 0)] {
        let options = Options { level: Some(level), ..options(format) };
        assert_eq!(options.checked_level().unwrap_err().code(), Code::ConfigInvalid);
    }
}
