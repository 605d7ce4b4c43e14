//! What runs the server elsewhere: the image, the service of systemd, the manifests of Kubernetes. Every
//! flag and variable in them is one that the server knows.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;
use consign::config::environment;

use crate::place::{Kind, Place};
use crate::support::{Scratch, both, need, need_docker, succeed};

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
    assert_eq!(dockerfile.matches("USER 65532:65532").count(), 1);
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

/// What a test leaves at the engine goes with it.
struct Things {
    name: String,
}

impl Drop for Things {
    fn drop(&mut self) {
        let name = self.name.as_str();
        for line in [&["rm", "--force", name][..], &["volume", "rm", name], &["rmi", name], &["rmi", &self.base()]] {
            let _ = Command::new("docker").args(line).output();
        }
    }
}

impl Things {
    fn base(&self) -> String {
        format!("{}-base", self.name)
    }

    /// The image of this program. Its base has the libraries that it is linked with, and nothing else.
    fn build(&self) {
        let (scratch, program) = (Scratch::new(), env!("CARGO_BIN_EXE_consign-server"));
        let (base, context) = (scratch.path().join("base"), scratch.path().join("context"));
        for word in succeed(Command::new("ldd").arg(program)).split_whitespace().filter(|word| word.starts_with('/')) {
            let library = base.join(&word[1..]);
            fs_err::create_dir_all(library.parent().unwrap()).unwrap();
            fs_err::copy(word, library).unwrap();
        }
        let tar = scratch.path().join("base.tar");
        succeed(Command::new("tar").args(["-C", base.as_str(), "-cf", tar.as_str(), "."]));
        succeed(Command::new("docker").args(["import", tar.as_str(), &self.base()]));
        fs_err::create_dir_all(context.join("data")).unwrap();
        fs_err::copy(program, context.join("consign-server")).unwrap();
        let dockerfile = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docker/Dockerfile");
        let mut build = Command::new("docker");
        build.env("DOCKER_BUILDKIT", "0").args(["build", "--tag", &self.name, "--file", dockerfile.as_str()]);
        succeed(build.args(["--build-arg", &format!("BASE={}", self.base()), context.as_str()]));
    }

    /// Runs it as the manifests do, asks whether it is ready, and stops it. Gives what it said.
    fn run(&self) -> Vec<String> {
        let name = self.name.as_str();
        let volume = format!("{name}:/data");
        let mut run = Command::new("docker");
        run.args(["run", "--name", name, "--read-only", "--cap-drop", "ALL", "--volume", &volume]);
        run.args(["--security-opt", "no-new-privileges", "--publish", "127.0.0.1::8080", name]);
        let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
            let is_last = line.starts_with("metrics at ");
            said.push(line);
            if is_last {
                break;
            }
        }
        assert!(said.len() >= 2, "{said:?}: {}", both(&Command::new("docker").args(["logs", name]).output().unwrap()));
        let address = succeed(Command::new("docker").args(["port", name, "8080"]));
        let mut stream = TcpStream::connect(address.trim()).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        succeed(Command::new("docker").args(["stop", name]));
        assert!(child.wait().unwrap().success());
        succeed(Command::new("docker").args(["rm", name]));
        said
    }
}

#[test]
fn the_image_runs_as_an_ordinary_user_and_finds_what_it_kept() {
    if !need_docker() || !need("ldd") {
        return;
    }
    let things = Things { name: format!("consign-test-server-{}", std::process::id()) };
    things.build();
    let (first, second) = (things.run(), things.run());
    assert!(first[0].starts_with("admin token (shown this once): rel_"), "{first:?}");
    assert!(second[0].starts_with("listening on "), "the volume was empty again: {second:?}");
}
