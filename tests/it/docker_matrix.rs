//! The file of services: what is read, what is refused and where it says so. No engine is needed.

use super::support::{Scratch, consign};
use super::workspaces::{Ran, json, run};

fn matrix(text: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("docker/smoke.toml", text);
    scratch
}

fn validate(text: &str) -> Ran {
    json(matrix(text).path(), &["docker-smoke", "validate"])
}

#[test]
fn a_mistake_names_its_line_and_the_way_out() {
    let service = |rest: &str| format!("[service.a]\nimage = \"x\"\n{rest}\n");
    for (text, message, subject, hint) in [
        (
            service("commandz = []"),
            "unknown key `service.a.commandz`",
            "docker/smoke.toml:3",
            "did you mean `commands`?",
        ),
        (
            service("[[service.a.probe]]\nprot = 1"),
            "unknown key `service.a.probe.prot`",
            "docker/smoke.toml:4",
            "did you mean `port`?",
        ),
        (service("commands = [\"x\"]"), "`service.a.commands` cannot be used", "docker/smoke.toml:3", ""),
        (
            service("[service.\"../evil\"]\nimage = \"x\""),
            "`../evil` cannot be the name of a service",
            "docker/smoke.toml:3",
            "a-z, 0-9",
        ),
        (service("[service.UP]\nimage = \"x\""), "`UP` cannot be the name", "docker/smoke.toml:3", "a-z, 0-9"),
        (
            service("tar = \"x.tar\""),
            "it takes one of `image`, `tar`, `base` and `dockerfile`",
            "docker/smoke.toml:1",
            "",
        ),
        (service("context = \"x\""), "belong to a `dockerfile`", "docker/smoke.toml:1", ""),
        (service("needs = [\"b\"]"), "there is no service `b`", "docker/smoke.toml:3", "did you mean `a`?"),
        (service("needs = [\"a\"]"), "in a circle: a -> a", "docker/smoke.toml:3", ""),
        (
            service(
                "needs = [\"b\"]\n[service.b]\nimage = \"x\"\nneeds = [\"c\"]\n[service.c]\nimage = \"x\"\nneeds = [\"a\"]",
            ),
            "in a circle: a -> b -> c -> a",
            "docker/smoke.toml:3",
            "",
        ),
        (service("network = \"none\"\n[[service.a.probe]]\nport = 80"), "needs a network", "docker/smoke.toml:1", ""),
        (service("serve = \"bundle\""), "has to be fetched by something to `run`", "docker/smoke.toml:1", ""),
        (
            service("serve = \"bundle\"\nnetwork = \"none\"\ncommands = [[\"x\"]]"),
            "nothing can be served without a network",
            "docker/smoke.toml:1",
            "",
        ),
        (service("serve = \"index\"\ncommands = [[\"x\"]]"), "`service.a.serve`", "docker/smoke.toml:3", ""),
        (service("[[service.a.probe]]\npath = \"/\""), "one of `port` and `command`", "docker/smoke.toml:1", ""),
        (service("output-matches = [\"(\"]"), "not a regular expression", "docker/smoke.toml:1", ""),
        (service("files = [\"x\"]"), "no absolute path", "docker/smoke.toml:1", ""),
        (service("memory = \"1KiB\""), "6MiB or more", "docker/smoke.toml:1", ""),
        (service("memory = \"1MB\""), "is not a size", "docker/smoke.toml:1", ""),
        (service("time-limit = \"1 year\""), "is not a time", "docker/smoke.toml:1", ""),
        (service("platform = \"windows-amd64\""), "containers run Linux", "docker/smoke.toml:1", ""),
        (service("platform = \"linux-amd46\""), "unknown platform `linux-amd46`", "docker/smoke.toml:1", ""),
        (service("capabilities = [\"ALL\"]"), "not a capability to keep", "docker/smoke.toml:1", ""),
        (service("pass = [\"CONSIGN_TEST_NOT_SET\"]"), "is not set", "docker/smoke.toml:1", ""),
        (service("secrets = [\"X\"]"), "is not among its variables", "docker/smoke.toml:1", ""),
        (service("setup = [[\"x\"]]"), "there has to be something to `run`", "docker/smoke.toml:1", ""),
        ("jobs = 1\n".to_owned(), "has no service", "docker/smoke.toml", "[service.NAME]"),
        (
            "[service.a]\nbase = \"b\"\n[base.c]\nimage = \"x\"".to_owned(),
            "there is no base `b`",
            "docker/smoke.toml:1",
            "",
        ),
        ("[service.a]\nimage = \"x;y\"".to_owned(), "not the name of an image", "docker/smoke.toml:1", ""),
    ] {
        let document = validate(&text).failed(3, "config_invalid");
        let said = format!("{} {}", document["message"].as_str().unwrap(), document["causes"]);
        assert!(said.contains(message), "{text}\n{said}");
        assert_eq!(document["subject"], subject, "{text}\n{said}");
        assert!(document["hint"].as_str().unwrap_or_default().contains(hint), "{text}\n{document}");
    }
}

#[test]
fn what_is_good_is_listed_without_the_values_of_its_variables() {
    let text = "jobs = 3\n[base.debian]\nimage = \"debian:12\"\n
[service.web]\nbase = \"debian\"\nlabels = [\"quick\"]\nplatform = \"linux-amd64\"\nneeds = [\"db\"]\nbundle = true\nenvironment = { DB_PASSWORD = \"hunter2hunter2\", PLAIN = \"x\" }\ncpus = 0.5\n[[service.web.probe]]\nport = 8080\n
[service.db]\nimage = \"postgres@sha256:0000\"\nrun = [\"postgres\"]\n";
    let scratch = matrix(text);
    run(consign(scratch.path()).args(["docker-smoke", "validate"])).passed();
    let ran = json(scratch.path(), &["docker-smoke", "list"]).passed();
    assert!(!ran.out.contains("hunter2"));
    let listed = ran.json();
    assert_eq!(listed["type"], "consign.docker-smoke-services/v1");
    assert_eq!(listed["services"][1]["service"], "web");
    assert_eq!(listed["services"][1]["image"], "debian:12");
    assert_eq!(listed["services"][1]["environment"], serde_json::json!(["DB_PASSWORD", "PLAIN"]));
    let only = json(scratch.path(), &["docker-smoke", "list", "--service", "db"]).passed().json();
    assert_eq!(only["services"].as_array().unwrap().len(), 1);
    let replaced = json(scratch.path(), &["docker-smoke", "list", "--base", "debian=local.tar"]).passed().json();
    assert_eq!(replaced["services"][1]["image"], "local.tar");
}

#[test]
fn the_schema_tells_every_key() {
    let schema = json(Scratch::new().path(), &["docker-smoke", "schema"]).passed().json();
    let service = &schema["properties"]["service"]["additionalProperties"]["properties"];
    for key in ["image", "dockerfile", "needs", "probe", "time-limit", "output-matches"] {
        assert!(service[key]["description"].is_string(), "{key}: {service}");
    }
}

#[test]
fn a_choice_that_means_nothing_names_the_nearest() {
    let scratch = matrix("[service.debian]\nimage = \"x\"\nlabels = [\"amd64\"]\n[base.b]\nimage = \"x\"\n");
    for (arguments, hint) in [
        (["--service", "debiann"], "`debian`"),
        (["--label", "arm64"], "`amd64`"),
        (["--base", "c=x"], "`b`"),
        (["--base", "b"], "--base NAME=IMAGE"),
    ] {
        let ran = json(scratch.path(), &[&["docker-smoke"], arguments.as_slice()].concat());
        let document = ran.failed(2, "usage");
        assert!(document["hint"].as_str().unwrap().contains(hint), "{document}");
    }
    json(Scratch::new().path(), &["docker-smoke"]).failed(3, "config_invalid");
}
