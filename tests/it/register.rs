//! Registering what was published, at a stand-in for a registry: the verb with its hooks, and the step of
//! the workflow.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Read as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::http::{Request, Server, answer, send};
use super::support::{Scratch, commit, consign, git, small_workspace};
use super::workflows::{Released, is_here, steps};
use super::workspaces::{Ran, json as consign_json, run};

const TOKEN: &str = "rel_of_the_test";

/// A registry that has every file already and no artifact, and takes whatever record it is given.
fn registry() -> Server {
    Server::start(|request, stream| {
        let reply = match request.head.split(' ').next().unwrap() {
            "GET" => {
                let problem = json!({ "code": "artifact_unknown", "detail": "there is no such artifact" });
                answer("404 Not Found", "", problem.to_string().as_bytes())
            }
            "HEAD" => answer("200 OK", "", b""),
            _ => answer("201 Created", "", shown(&body(request, stream)).to_string().as_bytes()),
        };
        send(stream, &reply);
    })
}

fn body(request: &Request, stream: &mut TcpStream) -> Value {
    let head = request.head.to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn shown(artifact: &Value) -> Value {
    let (sha256, at) = ("0".repeat(64), "2026-01-02T03:04:05Z");
    json!({ "artifact": artifact, "sha256": sha256, "pushed_at": at, "pushed_by": "ci", "verdict": "unchecked" })
}

/// A workspace that was published by flags, whose settings know neither provider nor registry.
fn published(settings: &str) -> Scratch {
    let workspace = small_workspace("tool", "1.2.3");
    workspace.write("consign.toml", settings);
    commit(workspace.path(), "ci: hooks");
    git(workspace.path(), &["tag", "-f", "v1.2.3"]);
    let place = workspace.path().join("dist/published");
    let line = ["release-pipeline", "v1.2.3", "--mode", "release", "--skip", "test,smoke", "--provider", "directory"];
    consign_json(workspace.path(), &[&line[..], &["--target", place.as_str()]].concat()).passed();
    workspace
}

fn register(workspace: &Scratch, server: &Server) -> Ran {
    let mut command = consign(workspace.path());
    command.env("CONSIGN_TOKEN", TOKEN).env("XDG_STATE_HOME", workspace.path().join("dist/state"));
    run(command.args(["--format", "json", "register", "v1.2.3", "--server", &server.url("")]))
}

#[test]
fn the_verb_runs_between_its_hooks() {
    let note = |when: &str| format!("[\"sh\", \"-c\", \"echo {when} $CONSIGN_STAGE $CONSIGN_TAG >> dist/told\"]");
    let settings = format!("[hooks]\nbefore-register = {}\nafter-register = {}\n", note("before"), note("after"));
    let workspace = published(&settings);
    let told = workspace.path().join("dist/told");
    assert!(!told.exists(), "nothing was registered yet");
    let server = registry();
    let done = register(&workspace, &server).passed().json();
    assert_eq!((&done["status"], &done["verdict"]), (&"registered".into(), &"unchecked".into()));
    assert_eq!(fs_err::read_to_string(&told).unwrap(), "before register v1.2.3\nafter register v1.2.3\n");
    assert!(server.requests().iter().all(|request| request.head.contains(&format!("Bearer {TOKEN}"))));
    // What fails before it keeps everything from being sent.
    let workspace = published("[hooks]\nbefore-register = [\"false\"]\n");
    let server = registry();
    register(&workspace, &server).failed(1, "hook_failed");
    assert!(server.requests().is_empty());
    assert!(!workspace.path().join("dist/releases/v1.2.3/register.json").exists());
}

#[test]
fn the_workflow_registers_what_it_has_published() {
    if !is_here() {
        return;
    }
    let server = registry();
    let settings = format!("[registry]\nurl = \"{}\"\nservice = \"web\"\n", server.url(""));
    let mut released = Released::new(&settings);
    // Without a token the release is published, and the last step says what is missing.
    let Some(workflow) = released.workflow("release.yml") else { return };
    let done = released.forge.run(&workflow);
    let failed = done.failed.clone().unwrap_or_default();
    assert!(failed.starts_with("publish/Register\n") && failed.contains("CONSIGN_TOKEN"), "{}", done.log());
    assert!(released.bundle().join("index.json").is_file() && server.requests().is_empty());
    released.forge.secrets.insert("CONSIGN_TOKEN", TOKEN.to_owned());
    let done = released.release().unwrap();
    assert_eq!(steps(&done).last(), Some(&"publish/Register"), "{}", done.log());
    assert!(done.log().contains("web/v1.2.3-") && !done.log().contains(TOKEN), "{}", done.log());
    let requests = server.requests();
    let pushed = requests.iter().find(|request| request.head.starts_with("POST ")).unwrap();
    assert!(pushed.path == "/api/v1/artifacts" && pushed.head.contains(&format!("Bearer {TOKEN}")), "{pushed:?}");
}
