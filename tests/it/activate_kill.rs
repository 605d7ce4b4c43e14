//! Installations that are killed at any instant, and disks that are full.

#![expect(clippy::disallowed_methods, reason = "the tests start themselves again, under a tracer")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use camino::Utf8Path;

use super::activate::{DEED, go_back, install, install_with, perform, says, tree, worker};
use super::support::{Scratch, both, missing_unless, need, succeed};

/// Every system call that can change what a file system remembers.
const CALLS: &str = "openat,write,pwrite64,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,ftruncate,copy_file_range,sendfile";

/// Every instant at which a deed can be killed: the name of a call, and the how manieth of its name.
fn instants(at: &Utf8Path, deed: &str) -> Vec<(String, usize)> {
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", log.as_str(), "-e", &format!("trace={CALLS}")]);
    worker(&mut command, at, deed);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut processes = BTreeSet::new();
    let mut instants = Vec::new();
    let mut begun = false;
    for line in fs_err::read_to_string(&log).unwrap().lines() {
        let (process, call) = line.split_once(' ').unwrap();
        let Some((call, _)) = call.trim_start().split_once('(') else { continue };
        let count = counts.entry((process.to_owned(), call.to_owned())).or_default();
        *count += 1;
        begun |= line.contains(at.as_str());
        // What fails, and what is opened only to be read, changes nothing.
        let changes = !line.contains(" = -1 ") && (call != "openat" || line.contains("O_CREAT"));
        if begun && changes {
            processes.insert(process.to_owned());
            instants.push((call.to_owned(), *count));
        }
    }
    assert_eq!(processes.len(), 1, "calls are counted in one thread");
    assert!(instants.len() > 10, "{instants:?}");
    instants
}

fn without_times(tree: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let plain = |path: String| path.split_once(".bak.").map_or(path.clone(), |(path, _)| format!("{path}.bak.*"));
    let count = tree.len();
    let tree: BTreeMap<_, _> = tree.into_iter().map(|(path, content)| (plain(path), content)).collect();
    assert_eq!(tree.len(), count, "one file was kept twice");
    tree
}

/// A program, and all that it may say after a kill.
type May<'a> = (&'a str, &'a [Option<&'a str>]);

/// Kills a deed at every instant. After each, every program says one of what it may say, the same deed
/// done again ends where it does without a kill, and so does another one.
fn kill_everywhere(prepare: &dyn Fn(&Utf8Path), deed: &str, programs: &[May<'_>], another: &dyn Fn(&Utf8Path, &str)) {
    if !need("strace") {
        return;
    }
    let calm = Scratch::new();
    prepare(calm.path());
    perform(calm.path(), deed).unwrap();
    let expected = without_times(tree(calm.path()));
    let counted = Scratch::new();
    prepare(counted.path());
    for (call, count) in instants(counted.path(), deed) {
        let instant = format!("{deed}, killed at {call} {count}");
        let scratch = Scratch::new();
        let at = scratch.path();
        prepare(at);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=KILL:when={count}")]);
        worker(&mut command, at, deed);
        let output = command.output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{instant}: {}", both(&output));
        for (program, may) in programs {
            let said = says(at, program);
            assert!(may.contains(&said.as_deref()), "{instant}: {program} says {said:?}");
        }
        let copies = Scratch::new();
        let copy = copies.path().join("copy");
        succeed(Command::new("cp").args(["-a", at.as_str(), copy.as_str()]));
        another(&copy, &instant);
        perform(at, deed).unwrap_or_else(|failure| panic!("{instant}: {:?}", failure.chain()));
        assert_eq!(without_times(tree(at)), expected, "{instant}");
    }
}

/// After an uninstallation there is nothing but what others put there.
fn nothing_is_left(at: &Utf8Path, instant: &str) {
    perform(at, "uninstall").unwrap_or_else(|failure| panic!("{instant}: {:?}", failure.chain()));
    let foreign = |path: &String| path.contains("other") || path.contains("third");
    let left: Vec<String> = tree(at).into_keys().filter(|path| !foreign(path)).collect();
    let allowed = ["bin", "lib"];
    assert!(left.iter().all(|path| allowed.contains(&path.as_str())), "{instant}: {left:?}");
}

/// Going back leads to what was used before, wherever the upgrade from 0.9.0 to 1.0.0 was killed.
fn the_way_back_is_known(at: &Utf8Path, instant: &str) {
    let now = says(at, "tool").unwrap();
    let before = if now == "tool 1.0.0" { "tool 0.9.0" } else { "tool 0.8.0" };
    for expected in [before, &now] {
        go_back(at, None).unwrap_or_else(|failure| panic!("{instant}: {:?}", failure.chain()));
        assert_eq!(says(at, "tool").as_deref(), Some(expected), "{instant}");
    }
    nothing_is_left(at, instant);
}

#[test]
fn a_first_installation_that_is_killed_anywhere_leaves_all_or_nothing() {
    kill_everywhere(&|_| (), "install 1.0.0 tool", &[("tool", &[None, Some("tool 1.0.0")])], &nothing_is_left);
}

#[test]
fn an_upgrade_that_is_killed_anywhere_leaves_the_old_version_or_the_new_one() {
    let prepare = |at: &Utf8Path| {
        for number in ["0.7.0", "0.8.0", "0.9.0"] {
            install(at, number);
        }
    };
    kill_everywhere(
        &prepare,
        "install 1.0.0 tool",
        &[("tool", &[Some("tool 0.9.0"), Some("tool 1.0.0")])],
        &the_way_back_is_known,
    );
}

#[test]
fn a_foreign_program_works_until_the_new_one_does() {
    let prepare = |at: &Utf8Path| {
        install(at, "0.9.0");
        let foreign = at.join("bin/other");
        fs_err::write(&foreign, "#!/bin/sh\necho foreign\n").unwrap();
        fs_err::set_permissions(&foreign, std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("other", at.join("bin/third")).unwrap();
    };
    let programs: &[May<'_>] = &[
        ("tool", &[Some("tool 0.9.0"), Some("tool 1.0.0")]),
        ("other", &[Some("foreign"), Some("other 1.0.0")]),
        // It is a link to the one before.
        ("third", &[Some("foreign"), Some("other 1.0.0"), Some("third 1.0.0")]),
    ];
    kill_everywhere(&prepare, "install 1.0.0 other,third,tool", programs, &nothing_is_left);
}

#[test]
fn the_version_in_use_is_replaced_by_itself_without_an_instant_without_it() {
    let prepare = |at: &Utf8Path| {
        install(at, "0.9.0");
        install(at, "1.0.0");
    };
    kill_everywhere(
        &prepare,
        "reinstall 1.0.0",
        &[("tool", &[Some("tool 1.0.0"), Some("tool 1.0.0 again")])],
        &nothing_is_left,
    );
}

#[test]
fn going_back_that_is_killed_anywhere_leaves_one_version_or_the_other() {
    let prepare = |at: &Utf8Path| {
        install(at, "1.0.0");
        install(at, "1.1.0");
    };
    kill_everywhere(&prepare, "revert", &[("tool", &[Some("tool 1.0.0"), Some("tool 1.1.0")])], &nothing_is_left);
}

#[test]
fn an_uninstallation_that_is_killed_anywhere_leaves_no_name_that_leads_nowhere() {
    let prepare = |at: &Utf8Path| {
        for number in ["1.0.0", "1.1.0"] {
            install_with(at, "tool", number, &["more", "tool"], "").unwrap();
        }
    };
    let programs: &[May<'_>] = &[("tool", &[None, Some("tool 1.1.0")]), ("more", &[None, Some("more 1.1.0")])];
    kill_everywhere(&prepare, "uninstall", programs, &nothing_is_left);
}

/// Does deeds on a file system of its own, by a shell script in which `deed` does one. Gives back whether
/// the last one succeeded, what was said, and the tree after it.
fn on_a_file_system(script: &str) -> Option<(bool, String, String)> {
    let scratch = Scratch::new();
    let at = scratch.path();
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", at.as_str()]).output();
    let can = need("unshare") && missing_unless(probe.is_ok_and(|probe| probe.status.success()), "the right to mount");
    if !can {
        return None;
    }
    let script = format!(
        "set -e; worker=\"$*\"; deed() {{ {DEED}=\"$1\" $worker; }}; mount -t tmpfs none {at}; cd {at}; status=0; \
         {script} || status=$?; echo AFTERWARDS; bin/tool; find . | sort; exit $status"
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]);
    worker(&mut command, at, "");
    let output = command.output().unwrap();
    let (said, told) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    let (_, after) = told.split_once("AFTERWARDS\n").unwrap_or_else(|| panic!("{told}{said}"));
    Some((output.status.success(), said, after.to_owned()))
}

#[test]
fn a_full_disk_leaves_the_old_version_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for free in 0.. {
        // There is room for so many files and directories more, and each time for one more.
        let script = format!(
            "deed 'install 0.9.0 tool'; mount -o remount,nr_inodes=$(($(df --output=iused . | tail -1) + {free})) .; \
             deed 'install 1.0.0 first,second,tool'"
        );
        let Some((succeeded, said, after)) = on_a_file_system(&script) else { return };
        if succeeded {
            break;
        }
        assert!(said.contains("No space left"), "{free}: {said}");
        if after.starts_with("tool 0.9.0\n") {
            old += 1;
            assert!(!after.contains("1.0.0"), "{free}: {after}");
        } else {
            new += 1;
            assert!(after.starts_with("tool 1.0.0\n"), "{free}: {after}");
        }
        let litter = [".staging", ".new", ".old", ".consign", ".current", ".lock"];
        assert!(!litter.iter().any(|name| after.contains(name)), "{free}: {after}");
    }
    // The last ones fail after the switch, where a program's name is made.
    assert!(old > 5 && new > 0, "{old} {new}");
}

#[test]
fn going_back_needs_no_room() {
    let script = "mount -o remount,size=1m .; deed 'install 1.0.0 tool'; deed 'install 1.1.0 tool'; \
        ! dd if=/dev/zero of=full bs=4k 2>/dev/null; deed revert";
    let Some((succeeded, said, after)) = on_a_file_system(script) else { return };
    assert!(succeeded && after.starts_with("tool 1.0.0\n") && after.contains("./full"), "{said} {after}");
}

#[test]
fn a_read_only_file_system_is_said_to_be_one() {
    let script = "deed 'install 0.9.0 tool'; mount -o remount,ro .; deed 'install 1.0.0 tool'";
    let Some((succeeded, said, after)) = on_a_file_system(script) else { return };
    assert!(!succeeded && said.contains("Read-only file system"), "{said}");
    assert!(after.starts_with("tool 0.9.0\n") && !after.contains("1.0.0"), "{after}");
}
