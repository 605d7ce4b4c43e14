//! A server of a test's own, as a process, on either database; and questions to it.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use crate::postgres;
use crate::support::{Scratch, both, clean};

/// The databases that everything is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];
}

/// Where a server keeps what it has; servers come and go.
pub struct Place {
    pub scratch: Scratch,
    pub database: Option<String>,
    options: Vec<String>,
    variables: Vec<(String, String)>,
}

/// A server that runs. It is killed when it is dropped.
pub struct Running {
    child: Child,
    pub address: String,
    pub admin: Option<String>,
    /// Where what is counted is shown.
    pub metrics: Option<String>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub headers: reqwest::header::HeaderMap,
}

impl Place {
    /// A new place; nothing, where the database is not installed.
    pub fn new(kind: Kind, options: &[&str]) -> Option<Self> {
        let database = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(postgres::database()?),
        };
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Some(Self { scratch: Scratch::new(), database, options, variables: Vec::new() })
    }

    /// Lets every server that starts here believe whoever has this key.
    pub fn believe(&mut self, pubkey: &str) {
        self.option("--pubkey", pubkey);
    }

    /// An option of every server that starts here.
    pub fn option(&mut self, flag: &str, value: &str) {
        self.options.extend([flag.to_owned(), value.to_owned()]);
    }

    /// A variable of the environment of every command that runs here.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The database itself, for what is asked of no server.
    pub fn store(&self) -> consign::store::Place {
        match &self.database {
            Some(address) => consign::store::Place::Postgres(address.clone()),
            None => consign::store::Place::Sqlite(self.scratch.path().join("test.sqlite")),
        }
    }

    pub fn data(&self) -> Utf8PathBuf {
        self.scratch.path().join("data")
    }

    /// The command, told where everything is.
    pub fn command(&self, verb: &[&str]) -> Command {
        self.set(Command::new(env!("CARGO_BIN_EXE_consign-server")), verb)
    }

    fn set(&self, mut command: Command, verb: &[&str]) -> Command {
        clean(&mut command);
        command.current_dir(self.scratch.path()).args(verb).args(["--data", self.data().as_str()]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(database) = &self.database {
            command.env("CONSIGN_SERVER_DATABASE", database);
        }
        command
    }

    /// Starts a server and waits until it says where it is.
    pub fn start(&self) -> Running {
        self.start_on("127.0.0.1:0")
    }

    /// The same on an address that was chosen.
    pub fn start_on(&self, listen: &str) -> Running {
        self.start_by(Command::new(env!("CARGO_BIN_EXE_consign-server")), listen, None)
    }

    /// The same for one whose log goes to a file.
    pub fn start_logged(&self, log: &Utf8Path) -> Running {
        let program = Command::new(env!("CARGO_BIN_EXE_consign-server"));
        self.start_by(program, "127.0.0.1:0", Some(std::fs::File::from(fs_err::File::create(log).unwrap())))
    }

    /// The same for one whose files are to be limited: it is told that it cannot write, and not killed.
    pub fn start_limited(&self) -> Running {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_consign-server")]);
        self.start_by(shell, "127.0.0.1:0", None)
    }

    fn start_by(&self, program: Command, listen: &str, log: Option<std::fs::File>) -> Running {
        let lines = if log.is_some() { "json" } else { "off" };
        let mut command = self.set(program, &["serve", "--listen", listen, "--format", "ndjson", "--log", lines]);
        command.args(&self.options);
        if let Some(log) = log {
            command.stderr(log);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // Events may come before the document.
        let started: Value = loop {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the server ended before it said where it is");
            let document: Value = serde_json::from_str(&line).unwrap();
            assert_ne!(document["type"], "consign.error/v1", "{line}");
            if document["type"] == "consign.server/v1" {
                break document;
            }
        };
        let text = |name: &str| started[name].as_str().map(str::to_owned);
        Running { child, address: text("address").unwrap(), admin: text("admin_token"), metrics: text("metrics") }
    }

    /// A new token.
    pub fn token(&self, grants: &str) -> String {
        let created = self.json(&["token", "create", "--name", "test", "--grants", grants]);
        created["token"].as_str().unwrap().to_owned()
    }

    /// The document of a command that has to succeed.
    pub fn json(&self, verb: &[&str]) -> Value {
        let output = self.command(verb).args(["--format", "json"]).output().unwrap();
        assert!(output.status.success(), "{verb:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Whether database, blobs and log agree. Gives how many artifacts there are.
    #[track_caller]
    pub fn sound(&self) -> u64 {
        let condition = self.json(&["fsck"]);
        assert_eq!(condition["problems"], serde_json::json!([]), "{condition}");
        condition["artifacts"].as_u64().unwrap()
    }
}

impl Running {
    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a warning, while others are still asking it.
    pub fn end_now(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }

    /// Tells it to look at its files again.
    pub fn hang_up(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    /// The most memory that it has had, in units of 1024 bytes.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Lets the peak be what it has now, and gives that.
    pub fn forget_peak_memory(&self) -> u64 {
        fs_err::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.peak_memory_kib()
    }

    /// Lets it write no file beyond a size, or any again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    /// What it has counted.
    pub fn counted(&self) -> String {
        client().get(self.metrics.as_ref().unwrap()).send().unwrap().text().unwrap()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// Sends a request.
    pub fn ask(&self, method: &str, path: &str, token: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
        self.ask_with(method, path, token, &[], body)
    }

    pub fn ask_with(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.try_ask(method, path, token, headers, body.into()).unwrap()
    }

    /// The same where the server may be gone before it answers.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Result<Answer> {
        let client = client();
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = client.request(method, format!("{}{path}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes()?.to_vec() })
    }
}

/// One client for all tests. It keeps no connection, for servers come and go.
fn client() -> &'static reqwest::blocking::Client {
    static CLIENT: std::sync::LazyLock<reqwest::blocking::Client> = std::sync::LazyLock::new(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::blocking::Client::builder().no_proxy().tls_certs_only([]);
        builder.pool_max_idle_per_host(0).build().unwrap()
    });
    &CLIENT
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer had to have this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The answer had to be a refusal with this status and code.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(problem["status"], status);
        problem
    }
}

/// A record.
pub fn record(service: &str, id: &str) -> Value {
    serde_json::json!({
        "type": "consign.artifact/v1",
        "id": id,
        "service": service,
        "source": { "sha": "0123456789abcdef0123456789abcdef01234567", "branch": "main" },
    })
}

/// The command `consign` of a user with a home of their own.
pub fn consign(home: &Utf8Path, server: &Running, arguments: &[&str]) -> Command {
    let mut command = crate::support::consign(home);
    command.env("HOME", home).env("XDG_STATE_HOME", home.join("state")).env("CONSIGN_SERVER", &server.address);
    command.args(arguments);
    command
}
