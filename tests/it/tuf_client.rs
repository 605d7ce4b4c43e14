//! The TUF client, driven over repositories that python-tuf's own classes have made, and over servers
//! that do not behave.

#![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use consign::catalog::client::{self, Catalog, Patience};
use consign::catalog::source::Source;
use consign::catalog::state::{Documents, State};
use consign::model::{Code, Exit, Failure};
use consign::trust::tuf::roles::{Root, Signed, Snapshot, Targets, TimestampRole};
use consign::trust::tuf::trusted::Roots;
use consign::world::http::ClientOptions;
use jiff::Timestamp;
use serde::Deserialize;

use crate::http::{Server, answer, good, hasty, send, stay_silent};
use crate::support::{self, Scratch, missing_unless};

const NOW: &str = "2030-01-01T00:00:00Z";
const ONCE: Patience = Patience { rereads: 0, pause: Duration::ZERO };

/// Everything that the script made, for the whole run of the tests.
struct Made {
    scratch: Scratch,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    directory: String,
    code: Option<String>,
    says: Vec<String>,
    at: Option<Timestamp>,
    versions: BTreeMap<String, u64>,
    finds: Vec<Find>,
}

#[derive(Deserialize)]
struct Find {
    path: String,
    code: Option<String>,
}

fn made() -> Option<&'static Made> {
    static MADE: OnceLock<Option<Made>> = OnceLock::new();
    let make = || {
        let python = Command::new("python3").args(["-c", "import tuf, securesystemslib"]).output();
        if !missing_unless(python.is_ok_and(|output| output.status.success()), "python-tuf") {
            return None;
        }
        let scratch = Scratch::new();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tuf_scenarios.py");
        support::succeed(Command::new("python3").args([script, scratch.path().as_str()]));
        let manifest = fs_err::read(scratch.path().join("manifest.json")).unwrap();
        Some(Made { scenarios: serde_json::from_slice(&manifest).unwrap(), scratch })
    };
    MADE.get_or_init(make).as_ref()
}

impl Made {
    fn root_of(&self, scenario: &str) -> Vec<u8> {
        fs_err::read(self.scratch.path().join(scenario).join("root.json")).unwrap()
    }

    fn step(&self, scenario: &str, step: usize) -> Utf8PathBuf {
        self.scratch.path().join(scenario).join(step.to_string())
    }

    /// The documents of one step, by their file names.
    fn documents(&self, scenario: &str, step: usize) -> BTreeMap<String, Vec<u8>> {
        files_below(&self.step(scenario, step).join("tuf"))
    }

    /// All repositories on the web.
    fn server(&self) -> Server {
        let root = self.scratch.path().to_owned();
        Server::start(move |request, stream| {
            let path = request.path.trim_start_matches('/');
            // Names of documents are quoted on the disk, those of targets are not.
            let places = [root.join(path), root.join(unquoted(path))];
            let bytes = places.iter().find_map(|place| fs_err::read(place).ok());
            match bytes {
                Some(bytes) => send(stream, &good(&bytes)),
                None => send(stream, &answer("404 Not Found", "", b"no")),
            }
        })
    }
}

fn unquoted(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut out = pieces.next().unwrap().as_bytes().to_vec();
    for piece in pieces {
        out.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        out.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(out).unwrap()
}

/// Every file below a directory, by its path in it.
fn files_below(directory: &Utf8Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        let Ok(entries) = fs_err::read_dir(&next) else { continue };
        for entry in entries {
            let path = Utf8PathBuf::from_path_buf(entry.unwrap().path()).unwrap();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_string();
                found.insert(name, fs_err::read(&path).unwrap());
            }
        }
    }
    found
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn source(place: &str) -> Source {
    Source::of_catalog(place).unwrap().with_options(hasty())
}

fn versions(catalog: &Catalog<'_>) -> BTreeMap<String, u64> {
    let view = catalog.view();
    view.documents().iter().map(|document| (document.role.to_string(), document.version)).collect()
}

fn expect(code: Option<&str>, failure: Option<&Failure>, what: &str) {
    let found = failure.map(|failure| failure.code().as_str());
    assert_eq!(found, code, "{what}: {:?}", failure.map(Failure::chain));
    if let Some(failure) = failure {
        let exit = if failure.code() == Code::CatalogMissing { Exit::Configuration } else { Exit::Verification };
        let exit = if failure.code() == Code::RemoteNotFound { Exit::Remote } else { exit };
        assert_eq!(failure.code().exit(), exit, "{what}");
        assert!(failure.way_out().is_some() && failure.about().is_some(), "{what}: {failure}");
    }
}

/// Plays a scenario with everything below one place, with a state of its own.
fn play(made: &Made, scenario: &Scenario, below: &str, on_the_web: bool) {
    let scratch = Scratch::new();
    let pinned = made.root_of(&scenario.name);
    let state = State::of(&scratch.path().join("state"), &pinned);
    for step in &scenario.steps {
        let what = format!("{} step {} at {below}", scenario.name, step.directory);
        let source = source(&format!("{below}/{}/{}", scenario.name, step.directory));
        let before = files_below(state.directory());
        let kept = step.at.is_none().then_some(&state);
        let outcome = client::update(&source, &pinned, kept, step.at.unwrap_or_else(now), ONCE);
        let code = match step.code.as_deref() {
            Some("catalog_missing") if on_the_web => Some("remote_not_found"),
            code => code,
        };
        expect(code, outcome.as_ref().err(), &what);
        match outcome {
            Ok(mut catalog) => {
                let found = versions(&catalog);
                step.versions.iter().for_each(|(role, version)| assert_eq!(found[role], *version, "{what}: {role}"));
                for find in &step.finds {
                    fetch(&mut catalog, find, &scratch, on_the_web, &what);
                }
            }
            Err(failure) => {
                let said = format!("{}\n{}", failure.chain().join("\n"), failure.way_out().unwrap_or_default());
                step.says.iter().for_each(|words| assert!(said.contains(words), "{what}: {words:?} in {said}"));
                assert_eq!(files_below(state.directory()), before, "{what}: the state was touched");
            }
        }
    }
}

/// Looks for a file, fetches it, and sees that nothing is left if that is refused.
fn fetch(catalog: &mut Catalog<'_>, find: &Find, scratch: &Scratch, on_the_web: bool, what: &str) {
    let what = format!("{what}: {:?}", find.path);
    let directory = scratch.path().join("fetched");
    fs_err::create_dir_all(&directory).unwrap();
    let place = directory.join("file");
    let outcome = catalog.find(&find.path).and_then(|found| {
        let file = catalog.download(&found, &place)?;
        assert_eq!(file.metadata().unwrap().len(), found.length(), "{what}");
        fs_err::remove_file(&place).unwrap();
        Ok(())
    });
    let code = match find.code.as_deref() {
        Some("file_missing") if on_the_web && find.path == "absent" => Some("remote_not_found"),
        code => code,
    };
    expect(code, outcome.as_ref().err(), &what);
    assert!(files_below(&directory).is_empty(), "{what}: something is left");
}

#[test]
fn every_scenario_of_python_tuf_ends_as_it_must_in_a_directory() {
    let Some(made) = made() else { return };
    assert!(made.scenarios.len() > 200, "{}", made.scenarios.len());
    made.scenarios.iter().for_each(|scenario| play(made, scenario, made.scratch.path().as_str(), false));
}

#[test]
fn every_scenario_of_python_tuf_ends_as_it_must_on_the_web() {
    let Some(made) = made() else { return };
    let server = made.server();
    let below = server.url("");
    made.scenarios.iter().for_each(|scenario| play(made, scenario, below.trim_end_matches('/'), true));
}

/// Plays a scenario with the command, at the time of the scenarios.
fn command(made: &Made, scenario: &Scenario, server: &Server) {
    let scratch = Scratch::new();
    let root = made.scratch.path().join(&scenario.name).join("root.json");
    let states = scratch.path().join("state");
    for step in scenario.steps.iter().filter(|step| step.at.is_none()) {
        let before = files_below(&states);
        let address = server.url(&format!("{}/{}", scenario.name, step.directory));
        let mut command = Command::new("faketime");
        command.args([NOW.trim_end_matches('Z').replace('T', " ").as_str(), env!("CARGO_BIN_EXE_consign")]);
        command.args(["--format", "json", "catalog", "verify", &address, "--trust-root", root.as_str()]);
        support::clean(&mut command);
        command.current_dir(scratch.path()).env("TZ", "UTC").env("XDG_STATE_HOME", &states);
        let output = command.output().unwrap();
        let what = format!("{} step {}: {}", scenario.name, step.directory, support::both(&output));
        let Some(code) = step.code.as_deref() else {
            assert!(output.status.success(), "{what}");
            assert!(!files_below(&states).is_empty(), "{what}");
            continue;
        };
        let code = if code == "catalog_missing" { "remote_not_found" } else { code };
        assert_eq!(output.status.code(), Some(if code == "remote_not_found" { 5 } else { 4 }), "{what}");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["code"], code, "{what}");
        assert!(said["message"].is_string() && said["hint"].is_string() && said["subject"].is_string(), "{what}");
        assert_eq!(files_below(&states), before, "{what}");
    }
}

#[test]
fn the_command_tells_every_refusal_by_its_code_and_remembers_nothing_of_it() {
    let Some(made) = made() else { return };
    if !support::need("faketime") {
        return;
    }
    let server = made.server();
    // Where a refusal has words of its own to say; most of the others are the same by other bytes.
    let has_words = |scenario: &&Scenario| scenario.steps.iter().any(|step| !step.says.is_empty());
    let chosen: Vec<_> = made.scenarios.iter().filter(has_words).collect();
    assert!(chosen.len() > 40, "{}", chosen.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    command(made, scenario, &server);
                }
            });
        }
    });
}

/// A server of one step of a scenario, except for the documents that a handler answers itself.
fn odd_server(
    made: &Made,
    scenario: &str,
    step: usize,
    odd: impl Fn(&str, usize, &mut std::net::TcpStream) -> bool + Send + Sync + 'static,
) -> Server {
    let files = files_below(&made.step(scenario, step));
    Server::start(move |request, stream| {
        let path = unquoted(request.path.trim_start_matches('/'));
        if odd(&path, request.earlier, stream) {
            return;
        }
        match files.get(&path) {
            Some(bytes) => send(stream, &good(bytes)),
            None => send(stream, &answer("404 Not Found", "", b"no")),
        }
    })
}

fn pour_without_an_end(stream: &mut std::net::TcpStream) {
    use std::io::Write as _;
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    // It ends when the other side hangs up.
    while stream.write_all(&[b' '; 4 << 10]).is_ok() {}
}

#[test]
fn endless_data_is_cut_off() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("names_of_every_kind");
    for name in ["tuf/2.root.json", "tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json", "a"] {
        let server = odd_server(made, "names_of_every_kind", 1, move |path, _, stream| {
            let is_meant = path == name;
            if is_meant {
                pour_without_an_end(stream);
            }
            is_meant
        });
        let scratch = Scratch::new();
        let state = State::of(scratch.path(), &pinned);
        let source = source(&server.url(""));
        let outcome = client::update(&source, &pinned, Some(&state), now(), ONCE);
        if name == "a" {
            let mut catalog = outcome.unwrap();
            let found = catalog.find("a").unwrap();
            let failure = catalog.download(&found, &scratch.path().join("a")).unwrap_err();
            expect(Some("file_too_large"), Some(&failure), name);
            assert!(!scratch.path().join("a").exists());
        } else {
            expect(Some("file_too_large"), outcome.as_ref().err(), name);
            assert!(files_below(scratch.path()).is_empty(), "{name}");
        }
    }
}

#[test]
fn a_silent_or_a_broken_server_is_no_end_of_the_roots() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("basic");
    for name in ["tuf/2.root.json", "tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json"] {
        for silent in [false, true] {
            let server = odd_server(made, "basic", 1, move |path, _, stream| {
                if path == name && silent {
                    stay_silent(stream);
                } else if path == name {
                    send(stream, &answer("500 Internal Server Error", "", b"no"));
                }
                path == name
            });
            let scratch = Scratch::new();
            let options = ClientOptions { stall_timeout: Duration::from_millis(200), tries: 1, ..hasty() };
            let source = Source::of_catalog(&server.url("")).unwrap().with_options(options);
            let state = State::of(scratch.path(), &pinned);
            let failure = client::update(&source, &pinned, Some(&state), now(), ONCE).unwrap_err();
            assert_eq!(failure.code(), Code::RemoteUnavailable, "{name}: {failure}");
            assert!(files_below(scratch.path()).is_empty(), "{name}");
        }
    }
}

#[test]
fn nothing_is_asked_for_where_the_pinned_root_is_no_root() {
    let Some(made) = made() else { return };
    let server = made.server();
    for name in ["a_pinned_root_without_version", "a_pinned_root_that_is_not_signed", "a_pinned_root_that_was_changed"]
    {
        let source = source(&server.url(&format!("{name}/1")));
        assert!(client::update(&source, &made.root_of(name), None, now(), Patience::default()).is_err());
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_reader_in_the_middle_of_an_update_reads_again_and_not_for_ever() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("rotated_timestamp");
    let old = made.documents("rotated_timestamp", 1);
    for (heals, name) in [(true, "targets.json"), (true, "timestamp.json"), (false, "targets.json")] {
        let old = old[name].clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = odd_server(made, "rotated_timestamp", 2, move |path, earlier, stream| {
            let is_meant = path == format!("tuf/{name}");
            if is_meant {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            let is_old = is_meant && (earlier == 0 || !heals);
            if is_old {
                send(stream, &good(&old));
            }
            is_old
        });
        let source = source(&server.url(""));
        let patience = Patience { rereads: 2, pause: Duration::from_millis(1) };
        let outcome = client::update(&source, &pinned, None, now(), patience);
        if heals {
            assert_eq!(versions(&outcome.unwrap())["timestamp"], 3);
            assert_eq!(asked.load(Ordering::SeqCst), 2);
        } else {
            expect(Some("catalog_invalid"), outcome.as_ref().err(), name);
            assert_eq!(asked.load(Ordering::SeqCst), 3);
        }
    }
}

#[test]
fn what_was_seen_belongs_to_the_root_and_not_to_the_address() {
    let Some(made) = made() else { return };
    let (server, scratch) = (made.server(), Scratch::new());
    let pinned = made.root_of("timestamp_rollback");
    let state = State::of(scratch.path(), &pinned);
    let newest = source(made.step("timestamp_rollback", 1).as_str());
    client::update(&newest, &pinned, Some(&state), now(), ONCE).unwrap();
    let before = files_below(scratch.path());
    let elsewhere = source(&server.url("timestamp_rollback/2"));
    let failure = client::update(&elsewhere, &pinned, Some(&state), now(), ONCE).unwrap_err();
    assert_eq!(failure.code(), Code::CatalogRollback);
    assert_eq!(files_below(scratch.path()), before);
    // The same root with other bytes is another root.
    let respelled = [&pinned[..], b"\n"].concat();
    let other = State::of(scratch.path(), &respelled);
    client::update(&elsewhere, &respelled, Some(&other), now(), ONCE).unwrap();
}

#[test]
fn a_state_that_is_broken_is_made_anew_and_that_is_said() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("rotated_root");
    let place = made.step("rotated_root", 2);
    let source = source(place.as_str());
    for broken in [&b""[..], b"{", b"{}", b"null", b"\xff", b"{\"type\":\"consign.catalog-state/v2\",\"roots\":[]}"] {
        let scratch = Scratch::new();
        let state = State::of(scratch.path(), &pinned);
        client::update(&source, &pinned, Some(&state), now(), ONCE).unwrap();
        let whole = files_below(scratch.path());
        let file = state.directory().join("trusted.json");
        fs_err::write(&file, broken).unwrap();
        let catalog = client::update(&source, &pinned, Some(&state), now(), ONCE).unwrap();
        assert_eq!(catalog.notes().len(), 1);
        assert!(catalog.notes()[0].contains("would not be noticed"), "{:?}", catalog.notes());
        assert_eq!(files_below(scratch.path()), whole);
        let catalog = client::update(&source, &pinned, Some(&state), now(), ONCE).unwrap();
        assert_eq!(catalog.notes().len(), 0);
    }
}

#[test]
fn nothing_in_a_state_is_believed_unchecked() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("rotated_root");
    let source = source(made.step("rotated_root", 2).as_str());
    let foreign = made.documents("key_ed25519", 1);
    let text = |name: &str| String::from_utf8(foreign[name].clone()).unwrap();
    let written = serde_json::json!({
        "type": "consign.catalog-state/v1",
        "roots": [text("1.root.json")],
        "timestamp": text("timestamp.json"),
        "snapshot": text("snapshot.json"),
        "targets": {"targets": text("targets.json")},
    });
    let scratch = Scratch::new();
    let state = State::of(scratch.path(), &pinned);
    fs_err::create_dir_all(state.directory()).unwrap();
    fs_err::write(state.directory().join("trusted.json"), written.to_string()).unwrap();
    let catalog = client::update(&source, &pinned, Some(&state), now(), ONCE).unwrap();
    assert_eq!(versions(&catalog)["root"], 2);
    assert_eq!(catalog.notes().len(), 2, "{:?}", catalog.notes());
}

#[test]
fn of_two_readers_the_one_with_the_newer_catalog_is_remembered() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("targets_that_was_kept_expired");
    let scratch = Scratch::new();
    let state = State::of(scratch.path(), &pinned);
    // The slow reader has loaded nothing yet when the quick one has finished.
    let slow = Scratch::new();
    let slow_state = State::of(slow.path(), &pinned);
    let (old, new) = (made.step("targets_that_was_kept_expired", 1), made.step("targets_that_was_kept_expired", 2));
    client::update(&source(old.as_str()), &pinned, Some(&slow_state), now(), ONCE).unwrap();
    client::update(&source(new.as_str()), &pinned, Some(&state), now(), ONCE).unwrap();
    let before = files_below(scratch.path());
    state.save(&Documents::default(), &slow_state.load().unwrap().0).unwrap();
    assert_eq!(files_below(scratch.path()), before);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (place, pinned, state) = (if number % 2 == 0 { &old } else { &new }, &pinned, &state);
            scope.spawn(move || {
                let source = source(place.as_str());
                let outcome = client::update(&source, pinned, Some(state), now(), ONCE);
                assert_eq!(outcome.is_ok(), number % 2 == 1);
            });
        }
    });
    assert_eq!(files_below(scratch.path()), before);
}

#[test]
fn looking_at_another_time_leaves_no_trace() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("timestamp_expired");
    let source = source(made.step("timestamp_expired", 2).as_str());
    let failure = client::update(&source, &pinned, None, now(), ONCE).unwrap_err();
    assert_eq!(failure.code(), Code::CatalogExpired);
    assert!(failure.way_out().unwrap().contains("--at"));
    let catalog = client::update(&source, &pinned, None, "2029-01-01T00:00:00Z".parse().unwrap(), ONCE).unwrap();
    assert_eq!(catalog.view().expires().to_string(), "2029-12-01T00:00:00Z");
}

#[test]
fn every_flipped_byte_of_every_document_is_refused() {
    let Some(made) = made() else { return };
    let pinned = made.root_of("rotated_root");
    let scratch = Scratch::new();
    let documents = made.documents("rotated_root", 2);
    for (name, bytes) in &documents {
        scratch.write(&format!("tuf/{name}"), bytes);
    }
    let source = source(scratch.path().as_str());
    client::update(&source, &pinned, None, now(), ONCE).unwrap();
    for (name, bytes) in documents.iter().filter(|(name, _)| *name != "1.root.json") {
        let path = scratch.path().join("tuf").join(name);
        for at in (0..bytes.len()).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs_err::write(&path, &changed).unwrap();
            let outcome = client::update(&source, &pinned, None, now(), ONCE);
            let failure = outcome.expect_err(&format!("byte {at} of {name}"));
            assert_eq!(failure.code(), Code::CatalogInvalid, "byte {at} of {name}: {failure}");
        }
        fs_err::write(&path, bytes).unwrap();
    }
    for at in 0..pinned.len() {
        let mut changed = pinned.clone();
        changed[at] ^= 1;
        assert!(Roots::begin(&changed).is_err(), "byte {at} of the pinned root");
    }
}

#[test]
fn no_json_of_the_test_suite_is_a_document() {
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors").into();
    let vectors = std::env::var_os("CONSIGN_VECTORS").map_or_else(beside, std::path::PathBuf::from);
    let vectors = vectors.join("json/test_parsing");
    if !missing_unless(vectors.is_dir(), "a directory of test vectors (CONSIGN_VECTORS)") {
        return;
    }
    let mut refused = BTreeSet::new();
    for entry in fs_err::read_dir(vectors).unwrap() {
        let entry = entry.unwrap();
        let bytes = fs_err::read(entry.path()).unwrap();
        assert!(Signed::<Root>::parse(&bytes).is_err());
        assert!(Signed::<Targets>::parse(&bytes).is_err());
        assert!(Signed::<Snapshot>::parse(&bytes).is_err());
        assert!(Signed::<TimestampRole>::parse(&bytes).is_err());
        assert_eq!(Roots::begin(&bytes).unwrap_err().code(), Code::CatalogInvalid);
        let name = entry.file_name().into_string().unwrap();
        let read = consign::trust::tuf::json::Json::parse(&bytes);
        assert!(!name.starts_with("n_") || read.is_err(), "{name} was read");
        refused.insert(name);
        let Some(made) = made() else { continue };
        let scratch = Scratch::new();
        scratch.write("tuf/timestamp.json", &bytes);
        let source = source(scratch.path().as_str());
        let outcome = client::update(&source, &made.root_of("basic"), None, now(), ONCE);
        let code = outcome.unwrap_err().code();
        assert!(matches!(code, Code::CatalogInvalid | Code::FileTooLarge), "{code}");
    }
    assert!(refused.len() > 300);
}
