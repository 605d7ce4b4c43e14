//! Versions that come into use, go back and go away.

#![expect(clippy::disallowed_methods, reason = "the tests start programs, themselves among them")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use camino::Utf8Path;
use consign::install::activate::{Activated, Options, Status, activate, activate_kept};
use consign::install::installed::{installed, intact};
use consign::install::lock::{Turn, lock};
use consign::install::prefix::Prefix;
use consign::install::programs::Foreign;
use consign::install::receipt::{self, InstalledFile, Origin, Receipt, Trust};
use consign::install::revert::{Reverted, revert};
use consign::install::staging::Staging;
use consign::install::uninstall::{Uninstalled, uninstall};
use consign::model::failure::Result;
use consign::model::{Code, Digest, FileName};
use semver::Version;

use super::support::{Scratch, both, missing_unless};

/// What starts this test program again as somebody who installs.
pub const DEED: &str = "CONSIGN_TEST_DEED";
const PREFIX: &str = "CONSIGN_TEST_PREFIX";

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn options() -> Options {
    Options { keep: 3, foreign: Foreign::Keep, now: "2026-11-21T15:04:05Z".parse().unwrap() }
}

/// What the archive of a version holds: every program says its name and its version.
fn stage(turn: &Turn, number: &str, programs: &[&str], word: &str) -> Result<(Staging, Receipt)> {
    let staging = Staging::new(turn)?;
    let mut files = Vec::new();
    let mut put = |path: String, text: String, executable: bool| -> Result<()> {
        let place = staging.path().join(&path);
        consign::world::files::write(&place, text.as_bytes())?;
        let mode = if executable { 0o755 } else { 0o644 };
        fs_err::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
        let size_bytes = text.len() as u64;
        files.push(InstalledFile { path, sha256: Digest::of(text.as_bytes()), size_bytes, executable });
        Ok(())
    };
    put("README.md".to_owned(), format!("# {number}\n"), false)?;
    for program in programs {
        put(format!("bin/{program}"), format!("#!/bin/sh\necho {program} {number}{word}\n"), true)?;
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let receipt = Receipt {
        kind: receipt::TYPE.to_owned(),
        name: turn.name().clone(),
        version: version(number),
        tag: None,
        platform: None,
        origin: Origin::Loose { place: "here".to_owned() },
        trust: Trust::Unchecked,
        index: None,
        archive: None,
        files,
        programs: programs.iter().map(|program| name(program)).collect(),
        installed_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        installed_by: "consign 0.1.0".to_owned(),
    };
    Ok((staging, receipt))
}

pub fn install_with(at: &Utf8Path, product: &str, number: &str, programs: &[&str], word: &str) -> Result<Activated> {
    let turn = lock(&Prefix::resolve(at)?, &name(product), &|_| ())?;
    let (staging, receipt) = stage(&turn, number, programs, word)?;
    activate(&turn, staging, &receipt, options())
}

pub fn install(at: &Utf8Path, number: &str) -> Activated {
    install_with(at, "tool", number, &["tool"], "").unwrap()
}

pub fn go_back(at: &Utf8Path, to: Option<&str>) -> Result<Reverted> {
    let turn = lock(&Prefix::resolve(at)?, &name("tool"), &|_| ())?;
    revert(&turn, to.map(version).as_ref(), options())
}

pub fn take_away(at: &Utf8Path, product: &str) -> Result<Uninstalled> {
    uninstall(&lock(&Prefix::resolve(at)?, &name(product), &|_| ())?)
}

/// What the program in `bin` says; nothing if there is none.
pub fn says(at: &Utf8Path, program: &str) -> Option<String> {
    let place = at.join("bin").join(program);
    place.symlink_metadata().ok()?;
    let output = loop {
        match Command::new(&place).output() {
            // Another test started a program at the very moment at which this one was written.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => break other.unwrap_or_else(|error| panic!("{place}: {error}")),
        }
    };
    assert!(output.status.success(), "{place}: {}", both(&output));
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// Everything below a directory: what it is, its mode, and what is in it.
pub fn tree(at: &Utf8Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut left = vec![at.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let metadata = path.symlink_metadata().unwrap();
            let content = if metadata.is_dir() {
                left.push(path.clone());
                format!("directory {:o}", metadata.mode())
            } else if metadata.is_symlink() {
                format!("-> {}", path.read_link_utf8().unwrap())
            } else {
                format!("{:o} {}", metadata.mode(), fs_err::read_to_string(&path).unwrap())
            };
            tree.insert(path.strip_prefix(at).unwrap().to_string(), content);
        }
    }
    tree
}

#[test]
fn a_version_comes_into_use_and_goes_back_and_forth() {
    let scratch = Scratch::new();
    let at = scratch.path();
    assert_eq!(install(at, "1.0.0").status, Status::Installed);
    assert_eq!(says(at, "tool").unwrap(), "tool 1.0.0");
    assert_eq!(install(at, "1.1.0").before, Some(version("1.0.0")));
    assert_eq!(says(at, "tool").unwrap(), "tool 1.1.0");
    for (to, before) in [("1.0.0", "1.1.0"), ("1.1.0", "1.0.0"), ("1.0.0", "1.1.0")] {
        let reverted = go_back(at, None).unwrap();
        assert_eq!((reverted.version, reverted.previous), (version(to), Some(version(before))));
        assert_eq!(says(at, "tool").unwrap(), format!("tool {to}"));
    }
    let paths: Vec<_> = tree(at).into_keys().collect();
    let expected = [
        "bin",
        "bin/tool",
        "lib",
        "lib/consign",
        "lib/consign/receipts",
        "lib/consign/receipts/tool",
        "lib/consign/receipts/tool/1.0.0.json",
        "lib/consign/receipts/tool/1.1.0.json",
        "lib/consign/tool",
        "lib/consign/tool/1.0.0",
        "lib/consign/tool/1.0.0/README.md",
        "lib/consign/tool/1.0.0/bin",
        "lib/consign/tool/1.0.0/bin/tool",
        "lib/consign/tool/1.1.0",
        "lib/consign/tool/1.1.0/README.md",
        "lib/consign/tool/1.1.0/bin",
        "lib/consign/tool/1.1.0/bin/tool",
        "lib/consign/tool/current",
        "lib/consign/tool/history",
    ];
    assert_eq!(paths, expected);
}

/// One process's deed, by its words.
pub fn perform(at: &Utf8Path, deed: &str) -> Result<()> {
    let words: Vec<&str> = deed.split(' ').collect();
    match words.as_slice() {
        ["install", number, programs] => {
            install_with(at, "tool", number, &programs.split(',').collect::<Vec<_>>(), "").map(drop)
        }
        ["reinstall", number] => install_with(at, "tool", number, &["tool"], " again").map(drop),
        ["revert"] => {
            // Going back twice would lead back, so the second run says where to.
            go_back(at, Some("1.0.0")).map(drop)
        }
        ["install-rival"] => install_with(at, "rival", "1.0.0", &["rival"], "").map(drop),
        ["uninstall-rival"] => take_away(at, "rival").map(drop),
        ["give-up"] => {
            let turn = lock(&Prefix::resolve(at)?, &name("another"), &|_| ())?;
            stage(&turn, "1.0.0", &["another"], "").map(drop)
        }
        ["uninstall"] => match take_away(at, "tool") {
            // The run was killed when all was done.
            Err(failure) if failure.code() == Code::NotInstalled => Ok(()),
            done => done.map(drop),
        },
        _ => panic!("{deed}"),
    }
}

#[test]
#[ignore = "it is started by the other tests, in a process of its own"]
fn the_one_who_installs() {
    let Ok(deed) = std::env::var(DEED) else { return };
    // The tracer counts the calls of each thread for itself. These here make the counts of this thread
    // larger than those of the one that waits for it, so that it is this one which is killed.
    for _ in 0..100 {
        fs_err::write("/dev/null", "x").unwrap();
    }
    let ended = perform(Utf8Path::new(&std::env::var(PREFIX).unwrap()), &deed);
    if let Err(failure) = &ended {
        eprintln!("{}: {:?}", failure.code(), failure.chain());
    }
    std::process::exit(ended.map_or_else(|failure| failure.code().exit() as i32, |()| 0));
}

/// This test program, about to do a deed.
pub fn worker(command: &mut Command, at: &Utf8Path, deed: &str) {
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "activate::the_one_who_installs", "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(DEED, deed).env(PREFIX, at);
}

#[test]
fn what_is_not_used_leaves_the_prefix_as_it_was() {
    let scratch = Scratch::new();
    let at = scratch.path().join("not/there");
    let give_up = || {
        let turn = lock(&Prefix::resolve(&at).unwrap(), &name("tool"), &|_| ()).unwrap();
        let (staging, _) = stage(&turn, "2.0.0", &["tool"], "").unwrap();
        assert!(staging.path().join("bin/tool").is_file());
        // The staging directory first, as it is when a run fails.
        drop(staging);
    };
    give_up();
    assert_eq!(tree(scratch.path()), BTreeMap::new());
    install(&at, "1.0.0");
    let before = tree(&at);
    give_up();
    assert_eq!(tree(&at), before);
}

#[test]
fn doing_it_again_changes_nothing_and_puts_right_what_is_wrong() {
    let scratch = Scratch::new();
    let at = scratch.path();
    install(at, "1.0.0");
    let before = tree(at);
    assert_eq!(install(at, "1.0.0").status, Status::Unchanged);
    assert_eq!(tree(at), before);
    fs_err::remove_file(at.join("bin/tool")).unwrap();
    assert_eq!(install(at, "1.0.0").status, Status::Switched);
    let prefix = Prefix::resolve(at).unwrap();
    let receipt = intact(&prefix, &name("tool"), &version("1.0.0")).unwrap().unwrap();
    fs_err::remove_file(at.join("bin/tool")).unwrap();
    let turn = lock(&prefix, &name("tool"), &|_| ()).unwrap();
    assert_eq!(activate_kept(&turn, &receipt, options()).unwrap().status, Status::Switched);
    drop(turn);
    assert_eq!(tree(at), before);
    fs_err::write(at.join("lib/consign/tool/1.0.0/bin/tool"), "broken").unwrap();
    assert_eq!(intact(&prefix, &name("tool"), &version("1.0.0")).unwrap(), None);
    assert_eq!(install(at, "1.0.0").status, Status::Replaced);
    assert_eq!(tree(at), before);
}

#[test]
fn the_versions_that_were_used_last_are_kept() {
    let scratch = Scratch::new();
    let at = scratch.path();
    for number in ["1.0.0", "1.1.0", "1.2.0"] {
        assert_eq!(install(at, number).pruned, []);
    }
    go_back(at, Some("1.0.0")).unwrap();
    assert_eq!(install(at, "1.3.0").pruned, [version("1.1.0")]);
    let kept = |at: &Utf8Path| -> Vec<String> {
        let products = installed(&Prefix::resolve(at).unwrap()).unwrap();
        products[0].versions.iter().map(|kept| kept.receipt.version.to_string()).collect()
    };
    assert_eq!(kept(at), ["1.3.0", "1.0.0", "1.2.0"]);
    let turn = lock(&Prefix::resolve(at).unwrap(), &name("tool"), &|_| ()).unwrap();
    let (staging, receipt) = stage(&turn, "1.4.0", &["tool"], "").unwrap();
    activate(&turn, staging, &receipt, Options { keep: 0, ..options() }).unwrap();
    drop(turn);
    // The one in use and the one before it stay, whatever is asked for.
    assert_eq!(kept(at), ["1.4.0", "1.3.0"]);
    assert!(!tree(at).into_keys().any(|path| path.contains("1.0.0")));
}

#[test]
fn going_back_to_what_is_not_there_or_not_whole_is_refused() {
    let scratch = Scratch::new();
    let at = scratch.path();
    assert_eq!(go_back(at, None).unwrap_err().code(), Code::NotInstalled);
    assert_eq!(take_away(at, "tool").unwrap_err().code(), Code::NotInstalled);
    assert_eq!(tree(at), BTreeMap::new());
    install(at, "1.0.0");
    assert_eq!(go_back(at, None).unwrap_err().code(), Code::VersionNotKept);
    install(at, "1.1.0");
    let failure = go_back(at, Some("9.0.0")).unwrap_err();
    assert_eq!((failure.code(), failure.way_out()), (Code::VersionNotKept, Some("kept: 1.0.0")));
    fs_err::write(at.join("lib/consign/tool/1.0.0/bin/tool"), "broken").unwrap();
    let before = tree(at);
    assert_eq!(go_back(at, None).unwrap_err().code(), Code::InstallationDamaged);
    assert_eq!(tree(at), before);
    let products = installed(&Prefix::resolve(at).unwrap()).unwrap();
    assert_eq!(products[0].current, Some(version("1.1.0")));
    let damage: Vec<_> = products[0].versions.iter().map(|kept| kept.damage.len()).collect();
    assert_eq!(damage, [0, 1]);
}

#[test]
fn what_others_put_in_the_way_is_kept_and_named() {
    let scratch = Scratch::new();
    let at = scratch.path();
    scratch.write("bin/tool", "mine");
    let activated = install(at, "1.0.0");
    let backup = Prefix::resolve(at).unwrap().bin().join("tool.bak.20261121150405");
    assert_eq!(activated.backups, std::slice::from_ref(&backup));
    assert_eq!(fs_err::read_to_string(&backup).unwrap(), "mine");
    assert_eq!(says(at, "tool").unwrap(), "tool 1.0.0");
    // In the same second something else is in the way.
    fs_err::remove_file(at.join("bin/tool")).unwrap();
    symlink("/nowhere", at.join("bin/tool")).unwrap();
    let backups = install(at, "1.1.0").backups;
    assert_eq!(backups[0].file_name(), Some("tool.bak.20261121150405-2"));
    assert_eq!(backups[0].read_link_utf8().unwrap(), "/nowhere");
    let gone = take_away(at, "tool").unwrap();
    assert_eq!(gone.backups.len(), 2);
    let left: Vec<_> = tree(at).into_keys().collect();
    assert_eq!(left, ["bin", "bin/tool.bak.20261121150405", "bin/tool.bak.20261121150405-2", "lib"]);
    // Without keeping it.
    scratch.write("bin/tool", "mine");
    let turn = lock(&Prefix::resolve(at).unwrap(), &name("tool"), &|_| ()).unwrap();
    let (staging, receipt) = stage(&turn, "1.0.0", &["tool"], "").unwrap();
    let replace = Options { foreign: Foreign::Replace, ..options() };
    assert!(activate(&turn, staging, &receipt, replace).unwrap().backups.is_empty());
    drop(turn);
    assert_eq!(says(at, "tool").unwrap(), "tool 1.0.0");
}

#[test]
fn a_program_of_another_product_and_a_directory_are_not_replaced() {
    let scratch = Scratch::new();
    let at = scratch.path();
    install(at, "1.0.0");
    fs_err::create_dir(at.join("bin/dir")).unwrap();
    let before = tree(at);
    let failure = install_with(at, "rival", "1.0.0", &["rival", "tool"], "").unwrap_err();
    assert_eq!(failure.code(), Code::ProgramTaken);
    assert!(failure.to_string().contains("`tool`"), "{failure}");
    assert_eq!(install_with(at, "rival", "1.0.0", &["dir"], "").unwrap_err().code(), Code::FileExists);
    assert_eq!(install_with(at, "receipts", "1.0.0", &["x"], "").unwrap_err().code(), Code::NameInvalid);
    assert_eq!(tree(at), before);
    take_away(at, "tool").unwrap();
    install_with(at, "rival", "1.0.0", &["rival", "tool"], "").unwrap();
    assert_eq!(says(at, "tool").unwrap(), "tool 1.0.0");
}

#[test]
fn programs_that_a_version_does_not_have_lose_their_names_and_get_them_back() {
    let scratch = Scratch::new();
    let at = scratch.path();
    install_with(at, "tool", "1.0.0", &["more", "tool"], "").unwrap();
    // A user's own names stay the user's.
    symlink("tool", at.join("bin/alias")).unwrap();
    symlink("../lib/consign/tool/1.0.0/bin/tool", at.join("bin/tool-1.0")).unwrap();
    let activated = install(at, "1.1.0");
    assert_eq!(activated.left, [name("more")]);
    assert_eq!(says(at, "more"), None);
    assert_eq!(says(at, "alias").unwrap(), "tool 1.1.0");
    assert_eq!(says(at, "tool-1.0").unwrap(), "tool 1.0.0");
    go_back(at, None).unwrap();
    assert_eq!(says(at, "more").unwrap(), "more 1.0.0");
    // What leads into what is gone goes too.
    take_away(at, "tool").unwrap();
    assert_eq!(tree(at).into_keys().collect::<Vec<_>>(), ["bin", "bin/alias", "lib"]);
}

#[test]
fn a_prefix_behind_a_link_is_found_and_no_link_below_it_is_followed() {
    let scratch = Scratch::new();
    fs_err::create_dir(scratch.path().join("real")).unwrap();
    let at = scratch.path().join("link");
    symlink("real", &at).unwrap();
    install(&at, "1.0.0");
    assert_eq!(says(&at, "tool").unwrap(), "tool 1.0.0");
    assert!(Prefix::resolve(&at).unwrap().path().ends_with("real"));
    take_away(&at, "tool").unwrap();
    let elsewhere = Scratch::new();
    for below in ["bin", "lib", "lib/consign", "lib/consign/tool", "lib/consign/receipts", "lib/consign/receipts/tool"]
    {
        let scratch = Scratch::new();
        let at = scratch.path();
        let link = at.join(below);
        fs_err::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(elsewhere.path(), &link).unwrap();
        let before = tree(at);
        let failure = install_with(at, "tool", "1.0.0", &["tool"], "").unwrap_err();
        assert_eq!(failure.code(), Code::PrefixRefused, "{below}");
        assert!(failure.to_string().contains("is a link"), "{failure}");
        assert_eq!(tree(at), before);
        assert_eq!(tree(elsewhere.path()), BTreeMap::new());
        fs_err::remove_file(&link).unwrap();
        fs_err::write(&link, "a file").unwrap();
        let failure = install_with(at, "tool", "1.0.0", &["tool"], "").unwrap_err();
        assert_eq!(failure.code(), Code::PrefixRefused, "{below}");
    }
    let dangling = scratch.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    assert_eq!(Prefix::resolve(&dangling).unwrap_err().code(), Code::Io);
}

#[test]
fn a_directory_of_somebody_else_that_others_can_change_is_refused() {
    let scratch = Scratch::new();
    let at = scratch.path();
    let bin = scratch.path().join("bin");
    fs_err::create_dir(&bin).unwrap();
    fs_err::set_permissions(&bin, std::fs::Permissions::from_mode(0o777)).unwrap();
    let given_away = std::os::unix::fs::chown(&bin, Some(65534), Some(65534)).is_ok();
    if !missing_unless(given_away, "the right to give a directory away") {
        return;
    }
    assert_eq!(install_with(at, "tool", "1.0.0", &["tool"], "").unwrap_err().code(), Code::PrefixRefused);
    fs_err::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
    install(at, "1.0.0");
}

#[test]
fn versions_and_the_switch_are_never_somebody_elses_files() {
    let scratch = Scratch::new();
    let at = scratch.path();
    install(at, "1.0.0");
    let current = at.join("lib/consign/tool/current");
    fs_err::remove_file(&current).unwrap();
    fs_err::create_dir(&current).unwrap();
    assert_eq!(install_with(at, "tool", "1.1.0", &["tool"], "").unwrap_err().code(), Code::PrefixRefused);
    fs_err::remove_dir(&current).unwrap();
    // A link that leads out is replaced, and what it leads to is not touched.
    let elsewhere = Scratch::new();
    elsewhere.write("bin/tool", "theirs");
    symlink(elsewhere.path(), &current).unwrap();
    symlink(elsewhere.path(), at.join("lib/consign/tool/1.1.0")).unwrap();
    assert_eq!(install_with(at, "tool", "1.1.0", &["tool"], "").unwrap_err().code(), Code::PrefixRefused);
    install(at, "1.2.0");
    assert_eq!(says(at, "tool").unwrap(), "tool 1.2.0");
    assert_eq!(fs_err::read_to_string(elsewhere.path().join("bin/tool")).unwrap(), "theirs");
}

#[test]
fn one_waits_for_the_other_and_says_for_whom() {
    let scratch = Scratch::new();
    let prefix = Prefix::resolve(scratch.path()).unwrap();
    let held = lock(&prefix, &name("tool"), &|_| ()).unwrap();
    let (told, heard) = std::sync::mpsc::channel();
    let other = prefix.clone();
    let waiting = std::thread::spawn(move || {
        let turn = lock(&other, &name("tool"), &|holder| told.send(holder).unwrap()).unwrap();
        let (staging, receipt) = stage(&turn, "1.0.0", &["tool"], "").unwrap();
        activate(&turn, staging, &receipt, options()).unwrap();
    });
    assert_eq!(heard.recv().unwrap(), Some(std::process::id()));
    // Another product does not have to wait.
    install_with(scratch.path(), "rival", "1.0.0", &["rival"], "").unwrap();
    drop(held);
    waiting.join().unwrap();
    assert_eq!(says(scratch.path(), "tool").unwrap(), "tool 1.0.0");
}

#[test]
fn several_that_install_at_once_all_succeed_and_leave_no_litter() {
    let scratch = Scratch::new();
    let at = scratch.path().join("prefix");
    for _ in 0..20 {
        let deeds = [
            "install 1.0.0 tool",
            "install-rival",
            "install 1.1.0 more,tool",
            "give-up",
            "reinstall 1.0.0",
            "uninstall-rival",
            "revert",
            "uninstall",
            "give-up",
        ];
        let start = |deed: &&str| {
            let mut command = Command::new("env");
            worker(&mut command, &at, deed);
            (deed.to_string(), command.stdout(Stdio::null()).spawn().unwrap())
        };
        let children: Vec<_> = deeds.iter().map(start).collect();
        for (deed, mut child) in children {
            let status = child.wait().unwrap();
            // There may be nothing to go back to, and nothing to take away.
            let may_refuse = deed == "revert" || deed == "uninstall-rival";
            assert!(status.success() || may_refuse && status.code() == Some(6), "{deed}");
        }
    }
    perform(&at, "uninstall").unwrap();
    let _ = take_away(&at, "rival");
    install(&at, "1.0.0");
    let calm = Scratch::new();
    install(calm.path(), "1.0.0");
    assert_eq!(tree(&at), tree(calm.path()));
}

#[test]
fn a_program_that_runs_can_be_replaced_and_pruned() {
    let scratch = Scratch::new();
    let at = scratch.path();
    let turn = lock(&Prefix::resolve(at).unwrap(), &name("tool"), &|_| ()).unwrap();
    let (staging, mut receipt) = stage(&turn, "1.0.0", &["tool"], "").unwrap();
    let place = staging.path().join("bin/tool");
    fs_err::copy("/bin/cat", &place).unwrap();
    let bytes = fs_err::read(&place).unwrap();
    receipt.files[1].sha256 = Digest::of(&bytes);
    receipt.files[1].size_bytes = bytes.len() as u64;
    activate(&turn, staging, &receipt, options()).unwrap();
    drop(turn);
    let mut running = Command::new(at.join("bin/tool")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    for number in ["1.1.0", "1.2.0", "1.3.0"] {
        install(at, number);
    }
    assert!(!at.join("lib/consign/tool/1.0.0").exists());
    std::io::Write::write_all(&mut running.stdin.take().unwrap(), b"still here").unwrap();
    assert_eq!(running.wait_with_output().unwrap().stdout, b"still here");
    assert_eq!(says(at, "tool").unwrap(), "tool 1.3.0");
}
