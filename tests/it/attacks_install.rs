//! What an attacker tries with archives and with the network, against the command that installs.
//!
//! Each attack goes through the real command, with a version in use and a server that keeps a log. It has to
//! be refused by the right code and exit code; nothing may have changed anywhere that the command may write
//! to, staging included; the version in use works; and after the answer that was refused nothing is asked
//! for. The index is always right about the archive's name, sizes and digest: only the archive is wrong.
//!
//! | attack | tests |
//! |---|---|
//! | C1 a path out | `no_hostile_tar…`, `no_hostile_zip…`: "a path out of…", "an absolute path", "a prefix that leads out" |
//! | C3 writing through a link | `no_hostile_tar…`: "a link and a file through it", "a link in two steps" |
//! | C4 a symbolic link alone | `no_hostile_tar…`: "a symbolic link…", "a program that is a link"; `no_hostile_zip…`: "a symbolic link in a zip" |
//! | C5 hard links | `no_hostile_tar…`: "a hard link…" |
//! | C6 a link, and a directory of its name | `no_hostile_tar…`: "a link and a directory of its name" |
//! | C7 two sizes | `no_hostile_tar…`: "a size of another parser", "a record of a record", "a PAX size"; `no_vector…` |
//! | C9 paths in PAX records | `no_hostile_tar…`: "a PAX path", "a path with NUL in a record" |
//! | C11 one name in two spellings | `no_hostile_tar…`: "another case", "a combining accent"; `no_hostile_zip…`: "another case in a zip" |
//! | C12 modes | `no_hostile_tar…`: "set user id", "writable by all", "no rights"…; `what_is_installed_has_modes_of_its_own` |
//! | C14 sparse files | `no_hostile_tar…`: "a sparse file…"; `no_vector…`: `sparse-large.tar` |
//! | C15 bombs | `no_hostile_tar…`: "a bomb"; `no_hostile_zstd…`: "a bomb in a frame", "a window of terabytes" |
//! | C16 too many entries, long paths | `no_hostile_tar…`: "too many entries", "too deep", "a long name of a megabyte" |
//! | C19 cut off | `no_hostile_tar…`: "no end", "cut off in a file"…; `servers::what_ends_too_early…` |
//! | C21 characters | `no_hostile_tar…`: "an escape character", "a leading hyphen", "an alternate stream"… |
//! | C22 long names, other encodings | `no_hostile_tar…`: "a path of more than two hundred bytes", "a name that is not UTF-8"; `no_vector…` |
//! | C23 other bytes after the check | `nothing_has_a_name_while_bytes_come`, `what_was_installed_is_nobody_elses_file`, `what_is_no_regular_file_is_not_read` |
//! | C24 a destination that leads elsewhere | `a_prefix_that_leads_elsewhere_is_refused` |
//! | C25 the installer's own state | `no_archive_writes_what_the_installer_keeps`, `no_hostile_tar…`: "a receipt of its own" |
//! | C26 killed half-way | `who_is_killed_while_bytes_come_leaves_the_old_version`, `activate_kill` |
//! | D2 endless and slow | `servers::what_does_not_end…`, `servers::who_falls_silent…` |
//! | D3 to plain http | `servers::a_secure_place_leads_to_no_weaker_one` |
//! | D4 credentials | `credentials_stay_with_the_place_they_are_for` |
//! | D5 to other kinds of places | `no_redirect_leads_to_another_kind_of_place` |
//! | D7 control characters | `no_redirect_leads_to_another_kind_of_place` |
//! | D10 what is stale | `an_old_catalog_and_an_old_index_install_nothing` |

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use consign::model::Digest;
use consign::model::index::{ArchiveFormat, Index};
use consign::trust::documents::read_index;
use serde_json::Value;

use crate::attacked::{Bench, litter};
use crate::fixture::{Files, bundle_fixture};
use crate::hostile::{self, Case, STEM};
use crate::hostile_formats::{self, PROGRAM};
use crate::http::{Server, answer, good, send};
use crate::install::{release, signed};
use crate::signed_verify::scene;
use crate::support::{both, missing_unless, succeed};
use crate::trust::Ceremony;
use crate::verify::vectors;

/// A user with 0.9.0 of the tool.
pub struct Victim {
    pub bench: Bench,
}

impl Victim {
    pub fn new() -> Self {
        let bench = Bench::new(&Files::new());
        fs_err::create_dir(bench.path("before")).unwrap();
        crate::fixture::write(&release("0.9.0"), &bench.path("before"));
        let victim = Self { bench };
        victim.ok("install --index before/index.json");
        victim
    }

    pub fn command(&self, line: &str) -> Command {
        self.bench.command(&format!("{line} --prefix prefix"))
    }

    pub fn ok(&self, line: &str) -> Value {
        self.bench.passes(&format!("{line} --prefix prefix"))
    }

    /// Installing for the platform of the hostile archives, whatever machine this is.
    pub fn install(&self, index: &str) -> Command {
        self.command(&format!("install --index {index} --platform linux-amd64 --no-run"))
    }

    /// Refused, and the version in use is the one from before.
    #[track_caller]
    pub fn refused(&self, what: &str, command: &mut Command, exit: i32, code: &str) -> Value {
        let told = self.bench.refused(what, command, exit, &[code]);
        self.assert_unmoved(what);
        told
    }

    #[track_caller]
    pub fn assert_unmoved(&self, what: &str) {
        assert_eq!(succeed(&mut Command::new(self.bench.path("prefix/bin/tool"))), "tool 0.9.0\n", "{what}");
        assert!(!self.bench.path("prefix/lib/consign/tool/1.0.0").exists(), "{what}");
    }

    /// Refuses a release from a server of files, after whose last answer nothing was asked for.
    #[track_caller]
    fn refuses_served(&self, what: &str, files: Files, code: &str) {
        let server = Server::of_files(files);
        self.refused(what, &mut self.install(&server.url("index.json")), 4, code);
        let asked: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
        let archive = format!("/{STEM}.");
        assert_eq!(asked[0], "/index.json", "{what}");
        let rest = &asked[1..];
        let expected = usize::from(code != "document_invalid");
        assert!(rest.len() == expected && rest.iter().all(|path| path.starts_with(&archive)), "{what}: {asked:?}");
    }
}

/// A release of one package for `linux-amd64`, whose index is right about the archive and what is in it.
pub fn release_of(case: &Case) -> Files {
    let mut index: Index = read_index(&bundle_fixture()["index.json"]).unwrap();
    index.packages.truncate(1);
    let package = &mut index.packages[0];
    let name = format!("{STEM}.{}", case.format.extension());
    (package.archive, package.format) = (name.parse().unwrap(), case.format);
    (package.size_bytes, package.sha256) = (case.bytes.len() as u64, Digest::of(&case.bytes));
    package.unpacked_size_bytes = case.unpacked_size_bytes;
    package.binaries[0].sha256 = Digest::of(PROGRAM);
    package.binaries[0].size_bytes = PROGRAM.len() as u64;
    Files::from([("index.json".to_owned(), index.render()), (name, case.bytes.clone())])
}

/// An archive that is accepted.
pub fn accepted(format: ArchiveFormat) -> Case {
    hostile_formats::accepted().into_iter().find(|case| case.format == format).unwrap()
}

/// Every hostile archive of a format is refused for what it is, and nothing but that.
fn none_is_installed(format: ArchiveFormat, at_least: usize) {
    let victim = Victim::new();
    let mut refused = 0;
    let is_one = |(number, case): &(usize, Case)| {
        // Bytes that are flipped are so many that some will do; `unpack` tries them all.
        case.format == format && (case.name != "a flipped byte" || number % 8 == 0)
    };
    for (_, case) in hostile::cases().into_iter().enumerate().filter(is_one) {
        let files = release_of(&case);
        // Sizes that no archive may have are refused in the index already.
        let is_index = read_index(&files["index.json"]).is_err();
        victim.refuses_served(case.name, files, if is_index { "document_invalid" } else { "archive_invalid" });
        refused += 1;
    }
    assert!(refused >= at_least, "{refused} archives only");
    // What they all differ from is installed.
    let server = Server::of_files(release_of(&accepted(format)));
    let output = victim.install(&server.url("index.json")).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(fs_err::read(victim.bench.path("prefix/bin/tool")).unwrap(), PROGRAM);
}

#[test]
fn no_hostile_tar_is_installed() {
    none_is_installed(ArchiveFormat::TarGz, 180);
}

#[test]
fn no_hostile_zstd_frame_is_installed() {
    none_is_installed(ArchiveFormat::TarZst, 20);
}

#[test]
fn no_hostile_zip_is_installed() {
    none_is_installed(ArchiveFormat::Zip, 60);
}

#[test]
fn no_vector_of_others_is_installed() {
    let Some(vectors) = vectors("tar") else { return };
    let victim = Victim::new();
    let mut seen = 0;
    for directory in [vectors.clone(), vectors.join("archives")] {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let tar = fs_err::read(&path).unwrap();
            let what = path.display().to_string();
            for (format, bytes) in [
                (ArchiveFormat::TarGz, hostile::gzip(&tar)),
                (ArchiveFormat::TarZst, hostile::zstd(&tar)),
                (ArchiveFormat::Zip, tar.clone()),
            ] {
                let case = Case { name: "a vector", format, bytes, unpacked_size_bytes: tar.len() as u64 };
                victim.refuses_served(&what, release_of(&case), "archive_invalid");
            }
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[test]
fn a_program_that_the_index_does_not_describe_is_not_installed() {
    let victim = Victim::new();
    for format in [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip] {
        for change in [
            |index: &mut Index| index.packages[0].binaries[0].sha256 = Digest::of(b"other"),
            |index: &mut Index| "bin/other".clone_into(&mut index.packages[0].binaries[0].path),
            |index: &mut Index| {
                let mut more = index.packages[0].binaries[0].clone();
                "bin/z".clone_into(&mut more.path);
                index.packages[0].binaries.push(more);
            },
            |index: &mut Index| {
                // Another release of the same product, with everything else right.
                index.source.commit = Some("f".repeat(40));
            },
        ] {
            let mut files = release_of(&accepted(format));
            let mut index = read_index(&files["index.json"]).unwrap();
            change(&mut index);
            files.insert("index.json".to_owned(), index.render());
            victim.refuses_served("another program", files, "archive_mismatch");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_installed_has_modes_of_its_own() {
    use std::os::unix::fs::PermissionsExt as _;
    // What is created with the widest umask and the narrowest comes out the same.
    for umask in ["000", "077"] {
        let victim = Victim::new();
        let server = Server::of_files(release_of(&accepted(ArchiveFormat::TarGz)));
        let install = victim.install(&server.url("index.json"));
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask \"$0\"; exec \"$@\"", umask]).arg(install.get_program()).args(install.get_args());
        victim.bench.surround(&mut shell);
        succeed(&mut shell);
        let version = victim.bench.path("prefix/lib/consign/tool/1.0.0");
        for (path, mode) in [("", 0o755), ("bin", 0o755), ("bin/tool", 0o755), ("README.md", 0o644)] {
            let found = fs_err::metadata(version.join(path)).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{path} {umask}");
        }
    }
}

/// A server of files that sends half of the archive, and goes on when it is told to.
fn halting(files: Files) -> (Server, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (has_sent, half) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let server = Server::start(move |request, stream| {
        let reply = good(&files[request.path.trim_start_matches('/')]);
        if request.path == "/index.json" {
            return send(stream, &reply);
        }
        let (first, rest) = reply.split_at(reply.len() - 20);
        send(stream, first);
        let _ = has_sent.send(());
        // Whoever was killed does not want the rest.
        if wait.lock().unwrap().recv().is_ok() {
            send(stream, rest);
        }
    });
    (server, half, go_on)
}

fn started(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// How long something may take that comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is true.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        std::thread::yield_now();
    }
}

/// Everything in the product's directory that is being made ready.
fn staged(victim: &Victim) -> Vec<String> {
    let product = victim.bench.path("prefix/lib/consign/tool");
    let names = product.read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned());
    names.filter(|name| name.starts_with(".staging")).collect()
}

#[cfg(unix)]
#[test]
fn nothing_has_a_name_while_bytes_come() {
    use std::os::unix::fs::PermissionsExt as _;
    let victim = Victim::new();
    let (server, half, go_on) = halting(release_of(&accepted(ArchiveFormat::TarGz)));
    let child = started(&mut victim.install(&server.url("index.json")));
    half.recv_timeout(PATIENCE).unwrap();
    until(|| !staged(&victim).is_empty());
    let staging = victim.bench.path("prefix/lib/consign/tool").join(&staged(&victim)[0]);
    assert_eq!(fs_err::metadata(&staging).unwrap().permissions().mode() & 0o777, 0o700);
    for (path, seen) in litter(&staging) {
        let name = path.strip_prefix(&staging).unwrap();
        let is_numbered = name.as_str().trim_start_matches("-spool").trim_start_matches('/');
        assert!(is_numbered.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
        if seen.is_some() {
            assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    go_on.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(staged(&victim), [""; 0]);
}

#[cfg(unix)]
#[test]
fn who_is_killed_while_bytes_come_leaves_the_old_version() {
    for signal in ["KILL", "TERM", "INT"] {
        let victim = Victim::new();
        let files = release_of(&accepted(ArchiveFormat::TarGz));
        let (server, half, go_on) = halting(files.clone());
        let mut child = started(&mut victim.install(&server.url("index.json")));
        half.recv_timeout(PATIENCE).unwrap();
        until(|| !staged(&victim).is_empty());
        succeed(Command::new("kill").args(["-s", signal, &child.id().to_string()]));
        assert!(!child.wait().unwrap().success(), "{signal}");
        drop(go_on);
        victim.assert_unmoved(signal);
        // The next one finds nothing in its way, and leaves nothing.
        let server = Server::of_files(files);
        let output = victim.install(&server.url("index.json")).output().unwrap();
        assert!(output.status.success(), "{signal}: {}", both(&output));
        assert_eq!(staged(&victim), [""; 0], "{signal}");
        assert_eq!(fs_err::read(victim.bench.path("prefix/bin/tool")).unwrap(), PROGRAM);
    }
}

#[test]
fn what_was_installed_is_nobody_elses_file() {
    let victim = Victim::new();
    let files = release_of(&accepted(ArchiveFormat::TarGz));
    fs_err::create_dir(victim.bench.path("new")).unwrap();
    crate::fixture::write(&files, &victim.bench.path("new"));
    // Somebody holds the archive by another name.
    let archive = victim.bench.path(&format!("new/{STEM}.tar.gz"));
    fs_err::hard_link(&archive, victim.bench.path("held")).unwrap();
    let output = victim.install("new/index.json").output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    fs_err::write(victim.bench.path("held"), "evil").unwrap();
    assert_eq!(fs_err::read(victim.bench.path("prefix/bin/tool")).unwrap(), PROGRAM);
    victim.ok("installed");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_not_read() {
    let victim = Victim::new();
    let files = release_of(&accepted(ArchiveFormat::TarGz));
    fs_err::create_dir(victim.bench.path("new")).unwrap();
    for name in ["index.json".to_owned(), format!("{STEM}.tar.gz")] {
        let path = victim.bench.path("new").join(&name);
        crate::fixture::write(&files, &victim.bench.path("new"));
        fs_err::remove_file(&path).unwrap();
        succeed(Command::new("mkfifo").arg(&path));
        victim.refused("a pipe", &mut victim.install("new/index.json"), 4, "file_irregular");
        fs_err::remove_file(&path).unwrap();
        fs_err::create_dir(&path).unwrap();
        victim.refused("a directory", &mut victim.install("new/index.json"), 4, "file_irregular");
        fs_err::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let output = victim.bench.unmoved("a device", &mut victim.install("new/index.json"), 4, "file_irregular");
        assert!(!both(&output).contains("panicked"));
        fs_err::remove_file(&path).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_prefix_that_leads_elsewhere_is_refused() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let server = Server::of_files(release_of(&accepted(ArchiveFormat::TarGz)));
    for below in ["bin", "lib", "lib/consign", "lib/consign/tool", "lib/consign/receipts", "lib/consign/receipts/tool"]
    {
        // First where nothing is installed, then where something is.
        for is_used in [false, true] {
            let victim = Victim::new();
            let place = victim.bench.path(&format!("{}/{below}", if is_used { "prefix" } else { "other" }));
            let elsewhere = victim.bench.path("elsewhere");
            if is_used {
                fs_err::rename(&place, &elsewhere).unwrap();
            } else {
                fs_err::create_dir(&elsewhere).unwrap();
                fs_err::create_dir_all(place.parent().unwrap()).unwrap();
            }
            symlink(&elsewhere, &place).unwrap();
            let prefix = if is_used { "prefix" } else { "other" };
            let index = server.url("index.json");
            let line = format!("install --index {index} --platform linux-amd64 --no-run --prefix {prefix}");
            victim.bench.refused(below, &mut victim.bench.command(&line), 6, &["prefix_refused"]);
            assert!(!victim.bench.path("prefix/lib/consign/tool/1.0.0").exists(), "{below}");
        }
    }
    let victim = Victim::new();
    let bin = victim.bench.path("prefix/bin");
    fs_err::set_permissions(&bin, std::fs::Permissions::from_mode(0o777)).unwrap();
    let given_away = std::os::unix::fs::chown(&bin, Some(65_534), Some(65_534)).is_ok();
    if missing_unless(given_away, "the right to give a directory away") {
        let mut command = victim.install(&server.url("index.json"));
        victim.refused("a directory of anybody's", &mut command, 6, "prefix_refused");
    }
    let asked = server.requests();
    assert!(
        asked.iter().all(|request| request.path == "/index.json"),
        "nothing is fetched for a place that is refused"
    );
}

#[test]
fn no_archive_writes_what_the_installer_keeps() {
    use consign::archive::{Options, Writer};
    let victim = Victim::new();
    let metadata = consign::model::pretty(&crate::fixture::metadata("linux-amd64".parse().unwrap()));
    let options = Options { format: ArchiveFormat::TarGz, level: None, date: crate::fixture::DATE.parse().unwrap() };
    let mut writer = Writer::new(&STEM.parse().unwrap(), options);
    let theirs = b"{}".as_slice();
    for (path, executable, mut content) in [
        (".consign", false, theirs),
        (".lock", false, theirs),
        (".receipt", false, theirs),
        ("1.0.0.json", false, theirs),
        ("bin/tool", true, PROGRAM),
        ("current/bin/tool", true, theirs),
        ("history", false, b"9.9.9\n"),
        ("lib/consign/receipts/tool/1.0.0.json", false, theirs),
        ("metadata.json", false, &metadata),
        ("receipts/tool/1.0.0.json", false, theirs),
    ] {
        writer.append(path, executable, content.len() as u64, &mut content).unwrap();
    }
    let packed = writer.finish().unwrap();
    let unpacked_size_bytes = packed.unpacked_size_bytes;
    let case = Case { name: "state", format: ArchiveFormat::TarGz, bytes: packed.bytes, unpacked_size_bytes };
    let server = Server::of_files(release_of(&case));
    let output = victim.install(&server.url("index.json")).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    // They are files of the version like others, and what is kept about it is elsewhere.
    let there = victim.ok("installed");
    assert_eq!(there["products"][0]["current"], "1.0.0", "{there}");
    let receipt = fs_err::read(victim.bench.path("prefix/lib/consign/receipts/tool/1.0.0.json")).unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    assert_eq!(receipt["archive"], Digest::of(&case.bytes).to_string());
    assert_eq!(victim.ok("revert tool")["version"], "0.9.0");
    // A product that is called like the directory of the receipts is none.
    let mut files = release_of(&accepted(ArchiveFormat::TarGz));
    let index = String::from_utf8(files["index.json"].clone()).unwrap();
    for name in ["receipts", "Receipts", "..", ".", "a/b", "", "-rf", "current\\x"] {
        let quoted = serde_json::to_string(name).unwrap();
        let index = index.replacen("\"name\": \"tool\"", &format!("\"name\": {quoted}"), 1);
        files.insert("index.json".to_owned(), index.into_bytes());
        let server = Server::of_files(files.clone());
        let mut command = victim.install(&server.url("index.json"));
        let before = litter(victim.bench.scratch.path());
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(3 | 4)), "{name}: {}", both(&output));
        assert_eq!(litter(victim.bench.scratch.path()), before, "{name}");
        assert_eq!(server.requests().len(), 1, "{name}");
    }
}

#[test]
fn credentials_stay_with_the_place_they_are_for() {
    let victim = Victim::new();
    let files = release_of(&accepted(ArchiveFormat::TarGz));
    let elsewhere = Server::of_files(files);
    let base = elsewhere.url("");
    let first = Server::start(move |request, stream| {
        let location = format!("Location: {base}{}\r\n", request.path.trim_start_matches('/'));
        send(stream, &answer("302 Found", &location, b""));
    });
    let index = format!("http://user:canary@127.0.0.1:{}/index.json", first.port);
    let output = victim.install(&index).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let has = |server: &Server| {
        let heads = server.requests().into_iter().map(|request| request.head.to_lowercase());
        heads.map(|head| head.contains("authorization") || head.contains("cookie")).collect::<Vec<_>>()
    };
    assert_eq!(has(&first), [true, true]);
    assert_eq!(has(&elsewhere), [false, false]);
    assert!(!both(&output).contains("canary"));
    assert_no_file_holds(victim.bench.scratch.path(), b"canary");
    // Nor is it shown where something is wrong.
    let gone = Server::always(answer("404 Not Found", "", b"no"));
    let index = format!("http://user:canary@127.0.0.1:{}/index.json?canary=canary", gone.port);
    for format in ["json", "text"] {
        for index in [index.as_str(), index.split('?').next().unwrap()] {
            let line = format!("install --index {index} --prefix prefix -v");
            let output = victim.bench.command_as(format, &line).output().unwrap();
            assert!(!output.status.success() && !both(&output).contains("canary"), "{}", both(&output));
        }
    }
}

fn assert_no_file_holds(root: &Utf8Path, word: &[u8]) {
    for (path, seen) in litter(root) {
        let is_file = seen.is_some() && !path.is_symlink();
        let holds = is_file && memchr::memmem::find(&fs_err::read(&path).unwrap(), word).is_some();
        assert!(!holds, "{path}");
    }
}

#[test]
fn no_redirect_leads_to_another_kind_of_place() {
    let files = release_of(&accepted(ArchiveFormat::TarGz));
    let victim = Victim::new();
    for location in [
        "http://example.org/x",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/x",
        "http://[fe80::1]/x",
        "http://0.0.0.0/x",
        "https://example.org/x",
        "file:///etc/passwd",
        "data:application/gzip;base64,AAAA",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "javascript:1",
        "http://user:pass@127.0.0.1/x",
        "/a\tb",
        "/a b",
        "/\u{e4}",
        "http://[",
        "//",
    ] {
        for name in ["index.json".to_owned(), format!("{STEM}.tar.gz")] {
            let (served, redirected) = (files.clone(), name.clone());
            let server = Server::start(move |request, stream| {
                let path = request.path.trim_start_matches('/');
                if path == redirected {
                    send(stream, &answer("302 Found", &format!("Location: {location}\r\n"), b""));
                } else {
                    send(stream, &good(&served[path]));
                }
            });
            let mut command = victim.install(&server.url("index.json"));
            victim.refused(location, &mut command, 4, "redirect_refused");
            let last = server.requests().last().unwrap().path.clone();
            assert!(last.ends_with(&name) && server.requests().len() <= 2, "{location}: {last}");
        }
    }
    // What is not even HTTP: the other side is a broken one.
    for location in ["/a\rb", "/a\0b", "/a\u{1}b", "/a\u{7f}b", "/a\r\n b"] {
        let server = Server::always(answer("302 Found", &format!("Location: {location}\r\n"), b""));
        let output = victim.bench.unmoved(location, &mut victim.install(&server.url("index.json")), 5, "remote");
        assert!(!both(&output).contains("panicked"));
    }
    // A second header that was smuggled in by a line feed is a second place, or none.
    let smuggled = answer("302 Found", "Location: /a\r\nLocation: http://10.0.0.1/\r\n", b"");
    let server = Server::always(smuggled);
    victim.refused("two places", &mut victim.install(&server.url("index.json")), 4, "redirect_refused");
    let circle = Server::always(answer("302 Found", "Location: /index.json\r\n", b""));
    victim.refused("a circle", &mut victim.install(&circle.url("index.json")), 4, "redirect_refused");
    assert_eq!(circle.requests().len(), 6);
}

#[test]
fn an_old_catalog_and_an_old_index_install_nothing() {
    let ceremony = Ceremony::simple();
    ceremony.add();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    let old = crate::trust::tree(&ceremony.path("releases/tuf"));
    ceremony.ok("catalog yank v1.0.0 --reason x --target releases --key release.pem --key ci.pem");
    let install = "install --catalog releases --trust-root pinned.json --prefix prefix --platform linux-amd64 --no-run";
    let output = ceremony.run(&format!("{install} --format json"));
    assert!(output.status.code() == Some(6) && both(&output).contains("\"yanked\""), "{}", both(&output));
    // The list from before it was withdrawn is signed as well as the one after.
    for (name, bytes) in &old {
        fs_err::write(ceremony.path("releases/tuf").join(name), bytes).unwrap();
    }
    ceremony.refused(install, 4, "catalog_rollback");
    ceremony.refused(&format!("{install} --allow-yanked"), 4, "catalog_rollback");
    ceremony.refused(&format!("{install} --at 2200-01-01T00:00:00Z"), 4, "catalog_expired");
    assert!(!ceremony.path("prefix").exists());

    let victim = Victim::new();
    let key = scene().key.as_ref();
    let server = Server::of_files(signed(release("0.8.0"), "0.8.0", key));
    let line = format!("install --index {} --pubkey key.pub", server.url("index.json"));
    victim.refused("an older index", &mut victim.command(&line), 6, "downgrade_refused");
    let asked: Vec<_> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/index.json", "/signatures.json"]);
}
