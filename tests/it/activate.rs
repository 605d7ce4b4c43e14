//! Versions that come into use, go back and go away, and runs that are killed at any instant.

#![expect(clippy::disallowed_methods, reason = "the tests start themselves again, under a tracer")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};
use consign::install::activate::{Activated, Options, Status, activate};
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

use super::support::{Scratch, both, need};

/// What starts this test program again as somebody who installs.
const DEED: &str = "CONSIGN_TEST_DEED";
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
        archive: None,
        files,
        programs: programs.iter().map(|program| name(program)).collect(),
        installed_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        installed_by: "consign 0.1.0".to_owned(),
    };
    Ok((staging, receipt))
}

fn install_with(at: &Utf8Path, product: &str, number: &str, programs: &[&str], word: &str) -> Result<Activated> {
    let turn = lock(&Prefix::resolve(at)?, &name(product), &|_| ())?;
    let (staging, receipt) = stage(&turn, number, programs, word)?;
    activate(&turn, staging, &receipt, options())
}

fn install(at: &Utf8Path, number: &str) -> Activated {
    install_with(at, "tool", number, &["tool"], "").unwrap()
}

fn go_back(at: &Utf8Path, to: Option<&str>) -> Result<Reverted> {
    let turn = lock(&Prefix::resolve(at)?, &name("tool"), &|_| ())?;
    revert(&turn, to.map(version).as_ref(), options())
}

fn take_away(at: &Utf8Path, product: &str) -> Result<Uninstalled> {
    uninstall(&lock(&Prefix::resolve(at)?, &name(product), &|_| ())?)
}

/// What the program in `bin` says; nothing if there is none.
fn says(at: &Utf8Path, program: &str) -> Option<String> {
    let place = at.join("bin").join(program);
    place.symlink_metadata().ok()?;
    let output = Command::new(&place).output().unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(output.status.success(), "{place}: {}", both(&output));
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}

/// Everything below a directory: what it is, its mode, and what is in it.
fn tree(at: &Utf8Path) -> BTreeMap<String, String> {
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
        assert_eq!((reverted.version, reverted.before), (version(to), Some(version(before))));
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
fn perform(at: &Utf8Path, deed: &str) -> Result<()> {
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
        ["revert-blindly"] => go_back(at, None).map(drop),
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
    std::process::exit(i32::from(ended.is_err()));
}

/// This test program, about to do a deed.
fn worker(command: &mut Command, at: &Utf8Path, deed: &str) {
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "activate::the_one_who_installs", "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(DEED, deed).env(PREFIX, at);
}

/// Every system call that changes something a file system remembers.
const CALLS: &str = "openat,write,pwrite64,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,ftruncate,fsync,fdatasync,copy_file_range,flock";

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
        if begun {
            processes.insert(process.to_owned());
            instants.push((call.to_owned(), *count));
        }
    }
    assert_eq!(processes.len(), 1, "calls are counted in one thread");
    assert!(instants.len() > 20, "{instants:?}");
    instants
}

fn without_times(tree: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let plain = |path: String| path.split_once(".bak.").map_or(path.clone(), |(path, _)| format!("{path}.bak.*"));
    let count = tree.len();
    let tree: BTreeMap<_, _> = tree.into_iter().map(|(path, content)| (plain(path), content)).collect();
    assert_eq!(tree.len(), count, "one file was kept twice");
    tree
}

/// Kills a deed at every instant. After each, every program says one of what it may say, and the
/// same deed done again ends where it does without a kill.
fn kill_everywhere(prepare: &dyn Fn(&Utf8Path), deed: &str, programs: &[(&str, &[Option<&str>])]) {
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
        perform(at, deed).unwrap_or_else(|failure| panic!("{instant}: {:?}", failure.chain()));
        assert_eq!(without_times(tree(at)), expected, "{instant}");
    }
}

#[test]
fn a_first_installation_that_is_killed_anywhere_leaves_all_or_nothing() {
    kill_everywhere(&|_| (), "install 1.0.0 tool", &[("tool", &[None, Some("tool 1.0.0")])]);
}

#[test]
fn an_upgrade_that_is_killed_anywhere_leaves_the_old_version_or_the_new_one() {
    let prepare = |at: &Utf8Path| {
        for number in ["0.7.0", "0.8.0", "0.9.0"] {
            install(at, number);
        }
    };
    kill_everywhere(&prepare, "install 1.0.0 tool", &[("tool", &[Some("tool 0.9.0"), Some("tool 1.0.0")])]);
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
    let programs: &[(&str, &[Option<&str>])] = &[
        ("tool", &[Some("tool 0.9.0"), Some("tool 1.0.0")]),
        ("other", &[Some("foreign"), Some("other 1.0.0")]),
        // It is a link to the one before.
        ("third", &[Some("foreign"), Some("other 1.0.0"), Some("third 1.0.0")]),
    ];
    kill_everywhere(&prepare, "install 1.0.0 other,third,tool", programs);
}

#[test]
fn the_version_in_use_is_replaced_by_itself_without_an_instant_without_it() {
    let prepare = |at: &Utf8Path| {
        install(at, "0.9.0");
        install(at, "1.0.0");
    };
    kill_everywhere(&prepare, "reinstall 1.0.0", &[("tool", &[Some("tool 1.0.0"), Some("tool 1.0.0 again")])]);
}

#[test]
fn going_back_that_is_killed_anywhere_leaves_one_version_or_the_other() {
    let prepare = |at: &Utf8Path| {
        install(at, "1.0.0");
        install(at, "1.1.0");
    };
    kill_everywhere(&prepare, "revert", &[("tool", &[Some("tool 1.0.0"), Some("tool 1.1.0")])]);
}

#[test]
fn an_uninstallation_that_is_killed_anywhere_leaves_no_name_that_leads_nowhere() {
    let prepare = |at: &Utf8Path| {
        for number in ["1.0.0", "1.1.0"] {
            install_with(at, "tool", number, &["more", "tool"], "").unwrap();
        }
    };
    let programs: &[(&str, &[Option<&str>])] =
        &[("tool", &[None, Some("tool 1.1.0")]), ("more", &[None, Some("more 1.1.0")])];
    kill_everywhere(&prepare, "uninstall", programs);
}
