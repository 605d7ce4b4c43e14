//! A catalog's life: made by two holders, filled, read by others' clients, its keys replaced.

#![expect(clippy::disallowed_methods, reason = "tests run other clients")]

use std::process::Command;

use camino::{Utf8Path, Utf8PathBuf};

use crate::support::{Scratch, consign, missing_unless, succeed};
use crate::workspaces::{Ran, bundle, files_below, rehearse, run};

/// What python-tuf's own client downloads, with the root that it was given first.
const OTHER_CLIENT: &str = "
import sys, tempfile
from tuf.ngclient import Updater, FetcherInterface
class Files(FetcherInterface):
    def _fetch(self, url):
        from tuf.api.exceptions import DownloadHTTPError
        try: yield open(url.removeprefix('file://'), 'rb').read()
        except FileNotFoundError: raise DownloadHTTPError('missing', 404)
place, root, path = sys.argv[1:]
state = tempfile.mkdtemp()
updater = Updater(state, f'file://{place}/tuf/', state, f'file://{place}/', fetcher=Files(), bootstrap=open(root, 'rb').read())
updater.refresh()
print(open(updater.download_target(updater.get_targetinfo(path), state + '/out')).read())
";

fn passes(directory: &Utf8Path, arguments: &[&str]) -> Ran {
    let ran = run(consign(directory).args(["--format", "json"]).args(arguments));
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    ran
}

/// Two holders of the root, a release key, and a key of the build server with its successor.
fn catalog() -> (Scratch, Utf8PathBuf) {
    let scratch = crate::support::small_workspace("tool", "1.2.3");
    fs_err::create_dir_all(scratch.path().join("target")).unwrap();
    for name in ["one", "two", "release", "server", "next"] {
        passes(scratch.path(), &["key", "generate", "--out", &format!("target/{name}.pem")]);
    }
    rehearse(scratch.path(), &[]).passed();
    let target = scratch.path().join("target/published");
    fs_err::create_dir_all(&target).unwrap();
    succeed(Command::new("cp").args(["-r", bundle(scratch.path()).as_str(), target.join("v1.2.3").as_str()]));
    passes(
        scratch.path(),
        &["trust", "init", target.as_str(), "--root-threshold", "2"]
            .into_iter()
            .chain([
                "--root-key",
                "target/one.pem",
                "--root-key",
                "target/two.pem",
                "--targets-key",
                "target/release.pem",
            ])
            .chain(["--snapshot-key", "target/server.pem", "--timestamp-key", "target/server.pem"])
            .collect::<Vec<_>>(),
    );
    let keys = ["--key", "target/release.pem", "--key", "target/server.pem"];
    let version = target.join("v1.2.3");
    passes(scratch.path(), &[&["catalog", "add", version.as_str(), "--target", target.as_str()], &keys[..]].concat());
    (scratch, target)
}

#[test]
fn another_client_downloads_what_was_added() {
    let there =
        Command::new("python3").args(["-c", "import tuf.ngclient"]).output().is_ok_and(|ran| ran.status.success());
    if !missing_unless(there, "python-tuf") {
        return;
    }
    let (_scratch, target) = catalog();
    let root = target.join("tuf/1.root.json");
    let mut client = Command::new("python3");
    client.args(["-c", OTHER_CLIENT, target.as_str(), root.as_str(), "v1.2.3/index.json"]);
    let read = succeed(&mut client);
    assert_eq!(read.trim(), fs_err::read_to_string(target.join("v1.2.3/index.json")).unwrap().trim());
    // What was changed behind the catalog's back is refused by it as by ours.
    fs_err::write(target.join("v1.2.3/index.json"), "{}").unwrap();
    assert!(!client.output().unwrap().status.success());
    let ran =
        run(consign(&target).args(["catalog", "verify", ".", "--trust-root", "tuf/1.root.json", "--format", "json"]));
    assert_eq!(ran.code, 4, "{}", ran.err);
}

#[test]
fn a_lost_key_is_replaced_when_both_holders_sign_and_an_old_reader_follows() {
    let (scratch, target) = catalog();
    let here = scratch.path();
    let place = target.as_str();
    fs_err::copy(target.join("tuf/root.json"), here.join("target/pinned.json")).unwrap();
    let verify = || {
        run(consign(here).args(["catalog", "verify", place, "--trust-root", "target/pinned.json", "--format", "json"]))
    };
    assert_eq!(verify().code, 0);

    let id = passes(here, &["key", "inspect", "target/server.pem"]).json()["key_id"].as_str().unwrap().to_owned();
    passes(
        here,
        &[
            "trust",
            "rotate",
            "--role",
            "timestamp",
            "--old",
            &id,
            "--new",
            "target/next.pem",
            "--key",
            "target/one.pem",
            "--target",
            place,
        ],
    );
    let proposed = target.join("tuf/proposed.root.json");
    assert!(proposed.is_file() && !target.join("tuf/2.root.json").exists(), "one of two is not enough");
    assert_eq!(verify().code, 0, "a proposal is nobody's root");

    passes(here, &["trust", "sign", proposed.as_str(), "--key", "target/two.pem"]);
    assert!(target.join("tuf/2.root.json").is_file() && !proposed.exists());
    // The old key's timestamp no longer counts, until the new one has signed.
    assert_eq!(verify().code, 4);
    let keys = ["--key", "target/next.pem", "--key", "target/server.pem", "--key", "target/release.pem"];
    passes(here, &[&["catalog", "refresh", "--target", place], &keys[..]].concat());
    assert_eq!(verify().code, 0);
}

#[test]
fn a_yanked_version_stays_and_is_no_longer_the_latest() {
    let (scratch, target) = catalog();
    let (here, place) = (scratch.path(), target.as_str());
    let keys = ["--key", "target/release.pem", "--key", "target/server.pem"];
    passes(here, &[&["catalog", "yank", "v1.2.3", "--reason", "broken", "--target", place], &keys[..]].concat());
    assert!(passes(here, &["catalog", "show", place]).out.contains("yanked"));
    passes(here, &[&["catalog", "unyank", "v1.2.3", "--target", place], &keys[..]].concat());
    assert!(!passes(here, &["catalog", "show", place]).out.contains("yanked"));
    // The same again is done already; other bytes are refused, and nothing is written.
    let version = target.join("v1.2.3");
    let add = [&["catalog", "add", version.as_str(), "--target", place], &keys[..]].concat();
    passes(here, &add);
    let before: Vec<_> = files_below(&target.join("tuf")).iter().map(|path| fs_err::read(path).unwrap()).collect();
    fs_err::write(version.join("checksums.txt"), "").unwrap();
    assert_eq!(run(consign(here).args(&add)).code, 4);
    let after: Vec<_> = files_below(&target.join("tuf")).iter().map(|path| fs_err::read(path).unwrap()).collect();
    assert_eq!(before, after);
}
