//! Completions that ask the registry, in shells.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::place::{Kind, Place, Running, consign, record};
use crate::support::{Scratch, clean, need, succeed};

/// What bash would complete a line to.
fn complete(home: &Scratch, address: &str, token: &str, line: &str) -> Vec<String> {
    let script = home.path().join("complete.bash");
    if !script.exists() {
        let written = succeed(crate::support::consign(home.path()).args(["completions", "bash"]));
        home.write("complete.bash", written);
    }
    let words: Vec<_> = line.split(' ').map(|word| format!("'{word}'")).collect();
    let current = words.len();
    let run = format!(
        "source complete.bash; COMP_WORDS=(consign {}); COMP_CWORD={current}; _consign consign {} {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words[current - 1],
        if current > 1 { &words[current - 2] } else { "consign" },
    );
    let mut command = Command::new("bash");
    clean(&mut command);
    let programs = Utf8Path::new(env!("CARGO_BIN_EXE_consign")).parent().unwrap();
    command.current_dir(home.path()).args(["--norc", "--noprofile", "-c", &run]);
    command
        .env("PATH", format!("{programs}:/usr/bin:/bin"))
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path().join("state"));
    command.env("CONSIGN_SERVER", address).env("CONSIGN_TOKEN", token);
    let mut found: Vec<_> = succeed(&mut command).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    found.sort();
    found
}

/// What fish would complete a line to.
fn complete_in_fish(home: &Scratch, server: &Running, line: &str) -> Vec<String> {
    let script = succeed(crate::support::consign(home.path()).args(["completions", "fish"]));
    home.write(".config/fish/completions/consign.fish", script);
    let mut command = Command::new("fish");
    clean(&mut command);
    let programs = Utf8Path::new(env!("CARGO_BIN_EXE_consign")).parent().unwrap();
    command.current_dir(home.path()).args(["-c", &format!("complete -C '{line}'")]);
    command
        .env("PATH", format!("{programs}:/usr/bin:/bin"))
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path().join("state"));
    command.env("CONSIGN_SERVER", &server.address).env("CONSIGN_TOKEN", server.admin.clone().unwrap());
    // Behind a tab it says what a word means.
    let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    succeed(&mut command).lines().map(word).collect()
}

fn server(place: &Place) -> Running {
    let server = place.start();
    for (service, id) in [("web", "main-1"), ("web", "topic-2"), ("api", "main-3")] {
        server.ask("POST", "/api/v1/artifacts", server.admin.as_deref(), record(service, id).to_string()).is(201);
    }
    server
}

#[test]
fn a_shell_completes_what_only_the_registry_knows() {
    if !need("bash") {
        return;
    }
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = server(&place);
    let (home, admin) = (Scratch::new(), server.admin.clone().unwrap());
    let lines = |token: &str, line: &str| complete(&home, &server.address, token, line);
    assert_eq!(lines(&admin, "artifact list --service "), ["api", "web"]);
    assert_eq!(lines(&admin, "artifact list --service w"), ["web"]);
    assert_eq!(lines(&admin, "artifact show "), ["main-1", "main-3", "topic-2"]);
    assert_eq!(lines(&admin, "artifact show --service web m"), ["main-1"]);
    // What the script knows by itself is completed as ever.
    assert_eq!(lines(&admin, "artifact sh"), ["show"]);
    assert!(lines(&admin, "artifact list --ser").contains(&"--service".to_owned()));
    // Nobody learns more than they may see.
    assert_eq!(lines(&place.token("read:api"), "artifact list --service "), ["api"]);
    assert!(lines("rel_wrong", "artifact list --service w").is_empty());
}

#[test]
fn fish_completes_it_too() {
    if !need("fish") {
        return;
    }
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let (server, home) = (server(&place), Scratch::new());
    let lines = |line: &str| complete_in_fish(&home, &server, line);
    assert_eq!(lines("consign artifact list --service "), ["api", "web"]);
    assert_eq!(lines("consign artifact show --service web m"), ["main-1"]);
    assert_eq!(lines("consign artifact sh"), ["show"]);
}

#[test]
fn environments_come_from_what_was_pushed() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    let home = Scratch::new();
    home.write("deploy/dev/a.yaml", "a: 1\n");
    home.write("deploy/prod/a.yaml", "a: 1\n");
    let run = |arguments: &[&str]| {
        let mut command = consign(home.path(), &server, arguments);
        command.env("CONSIGN_TOKEN", server.admin.clone().unwrap());
        succeed(&mut command)
    };
    run(&["artifact", "create", "--service", "web", "--id", "one", "--sha", "0123456789"]);
    run(&["artifact", "push", "--payload", "deploy"]);
    let asked = |words: &[&str]| run(&[&["completions", "--candidates"], words].concat());
    assert_eq!(asked(&["release", "--service", "web", "--env", ""]), "dev\nprod\n");
    assert_eq!(asked(&["release", "--service", "web", "--env", "dev,p"]), "dev,prod\n");
    assert_eq!(asked(&["release", "--service", "other", "--env", ""]), "");
    assert_eq!(asked(&["--help", "--format", "x", "--"]), "");
}

#[test]
fn a_registry_that_does_not_answer_is_not_waited_for() {
    let home = Scratch::new();
    // It takes connections and never says anything.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    for address in [silent.as_str(), "http://127.0.0.1:1", "https://registry.invalid", "x"] {
        let began = Instant::now();
        let mut command = crate::support::consign(home.path());
        command.args(["completions", "--candidates", "artifact", "show", ""]).env("CONSIGN_SERVER", address);
        let output = command.env("XDG_STATE_HOME", home.path()).output().unwrap();
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{address}: {output:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(20), "{address}");
    }
}
