//! The life of keys from end to end: replaced, stolen, lost, and followed by clients that were away.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use consign::catalog::edit::{self, Act, Hand};
use consign::catalog::lifetimes::Lifetimes;
use consign::catalog::proposal::{self, Base};
use consign::catalog::repository::Repository;
use consign::catalog::root::Change;
use consign::model::Code;
use consign::trust::key::Algorithm;
use consign::trust::private::PrivateKey;

use crate::catalog::download;
use crate::sbom::need_python;
use crate::support::both;
use crate::trust::{Ceremony, tree};

/// A catalog of two root holders with one version, and the root that an old client has.
fn catalog() -> Ceremony {
    let ceremony = Ceremony::new();
    ceremony.ok("trust init releases --root-key a.pem --root-key b.pem --root-threshold 2 --targets-key release.pem \
         --snapshot-key ci.pem --timestamp-key ci.pem");
    ceremony.add();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    ceremony
}

const VERIFY: &str = "catalog verify releases --trust-root pinned.json";

#[test]
fn an_old_client_follows_from_root_1_to_root_3() {
    let ceremony = catalog();
    assert_eq!(ceremony.ok(VERIFY)["root"], 1);
    let old = ceremony.id("b");
    // b hands over to c: both the old two and the new two have to sign.
    let line = format!("trust rotate --role root --old {old} --new c.pub --target releases");
    assert_eq!(ceremony.ok(&format!("{line} --key a.pem"))["status"], "proposed");
    let sign = "trust sign releases/tuf/proposed.root.json";
    assert_eq!(ceremony.ok(&format!("{sign} --key c.pem"))["status"], "proposed", "the old threshold is not met");
    assert_eq!(ceremony.ok(&format!("{sign} --key b.pem"))["status"], "published");
    assert_eq!(ceremony.ok(VERIFY)["root"], 2);
    // b has no say any more.
    ceremony.refused("trust renew --target releases --key b.pem", 4, "key_untrusted");
    let line = format!("trust rotate --role root --old {} --new b.pub --target releases", ceremony.id("a"));
    ceremony.ok(&format!("{line} --key c.pem --key a.pem"));
    assert_eq!(ceremony.ok(&format!("{sign} --key b.pem"))["status"], "published");
    assert_eq!(ceremony.ok("trust verify releases --trust-root pinned.json")["root"], 3);
    assert_eq!(ceremony.ok(VERIFY)["root"], 3);
    if need_python("tuf.ngclient") {
        let output = download(&ceremony, "pinned.json");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "active 3\n", "{}", both(&output));
    }
    // A root that is left out breaks the chain for whoever was away.
    fs_err::remove_file(ceremony.path("releases/tuf/2.root.json")).unwrap();
    ceremony.refused("trust verify releases --trust-root pinned.json", 4, "catalog_invalid");
    fs_err::rename(ceremony.path("releases/tuf/3.root.json"), ceremony.path("releases/tuf/2.root.json")).unwrap();
    ceremony.refused("trust verify releases --trust-root pinned.json", 4, "catalog_invalid");
    ceremony.refused("catalog refresh --target releases --key ci.pem", 4, "catalog_invalid");
}

#[test]
fn one_key_under_two_names_counts_once() {
    let ceremony = Ceremony::simple();
    fs_err::copy(ceremony.path("releases/tuf/root.json"), ceremony.path("pinned.json")).unwrap();
    ceremony.ok("trust add-key --role root --new b.pub --target releases --key a.pem");
    // b's entry becomes a second one of a, under another id.
    let path = ceremony.path("releases/tuf/2.root.json");
    let mut root: serde_json::Value = serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap();
    let (a, b) = (ceremony.id("a"), ceremony.id("b"));
    root["signed"]["keys"][&b] = root["signed"]["keys"][&a].clone();
    root["signed"]["roles"]["root"]["threshold"] = 2.into();
    fs_err::write(&path, serde_json::to_vec(&root).unwrap()).unwrap();
    ceremony.refused("trust verify releases --trust-root pinned.json", 4, "catalog_invalid");
    root["signed"]["roles"]["root"]["threshold"] = 0.into();
    fs_err::write(&path, serde_json::to_vec(&root).unwrap()).unwrap();
    ceremony.refused("trust verify releases --trust-root pinned.json", 4, "catalog_invalid");
}

#[test]
fn an_expired_last_root_stops_readers_and_its_holders_go_on() {
    let ceremony = catalog();
    ceremony.refused(&format!("{VERIFY} --at 2099-01-01T00:00:00Z"), 4, "catalog_expired");
    let repository = Repository::at(&ceremony.target());
    let key = |name: &str| {
        let pem = fs_err::read_to_string(ceremony.path(&format!("{name}.pem"))).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        PrivateKey::from_pkcs8(&data_encoding::BASE64.decode(body.as_bytes()).unwrap()).unwrap()
    };
    let (a, b, release, ci) = (key("a"), key("b"), key("release"), key("ci"));
    let lifetimes = Lifetimes::default();
    let now = "2099-01-01T00:00:00Z".parse().unwrap();
    let hand = || Hand { signers: vec![&a, &b, &release, &ci], now, lifetimes: &lifetimes, act: Act::Write };
    let before = tree(&ceremony.target());
    assert_eq!(edit::refresh(&repository, &hand()).unwrap_err().code(), Code::CatalogExpired);
    assert_eq!(tree(&ceremony.target()), before);
    // The next root follows the expired one, and what expired with it is signed anew.
    let signing = proposal::propose(&repository, &[Change::Renew], Base::InForce, None, &hand()).unwrap();
    assert_eq!((signing.version, signing.catalog.unwrap().written.len()), (2, 3));
    assert_eq!(ceremony.ok(&format!("{VERIFY} --at 2099-02-01T00:00:00Z"))["root"], 2);
}

#[test]
fn a_stolen_release_key_is_revoked() {
    let ceremony = catalog();
    let stolen = ceremony.id("release");
    // The release was signed with it, outside of the catalog.
    let index = ceremony.path("releases/v1.0.0/index.json");
    let signature = ceremony.path("releases/v1.0.0/index.json.sig");
    let key = fs_err::read_to_string(ceremony.path("release.pem")).unwrap();
    let body: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let key = PrivateKey::from_pkcs8(&data_encoding::BASE64.decode(body.as_bytes()).unwrap()).unwrap();
    fs_err::write(&signature, consign::trust::key::sign(&key, &fs_err::read(&index).unwrap()).unwrap()).unwrap();
    ceremony.add();
    ceremony.key("new", Algorithm::EcdsaP256);
    ceremony.refused(&format!("trust revoke {stolen} --target releases --key a.pem"), 6, "threshold_unmet");
    let before = tree(&ceremony.target());
    let line = format!("trust revoke {stolen} --new new.pem --target releases --key a.pem --key b.pem --key ci.pem");
    let revoked = ceremony.ok(&line);
    assert_eq!((&revoked["status"], &revoked["catalog"]["status"]), (&"published".into(), &"published".into()));
    let warning = revoked["warnings"][0].as_str().unwrap();
    assert!(warning.contains(&stolen) && warning.contains("v1.0.0"), "{warning}");
    assert_ne!(tree(&ceremony.target())["tuf/targets.json"], before["tuf/targets.json"]);
    // The thief lists nothing any more, and readers go on.
    let yank = "catalog yank v1.0.0 --reason x --target releases --key ci.pem";
    ceremony.refused(&format!("{yank} --key release.pem"), 4, "key_untrusted");
    assert_eq!(ceremony.ok(VERIFY)["root"], 2);
    ceremony.ok(&format!("{yank} --key new.pem"));
}

#[test]
fn what_a_thief_listed_is_not_signed_again() {
    let ceremony = catalog();
    let before = fs_err::read(ceremony.path("releases/tuf/targets.json")).unwrap();
    // The thief has the release key and writes into the directory, and has no key of the snapshot.
    let line = "catalog yank v1.0.0 --reason x --target releases --key release.pem";
    assert_eq!(ceremony.ok(line)["status"], "proposed");
    let tuf = ceremony.path("releases/tuf");
    fs_err::rename(tuf.join("proposed.targets.json"), tuf.join("targets.json")).unwrap();
    ceremony.key("new", Algorithm::EcdsaP256);
    let stolen = ceremony.id("release");
    let revoke = "--new new.pem --target releases --key a.pem --key b.pem --key ci.pem";
    let revoked = ceremony.ok(&format!("trust revoke {stolen} {revoke}"));
    assert!(revoked["catalog"].is_null(), "{revoked}");
    let refresh = "catalog refresh --target releases --key new.pem --key ci.pem";
    ceremony.refused(refresh, 4, "catalog_invalid");
    fs_err::write(tuf.join("targets.json"), before).unwrap();
    assert_eq!(ceremony.ok(refresh)["status"], "published");
    assert_eq!(ceremony.ok("catalog show releases")["latest"]["tool"], "v1.0.0");
    assert_eq!(ceremony.ok(VERIFY)["root"], 2);
}

#[test]
fn a_lost_timestamp_key_is_replaced() {
    let ceremony = catalog();
    assert_eq!(ceremony.ok(VERIFY)["root"], 1);
    ceremony.key("ci2", Algorithm::Ed25519);
    let line = format!("trust rotate --role timestamp --old {} --new ci2.pub --target releases", ceremony.id("ci"));
    let rotated = ceremony.ok(&format!("{line} --key a.pem --key b.pem"));
    assert_eq!(rotated["status"], "published");
    assert!(rotated["warnings"][0].as_str().unwrap().contains("consign catalog refresh"), "{rotated}");
    let said = ceremony.run(VERIFY);
    assert_eq!(said.status.code(), Some(4), "{}", both(&said));
    ceremony.refused("catalog refresh --target releases --key ci.pem", 4, "key_untrusted");
    // Even where the old timestamp is lost as well.
    fs_err::remove_file(ceremony.path("releases/tuf/timestamp.json")).unwrap();
    assert_eq!(ceremony.ok("catalog refresh --target releases --key ci2.pem")["status"], "published");
    assert_eq!(ceremony.ok(VERIFY)["root"], 2);
    if need_python("tuf.ngclient") {
        let output = download(&ceremony, "pinned.json");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "active 2\n", "{}", both(&output));
    }
}
