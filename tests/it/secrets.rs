//! A secret that is near a release gets into no output and no file, whatever goes wrong.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::Read as _;
use std::process::Command;
use std::sync::LazyLock;

use camino::Utf8Path;
use consign::trust::key::Algorithm;
use consign::trust::private::PrivateKey;

use super::support::{Scratch, clean, commit, consign, git, need, small_workspace, succeed};
use super::workspaces::{Ran, bundle, files_below, run};

/// Searched for everywhere; it is never a word of anything else.
const CANARY: &str = "c4n4ry";

/// A workspace with the canary wherever a secret may lie.
fn surrounded() -> Scratch {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(".env", format!("TOKEN={CANARY}\n"));
    let manifest = fs_err::read_to_string(scratch.path().join("Cargo.toml")).unwrap();
    let manifest = manifest.replace("https://github.com", &format!("https://user:{CANARY}@github.com"));
    scratch.write("Cargo.toml", manifest);
    scratch.write(".gitignore", "/target\n/dist\n/.env\n/published\n");
    commit(scratch.path(), "feat: a repository with a password in it");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    git(scratch.path(), &["remote", "add", "origin", &format!("https://user:{CANARY}@example.com/x/tool.git")]);
    scratch
}

/// A key that signs, for what is no key would end every release.
static KEY: LazyLock<String> =
    LazyLock::new(|| PrivateKey::generate(Algorithm::EcdsaP256).expect("random numbers").to_pem().to_string());

/// The line of the key's text that holds the most of it.
fn key_line() -> &'static str {
    KEY.lines().nth(1).expect("a first line of base64")
}

fn with_secrets(directory: &Utf8Path) -> Command {
    let mut command = consign(directory);
    for name in ["TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "CARGO_REGISTRY_TOKEN", "PASSWORD", "CONSIGN_SIGNNIG_KEY"] {
        command.env(name, CANARY);
    }
    command.env("CONSIGN_SIGNING_KEY", KEY.as_str());
    command.env("HTTPS_PROXY", format!("http://user:{CANARY}@127.0.0.1:9"));
    command
}

#[track_caller]
fn unseen(ran: &Ran, what: &str) {
    for secret in [CANARY, key_line()] {
        assert!(!ran.out.contains(secret), "{what}: {}", ran.out);
        assert!(!ran.err.contains(secret), "{what}: {}", ran.err);
    }
}

/// Runs in every format, with everything told.
#[track_caller]
fn everything_told(directory: &Utf8Path, arguments: &[&str]) -> i32 {
    let mut code = 0;
    for format in ["text", "json", "ndjson"] {
        let ran = run(with_secrets(directory).args(["-vv", "--format", format]).args(arguments));
        unseen(&ran, &format!("{arguments:?} as {format}"));
        code = ran.code;
    }
    nowhere_below(&directory.join("dist"));
    code
}

/// No file, and no file inside an archive, holds the canary.
#[track_caller]
fn nowhere_below(directory: &Utf8Path) {
    if !directory.is_dir() {
        return;
    }
    for path in files_below(directory) {
        let bytes = fs_err::read(&path).unwrap();
        assert!(!holds(&bytes), "{path}");
        let mut plain = Vec::new();
        if path.as_str().ends_with(".tar.gz") {
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        } else if path.extension() == Some("zip") && need("unzip") {
            plain = Command::new("unzip").arg("-p").arg(&path).output().unwrap().stdout;
        }
        assert!(!holds(&plain), "inside {path}");
    }
}

fn holds(bytes: &[u8]) -> bool {
    [CANARY, key_line()].iter().any(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_bytes()))
}

#[test]
fn a_release_that_goes_well_holds_no_secret() {
    let scratch = surrounded();
    let release = ["release-pipeline", "--mode", "release", "--provider", "directory", "--target", "published"];
    assert_eq!(everything_told(scratch.path(), &release), 0);
    nowhere_below(&scratch.path().join("published"));
    for verb in [
        "plan",
        "doctor",
        "config show",
        "notes",
        "smoke",
        "build",
        "package",
        "verify",
        "summary",
        "version-guard v1.2.3",
    ] {
        assert_eq!(everything_told(scratch.path(), &verb.split(' ').collect::<Vec<_>>()), 0, "{verb}");
    }
    let index = scratch.path().join("published/v1.2.3/index.json");
    assert_eq!(everything_told(scratch.path(), &["rebuild", "--index", index.as_str(), "--source", "."]), 0);
    assert_eq!(everything_told(scratch.path(), &["remote-verify", "--index", index.as_str()]), 0);
}

#[test]
fn no_failure_shows_a_secret() {
    let scratch = surrounded();
    let fails = |settings: &str, arguments: &[&str]| {
        scratch.write("consign.toml", settings);
        everything_told(scratch.path(), &["plan"]);
        assert_ne!(everything_told(scratch.path(), arguments), 0, "{settings} {arguments:?}");
    };
    let pipeline = ["release-pipeline", "--skip", "test"];
    let address = format!("https://user:{CANARY}@example.com/x");
    fails(&format!("[hooks]\nbefore-build = [\"ls\", \"{address}\"]\n"), &pipeline);
    fails(&format!("[hooks]\nafter-package = [\"{address}\"]\n"), &pipeline);
    fails("[hooks]\nafter-verify = [\"git\", \"fetch\", \"--all\", \"--dry-run\"]\n", &pipeline);
    fails(&format!("[test]\ncommand = [\"ls\", \"{address}\"]\n"), &["release-pipeline"]);
    fails(
        "[smoke]\ncommands = [[\"--fail\"]]\ntimeout = \"1ms\"\n[test]\ncommand = [\"false\"]\n",
        &["release-pipeline"],
    );
    fails(&format!("[publish]\nprovider = \"{address}\"\n"), &pipeline);
    fails(&format!("name = \"{address}\"\n"), &pipeline);
    fails(
        &format!(
            "[publish]\nprovider = \"directory\"\ntarget = \"{address}\"\n[platform.linux-amd64]\nlinker = \"{address}\"\n"
        ),
        &pipeline,
    );
    fails("", &["release-pipeline", "v9.9.9"]);
    fails("", &["release-pipeline", "--mode", "release"]);
    fails("", &["remote-verify", "--base-url", &format!("https://user:{CANARY}@127.0.0.1:9/x?token={CANARY}")]);
    fails("", &["rebuild", "--index", &format!("https://user:{CANARY}@127.0.0.1:9/index.json")]);
    fails("", &["publish", "--provider", "directory", "--target", &format!("/proc/nowhere/{address}")]);
    fails("", &["version-guard", "v1.2.3", "--require-ref-match", "--ref", &address]);
    scratch.write("src/main.rs", format!("fn main() {{ println!(\"{{}}\", {}) }}\n", "undefined"));
    fails("", &pipeline);
    scratch.write("Cargo.toml", "[package\n");
    fails("", &pipeline);
}

#[test]
fn a_dependency_s_address_is_told_without_its_password() {
    let library = Scratch::new();
    library.write("Cargo.toml", "[package]\nname = \"dep\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    library.write("src/lib.rs", "pub fn dep() {}\n");
    git(library.path(), &["init", "-q"]);
    commit(library.path(), "feat: begin");
    let address = format!("https://user:{CANARY}@example.com/dep");
    // Git takes the address, password and all, for another name of the directory.
    let place = format!("url.file://{}.insteadOf", library.path());
    let scratch = small_workspace("tool", "1.2.3");
    let home = Scratch::new();
    let around = |command: &mut Command| {
        command
            .env("CARGO_HOME", home.path())
            .env("CARGO_NET_GIT_FETCH_WITH_CLI", "true")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", &place)
            .env("GIT_CONFIG_VALUE_0", &address);
    };
    let manifest = fs_err::read_to_string(scratch.path().join("Cargo.toml")).unwrap();
    scratch.write("Cargo.toml", format!("{manifest}[dependencies]\ndep = {{ git = \"{address}\" }}\n"));
    scratch.write("src/main.rs", "fn main() { dep::dep() }\n");
    let mut lock = Command::new("cargo");
    clean(&mut lock);
    around(&mut lock);
    succeed(lock.arg("generate-lockfile").current_dir(scratch.path()));
    let mut command = consign(scratch.path());
    around(&mut command);
    let ran = run(command.args(["-vv", "release-pipeline", "--skip", "test"])).passed();
    unseen(&ran, "a git dependency");
    nowhere_below(&scratch.path().join("dist"));
    let sbom = fs_err::read_to_string(bundle(scratch.path()).join("sbom.spdx.json")).unwrap();
    assert!(sbom.contains("git+https://example.com/dep@") || sbom.contains("https://example.com/dep"), "{sbom}");
}

#[test]
fn the_signing_key_reaches_no_build_no_test_and_no_program() {
    let scratch = surrounded();
    scratch.write(
        "consign.toml",
        "[build]\nbuilder = \"command\"\ncommand = [\"sh\", \"build.sh\"]\n[test]\ncommand = [\"sh\", \"refuse.sh\"]\n[smoke]\ncommands = [[]]\n",
    );
    scratch.write("refuse.sh", "#!/bin/sh\nif env | grep -q SIGNING_KEY; then exit 9; fi\n");
    scratch.write("build.sh", "sh refuse.sh || exit 9\ncp refuse.sh \"$CONSIGN_BUILD_OUTPUT/tool\"\n");
    let mut command = consign(scratch.path());
    run(command.env("CONSIGN_SIGNING_KEY", KEY.as_str()).args(["release-pipeline"])).passed();
}

#[test]
fn a_program_or_build_script_that_tells_everything_is_not_repeated() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(
        "src/main.rs",
        "fn main() { for name in [\"TOKEN\", \"PASSWORD\", \"GH_TOKEN\"] { println!(\"{name}={:?}\", std::env::var(name)); } }\n",
    );
    scratch.write(
        "build.rs",
        "fn main() { for name in [\"TOKEN\", \"PASSWORD\", \"GH_TOKEN\"] { println!(\"cargo::warning={name}={:?}\", std::env::var(name)); } }\n",
    );
    commit(scratch.path(), "feat: tell everything");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    for format in ["text", "ndjson"] {
        let ran =
            run(with_secrets(scratch.path()).args(["-vv", "--format", format, "release-pipeline", "--skip", "test"]));
        let ran = ran.passed();
        assert!(!ran.out.contains(CANARY) && !ran.err.contains(CANARY), "{}{}", ran.out, ran.err);
        assert!(format!("{}{}", ran.out, ran.err).contains("***"), "the build script's lines are shown, masked");
    }
    nowhere_below(&scratch.path().join("dist"));
}
