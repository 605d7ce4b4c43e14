//! Servers that are killed while they release, remotes that refuse, and strangers who push all the while:
//! every release that was acknowledged is committed once, whole, and in its order.
//!
//! `CONSIGN_TEST_KILLS` says how often servers are killed, where 20 times is not enough.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::Digest;
use serde_json::{Value, json};

use crate::place::{Answer, Kind, Place, Running, consign, record};
use crate::support::{Scratch, both, clean, succeed};

/// How often the servers of each database are killed, if nobody says otherwise.
const KILLS: u64 = 20;
/// How many ask at once.
const CLIENTS: u64 = 4;
/// How many services there are, and how many artifacts each has.
const SERVICES: u64 = 5;
const ARTIFACTS: u64 = 6;
const ENVIRONMENTS: [&str; 2] = ["dev", "prod"];

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// What an artifact has for an environment, by the path below its service.
fn manifests(service: &str, artifact: &str, environment: &str) -> [(String, String); 3] {
    ["deployment.yaml", "nested/config.yaml", "service.yaml"]
        .map(|path| (path.to_owned(), format!("of: {service}/{artifact}/{environment}/{path}\n")))
}

/// Servers over one configuration repository, and what they have acknowledged.
struct Scene {
    place: Place,
    home: Scratch,
    servers: Vec<Running>,
    addresses: Vec<String>,
    token: String,
    /// What was asked for, by its key, and the answer.
    answered: Mutex<BTreeMap<String, (String, Value)>>,
    /// What got no answer.
    broken_off: Mutex<Vec<(String, String)>>,
    /// How many commits others have made.
    strangers: AtomicU64,
}

impl Scene {
    fn new(kind: Kind, replicas: usize) -> Option<Self> {
        let mut place = Place::new(kind, &[])?;
        let directory = place.scratch.path().to_owned();
        git(&directory, &["init", "--quiet", "--bare", "--initial-branch=main", "config.git"]);
        let hook = directory.join("config.git/hooks/pre-receive");
        fs_err::create_dir_all(hook.parent().unwrap()).unwrap();
        fs_err::write(&hook, "#!/bin/sh\n[ ! -e closed ] || { echo closed for today; exit 1; }\n").unwrap();
        executable(&hook);
        let file = directory.join("environments.toml");
        let environments = "[deployer.config]\nrepository = \"config.git\"\n\
             [[environment]]\nname = \"dev\"\n[[environment]]\nname = \"prod\"\nfrom = [\"dev\"]\n";
        fs_err::write(&file, environments).unwrap();
        place.option("--manage", file.as_str());
        // No connection ever comes from such an address, so that nobody takes its port between two servers.
        let own = std::process::id();
        let addresses = (0..replicas).map(|number| format!("127.{}.{}.{}:0", 97 + number, own >> 8 & 255, own & 255));
        let servers: Vec<_> = addresses.map(|address| place.start_on(&address)).collect();
        let token = servers[0].admin.clone().unwrap();
        let addresses = servers.iter().map(|server| server.address.strip_prefix("http://").unwrap().to_owned());
        let scene = Self {
            addresses: addresses.collect(),
            servers,
            token,
            place,
            home: Scratch::new(),
            answered: Mutex::default(),
            broken_off: Mutex::default(),
            strangers: AtomicU64::new(0),
        };
        for service in 0..SERVICES {
            for artifact in 0..ARTIFACTS {
                scene.push(&format!("s{service}"), &format!("a{artifact}"));
            }
        }
        Some(scene)
    }

    fn push(&self, service: &str, artifact: &str) {
        use consign::archive::{Options, Writer};
        let date = "1980-01-01T00:00:00Z".parse().unwrap();
        let options = Options { format: consign::model::index::ArchiveFormat::TarGz, level: None, date };
        let mut writer = Writer::new(&"payload".parse().unwrap(), options);
        for environment in ENVIRONMENTS {
            for (path, text) in manifests(service, artifact, environment) {
                let path = format!("{environment}/{path}");
                writer.append(&path, false, text.len() as u64, &mut text.as_bytes()).unwrap();
            }
        }
        let packed = writer.finish().unwrap();
        let mut record = record(service, artifact);
        record["payload"] = json!({
            "sha256": Digest::of(&packed.bytes),
            "size_bytes": packed.bytes.len(),
            "unpacked_size_bytes": packed.unpacked_size_bytes,
            "environments": ENVIRONMENTS,
        });
        let blob = format!("/api/v1/blobs/{}", Digest::of(&packed.bytes));
        self.ask(0, "PUT", &blob, &[], packed.bytes).unwrap();
        self.ask(0, "POST", "/api/v1/artifacts", &[], record.to_string().into()).unwrap().is(201);
    }

    fn ask(&self, number: u64, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Option<Answer> {
        let server = &self.servers[usize::try_from(number).unwrap() % self.servers.len()];
        server.try_ask(method, path, Some(&self.token), headers, body).ok()
    }

    /// Asks once, under a key; nothing, where no answer came.
    fn request(&self, number: u64, key: &str, request: &str) -> Option<Value> {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        let answer = self.ask(number, "POST", "/api/v1/releases", &headers, request.to_owned().into())?;
        if answer.status == 503 {
            return None;
        }
        Some(answer.is(200).json())
    }

    /// Asks for one thing or another.
    fn wish_something(&self, number: u64, random: &mut Seeded) {
        let environments = &[&ENVIRONMENTS[..], &["dev"], &["prod"]][usize::try_from(random.next() % 3).unwrap()];
        let (service, artifact) = (random.next() % SERVICES, random.next() % ARTIFACTS);
        let request = json!({
            "service": format!("s{service}"),
            "environments": environments,
            "what": { "kind": "artifact", "id": format!("a{artifact}") },
        });
        let (key, request) = (format!("request-{number}"), request.to_string());
        match self.request(number, &key, &request) {
            Some(answer) => drop(self.answered.lock().unwrap().insert(key, (request, answer))),
            None => self.broken_off.lock().unwrap().push((key, request)),
        }
    }

    fn wish_on(&self, first: u64, over: &AtomicBool) {
        let mut random = Seeded(first);
        for number in first.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            self.wish_something(number, &mut random);
        }
    }

    /// What got no answer is asked for again, and what got one is answered the same.
    fn do_again(&self) {
        for (number, (key, request)) in (0_u64..).zip(std::mem::take(&mut *self.broken_off.lock().unwrap())) {
            let answer = self.request(number, &key, &request).expect("everybody is there");
            self.answered.lock().unwrap().insert(key, (request, answer));
        }
        let answered = self.answered.lock().unwrap().clone();
        for (number, (key, (request, answer))) in (0_u64..).zip(answered.iter().rev().take(5)) {
            assert_eq!(self.request(number, key, request).as_ref(), Some(answer), "{key}: {request}");
        }
    }

    /// The releases that were acknowledged.
    fn accepted(&self) -> BTreeSet<String> {
        let answered = self.answered.lock().unwrap();
        let results = answered.values().flat_map(|(_, answer)| answer["results"].as_array().unwrap());
        let accepted = results.inspect(|result| assert_ne!(result["result"], "refused", "{result}"));
        accepted
            .filter(|result| result["result"] == "accepted")
            .map(|result| result["release"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Every release that there is, in its order.
    fn releases(&self) -> Vec<Value> {
        let (mut releases, mut next) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/releases?limit=200{next}");
            let page = self.ask(0, "GET", &path, &[], Vec::new()).unwrap().is(200).json();
            releases.extend(page["releases"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        releases.reverse();
        releases
    }

    /// Waits until nothing waits any more.
    fn drained(&self) -> Vec<Value> {
        let began = std::time::Instant::now();
        loop {
            let path = "/api/v1/releases?limit=1&state=queued&state=committing&state=requested";
            let waiting = self.ask(0, "GET", path, &[], Vec::new()).unwrap().is(200).json();
            if waiting["releases"].as_array().unwrap().is_empty() {
                return self.releases();
            }
            assert!(began.elapsed() < Duration::from_secs(180), "it still waits: {waiting}");
            // Time has to pass for work to be done; there is no event that tells of its end.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn config(&self) -> Utf8PathBuf {
        self.place.scratch.path().join("config.git")
    }

    /// How many commits there are.
    fn height(&self) -> u64 {
        let mut command = Command::new("git");
        clean(&mut command);
        let output = command.current_dir(self.config()).args(["rev-list", "--count", "main"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_default()
    }

    fn close(&self, is_closed: bool) {
        let file = self.config().join("closed");
        if is_closed { fs_err::write(file, "").unwrap() } else { fs_err::remove_file(file).unwrap() }
    }

    /// Kills one of the servers, and what it has started or not.
    fn kill(&self, number: usize, with_children: bool) {
        let children = if with_children { descendants(self.servers[number].id()) } else { Vec::new() };
        self.servers[number].end_now();
        for child in children.into_iter().filter_map(rustix::process::Pid::from_raw) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
    }

    fn start_again(&mut self, number: usize) {
        self.servers[number].wait();
        self.servers[number] = self.place.start_on(&self.addresses[number]);
    }

    /// Every release that was acknowledged is committed once, whole and in its order, and everything agrees.
    fn check(&self) -> usize {
        let releases = self.drained();
        let known: BTreeSet<_> = releases.iter().map(|release| release["id"].as_str().unwrap()).collect();
        for id in &self.accepted() {
            assert!(known.contains(id.as_str()), "{id} was acknowledged and is not there");
        }
        let commits = self.commits();
        let committed: Vec<_> = commits.iter().map(|commit| commit.release.as_str()).collect();
        assert_eq!(committed.iter().collect::<BTreeSet<_>>().len(), committed.len(), "something is there twice");
        let mut expected: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for release in &releases {
            let text = |name: &str| release[name].as_str().unwrap();
            assert!(["pushed", "superseded"].contains(&text("state")), "{release}");
            let commit = commits.iter().find(|commit| commit.release == text("id"));
            let commit = commit.unwrap_or_else(|| panic!("no commit has {release}"));
            assert_eq!(commit.id, text("commit"), "{release}");
            let (environment, service, artifact) = (text("environment"), text("service"), text("artifact"));
            assert_eq!(commit.files, whole(environment, service), "{release}");
            expected.entry((environment, service)).or_default().push(text("id"));
            self.is_whole(commit, environment, service, artifact);
        }
        assert_eq!(committed.len(), releases.len(), "something was committed that nobody has accepted");
        for ((environment, service), expected) in expected {
            let of_place = |id: &&&str| expected.contains(*id);
            let found: Vec<_> = committed.iter().filter(of_place).copied().collect();
            assert_eq!(found, expected, "{environment}/{service} is not in its order");
        }
        self.is_sound();
        releases.len()
    }

    /// The commits of releases, the first one first.
    fn commits(&self) -> Vec<Commit> {
        let format = "--format=%x01%H%x02%(trailers:key=Release-ID,valueonly,separator=%x2C)%x02";
        let log = git(&self.config(), &["log", "--reverse", "--no-renames", "--name-only", format, "main", "--"]);
        let commits = log.split('\u{1}').skip(1).map(|commit| {
            let mut parts = commit.split('\u{2}');
            let mut part = || parts.next().unwrap().trim().to_owned();
            Commit { id: part(), release: part(), files: part().lines().map(str::to_owned).collect() }
        });
        let (own, strange): (Vec<_>, Vec<_>) = commits.partition(|commit| !commit.release.is_empty());
        assert_eq!(strange.len() as u64, self.strangers.load(Ordering::Relaxed), "a stranger's commit is lost");
        own
    }

    fn is_whole(&self, commit: &Commit, environment: &str, service: &str, artifact: &str) {
        let below = format!("{environment}/releases/{environment}/{service}");
        let mut wanted: Vec<_> = manifests(service, artifact, environment).into();
        wanted.push(("artifact.json".to_owned(), String::new()));
        let questions: String = wanted.iter().map(|(path, _)| format!("{}:{below}/{path}\n", commit.id)).collect();
        let mut command = Command::new("git");
        clean(&mut command);
        command.current_dir(self.config()).args(["cat-file", "--batch=%(objecttype)"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let (files, record) = said.rsplit_once("blob\n{").unwrap_or_else(|| panic!("{commit:?} is partial: {said}"));
        let expected: String = wanted[..3].iter().map(|(_, text)| format!("blob\n{text}\n")).collect();
        assert_eq!(files, expected, "{commit:?}");
        let record: Value = serde_json::from_str(&format!("{{{record}")).unwrap();
        assert_eq!(record["id"], artifact, "{commit:?}");
    }

    /// The repository and the database, also while nobody has mended anything.
    fn is_sound(&self) {
        let fsck = || {
            let mut command = Command::new("git");
            clean(&mut command);
            command.current_dir(self.config()).args(["fsck", "--strict", "--no-dangling"]);
            let output = command.output().unwrap();
            (output.status.success() && output.stdout.is_empty()).then_some(()).ok_or_else(|| both(&output))
        };
        // What is pushed while it is looked at seems to be missing; what is missing stays so.
        let said: Vec<_> = (0..10).map_while(|_| fsck().err()).collect();
        assert!(said.len() < 10, "{said:?}");
        self.place.sound();
    }

    fn verify_log(&self) {
        let verify = &mut consign(self.home.path(), &self.servers[0], &["audit", "verify"]);
        succeed(verify.env("CONSIGN_TOKEN", &self.token));
    }

    /// Commits beside the servers, again and again, as somebody with a clone of their own.
    fn intrude(&self, name: &str, over: &AtomicBool) {
        let directory = self.home.path().join(name);
        git(self.home.path(), &["init", "--quiet", "--initial-branch=main", name]);
        let config = self.config();
        let mut number = 0;
        let run = |arguments: &[&str]| {
            let mut command = Command::new("git");
            clean(&mut command);
            command.env("GIT_AUTHOR_NAME", name).env("GIT_AUTHOR_EMAIL", "s@example.com");
            command.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", "s@example.com");
            command.current_dir(&directory).args(arguments).output().unwrap().status.success()
        };
        while !over.load(Ordering::Relaxed) {
            if !run(&["fetch", "--quiet", config.as_str(), "main"])
                || !run(&["reset", "--quiet", "--hard", "FETCH_HEAD"])
            {
                continue;
            }
            number += 1;
            fs_err::write(directory.join(format!("{name}.txt")), number.to_string()).unwrap();
            assert!(run(&["add", "-A"]) && run(&["commit", "--quiet", "-m", &format!("{name} {number}")]));
            if run(&["push", "--quiet", config.as_str(), "HEAD:main"]) {
                self.strangers.fetch_add(1, Ordering::Relaxed);
            }
            // Nobody's remote takes pushes without a pause, and what is waited for here is not an event.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A commit of a release.
#[derive(Debug)]
struct Commit {
    id: String,
    release: String,
    /// What it has changed.
    files: Vec<String>,
}

/// Every file that a release changes, each time.
fn whole(environment: &str, service: &str) -> Vec<String> {
    let below = format!("{environment}/releases/{environment}/{service}");
    ["artifact.json", "deployment.yaml", "nested/config.yaml", "service.yaml"]
        .map(|path| format!("{below}/{path}"))
        .into()
}

fn git(directory: &Utf8Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    clean(&mut command);
    succeed(command.current_dir(directory).args(arguments))
}

fn executable(path: &Utf8Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What a process has started, and what that has, and so on.
fn descendants(of: u32) -> Vec<i32> {
    let processes =
        fs_err::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let parents: Vec<(i32, i32)> = processes
        .filter_map(|id: i32| {
            let stat = fs_err::read_to_string(format!("/proc/{id}/stat")).ok()?;
            Some((id, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = vec![i32::try_from(of).unwrap()];
    let mut looked_at = 0;
    while let Some(&parent) = found.get(looked_at) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        looked_at += 1;
    }
    found.split_off(1)
}

fn kills() -> u64 {
    std::env::var("CONSIGN_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Kills one server after the other while all are asked, and looks at what there is in the end.
fn kill_in_turn(mut scene: Scene, kills: u64) {
    let mut random = Seeded(20_260_301);
    let replicas = scene.servers.len();
    for round in 0..kills {
        let over = AtomicBool::new(false);
        let killed = usize::try_from(round).unwrap() % replicas;
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (scene, over) = (&scene, &over);
                scope.spawn(move || scene.wish_on((round * CLIENTS + client) * 100_000, over));
            }
            // The kill comes at a moment that nobody has prepared for; there is no event to wait for.
            std::thread::sleep(Duration::from_millis(30 + random.next() % 350));
            scene.kill(killed, round % 2 == 1);
            over.store(true, Ordering::Relaxed);
        });
        // Nobody has mended anything yet.
        scene.is_sound();
        scene.start_again(killed);
        scene.do_again();
        scene.verify_log();
    }
    let releases = scene.check();
    assert!(releases as u64 > kills, "{releases} releases");
    eprintln!("{kills} kills, {releases} releases, {} commits", scene.height());
}

#[test]
fn every_accepted_release_is_committed_once_whoever_is_killed() {
    if let Some(scene) = Scene::new(Kind::Sqlite, 1) {
        kill_in_turn(scene, kills());
    }
}

#[test]
fn every_accepted_release_is_committed_once_on_postgresql() {
    if let Some(scene) = Scene::new(Kind::Postgres, 1) {
        kill_in_turn(scene, kills());
    }
}

#[test]
fn of_three_managers_on_one_database_any_may_die() {
    if let Some(scene) = Scene::new(Kind::Postgres, 3) {
        kill_in_turn(scene, kills());
    }
}

#[test]
fn work_waits_for_a_remote_that_refuses_and_lands_when_it_does_not() {
    for kind in Kind::ALL {
        let Some(mut scene) = Scene::new(kind, 1) else { continue };
        let mut random = Seeded(7);
        (0..8).for_each(|number| scene.wish_something(number, &mut random));
        scene.drained();
        let height = scene.height();
        scene.close(true);
        (100..120).for_each(|number| scene.wish_something(number, &mut random));
        let waiting = |scene: &Scene| {
            let path = "/api/v1/releases?limit=200&state=queued";
            scene.ask(0, "GET", path, &[], Vec::new()).unwrap().is(200).json()["releases"].as_array().unwrap().clone()
        };
        let was_tried =
            |release: &Value| release["reason"].as_str().is_some_and(|reason| reason.contains("tried again"));
        while !waiting(&scene).iter().any(was_tried) {
            std::thread::sleep(Duration::from_millis(20));
        }
        scene.kill(0, true);
        scene.start_again(0);
        assert_eq!(scene.height(), height);
        assert!(!waiting(&scene).is_empty());
        scene.close(false);
        scene.check();
        assert!(scene.height() > height);
    }
}

#[test]
fn strangers_who_push_all_the_while_lose_nothing_and_neither_does_the_queue() {
    let Some(mut scene) = Scene::new(Kind::Sqlite, 1) else { return };
    let mut random = Seeded(11);
    scene.wish_something(0, &mut random);
    scene.drained();
    let over = AtomicBool::new(false);
    for round in 0..2 {
        std::thread::scope(|scope| {
            let (scene, over) = (&scene, &over);
            over.store(false, Ordering::Relaxed);
            for name in ["one", "two", "three"] {
                let name = format!("{name}-{round}");
                scope.spawn(move || scene.intrude(&name, over));
            }
            for number in 1..40 {
                scene.wish_something(round * 1000 + number, &mut random);
            }
            scene.drained();
            // While somebody else is faster now and then, there is no end to wait for but this one.
            over.store(true, Ordering::Relaxed);
        });
        scene.kill(0, false);
        scene.start_again(0);
    }
    assert!(scene.strangers.load(Ordering::Relaxed) > 3);
    scene.check();
}
