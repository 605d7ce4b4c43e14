//! What goes into a program is found as cargo compiles it, and written so that others accept it.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests run the judges of both formats")]

use std::collections::BTreeMap;
use std::process::Command;

use camino::Utf8Path;
use consign::model::sbom::{ComponentKey, Inventory, Packed, Product, Resolved, Role, cyclonedx, spdx};
use consign::model::{Code, Digest, Platform};
use consign::world::resolve::{Query, resolve};

use crate::support::{self, Scratch};

const LINUX: &str = "x86_64-unknown-linux-gnu";
const WINDOWS: &str = "x86_64-pc-windows-gnu";
const EVIL: &str = "Eve \\\"Q\\\" (x)\\n\\u001b[31m <eve@example.org>";

fn query(directory: &Utf8Path, package: &str, target: &str) -> Query {
    Query {
        manifest_path: directory.join("Cargo.toml"),
        packages: vec![package.to_owned()],
        target: target.to_owned(),
        host: LINUX.to_owned(),
        features: Vec::new(),
        all_features: false,
        no_default_features: false,
        locked: false,
    }
}

/// A virtual workspace with every kind of dependency, and a git repository beside it.
fn workspace() -> Scratch {
    let scratch = Scratch::new();
    let library = |path: &str, more: &str| {
        let name = path.rsplit('/').next().unwrap();
        scratch.write(
            &format!("{path}/Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}"),
        );
        scratch.write(&format!("{path}/src/lib.rs"), "");
    };
    library("git/from-git", "license = \"mit\"\n");
    let repository = scratch.path().join("git/from-git");
    support::git(&repository, &["init", "-q"]);
    support::commit(&repository, "feat: begin");

    scratch.write("w/Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"app\", \"member\"]\n");
    let from_git = format!("from-git = {{ git = \"file://{repository}\" }}\n");
    library("w/member", "[dependencies]\nextra = { path = \"../../d/extra\" }\n");
    scratch.write("w/app/src/main.rs", "fn main() {}\n");
    scratch.write("w/app/build.rs", "fn main() {}\n");
    let manifest = format!(
        "[package]
name = \"app\"
version = \"1.2.3+build.5\"
edition = \"2021\"
authors = [\"{EVIL}\"]
license = \"NONE AND\"
description = \"one\\ntwo \\u202e\\\"three\\\"\"
repository = \"https://user:canary@example.org/x y\"
[features]
more = [\"dep:extra\"]
[dependencies]
linked = {{ path = \"../../d/linked\" }}
other_name = {{ path = \"../../d/real-name\", package = \"real-name\" }}
maker = {{ path = \"../../d/maker\" }}
extra = {{ path = \"../../d/extra\", optional = true }}
{from_git}
[build-dependencies]
builder = {{ path = \"../../d/builder\" }}
[dev-dependencies]
dev-only = {{ path = \"../../d/dev-only\" }}
[target.'cfg(windows)'.dependencies]
for-windows = {{ path = \"../../d/for-windows\" }}
"
    );
    scratch.write("w/app/Cargo.toml", manifest);
    library("d/linked", "license = \"MIT/Apache-2.0\"\n[dependencies]\nshared = { path = \"../shared\" }\n");
    library("d/real-name", "license = \"LicenseRef-own\"\nauthors = [\"The Name Developers\"]\n");
    library("d/maker", "[lib]\nproc-macro = true\n[dependencies]\nbelow-maker = { path = \"../below-maker\" }\n");
    library("d/below-maker", "");
    library(
        "d/builder",
        "[dependencies]\nshared = { path = \"../shared\", features = [\"heavy\"] }\n[target.'cfg(unix)'.dependencies]\nfor-host = { path = \"../for-host\" }\n",
    );
    library(
        "d/shared",
        "[features]\nheavy = [\"dep:weight\"]\n[dependencies]\nweight = { path = \"../weight\", optional = true }\n",
    );
    for plain in ["weight", "for-host", "extra", "dev-only", "for-windows"] {
        library(&format!("d/{plain}"), "");
    }
    scratch
}

fn roles(resolved: &Resolved) -> BTreeMap<&str, Role> {
    resolved.components.iter().map(|(key, component)| (key.name.as_str(), component.role)).collect()
}

fn find<'a>(resolved: &'a Resolved, name: &str) -> &'a ComponentKey {
    resolved.components.keys().find(|key| key.name == name).expect(name)
}

fn inventory(packed: &[(&str, &Resolved)]) -> Inventory {
    let product = Product {
        name: "app".parse().unwrap(),
        version: "1.2.3+build.5".parse().unwrap(),
        created: "2025-01-02T03:04:05Z".parse().unwrap(),
        repository: Some("https://u:canary@git.example.com/example/app".to_owned()),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
    };
    let archive = |(platform, resolved): &(&str, &Resolved)| {
        let platform: Platform = platform.parse().unwrap();
        let name = format!("app-1.2.3+build.5-{platform}.tar.gz");
        let binaries = ["bin/b", "bin/a"].map(|path| (path.to_owned(), Digest::of(path.as_bytes())));
        Packed {
            sha256: Digest::of(name.as_bytes()),
            name: name.parse().unwrap(),
            platform,
            binaries: binaries.to_vec(),
            resolved: (*resolved).clone(),
        }
    };
    Inventory::assemble(product, packed.iter().map(archive).collect())
}

/// Whether a module of Python is there, for the judges that are no commands.
pub fn need_python(module: &str) -> bool {
    let found = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    support::missing_unless(found.is_ok_and(|output| output.status.success()), &format!("python3's {module}"))
}

fn assert_accepted(inventory: &Inventory) {
    let scratch = Scratch::new();
    let spdx = scratch.write("sbom.spdx.json", spdx::render(inventory));
    let cyclonedx = scratch.write("sbom.cdx.json", cyclonedx::render(inventory));
    if support::need("pyspdxtools") {
        let said = support::succeed(Command::new("pyspdxtools").args(["-i", spdx.as_str()]));
        assert!(!said.to_lowercase().contains("invalid"), "{said}");
    }
    if support::need("ntia-checker") {
        support::succeed(Command::new("ntia-checker").arg(&spdx));
    }
    if need_python("cyclonedx.validation.json") {
        let program = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(error) if error else 0)";
        support::succeed(Command::new("python3").args(["-c", program, cyclonedx.as_str()]));
    }
    for described in [spdx::described(&spdx::render(inventory)), cyclonedx::described(&cyclonedx::render(inventory))] {
        let described = described.unwrap();
        assert_eq!((&described.name, &described.version), (&inventory.name, &inventory.version));
        let archives = inventory.archives.iter().map(|archive| (archive.name.clone(), archive.sha256)).collect();
        assert_eq!(described.archives, archives);
    }
}

#[test]
fn what_is_compiled_is_found_and_nothing_else() {
    let scratch = workspace();
    let directory = scratch.path().join("w");
    let linux = resolve(&query(&directory, "app", LINUX)).unwrap();
    let expected = BTreeMap::from([
        ("app", Role::Runtime),
        ("below-maker", Role::Build),
        ("builder", Role::Build),
        ("for-host", Role::Build),
        ("from-git", Role::Runtime),
        ("linked", Role::Runtime),
        ("maker", Role::Build),
        ("real-name", Role::Runtime),
        ("shared", Role::Runtime),
        // Only the build script's copy of `shared` has the feature that needs it.
        ("weight", Role::Build),
    ]);
    assert_eq!(roles(&linux), expected);
    assert_eq!(linux.roots.iter().collect::<Vec<_>>(), [find(&linux, "app")]);

    let app = &linux.components[find(&linux, "app")];
    assert_eq!(app.depends_on[find(&linux, "builder")], Role::Build);
    assert_eq!(app.depends_on[find(&linux, "maker")], Role::Build);
    assert_eq!(app.depends_on[find(&linux, "linked")], Role::Runtime);
    assert_eq!(app.repository.as_deref(), Some("https://example.org/x y"));
    assert_eq!(find(&linux, "linked").source, "");
    let git = &find(&linux, "from-git").source;
    assert!(git.starts_with("git+file://") && git.contains('#'), "{git}");

    let windows = resolve(&query(&directory, "app", WINDOWS)).unwrap();
    let mut with_windows = expected.clone();
    with_windows.insert("for-windows", Role::Runtime);
    assert_eq!(roles(&windows), with_windows, "build scripts run on the host, so `for-host` stays");

    for features in [vec!["more".to_owned()], vec!["app/more".to_owned()]] {
        let more = resolve(&Query { features, ..query(&directory, "app", LINUX) }).unwrap();
        assert_eq!(roles(&more)["extra"], Role::Runtime);
    }
    let all = resolve(&Query { all_features: true, ..query(&directory, "app", LINUX) }).unwrap();
    assert!(roles(&all).contains_key("extra"));
    let both = Query { packages: vec!["app".to_owned(), "member".to_owned()], ..query(&directory, "app", LINUX) };
    assert_eq!(resolve(&both).unwrap().roots.len(), 2);
}

#[test]
fn hostile_manifests_become_documents_that_the_judges_accept() {
    let scratch = workspace();
    let directory = scratch.path().join("w");
    let linux = resolve(&query(&directory, "app", LINUX)).unwrap();
    let windows = resolve(&query(&directory, "app", WINDOWS)).unwrap();
    let inventory = inventory(&[("linux-amd64", &linux), ("windows-amd64-gnu", &windows)]);
    assert_accepted(&inventory);
    let warnings = inventory.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("\"NONE AND\""), "{warnings:?}");

    for document in [spdx::render(&inventory), cyclonedx::render(&inventory)] {
        let text = String::from_utf8(document).unwrap();
        assert!(text.contains("\"MIT OR Apache-2.0\""));
        assert!(
            text.contains("pkg:cargo/app@1.2.3%2Bbuild.5?vcs_url=git%2Bhttps://git.example.com/example/app%40012345")
        );
        assert!(!text.contains("canary") && !text.contains("eve@example.org"));
        assert!(!text.contains(scratch.path().as_str()), "a place on this machine is in the document");
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    }
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let scratch = workspace();
    let directory = scratch.path().join("w");
    let linux = resolve(&query(&directory, "app", LINUX)).unwrap();
    let windows = resolve(&query(&directory, "app", WINDOWS)).unwrap();
    let one = inventory(&[("linux-amd64", &linux), ("windows-amd64-gnu", &windows)]);
    let other = inventory(&[("windows-amd64-gnu", &windows), ("linux-amd64", &linux)]);
    assert_eq!(one, other);
    assert_eq!(spdx::render(&one), spdx::render(&other));
    assert_eq!(cyclonedx::render(&one), cyclonedx::render(&other));
    let only = inventory(&[("linux-amd64", &linux)]);
    let namespace = |inventory: &Inventory| {
        let text = String::from_utf8(spdx::render(inventory)).unwrap();
        text.lines().find(|line| line.contains("documentNamespace")).unwrap().to_owned()
    };
    assert_ne!(namespace(&one), namespace(&only), "another content, another namespace");
}

#[test]
fn a_document_that_was_changed_does_not_describe_the_archives() {
    let scratch = workspace();
    let linux = resolve(&query(&scratch.path().join("w"), "app", LINUX)).unwrap();
    let inventory = inventory(&[("linux-amd64", &linux)]);
    let good = spdx::described(&spdx::render(&inventory)).unwrap();
    let digest = good.archives.values().next().unwrap().to_string();
    for (document, read) in [
        (spdx::render(&inventory), spdx::described as fn(&[u8]) -> _),
        (cyclonedx::render(&inventory), cyclonedx::described),
    ] {
        let text = String::from_utf8(document).unwrap();
        let other = text.replace(&digest, &Digest::of(b"other").to_string());
        assert!(read(other.as_bytes()).is_err(), "the number that is made of the content is another one");
        for wrong in [
            text.replacen('{', "{\"surprise\": 1,", 1),
            text.replace("SHA256", "SHA1").replace("SHA-256", "SHA-1"),
            text.replace("\"ARCHIVE\"", "\"LIBRARY\"").replace("\"file\"", "\"library\""),
            text.replace("app-1.2.3+build.5-linux", "../app-1.2.3+build.5-linux"),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ] {
            assert!(read(wrong.as_bytes()).is_err());
        }
    }
}

#[test]
fn what_cargo_refuses_has_a_code_and_a_way_out() {
    let scratch = workspace();
    let directory = scratch.path().join("w");
    let locked = Query { locked: true, ..query(&directory, "app", LINUX) };
    assert_eq!(resolve(&locked).unwrap_err().code(), Code::LockMissing);
    resolve(&query(&directory, "app", LINUX)).unwrap();
    resolve(&locked).unwrap();

    let before = fs_err::read(directory.join("Cargo.lock")).unwrap();
    scratch.write("d/late/Cargo.toml", "[package]\nname = \"late\"\nversion = \"0.1.0\"\n");
    scratch.write("d/late/src/lib.rs", "");
    scratch.write("d/weight/Cargo.toml", "[package]\nname = \"weight\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nlate = { path = \"../late\" }\n");
    let stale = resolve(&locked).unwrap_err();
    assert_eq!(stale.code(), Code::LockOutdated);
    assert!(stale.way_out().is_some());
    assert_eq!(fs_err::read(directory.join("Cargo.lock")).unwrap(), before, "the lock file was not touched");

    let unknown = resolve(&query(&directory, "no-such", LINUX)).unwrap_err();
    assert_eq!(unknown.code(), Code::PackageUnknown);
    let nowhere = resolve(&query(&scratch.path().join("nowhere"), "app", LINUX)).unwrap_err();
    assert!(matches!(nowhere.code(), Code::WorkspaceMissing | Code::CommandFailed), "{nowhere:?}");
    scratch.write("w/Cargo.toml", "[workspace\n");
    assert_eq!(resolve(&locked).unwrap_err().code(), Code::WorkspaceInvalid);
}

#[test]
fn a_dependency_with_the_name_of_a_member_is_told_apart() {
    let scratch = Scratch::new();
    scratch.write("old/Cargo.toml", "[package]\nname = \"tool\"\nversion = \"0.9.0\"\nedition = \"2021\"\n");
    scratch.write("old/src/lib.rs", "");
    scratch.write(
        "w/Cargo.toml",
        "[package]\nname = \"tool\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nold = { path = \"../old\", package = \"tool\" }\n",
    );
    scratch.write("w/src/main.rs", "fn main() {}\n");
    let resolved = resolve(&query(&scratch.path().join("w"), "tool", LINUX)).unwrap();
    let versions: Vec<_> = resolved.components.keys().map(|key| key.version.to_string()).collect();
    assert_eq!(versions, ["0.9.0", "1.0.0"]);
    assert_eq!(resolved.roots.iter().next().unwrap().version.to_string(), "1.0.0");
}

#[test]
fn two_crates_of_one_name_and_version_are_told_apart_by_their_source() {
    let scratch = Scratch::new();
    for (place, licence) in [("git", "MIT"), ("path", "ISC")] {
        let manifest =
            format!("[package]\nname = \"same\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlicense = \"{licence}\"\n");
        scratch.write(&format!("{place}/Cargo.toml"), manifest);
        scratch.write(&format!("{place}/src/lib.rs"), "");
    }
    let repository = scratch.path().join("git");
    support::git(&repository, &["init", "-q"]);
    support::commit(&repository, "feat: begin");
    scratch.write("w/src/main.rs", "fn main() {}\n");
    let manifest = format!(
        "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\none = {{ path = \"../path\", package = \"same\" }}\ntwo = {{ git = \"file://{repository}\", branch = \"main\", package = \"same\" }}\n"
    );
    scratch.write("w/Cargo.toml", manifest);
    let resolved = resolve(&query(&scratch.path().join("w"), "app", LINUX)).unwrap();
    let mut licences = BTreeMap::new();
    for (key, component) in resolved.components.iter().filter(|(key, _)| key.name == "same") {
        licences.insert(key.source.starts_with("git+"), component.licence.as_deref().unwrap());
    }
    assert_eq!(licences, BTreeMap::from([(false, "ISC"), (true, "MIT")]));
    let inventory = inventory(&[("linux-amd64", &resolved)]);
    assert_accepted(&inventory);
}

#[test]
fn this_very_workspace_is_described_as_the_judges_like_it() {
    let directory = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let resolved = resolve(&Query { locked: true, ..query(directory, "consign", LINUX) }).unwrap();
    let roles = roles(&resolved);
    assert_eq!(roles["consign"], Role::Runtime);
    assert_eq!(roles["ring"], Role::Runtime);
    assert_eq!(roles["clap_derive"], Role::Build);
    assert_eq!(roles["cc"], Role::Build);
    assert!(!roles.contains_key("proptest"), "a dependency of tests is not part of the program");
    assert!(!roles.contains_key("windows-sys"), "it is not compiled for linux");
    let ring = &resolved.components[find(&resolved, "ring")];
    assert!(ring.checksum.is_some() && ring.depends_on[find(&resolved, "cc")] == Role::Build);
    let without_checksum = resolved.components.values().filter(|component| component.checksum.is_none());
    assert_eq!(without_checksum.count(), 1, "all but this package come from the registry");
    assert!(roles.len() > 100 && roles.len() < 250, "{}", roles.len());

    let inventory = inventory(&[("linux-amd64", &resolved)]);
    assert_eq!(inventory.warnings(), Vec::<String>::new());
    assert_accepted(&inventory);
}
