//! The command line as a whole: outputs, exit codes, help, and what must never get out.

use std::io::Read as _;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Scratch, both, consign, succeed};

fn run(scratch: &Scratch, arguments: &[&str]) -> Output {
    consign(scratch.path()).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_failure_is_one_document_with_code_subject_and_hint() {
    let scratch = Scratch::new();
    scratch.write("consign.toml", "platfroms = []\n");
    let output = run(&scratch, &["config", "show", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        json(&output),
        serde_json::json!({
            "type": "consign.error/v1",
            "code": "config_invalid",
            "message": "unknown key `platfroms`, `consign.toml` line 1",
            "subject": "consign.toml:1",
            "hint": "did you mean `platforms`?",
            "causes": [],
        })
    );
    assert!(output.stderr.is_empty(), "{}", both(&output));
}

#[test]
fn a_failure_as_text_is_narrative_with_cause_and_hint() {
    let scratch = Scratch::new();
    scratch.write("consign.toml", "[smoke]\ntimeout = \"10\"\n");
    let output = run(&scratch, &["config", "show"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let expected = "error: `smoke.timeout` cannot be used, consign.toml:2\n  caused by: \"10\" is not a time\nhint: a time is a number with `ms`, `s` or `m`\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}

#[test]
fn an_unreadable_command_line_ends_with_2_in_every_format() {
    let scratch = Scratch::new();
    for arguments in [&["confg", "show"][..], &["config", "show", "--platfrom", "x"], &["config"], &[], &["init", "x"]]
    {
        let output = run(&scratch, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        for format in ["json", "ndjson"] {
            let output = run(&scratch, &[arguments, &["--format", format][..]].concat());
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            assert_eq!(json(&output)["code"], "usage", "{arguments:?}");
        }
    }
    let output = run(&scratch, &["--format=json", "config", "show", "--platfrom", "x"]);
    assert_eq!(json(&output)["hint"], "did you mean `--platform`?");
}

#[test]
fn ndjson_is_events_and_then_the_document() {
    let scratch = Scratch::new();
    let output = consign(scratch.path())
        .args(["config", "path", "--format", "ndjson"])
        .env("CONSIGN_VERSON", "v1.0.0")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["event"], "warning");
    assert_eq!(lines[1]["type"], "consign.config-path/v1");
}

#[test]
fn quiet_leaves_the_result_and_errors_only() {
    let scratch = Scratch::new();
    let output =
        consign(scratch.path()).args(["config", "path", "--quiet"]).env("CONSIGN_VERSON", "v1.0.0").output().unwrap();
    assert_eq!(both(&output), "");
    assert!(both(&run(&scratch, &["--quiet", "-C", "nowhere", "config", "path"])).starts_with("error: "));
}

#[test]
fn an_unknown_platform_or_directory_is_a_usage_error() {
    let scratch = Scratch::new();
    let output = run(&scratch, &["config", "show", "--platform", "linux-amd46", "--format", "json"]);
    assert_eq!((output.status.code(), &json(&output)["code"]), (Some(2), &"platform_unknown".into()));
    let output = run(&scratch, &["-C", "nowhere", "config", "show"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let scratch = Scratch::new();
    for arguments in [&["completions", "zsh"][..], &["config", "schema"], &["man"], &["config", "show", "--help"]] {
        let mut child =
            consign(scratch.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?}: {stderr}");
        assert_eq!(stderr, "", "{arguments:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_failure() {
    let scratch = Scratch::new();
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = consign(scratch.path()).args(["config", "schema"]).stdout(full.into_file()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains("failed to write to standard output"));
}

#[test]
fn the_help_of_a_verb_shows_its_flags_and_examples() {
    let scratch = Scratch::new();
    let help = succeed(consign(scratch.path()).args(["init", "--help"]));
    assert_eq!(
        help,
        "Write a commented consign.toml, and the workflows

Usage: consign init [OPTIONS]

Options:
      --force           Replace files that are already there
      --no-workflows    Write consign.toml alone
      --only-workflows  Leave consign.toml as it is, and write the workflows that it asks for
  -h, --help            Print help

Global options:
      --format <text|json|ndjson>  How the result is printed [default: text]
  -C, --directory <DIR>            Work as if started in this directory
  -v, --verbose...                 Tell more; show what programs print
  -q, --quiet                      Print the result and errors only
      --color <auto|always|never>  When to use colours [default: auto]
      --config <FILE>              Read this file instead of the consign.toml of the workspace

Examples:
  consign init                    write consign.toml here, and the workflows into .github/
  consign -C app init             write it into app/
  consign init --only-workflows   write the workflows again, for another consign.toml
"
    );
    let version = succeed(consign(scratch.path()).arg("--version"));
    assert_eq!(version, format!("consign {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_gets_completions() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeed(consign(scratch.path()).args(["completions", shell]));
        assert!(script.contains("completions") && script.contains("force"), "{shell}");
    }
    assert_eq!(run(&scratch, &["completions", "dash"]).status.code(), Some(2));
}

#[test]
fn every_verb_gets_a_manual_page() {
    let scratch = Scratch::new();
    let listed = succeed(consign(scratch.path()).args(["man", "pages"]));
    for page in ["consign.1", "consign-init.1", "consign-config-show.1"] {
        assert!(listed.lines().any(|line| line == page), "{listed}");
        let text = fs_err::read_to_string(scratch.path().join("pages").join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("Examples"), "{page}");
    }
    assert!(succeed(consign(scratch.path()).arg("man")).contains(".TH"));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let scratch = Scratch::new();
    let escape = |arguments: &[&str]| both(&run(&scratch, arguments)).contains('\u{1b}');
    assert!(!escape(&["config", "show"]));
    assert!(!escape(&["config", "wrong"]));
    assert!(escape(&["config", "show", "--color", "always"]));
    assert!(escape(&["config", "wrong", "--color=always"]));
    assert!(!escape(&["config", "show", "--color", "always", "--format", "json"]));
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let scratch = Scratch::new();
    scratch.write("consign.toml", "name = \"a\\u001b[2Jb\"\n");
    let shown = both(&run(&scratch, &["config", "show"]));
    assert!(!shown.contains('\u{1b}') && shown.contains("\\u{1b}"), "{shown}");
    scratch.write("consign.toml", "\"\\u001b[2J\\u202e\" = 1\n");
    let shown = both(&run(&scratch, &["config", "show"]));
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    let shown = both(&run(&scratch, &["config", "show", "--platform", "\u{1b}[2J\u{202e}"]));
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
}

#[test]
fn no_secret_of_the_environment_gets_out() {
    let scratch = Scratch::new();
    scratch.write(".env", "SECRET=canary-file\n");
    for arguments in [
        &["config", "show", "-vvv"][..],
        &["config", "show", "--format", "json"],
        &["config", "show", "--format", "ndjson", "-vv"],
        &["config", "path", "-vv"],
        &["config", "show", "--platform", "wrong"],
        &["init", "-vv"],
        &["init", "-vv"],
    ] {
        let output = consign(scratch.path())
            .args(arguments)
            .env("TOKEN", "canary-token")
            .env("GH_TOKEN", "canary-forge")
            .env("CONSIGN_TOKEN", "canary-own")
            .env("CONSIGN_REMOTE_BASE_URL", "https://user:canary-url@example.com/x")
            .output()
            .unwrap();
        assert!(!both(&output).contains("canary"), "{arguments:?}: {}", both(&output));
    }
}
