//! Settings: precedence, origins, where the file is looked for, and what is refused.

use camino::Utf8Path;
use serde_json::Value;

use crate::support::{Scratch, both, consign, git, succeed};
use consign::config::environment::Environment;
use consign::config::{Overrides, Settings, schema, template};
use consign::model::{Code, Platform};
use consign::pipeline::request::Mode;
use consign::provider::ProviderKind;

fn settings(directory: &Utf8Path, environment: &[(&str, &str)]) -> Result<Settings, consign::model::Failure> {
    Settings::load(directory, None, &Environment::of(environment.iter().copied()))
}

/// The value and the origin of a key, as `config show` prints them.
fn row(settings: &Settings, flags: &Overrides, key: &str) -> (Value, String) {
    let resolved = settings.resolve(flags).unwrap();
    let row = resolved.rows.into_iter().find(|row| row.key == key).unwrap();
    (row.value, row.origin.to_string())
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let scratch = Scratch::new();
    let none = Overrides::default();
    let dist = |environment: &[(&str, &str)], flags: &Overrides| {
        row(&settings(scratch.path(), environment).unwrap(), flags, "dist")
    };
    assert_eq!(dist(&[], &none), ("dist".into(), "default".to_owned()));
    scratch.write("consign.toml", "# one\n\ndist = \"file\"\n");
    assert_eq!(dist(&[], &none), ("file".into(), "consign.toml:3".to_owned()));
    let variable = [("CONSIGN_DIST", "variable")];
    assert_eq!(dist(&variable, &none), ("variable".into(), "environment CONSIGN_DIST".to_owned()));
    let flags = Overrides { dist: Some("flag".into()), ..none };
    assert_eq!(dist(&variable, &flags), ("flag".into(), "flag".to_owned()));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let scratch = Scratch::new();
    let settings = settings(scratch.path(), &[("CONSIGN_PLATFORMS", ""), ("SOURCE_DATE_EPOCH", "")]).unwrap();
    assert_eq!(row(&settings, &Overrides::default(), "platforms").1, "default");
}

#[test]
fn every_setting_of_the_file_reaches_the_request() {
    let scratch = Scratch::new();
    scratch.write(
        "consign.toml",
        r#"
name = "tool"
packages = ["a"]
binaries = ["b"]
platforms = ["linux/amd64", "linux-amd64", "aarch64-unknown-linux-gnu"]
[build]
builder = "zigbuild"
features = ["x"]
all-features = true
[platform.linux-arm64]
linker = "aarch64-linux-gnu-gcc"
runner = ["qemu-aarch64"]
format = "tar.zst"
[archive]
name-pattern = "{name}-{target}"
level = 9
[smoke]
commands = ["--version"]
timeout = "2m"
[notes]
template = "notes.j2"
[publish]
provider = "directory"
target = "out"
[hooks]
before-build = ["a", "b"]
after-remote-verify = [["c"]]
"#,
    );
    let settings = settings(scratch.path(), &[("SOURCE_DATE_EPOCH", "7")]).unwrap();
    let request = settings.resolve(&Overrides::default()).unwrap().request;
    let platforms: Vec<_> = request.platforms.iter().map(|platform| platform.name()).collect();
    assert_eq!(platforms, ["linux-amd64", "linux-arm64"]);
    let arm: Platform = "linux-arm64".parse().unwrap();
    assert_eq!(request.platform[&arm].linker.as_deref(), Some("aarch64-linux-gnu-gcc"));
    assert_eq!(request.name.as_deref(), Some("tool"));
    assert_eq!(request.build.builder.as_str(), "zigbuild");
    assert!(request.build.all_features && !request.build.no_default_features);
    assert_eq!(request.archive.level, Some(9));
    assert_eq!(request.smoke.commands, [["--version"]]);
    assert_eq!(request.smoke.timeout.as_secs(), 120);
    assert_eq!(request.notes_template, Some(scratch.path().join("notes.j2")));
    let publish = request.publish.unwrap();
    assert_eq!(
        (publish.provider, publish.target.as_str()),
        (ProviderKind::Directory, scratch.path().join("out").as_str())
    );
    assert_eq!(request.hooks["before-build"], [["a", "b"]]);
    assert_eq!(request.hooks["after-remote-verify"], [["c"]]);
    assert_eq!(request.source_date_epoch, Some(7));
    assert_eq!(request.mode, Mode::Validate);
}

#[test]
fn a_bad_variable_is_named() {
    let scratch = Scratch::new();
    for (name, value) in [
        ("CONSIGN_PLATFORMS", "linux-amd64,plan9-amd64"),
        ("CONSIGN_PUBLISH_PROVIDER", "ftp"),
        ("CONSIGN_REQUIRE_SIGNATURES", "maybe"),
        ("CONSIGN_RUN_PUBLISH", "2"),
        ("SOURCE_DATE_EPOCH", "yesterday"),
        ("SOURCE_DATE_EPOCH", "-1"),
    ] {
        let failure = settings(scratch.path(), &[(name, value)]).unwrap().resolve(&Overrides::default()).unwrap_err();
        assert_eq!(failure.code(), Code::ConfigInvalid, "{name}");
        assert_eq!(failure.to_string(), format!("the environment variable {name} cannot be used"));
    }
}

#[test]
fn an_unknown_variable_is_a_warning_that_names_the_nearest() {
    let scratch = Scratch::new();
    let output = consign(scratch.path()).args(["config", "path"]).env("CONSIGN_PLATFORM", "canary").output().unwrap();
    assert!(output.status.success());
    let told = both(&output);
    assert!(told.contains("CONSIGN_PLATFORM means nothing; did you mean CONSIGN_PLATFORMS?"), "{told}");
    assert!(!told.contains("canary"));
}

#[test]
fn values_that_make_no_sense_name_key_and_line() {
    let scratch = Scratch::new();
    for (content, key) in [
        ("platforms = [\"linux-amd46\"]", "platforms"),
        ("[archive]\nname-pattern = \"{name}\"", "archive.name-pattern"),
        ("[archive]\nlevel = 23", "archive.level"),
        ("[smoke]\ntimeout = \"soon\"", "smoke.timeout"),
        ("[test]\ncommand = []", "test.command"),
        ("[hooks]\nbefore-build = [[]]", "hooks.before-build"),
        ("[platform.linux-amd64]\nrunner = [\"\"]", "platform.linux-amd64.runner"),
    ] {
        scratch.write("consign.toml", content);
        let failure = settings(scratch.path(), &[]).unwrap().resolve(&Overrides::default()).unwrap_err();
        assert_eq!(failure.code(), Code::ConfigInvalid, "{content}");
        let line = content.lines().count();
        assert_eq!(failure.to_string(), format!("`{key}` cannot be used, consign.toml:{line}"));
        assert!(failure.way_out().is_some(), "{content}");
    }
}

#[test]
fn half_a_publishing_place_stops_a_release_only() {
    let scratch = Scratch::new();
    let settings = settings(scratch.path(), &[("CONSIGN_PUBLISH_TARGET", "out")]).unwrap();
    let resolved = settings.resolve(&Overrides::default()).unwrap();
    assert!(resolved.request.publish.is_none() && resolved.warnings.len() == 1);
    let flags = Overrides { mode: Some(Mode::Release), ..Overrides::default() };
    assert_eq!(settings.resolve(&flags).unwrap_err().code(), Code::ProviderMissing);
}

#[test]
fn the_file_is_found_from_below_but_not_beyond_the_root() {
    let scratch = Scratch::new();
    scratch.write("consign.toml", "name = \"outside\"\n");
    scratch.write("repository/crates/a/Cargo.toml", "[package]\nname = \"a\"\n");
    let member = scratch.path().join("repository/crates/a");
    git(&scratch.path().join("repository"), &["init", "-q"]);
    assert_eq!(settings(&member, &[]).unwrap().path(), None);
    let file = scratch.write("repository/consign.toml", "");
    assert_eq!(settings(&member, &[]).unwrap().path(), Some(&*file));
    let nearer = scratch.write("repository/crates/a/consign.toml", "");
    assert_eq!(settings(&member, &[]).unwrap().path(), Some(&*nearer));
    scratch.write("loose/x", "");
    assert_eq!(settings(&scratch.path().join("loose"), &[]).unwrap().path(), None);
}

#[test]
fn settings_are_shown_outside_of_any_workspace() {
    let scratch = Scratch::new();
    let text = succeed(consign(scratch.path()).args(["config", "show", "v1.2.3", "--format", "json"]));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["type"], "consign.config/v1");
    let version = serde_json::json!({ "key": "version", "value": "v1.2.3", "origin": "flag" });
    assert!(document["values"].as_array().unwrap().contains(&version), "{text}");
}

#[test]
fn a_named_file_has_to_be_there() {
    let scratch = Scratch::new();
    let output = consign(scratch.path()).args(["config", "show", "--config", "other.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    scratch.write("other.toml", "name = \"other\"");
    let text = succeed(consign(scratch.path()).args(["config", "show", "--config", "other.toml"]));
    assert!(text.contains("other.toml:1"), "{text}");
}

#[test]
fn the_file_that_init_writes_changes_nothing() {
    let scratch = Scratch::new();
    let defaults = settings(scratch.path(), &[]).unwrap().resolve(&Overrides::default()).unwrap();
    succeed(consign(scratch.path()).arg("init"));
    let written = settings(scratch.path(), &[]).unwrap();
    assert!(written.path().is_some());
    assert_eq!(written.resolve(&Overrides::default()).unwrap().rows, defaults.rows);

    scratch.write("consign.toml", "name = \"mine\"\n");
    let output = consign(scratch.path()).arg("init").output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(fs_err::read_to_string(scratch.path().join("consign.toml")).unwrap(), "name = \"mine\"\n");
    succeed(consign(scratch.path()).args(["init", "--force"]));
    assert_eq!(fs_err::read_to_string(scratch.path().join("consign.toml")).unwrap(), template::render());
}

#[test]
fn every_key_of_the_schema_is_in_the_file_that_init_writes() {
    let scratch = Scratch::new();
    // What is commented out becomes settings: `#name = …`, while explanations have a blank after the `#`.
    let live: String = template::render()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') => {
                format!("{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    scratch.write("consign.toml", live);
    let rows = settings(scratch.path(), &[]).unwrap().resolve(&Overrides::default()).unwrap().rows;
    let from_file: Vec<_> =
        rows.iter().filter(|row| row.origin.to_string().starts_with("consign.toml:")).map(|row| &*row.key).collect();

    let schema: Value = serde_json::from_str(&schema()).unwrap();
    for (name, table) in schema["properties"].as_object().unwrap() {
        let (prefix, keys) = match (name.as_str(), table["properties"].as_object()) {
            ("platform", _) => {
                ("platform.linux-arm64.".to_owned(), table["additionalProperties"]["properties"].as_object())
            }
            (_, Some(keys)) => (format!("{name}."), Some(keys)),
            ("hooks", None) => {
                assert!(from_file.contains(&"hooks.before-build"));
                continue;
            }
            (_, None) => {
                assert!(from_file.contains(&name.as_str()), "{name}");
                continue;
            }
        };
        for key in keys.unwrap().keys() {
            let key = format!("{prefix}{key}");
            assert!(from_file.contains(&key.as_str()), "{key} is missing in the template");
        }
    }
}

#[test]
fn the_schema_has_no_null_and_names_hooks_and_platforms() {
    let schema = schema();
    assert!(!schema.contains("null"), "{schema}");
    for word in ["before-remote-verify", "linux-arm64-musl", "\"additionalProperties\": false"] {
        assert!(schema.contains(word), "{word}");
    }
}
