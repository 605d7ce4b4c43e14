//! The bundle served to containers: what they get, who else gets nothing, and that it ends with the run.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::docker_engine::{serve, usual};
use super::docker_scene::{
    IMAGE, base_images, docker, end, log, need_scene, nothing_stands, run_smoke, service, smoke, start, verdict,
    wait_for,
};
use super::support::{git, missing_unless, small_workspace};
use super::workspaces::{rehearse, run};

/// Where a service was told to find the bundle.
fn told(directory: &camino::Utf8Path, service: &str) -> SocketAddr {
    let mut found = None;
    wait_for(|| {
        let log = log(directory, service);
        let url = log.lines().find_map(|line| line.strip_prefix("out| told https://"));
        found = url.map(|address| address.parse().unwrap());
        found.is_some()
    });
    found.unwrap()
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

/// Whether anybody listens to a port on every address: on one of them it may be somebody else.
fn listens_everywhere(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().any(|table| {
        let sockets = fs_err::read_to_string(table).unwrap();
        sockets.lines().skip(1).any(|socket| {
            let columns: Vec<_> = socket.split_whitespace().collect();
            let (address, at) = columns[1].split_once(':').unwrap();
            columns[3] == "0A" && at == format!("{port:04X}") && address.bytes().all(|digit| digit == b'0')
        })
    })
}

#[test]
fn a_release_is_installed_from_where_it_is_served() {
    if !need_scene() {
        return;
    }
    let debian = base_images().join("bookworm.tar");
    if !missing_unless(debian.is_file(), "base images (`docker/make-base-images` makes them)") {
        return;
    }
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(
        "docker/smoke.toml",
        r#"
[base.debian]
image = "debian:bookworm"

[service.user]
base = "debian"
serve = "bundle"
setup = [["sh", "-c", "test -z \"$CONSIGN_BUNDLE_URL$SSL_CERT_FILE$CURL_CA_BUNDLE\""]]
commands = [
  ["sh", "-c", "curl -fsS -o /tmp/install.sh $CONSIGN_BUNDLE_URL/install.sh"],
  ["sh", "-c", "sh /tmp/install.sh --index $CONSIGN_BUNDLE_URL/index.json --prefix /opt"],
  ["/opt/bin/tool", "--version"],
]
output-matches = ["^tool 1\\.2\\.3$"]

[service.strict]
base = "debian"
serve = "bundle"
commands = [["sh", "-c", """
  openssl s_client -connect ${CONSIGN_BUNDLE_URL#https://} -x509_strict -verify_return_error -CAfile $SSL_CERT_FILE < /dev/null
"""]]
output = ["Verify return code: 0 (ok)"]

[service.stranger]
base = "debian"
serve = "bundle"
commands = [["sh", "-c", "env -u SSL_CERT_FILE -u CURL_CA_BUNDLE curl -sS $CONSIGN_BUNDLE_URL/index.json"]]
exit-code = 60

[service.curious]
base = "debian"
serve = "bundle"
run = ["sh", "-c", """
  ask() { curl -s -o /tmp/body -w '%{http_code}' --path-as-is "$@"; }
  for path in '' . /etc/passwd ../../install.sh install.sh/ %69nstall.sh; do
    test "$(ask $CONSIGN_BUNDLE_URL/$path)" = 404 || exit 1
  done
  test "$(ask -d x $CONSIGN_BUNDLE_URL/install.sh)" = 405 || exit 2
  test "$(ask -I $CONSIGN_BUNDLE_URL/install.sh)" = 200 || exit 3
  ! ask -H "x: $(head -c 40000 /dev/zero | tr '\\0' x)" $CONSIGN_BUNDLE_URL/install.sh || exit 4
  echo asked
"""]
output-matches = ["asked$"]
"#,
    );
    git(scratch.path(), &["add", "."]);
    rehearse(scratch.path(), &["--skip", "guard"]).passed();
    let ran = run(smoke(scratch.path()).args(["--base", &format!("debian={debian}")]));
    assert_eq!(ran.code, 0, "{}{}{}", ran.out, ran.err, log(scratch.path(), "curious"));
    let user = verdict(scratch.path(), &ran.json(), "user");
    assert!(user["checks"].as_array().unwrap().iter().any(|check| check["name"] == "serve"), "{user}");
    nothing_stands(&ran.json());
}

#[test]
fn a_bundle_is_served_on_its_network_alone_and_as_long_as_the_run() {
    if !need_scene() {
        return;
    }
    let wait = "commands = [[\"sh\", \"-c\", \"echo told $CONSIGN_BUNDLE_URL; sleep 1000\"]]\nserve = \"bundle\"";
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write(
        "docker/smoke.toml",
        [
            service("alone", wait),
            service("needed", "run = [\"sleep\", \"1000\"]\n[[service.needed.probe]]\ncommand = [\"true\"]"),
            service("paired", &format!("needs = [\"needed\"]\n{wait}")),
        ]
        .concat(),
    );
    git(scratch.path(), &["add", "."]);
    rehearse(scratch.path(), &["--skip", "guard"]).passed();
    let child = start(scratch.path());
    let places = ["alone", "paired"].map(|service| told(scratch.path(), service));
    assert_ne!(places[0].ip(), places[1].ip(), "each network has its own");
    for place in places {
        assert!(answers(place));
        assert!(!listens_everywhere(place.port()), "it listens wider than it should");
    }
    // Somebody on another network is turned away before anything is said.
    let [first, second] = places.map(|place| place.to_string().replace(':', " "));
    for place in [first, second] {
        let ask = format!("echo | nc -w 5 {place} | wc -c");
        assert_eq!(docker(&["run", "--rm", IMAGE, "sh", "-c", &ask]).trim(), "0");
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    end(child).failed(1, "interrupted");
    assert!(places.iter().all(|place| !answers(*place)), "it is still served");
}

#[test]
fn an_engine_of_another_machine_is_told_before_anything_is_started() {
    if !need_scene() {
        return;
    }
    // An address of this machine that does not look like one.
    let gateway = docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    let listener = TcpListener::bind((gateway.trim(), 0)).unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            std::thread::spawn(move || serve(connection, &|path: &str| usual(path, "1.41", "/", "x86_64")));
        }
    });
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("docker/smoke.toml", service("far", "serve = \"bundle\"\ncommands = [[\"true\"]]"));
    git(scratch.path(), &["add", "."]);
    rehearse(scratch.path(), &["--skip", "guard"]).passed();
    let document = run(smoke(scratch.path()).env("DOCKER_HOST", &host)).failed(5, "engine_failed");
    let message = document["message"].as_str().unwrap();
    assert_eq!(message, format!("`far` wants to be served, and the engine at `{host}` is on another machine"));
    assert!(document["hint"].as_str().unwrap().contains("`bundle = true`"), "{document}");
}

#[test]
fn a_run_without_a_bundle_serves_nothing() {
    let scratch = small_workspace("tool", "1.2.3");
    scratch.write("docker/smoke.toml", service("served", "serve = \"bundle\"\ncommands = [[\"true\"]]"));
    run_smoke(scratch.path()).failed(4, "bundle_missing");
}
