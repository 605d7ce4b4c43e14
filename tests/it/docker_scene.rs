//! What tests of containers share: a small image of one program, a matrix in a directory, and a look at
//! what stands at the engine.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::support::{Scratch, consign, missing_unless, need_docker, succeed};
use super::workspaces::{Ran, run};

/// The image that most tests start from: busybox and nothing else.
pub const IMAGE: &str = "consign-test/busybox:1";

/// Where base images are kept between runs.
pub fn base_images() -> Utf8PathBuf {
    let cache = std::env::var("CONSIGN_CI_CACHE").ok().map(Utf8PathBuf::from);
    let home = || Utf8PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/consign-ci");
    cache.unwrap_or_else(home).join("images")
}

/// Whether there are an engine and the small image, which is brought from its file when it is missing.
pub fn need_scene() -> bool {
    static MADE: LazyLock<bool> = LazyLock::new(|| {
        let tar = base_images().join("busybox.tar");
        tar.is_file() && (try_docker(&["image", "inspect", IMAGE]) || try_docker(&["import", tar.as_str(), IMAGE]))
    });
    need_docker() && missing_unless(*MADE, "the image of busybox (`docker/make-base-images` makes its file)")
}

/// A directory with a matrix.
pub fn scene(matrix: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("docker/smoke.toml", matrix);
    scratch
}

/// A service of the small image.
pub fn service(name: &str, rest: &str) -> String {
    format!("[service.{name}]\nimage = \"{IMAGE}\"\npull = \"never\"\n{rest}\n")
}

/// The command, ready to run the matrix of a directory with its result as JSON.
pub fn smoke(directory: &Utf8Path) -> Command {
    let mut command = consign(directory);
    command.args(["--format", "json", "docker-smoke"]);
    command
}

/// Runs the matrix of a directory.
#[track_caller]
pub fn run_smoke(directory: &Utf8Path) -> Ran {
    run(&mut smoke(directory))
}

/// The log of a service.
pub fn log(directory: &Utf8Path, service: &str) -> String {
    fs_err::read_to_string(directory.join(format!("dist/docker-smoke/{service}.log"))).unwrap_or_default()
}

/// The verdict of a service: the last line of its log, which has to be what the summary says.
#[track_caller]
pub fn verdict(directory: &Utf8Path, summary: &Value, service: &str) -> Value {
    let log = log(directory, service);
    let last: Value = serde_json::from_str(log.lines().next_back().unwrap_or_default()).expect(&log);
    let listed = summary["services"].as_array().unwrap().iter().find(|one| one["service"] == service);
    assert_eq!(Some(&last), listed);
    last
}

/// The first check of a verdict that failed: its name and what it says.
pub fn cause(verdict: &Value) -> (String, String) {
    let checks = verdict["checks"].as_array().unwrap();
    let failed = checks.iter().find(|check| check["status"] == "failed").unwrap_or(&Value::Null);
    let text = |key: &str| failed[key].as_str().unwrap_or_default().to_owned();
    (text("name"), text("detail"))
}

/// Everything at the engine with a label.
pub fn standing(label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    let lists: [&[&str]; 4] = [&["ps", "-aq"], &["network", "ls", "-q"], &["volume", "ls", "-q"], &["images", "-aq"]];
    let mut found = Vec::new();
    for list in lists {
        let listed = succeed(Command::new("docker").args(list).args(["--filter", &filter]));
        found.extend(listed.lines().map(|id| format!("{} {id}", list[0])));
    }
    found
}

/// Nothing of a run may stand at the engine any more.
#[track_caller]
pub fn nothing_stands(summary: &Value) {
    let run = summary["run"].as_str().unwrap();
    assert_eq!(standing(&format!("consign.smoke.run={run}")), [""; 0]);
}

/// Runs `docker`, which has to succeed.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    succeed(Command::new("docker").env("DOCKER_BUILDKIT", "0").args(arguments))
}

/// Whether `docker` succeeds.
pub fn try_docker(arguments: &[&str]) -> bool {
    Command::new("docker").args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Starts a run that is looked at while it lasts.
pub fn start(directory: &Utf8Path) -> Child {
    let child = smoke(directory).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fs_err::write(directory.join("pid"), child.id().to_string()).unwrap();
    child
}

/// Waits for its end.
pub fn end(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until something is so; a minute is long enough for everything here.
#[track_caller]
pub fn wait_for(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it has not become so");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The container of a service of the run that was started in a directory.
pub fn container_of(directory: &Utf8Path, service: &str) -> String {
    let mut found = String::new();
    wait_for(|| {
        let owner = format!(":{}:", fs_err::read_to_string(directory.join("pid")).unwrap());
        let format = "{{.ID}} {{.Label \"consign.smoke.owner\"}}";
        let filter = format!("label=consign.smoke.service={service}");
        let listed = docker(&["ps", "--filter", &filter, "--format", format]);
        let line = listed.lines().find(|line| line.contains(&owner)).unwrap_or_default();
        line.split(' ').next().unwrap_or_default().clone_into(&mut found);
        !found.is_empty()
    });
    found
}
