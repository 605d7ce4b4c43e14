//! What an attacker tries with documents, with files of other releases, against the command itself.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use consign::model::index::ArchiveFormat;
use consign::model::metadata::PackageMetadata;
use consign::model::provenance::ResolvedDependency;
use consign::model::{Digest, Platform, sbom};
use consign::trust::documents;
use consign::trust::dsse;
use consign::trust::key;
use consign::trust::signatures::{Entry, Signatures};

use crate::attacked::{Bench, VERIFY, all_refused, edited};
use crate::fixture::{self, Files, bundle_fixture, recipe, signed_with};
use crate::signed_verify::{archive, borrowed, scene, set_list, with};

/// Signs what no command would sign: each file as it is.
fn signed_as_it_is(mut files: Files) -> Files {
    files.retain(|name, _| !documents::is_evidence(name));
    let key = scene().key.as_ref();
    let row = |(name, bytes): (&String, &Vec<u8>)| Entry {
        file: name.parse().unwrap(),
        sha256: Digest::of(bytes),
        signature: key::sign(key, bytes).unwrap(),
        algorithm: key.public().algorithm(),
        key_id: key.public().id(),
    };
    let entries = files.iter().map(row).collect();
    set_list(&mut files, entries);
    files
}

/// A bundle with another document, in which whatever names that document's digest names the new one.
fn consistent(name: &str, bytes: &[u8]) -> Files {
    let mut files = bundle_fixture();
    let old = files.insert(name.to_owned(), bytes.to_vec()).unwrap();
    let mut changes = vec![(Digest::of(&old).to_string(), Digest::of(bytes).to_string())];
    let mut index = documents::read_index(&files["index.json"]).unwrap_or_else(|_| recipe().index);
    if let Some(file) = index.files.iter_mut().find(|file| file.name.as_str() == name) {
        file.size_bytes = bytes.len() as u64;
        let old = files.insert("index.json".to_owned(), index.render()).unwrap();
        changes.push((Digest::of(&old).to_string(), Digest::of(&index.render()).to_string()));
    }
    let after = ["index.json", "provenance.json", "checksums.txt"];
    let first = after.iter().position(|document| *document == name).map_or(0, |at| at + 1);
    for document in &after[first..] {
        let old = files[*document].clone();
        let text = String::from_utf8(old.clone()).unwrap();
        let new = changes.iter().fold(text, |text, (from, to)| text.replace(from, to)).into_bytes();
        changes.push((Digest::of(&old).to_string(), Digest::of(&new).to_string()));
        files.insert((*document).to_owned(), new);
    }
    files
}

/// A document in JSON in other words, none of which may be read: doubled keys, and what is no JSON or is
/// understood in two ways.
fn other_spellings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let key_after = |at: usize| {
        let start = at + text[at..].find('"').unwrap() + 1;
        text[start..start + text[start..].find('"').unwrap()].to_owned()
    };
    let doubled = |at: usize, spell: fn(&str) -> String, value: &str| {
        let key = spell(&key_after(at));
        format!("{}\"{key}\": {value}, {}", &text[..=at], &text[at + 1..])
    };
    let plain = |key: &str| key.to_owned();
    let escaped = |key: &str| format!("\\u{:04x}{}", key.as_bytes()[0], &key[1..]);
    let (outermost, innermost) = (text.find('{').unwrap(), text.rfind('{').unwrap());
    let last = text.rfind('}').unwrap();
    let value = text.find(": \"").map_or_else(|| text.find(":\"").unwrap() + 1, |at| at + 2);
    let instead = |other: &str| {
        let end = value + 1 + text[value + 1..].find('"').unwrap() + 1;
        format!("{}{other}{}", &text[..value], &text[end..])
    };
    let within = |bytes: &[u8]| [&text.as_bytes()[..=value], bytes, &text.as_bytes()[value + 1..]].concat();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts = [
        ("a doubled key", doubled(outermost, plain, "null")),
        ("a doubled key further in", doubled(innermost, plain, "null")),
        ("a doubled key in another spelling", doubled(outermost, escaped, "\"x\"")),
        ("a doubled key further in, in another spelling", doubled(innermost, escaped, "\"x\"")),
        ("a key too many", doubled(outermost, |_| "more".to_owned(), "1")),
        ("another document after it", format!("{text}{{}}")),
        ("itself after it", format!("{text}{text}")),
        ("a line after it", format!("{text}\n")),
        ("a comment", format!("{text}// x\n")),
        ("a zero byte after it", format!("{text}\0")),
        ("a line before it", format!("\n{text}")),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("other ends of lines", text.replace('\n', "\r\n")),
        ("no end", text[..last].to_owned()),
        ("a comma before the end", format!("{},{}", &text[..last], &text[last..])),
        ("in a list", format!("[{text}]")),
        ("depth", deep.clone()),
        ("depth without an end", "{\"a\":".repeat(100_000)),
        ("depth inside", instead(&deep)),
        ("no number", instead("NaN")),
        ("infinity", instead("1e999")),
        ("a number of a thousand digits", instead(&"9".repeat(1000))),
        ("a fraction", instead("1.0")),
        ("null", instead("null")),
        ("half a pair", instead("\"\\ud800\"")),
        ("an escaped control character", instead("\"\\u001b[2J\"")),
        ("an escaped zero", instead("\"\\u0000\"")),
        ("single quotes", text.replace('"', "'")),
        ("nothing", String::new()),
        ("a word", "null".to_owned()),
    ];
    let bytes = [
        ("no text", within(b"\xff")),
        ("an overlong character", within(b"\xc0\xaf")),
        ("a bare control character", within(b"\x1b")),
        ("another encoding", wide),
    ];
    texts.map(|(what, text)| (what, text.into_bytes())).into_iter().chain(bytes).collect()
}

/// Every spelling of a document is refused as that, though everything around it fits and is signed.
fn no_other_spelling(name: &str, put: impl Fn(&[u8]) -> Files, text: &[u8]) {
    for (what, bytes) in other_spellings(std::str::from_utf8(text).unwrap()) {
        assert_ne!(bytes, text, "{what}");
        let bench = Bench::new(&put(&bytes));
        let told = bench.refused(what, &mut bench.command(VERIFY), 4, &["document_invalid"]);
        assert_eq!(told["findings"][0]["file"], name, "{what}");
    }
}

#[test]
fn a_signed_document_has_one_spelling() {
    for name in ["index.json", "provenance.json", sbom::SPDX_FILE_NAME, sbom::CYCLONEDX_FILE_NAME] {
        let put = |bytes: &[u8]| signed_as_it_is(consistent(name, bytes));
        Bench::new(&put(&bundle_fixture()[name])).passes(VERIFY);
        no_other_spelling(name, put, &bundle_fixture()[name]);
    }
}

#[test]
fn evidence_has_one_spelling() {
    for name in ["signatures.json", "index.json.sigstore.json", dsse::FILE_NAME] {
        let put = |bytes: &[u8]| with(|files| _ = files.insert(name.to_owned(), bytes.to_vec()));
        no_other_spelling(name, put, &scene().files[name]);
    }
}

#[test]
fn a_list_of_checksums_has_one_form() {
    let text = String::from_utf8(bundle_fixture()["checksums.txt"].clone()).unwrap();
    let first = text.lines().next().unwrap();
    let (digest, name) = first.split_once("  ").unwrap();
    let named = |other: &str| text.replacen(name, other, 1);
    let mut rows = vec![
        ("CR LF", text.replace('\n', "\r\n")),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("no end", text.trim_end().to_owned()),
        ("an empty line", format!("{text}\n")),
        ("an empty line between", text.replacen('\n', "\n\n", 1)),
        ("nothing", String::new()),
        ("one line feed", "\n".to_owned()),
        ("BSD's form", text.replacen(first, &format!("SHA256 ({name}) = {digest}"), 1)),
        ("upper case", text.replacen(digest, &digest.to_uppercase(), 1)),
        ("one space", text.replacen("  ", " ", 1)),
        ("a tab", text.replacen("  ", "\t", 1)),
        ("three spaces", text.replacen("  ", "   ", 1)),
        ("the mark of a binary file", text.replacen("  ", " *", 1)),
        ("an escaped name", text.replacen(first, &format!("\\{digest}  {name}\\n"), 1)),
        ("a comment", format!("# x\n{text}")),
        ("another length", text.replacen(digest, &digest[..40], 1)),
        ("another length", text.replacen(digest, &format!("{digest}00"), 1)),
        ("a doubled line", text.replacen(first, &format!("{first}\n{first}"), 1)),
        ("a doubled name", text.replacen(first, &format!("{first}\n{}  {name}", "0".repeat(64)), 1)),
        ("another order", text.lines().rev().map(|line| format!("{line}\n")).collect()),
        ("a trailing space", text.replacen('\n', " \n", 1)),
    ];
    let long = "x".repeat(201);
    for other in [
        "../x",
        "/etc/x",
        "a/../b",
        "C:\\x",
        "..",
        ".",
        "",
        ".hidden",
        "-rf",
        "a b",
        "a\u{1b}[2J",
        "a\0",
        "\u{fc}",
        "a\u{202e}b",
        "a:b",
        "~",
        "a*",
        long.as_str(),
    ] {
        rows.push(("a name that is none", named(other)));
    }
    for (what, text) in rows {
        let files = signed_as_it_is(consistent("checksums.txt", text.as_bytes()));
        let bench = Bench::new(&files);
        let told = bench.refused(what, &mut bench.command(VERIFY), 4, &["document_invalid"]);
        assert_eq!(told["findings"][0]["file"], "checksums.txt", "{what}");
    }
}

#[test]
fn every_file_is_listed_once_and_there() {
    let whole = &scene().files;
    let name = archive();
    let line = |text: &str| text.lines().find(|line| line.ends_with(&name)).unwrap().to_owned() + "\n";
    let dropped = edited(&bundle_fixture(), "checksums.txt", |text| text.replace(&line(text), ""));
    let changed = {
        let mut files = dropped.clone();
        files.get_mut(&name).unwrap()[40] ^= 1;
        files
    };
    all_refused([
        ("a line is gone", signed_as_it_is(dropped), &["documents_disagree"][..]),
        (
            "a line is gone and its file is another",
            signed_as_it_is(changed),
            &["digest_mismatch", "documents_disagree"],
        ),
        (
            "a file that nobody lists",
            with(|files| _ = files.insert("notes.md".to_owned(), Vec::new())),
            &["file_unlisted"],
        ),
        ("a hidden file", with(|files| _ = files.insert(".x".to_owned(), Vec::new())), &["file_unlisted"]),
        (
            "a name of an asset in another case",
            with(|files| _ = files.insert("INDEX.json".to_owned(), Vec::new())),
            &["file_unlisted"],
        ),
        (
            "a signature of nothing",
            with(|files| _ = files.insert("x.sig".to_owned(), b"x".to_vec())),
            &["file_unlisted"],
        ),
        (
            "no SBOM",
            signed_as_it_is(recipe().bake_spoiled(|index| index.files.clear(), |_| {}, |_| {})),
            &["document_invalid"],
        ),
        (
            "no package",
            signed_as_it_is(recipe().bake_spoiled(|index| index.packages.clear(), |_| {}, |_| {})),
            &["document_invalid"],
        ),
    ]);
    for name in whole.keys().filter(|name| !documents::is_evidence(name)) {
        let bench = Bench::new(&with(|files| _ = files.remove(name)));
        let output = bench.unmoved(name, &mut bench.command(VERIFY), 4, "file_missing");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_it = |row: &serde_json::Value| row["code"] == "file_missing" && row["file"] == **name;
        assert!(told["findings"].as_array().unwrap().iter().any(is_it), "{told}");
    }
}

#[test]
fn nothing_is_read_beyond_its_bound() {
    let rows = [
        ("index.json", &["file_too_large"][..]),
        ("provenance.json", &["file_too_large", "subject_mismatch"]),
        ("checksums.txt", &["file_too_large"]),
        ("signatures.json", &["file_too_large"]),
        ("index.json.sig", &["file_too_large", "unsigned"]),
        (dsse::FILE_NAME, &["file_too_large"]),
        (sbom::SPDX_FILE_NAME, &["size_mismatch"]),
        (&archive(), &["size_mismatch"]),
    ];
    for (name, codes) in rows {
        let bench = Bench::new(&scene().files);
        let file = fs_err::OpenOptions::new().write(true).open(bench.path("bundle").join(name)).unwrap();
        file.set_len(2 << 30).unwrap();
        bench.refused(name, &mut bench.command(VERIFY), 4, codes);
    }
    let many =
        |entry: &Entry| (0..65_u32).map(|n| Entry { key_id: Digest::of(&n.to_le_bytes()), ..entry.clone() }).collect();
    let list = Signatures::read(&scene().files["signatures.json"]).unwrap();
    let many: Vec<Entry> = list.signatures.iter().flat_map(|entry: &Entry| -> Vec<Entry> { many(entry) }).collect();
    let many = Signatures::new(list.version, many).render();
    all_refused([(
        "sixty-five signatures",
        with(|files| _ = files.insert("signatures.json".to_owned(), many)),
        &["document_invalid"][..],
    )]);
}

type Spoil = fn(&mut PackageMetadata);

#[test]
fn files_of_two_releases_make_no_third() {
    let scene = scene();
    let by_the_owner = |files: &Files| signed_with(files, &[borrowed(scene.key.as_ref())]);
    let other = {
        let mut other = recipe();
        other.index.source.repository = Some("https://github.com/example/other".to_owned());
        let build = ResolvedDependency::source(other.index.source.repository.as_deref(), fixture::COMMIT);
        other.statement.predicate.build_definition.resolved_dependencies = vec![build];
        by_the_owner(&other.bake())
    };
    Bench::new(&other).passes(VERIFY);
    // A document of the other release, alone or with everything that is signed about it.
    for document in ["index.json", "provenance.json", "checksums.txt"] {
        let about = |name: &str| name == document || name.starts_with(&format!("{document}."));
        for also in ["", "signatures.json", dsse::FILE_NAME] {
            let mixed = with(|files| {
                files.extend(other.clone().into_iter().filter(|(name, _)| about(name) || name == also));
            });
            let bench = Bench::new(&mixed);
            bench.unmoved(&format!("{document} {also}"), &mut bench.command(VERIFY), 4, "\"code\"");
        }
    }
    // The right signatures around a program for another machine, of another product, version or commit.
    let spoils: [(&str, Spoil); 5] = [
        ("another platform", |it| it.platform = "macos-arm64".parse().unwrap()),
        ("another target", |it| it.target = "aarch64-apple-darwin".to_owned()),
        ("another product", |it| it.name = "other".parse().unwrap()),
        ("another version", |it| it.version = "1.0.1".parse().unwrap()),
        ("another commit", |it| it.commit = Some("f".repeat(40))),
    ];
    let platform: Platform = "linux-amd64".parse().unwrap();
    let program = "program of linux-amd64\n".repeat(40).into_bytes();
    for (what, spoil) in spoils {
        let mut metadata = fixture::metadata(platform);
        spoil(&mut metadata);
        let packed = fixture::archive(platform, ArchiveFormat::TarGz, &program, &metadata);
        let mut recipe = recipe();
        recipe.replace_archive("linux-amd64", packed.bytes, packed.unpacked_size_bytes);
        all_refused([(what, signed_as_it_is(recipe.bake()), &["documents_disagree"][..])]);
    }
    // A whole release in the place of another.
    let bench = Bench::new(&scene.files);
    fs_err::rename(bench.path("bundle"), bench.path("v2.0.0")).unwrap();
    bench.refused("another place", &mut bench.command("verify v2.0.0 --pubkey key.pub"), 4, &["documents_disagree"]);
    let line = "remote-verify --base-url v2.0.0 --pubkey key.pub";
    bench.refused("another place", &mut bench.command(line), 4, &["documents_disagree"]);
}

#[test]
fn what_moves_a_cursor_is_never_shown_as_itself() {
    let odd = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{61c}\u{feff}\r\u{8}";
    let escaped: String = odd.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let key = |text: &str, word: &str| text.replacen('{', &format!("{{\"{word}\": 1, "), 1);
    let mut rows: Vec<(String, Files)> = Vec::new();
    for word in [odd.replace(|c: char| c < ' ', ""), escaped.clone()] {
        for name in ["index.json", "provenance.json", "signatures.json", "index.json.sigstore.json", dsse::FILE_NAME] {
            rows.push((format!("a key in {name}"), edited(&scene().files, name, |text| key(text, &word))));
        }
        let named = |name: &str, from: &str| edited(&scene().files, name, |text| text.replacen(from, &word, 1));
        rows.push(("a media type".to_owned(), named("index.json.sigstore.json", "application/vnd")));
        rows.push(("a version".to_owned(), named("signatures.json", "1.0.0")));
        rows.push(("a tag".to_owned(), named("index.json", "v1.0.0")));
        rows.push(("a repository".to_owned(), named("index.json", "https://github.com")));
        rows.push(("a type".to_owned(), named("provenance.json", "https://in-toto.io")));
    }
    rows.push(("a line".to_owned(), edited(&scene().files, "checksums.txt", |text| format!("{odd}{text}"))));
    #[cfg(unix)]
    rows.push(("a file".to_owned(), with(|files| _ = files.insert(odd.to_owned(), Vec::new()))));
    for (what, files) in rows {
        let bench = Bench::new(&files);
        for format in ["json", "text", "ndjson"] {
            let what = format!("{what} as {format}");
            bench.unmoved(&what, &mut bench.command_as(format, VERIFY), 4, "_");
        }
    }
}
