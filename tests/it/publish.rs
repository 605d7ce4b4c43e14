//! Publishing into a directory.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::events::Silence;
use consign::model::failure::Result;
use consign::model::{Code, Digest, Release};
use consign::provider::directory::Directory;
use consign::provider::{self, Asset, Published, Status, Upload};

use crate::support::Scratch;

const FILES: [&str; 4] = ["checksums.txt", "index.json", "provenance.json", "tool-1.0.0-linux-amd64.tar.gz"];

fn content(name: &str) -> Vec<u8> {
    name.repeat(5000).into_bytes()
}

/// A directory of files that stands for a bundle, and a publisher of it.
fn bundle(scratch: &Scratch) -> Utf8PathBuf {
    for name in FILES {
        scratch.write(&format!("bundle/{name}"), content(name));
    }
    scratch.path().join("bundle")
}

fn publish_from(bundle: &Utf8Path, target: &Utf8Path) -> Result<Published> {
    let asset = |name: &str| {
        let bytes = content(name);
        Asset { name: name.parse().unwrap(), size_bytes: bytes.len() as u64, sha256: Digest::of(&bytes) }
    };
    let assets = FILES.map(asset).to_vec();
    let release = Release::parse("v1.0.0").unwrap();
    let (commit, notes, evidence) = (None, String::new(), Vec::new());
    let upload = Upload { release, commit, notes, directory: bundle, assets, evidence };
    provider::publish(&Directory::at(target), &upload, &|_| Ok(()), &Silence)
}

/// Everything below a directory: paths with their bytes, or what they are instead.
fn tree(root: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let kind = fs_err::symlink_metadata(&path).unwrap();
            let value = match (kind.is_dir(), kind.is_file()) {
                (true, _) => b"directory".to_vec(),
                (_, true) => fs_err::read(&path).unwrap(),
                _ => b"other".to_vec(),
            };
            found.insert(path.strip_prefix(root).unwrap().to_string(), value);
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn expected() -> BTreeMap<String, Vec<u8>> {
    let files = FILES.map(|name| (format!("v1.0.0/{name}"), content(name)));
    files.into_iter().chain([("v1.0.0".to_owned(), b"directory".to_vec())]).collect()
}

#[test]
fn a_bundle_is_published_and_published_again() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("some/where"));
    let first = publish_from(&bundle, &target).unwrap();
    assert_eq!(first.status, Status::Published);
    let real = target.canonicalize_utf8().unwrap();
    assert_eq!(first.address.base, format!("file://{real}/v1.0.0/"));
    assert_eq!(tree(&target), expected());
    // Nothing of the first run is needed to see that there is nothing to do, and nothing is written.
    let before = fs_err::metadata(target.join("v1.0.0")).unwrap().modified().unwrap();
    let again = publish_from(&bundle, &target.join("v1.0.0")).unwrap();
    assert_eq!((again.status, again.address), (Status::Unchanged, first.address));
    assert_eq!(fs_err::metadata(target.join("v1.0.0")).unwrap().modified().unwrap(), before);
    assert_eq!(tree(&target), expected());
}

#[test]
fn a_target_named_like_the_version_is_that_version() {
    let scratch = Scratch::new();
    let target = scratch.path().join("releases/v1.0.0/");
    publish_from(&bundle(&scratch), &target).unwrap();
    assert_eq!(tree(&scratch.path().join("releases")), expected());
}

#[test]
fn other_bytes_under_a_published_version_are_refused_and_nothing_changes() {
    type Change = fn(&Utf8Path);
    let changes: [(&str, Change); 6] = [
        ("checksums.txt", |at| fs_err::write(at.join("checksums.txt"), "shorter").unwrap()),
        ("index.json", |at| {
            let mut bytes = content("index.json");
            bytes[100] ^= 1;
            fs_err::write(at.join("index.json"), bytes).unwrap();
        }),
        ("provenance.json", |at| fs_err::remove_file(at.join("provenance.json")).unwrap()),
        ("extra.txt", |at| fs_err::write(at.join("extra.txt"), "x").unwrap()),
        ("extra", |at| fs_err::create_dir(at.join("extra")).unwrap()),
        ("checksums.txt", |at| {
            fs_err::remove_file(at.join("checksums.txt")).unwrap();
            fs_err::create_dir(at.join("checksums.txt")).unwrap();
        }),
    ];
    for (name, change) in changes {
        let scratch = Scratch::new();
        let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
        publish_from(&bundle, &target).unwrap();
        change(&target.join("v1.0.0"));
        let before = tree(&target);
        let failure = publish_from(&bundle, &target).unwrap_err();
        assert_eq!((failure.code(), failure.about()), (Code::VersionPublished, Some(name)), "{failure}");
        assert_eq!(failure.code().exit() as u8, 6);
        assert_eq!(tree(&target), before, "{name}");
    }
}

#[test]
fn what_is_not_a_release_is_left_alone() {
    let scratch = Scratch::new();
    let bundle = bundle(&scratch);
    let file = scratch.write("file", "mine");
    let directory = scratch.write("full/v1.0.0/thesis.txt", "mine").parent().unwrap().to_owned();
    #[cfg(unix)]
    fs_err::os::unix::fs::symlink("nowhere", scratch.path().join("v1.0.0")).unwrap();
    let before = tree(scratch.path());
    let mut wrong = vec![
        file.clone(),
        file.join("below"),
        directory.clone(),
        directory.parent().unwrap().to_owned(),
        bundle.clone(),
        bundle.join("inside"),
    ];
    if cfg!(unix) {
        wrong.push(scratch.path().to_owned());
    }
    for target in wrong {
        assert_eq!(publish_from(&bundle, &target).unwrap_err().code(), Code::TargetForeign, "{target}");
        assert_eq!(tree(scratch.path()), before, "{target}");
    }
}

#[test]
fn a_bundle_is_not_published_into_itself() {
    let scratch = Scratch::new();
    let made = bundle(&scratch);
    let packages = scratch.path().join("packages");
    fs_err::create_dir(&packages).unwrap();
    fs_err::rename(&made, packages.join("v1.0.0")).unwrap();
    let failure = publish_from(&packages.join("v1.0.0"), &packages).unwrap_err();
    assert_eq!(failure.code(), Code::TargetForeign);
    assert_eq!(tree(&packages), expected());
}

#[cfg(unix)]
#[test]
fn a_target_may_be_a_link_to_a_directory() {
    let scratch = Scratch::new();
    let (bundle, real, link) = (bundle(&scratch), scratch.path().join("real"), scratch.path().join("link"));
    fs_err::create_dir(&real).unwrap();
    fs_err::os::unix::fs::symlink(&real, &link).unwrap();
    let done = publish_from(&bundle, &link).unwrap();
    assert_eq!(tree(&real), expected());
    assert_eq!(done.address.base, format!("file://{}/v1.0.0/", real.canonicalize_utf8().unwrap()));
    assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());
    // The version itself may be a link as well, if what it leads to is the same release.
    fs_err::create_dir(scratch.path().join("other")).unwrap();
    fs_err::os::unix::fs::symlink(real.join("v1.0.0"), scratch.path().join("other/v1.0.0")).unwrap();
    assert_eq!(publish_from(&bundle, &scratch.path().join("other")).unwrap().status, Status::Unchanged);
}

#[cfg(unix)]
#[test]
fn a_link_inside_a_published_version_is_not_a_file() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
    publish_from(&bundle, &target).unwrap();
    let file = target.join("v1.0.0/index.json");
    fs_err::remove_file(&file).unwrap();
    fs_err::os::unix::fs::symlink(bundle.join("index.json"), &file).unwrap();
    assert_eq!(publish_from(&bundle, &target).unwrap_err().code(), Code::VersionPublished);
}

#[test]
fn a_file_that_changed_after_it_was_verified_is_not_published() {
    for change in ["", "longer", "x"] {
        let scratch = Scratch::new();
        let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
        let mut bytes = content("provenance.json");
        match change {
            "longer" => bytes.push(b'x'),
            "x" => bytes[0] = b'x',
            _ => bytes.clear(),
        }
        fs_err::write(bundle.join("provenance.json"), bytes).unwrap();
        let failure = publish_from(&bundle, &target).unwrap_err();
        assert_eq!((failure.code(), failure.about()), (Code::DigestMismatch, Some("provenance.json")));
        assert_eq!(tree(&target), BTreeMap::new(), "something was left");
    }
}

#[test]
fn what_killed_runs_left_is_cleared_away() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
    scratch.write("target/.consign-staging-v1.0.0-abcdef/index.json", "half");
    scratch.write("target/.consign-staging-v0.9.0-abcdef/deep/er", "half");
    scratch.write("target/.consign-publish.lock", "");
    scratch.write("target/v1.0.0/checksums.txt", "half");
    publish_from(&bundle, &target).unwrap();
    assert_eq!(tree(&target), expected());
}

#[test]
fn other_versions_and_other_files_beside_stay() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
    scratch.write("target/v0.9.0/index.json", "old");
    scratch.write("target/README", "mine");
    publish_from(&bundle, &target).unwrap();
    let found = tree(&target);
    assert_eq!((&found["v0.9.0/index.json"][..], &found["README"][..]), (&b"old"[..], &b"mine"[..]));
    assert_eq!(found.len(), expected().len() + 3);
}

#[test]
fn a_reader_never_sees_half_a_version() {
    for round in 0..20 {
        let scratch = Scratch::new();
        let (bundle, target) = (bundle(&scratch), scratch.path().join(round.to_string()));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    if let Ok(list) = fs_err::read_dir(target.join("v1.0.0")) {
                        assert_eq!(list.count(), FILES.len());
                    }
                }
            });
            let published = publish_from(&bundle, &target);
            done.store(true, Ordering::SeqCst);
            reader.join().unwrap();
            published.unwrap();
        });
    }
}

#[test]
fn publishers_at_the_same_time_agree() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
    for round in 0..5 {
        let target = target.join(round.to_string());
        let results: Vec<Status> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| publish_from(&bundle, &target).unwrap().status)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|status| **status == Status::Published).count(), 1);
        assert_eq!(tree(&target), expected());
    }
}

#[cfg(unix)]
#[test]
fn a_lock_that_a_killed_run_left_behind_goes_with_the_next() {
    let scratch = Scratch::new();
    let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
    publish_from(&bundle, &target).unwrap();
    fs_err::write(target.join(".consign-publish.lock"), "1\n").unwrap();
    assert_eq!(publish_from(&bundle, &target).unwrap().status, Status::Unchanged);
    assert_eq!(tree(&target), expected());
}

#[cfg(unix)]
mod processes {
    //! Publishers that are processes of their own: this test program, run again.

    #![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Child, Command, Stdio};

    const BUNDLE: &str = "CONSIGN_TEST_PUBLISH_BUNDLE";
    const TARGET: &str = "CONSIGN_TEST_PUBLISH_TARGET";

    /// Does nothing unless it is run by [`start`].
    #[test]
    fn child() {
        if let (Ok(bundle), Ok(target)) = (std::env::var(BUNDLE), std::env::var(TARGET)) {
            publish_from(Utf8Path::new(&bundle), Utf8Path::new(&target)).unwrap();
        }
    }

    fn start(shell: &str, bundle: &Utf8Path, target: &Utf8Path) -> Child {
        Command::new("sh")
            .args(["-c", &format!("{shell}; exec \"$0\" --exact publish::processes::child --quiet")])
            .arg(std::env::current_exe().unwrap())
            .env(BUNDLE, bundle)
            .env(TARGET, target)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn everybody_can_read_what_is_published_whatever_the_umask() {
        for umask in ["umask 077", "umask 000"] {
            let scratch = Scratch::new();
            let (bundle, target) = (bundle(&scratch), scratch.path().join("new/target"));
            assert!(start(umask, &bundle, &target).wait().unwrap().success());
            let mode = |path: &Utf8Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o7777;
            for directory in [target.parent().unwrap(), &target, &target.join("v1.0.0")] {
                assert_eq!(mode(directory), 0o755, "{directory} with {umask}");
            }
            for name in FILES {
                assert_eq!(mode(&target.join("v1.0.0").join(name)), 0o644, "{name} with {umask}");
            }
        }
    }

    #[test]
    fn a_publisher_that_is_killed_leaves_nothing_that_the_next_does_not_mend() {
        let scratch = Scratch::new();
        let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
        let mut halves = 0;
        for files in (0..=FILES.len()).cycle().take(25) {
            let mut child = start(":", &bundle, &target);
            // Killed as soon as so many files are staged, or when it was too quick for that.
            while child.try_wait().unwrap().is_none() && staged(&target) < files {
                std::thread::yield_now();
            }
            let _ = child.kill();
            child.wait().unwrap();
            let visible = target.join("v1.0.0").exists();
            assert!(!visible || tree(&target.join("v1.0.0")).len() == FILES.len());
            halves += usize::from(!visible);
            publish_from(&bundle, &target).unwrap();
            assert_eq!(tree(&target).keys().collect::<Vec<_>>(), expected().keys().collect::<Vec<_>>());
            fs_err::remove_dir_all(&target).unwrap();
        }
        assert!(halves > 0, "no publisher was caught at work");
    }

    /// Every system call that can change what a file system remembers.
    const CALLS: &str = "openat,write,pwrite64,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,chmod,\
                         fchmod,fchmodat,ftruncate,copy_file_range,sendfile,fsync";

    /// A publisher whose system calls are watched.
    fn traced(watch: &[&str], bundle: &Utf8Path, target: &Utf8Path) -> std::process::Output {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq"]).args(watch).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "publish::processes::child", "--quiet", "--test-threads=1"]);
        command.env(BUNDLE, bundle).env(TARGET, target).output().unwrap()
    }

    /// Every instant at which publishing can be killed: the name of a call, and the how manieth of its name.
    fn instants() -> Vec<(String, usize)> {
        let scratch = Scratch::new();
        let (bundle, target, log) = (bundle(&scratch), scratch.path().join("target"), scratch.path().join("log"));
        let output = traced(&["-o", log.as_str(), "-e", &format!("trace={CALLS}")], &bundle, &target);
        assert!(output.status.success(), "{output:?}");
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        let (mut found, mut begun) = (Vec::new(), false);
        for line in fs_err::read_to_string(&log).unwrap().lines() {
            let (process, call) = line.split_once(' ').unwrap();
            let Some((call, _)) = call.trim_start().split_once('(') else { continue };
            let count = counts.entry((process.to_owned(), call.to_owned())).or_default();
            *count += 1;
            begun |= line.contains(target.as_str());
            let changes = !line.contains(" = -1 ") && (call != "openat" || line.contains("O_CREAT"));
            if begun && changes {
                found.push((call.to_owned(), *count));
            }
        }
        found
    }

    #[test]
    fn a_publisher_that_is_killed_at_any_instant_is_finished_by_the_next() {
        if !crate::support::need("strace") {
            return;
        }
        let instants = instants();
        assert!(instants.len() > 20, "{instants:?}");
        for (call, count) in instants {
            let instant = format!("killed at {call} {count}");
            let scratch = Scratch::new();
            let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
            let inject = format!("inject={call}:signal=KILL:when={count}");
            traced(&["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject], &bundle, &target);
            let release = target.join("v1.0.0");
            let seen = release.exists();
            assert!(!seen || tree(&release).len() == FILES.len(), "half a release: {instant}");
            let status = publish_from(&bundle, &target).unwrap().status;
            assert_eq!(status == Status::Unchanged, seen, "{instant}");
            assert_eq!(tree(&target), expected(), "{instant}");
        }
    }

    fn staged(target: &Utf8Path) -> usize {
        let Ok(list) = fs_err::read_dir(target) else { return 0 };
        list.flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".consign-staging-"))
            .filter_map(|entry| fs_err::read_dir(entry.path()).ok())
            .map(Iterator::count)
            .sum()
    }

    #[test]
    fn a_target_that_may_not_be_written_is_a_clear_failure() {
        let user = Command::new("id").arg("-u").output().unwrap().stdout;
        if user.trim_ascii() == b"0" {
            eprintln!("skipped: root may write everywhere");
            return;
        }
        let scratch = Scratch::new();
        let (bundle, target) = (bundle(&scratch), scratch.path().join("target"));
        fs_err::create_dir(&target).unwrap();
        fs_err::set_permissions(&target, std::fs::Permissions::from_mode(0o555)).unwrap();
        let failure = publish_from(&bundle, &target).unwrap_err();
        assert_eq!(failure.code(), Code::Io);
        assert_eq!(failure.way_out(), Some("check the owner and the permissions"));
    }
}
