//! What the tests share: finding components, scratch directories, running the command.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

/// Whether a program is installed. Where it is not, the test says so in one line and is skipped,
/// or fails when `CONSIGN_TEST_REQUIRE=all` is set.
pub fn need(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = program.contains('/') && PathBuf::from(program).is_file()
        || std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    missing_unless(found, program)
}

/// The same for anything else that a test needs.
pub fn missing_unless(found: bool, what: &str) -> bool {
    if !found {
        assert!(std::env::var("CONSIGN_TEST_REQUIRE").as_deref() != Ok("all"), "{what} is required and missing");
        eprintln!("skipped: {what} is not here");
    }
    found
}

/// Whether a container engine answers here.
pub fn need_docker() -> bool {
    static FOUND: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        Command::new("docker").args(["version"]).output().is_ok_and(|output| output.status.success())
    });
    missing_unless(*FOUND, "a container engine (`docker version` fails)")
}

/// A directory that is removed at the end of the test.
pub struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        Self { directory: tempfile::Builder::new().prefix("consign-test-").tempdir().unwrap() }
    }

    pub fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.directory.path()).unwrap()
    }

    /// Writes a file below the directory, with all directories above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Utf8PathBuf {
        let path = self.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        path
    }
}

/// The `consign` command, run in a directory without any setting of the machine's own.
pub fn consign(directory: &Utf8Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consign"));
    command.current_dir(directory);
    clean(&mut command);
    command
}

/// The program with nothing but installing in it: the one that `CONSIGN_TEST_INSTALLER` names, or that
/// which cargo has built beside the tests.
pub fn installer(directory: &Utf8Path) -> Command {
    installing(directory, env!("CARGO_BIN_EXE_consign-install"))
}

/// What is run by the tests of installing: `consign`, or the program that `CONSIGN_TEST_INSTALLER` names.
pub fn any_installer(directory: &Utf8Path) -> Command {
    installing(directory, env!("CARGO_BIN_EXE_consign"))
}

fn installing(directory: &Utf8Path, program: &str) -> Command {
    let named = std::env::var("CONSIGN_TEST_INSTALLER");
    let mut command = Command::new(named.as_deref().unwrap_or(program));
    command.current_dir(directory);
    clean(&mut command);
    command
}

/// Git in a directory, as a fixed person at a fixed time, without the machine's configuration.
pub fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "init.defaultBranch=main"]).args(arguments);
    clean(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Takes the machine's own settings out of a command's environment, and what it remembers: a test whose
/// commands are to remember something says where.
pub fn clean(command: &mut Command) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let state = format!("states/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    command.env("XDG_STATE_HOME", Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(state));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CONSIGN_") || name.starts_with("GITHUB_") || name.starts_with("GIT_") {
            command.env_remove(name.as_ref());
        }
    }
    for name in [
        "SOURCE_DATE_EPOCH",
        "GH_TOKEN",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
    ] {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "A U Thor")
        .env("GIT_AUTHOR_EMAIL", "author@example.com")
        .env("GIT_COMMITTER_NAME", "C O Mitter")
        .env("GIT_COMMITTER_EMAIL", "committer@example.com")
        .env("GIT_AUTHOR_DATE", "2025-01-02T03:04:05Z")
        .env("GIT_COMMITTER_DATE", "2025-01-02T03:04:05Z");
}

/// Runs a command that has to succeed and gives back its standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?} ended with {}:\n{}", output.status, both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both outputs of a command as one text.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A cargo workspace with one small program, committed and tagged `v<version>`.
pub fn small_workspace(name: &str, version: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("Cargo.toml", format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"A small program\"\nrepository = \"https://github.com/example/{name}\"\n"
    ));
    scratch.write(
        "src/main.rs",
        "fn main() { println!(\"{} {}\", env!(\"CARGO_PKG_NAME\"), env!(\"CARGO_PKG_VERSION\")); }\n",
    );
    scratch.write("Cargo.lock", format!("version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n"));
    scratch.write("README.md", format!("# {name}\n"));
    scratch.write("LICENSE", "MIT\n");
    scratch.write(".gitignore", "/target\n/dist\n");
    git(scratch.path(), &["init", "-q"]);
    commit(scratch.path(), "feat: begin");
    git(scratch.path(), &["tag", &format!("v{version}")]);
    scratch
}

/// Commits everything in a directory.
pub fn commit(directory: &Utf8Path, message: &str) {
    git(directory, &["add", "-A"]);
    git(directory, &["commit", "-q", "-m", message]);
}
