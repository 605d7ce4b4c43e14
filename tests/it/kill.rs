//! A run that is killed at any moment, and the run after it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use camino::Utf8Path;

use super::support::{Scratch, consign, small_workspace};
use super::workspaces::{bundle, litter, rehearse, run};

const RELEASE: [&str; 11] = [
    "--format",
    "ndjson",
    "release-pipeline",
    "--skip",
    "test",
    "--mode",
    "release",
    "--provider",
    "directory",
    "--target",
    "published",
];

fn checksums(workspace: &Utf8Path) -> String {
    fs_err::read_to_string(bundle(workspace).join("checksums.txt")).unwrap()
}

/// Starts a release and kills it as soon as it has told so many events; whether it lived that long.
fn kill_after(workspace: &Utf8Path, events: usize) -> bool {
    let mut child = consign(workspace).args(RELEASE).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines().take(events).count();
    // SIGKILL: nothing gets to clean up.
    child.kill().unwrap();
    child.wait().unwrap();
    told == events
}

fn workspace() -> Scratch {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(".git/info/exclude", "/published\n");
    scratch
}

#[test]
fn a_release_that_was_killed_anywhere_is_finished_by_running_it_again() {
    let calm = workspace();
    let told = run(consign(calm.path()).args(RELEASE)).passed().out.lines().count();
    assert!(told > 20, "{told}");
    let expected = checksums(calm.path());
    let scratch = workspace();
    // Each moment once, on a workspace where everything has been done before, or else nothing.
    for moment in 0..told {
        if moment % 2 == 0 {
            for left in ["dist", "published"] {
                let _ = fs_err::remove_dir_all(scratch.path().join(left));
            }
        }
        let is_killed = kill_after(scratch.path(), moment);
        // Where all is published already there is less to tell, and the run may have come to its end.
        assert!(is_killed || moment % 2 == 1, "the run ended before event {moment}");
        let published = scratch.path().join("published/v1.2.3");
        if published.is_dir() {
            // What is visible is whole.
            run(consign(scratch.path()).args(["verify", published.as_str()])).passed();
        }
        run(consign(scratch.path()).args(RELEASE)).passed();
        assert_eq!(checksums(scratch.path()), expected, "killed after event {moment}");
        assert_eq!(fs_err::read_to_string(published.join("checksums.txt")).unwrap(), expected);
        assert_eq!(litter(scratch.path()), [""; 0], "killed after event {moment}");
        let beside: Vec<_> = fs_err::read_dir(scratch.path().join("published"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(beside, ["v1.2.3"], "killed after event {moment}");
    }
}

#[test]
fn what_an_interrupted_run_left_is_removed_and_nothing_else() {
    let scratch = small_workspace("tool", "1.2.3");
    let litters = [
        "dist/.consign-a1",
        "dist/releases/.old-x/old/metadata.json",
        "dist/releases/v1.2.3/.build-x/tool",
        "dist/releases/v1.2.3/.old-x/old/tool",
        "dist/releases/v1.2.3/.consign-x",
        "dist/packages/.bundle-x/index.json",
        "dist/packages/.old-x/old/index.json",
        "dist/smoke/.consign-x",
    ];
    let kept = ["dist/.mine", "dist/releases/v1.2.3/.mine/x", "dist/packages/v1.0.0/index.json", "dist/packages/.keep"];
    for path in litters.iter().chain(&kept) {
        scratch.write(path, "x");
    }
    rehearse(scratch.path(), &[]).passed();
    for path in litters {
        assert!(!scratch.path().join(path).exists(), "{path}");
    }
    for path in kept {
        assert!(scratch.path().join(path).exists(), "{path}");
    }
}
