//! Logging in with a real provider of identities: the npm package oidc-provider, driven through its pages.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use consign::world::http::exchange::form;
use serde_json::Value;

use crate::place::{Kind, Place, Running, consign};
use crate::support::{Scratch, both, missing_unless, need, succeed};

/// Where npm puts the provider, kept from run to run.
fn package() -> Option<&'static Utf8PathBuf> {
    static PLACE: OnceLock<Option<Utf8PathBuf>> = OnceLock::new();
    PLACE
        .get_or_init(|| {
            if !need("npm") || !need("node") {
                return None;
            }
            let directory = Utf8PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
            if !directory.join("node_modules/oidc-provider").is_dir() {
                fs_err::create_dir_all(&directory).unwrap();
                let mut install = Command::new("npm");
                install.current_dir(&directory).args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
                let installed = install.arg("oidc-provider@9").output().is_ok_and(|output| output.status.success());
                if !missing_unless(installed, "the npm package oidc-provider") {
                    return None;
                }
            }
            Some(directory)
        })
        .as_ref()
}

/// A provider that runs. It ends with the test, however that ends: it reads a pipe that closes then.
struct Provider {
    issuer: String,
    child: Child,
    told: ChildStdin,
    says: BufReader<ChildStdout>,
}

impl Provider {
    fn start(life_seconds: u32) -> Option<Self> {
        let mut command = Command::new("node");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/provider.mjs")).arg(package()?);
        command.arg(life_seconds.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (told, says) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut provider = Self { issuer: String::new(), child, told, says };
        // What it warns of comes first.
        while !provider.issuer.starts_with("http") {
            provider.issuer = provider.line();
        }
        Some(provider)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.says.read_line(&mut line).unwrap() > 0, "the provider has ended");
        line.trim().to_owned()
    }

    fn rotate_keys(&mut self) {
        writeln!(self.told, "rotate").unwrap();
        while self.line() != "rotated" {}
    }

    /// A place whose servers take its tokens, those of people and those of machines.
    fn place(&self) -> Place {
        let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
        let file = format!(
            r#"
            [[issuer]]
            name = "people"
            url = "{0}"
            audience = "consign"
            jwks = "{0}/jwks"
            login = {{ client_id = "consign" }}
            [[issuer.rule]]
            claims = {{ sub = "alice" }}
            grants = "push:web"

            [[issuer]]
            name = "machines"
            url = "{0}"
            audience = "https://registry.example.com"
            jwks = "{0}/jwks"
            login = {{ client_id = "unused", scope = "api", token = "access-token", parameters = {{ resource = "https://registry.example.com" }} }}
            [[issuer.rule]]
            claims = {{ client_id = "ci:1" }}
            grants = "push:api"
            "#,
            self.issuer
        );
        let path = place.scratch.write("issuers.toml", file);
        place.option("--issuers", path.as_str());
        place
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As much of a browser as the provider's pages need.
struct Browser {
    client: reqwest::blocking::Client,
    origin: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(provider: &Provider) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder();
        let client = client.no_proxy().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { client, origin: provider.issuer.clone(), cookies: BTreeMap::new() }
    }

    /// Opens an address or sends a form there, and follows wherever that leads. Gives the last address too.
    fn open(&mut self, address: &str, fields: Option<&[(&str, &str)]>) -> (String, String) {
        let (mut address, mut fields) = (address.to_owned(), fields);
        loop {
            let url = if address.starts_with('/') { format!("{}{address}", self.origin) } else { address.clone() };
            let request = match fields.take() {
                Some(fields) => self
                    .client
                    .post(&url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form(fields.iter().copied())),
                None => self.client.get(&url),
            };
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let response = request.header("cookie", cookies.join("; ")).send().unwrap();
            for cookie in response.headers().get_all("set-cookie") {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            match response.headers().get("location") {
                Some(next) => next.to_str().unwrap().clone_into(&mut address),
                None => return (address, response.text().unwrap()),
            }
        }
    }

    /// Enters a code and confirms it, or refuses to.
    fn enter(&mut self, place: &str, code: &str, answer: &str) -> (String, String) {
        let (_, page) = self.open(place, None);
        let (_, page) = self.open(place, Some(&[("xsrf", &value(&page, "xsrf")), ("user_code", code)]));
        let fields = [("xsrf", &*value(&page, "xsrf")), ("user_code", code), (answer, "yes")];
        self.open(place, Some(&fields))
    }

    /// Confirms a code as somebody.
    fn confirm(&mut self, place: &str, code: &str, name: &str) {
        let (address, page) = self.enter(place, code, "confirm");
        assert!(page.contains(r#"name="password""#), "{page}");
        let (address, page) = self.open(&address, Some(&[("prompt", "login"), ("login", name), ("password", "x")]));
        assert!(page.contains(r#"value="consent""#), "{page}");
        let (_, page) = self.open(&address, Some(&[("prompt", "consent")]));
        assert!(page.contains("Sign-in Success"), "{page}");
    }
}

/// The value of a hidden field of a page.
fn value(page: &str, name: &str) -> String {
    let start = page.find(&format!(r#"name="{name}" value=""#)).unwrap_or_else(|| panic!("no {name}: {page}"));
    page[start..].split('"').nth(3).unwrap().to_owned()
}

/// A login that waits for somebody to confirm its code.
struct Waiting {
    child: Child,
    said: String,
    place: String,
    code: String,
    errors: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    fn begin(home: &Scratch, server: &Running) -> Self {
        let mut command = consign(home.path(), server, &["login", "--oidc", "--provider", "people"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Confirm no code") {
            assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let line = said.lines().find_map(|line| line.strip_prefix("Open ")).unwrap();
        let (place, code) = line.split_once(" and enter the code ").unwrap();
        let (place, code) = (place.to_owned(), code.to_owned());
        Self { child, said, place, code, errors }
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.errors.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap().code(), format!("{}{out}", self.said))
    }
}

fn credentials(home: &Scratch) -> Utf8PathBuf {
    let mut found = Vec::new();
    let mut left = vec![home.path().join("state")];
    while let Some(directory) = left.pop() {
        for (name, _) in consign::world::files::list(&directory).unwrap() {
            let path = directory.join(name);
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.into_iter().find(|path| path.file_name() == Some("credentials.json")).unwrap()
}

#[test]
fn a_person_confirms_a_code_elsewhere_and_stays_logged_in() {
    // Its tokens are over as soon as they are made, so that every command needs a new one.
    let Some(mut provider) = Provider::start(20) else { return };
    let place = provider.place();
    let server = place.start();
    let home = Scratch::new();
    let waiting = Waiting::begin(&home, &server);
    assert!(waiting.said.contains(&server.address) && waiting.said.contains(&provider.issuer), "{}", waiting.said);
    assert!(waiting.code.len() >= 8, "{}", waiting.code);
    Browser::new(&provider).confirm(&waiting.place, &waiting.code, "alice");
    let (code, said) = waiting.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("(people:alice): push:web"), "{said}");
    assert!(!said.contains("eyJ"), "a token is shown: {said}");
    let kept = credentials(&home);
    let document: Value = serde_json::from_slice(&fs_err::read(&kept).unwrap()).unwrap();
    let login = &document["servers"][&server.address];
    assert!(login["renewal"]["refresh_token"].is_string() && login["expires_at"].is_string(), "no way to a new token");
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs_err::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Several at once: a refresh token that is used twice would end the login.
    let children: Vec<_> = (0..4)
        .map(|_| {
            consign(home.path(), &server, &["artifact", "list"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
    }
    provider.rotate_keys();
    let shown = succeed(&mut consign(home.path(), &server, &["artifact", "list", "-vv"]));
    assert!(!shown.contains("eyJ"));
    let renewed: Value = serde_json::from_slice(&fs_err::read(&kept).unwrap()).unwrap();
    assert_ne!(&renewed["servers"][&server.address]["token"], &login["token"]);
    succeed(&mut consign(home.path(), &server, &["logout", "--server", &server.address]));
    assert!(!fs_err::read_to_string(&kept).unwrap().contains("eyJ"));
    let refused = consign(home.path(), &server, &["artifact", "list"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", both(&refused));
}

#[test]
fn a_login_that_is_refused_keeps_nothing() {
    let Some(provider) = Provider::start(3600) else { return };
    let place = provider.place();
    let server = place.start();
    let home = Scratch::new();
    let (denied, stranger) = (Waiting::begin(&home, &server), Waiting::begin(&home, &server));
    assert_ne!(denied.code, stranger.code);
    let (_, page) = Browser::new(&provider).enter(&denied.place, &denied.code, "abort");
    assert!(page.contains("interrupted"), "{page}");
    // A code counts once.
    Browser::new(&provider).confirm(&stranger.place, &stranger.code, "mallory");
    let (_, page) = Browser::new(&provider).open(&stranger.place, None);
    let fields = [("xsrf", &*value(&page, "xsrf")), ("user_code", &*stranger.code)];
    let (_, page) = Browser::new(&provider).open(&stranger.place, Some(&fields));
    assert!(!page.contains(r#"name="confirm""#), "{page}");
    let (code, said) = denied.end();
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("refused to confirm the login"), "{said}");
    // Whoever the provider knows and no rule names is known, and may do nothing.
    let (code, said) = stranger.end();
    assert_eq!(code, Some(0), "{said}");
    let refused = consign(home.path(), &server, &["artifact", "list"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", both(&refused));
    assert!(both(&refused).contains("does not allow"), "{}", both(&refused));
}

#[test]
fn a_machine_logs_in_with_its_own_secret() {
    let Some(provider) = Provider::start(3600) else { return };
    let place = provider.place();
    let server = place.start();
    let home = Scratch::new();
    let login = |secret: &str| {
        let mut command = consign(home.path(), &server, &["login", "--client-credentials", "--provider", "machines"]);
        command.env("CONSIGN_CLIENT_ID", "ci:1").env("CONSIGN_CLIENT_SECRET", secret);
        command
    };
    let wrong = login("another secret").output().unwrap();
    assert_eq!(wrong.status.code(), Some(6), "{}", both(&wrong));
    assert!(both(&wrong).contains("invalid_client") && !both(&wrong).contains("another secret"), "{}", both(&wrong));
    let right = login("a secret/with+signs").output().unwrap();
    assert!(right.status.success(), "{}", both(&right));
    assert!(both(&right).contains("(machines:ci:1): push:api"), "{}", both(&right));
    assert!(!both(&right).contains("eyJ") && !both(&right).contains("with+signs"), "{}", both(&right));
    succeed(&mut consign(home.path(), &server, &["artifact", "list"]));
    let unnamed = consign(home.path(), &server, &["login", "--client-credentials"]).output().unwrap();
    assert_eq!(unnamed.status.code(), Some(2), "{}", both(&unnamed));
}

#[test]
fn a_provider_that_is_somebody_else_is_asked_for_nothing() {
    let Some(provider) = Provider::start(3600) else { return };
    let mut place = Place::new(Kind::Sqlite, &[]).unwrap();
    let other = provider.issuer.replace("127.0.0.1", "localhost");
    let file = format!(
        "[[issuer]]\nname = 'people'\nurl = '{other}'\naudience = 'consign'\njwks = '{other}/jwks'\nlogin = {{ client_id = 'consign' }}\n"
    );
    let path = place.scratch.write("issuers.toml", file);
    place.option("--issuers", path.as_str());
    let server = place.start();
    let home = Scratch::new();
    let output = consign(home.path(), &server, &["login", "--oidc"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", both(&output));
    assert!(both(&output).contains("another issuer"), "{}", both(&output));
    let nobody = Place::new(Kind::Sqlite, &[]).unwrap();
    let none = consign(home.path(), &nobody.start(), &["login", "--oidc"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", both(&none));
}
