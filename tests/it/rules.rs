//! What a release may not do, whichever verb it is asked through.

use super::support::{commit, consign, small_workspace};
use super::workspaces::{json, run};

#[test]
fn a_version_that_the_workspace_does_not_have_is_not_published() {
    let scratch = small_workspace("tool", "1.2.3");
    let target = scratch.path().join("published");
    json(scratch.path(), &["build", "v9.9.9"]).passed();
    json(scratch.path(), &["package", "v9.9.9"]).passed();
    let arguments = ["publish", "v9.9.9", "--provider", "directory", "--target", target.as_str()];
    json(scratch.path(), &arguments).failed(6, "guard_version");
    assert!(!target.exists());
}

#[test]
fn the_output_directory_holds_no_source() {
    let scratch = small_workspace("tool", "1.2.3");
    for dist in [".", "..", "/", "src", ".git", "src/../.git/x"] {
        let ran = json(scratch.path(), &["plan", "--dist", dist]);
        ran.failed(3, "config_invalid");
    }
    assert!(!scratch.path().join(".git/.lock").exists());
}

#[test]
fn a_mistyped_feature_is_found_by_the_plan() {
    let scratch = small_workspace("tool", "1.2.3");
    let document = json(scratch.path(), &["plan", "--features", "nope"]).failed(3, "config_invalid");
    assert_eq!(document["subject"], "nope");
}

#[test]
fn a_key_in_the_environment_demands_signatures() {
    let scratch = small_workspace("tool", "1.2.3");
    json(scratch.path(), &["build"]).passed();
    json(scratch.path(), &["package"]).passed();
    json(scratch.path(), &["verify"]).passed();
    json(scratch.path(), &["key", "generate", "--out", "key.pem"]).passed();
    let ran = run(consign(scratch.path()).args(["verify"]).env("CONSIGN_VERIFY_PUBKEY", "key.pub.pem"));
    assert_eq!(ran.code, 4, "{}", ran.out);
    assert!(ran.out.contains("unsigned"), "{}", ran.out);
}

#[test]
fn a_later_start_still_runs_what_makes_a_release_trustworthy() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("src/main.rs", "fn main() { std::process::abort(); }\n");
    commit(scratch.path(), "fix: end at once");
    super::support::git(scratch.path(), &["tag", "-f", "v1.2.3"]);
    json(scratch.path(), &["release-pipeline", "--skip", "test,smoke"]).passed();
    let target = scratch.path().join("published");
    let release = ["release-pipeline", "--mode", "release", "--from", "publish", "--provider", "directory", "--target"];
    let ran = json(scratch.path(), &[&release[..], &[target.as_str()]].concat());
    ran.failed(1, "smoke_failed");
    assert!(!target.exists());
}

#[test]
fn a_hook_that_is_not_there_is_found_before_anything_runs() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("consign.toml", "[hooks]\nafter-verify = [\"no-such-program-anywhere\"]\n");
    json(scratch.path(), &["release-pipeline", "--skip", "test"]).failed(3, "tool_missing");
    assert!(!scratch.path().join("dist/releases").exists());
}

#[test]
fn a_date_that_no_archive_can_hold_is_refused() {
    let scratch = small_workspace("tool", "1.2.3");
    for wrong in ["99999999999", "-1", "soon"] {
        let mut command = consign(scratch.path());
        let ran = run(command.args(["--format", "json", "plan"]).env("SOURCE_DATE_EPOCH", wrong));
        ran.failed(3, "config_invalid");
    }
}
