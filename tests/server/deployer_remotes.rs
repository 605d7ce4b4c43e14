//! Config repositories behind real hosts: `OpenSSH`'s server, and git's own https server behind nginx. A host that is
//! away, may be another one, or lets nobody in is told apart in the release that waits for it, nobody is asked for
//! anything, and what waits lands as soon as it can.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::manager::Managed;
use crate::place::{Kind, Place};
use crate::support::{Scratch, git, need, succeed};
use crate::tls::Authority;

const SECRET: &str = "a-token-that-nobody-else-has";
/// How long is waited for what has to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program that is stopped at the end of the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that stays the same, whoever is behind it.
struct Door {
    port: u16,
    /// Where those go on who come; nowhere, where it is none.
    target: Arc<AtomicU16>,
}

impl Door {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Self { port: listener.local_addr().unwrap().port(), target: Arc::default() };
        let target = door.target.clone();
        // It is there as long as the tests are.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(other) = TcpStream::connect(("127.0.0.1", target.load(Ordering::SeqCst))) else { continue };
                for (from, to) in [(&stream, &other), (&other, &stream)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        // Whoever hangs up ends it for both.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        door
    }

    fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }
}

/// Starts a server that cannot choose its port itself: one that was free a moment ago is taken by somebody else now
/// and then.
fn listening(start: impl Fn(u16) -> Command) -> (Program, u16) {
    for _ in 0..20 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut program = Program(start(port).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && program.0.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (program, port);
            }
            std::thread::yield_now();
        }
    }
    panic!("a server does not start");
}

/// A managed repository behind a door, and what would be asked of a person.
struct Scene {
    managed: Managed,
    remote: Utf8PathBuf,
    asked: Utf8PathBuf,
}

impl Scene {
    /// With the address of the directory that the repository is in, and further lines of its table.
    fn new(mut place: Place, address: &str, more: &str) -> Self {
        let directory = place.scratch.path().to_owned();
        let remote = directory.join("config.git");
        git(&directory, &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
        // Whoever asks a person leaves a mark.
        let asked = directory.join("asked");
        let ask = place.scratch.write("ask", format!("#!/bin/sh\necho \"$@\" >>'{asked}'\necho nothing\n"));
        executable(&ask);
        for (name, value) in [
            ("GIT_ASKPASS", ask.as_str()),
            ("SSH_ASKPASS", ask.as_str()),
            ("SSH_ASKPASS_REQUIRE", "force"),
            ("DISPLAY", ":0"),
        ] {
            place.variable(name, value);
        }
        let managed = Managed::over(place, &format!("repository = \"{address}/config.git\"\n{more}"), "");
        Self { managed, remote, asked }
    }

    /// Asks for something while the host is as it is, sees why it waits, and that it comes once that has passed.
    fn waits_and_lands(&self, number: usize, (code, why): (&str, &str), passes: impl FnOnce()) {
        let artifact = format!("main-{number}");
        self.managed.push(&artifact, "main");
        let request = ["release", "--service", "web", "--env", "dev", "--artifact", &artifact];
        let granted = self.managed.json(&request);
        let id = granted["results"][0]["release"].as_str().unwrap().to_owned();
        let waiting = self.until(&id, |release| release["code"].is_string());
        assert_eq!(waiting["code"], code, "{waiting}");
        assert!(["queued", "committing"].contains(&waiting["state"].as_str().unwrap()), "{waiting}");
        assert!(waiting["reason"].as_str().unwrap().contains(why), "{waiting}");
        passes();
        let landed = self.until(&id, |release| release["state"] == "pushed");
        assert_eq!((&landed["code"], &landed["reason"]), (&Value::Null, &Value::Null), "{landed}");
        let subject = git(&self.remote, &["log", "-1", "--format=%s", "main"]);
        assert!(subject.contains(&format!("release {artifact} ")), "{subject}");
    }

    fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let release = self.managed.json(&["describe", "release", "--service", "web", "--id", id]);
            if is_so(&release) {
                return release;
            }
            assert!(begun.elapsed() < PATIENCE, "{release}");
        }
    }

    /// Nobody was asked, nothing is there twice, and no secret is in anything that the server has written.
    fn is_well(&self, releases: usize) {
        assert!(!self.asked.exists(), "{}", fs_err::read_to_string(&self.asked).unwrap());
        assert_eq!(git(&self.remote, &["rev-list", "main"]).lines().count(), releases);
        assert!(git(&self.remote, &["fsck", "--strict", "--full", "--no-dangling"]).is_empty());
        let encoded = data_encoding::BASE64.encode(format!("consign:{SECRET}").as_bytes());
        let mut places = vec![self.managed.place.data()];
        while let Some(place) = places.pop() {
            for entry in fs_err::read_dir(&place).unwrap() {
                let path = Utf8PathBuf::from_path_buf(entry.unwrap().path()).unwrap();
                if path.is_dir() {
                    places.push(path);
                    continue;
                }
                let text = String::from_utf8_lossy(&fs_err::read(&path).unwrap_or_default()).into_owned();
                assert!(!text.contains(SECRET) && !text.contains(&encoded), "{path}");
            }
        }
    }
}

fn executable(path: &Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes a pair of keys, and gives the public one.
fn key(directory: &Utf8Path, name: &str) -> String {
    let path = directory.join(name);
    succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path.as_str()]));
    fs_err::read_to_string(directory.join(format!("{name}.pub"))).unwrap()
}

/// `OpenSSH`'s server as whoever runs the tests, for nobody but those with a key.
fn sshd(directory: &Utf8Path) -> (Program, u16) {
    if rustix::process::geteuid().is_root() {
        // It wants this place when root runs it, and is started by something that makes it.
        fs_err::create_dir_all("/run/sshd").unwrap();
    }
    let server = "/usr/sbin/sshd";
    listening(|port| {
        let configuration = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             AuthorizedKeysFile {directory}/authorized\n"
        );
        let file = directory.join("sshd_config");
        fs_err::write(&file, configuration).unwrap();
        let mut command = Command::new(server);
        command.args(["-D", "-f", file.as_str(), "-E", directory.join("sshd.log").as_str()]);
        command
    })
}

#[test]
fn a_repository_is_reached_by_ssh_with_a_key_and_only_on_the_host_that_is_known() {
    if !need("/usr/sbin/sshd") || !need("ssh") {
        return;
    }
    let ground = Scratch::new();
    let at = ground.path();
    let [host, other, ours] = ["host", "other", "key"].map(|name| key(at, name));
    let (_sshd, port) = sshd(at);
    let door = Door::new();
    let known = |host: &str| ground.write("known", format!("[127.0.0.1]:{} {host}", door.port));
    known(&host);
    ground.write("authorized", "");
    let user = succeed(Command::new("id").arg("-un"));
    let place = Place::new(Kind::Sqlite, &[]).unwrap();
    let address = format!("ssh://{}@127.0.0.1:{}{}", user.trim(), door.port, place.scratch.path());
    let scene = Scene::new(place, &address, &format!("ssh-key = \"{at}/key\"\nknown-hosts = \"{at}/known\"\n"));
    scene.waits_and_lands(1, ("remote_unavailable", "cannot be reached"), || {
        ground.write("authorized", &ours);
        door.lead_to(port);
    });
    known(&other);
    scene.waits_and_lands(2, ("remote_forbidden", "Host key verification failed"), || drop(known(&host)));
    fs_err::write(at.join("known"), "").unwrap();
    scene.waits_and_lands(3, ("remote_forbidden", "is the right host is not known"), || drop(known(&host)));
    ground.write("authorized", &other);
    scene.waits_and_lands(4, ("remote_forbidden", "Permission denied (publickey)"), || {
        drop(ground.write("authorized", &ours));
    });
    let away = scene.remote.with_file_name("away.git");
    fs_err::rename(&scene.remote, &away).unwrap();
    scene.waits_and_lands(5, ("remote_forbidden", "does not appear to be a git repository"), || {
        fs_err::rename(&away, &scene.remote).unwrap();
    });
    let passphrase = |old: &str, new: &str| {
        let path = at.join("key");
        succeed(Command::new("ssh-keygen").args(["-q", "-p", "-P", old, "-N", new, "-f", path.as_str()]));
    };
    passphrase("", "a passphrase");
    scene.waits_and_lands(6, ("remote_forbidden", "Permission denied (publickey)"), || passphrase("a passphrase", ""));
    scene.is_well(6);
}

/// `git http-backend` behind nginx, by TLS, for nobody but those with a password.
fn https(directory: &Utf8Path, repositories: &Utf8Path, authority: &Authority) -> (Program, Program, u16) {
    authority.issue("a host", directory);
    let programs = git(directory, &["--exec-path"]);
    let socket = directory.join("cgi");
    let mut cgi = Command::new("fcgiwrap");
    cgi.arg("-s").arg(format!("unix:{socket}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let cgi = Program(cgi.spawn().unwrap());
    let begun = Instant::now();
    while !socket.exists() {
        assert!(begun.elapsed() < PATIENCE, "fcgiwrap does not start");
        std::thread::yield_now();
    }
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {directory}/{kind};\n"))
        .concat();
    let passed: String = [
        ("SCRIPT_FILENAME", format!("{programs}/git-http-backend")),
        ("GIT_PROJECT_ROOT", repositories.to_string()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("PATH_INFO", "$uri".to_owned()),
        ("QUERY_STRING", "$query_string".to_owned()),
        ("REQUEST_METHOD", "$request_method".to_owned()),
        ("CONTENT_TYPE", "$content_type".to_owned()),
        ("CONTENT_LENGTH", "$content_length".to_owned()),
        ("REMOTE_USER", "$remote_user".to_owned()),
        ("GIT_PROTOCOL", "$http_git_protocol".to_owned()),
    ]
    .iter()
    .map(|(name, value)| format!("fastcgi_param {name} \"{value}\";\n"))
    .collect();
    let (nginx, port) = listening(|port| {
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {directory}/pid;\nevents {{}}\nhttp {{\n{temporary}access_log off;\n\
             server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {directory}/cert.pem;\n\
             ssl_certificate_key {directory}/key.pem;\nclient_max_body_size 0;\n\
             auth_basic here;\nauth_basic_user_file {directory}/users;\n\
             location / {{\n{passed}fastcgi_pass unix:{socket};\n}}\n}}\n}}\n"
        );
        let file = directory.join("nginx.conf");
        fs_err::write(&file, configuration).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p", directory.as_str(), "-c", file.as_str()]).stderr(Stdio::null());
        command
    });
    (cgi, nginx, port)
}

#[test]
fn a_repository_is_reached_by_https_with_a_password_and_only_on_a_host_that_is_certified() {
    if !need("nginx") || !need("fcgiwrap") || !need("openssl") {
        return;
    }
    let (ours, other) = (Authority::new(), Authority::new());
    let (ground, false_ground) = (Scratch::new(), Scratch::new());
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    let let_in = |word: &str| {
        for ground in [&ground, &false_ground] {
            ground.write("users", format!("consign:{{PLAIN}}{word}\n"));
        }
    };
    let_in(SECRET);
    let (_cgi, _nginx, right) = https(ground.path(), place.scratch.path(), &ours);
    let (_other_cgi, _other_nginx, wrong) = https(false_ground.path(), place.scratch.path(), &other);
    let door = Door::new();
    place.variable("GIT_SSL_CAINFO", ours.root().as_str());
    let password = ground.write("password", format!("{SECRET}\n"));
    let address = format!("https://127.0.0.1:{}", door.port);
    let scene = Scene::new(place, &address, &format!("user = \"consign\"\npassword-file = \"{password}\"\n"));
    scene.waits_and_lands(1, ("remote_unavailable", "cannot be reached"), || door.lead_to(right));
    door.lead_to(wrong);
    scene.waits_and_lands(2, ("remote_forbidden", "is the right host is not known"), || door.lead_to(right));
    let_in("another-word");
    scene.waits_and_lands(3, ("remote_forbidden", "does not let the server in"), || let_in(SECRET));
    let away = scene.remote.with_file_name("away.git");
    fs_err::rename(&scene.remote, &away).unwrap();
    scene.waits_and_lands(4, ("remote_forbidden", "not found"), || fs_err::rename(&away, &scene.remote).unwrap());
    scene.is_well(4);
}
