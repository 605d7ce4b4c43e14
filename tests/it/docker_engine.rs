//! Engines that are not there, may not be used, or cannot do what is asked: each its own sentence.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use super::docker_scene::{need_scene, run_smoke, scene, service, smoke};
use super::support::{Scratch, clean, need};
use super::workspaces::{Ran, run};

/// An engine that says whatever a test wants: the path of its socket, gone with the scratch directory.
fn stand_in(scratch: &Scratch, answer: impl Fn(&str) -> (u16, String) + Clone + Send + 'static) -> Utf8PathBuf {
    let path = scratch.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(connection, &answer));
        }
    });
    path
}

/// Answers on a connection until nothing more is asked.
pub fn serve(connection: impl Read + Write, answer: &dyn Fn(&str) -> (u16, String)) {
    let mut reader = BufReader::new(connection);
    loop {
        let (mut request, mut length) = (String::new(), 0);
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) < 3 {
                break;
            }
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).unwrap();
        let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if reader.get_mut().write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// An engine of a kind, with nothing in it and no room for more.
pub fn usual(path: &str, api: &str, root: &str, architecture: &str) -> (u16, String) {
    let body = match path.split(['?']).next().unwrap_or_default() {
        path if path.ends_with("/version") => format!("{{\"ApiVersion\":\"{api}\"}}"),
        path if path.ends_with("/info") => format!(
            "{{\"ServerVersion\":\"1\",\"OSType\":\"linux\",\"Architecture\":\"{architecture}\",\"DockerRootDir\":\"{root}\"}}"
        ),
        path if path.ends_with("/volumes") => "{\"Volumes\":[]}".to_owned(),
        path if path.ends_with("/create") => {
            return (500, "{\"message\":\"write /x: no space left on device\"}".to_owned());
        }
        path if path.contains("/images/") && path.ends_with("/json") && !path.ends_with("/images/json") => {
            format!(
                "{{\"Id\":\"sha256:1\",\"Architecture\":\"{}\"}}",
                if architecture == "x86_64" { "amd64" } else { "arm64" }
            )
        }
        _ => "[]".to_owned(),
    };
    (200, body)
}

fn ask(directory: &Utf8Path, host: &str) -> Ran {
    run(smoke(directory).env("DOCKER_HOST", host))
}

#[test]
fn no_engine_is_its_own_sentence() {
    let scratch = scene(&service("a", "commands = [[\"true\"]]"));
    for host in ["unix:///nowhere/engine.sock", "tcp://127.0.0.1:1"] {
        let document = ask(scratch.path(), host).failed(5, "engine_missing");
        assert!(document["message"].as_str().unwrap().contains("no container engine answers at"), "{document}");
        assert!(document["hint"].as_str().unwrap().contains("start Docker"), "{document}");
    }
    ask(scratch.path(), "ssh://somewhere").failed(3, "config_invalid");
}

#[test]
fn an_engine_that_may_not_be_used_is_its_own_sentence() {
    if !need("setpriv") || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody who may not");
        return;
    }
    let scratch = scene(&service("a", "commands = [[\"true\"]]"));
    let socket = stand_in(&scratch, |path| usual(path, "1.41", "/", "x86_64"));
    for (path, mode) in [(scratch.path(), 0o777), (socket.as_path(), 0o600)] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs_err::set_permissions(path, permissions).unwrap();
    }
    // The command may lie where only root can look.
    let program = scratch.path().join("consign");
    fs_err::copy(env!("CARGO_BIN_EXE_consign"), &program).unwrap();
    let mut command = Command::new("setpriv");
    clean(&mut command);
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", program.as_str(), "--format", "json"]);
    command.args(["-C", scratch.path().as_str(), "docker-smoke"]).current_dir("/");
    let document = run(command.env("DOCKER_HOST", format!("unix://{socket}"))).failed(5, "engine_forbidden");
    assert!(document["hint"].as_str().unwrap().contains("usermod -aG docker"), "{document}");
}

#[test]
fn an_engine_that_cannot_do_it_is_its_own_sentence() {
    let matrix = service("a", "platform = \"linux-amd64\"\ncommands = [[\"true\"]]");
    for (api, root, architecture, code, message) in [
        ("1.40", "/", "x86_64", "engine_failed", "is too old: it speaks API 1.40"),
        ("1.41", "/", "s390x", "engine_architecture", "the engine runs s390x and cannot emulate linux-amd64"),
        // Nothing is ever free there.
        ("1.47", "/proc", "x86_64", "engine_full", "the engine's disk is nearly full: 0 MiB are free in `/proc`"),
    ] {
        let scratch = scene(&matrix);
        let socket = stand_in(&scratch, move |path| usual(path, api, root, architecture));
        let document = ask(scratch.path(), &format!("unix://{socket}")).failed(5, code);
        assert!(document["message"].as_str().unwrap().contains(message), "{document}");
        assert!(!document["hint"].is_null(), "{document}");
    }
}

#[test]
fn a_disk_that_is_full_in_the_middle_is_told_as_such() {
    let scratch = scene(&service("a", "commands = [[\"true\"]]"));
    let socket = stand_in(&scratch, |path| usual(path, "1.99", "/", "x86_64"));
    let ran = ask(scratch.path(), &format!("unix://{socket}"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    let (check, detail) = super::docker_scene::cause(&ran.json()["services"][0]);
    assert_eq!(check, "engine_full", "{detail}");
    assert!(detail.contains("docker system prune"), "{detail}");
}

#[test]
fn what_cannot_be_emulated_is_left_out_where_the_matrix_says_so() {
    if !need_scene() {
        return;
    }
    let scratch = scene(
        &[
            service("here", "commands = [[\"true\"]]"),
            service("elsewhere", "platform = \"linux-loong64\"\nwithout-emulation = \"skip\"\ncommands = [[\"true\"]]"),
            service("after", "needs = [\"elsewhere\"]\ncommands = [[\"true\"]]"),
        ]
        .concat(),
    );
    let ran = run_smoke(scratch.path());
    let report = ran.json();
    assert_eq!((ran.code, report["passed"].as_u64()), (0, Some(1)), "{}{}", ran.out, ran.err);
    assert_eq!(report["skipped"][1]["service"], "elsewhere");
    assert_eq!(report["skipped"][0]["reason"], "it needs `elsewhere`, which is left out");
}
