//! Installing where something is in the way: no room, no right, no network, somebody else at work, a
//! version that was withdrawn.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;

use camino::Utf8PathBuf;
use consign::archive::{Options, Writer};
use consign::install::host::{Host, Libc};
use consign::model::index::{ArchiveFormat, Index};
use consign::model::{Digest, Platform};
use consign::trust::documents::read_index;
use consign::trust::key::{Algorithm, Signer};
use consign::trust::signatures::{Entry, Signatures};
use serde_json::{Value, json};

use crate::airgap::{catalog, publish};
use crate::attacks_catalog::resigned;
use crate::fixture::{DATE, Files, bundle_fixture, metadata};
use crate::http::{Server, good, send};
use crate::signed_verify::generate;
use crate::support::{self, Scratch, both, missing_unless, need, succeed};
use crate::trust::{Ceremony, tree};

/// A release of one program per platform, whatever the program is.
fn release(version: &str, programs: &[(Platform, Vec<u8>)]) -> Files {
    let mut index: Index = read_index(&bundle_fixture()["index.json"]).unwrap();
    let model = index.packages[0].clone();
    let mut files = Files::new();
    index.packages.clear();
    for (platform, program) in programs {
        let mut said = metadata(*platform);
        said.version = version.parse().unwrap();
        let said = consign::model::pretty(&said);
        let stem = format!("tool-{version}-{platform}");
        let options = Options { format: ArchiveFormat::TarGz, level: None, date: DATE.parse().unwrap() };
        let mut writer = Writer::new(&stem.parse().unwrap(), options);
        for (path, executable, mut content) in [("bin/tool", true, &program[..]), ("metadata.json", false, &said)] {
            writer.append(path, executable, content.len() as u64, &mut content).unwrap();
        }
        let packed = writer.finish().unwrap();
        let mut package = model.clone();
        (package.platform, package.target) = (*platform, platform.target().to_owned());
        package.archive = format!("{stem}.tar.gz").parse().unwrap();
        (package.size_bytes, package.sha256) = (packed.bytes.len() as u64, Digest::of(&packed.bytes));
        package.unpacked_size_bytes = packed.unpacked_size_bytes;
        "bin/tool".clone_into(&mut package.binaries[0].path);
        package.binaries[0].sha256 = Digest::of(program);
        package.binaries[0].size_bytes = program.len() as u64;
        files.insert(package.archive.to_string(), packed.bytes);
        index.packages.push(package);
    }
    index.packages.sort_by_key(|package| package.platform);
    (index.version, index.tag) = (version.parse().unwrap(), format!("v{version}"));
    index.source.reference = Some(format!("refs/tags/v{version}"));
    files.insert("index.json".to_owned(), index.render());
    files
}

fn here() -> Platform {
    Host::look().platforms()[0]
}

/// A program that says its version, and is as large as that.
fn script(version: &str, padding: usize) -> Vec<u8> {
    let mut script = format!("#!/bin/sh\necho tool {version}\nexit\n").into_bytes();
    let mut number = 1_u32;
    // What is not compressed away.
    script.extend(
        std::iter::repeat_with(|| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            number.to_le_bytes()[3]
        })
        .take(padding),
    );
    script
}

fn simple(version: &str) -> Files {
    release(version, &[(here(), script(version, 0))])
}

struct User {
    scratch: Scratch,
}

impl User {
    fn new() -> Self {
        Self { scratch: Scratch::new() }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    fn put(&self, directory: &str, files: &Files) {
        fs_err::create_dir_all(self.path(directory)).unwrap();
        for (name, bytes) in files {
            fs_err::write(self.path(directory).join(name), bytes).unwrap();
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = support::consign(self.scratch.path());
        command.args(line.split_whitespace()).env("XDG_STATE_HOME", self.path("state"));
        if !line.contains("--prefix") {
            command.args(["--prefix", self.path("prefix").as_str()]);
        }
        if !line.contains("--format") {
            command.args(["--format", "json"]);
        }
        command
    }

    #[track_caller]
    fn ok(&self, line: &str) -> Value {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, line: &str, exit: i32, code: &str) -> String {
        let before = tree(self.scratch.path());
        let output = self.command(line).output().unwrap();
        let said = refusal(&output, exit, code);
        assert!(tree(self.scratch.path()) == before, "{line} left something");
        said
    }

    fn says(&self) -> String {
        succeed(&mut Command::new(self.path("prefix/bin/tool")))
    }
}

#[track_caller]
fn refusal(output: &Output, exit: i32, code: &str) -> String {
    let said = both(output);
    assert_eq!(output.status.code(), Some(exit), "{said}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["code"], code, "{said}");
    assert!(document["hint"].is_string(), "there is no way out: {said}");
    said
}

/// A process whose standard error is waited on.
struct Running {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { child, errors }
    }

    /// Reads up to a line with this word in it.
    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.errors.read_line(&mut line).unwrap() > 0, "it ended without {word:?}");
        }
    }

    fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

#[test]
fn what_is_newer_by_the_time_it_is_its_turn_stays() {
    let user = User::new();
    user.put("1.0.0", &simple("1.0.0"));
    let newer = simple("2.0.0");
    let (asked, is_asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
    let server = Server::start(move |request, stream| {
        let name = request.path.rsplit('/').next().unwrap();
        if name.ends_with(".tar.gz") {
            asked.lock().unwrap().send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        }
        send(stream, &good(&newer[name]));
    });
    let first = Running::start(&mut user.command(&format!("install --index {}", server.url("index.json"))));
    // It has its turn when it fetches the archive.
    is_asked.recv().unwrap();
    let mut second = Running::start(&mut user.command("install --index 1.0.0/index.json"));
    second.wait_for(&format!("waiting for another installation of tool (process {})", first.child.id()));
    go.send(()).unwrap();
    assert!(first.end().status.success());
    refusal(&second.end(), 6, "downgrade_refused");
    assert_eq!(user.says(), "tool 2.0.0\n");
    assert_eq!(user.ok("installed")["products"][0]["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn several_at_once_take_turns_and_leave_nothing_behind() {
    let user = User::new();
    user.put("1.0.0", &simple("1.0.0"));
    let line = "install --index 1.0.0/index.json";
    let running: Vec<_> = (0..4).map(|_| Running::start(&mut user.command(line))).collect();
    for one in running {
        let output = one.end();
        assert!(output.status.success(), "{}", both(&output));
    }
    assert_eq!(user.says(), "tool 1.0.0\n");
    user.ok("uninstall tool");
    assert!(tree(&user.path("prefix")).is_empty(), "{:?}", tree(&user.path("prefix")).keys());
}

/// Runs a script in which `$consign` installs and `$at` is a file system of its own, if that can be.
fn on_a_file_system(user: &User, script: &str) -> Option<(bool, String, String)> {
    fs_err::create_dir_all(user.path("mount")).unwrap();
    let at = user.path("mount");
    let probe = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", at.as_str()]).output();
    let can = need("unshare") && missing_unless(probe.is_ok_and(|probe| probe.status.success()), "the right to mount");
    if !can {
        return None;
    }
    let script = format!(
        "set -e; consign() {{ {} \"$@\" --prefix {at}/prefix; }}; mount -t tmpfs none {at}; status=0; \
         {script} || status=$?; echo AFTERWARDS; {at}/prefix/bin/tool; find {at} | sort; exit $status",
        env!("CARGO_BIN_EXE_consign")
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).current_dir(user.scratch.path());
    support::clean(&mut command);
    let output = command.env("XDG_STATE_HOME", user.path("state")).output().unwrap();
    let (said, told) = (both(&output), String::from_utf8_lossy(&output.stdout).into_owned());
    let after = told.split_once("AFTERWARDS\n").unwrap_or_else(|| panic!("{said}")).1.to_owned();
    Some((output.status.success(), said, after))
}

#[test]
fn without_room_the_old_version_stays_and_nothing_else() {
    let user = User::new();
    user.put("1.0.0", &simple("1.0.0"));
    user.put("2.0.0", &release("2.0.0", &[(here(), script("2.0.0", 150_000))]));
    let mut refused = 0;
    for pages in (0..80).step_by(5) {
        let script = format!(
            "consign install --index 1.0.0/index.json; \
             mount -o remount,size=$((($(df --output=used -k mount | tail -1) + {pages} * 4) * 1024)) mount; \
             consign install --index 2.0.0/index.json"
        );
        let Some((succeeded, said, after)) = on_a_file_system(&user, &script) else { return };
        if succeeded {
            assert!(after.starts_with("tool 2.0.0\n"), "{after}");
            break;
        }
        refused += 1;
        assert!(said.contains("No space left") && said.contains("free some space"), "{pages}: {said}");
        assert!(after.starts_with("tool 1.0.0\n") && !after.contains("2.0.0"), "{pages}: {after}");
        let litter = [".staging", ".new", ".old", ".consign", ".current", ".lock", "-spool"];
        assert!(!litter.iter().any(|name| after.contains(name)), "{pages}: {after}");
    }
    assert!((2..16).contains(&refused), "{refused}");
}

#[test]
fn a_file_system_that_cannot_be_written_is_said_to_be_one() {
    let user = User::new();
    user.put("1.0.0", &simple("1.0.0"));
    user.put("2.0.0", &simple("2.0.0"));
    for deed in ["install --index 2.0.0/index.json", "uninstall tool", "install --index 1.0.0/index.json --keep 1"] {
        let script = format!("consign install --index 1.0.0/index.json; mount -o remount,ro mount; consign {deed}");
        let Some((succeeded, said, after)) = on_a_file_system(&user, &script) else { return };
        assert!(!succeeded && said.contains("read-only") && said.contains("`--prefix`"), "{deed}: {said}");
        assert!(after.starts_with("tool 1.0.0\n") && !after.contains("2.0.0"), "{after}");
    }
}

#[test]
fn a_prefix_of_somebody_else_is_left_to_them() {
    let user = User::new();
    let is_root = rustix::process::geteuid().is_root();
    if !need("setpriv") || !missing_unless(is_root, "the right to be somebody else") {
        return;
    }
    let open = |path: &camino::Utf8Path, mode| {
        fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(user.scratch.path(), 0o755);
    user.put("1.0.0", &simple("1.0.0"));
    user.put("2.0.0", &simple("2.0.0"));
    // Whoever it is has to be able to start it.
    fs_err::copy(env!("CARGO_BIN_EXE_consign"), user.path("consign")).unwrap();
    open(&user.path("consign"), 0o755);
    fs_err::create_dir_all(user.path("home")).unwrap();
    open(&user.path("home"), 0o777);
    user.ok("install --index 1.0.0/index.json");
    let as_nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(user.path("consign"));
        command.args(line.split_whitespace()).args(["--format", "json"]).current_dir(user.scratch.path());
        support::clean(&mut command);
        command.env("HOME", user.path("home")).env_remove("XDG_STATE_HOME").output().unwrap()
    };
    let before = tree(&user.path("prefix"));
    for line in ["install --index 2.0.0/index.json", "uninstall tool", "revert tool"] {
        let output = as_nobody(&format!("{line} --prefix prefix"));
        let said = refusal(&output, 1, "io");
        assert!(said.contains("Permission denied") && said.contains("`--prefix`"), "{said}");
        assert!(tree(&user.path("prefix")) == before, "{line}");
    }
    // What is there can be read by anybody, and a prefix of one's own is the default.
    let output = as_nobody("installed --prefix prefix");
    assert!(output.status.success(), "{}", both(&output));
    let output = as_nobody("install --index 2.0.0/index.json");
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(succeed(&mut Command::new(user.path("home/.local/bin/tool"))), "tool 2.0.0\n");
}

#[test]
fn a_prefix_behind_a_link_is_used_and_a_link_inside_is_not() {
    let user = User::new();
    user.put("1.0.0", &simple("1.0.0"));
    user.put("2.0.0", &simple("2.0.0"));
    fs_err::create_dir(user.path("real")).unwrap();
    std::os::unix::fs::symlink(user.path("real"), user.path("prefix")).unwrap();
    let done = user.ok("install --index 1.0.0/index.json");
    let real = user.path("real").canonicalize_utf8().unwrap().join("bin/tool");
    assert_eq!(done["programs"][0], real.as_str(), "where it really is");
    user.ok("install --index 2.0.0/index.json");
    assert_eq!(user.ok("revert tool")["version"], "1.0.0");
    assert_eq!(user.says(), "tool 1.0.0\n");
    fs_err::rename(user.path("real/lib"), user.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(user.path("elsewhere"), user.path("real/lib")).unwrap();
    for line in ["install --index 2.0.0/index.json", "revert tool", "uninstall tool", "installed"] {
        user.refused(line, 6, "prefix_refused");
    }
}

#[test]
fn what_needs_a_newer_library_is_told_so_and_another_is_taken_where_there_is_one() {
    let (host, user) = (Host::look(), User::new());
    let newest = |bytes: &[u8]| {
        (0..100)
            .rev()
            .map(|minor| format!("GLIBC_2.{minor}\0"))
            .find(|name| memchr::memmem::find(bytes, name.as_bytes()).is_some())
    };
    let program = fs_err::read("/bin/true").unwrap_or_default();
    let (Libc::Glibc(Some(there)), Some(name)) = (host.libc, newest(&program)) else {
        missing_unless(false, "a program that is linked against glibc");
        return;
    };
    let unheard_of = name.replace("GLIBC_2", "GLIBC_9");
    let mut demanding = program;
    while let Some(at) = memchr::memmem::find(&demanding, name.as_bytes()) {
        demanding[at..at + name.len()].copy_from_slice(unheard_of.as_bytes());
    }
    let platforms = host.platforms();
    user.put("one", &release("1.0.0", &[(platforms[0], demanding.clone())]));
    let said = user.refused("install --index one/index.json", 1, "program_unusable");
    let needed = unheard_of.trim_end_matches('\0').replace("GLIBC_", "glibc ");
    assert!(said.contains(&format!("needs {needed}, and this machine has {there}")), "{said}");
    user.put("two", &release("1.0.0", &[(platforms[0], demanding), (platforms[1], script("1.0.0", 0))]));
    let output = user.command("install --index two/index.json").output().unwrap();
    assert!(output.status.success() && both(&output).contains("the next platform is tried"), "{}", both(&output));
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["platform"], platforms[1].name());
    assert_eq!(user.says(), "tool 1.0.0\n");
}

#[test]
fn nothing_less_is_accepted_than_any_version_was_verified_by() {
    let (user, key) = (User::new(), generate(Algorithm::EcdsaP256));
    user.scratch.write("key.pub", key.public().to_pem());
    user.put("1.0.0", &simple("1.0.0"));
    user.put("2.0.0", &signed("2.0.0", key.as_ref()));
    user.put("3.0.0", &simple("3.0.0"));
    user.ok("install --index 1.0.0/index.json");
    user.ok("install --index 2.0.0/index.json --pubkey key.pub");
    // Not in another prefix either, whatever is in use there.
    let said = user.refused("install --index 3.0.0/index.json --skip-signature --prefix other", 6, "trust_lowered");
    assert!(said.contains("consign uninstall tool"), "{said}");
    user.refused("install --index 3.0.0/index.json --prefix other", 4, "unsigned");
    // The version in use was believed by nobody; the one beside it was verified.
    assert_eq!(user.ok("revert tool")["version"], "1.0.0");
    fs_err::remove_dir_all(user.path("state")).unwrap();
    user.refused("install --index 3.0.0/index.json", 6, "trust_lowered");
    user.refused("install --index 3.0.0/index.json --skip-signature --allow-downgrade", 6, "trust_lowered");
    // Whoever takes it away begins anew.
    user.ok("uninstall tool");
    assert_eq!(user.ok("install --index 3.0.0/index.json")["trust"]["kind"], "unchecked");
}

/// A release with a list of signatures over its index.
fn signed(version: &str, key: &dyn Signer) -> Files {
    let mut files = simple(version);
    let index = &files["index.json"];
    let entry = Entry {
        file: "index.json".parse().unwrap(),
        sha256: Digest::of(index),
        signature: consign::trust::key::sign(key, index).unwrap(),
        algorithm: key.public().algorithm(),
        key_id: key.public().id(),
    };
    let list = Signatures::new(version.parse().unwrap(), vec![entry]);
    files.insert("signatures.json".to_owned(), list.render());
    files
}

const UPGRADE: &str = "upgrade --prefix prefix --platform linux-amd64 --no-run";
const INSTALL: &str =
    "install --catalog releases --trust-root pinned.json --prefix prefix --platform linux-amd64 --no-run";

fn yank(ceremony: &Ceremony, version: &str) {
    ceremony.ok(&format!(
        "catalog yank v{version} --reason broken-{version} --target releases --key release.pem --key ci.pem"
    ));
}

#[test]
fn where_nothing_newer_is_there_what_is_installed_stays() {
    let ceremony = catalog(&["1.0.0"]);
    ceremony.ok(INSTALL);
    yank(&ceremony, "1.0.0");
    let unchanged = |line: &str, version: &str, withdrawn: Option<&str>| {
        let output = ceremony.run(&format!("{line} --format json"));
        assert!(output.status.success(), "{line}: {}", both(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let done = &told["products"][0];
        assert_eq!((&done["status"], &done["version"]), (&"unchanged".into(), &version.into()), "{line}");
        assert_eq!(done["withdrawn"].as_str(), withdrawn, "{line}");
        let warned = String::from_utf8_lossy(&output.stderr).contains("was withdrawn");
        assert_eq!(warned, withdrawn.is_some(), "{line}");
    };
    // The only version was withdrawn, and works as it did.
    unchanged(UPGRADE, "1.0.0", Some("broken-1.0.0"));
    unchanged("upgrade --catalog releases --prefix prefix --platform linux-amd64", "1.0.0", Some("broken-1.0.0"));
    ceremony.refused(&INSTALL.replace("prefix prefix", "prefix other"), 6, "yanked");
    // What takes its place is taken.
    publish(&ceremony, "1.1.0");
    assert_eq!(ceremony.ok(UPGRADE)["products"][0]["version"], "1.1.0");
    // The newest was withdrawn, and going back is for its user to decide.
    publish(&ceremony, "1.2.0");
    ceremony.ok(UPGRADE);
    yank(&ceremony, "1.2.0");
    unchanged(UPGRADE, "1.2.0", Some("broken-1.2.0"));
    ceremony.refused(&format!("{UPGRADE} --version 1.1.0"), 6, "downgrade_refused");
    assert_eq!(ceremony.ok(&format!("{UPGRADE} --allow-downgrade"))["products"][0]["version"], "1.1.0");
    // A prerelease that somebody named is newer than what everybody gets.
    publish(&ceremony, "2.0.0-rc.1");
    ceremony.ok(&format!("{INSTALL} --version 2.0.0-rc.1"));
    unchanged(&format!("{UPGRADE} --catalog releases"), "2.0.0-rc.1", None);
}

#[test]
fn a_catalog_that_says_something_else_than_the_index_is_refused() {
    const ARCHIVE: &str = "v1.0.0/tool-1.0.0-linux-amd64.tar.gz";
    let changes: [fn(&mut Value); 5] = [
        |targets| targets[ARCHIVE]["hashes"]["sha256"] = "ab".repeat(32).into(),
        |targets| targets[ARCHIVE]["length"] = 1.into(),
        |targets| drop(targets.as_object_mut().unwrap().remove(ARCHIVE)),
        |targets| targets["v1.0.0/index.json"]["custom"]["version"] = "1.0.1".into(),
        |targets| targets["v1.0.0/index.json"]["custom"]["channel"] = "beta".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let ceremony = catalog(&["1.0.0"]);
        let is = |version: u64| move |signed: &mut Value| signed["version"] = version.into();
        let targets = |signed: &mut Value| {
            change(&mut signed["targets"]);
            is(3)(signed);
        };
        resigned(&ceremony, "targets.json", "release.pem", targets, |text| text);
        for (file, of, version) in [("snapshot.json", "targets.json", 3), ("timestamp.json", "snapshot.json", 9)] {
            let names = |signed: &mut Value| {
                signed["meta"][of] = json!({ "version": version });
                is(9)(signed);
            };
            resigned(&ceremony, file, "ci.pem", names, |text| text);
        }
        let output = ceremony.run(&format!("{INSTALL} --format json"));
        let said = refusal(&output, 4, "catalog_invalid");
        assert!(said.contains("index"), "{number}: {said}");
        assert!(tree(&ceremony.path("prefix")).is_empty(), "{number}");
    }
}

#[test]
fn an_address_of_a_release_is_one_and_each_file_is_asked_for_once() {
    for (address, asked) in [("releases/v1.0.0/", 2), ("releases/v1.0.0", 2), ("any/where/", 2)] {
        let user = User::new();
        let server = Server::of_files(simple("1.0.0"));
        let done = user.ok(&format!("install --from {}", server.url(address)));
        assert_eq!((&done["origin"]["kind"], &done["version"]), (&"index".into(), &"1.0.0".into()));
        assert_eq!(server.requests().len(), asked, "{:?}", server.requests());
        assert_eq!(user.ok("upgrade")["products"][0]["status"], "unchanged");
    }
}

#[test]
fn whoever_watches_sees_it_come_and_nobody_else_does() {
    let user = User::new();
    let server = Server::of_files(release("1.0.0", &[(here(), script("1.0.0", 300_000))]));
    let line = format!("install --index {}", server.url("index.json"));
    let output = user.command(&format!("{line} --format ndjson")).output().unwrap();
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, events) = lines.split_last().unwrap();
    assert_eq!(last["type"], "consign.installation/v1");
    let bytes: Vec<u64> = events.iter().map(|event| event["bytes"].as_u64().unwrap()).collect();
    assert!(events.len() > 3 && events.iter().all(|event| event["event"] == "transfer"), "{events:?}");
    assert!(bytes.is_sorted() && bytes.last() == last["size_bytes"].as_u64().as_ref(), "{bytes:?}");
    assert!(events.last().unwrap()["ended"] == true && events[0]["ended"] == false);
    user.ok("uninstall tool");
    for format in ["--format json", "--format text --quiet"] {
        let output = user.command(&format!("{line} {format}")).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !errors.contains("fetch"), "{errors}");
        user.ok("uninstall tool");
    }
    let output = user.command(&format!("{line} --format text --verbose")).output().unwrap();
    assert!(both(&output).contains("fetched  tool-1.0.0-"), "{}", both(&output));
}

#[test]
fn a_key_in_a_variable_that_cannot_be_read_is_not_one_that_was_left_out() {
    use std::os::unix::ffi::OsStrExt as _;
    let scratch = Scratch::new();
    fs_err::create_dir(scratch.path().join("release")).unwrap();
    crate::fixture::write(&bundle_fixture(), &scratch.path().join("release"));
    let mut install = support::consign(scratch.path());
    install.args(["install", "--index", "release/index.json", "--prefix", "prefix", "--no-run"]);
    let refused = install.env("CONSIGN_VERIFY_PUBKEY", std::ffi::OsStr::from_bytes(b"key\xff.pem")).output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", both(&refused));
    assert!(!scratch.path().join("prefix").exists());
}

#[test]
fn a_file_where_installations_are_kept_is_said_to_be_in_the_way() {
    let scratch = Scratch::new();
    fs_err::create_dir(scratch.path().join("release")).unwrap();
    crate::fixture::write(&bundle_fixture(), &scratch.path().join("release"));
    scratch.write("prefix/lib/consign", "mine");
    let line = ["install", "--index", "release/index.json", "--prefix", "prefix", "--no-run"];
    crate::workspaces::json(scratch.path(), &line).failed(6, "prefix_refused");
    assert_eq!(fs_err::read_to_string(scratch.path().join("prefix/lib/consign")).unwrap(), "mine");
}
