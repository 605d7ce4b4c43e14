//! What a catalog lists: added, withdrawn, mended after a kill, and read by python-tuf's own client.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::process::Command;

use consign::catalog::edit::{self, Act, Ending, Hand, Listed, Listing};
use consign::catalog::entry::{Entry, Status};
use consign::catalog::lifetimes::Lifetimes;
use consign::catalog::overview;
use consign::catalog::repository::Repository;
use consign::model::{Code, Digest};
use consign::trust::key::{Algorithm, Signer};
use consign::trust::private::PrivateKey;

use crate::fixture::{self, bundle_fixture};
use crate::sbom::need_python;
use crate::support::{self, both, need, small_workspace};
use crate::trust::{Ceremony, tree};

/// Serves a directory, and downloads every file of a version from it as python-tuf does.
const DOWNLOAD: &str = r#"
import functools, http.server, json, os, sys, threading
from tuf.ngclient import Updater
served, root, into = sys.argv[1:4]
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=served))
threading.Thread(target=server.serve_forever, daemon=True).start()
url = "http://127.0.0.1:%d/" % server.server_port
state = os.path.join(into, "state")
os.makedirs(state)
updater = Updater(state, url + "tuf/", into, url, bootstrap=open(root, "rb").read())
updater.refresh()
listed = json.load(open(os.path.join(served, "tuf", "targets.json")))["signed"]["targets"]
for path in sorted(listed):
    updater.download_target(updater.get_targetinfo(path), os.path.join(into, path.replace("/", "%")))
print(updater.get_targetinfo("v1.0.0/index.json").custom["status"], updater._trusted_set.root.version)
# Some clients work out the id of every key, as the specification says.
import hashlib
from securesystemslib.formats import encode_canonical
for id, key in updater._trusted_set.root.keys.items():
    assert hashlib.sha256(encode_canonical(key.to_dict()).encode()).hexdigest() == id
"#;

/// What python-tuf says after it has downloaded everything, starting from a root.
pub fn download(ceremony: &Ceremony, root: &str) -> std::process::Output {
    let into = tempfile::tempdir_in(ceremony.scratch.path()).unwrap();
    Command::new("python3")
        .args(["-c", DOWNLOAD, ceremony.target().as_str(), ceremony.path(root).as_str()])
        .arg(into.path())
        .output()
        .unwrap()
}

const ADD: &str = "catalog add releases/v1.0.0 --target releases --key release.pem --key ci.pem";

#[test]
fn python_tuf_downloads_a_release_from_our_catalog() {
    if !need_python("tuf.ngclient") {
        return;
    }
    let ceremony = Ceremony::simple();
    ceremony.add();
    let output = download(&ceremony, "releases/tuf/1.root.json");
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "active 1\n");
    // It refuses what we would not sign.
    fs_err::write(ceremony.target().join("v1.0.0/checksums.txt"), "other").unwrap();
    assert!(!download(&ceremony, "releases/tuf/1.root.json").status.success());
}

#[test]
fn a_release_is_verified_by_the_catalog_that_it_lies_in() {
    let ceremony = Ceremony::simple();
    ceremony.add();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    let verify = "verify releases/v1.0.0 --trust-root pinned.json";
    let report = ceremony.ok(verify);
    assert_eq!((&report["authenticity"], &report["catalog"]["status"]), (&"catalog".into(), &"listed".into()));
    let remote = ceremony.ok("remote-verify --base-url releases/v1.0.0 --trust-root pinned.json --report reports");
    assert_eq!(remote["status"], "passed");
    // A copy elsewhere has no catalog beside it, and no signature.
    fs_err::create_dir_all(ceremony.path("copy/v1.0.0")).unwrap();
    fixture::write(&bundle_fixture(), &ceremony.path("copy/v1.0.0"));
    let elsewhere = "verify copy/v1.0.0 --trust-root pinned.json";
    assert_eq!(ceremony.findings(elsewhere, 4), ["unsigned"]);
    assert_eq!(ceremony.ok(&format!("{elsewhere} --catalog releases"))["authenticity"], "catalog");
    let remote = "remote-verify --base-url copy/v1.0.0 --trust-root pinned.json --report reports";
    assert_eq!(ceremony.run(remote).status.code(), Some(4));
    assert_eq!(ceremony.ok(&format!("{remote} --catalog releases"))["status"], "passed");
    // What was withdrawn is still what was released, and its reason is told.
    let before = tree(&ceremony.target());
    let keys = "--target releases --key release.pem --key ci.pem";
    ceremony.ok(&format!("catalog yank v1.0.0 --reason broken {keys}"));
    let report = ceremony.ok(verify);
    assert_eq!(report["catalog"], serde_json::json!({"status": "withdrawn", "reason": "broken"}));
    assert!(both(&ceremony.run(verify)).contains("withdrawn: broken"));
    // The catalog of before the withdrawal is not believed by whoever has seen the newer one.
    for (name, bytes) in &before {
        fs_err::write(ceremony.target().join(name), bytes).unwrap();
    }
    ceremony.refused(verify, 4, "catalog_rollback");
    // A changed file is not the one that is listed.
    let ceremony = Ceremony::simple();
    ceremony.add();
    let archive = bundle_fixture().into_keys().find(|name| name.ends_with(".tar.gz")).unwrap();
    fs_err::write(ceremony.target().join("v1.0.0").join(&archive), "other").unwrap();
    let found = ceremony.findings("verify releases/v1.0.0 --trust-root releases/tuf/1.root.json", 4);
    assert!(found.contains(&"size_mismatch".to_owned()), "{found:?}");
}

#[test]
fn a_signed_release_that_is_not_listed_needs_the_keys_of_the_newest_root() {
    let ceremony = Ceremony::simple();
    ceremony.publish_bundle();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    ceremony.ok("sign releases/v1.0.0 --key release.pem");
    let verify = "verify releases/v1.0.0 --trust-root pinned.json";
    ceremony.ok("catalog refresh --target releases --key release.pem --key ci.pem");
    let report = ceremony.ok(verify);
    assert_eq!((&report["authenticity"], &report["catalog"]["status"]), (&"trusted-root".into(), &"not-listed".into()));
    // Once its key is revoked the pinned root still names it, and the catalog says otherwise.
    let new = ceremony.key("new", Algorithm::EcdsaP256);
    let stolen = ceremony.id("release");
    ceremony.ok(&format!("trust revoke {stolen} --new new.pem --target releases --key a.pem --key ci.pem"));
    assert_eq!(ceremony.findings(verify, 4), ["key_untrusted"]);
    ceremony.ok("sign releases/v1.0.0 --key new.pem --trust-root releases/tuf/root.json");
    let report = ceremony.ok(verify);
    assert_eq!((&report["signed_by"], &report["root_version"]), (&serde_json::json!([new]), &2.into()));
}

#[test]
fn a_version_is_added_once_and_never_changed() {
    let ceremony = Ceremony::simple();
    let added = ceremony.add();
    assert_eq!(added["status"], "published");
    assert_eq!(added["changes"], serde_json::json!(["v1.0.0 added"]));
    assert_eq!(added["written"], serde_json::json!(["targets.json", "snapshot.json", "timestamp.json"]));
    let before = tree(&ceremony.target());
    assert_eq!(ceremony.ok(ADD)["status"], "unchanged");
    assert_eq!(tree(&ceremony.target()), before);
    let verified = ceremony.ok("catalog verify releases --trust-root releases/tuf/1.root.json");
    assert_eq!((&verified["files"], &verified["files_read"]), (&8.into(), &8.into()));
    // A bundle that does not verify is not looked at any further.
    let other = ceremony.path("other/v1.0.0");
    fs_err::create_dir_all(&other).unwrap();
    for (name, bytes) in bundle_fixture() {
        fs_err::write(other.join(name), bytes).unwrap();
    }
    fs_err::write(other.join("index.json"), "{}").unwrap();
    let line = ADD.replace("releases/v1.0.0", "other/v1.0.0");
    let said = ceremony.refused(&line, 4, "document_invalid");
    assert!(said.contains("does not verify"), "{said}");
    // A file of evidence that comes later is listed later.
    fs_err::write(ceremony.target().join("v1.0.0/index.json.sig"), "sig").unwrap();
    let more = ceremony.ok(ADD);
    assert_eq!(more["changes"], serde_json::json!(["v1.0.0/index.json.sig is added"]));
}

#[test]
fn a_key_without_the_role_adds_nothing() {
    let ceremony = Ceremony::simple();
    ceremony.publish_bundle();
    ceremony.refused(&ADD.replace(" --key release.pem", ""), 4, "key_untrusted");
    ceremony.refused(&ADD.replace(" --key release.pem --key ci.pem", ""), 2, "usage");
    ceremony.refused("catalog add releases/v1.0.0 --target nowhere --key release.pem", 3, "catalog_missing");
    ceremony.refused(
        "catalog yank v9.9.9 --reason x --target releases --key release.pem --key ci.pem",
        4,
        "target_unknown",
    );
    // With the release key alone the list waits for the other one, and readers see nothing of it.
    let waiting = ceremony.ok(&ADD.replace(" --key ci.pem", ""));
    assert_eq!((&waiting["status"], &waiting["missing"][0]["role"]), (&"proposed".into(), &"snapshot".into()));
    assert!(ceremony.ok("catalog show releases")["versions"].as_array().unwrap().is_empty());
    assert_eq!(ceremony.ok("catalog refresh --target releases --key ci.pem")["status"], "published");
    assert_eq!(ceremony.ok("catalog show releases")["latest"]["tool"], "v1.0.0");
}

#[test]
fn a_yanked_version_is_listed_and_not_the_latest() {
    let ceremony = Ceremony::simple();
    ceremony.add();
    let keys = "--target releases --key release.pem --key ci.pem";
    let yanked = ceremony
        .command("catalog yank 1.0.0 --format json")
        .args(["--reason", "loses \u{1b}[31m data"])
        .args(keys.split(' '))
        .output()
        .unwrap();
    assert!(yanked.status.success(), "{}", both(&yanked));
    let shown = ceremony.ok("catalog show releases");
    assert_eq!((&shown["versions"][0]["status"], &shown["latest"]), (&"yanked".into(), &serde_json::json!({})));
    let text = ceremony.run("catalog show releases");
    assert!(!both(&text).contains("\u{1b}[31m data"), "{}", both(&text));
    // Adding it again does not give it back.
    assert_eq!(ceremony.ok(ADD)["status"], "unchanged");
    let back = ceremony.ok(&format!("catalog unyank v1.0.0 {keys}"));
    assert_eq!(back["changes"], serde_json::json!(["v1.0.0 is active again"]));
    assert_eq!(ceremony.ok("catalog show releases")["latest"]["tool"], "v1.0.0");
}

#[test]
fn a_run_that_was_killed_between_two_files_is_mended_by_the_next() {
    const ORDER: [&str; 3] = ["targets.json", "snapshot.json", "timestamp.json"];
    for written in 0..=ORDER.len() {
        let ceremony = Ceremony::simple();
        let old = tree(&ceremony.target());
        ceremony.add();
        for name in &ORDER[written..] {
            let path = format!("tuf/{name}");
            fs_err::write(ceremony.target().join(&path), &old[&path]).unwrap();
        }
        let whole = written == 0 || written == ORDER.len();
        let said = ceremony.run("catalog verify releases --trust-root releases/tuf/1.root.json");
        assert_eq!(said.status.success(), whole, "{written} files: {}", both(&said));
        ceremony.ok(ADD);
        assert_eq!(ceremony.ok("catalog verify releases --trust-root releases/tuf/1.root.json")["files"], 8);
    }
}

#[test]
fn whoever_writes_into_the_directory_cannot_have_it_signed() {
    let ceremony = Ceremony::simple();
    let first = tree(&ceremony.target());
    ceremony.add();
    // An older list in the place of the newer one.
    let path = ceremony.target().join("tuf/targets.json");
    let good = fs_err::read(&path).unwrap();
    fs_err::write(&path, &first["tuf/targets.json"]).unwrap();
    ceremony.refused(ADD, 4, "catalog_rollback");
    // A list with something more in it.
    let text = String::from_utf8(good.clone()).unwrap();
    fs_err::write(&path, text.replace("\"length\": ", "\"length\": 1")).unwrap();
    ceremony.refused(ADD, 4, "catalog_invalid");
    fs_err::remove_file(&path).unwrap();
    ceremony.refused(ADD, 3, "catalog_missing");
    fs_err::write(&path, &good).unwrap();
    // A timestamp with a version out of all proportion, signed by nobody.
    let path = ceremony.target().join("tuf/timestamp.json");
    let good = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, good.replacen("\"version\": 2", "\"version\": 2000000000", 1)).unwrap();
    ceremony.refused("catalog refresh --target releases --key ci.pem", 4, "catalog_invalid");
    fs_err::remove_file(&path).unwrap();
    ceremony.refused("catalog refresh --target releases --key ci.pem", 3, "catalog_missing");
    fs_err::write(&path, good).unwrap();
    assert_eq!(ceremony.ok("catalog refresh --target releases --key ci.pem")["status"], "published");
    // A file that is not what is listed.
    fs_err::write(ceremony.target().join("v1.0.0/index.json"), "{}").unwrap();
    let output = ceremony.run("catalog verify releases --trust-root releases/tuf/1.root.json --format json");
    assert_eq!(output.status.code(), Some(4));
    assert!(both(&output).contains("\"size_mismatch\""), "{}", both(&output));
}

#[test]
fn a_list_of_two_holders_waits_for_both() {
    let ceremony = Ceremony::new();
    ceremony.ok(
        "trust init releases --root-key a.pem --targets-key release.pem --targets-key c.pub --targets-threshold 2 \
         --snapshot-key ci.pem --timestamp-key ci.pem",
    );
    ceremony.publish_bundle();
    let first = ceremony.ok(ADD);
    assert_eq!((&first["status"], &first["missing"][0]["have"]), (&"proposed".into(), &1.into()));
    // Nobody else's change is signed along with one's own.
    let proposed = ceremony.path("releases/tuf/proposed.targets.json");
    assert_eq!(ceremony.ok(ADD)["missing"][0]["have"], 1, "one key counts once");
    ceremony.refused("trust sign releases/tuf/proposed.targets.json --key ci.pem", 4, "key_untrusted");
    let text = fs_err::read_to_string(&proposed).unwrap();
    fs_err::write(&proposed, text.replace("\"length\": ", "\"length\": 1")).unwrap();
    ceremony.refused("trust sign releases/tuf/proposed.targets.json --key c.pem", 4, "sig_invalid");
    fs_err::write(&proposed, text).unwrap();
    let done = ceremony.ok("trust sign releases/tuf/proposed.targets.json --key c.pem");
    assert_eq!(done["changes"], serde_json::json!(["v1.0.0 added"]));
    assert_eq!(ceremony.ok("catalog refresh --target releases --key ci.pem")["status"], "published");
    assert_eq!(ceremony.ok("catalog verify releases --trust-root releases/tuf/1.root.json")["files"], 8);
    assert!(!proposed.exists());
}

fn listing(release: &str) -> Listing {
    let version: semver::Version = release.trim_start_matches('v').parse().unwrap();
    let file = Listed { size_bytes: 1, sha256: Digest::of(release.as_bytes()), is_evidence: false };
    let entry = Entry {
        name: "tool".parse().unwrap(),
        version,
        channel: "stable".to_owned(),
        status: Status::Active,
        reason: None,
        minimum_client_version: None,
    };
    Listing { release: release.to_owned(), entry, files: [("index.json".to_owned(), file)].into() }
}

fn signer(ceremony: &Ceremony, name: &str) -> PrivateKey {
    let pem = fs_err::read_to_string(ceremony.path(&format!("{name}.pem"))).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    PrivateKey::from_pkcs8(&data_encoding::BASE64.decode(body.as_bytes()).unwrap()).unwrap()
}

#[test]
fn publishers_at_the_same_time_are_all_listed() {
    let ceremony = Ceremony::simple();
    let repository = Repository::at(&ceremony.target());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (ceremony, repository) = (&ceremony, &repository);
            scope.spawn(move || {
                let (release, ci) = (signer(ceremony, "release"), signer(ceremony, "ci"));
                let lifetimes = Lifetimes::default();
                let signers: Vec<&dyn Signer> = vec![&release, &ci];
                let hand = Hand { signers, now: jiff::Timestamp::now(), lifetimes: &lifetimes, act: Act::Write };
                let outcome = edit::add(repository, &[listing(&format!("v1.{number}.0"))], &hand).unwrap();
                assert_eq!(outcome.status, Ending::Published);
            });
        }
    });
    let state = repository.state(&repository.roots().unwrap()).unwrap();
    let shown = overview::versions("x", state.listed());
    assert_eq!((shown.versions.len(), shown.latest["tool"].as_str()), (8, "v1.7.0"));
    assert!(state.versions().all(|(_, version)| version == 9));
    assert_eq!(tree(&ceremony.target()).len(), 5, "no lock and nothing half written is left");
}

#[test]
fn other_bytes_under_a_listed_version_are_refused() {
    let ceremony = Ceremony::simple();
    let repository = Repository::at(&ceremony.target());
    let (release, ci) = (signer(&ceremony, "release"), signer(&ceremony, "ci"));
    let lifetimes = Lifetimes::default();
    let hand = |act| Hand { signers: vec![&release, &ci], now: jiff::Timestamp::now(), lifetimes: &lifetimes, act };
    edit::add(&repository, &[listing("v1.0.0")], &hand(Act::Write)).unwrap();
    let before = tree(&ceremony.target());
    let mut other = listing("v1.0.0");
    other.files.get_mut("index.json").unwrap().size_bytes = 2;
    let mut fewer = listing("v1.0.0");
    fewer.files.clear();
    let mut more = listing("v1.0.0");
    more.files.insert("more".to_owned(), Listed { size_bytes: 1, sha256: Digest::of(b"x"), is_evidence: false });
    for wrong in [other, fewer, more] {
        let failure = edit::add(&repository, &[wrong], &hand(Act::Write)).unwrap_err();
        assert_eq!(failure.code(), Code::VersionPublished, "{failure}");
    }
    assert_eq!(tree(&ceremony.target()), before);
    // A prerelease and a yanked version are not the latest.
    edit::add(&repository, &[listing("v2.0.0-rc.1"), listing("v1.5.0")], &hand(Act::Write)).unwrap();
    edit::mark(&repository, "v1.5.0", Status::Yanked, Some("broken"), &hand(Act::Write)).unwrap();
    let state = repository.state(&repository.roots().unwrap()).unwrap();
    let shown = overview::versions("x", state.listed());
    let order: Vec<_> = shown.versions.iter().map(|row| row.release.as_str()).collect();
    assert_eq!((order, shown.latest["tool"].as_str()), (vec!["v2.0.0-rc.1", "v1.5.0", "v1.0.0"], "v1.0.0"));
}

#[test]
fn a_short_end_without_a_refresh_is_warned_of() {
    let ceremony = Ceremony::simple();
    ceremony.scratch.write("consign.toml", "[catalog]\ntimestamp-expires = \"14d\"\n");
    let said = ceremony.ok("catalog refresh --target releases --key ci.pem");
    assert!(said["warnings"][0].as_str().unwrap().contains("14 days"), "{said}");
    ceremony.scratch.write("consign.toml", "[catalog]\nrefresh = \"14d\"\n");
    let said = ceremony.ok("catalog refresh --target releases --key ci.pem");
    assert_eq!(said["warnings"], serde_json::json!([]));
    let days = |role: usize| ceremony.ok("trust show releases")["roles"][role]["days_left"].as_i64().unwrap();
    assert_eq!((days(3), days(2)), (13, 364));
    ceremony.scratch.write("consign.toml", "[catalog]\nrefresh = \"14\"\n");
    ceremony.refused("catalog refresh --target releases --key ci.pem", 3, "config_invalid");
}

#[test]
fn publishing_adds_the_version_to_the_catalog_beside_it() {
    if !need("cargo") {
        return;
    }
    let ceremony = Ceremony::simple();
    let workspace = small_workspace("tool", "1.0.0");
    let text = |name: &str| fs_err::read_to_string(ceremony.path(name)).unwrap();
    let run = |words: &[&str]| {
        let mut command = support::consign(workspace.path());
        command.args(words).args(["--provider", "directory", "--target", ceremony.target().as_str()]);
        command
    };
    let release = ["release-pipeline", "v1.0.0", "--mode", "release", "--skip", "test"];
    // A key without the role is told before anything is visible.
    let output = run(&release).env("CONSIGN_CATALOG_KEY", text("ci.pem")).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    assert!(!ceremony.target().join("v1.0.0").exists());
    // Without any key the catalog stays as it is, and it is said how to mend that.
    let output = run(&release).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert!(both(&output).contains("consign catalog add"), "{}", both(&output));
    assert!(ceremony.ok("catalog show releases")["versions"].as_array().unwrap().is_empty());
    let mut again = run(&["publish", "v1.0.0", "--format", "json"]);
    again.env("CONSIGN_CATALOG_KEY", text("ci.pem")).env("CONSIGN_SIGNING_KEY", ceremony.path("release.pem"));
    let said: serde_json::Value = serde_json::from_str(&support::succeed(&mut again)).unwrap();
    assert_eq!((&said["status"], &said["catalog"]["status"]), (&"unchanged".into(), &"published".into()));
    let verified = ceremony.ok("catalog verify releases --trust-root releases/tuf/1.root.json");
    assert!(verified["files"].as_u64().unwrap() >= 6, "{verified}");
    assert_eq!(ceremony.ok("catalog show releases")["latest"]["tool"], "v1.0.0");
}
