//! `install.sh`, as it is rendered for a release, beside `consign install`.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Release;
use consign::pipeline::installer::{Facts, sh};
use consign::trust::documents::read_index;
use serde_json::Value;

use crate::activate::tree;
use crate::fixture::{self, Files};
use crate::http::Server;
use crate::install::{release, release_of};
use crate::support::{self, Scratch, both, need, succeed};

/// Every shell that the script is for.
pub const SHELLS: [&[&str]; 6] =
    [&["dash"], &["busybox", "sh"], &["bash", "--posix"], &["bash"], &["zsh"], &["zsh", "--emulate", "sh"]];
/// What the script uses besides a shell, a program that fetches and one that computes digests.
const TOOLS: [&str; 34] = [
    "awk", "cat", "chmod", "cmp", "cp", "date", "dd", "find", "flock", "getconf", "gzip", "head", "id", "ldd", "ln",
    "ls", "mkdir", "mv", "od", "readlink", "rm", "rmdir", "sed", "sh", "sleep", "sort", "sync", "tail", "timeout",
    "tr", "uname", "wc", "perl", "zstd",
];

/// A user with two prefixes: `sh` is the script's, `consign` is the command's.
pub struct User {
    pub scratch: Scratch,
}

impl User {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        for directory in ["home", "temporary"] {
            fs_err::create_dir(scratch.path().join(directory)).unwrap();
        }
        Self { scratch }
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        self.scratch.path().join(name)
    }

    /// Puts a release into a directory, with its script, which knows the address that is given.
    pub fn put(&self, directory: &str, files: &Files, base_url: Option<&str>) {
        fs_err::create_dir_all(self.path(directory)).unwrap();
        fixture::write(files, &self.path(directory));
        fs_err::write(self.path(directory).join("install.sh"), script_of(files, base_url)).unwrap();
    }

    pub fn script(&self, shell: &[&str], directory: &str, line: &str) -> Command {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(self.path(directory).join("install.sh")).args(line.split_whitespace());
        self.surround(command, "sh")
    }

    pub fn consign(&self, line: &str) -> Command {
        let mut command = support::consign(self.scratch.path());
        command.args(["--format", "json", "install"]).args(line.split_whitespace());
        self.surround(command, "consign")
    }

    fn surround(&self, mut command: Command, prefix: &str) -> Command {
        support::clean(&mut command);
        command.current_dir(self.scratch.path()).env("HOME", self.path("home")).env("TMPDIR", self.path("temporary"));
        command.env("XDG_STATE_HOME", self.path("state"));
        if !command.get_args().any(|argument| argument == "--prefix") {
            command.arg("--prefix").arg(self.path(prefix));
        }
        command
    }

    /// Installs by script and by command; both prefixes are the same afterwards.
    #[track_caller]
    pub fn same(&self, shell: &[&str], directory: &str, line: &str) {
        let done = self.script(shell, directory, line).output().unwrap();
        assert!(done.status.success(), "{shell:?} {line}: {}", both(&done));
        let done = self.consign(line).output().unwrap();
        assert!(done.status.success(), "{line}: {}", both(&done));
        assert_eq!(comparable(&self.path("sh")), comparable(&self.path("consign")), "{shell:?} {line}");
        assert!(self.path("temporary").read_dir_utf8().unwrap().next().is_none(), "{shell:?} left temporary files");
    }

    /// Both refuse, with the same exit code and the same word, and change nothing.
    #[track_caller]
    pub fn refused(&self, shell: &[&str], directory: &str, line: &str, exit: i32, code: &str) -> String {
        let said = self.refused_by_script(&mut self.script(shell, directory, line), exit, code);
        let before = tree(&self.path("consign"));
        let output = self.consign(line).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &told["code"]), (Some(exit), &code.into()), "{line}: {}", both(&output));
        assert_eq!(tree(&self.path("consign")), before, "{line}");
        said
    }

    #[track_caller]
    pub fn refused_by_script(&self, command: &mut Command, exit: i32, code: &str) -> String {
        let before = tree(&self.path("sh"));
        let output = command.output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(exit), "{command:?}: {said}");
        assert!(said.contains(&format!("error[{code}]: ")), "{command:?} is no {code}: {said}");
        assert!(said.contains("  hint: "), "{command:?} says no way out: {said}");
        assert_eq!(tree(&self.path("sh")), before, "{command:?}");
        assert!(self.path("temporary").read_dir_utf8().unwrap().next().is_none(), "{command:?} left temporary files");
        crate::attacked::assert_plain(&output, &said);
        said
    }

    pub fn says(&self, prefix: &str) -> String {
        succeed(&mut Command::new(self.path(prefix).join("bin/tool")))
    }

    /// Makes both prefixes, with version 0.9.0 in use.
    pub fn prepare(&self) {
        self.put("before", &release("0.9.0"), None);
        self.same(&["dash"], "before", "--index before/index.json");
    }

    /// A directory with nothing but some programs, to be the only one on the path.
    pub fn only(&self, name: &str, more: &[&str]) -> Utf8PathBuf {
        let directory = self.path(name);
        fs_err::create_dir(&directory).unwrap();
        for tool in TOOLS.iter().chain(more) {
            let found = ["/usr/bin", "/bin", "/usr/sbin"].iter().map(|place| Utf8PathBuf::from(place).join(tool));
            if let Some(found) = found.into_iter().find(|place| place.is_file()) {
                symlink(found, directory.join(tool)).unwrap();
            }
        }
        directory
    }
}

/// The script of a release that is served from an address.
pub fn script_of(files: &Files, base_url: Option<&str>) -> Vec<u8> {
    let index = read_index(&files["index.json"]).unwrap();
    let release = Release::parse(&index.tag).unwrap();
    sh(&Facts { name: &index.name, release: &release, packages: &index.packages, base_url, root: None }).unwrap()
}

/// A tree without what is different each time: when it was installed, and by which of the two.
pub fn comparable(prefix: &Utf8Path) -> BTreeMap<String, String> {
    let plain = |(path, content): (String, String)| {
        let is_odd = |line: &&str| !line.contains("\"installed_at\": ") && !line.contains("\"installed_by\": ");
        let path = path.split_once(".bak.").map_or(path.clone(), |(path, _)| format!("{path}.bak"));
        (path, content.lines().filter(is_odd).collect::<Vec<_>>().join("\n"))
    };
    tree(prefix).into_iter().map(plain).collect()
}

pub fn have(shell: &[&str]) -> bool {
    need(shell[0])
}

fn read(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn shellcheck_finds_nothing() {
    if !need("shellcheck") {
        return;
    }
    let scratch = Scratch::new();
    let files = release("1.0.0");
    let index = read_index(&files["index.json"]).unwrap();
    let release = Release::parse(&index.tag).unwrap();
    for (base_url, root) in [(None, None), (Some("https://example.org/{tag}"), Some("{\n  \"signed\": {}\n}\n"))] {
        let facts = Facts { name: &index.name, release: &release, packages: &index.packages, base_url, root };
        let script = scratch.write("install.sh", sh(&facts).unwrap());
        succeed(Command::new("shellcheck").args(["-s", "sh", script.as_str()]));
    }
}

#[test]
fn every_shell_makes_the_tree_that_consign_makes() {
    for shell in SHELLS {
        if !have(shell) {
            continue;
        }
        let user = User::new();
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.10.0"] {
            let directory = format!("v{version}");
            user.put(&directory, &release(version), None);
            let line = format!("--index v{version}/index.json");
            user.same(shell, &directory, &line);
            // Once more, where nothing is new.
            user.same(shell, &directory, &line);
            assert_eq!(user.says("sh"), format!("tool {version}\n"));
        }
        assert!(!user.path("sh/lib/consign/tool/1.0.0").exists(), "three versions are kept");
        let said = read(&user.script(shell, "v1.1.0", "--revert").output().unwrap());
        assert!(said.contains("tool 1.2.0 is in use again, in the place of 1.10.0"), "{shell:?}: {said}");
        succeed(&mut user.surround(
            {
                let mut command = support::consign(user.scratch.path());
                command.args(["revert", "tool"]);
                command
            },
            "consign",
        ));
        assert_eq!(comparable(&user.path("sh")), comparable(&user.path("consign")), "{shell:?}");
    }
}

#[test]
fn what_one_has_installed_the_other_goes_on_with() {
    let user = User::new();
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        user.put(&format!("v{version}"), &release(version), None);
    }
    let prefix = format!("--prefix {}", user.path("both"));
    let consign = |line: &str| {
        let mut command = support::consign(user.scratch.path());
        command.args(line.split_whitespace()).args(["--prefix", user.path("both").as_str()]);
        succeed(&mut user.surround(command, "both"))
    };
    let script = |line: &str| succeed(&mut user.script(&["dash"], "v1.1.0", &format!("{line} {prefix}")));
    script("--index v1.0.0/index.json");
    assert!(consign("installed").contains("1.0.0"));
    assert!(consign("install --index v1.0.0/index.json").contains("installed already"));
    consign("install --index v1.1.0/index.json");
    script("--revert");
    assert_eq!(user.says("both"), "tool 1.0.0\n");
    consign("revert tool");
    assert_eq!(user.says("both"), "tool 1.1.0\n");
    script("--index v1.2.0/index.json");
    assert!(script("--index v1.2.0/index.json").contains("installed already"));
    consign("revert tool");
    assert!(script("--index v1.2.0/index.json").contains("in use again"));
    assert_eq!(user.says("both"), "tool 1.2.0\n");
    consign("uninstall tool");
    assert!(crate::trust::tree(&user.path("both")).is_empty());
}

#[test]
fn the_script_fetches_its_own_release_with_whatever_is_there() {
    let user = User::new();
    let files = release("1.0.0");
    let server = Server::of_files(files.clone());
    user.put("release", &files, Some(&server.url("{tag}")));
    let expected = {
        assert!(user.consign(&format!("--index {}", server.url("v1.0.0/index.json"))).status().unwrap().success());
        comparable(&user.path("consign"))
    };
    for (number, tools) in
        [["curl", "sha256sum"], ["wget", "sha256sum"], ["curl", "shasum"], ["wget", "openssl"]].iter().enumerate()
    {
        if !tools.iter().all(|tool| need(tool)) {
            continue;
        }
        let mut command = user.script(&["/bin/sh"], "release", "");
        let output = command.env("PATH", user.only(&format!("path-{number}"), tools)).output().unwrap();
        assert!(output.status.success(), "{tools:?}: {}", both(&output));
        assert_eq!(comparable(&user.path("sh")), expected, "{tools:?}");
        fs_err::remove_dir_all(user.path("sh")).unwrap();
    }
    let asked = server.requests().into_iter().map(|request| request.path);
    assert!(asked.clone().all(|path| path.starts_with("/v1.0.0/")), "{:?}", asked.collect::<Vec<_>>());
}

#[test]
fn there_is_no_way_past_a_missing_tool() {
    let user = User::new();
    let files = release("1.0.0");
    let server = Server::of_files(files.clone());
    user.put("release", &files, Some(&server.url("{tag}")));
    fs_err::create_dir(user.path("sh")).unwrap();
    let mut number = 0;
    let mut without = |more: &[&str], missing: &str| {
        number += 1;
        let path = user.only(&format!("path-{number}"), more);
        let _ = fs_err::remove_file(path.join(missing));
        user.refused_by_script(user.script(&["/bin/sh"], "release", "").env("PATH", path), 3, "tool_missing")
    };
    let said = without(&["curl"], "");
    assert!(said.contains("sha256sum") && said.contains("nothing is installed unchecked"), "{said}");
    assert!(without(&["sha256sum"], "").contains("curl"));
    assert!(without(&["curl", "sha256sum"], "gzip").contains("consign-install"));
    assert!(without(&["curl", "sha256sum"], "od").contains("od is not installed"));
    // A tool that says nothing, or always the same, is none.
    let path = user.only("path-lies", &["curl"]);
    let lie =
        user.scratch.write("path-lies/sha256sum", format!("#!/bin/sh\ncat >/dev/null\necho {}\n", "0".repeat(64)));
    succeed(Command::new("chmod").args(["755", lie.as_str()]));
    user.refused_by_script(user.script(&["/bin/sh"], "release", "").env("PATH", path), 3, "tool_missing");
    // What fetches with less than is promised is none either.
    let path = user.only("path-busybox", &["sha256sum"]);
    symlink("/usr/bin/busybox", path.join("wget")).unwrap();
    user.refused_by_script(user.script(&["/bin/sh"], "release", "").env("PATH", path), 3, "tool_missing");
}

#[test]
fn a_foreign_program_in_the_way_is_kept() {
    for shell in SHELLS.into_iter().filter(|shell| have(shell)) {
        let user = User::new();
        user.put("release", &release("1.0.0"), None);
        for prefix in ["sh", "consign"] {
            user.scratch.write(&format!("{prefix}/bin/tool"), "#!/bin/sh\necho foreign\n");
            symlink("tool", user.path(prefix).join("bin/link")).unwrap();
        }
        user.same(shell, "release", "--index release/index.json");
        let kept = tree(&user.path("sh/bin")).into_iter().find(|(name, _)| name.contains(".bak.")).unwrap();
        assert!(kept.1.ends_with("echo foreign\n") && kept.0.len() == "tool.bak.".len() + 14, "{kept:?}");
    }
}

#[test]
fn the_same_version_with_other_bytes_and_a_damaged_one_are_replaced() {
    for shell in SHELLS.into_iter().filter(|shell| have(shell)) {
        let user = User::new();
        user.put("one", &release("1.0.0"), None);
        user.put("two", &release_of("1.0.0", "#!/bin/sh\necho other 1.0.0\n"), None);
        user.same(shell, "one", "--index one/index.json");
        user.same(shell, "two", "--index two/index.json");
        assert_eq!(user.says("sh"), "other 1.0.0\n");
        for prefix in ["sh", "consign"] {
            fs_err::write(user.path(prefix).join("lib/consign/tool/1.0.0/bin/tool"), "#!/bin/sh\n").unwrap();
        }
        user.same(shell, "two", "--index two/index.json");
        assert_eq!(user.says("sh"), "other 1.0.0\n");
    }
}

#[test]
fn nothing_is_changed_where_it_is_only_tried() {
    let user = User::new();
    user.put("release", &release("1.0.0"), None);
    fs_err::create_dir(user.path("sh")).unwrap();
    let output = user.script(&["dash"], "release", "--index release/index.json --dry-run").output().unwrap();
    assert!(read(&output).contains("tool 1.0.0 would be installed"), "{}", both(&output));
    assert!(tree(&user.path("sh")).is_empty());
    let output = user.script(&["dash"], "release", "--index release/index.json --quiet").output().unwrap();
    assert!(output.status.success() && both(&output).is_empty(), "{}", both(&output));
}

#[test]
fn half_a_script_does_nothing() {
    let user = User::new();
    let files = release("1.0.0");
    user.put("release", &files, None);
    let script = script_of(&files, None);
    fs_err::create_dir(user.path("sh")).unwrap();
    let last = script.len() - b"main \"$@\"\n".len();
    for length in (0..last).step_by(last / 60).chain([last]) {
        fs_err::write(user.path("release/install.sh"), &script[..length]).unwrap();
        user.script(&["dash"], "release", "--index release/index.json").output().unwrap();
        assert!(tree(&user.path("sh")).is_empty(), "cut off after {length} bytes");
    }
}
