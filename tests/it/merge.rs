//! Bundles of several machines, joined to the one that a single machine would have made.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::index::Index;

use super::fixture::{Files, read_directory};
use super::support::{Scratch, commit, consign, git};
use super::workspaces::{Ran, bundle, configured, json, litter, run};

const PLATFORMS: [&str; 3] = ["linux-amd64", "linux-arm64", "windows-amd64"];
const SETTINGS: &str = "platforms = [\"linux-amd64\", \"linux-arm64\", \"windows-amd64\"]\n";

/// A workspace with three platforms, and programs for them that were built elsewhere.
struct Forge {
    workspace: Scratch,
    outside: Scratch,
}

impl Forge {
    fn new() -> Self {
        Self::with(SETTINGS)
    }

    fn with(settings: &str) -> Self {
        let forge = Self { workspace: configured(settings), outside: Scratch::new() };
        for platform in PLATFORMS {
            forge.program(platform, &format!("the program of {platform}\n").repeat(50));
        }
        forge
    }

    fn program(&self, platform: &str, content: &str) {
        let ending = if platform.starts_with("windows") { ".exe" } else { "" };
        self.outside.write(&format!("built/{platform}/tool{ending}"), content);
    }

    fn path(&self) -> &Utf8Path {
        self.workspace.path()
    }

    fn part(&self, name: &str) -> Utf8PathBuf {
        self.outside.path().join("parts").join(name)
    }

    /// Packages some platforms, as a machine does that has nothing else, and carries the bundle away.
    fn package(&self, name: &str, arguments: &[&str]) -> Utf8PathBuf {
        let built = self.outside.path().join("built");
        json(self.path(), &[&["package", "--binaries", built.as_str()], arguments].concat()).passed();
        let part = self.part(name);
        fs_err::create_dir_all(part.parent().unwrap()).unwrap();
        fs_err::rename(bundle(self.path()), &part).unwrap();
        fs_err::remove_dir_all(self.path().join("dist")).unwrap();
        part
    }

    /// One part for each platform.
    fn parts(&self, arguments: &[&str]) {
        for platform in PLATFORMS {
            self.package(platform, &[&["--platform", platform], arguments].concat());
        }
    }

    fn merge(&self, arguments: &[&str]) -> Ran {
        let parts = self.outside.path().join("parts");
        json(self.path(), &[&["merge", parts.as_str()], arguments].concat())
    }

    /// What one machine makes of everything.
    fn whole(&self, arguments: &[&str]) -> Files {
        let whole = self.package("whole", arguments);
        let files = read_directory(&whole);
        fs_err::remove_dir_all(whole).unwrap();
        files
    }

    /// Nothing is left of a merge that was refused.
    #[track_caller]
    fn is_untouched(&self) {
        assert!(!self.path().join("dist/packages/v1.2.3").exists());
        if self.path().join("dist").exists() {
            assert_eq!(litter(self.path()), [""; 0]);
        }
    }
}

fn names(files: &Files) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_same(one: &Files, other: &Files) {
    assert_eq!(names(one), names(other));
    for (name, bytes) in one {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(*bytes == other[name], "{name}:\n{}\n{}", text(bytes), text(&other[name]));
    }
}

#[test]
fn parts_give_the_bytes_that_one_machine_gives() {
    for mode in ["validate", "release"] {
        // What builds is somebody else, so that no compiler for the other platforms is asked for.
        let forge = Forge::with(&format!("{SETTINGS}[build]\nbuilder = \"command\"\ncommand = [\"true\"]\n"));
        let whole = forge.whole(&["--mode", mode]);
        forge.parts(&["--mode", mode]);
        let merged = forge.merge(&["--mode", mode]).passed().json();
        assert_eq!(merged["packages"].as_array().unwrap().len(), 3);
        assert_same(&read_directory(&bundle(forge.path())), &whole);
        assert_eq!(litter(forge.path()), [""; 0]);
        // Once more, over what is there; and from two platforms in one part.
        fs_err::remove_dir_all(forge.part("linux-arm64")).unwrap();
        fs_err::remove_dir_all(forge.part("windows-amd64")).unwrap();
        forge.package("others", &["--mode", mode, "--platform", "windows-amd64,linux-arm64"]);
        forge.merge(&["--mode", mode]).passed();
        assert_same(&read_directory(&bundle(forge.path())), &whole);
    }
}

#[test]
fn what_was_compiled_is_described_as_one_machine_describes_it() {
    // Crates of every kind: a path, features per platform, a build script's, one that only Windows takes.
    let workspace = super::workspaces::workspace_of(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"tool\", \"lib-a\", \"lib_b\", \"script\", \"macros\", \"win\"]\nresolver = \"2\"\n",
        ),
        ("consign.toml", SETTINGS),
        (
            "tool/Cargo.toml",
            "[package]\nname = \"tool\"\nversion = \"1.2.3\"\nedition = \"2021\"\nlicense = \"mit/apache-2.0\"\nauthors = [\"Ann (A) <ann@example.com>\"]\nrepository = \"https://github.com/example/tool\"\n[dependencies]\nlib-a = { path = \"../lib-a\", version = \"0.1\" }\nmacros = { path = \"../macros\", version = \"0.1\" }\n[build-dependencies]\nscript = { path = \"../script\", version = \"0.1\" }\n[target.'cfg(windows)'.dependencies]\nwin = { path = \"../win\", version = \"0.1\" }\n[target.'cfg(target_arch = \"aarch64\")'.dependencies]\nscript = { path = \"../script\", version = \"0.1\" }\n",
        ),
        ("tool/src/main.rs", "fn main() {}\n"),
        ("tool/build.rs", "fn main() {}\n"),
        (
            "lib-a/Cargo.toml",
            "[package]\nname = \"lib-a\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlicense = \"nobody's own\"\ndescription = \"Says\\n\\u001b[31mred\"\n[dependencies]\nlib_b = { path = \"../lib_b\", version = \"0.1\" }\n",
        ),
        ("lib-a/src/lib.rs", ""),
        (
            "lib_b/Cargo.toml",
            "[package]\nname = \"lib_b\"\nversion = \"0.1.0\"\nedition = \"2021\"\nrepository = \"https://example.com/bee/lib_b\"\n",
        ),
        ("lib_b/src/lib.rs", ""),
        (
            "script/Cargo.toml",
            "[package]\nname = \"script\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlib_b = { path = \"../lib_b\", version = \"0.1\" }\n",
        ),
        ("script/src/lib.rs", ""),
        (
            "macros/Cargo.toml",
            "[package]\nname = \"macros\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
        ),
        ("macros/src/lib.rs", ""),
        ("win/Cargo.toml", "[package]\nname = \"win\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlicense = \"MIT\"\n"),
        ("win/src/lib.rs", ""),
    ]);
    let forge = Forge { workspace, ..Forge::new() };
    let whole = forge.whole(&[]);
    let sbom = String::from_utf8_lossy(&whole["sbom.cdx.json"]).into_owned();
    for what in ["nobody's own", "consign:platform:windows-amd64", "\"excluded\"", "Ann [A]", "bee"] {
        assert!(sbom.contains(what), "{what}: {sbom}");
    }
    forge.parts(&[]);
    forge.merge(&[]).passed();
    assert_same(&read_directory(&bundle(forge.path())), &whole);
}

#[test]
fn a_platform_that_was_built_twice_has_to_be_the_same() {
    let forge = Forge::new();
    forge.parts(&[]);
    forge.package("again", &["--platform", "linux-amd64"]);
    forge.merge(&[]).passed();
    fs_err::remove_dir_all(forge.path().join("dist")).unwrap();
    fs_err::remove_dir_all(forge.part("again")).unwrap();
    forge.program("linux-amd64", "another program\n");
    forge.package("again", &["--platform", "linux-amd64"]);
    let error = forge.merge(&[]).failed(4, "parts_disagree");
    assert_eq!(error["subject"], "linux-amd64");
    assert!(error["hint"].as_str().unwrap().contains("rebuild"), "{error}");
    forge.is_untouched();
}

#[test]
fn a_part_of_something_else_is_refused() {
    let forge = Forge::new();
    forge.parts(&[]);
    let refused = |arguments: &[&str], code: i32, word: &str, says: &str| {
        let error = forge.merge(arguments).failed(code, word);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
        forge.is_untouched();
    };
    // Another mode.
    refused(&["--mode", "release"], 3, "build_stale", "packaged in mode validate");
    // A platform too few, and one too many.
    refused(
        &["--platform", "linux-amd64,linux-arm64,windows-amd64,macos-arm64"],
        3,
        "build_missing",
        "no part has macos-arm64",
    );
    refused(&["--platform", "linux-amd64"], 3, "build_stale", "which is not planned");
    // Changes here.
    forge.workspace.write("src/main.rs", "fn main() {}\n");
    refused(&[], 6, "tree_dirty", "the working tree has changes");
    // Another commit.
    commit(forge.path(), "fix: another commit");
    refused(&[], 3, "build_stale", "was made from");
    // Another version.
    git(forge.path(), &["reset", "-q", "--hard", "HEAD~1"]);
    let manifest = fs_err::read_to_string(forge.path().join("Cargo.toml")).unwrap();
    forge.workspace.write("Cargo.toml", manifest.replace("1.2.3", "1.2.4"));
    forge.workspace.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"tool\"\nversion = \"1.2.4\"\n");
    commit(forge.path(), "chore: 1.2.4");
    let error = run(consign(forge.path()).env("CONSIGN_VERSION", "v1.2.4").args([
        "--format",
        "json",
        "merge",
        forge.part("").as_str(),
    ]))
    .failed(3, "build_stale");
    assert!(error["message"].as_str().unwrap().contains("is tool v1.2.3, and this is tool v1.2.4"), "{error}");
    // Another product.
    git(forge.path(), &["reset", "-q", "--hard", "HEAD~1"]);
    forge.workspace.write("consign.toml", format!("name = \"other\"\n{SETTINGS}"));
    commit(forge.path(), "chore: a name");
    refused(&[], 3, "build_stale", "and this is other v1.2.3");
}

#[test]
fn a_part_from_changes_that_are_in_no_commit_is_refused() {
    let forge = Forge::new();
    forge.parts(&[]);
    forge.workspace.write("src/main.rs", "fn main() {}\n");
    fs_err::remove_dir_all(forge.part("linux-arm64")).unwrap();
    forge.package("linux-arm64", &["--platform", "linux-arm64"]);
    git(forge.path(), &["checkout", "-q", "."]);
    let error = forge.merge(&[]).failed(6, "tree_dirty");
    assert!(error["message"].as_str().unwrap().contains("linux-arm64"), "{error}");
    forge.is_untouched();
}

#[test]
fn a_part_that_was_tampered_with_is_refused() {
    let forge = Forge::new();
    forge.parts(&[]);
    let part = forge.part("linux-arm64");
    let files = read_directory(&part);
    let index: Index = serde_json::from_slice(&files["index.json"]).unwrap();
    let archive = index.packages[0].archive.as_str();
    let changed = [files[archive].split_last().unwrap().1, b"x"].concat();
    for (name, bytes) in [(archive, changed), ("checksums.txt", files["checksums.txt"].to_ascii_uppercase())] {
        fs_err::write(part.join(name), bytes).unwrap();
        let ran = forge.merge(&[]);
        assert_eq!(ran.code, 4, "{name}: {}", ran.out);
        assert!(ran.json()["message"].as_str().unwrap().contains("does not verify"), "{}", ran.out);
        forge.is_untouched();
        fs_err::write(part.join(name), &files[name]).unwrap();
    }
    for missing in ["provenance.json", "sbom.spdx.json", "index.json", archive] {
        fs_err::remove_file(part.join(missing)).unwrap();
        let ran = forge.merge(&[]);
        assert_eq!((ran.code, ran.json()["subject"].as_str()), (4, Some(missing)), "{}", ran.out);
        forge.is_untouched();
        fs_err::write(part.join(missing), &files[missing]).unwrap();
    }
    fs_err::write(part.join("stranger"), "x").unwrap();
    forge.merge(&[]).failed(4, "file_unlisted");
    fs_err::remove_file(part.join("stranger")).unwrap();
    forge.merge(&[]).passed();
}

#[test]
fn a_part_that_was_made_with_other_settings_is_refused() {
    let forge = Forge::new();
    forge.parts(&[]);
    fs_err::remove_dir_all(forge.part("linux-arm64")).unwrap();
    forge.package("linux-arm64", &["--platform", "linux-arm64", "--profile", "other"]);
    let error = forge.merge(&[]).failed(4, "parts_disagree");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("linux-arm64") && message.contains("they differ in `profile`"), "{error}");
    forge.is_untouched();
}

#[test]
fn nothing_to_merge_is_said() {
    let forge = Forge::new();
    forge.merge(&[]).failed(4, "bundle_missing");
    forge.outside.write("parts/empty/note.txt", "x");
    forge.merge(&[]).failed(4, "bundle_missing");
    forge.is_untouched();
    assert_eq!(json(forge.path(), &["merge"]).code, 2);
}

#[test]
fn the_platforms_are_those_of_the_parts_where_nobody_names_any() {
    let forge = Forge::with("");
    for platform in ["linux-amd64", "windows-amd64"] {
        forge.package(platform, &["--platform", platform]);
    }
    let merged = forge.merge(&[]).passed().json();
    assert_eq!(merged["packages"].as_array().unwrap().len(), 2);
}

#[test]
fn signatures_of_parts_are_left_behind() {
    let forge = Forge::new();
    forge.parts(&[]);
    let key = forge.outside.path().join("release.pem");
    json(forge.path(), &["key", "generate", "--out", key.as_str()]).passed();
    run(consign(forge.path()).args(["sign", "--key", key.as_str(), forge.part("linux-arm64").as_str()])).passed();
    let merged = forge.merge(&[]).passed();
    assert!(merged.err.contains("is not taken along"), "{}", merged.err);
    assert!(names(&read_directory(&bundle(forge.path()))).iter().all(|name| !name.contains(".sig")));
}

#[test]
fn a_merge_that_was_killed_anywhere_is_finished_by_running_it_again() {
    let forge = Forge::new();
    let whole = forge.whole(&[]);
    forge.parts(&[]);
    let parts = forge.part("");
    let arguments = ["--format", "ndjson", "merge", parts.as_str()];
    let told = run(consign(forge.path()).args(arguments)).passed().out.lines().count();
    assert!(told > 20, "{told}");
    for moment in 0..told {
        if moment % 2 == 0 {
            fs_err::remove_dir_all(forge.path().join("dist")).unwrap();
        }
        let mut child =
            consign(forge.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        assert_eq!(BufReader::new(child.stdout.take().unwrap()).lines().take(moment).count(), moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let visible = forge.path().join("dist/packages/v1.2.3");
        if visible.exists() {
            assert_same(&read_directory(&visible), &whole);
        }
        run(consign(forge.path()).args(arguments)).passed();
        assert_same(&read_directory(&bundle(forge.path())), &whole);
        assert_eq!(litter(forge.path()), [""; 0], "killed after event {moment}");
    }
}
