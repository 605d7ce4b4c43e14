//! What runs the server elsewhere: the image, the service of systemd, the manifests of Kubernetes. Every
//! flag and variable in them is one that the server knows.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use camino::Utf8PathBuf;
use consign::config::environment;

use crate::place::{Kind, Place};
use crate::support::{Scratch, both, need, succeed};

const FILES: [&str; 5] = [
    "docker/Dockerfile",
    "docker/consign-server.service",
    "docker/kubernetes/deployment.yaml",
    "docker/kubernetes/service.yaml",
    "docker/kubernetes/claim.yaml",
];

fn text(name: &str) -> String {
    let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs_err::read_to_string(root.join(name)).unwrap()
}

/// The words of a text that could be flags or variables.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).filter(|word| !word.is_empty())
}

#[test]
fn every_flag_and_variable_is_one_that_the_server_knows() {
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let help = succeed(place.command(&["serve"]).arg("--help"));
    let known: Vec<_> = environment::ALL.iter().map(|variable| variable.name).collect();
    for name in FILES {
        let text = text(name);
        for variable in words(&text).filter(|word| word.starts_with("CONSIGN_")) {
            // The comment that names all of them at once.
            assert!(known.contains(&variable) || variable == "CONSIGN_SERVER_", "{name}: {variable}");
        }
        let commands = text
            .lines()
            .filter(|line| ["ExecStart=", "CMD", "args:"].iter().any(|start| line.trim().starts_with(start)));
        for line in commands {
            for flag in words(line).filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{name}: {flag} is not in the help");
            }
            assert!(line.contains("serve"), "{name}: {line}");
        }
    }
}

#[test]
fn the_manifests_grant_nothing_that_the_server_does_not_need() {
    let deployment = text("docker/kubernetes/deployment.yaml");
    for line in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [\"ALL\"]",
        "type: RuntimeDefault",
        "automountServiceAccountToken: false",
        "path: /healthz",
        "path: /readyz",
        "claimName: consign-server",
        "mountPath: /data",
        "value: /data",
    ] {
        assert!(deployment.lines().any(|text| text.trim() == line), "{line} is not in the deployment");
    }
    // What is probed is answered, and nobody needs a token for it.
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let server = place.start();
    for path in ["/healthz", "/readyz"] {
        server.ask("GET", path, None, "").is(200);
    }
    let dockerfile = text("docker/Dockerfile");
    assert_eq!(dockerfile.matches("USER 65532:65532").count(), 2);
}

/// Every manifest is YAML that Kubernetes has a shape for, as far as its own client can tell without a cluster.
#[test]
fn the_manifests_are_yaml_with_what_each_kind_has_to_have() {
    if !need("python3") {
        return;
    }
    let script = "import sys, yaml\n\
        kinds = set()\n\
        for path in sys.argv[1:]:\n    \
            for one in yaml.safe_load_all(open(path)):\n        \
                assert one['apiVersion'] and one['metadata']['name'] == 'consign-server', path\n        \
                kinds.add(one['kind'])\n        \
                if one['kind'] == 'Deployment':\n            \
                    spec = one['spec']; pod = spec['template']\n            \
                    assert spec['selector']['matchLabels'].items() <= pod['metadata']['labels'].items()\n            \
                    ports = {port['name'] for port in pod['spec']['containers'][0]['ports']}\n            \
                    mounts = {mount['name'] for mount in pod['spec']['containers'][0]['volumeMounts']}\n            \
                    assert mounts == {volume['name'] for volume in pod['spec']['volumes']}\n        \
                if one['kind'] == 'Service': target = one['spec']['ports'][0]['targetPort']\n\
        assert kinds == {'Deployment', 'Service', 'PersistentVolumeClaim'} and target in ports\n";
    let found = Command::new("python3").args(["-c", "import yaml"]).output().unwrap().status.success();
    if !crate::support::missing_unless(found, "PyYAML") {
        return;
    }
    let root = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    succeed(Command::new("python3").args(["-c", script]).args(FILES[2..].iter().map(|name| root.join(name))));
}

#[test]
fn systemd_finds_nothing_wrong_with_the_service() {
    if !need("systemd-analyze") {
        return;
    }
    let scratch = Scratch::new();
    let program = env!("CARGO_BIN_EXE_consign-server");
    let unit = text("docker/consign-server.service").replace("/usr/local/bin/consign-server", program);
    let path = scratch.write("consign-server.service", unit);
    let output = Command::new("systemd-analyze").args(["verify", path.as_str()]).output().unwrap();
    let said: Vec<_> =
        both(&output).lines().filter(|line| line.contains("consign-server")).map(str::to_owned).collect();
    assert!(said.is_empty(), "{said:?}");
}
