//! Whole runs on workspaces of every kind, and what outside judges say of the bundles.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use serde_json::{Value, json};

use super::support::{Scratch, clean, commit, consign, git, missing_unless, need, small_workspace, succeed};
use super::workspaces::{
    bundle, configured, contents, files_below, index, json, litter, packed, provenance, rehearse, run, workspace_of,
};

const MAIN: &str = "fn main() { println!(\"{}\", env!(\"CARGO_PKG_VERSION\")); }\n";

#[test]
fn a_workspace_without_settings_becomes_a_verified_bundle() {
    let scratch = small_workspace("tool", "1.2.3");
    let journal = json(scratch.path(), &["release-pipeline"]).passed().json();
    assert_eq!(journal["type"], "consign.release-pipeline/v1");
    assert_eq!(journal["status"], "passed");
    let status = |stage: &str| {
        let stages = journal["stages"].as_array().unwrap();
        stages.iter().find(|record| record["stage"] == stage).unwrap()["status"].clone()
    };
    for stage in ["guard", "preflight", "test", "build", "package", "verify", "notes", "smoke"] {
        assert_eq!(status(stage), "passed", "{stage}");
    }
    for stage in ["publish", "remote-verify", "summary"] {
        assert_eq!(status(stage), "skipped", "{stage}");
    }
    let index = index(scratch.path());
    assert_eq!(index.tag, "v1.2.3");
    assert_eq!(index.source.commit.as_deref(), Some(&*git(scratch.path(), &["rev-parse", "HEAD"])));
    assert!(!index.source.dirty);
    assert_eq!(packed(scratch.path()), ["LICENSE", "README.md", "bin/tool", "metadata.json"]);
    for path in ["dist/releases/v1.2.3/release-notes.md", "dist/releases/v1.2.3/verify.json", "dist/smoke/host.log"] {
        assert!(scratch.path().join(path).is_file(), "{path}");
    }
    let written: Value =
        serde_json::from_slice(&fs_err::read(scratch.path().join("dist/release-pipeline.json")).unwrap()).unwrap();
    assert_eq!(written, journal);
    assert_eq!(litter(scratch.path()), [""; 0]);
}

#[test]
fn nothing_around_a_run_changes_the_bytes() {
    let scratch = small_workspace("tool", "1.2.3");
    let bytes = || -> Vec<_> {
        files_below(&bundle(scratch.path())).into_iter().map(|path| fs_err::read(&path).unwrap()).collect()
    };
    rehearse(scratch.path(), &[]).passed();
    let first = bytes();
    for left in ["target", "dist"] {
        fs_err::remove_dir_all(scratch.path().join(left)).unwrap();
    }
    // Another mask, clock zone, language, home, terminal and number of jobs.
    let home = Scratch::new();
    let program = consign(scratch.path()).get_program().to_owned();
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 077; exec \"$0\" release-pipeline --skip test"])
        .arg(program)
        .current_dir(scratch.path());
    clean(&mut command);
    let cargo_home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let rustup_home = std::env::var_os("RUSTUP_HOME").map(std::path::PathBuf::from);
    let usual = |name: &str| std::path::PathBuf::from(std::env::var_os("HOME").unwrap()).join(name);
    command
        .env("CARGO_HOME", cargo_home.unwrap_or_else(|| usual(".cargo")))
        .env("RUSTUP_HOME", rustup_home.unwrap_or_else(|| usual(".rustup")))
        .env("HOME", home.path())
        .env("USER", "somebody")
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "de_DE.UTF-8")
        .env("TERM", "dumb")
        .env("CARGO_BUILD_JOBS", "1");
    run(&mut command).passed();
    assert!(first == bytes());
}

#[test]
fn every_program_of_a_package_is_packed() {
    let scratch = workspace_of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"several\"\nversion = \"0.1.0\"\nedition = \"2021\"\ndefault-run = \"one\"\n",
        ),
        ("src/bin/one.rs", MAIN),
        ("src/bin/two.rs", MAIN),
        ("src/lib.rs", ""),
        ("examples/three.rs", MAIN),
    ]);
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(packed(scratch.path()), ["bin/one", "bin/two", "metadata.json"]);
    assert_eq!(index(scratch.path()).name.as_str(), "several");
    rehearse(scratch.path(), &["--bin", "two"]).passed();
    assert_eq!(packed(scratch.path()), ["bin/two", "metadata.json"]);
    let error = rehearse(scratch.path(), &["--bin", "three"]).failed(2, "package_unknown");
    assert!(error["hint"].as_str().unwrap().contains("one, two"), "{error}");
}

fn virtual_workspace() -> Scratch {
    let member = |name: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion.workspace = true\nedition.workspace = true\nlicense.workspace = true\nrepository.workspace = true\n"
        )
    };
    workspace_of(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\", \"core\", \"chores\"]\nresolver = \"2\"\n[workspace.package]\nversion = \"2.0.0-rc.1\"\nedition = \"2021\"\nlicense = \"MIT\"\nrepository = \"https://github.com/example/suite\"\n",
        ),
        (
            "a/Cargo.toml",
            &format!(
                "{}[dependencies]\ncore = {{ path = \"../core\", package = \"suite-core\" }}\n",
                member("suite-a")
            ),
        ),
        ("a/src/main.rs", MAIN),
        ("b/Cargo.toml", &member("suite-b")),
        ("b/src/main.rs", MAIN),
        ("b/LICENSE-b", "MIT\n"),
        ("core/Cargo.toml", &member("suite-core")),
        ("core/src/lib.rs", ""),
        ("chores/Cargo.toml", &format!("{}publish = false\n", member("chores"))),
        ("chores/src/main.rs", MAIN),
        ("README.md", "# suite\n"),
    ])
}

#[test]
fn a_virtual_workspace_is_released_as_one_product() {
    let scratch = virtual_workspace();
    rehearse(scratch.path(), &[]).passed();
    let index = index(scratch.path());
    assert_eq!((index.name.as_str(), index.tag.as_str(), index.channel.as_str()), ("suite", "v2.0.0-rc.1", "rc"));
    assert_eq!(packed(scratch.path()), ["LICENSE-b", "README.md", "bin/suite-a", "bin/suite-b", "metadata.json"]);
    let sbom = fs_err::read_to_string(bundle(scratch.path()).join("sbom.spdx.json")).unwrap();
    assert!(sbom.contains("suite-core") && !sbom.contains("chores"));
}

#[test]
fn a_package_is_released_on_its_own() {
    let scratch = workspace_of(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"left\", \"right\"]\nresolver = \"2\"\n"),
        ("left/Cargo.toml", "[package]\nname = \"left\"\nversion = \"1.2.3\"\nedition = \"2021\"\n"),
        ("left/src/main.rs", MAIN),
        ("right/Cargo.toml", "[package]\nname = \"right\"\nversion = \"0.9.0\"\nedition = \"2021\"\n"),
        ("right/src/main.rs", MAIN),
    ]);
    let error = rehearse(scratch.path(), &[]).failed(3, "package_ambiguous");
    assert!(error["hint"].as_str().unwrap().contains("-p left"), "{error}");
    for (arguments, tag, directory) in [
        (&["-p", "left"][..], "left-v1.2.3", "left-v1.2.3"),
        (&["left-v1.2.3"], "left-v1.2.3", "left-v1.2.3"),
        (&["left/v1.2.3"], "left/v1.2.3", "left-v1.2.3"),
        (&["right-v0.9.0"], "right-v0.9.0", "right-v0.9.0"),
    ] {
        let _ = fs_err::remove_dir_all(scratch.path().join("dist"));
        rehearse(scratch.path(), arguments).passed();
        assert_eq!(index(scratch.path()).tag, tag);
        assert_eq!(bundle(scratch.path()).file_name(), Some(directory));
        let program = format!("bin/{}", tag.split(['-', '/']).next().unwrap());
        assert_eq!(packed(scratch.path()), [program.as_str(), "metadata.json"]);
    }
    rehearse(scratch.path(), &["left-v1.2.4"]).failed(6, "guard_version");
    rehearse(scratch.path(), &["middle-v1.0.0"]).failed(2, "package_unknown");
    rehearse(scratch.path(), &["-p", "rihgt"]).failed(2, "package_unknown");
    rehearse(scratch.path(), &["-p", "left", "right-v0.9.0"]).failed(2, "usage");
}

#[test]
fn programs_that_need_features_come_with_them() {
    let scratch = workspace_of(&[
        (
            "Cargo.toml",
            "[package]\nname = \"tool\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[features]\ndefault = []\nextra = []\nmore = [\"extra\"]\n[[bin]]\nname = \"tool\"\npath = \"src/main.rs\"\n[[bin]]\nname = \"plus\"\npath = \"src/plus.rs\"\nrequired-features = [\"extra\"]\n",
        ),
        ("src/main.rs", "fn main() { println!(\"{}\", cfg!(feature = \"extra\")); }\n"),
        ("src/plus.rs", MAIN),
    ]);
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(packed(scratch.path()), ["bin/tool", "metadata.json"]);
    rehearse(scratch.path(), &["--features", "more"]).passed();
    assert_eq!(packed(scratch.path()), ["bin/plus", "bin/tool", "metadata.json"]);
    let recorded = &provenance(scratch.path())["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(recorded["platforms"][0]["features"], json!(["default", "more"]));
    let program = files_below(&scratch.path().join("dist/releases")).into_iter().find(|path| path.ends_with("tool"));
    assert_eq!(succeed(&mut Command::new(program.unwrap())), "true\n");
    rehearse(scratch.path(), &["--all-features"]).passed();
    assert_eq!(packed(scratch.path()), ["bin/plus", "bin/tool", "metadata.json"]);
    rehearse(scratch.path(), &["--bin", "plus", "--no-default-features"]).failed(2, "package_unknown");
    let document = rehearse(scratch.path(), &["--features", "absent"]).failed(3, "config_invalid");
    assert_eq!(document["subject"], "absent");
}

#[test]
fn a_compiler_that_is_too_old_is_named_before_building() {
    let scratch = small_workspace("tool", "1.2.3");
    let manifest = fs_err::read_to_string(scratch.path().join("Cargo.toml")).unwrap();
    scratch.write("Cargo.toml", format!("{manifest}rust-version = \"1.9999\"\n"));
    let error = rehearse(scratch.path(), &[]).failed(3, "compiler_too_old");
    assert!(error["message"].as_str().unwrap().contains("1.9999"), "{error}");
    assert!(!scratch.path().join("target").exists());
}

#[test]
fn a_library_has_nothing_to_release() {
    let scratch = workspace_of(&[
        ("Cargo.toml", "[package]\nname = \"lib\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"),
        ("src/lib.rs", ""),
    ]);
    for verb in ["plan", "release-pipeline", "build", "package", "doctor"] {
        json(scratch.path(), &[verb]).failed(3, "no_binaries");
    }
    json(scratch.path(), &["plan", "-p", "lib"]).failed(3, "no_binaries");
}

#[test]
fn another_version_than_the_workspace_s_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &["v1.2.4"]).failed(6, "guard_version");
    json(scratch.path(), &["version-guard", "v1.2.4"]).failed(6, "guard_version");
    json(scratch.path(), &["version-guard", "1.2.3", "--require-v-prefix"]).failed(6, "guard_prefix");
    assert!(!scratch.path().join("dist/packages").exists());
    rehearse(scratch.path(), &["1.2.3"]).passed();
    assert_eq!(bundle(scratch.path()).file_name(), Some("1.2.3"));
}

#[test]
fn a_run_goes_on_from_a_stage_with_what_is_there() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &["--from", "package"]).failed(3, "build_missing");
    rehearse(scratch.path(), &["--from", "verify"]).failed(3, "build_missing");
    json(scratch.path(), &["build"]).passed();
    fs_err::remove_dir_all(scratch.path().join("target")).unwrap();
    let journal = rehearse(scratch.path(), &["--from", "package"]).passed().json();
    assert_eq!(journal["stages"][3]["status"], "skipped");
    assert!(!scratch.path().join("target").exists());
    rehearse(scratch.path(), &["--from", "verify", "--skip", "smoke,notes"]).passed();
    rehearse(scratch.path(), &["--from", "nowhere"]).failed(2, "usage");
    json(scratch.path(), &["release-pipeline", "--skip", "nowhere"]).failed(2, "usage");
}

#[test]
fn a_dry_run_prints_the_plan_and_does_nothing() {
    let scratch = configured("[hooks]\nbefore-build = [\"touch\", \"canary\"]\n");
    let plan = json(scratch.path(), &["release-pipeline", "--dry-run"]).passed().json();
    assert_eq!(plan, json(scratch.path(), &["plan"]).passed().json());
    assert_eq!(plan["type"], "consign.plan/v1");
    let build = plan["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "build").unwrap();
    assert_eq!(build["before"], json!([["touch", "canary"]]));
    for path in ["dist", "target", "canary"] {
        assert!(!scratch.path().join(path).exists(), "{path}");
    }
}

#[test]
fn a_release_keeps_its_rules() {
    let scratch = small_workspace("tool", "1.2.3");
    let release = |arguments: &[&str]| rehearse(scratch.path(), &[&["--mode", "release"], arguments].concat());
    for stage in ["guard", "preflight", "build", "package", "verify"] {
        release(&["--skip", stage]).failed(6, "stage_required");
    }
    scratch.write("src/main.rs", "fn main() {}\n");
    release(&[]).failed(6, "tree_dirty");
    git(scratch.path(), &["checkout", "-q", "."]);
    scratch.write("untracked", "");
    release(&[]).failed(6, "tree_dirty");
    fs_err::remove_file(scratch.path().join("untracked")).unwrap();
    release(&["--require-tag", "--require-branch", "side"]).failed(6, "guard_branch");
    assert!(!scratch.path().join("target").exists());
    let journal = release(&["--require-tag", "--require-branch", "main"]).passed().json();
    assert_eq!(journal["mode"], "release");
    // Without a provider nothing is published, and it says so.
    let publish = journal["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == "publish").unwrap();
    assert_eq!(publish["status"], "skipped");
    assert!(publish["detail"].as_str().unwrap().contains("--provider"));
    // Later starts are checked all the same.
    scratch.write("untracked", "");
    release(&["--from", "notes"]).failed(6, "tree_dirty");
}

#[test]
fn a_release_is_published_once_and_never_changed() {
    let scratch = small_workspace("tool", "1.2.3");
    let place = Scratch::new();
    let release = |arguments: &[&str]| {
        let flags = ["--mode", "release", "--provider", "directory", "--target", place.path().as_str()];
        rehearse(scratch.path(), &[&flags[..], arguments].concat())
    };
    rehearse(scratch.path(), &["--provider", "directory", "--target", place.path().as_str()]).passed();
    assert_eq!(files_below(place.path()).len(), 0, "a rehearsal publishes nothing");
    let detail = |journal: Value, stage: &str| {
        let stages = journal["stages"].as_array().unwrap();
        stages.iter().find(|record| record["stage"] == stage).unwrap()["detail"].as_str().unwrap().to_owned()
    };
    let journal = release(&[]).passed().json();
    assert!(
        journal["stages"]
            .as_array()
            .unwrap()
            .iter()
            .skip(3)
            .all(|stage| stage["status"] == "passed" || stage["stage"] == "sign" || stage["stage"] == "register"),
        "{journal:#}"
    );
    assert!(detail(journal, "publish").starts_with("published"));
    let published = place.path().join("v1.2.3");
    json(place.path(), &["verify", "v1.2.3"]).passed();
    assert_eq!(
        fs_err::read(published.join("checksums.txt")).unwrap(),
        fs_err::read(bundle(scratch.path()).join("checksums.txt")).unwrap()
    );
    for report in ["publish.json", "release-url.txt", "release-assets.txt", "remote-verify.json", "release-summary.md"]
    {
        assert!(scratch.path().join("dist/releases/v1.2.3").join(report).is_file(), "{report}");
    }
    assert!(detail(release(&[]).passed().json(), "publish").starts_with("unchanged"));
    json(scratch.path(), &["publish", "--provider", "directory", "--target", place.path().as_str()]).passed();
    json(scratch.path(), &["remote-verify", "--base-url", published.as_str()]).passed();
    json(scratch.path(), &["summary"]).passed();
    // The same version with other bytes.
    scratch.write("src/main.rs", "fn main() { println!(\"other\"); }\n");
    commit(scratch.path(), "feat: other");
    // The tag stays where it was, unless somebody moves it.
    release(&[]).failed(6, "guard_tag");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    let before: Vec<_> = files_below(place.path()).iter().map(|path| fs_err::read(path).unwrap()).collect();
    release(&[]).failed(6, "version_published");
    let after: Vec<_> = files_below(place.path()).iter().map(|path| fs_err::read(path).unwrap()).collect();
    assert!(before == after);
    // Something that was damaged there is found.
    let archive = published.join("tool-1.2.3-linux-amd64.tar.gz");
    if archive.is_file() {
        let bytes = fs_err::read(&archive).unwrap();
        fs_err::write(&archive, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(json(scratch.path(), &["remote-verify", "--base-url", published.as_str()]).code, 4);
    }
}

#[test]
fn what_was_packed_from_something_else_is_not_published() {
    let scratch = small_workspace("tool", "1.2.3");
    let place = Scratch::new();
    let target = ["--provider", "directory", "--target", place.path().as_str()];
    let publish = || json(scratch.path(), &[&["publish"][..], &target].concat());
    let go_on = |from: &str| rehearse(scratch.path(), &[&["--mode", "release", "--from", from][..], &target].concat());
    // A rehearsal of changes that are then taken back.
    scratch.write("src/main.rs", "fn main() { /* changed */ }\n");
    rehearse(scratch.path(), &[]).passed();
    git(scratch.path(), &["checkout", "-q", "."]);
    publish().failed(6, "tree_dirty");
    go_on("verify").failed(3, "build_stale");
    // The programs are made again, and the bundle is still of the changes.
    json(scratch.path(), &["build"]).passed();
    go_on("verify").failed(6, "tree_dirty");
    // A rehearsal of an earlier commit.
    rehearse(scratch.path(), &[]).passed();
    scratch.write("new", "");
    commit(scratch.path(), "feat: more");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    publish().failed(3, "build_stale");
    json(scratch.path(), &["build"]).passed();
    go_on("publish").failed(3, "build_stale");
    assert_eq!(files_below(place.path()).len(), 0);
    rehearse(scratch.path(), &[]).passed();
    publish().passed();
}

#[test]
fn a_summary_needs_a_list() {
    let scratch = small_workspace("tool", "1.2.3");
    rehearse(scratch.path(), &[]).passed();
    json(scratch.path(), &["summary"]).failed(3, "build_missing");
    scratch.write("assets", "index.json\n");
    let missing = json(scratch.path(), &["summary", "--assets", "assets"]);
    assert_eq!(missing.code, 4, "{}{}", missing.out, missing.err);
    missing.json();
}

#[test]
fn a_release_without_a_commit_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    fs_err::remove_dir_all(scratch.path().join(".git")).unwrap();
    rehearse(scratch.path(), &["--mode", "release"]).failed(6, "source_unknown");
    git(scratch.path(), &["init", "-q"]);
    rehearse(scratch.path(), &["--mode", "release"]).failed(6, "source_unknown");
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(index(scratch.path()).source.commit, None);
}

#[test]
fn a_release_without_a_lock_file_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    git(scratch.path(), &["rm", "-q", "Cargo.lock"]);
    commit(scratch.path(), "chore: no lock file");
    git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    rehearse(scratch.path(), &["--mode", "release"]).failed(3, "lock_missing");
}

#[test]
fn hooks_run_around_their_stages_and_are_recorded() {
    let scratch = configured(
        "[hooks]\nbefore-build = [[\"cp\", \"README.md\", \"target-before\"], [\"cp\", \"README.md\", \"dist/second\"]]\nafter-package = [\"cp\", \"README.md\", \"dist/after\"]\n",
    );
    scratch.write(".gitignore", "/target\n/dist\n/target-before\n");
    commit(scratch.path(), "chore: ignore");
    rehearse(scratch.path(), &[]).passed();
    for path in ["target-before", "dist/second", "dist/after"] {
        assert!(scratch.path().join(path).is_file(), "{path}");
    }
    let hooks = &provenance(scratch.path())["predicate"]["buildDefinition"]["externalParameters"]["hooks"];
    assert_eq!(hooks["before-build"][1], json!(["cp", "README.md", "dist/second"]));
    assert_eq!(hooks["after-package"], json!([["cp", "README.md", "dist/after"]]));
    // A shell would have done something else with these words.
    scratch.write("consign.toml", "[hooks]\nbefore-build = [\"printf\", \"%s\", \"$(touch canary) ; touch canary\"]\n");
    rehearse(scratch.path(), &[]).passed();
    assert!(!scratch.path().join("canary").exists());
}

#[test]
fn a_hook_that_fails_ends_the_run() {
    let scratch = configured("[hooks]\nbefore-package = [\"ls\", \"/nonexistent-place\"]\n");
    let error = rehearse(scratch.path(), &[]).failed(1, "hook_failed");
    assert!(error["message"].as_str().unwrap().contains("before-package"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("ls /nonexistent-place"), "{error}");
    assert!(!scratch.path().join("dist/packages").exists());
    let journal: Value =
        serde_json::from_slice(&fs_err::read(scratch.path().join("dist/release-pipeline.json")).unwrap()).unwrap();
    assert_eq!(journal["status"], "failed");
    scratch.write("consign.toml", "[hooks]\nbefore-package = [\"no-such-program-here\"]\n");
    rehearse(scratch.path(), &[]).failed(3, "tool_missing");
    // The single verbs keep them too.
    json(scratch.path(), &["package"]).failed(3, "tool_missing");
    scratch.write("consign.toml", "[hooks]\nbefore-publsh = [\"true\"]\n");
    json(scratch.path(), &["plan"]).failed(3, "config_invalid");
}

#[test]
fn a_hook_may_sign_the_program_that_was_built() {
    let scratch = configured("");
    scratch.write(
        "consign.toml",
        "[hooks]\nafter-build = [\"sed\", \"-i\", \"$ a signed\", \"dist/releases/v1.2.3/linux-amd64/tool\"]\n",
    );
    if !missing_unless(cfg!(all(target_os = "linux", target_arch = "x86_64")), "linux-amd64") {
        return;
    }
    rehearse(scratch.path(), &[]).passed();
    let program = fs_err::read(scratch.path().join("dist/releases/v1.2.3/linux-amd64/tool")).unwrap();
    assert!(program.ends_with(b"signed\n"));
    assert_eq!(index(scratch.path()).packages[0].binaries[0].size_bytes, program.len() as u64);
    // Without the pipeline: the verbs one after another.
    json(scratch.path(), &["build"]).passed();
    json(scratch.path(), &["package"]).passed();
    json(scratch.path(), &["verify"]).passed();
}

#[test]
fn programs_that_were_built_elsewhere_are_packed() {
    let scratch = configured("platforms = [\"linux-amd64\", \"windows-amd64\"]\n");
    scratch.write("out/linux-amd64/tool", "elf");
    let error = json(scratch.path(), &["package", "--binaries", "out"]).failed(3, "build_missing");
    assert!(error["hint"].as_str().unwrap().contains("out/windows-amd64/tool.exe"), "{error}");
    scratch.write("out/x86_64-pc-windows-msvc/tool.exe", "pe");
    scratch.write("out/windows-amd64/other.exe", "pe");
    json(scratch.path(), &["package", "--binaries", "out"]).passed();
    json(scratch.path(), &["verify"]).passed();
    let contents = contents(scratch.path());
    assert_eq!(contents.keys().collect::<Vec<_>>(), ["tool-1.2.3-linux-amd64.tar.gz", "tool-1.2.3-windows-amd64.zip"]);
    assert!(contents["tool-1.2.3-windows-amd64.zip"].contains(&"bin/tool.exe".to_owned()));
    let recorded = &provenance(scratch.path())["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!(recorded["platforms"][1]["builder"], "elsewhere");
}

#[test]
fn another_build_system_can_take_part() {
    let scratch =
        configured("binaries = [\"tool\"]\n[build]\nbuilder = \"command\"\ncommand = [\"sh\", \"build.sh\"]\n");
    scratch.write(
        "build.sh",
        "echo \"$CONSIGN_BUILD_PLATFORM $CONSIGN_BUILD_VERSION\"\ncp /bin/true \"$CONSIGN_BUILD_OUTPUT/tool\"\n",
    );
    rehearse(scratch.path(), &[]).passed();
    assert_eq!(
        provenance(scratch.path())["predicate"]["buildDefinition"]["internalParameters"]["compilers"],
        json!({})
    );
    scratch.write("build.sh", "true\n");
    rehearse(scratch.path(), &[]).failed(3, "build_missing");
    scratch.write("build.sh", "echo what went wrong >&2; exit 3\n");
    let error = rehearse(scratch.path(), &[]).failed(1, "build_failed");
    assert!(error["causes"][0].as_str().unwrap().contains("what went wrong"), "{error}");
    assert_eq!(litter(scratch.path()), [""; 0]);
    scratch.write("consign.toml", "[build]\nbuilder = \"command\"\n");
    rehearse(scratch.path(), &[]).failed(3, "config_invalid");
}

#[test]
fn the_smoke_test_of_the_user_has_to_pass() {
    let scratch = configured("[smoke]\ncommands = [[\"--version\"]]\n");
    rehearse(scratch.path(), &[]).passed();
    scratch.write("src/main.rs", "fn main() { println!(\"half a word\"); std::process::exit(7); }\n");
    let error = rehearse(scratch.path(), &[]).failed(1, "smoke_failed");
    assert!(error["message"].as_str().unwrap().contains('7'), "{error}");
    let log = fs_err::read_to_string(scratch.path().join("dist/smoke/host.log")).unwrap();
    assert!(log.contains("half a word"), "{log}");
    // The default questions may be refused with a code of the program's own, but not by a crash.
    scratch.write("consign.toml", "");
    rehearse(scratch.path(), &[]).passed();
    scratch.write("src/main.rs", "fn main() { std::process::abort(); }\n");
    rehearse(scratch.path(), &[]).failed(1, "smoke_failed");
    scratch.write("consign.toml", "[smoke]\ncommands = [[]]\ntimeout = \"200ms\"\n");
    scratch.write("src/main.rs", "fn main() { loop { std::thread::park(); } }\n");
    let error = rehearse(scratch.path(), &[]).failed(1, "smoke_failed");
    assert!(error["message"].as_str().unwrap().contains("200ms"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_smoke_test_ends_with_everything_it_started() {
    let scratch = configured("[smoke]\ncommands = [[\"leave\"], [\"stay\"]]\ntimeout = \"500ms\"\n");
    scratch.write(
        "src/main.rs",
        "fn main() { let child = std::process::Command::new(\"sleep\").arg(\"600\").spawn().unwrap(); println!(\"child {}\", child.id()); if std::env::args().nth(1).unwrap() == \"stay\" { std::thread::park(); } }\n",
    );
    let error = rehearse(scratch.path(), &[]).failed(1, "smoke_failed");
    assert!(error["message"].as_str().unwrap().contains("stay"), "{error}");
    let log = fs_err::read_to_string(scratch.path().join("dist/smoke/host.log")).unwrap();
    let child = log.lines().find_map(|line| line.strip_prefix("child ")).unwrap();
    let command = fs_err::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
    assert!(!command.contains("sleep"), "{command}");
}

#[test]
fn tests_that_fail_end_the_run_before_building() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("src/main.rs", "fn main() {}\n#[test]\nfn wrong() { assert_eq!(1, 2, \"a sum\"); }\n");
    json(scratch.path(), &["release-pipeline"]).failed(1, "tests_failed");
    assert!(!scratch.path().join("dist/releases").exists());
    scratch.write("consign.toml", "[test]\ncommand = [\"true\"]\n");
    json(scratch.path(), &["release-pipeline"]).passed();
}

#[test]
fn what_was_built_from_something_else_is_not_packed() {
    let scratch = small_workspace("tool", "1.2.3");
    json(scratch.path(), &["build"]).passed();
    let program = files_below(&scratch.path().join("dist/releases")).into_iter().find(|path| path.ends_with("tool"));
    let program = program.unwrap();
    let built = fs_err::read(&program).unwrap();
    fs_err::write(&program, [&built[..], b"x"].concat()).unwrap();
    json(scratch.path(), &["package"]).failed(3, "build_stale");
    fs_err::write(&program, &built).unwrap();
    json(scratch.path(), &["package"]).passed();
    // Built with one setting, packed with another.
    json(scratch.path(), &["package", "--profile", "dev"]).failed(3, "build_stale");
    json(scratch.path(), &["package", "--no-default-features"]).failed(3, "build_stale");
    // Built from changes that are in no commit, packed as if they had never been.
    scratch.write("src/main.rs", "fn main() { /* changed */ }\n");
    json(scratch.path(), &["build"]).passed();
    git(scratch.path(), &["checkout", "-q", "."]);
    let error = rehearse(scratch.path(), &["--mode", "release", "--from", "package"]).failed(3, "build_stale");
    assert!(error["message"].as_str().unwrap().contains("changes"), "{error}");
    json(scratch.path(), &["build"]).passed();
    scratch.write("new", "");
    commit(scratch.path(), "feat: more");
    json(scratch.path(), &["package"]).failed(3, "build_stale");
    rehearse(scratch.path(), &["--from", "package"]).failed(3, "build_stale");
}

#[test]
fn only_one_run_works_in_a_directory() {
    let scratch = small_workspace("tool", "1.2.3");
    fs_err::create_dir(scratch.path().join("dist")).unwrap();
    let lock = std::fs::File::create(scratch.path().join("dist/.lock")).unwrap();
    lock.lock().unwrap();
    for arguments in [&["release-pipeline"][..], &["build"], &["package"]] {
        json(scratch.path(), arguments).failed(1, "busy");
    }
    rehearse(scratch.path(), &["--dist", "elsewhere"]).passed();
    drop(lock);
    json(scratch.path(), &["build"]).passed();
}

#[test]
fn archives_come_in_every_format_and_under_the_name_that_is_wanted() {
    let scratch = configured("[archive]\nname-pattern = \"{name}-{target}-v{version}\"\n");
    let host = json(scratch.path(), &["plan"]).passed().json()["host"].as_str().unwrap().to_owned();
    for (format, extension) in [("tar.gz", "tar.gz"), ("tar.zst", "tar.zst"), ("zip", "zip")] {
        scratch.write(
            "consign.toml",
            format!("[archive]\nformat = \"{format}\"\nname-pattern = \"{{name}}-{{target}}-v{{version}}\"\n"),
        );
        rehearse(scratch.path(), &[]).passed();
        let archive = format!("tool-{host}-v1.2.3.{extension}");
        assert_eq!(contents(scratch.path()).keys().collect::<Vec<_>>(), [&archive]);
        let path = bundle(scratch.path()).join(&archive);
        let listed = match extension {
            "zip" if need("unzip") => {
                succeed(Command::new("unzip").arg("-tq").arg(&path));
                succeed(Command::new("unzip").arg("-Z1").arg(&path))
            }
            "tar.zst" if need("zstd") => succeed(Command::new("tar").arg("--zstd").arg("-tf").arg(&path)),
            "tar.gz" if need("tar") => succeed(Command::new("tar").arg("tzf").arg(&path)),
            _ => continue,
        };
        assert!(listed.contains(&format!("tool-{host}-v1.2.3/bin/tool\n")), "{listed}");
    }
}

#[test]
fn more_files_are_packed_when_they_are_named_and_harmless() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("docs/guide.md", "guide");
    scratch.write("docs/.hidden", "hidden");
    scratch.write("docs/deep/er.md", "deeper");
    scratch.write(".env", "TOKEN=canary");
    scratch.write("docs/.env.local", "TOKEN=canary");
    let with = |globs: &str| {
        scratch.write("consign.toml", format!("[archive]\ninclude = [{globs}]\n"));
        rehearse(scratch.path(), &[])
    };
    with("\"docs/**\"").passed();
    assert_eq!(
        packed(scratch.path()),
        ["LICENSE", "README.md", "bin/tool", "docs/deep/er.md", "docs/guide.md", "metadata.json"]
    );
    for refused in [
        "\".env\"",
        "\"docs/.env.local\"",
        "\".git/**\"",
        "\"target/**\"",
        "\"absent\"",
        "\"../**\"",
        "\"/etc/passwd\"",
        "\"[\"",
    ] {
        with(refused).failed(3, "config_invalid");
    }
    with("\"**\"").passed();
    assert!(packed(scratch.path()).iter().all(|path| !path.contains("env") && !path.contains(".git")));
    let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n".repeat(2);
    scratch.write("docs/key.txt", format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"));
    with("\"docs/**\"").failed(3, "include_refused");
    fs_err::remove_file(scratch.path().join("docs/key.txt")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/etc/passwd", scratch.path().join("docs/link")).unwrap();
        with("\"docs/**\"").failed(3, "include_refused");
        fs_err::remove_file(scratch.path().join("docs/link")).unwrap();
        // A link to a directory is not walked into.
        std::os::unix::fs::symlink("/etc", scratch.path().join("docs/etc")).unwrap();
        with("\"docs/**\"").failed(3, "include_refused");
    }
}

#[test]
fn every_verb_prints_exactly_one_document() {
    let scratch = small_workspace("tool", "1.2.3");
    json(scratch.path(), &["release-pipeline", "--skip", "test"]).passed();
    for verb in [
        "plan",
        "doctor",
        "build",
        "package",
        "verify",
        "notes",
        "smoke",
        "release-pipeline --skip test",
        "version-guard v1.2.3",
        "config show",
    ] {
        let document = json(scratch.path(), &verb.split(' ').collect::<Vec<_>>()).passed().json();
        assert!(document["type"].as_str().is_some_and(|kind| kind.starts_with("consign.")), "{verb}: {document}");
    }
    let empty = Scratch::new();
    for verb in [
        "plan",
        "doctor",
        "build",
        "package",
        "notes",
        "smoke",
        "release-pipeline",
        "version-guard v1.2.3",
        "summary",
        "publish",
    ] {
        let failed = json(empty.path(), &verb.split(' ').collect::<Vec<_>>());
        assert_eq!(failed.code, 3, "{verb}: {}{}", failed.out, failed.err);
        assert_eq!(failed.json()["type"], "consign.error/v1", "{verb}");
        assert_eq!(failed.json()["code"], "workspace_missing", "{verb}");
    }
    for wrong in
        ["--wrong", "wrong", "plan --wrong", "plan --platform linux-amd46", "plan not-a-version", "plan --format"]
    {
        let failed = json(scratch.path(), &wrong.split(' ').collect::<Vec<_>>());
        assert_eq!(failed.code, 2, "{wrong}: {}{}", failed.out, failed.err);
        assert_eq!(failed.json()["type"], "consign.error/v1", "{wrong}");
    }
    let gone = json(scratch.path(), &["verify", "nowhere"]);
    gone.failed(4, "bundle_missing");
    json(scratch.path(), &["rebuild", "--index", "nowhere/index.json"]).json();
}

#[test]
fn events_are_lines_of_json_and_the_document_is_the_last() {
    let scratch = small_workspace("tool", "1.2.3");
    let ran = run(consign(scratch.path()).args(["--format", "ndjson", "release-pipeline", "--skip", "test"])).passed();
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    assert_eq!(last["type"], "consign.release-pipeline/v1");
    assert!(events.iter().all(|event| event["event"].is_string()), "{events:?}");
    for stage in ["guard", "preflight", "build", "package", "verify", "notes", "smoke"] {
        let of = |event: &str| events.iter().position(|line| line["event"] == event && line["stage"] == stage);
        assert!(of("stage-started").unwrap() < of("stage-finished").unwrap(), "{stage}");
    }
    let failed = run(consign(scratch.path()).args(["--format", "ndjson", "release-pipeline", "v9.9.9"]));
    assert_eq!(failed.code, 6);
    let lines: Vec<Value> = failed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["code"], "guard_version");
}

#[test]
fn outside_judges_accept_the_bundle() {
    let scratch = configured(
        "platforms = [\"linux-amd64\", \"windows-amd64\", \"macos-arm64\"]\n[platform.macos-arm64]\nformat = \"tar.zst\"\n",
    );
    scratch.write("out/linux-amd64/tool", "elf");
    scratch.write("out/windows-amd64/tool.exe", "pe");
    scratch.write("out/macos-arm64/tool", "mach-o");
    json(scratch.path(), &["package", "--binaries", "out"]).passed();
    let bundle = bundle(scratch.path());
    if need("sha256sum") {
        let said = succeed(Command::new("sha256sum").args(["-c", "checksums.txt"]).current_dir(&bundle));
        assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), 9, "{said}");
    }
    if need("unzip") {
        succeed(Command::new("unzip").args(["-t", "tool-1.2.3-windows-amd64.zip"]).current_dir(&bundle));
    }
    if need("tar") {
        let told = succeed(Command::new("tar").args(["tvzf", "tool-1.2.3-linux-amd64.tar.gz"]).current_dir(&bundle));
        assert!(told.lines().all(|line| line.contains(" 0/0 ")), "{told}");
    }
    if need("python3") {
        let read = "import tarfile, zipfile
with tarfile.open('tool-1.2.3-linux-amd64.tar.gz') as t:
    for m in t: assert m.uid == m.gid == 0 and m.uname == m.gname == '' and m.mode in (0o644, 0o755), m.get_info()
    assert t.extractfile('tool-1.2.3-linux-amd64/bin/tool').read() == b'elf'
with zipfile.ZipFile('tool-1.2.3-windows-amd64.zip') as z:
    assert z.testzip() is None
    assert z.read('tool-1.2.3-windows-amd64/bin/tool.exe') == b'pe'";
        succeed(Command::new("python3").args(["-c", read]).current_dir(&bundle));
    }
    let judge = "import in_toto_attestation.v1.statement";
    let installed = Command::new("python3").args(["-c", judge]).output().is_ok_and(|output| output.status.success());
    if missing_unless(installed, "in-toto-attestation") {
        let read = "import json
from google.protobuf.json_format import Parse
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
text = open('provenance.json').read()
found = Parse(text, statement_pb2.Statement())
Statement.copy_from_pb(found).validate()
Parse(json.dumps(json.loads(text)['predicate']), provenance_pb2.Provenance())
print(len(found.subject))";
        assert_eq!(succeed(Command::new("python3").args(["-c", read]).current_dir(&bundle)), "8\n");
    }
}

#[test]
fn what_an_earlier_run_left_in_the_usual_place_is_no_change() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(".gitignore", "/target\n");
    commit(scratch.path(), "chore: ignore less");
    rehearse(scratch.path(), &[]).passed();
    let dirty = || json(scratch.path(), &["plan", "--dist", "out"]).passed().json()["source"]["dirty"].clone();
    assert_eq!(dirty(), false);
    scratch.write("other/packages/x", "");
    assert_eq!(dirty(), true);
}
