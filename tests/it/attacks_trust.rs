//! What an attacker tries with signatures, envelopes and log entries, against the command itself.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use consign::model::Digest;
use consign::trust::dsse::{self, Envelope};
use consign::trust::key::{self, Algorithm, Signer};
use consign::trust::signatures::Entry;
use consign::trust::sigstore;
use consign::trust::transparency::leaf_hash;
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::attacked::{Bench, VERIFY, all_refused, edited};
use crate::fixture::{Files, bundle_fixture, signed_with};
use crate::signed_verify::{archive, borrowed, generate, is_signature, list, scene, set_list, with, with_list};

fn listed(change: impl Fn(&str) -> String) -> Files {
    edited(&scene().files, "signatures.json", change)
}

#[test]
fn a_signature_of_something_else_or_somebody_else_is_none() {
    Bench::new(&scene().files).passes(VERIFY);
    let moved = with(|files| {
        let other = files["checksums.txt.sig"].clone();
        files.insert(format!("{}.sig", archive()), other);
    });
    let moved_in_list = with_list(|entries| {
        let other = entries.iter().find(|entry| entry.file.as_str() == "checksums.txt").unwrap().signature.clone();
        entries.iter_mut().find(|entry| entry.file.as_str() == archive()).unwrap().signature = other;
    });
    let strangers = signed_with(&bundle_fixture(), &[borrowed(scene().other.as_ref())]);
    // The stranger's signatures under the owner's id, and under a name that is the owner's.
    let (own, other) = (scene().key.public().id(), scene().other.public().id());
    let renamed = {
        let mut files = strangers.clone();
        let entries = list(&files).signatures.into_iter().map(|entry| Entry { key_id: own, ..entry });
        set_list(&mut files, entries.collect());
        files
    };
    let embedded = |text: &str| {
        let pem = scene().other.public().to_pem().replace('\n', "\\n");
        text.replace(
            &format!("\"key_id\": \"{other}\""),
            &format!("\"key_id\": \"{other}\",\n \"public_key\": \"{pem}\""),
        )
    };
    let with_key_file = {
        let mut files = strangers.clone();
        files.insert("key.pub".to_owned(), scene().other.public().to_pem().into_bytes());
        files
    };
    all_refused([
        ("over another file", moved, &["sig_invalid"][..]),
        ("over another file, in the list too", moved_in_list, &["sig_invalid"]),
        ("by a stranger", strangers.clone(), &["key_untrusted"]),
        ("by a stranger under the owner's id", renamed, &["sig_invalid", "key_untrusted"]),
        (
            "by a stranger whose key is in the list",
            edited(&strangers, "signatures.json", embedded),
            &["document_invalid"],
        ),
        ("by a stranger whose key lies beside it", with_key_file, &["file_unlisted", "key_untrusted"]),
    ]);
    // Without a key nobody is believed, whatever lies in the bundle.
    let bench = Bench::new(&strangers);
    assert_eq!(bench.passes("verify bundle")["authenticity"], "unchecked");
    bench.refused("required", &mut bench.command("verify bundle --require-signatures"), 4, &["key_untrusted"]);
}

#[test]
fn what_is_not_signed_is_not_verified() {
    let none = |text: &str| {
        let start = text.find("\"signatures\": [").unwrap();
        format!("{}\"signatures\": []\n}}\n", &text[..start])
    };
    let assets: Vec<String> = bundle_fixture().into_keys().collect();
    let mut rows = vec![
        ("nothing at all".to_owned(), bundle_fixture()),
        ("only the list".to_owned(), with(|files| files.retain(|name, _| !is_signature(name)))),
        ("an empty list".to_owned(), with_list(Vec::clear)),
    ];
    // An index without its signature allows another product or an older version, so no file may lack one.
    rows.extend(assets.iter().map(|name| (name.clone(), with(|files| _ = files.remove(&format!("{name}.sig"))))));
    for (what, files) in &rows {
        let bench = Bench::new(files);
        bench.refused(what, &mut bench.command(VERIFY), 4, &["unsigned"]);
    }
    for (name, files) in
        assets.iter().map(|name| (name, with_list(|entries| entries.retain(|entry| entry.file.as_str() != name))))
    {
        let bench = Bench::new(&files);
        bench.unmoved(name, &mut bench.command(VERIFY), 4, "\"unsigned\"");
    }
    all_refused([("an empty list beside signatures", listed(none), &["sig_invalid"][..])]);
    let bench = Bench::new(&bundle_fixture());
    for line in
        ["verify bundle --require-signatures", "verify-blob bundle/index.json --pubkey key.pub --signature empty"]
    {
        bench.scratch.write("empty", "");
        let code = if line.starts_with("verify-blob") { "sig_invalid" } else { "unsigned" };
        bench.refused(line, &mut bench.command(line), 4, &[code]);
    }
    bench.refused("no key", &mut bench.command("verify-blob bundle/index.json --signature empty"), 2, &["usage"]);
    let mut by_variable = bench.command("verify bundle");
    bench.refused("a variable", by_variable.env("CONSIGN_REQUIRE_SIGNATURES", "1"), 4, &["unsigned"]);
}

#[test]
fn the_algorithm_is_never_the_document_s_choice() {
    let one = |word: &str| listed(|text| text.replacen("ecdsa-p256-sha256", word, 1));
    let all = |word: &str| listed(|text| text.replace("ecdsa-p256-sha256", word));
    for word in ["none", "hmac", "HS256", "", "ecdsa", "ECDSA-P256-SHA256", "rsa-pss-sha256", "\\u0065d25519"] {
        all_refused([(word, one(word), &["document_invalid"][..]), (word, all(word), &["document_invalid"])]);
    }
    for word in ["ed25519", "rsa-pkcs1-sha256", "ecdsa-p384-sha384"] {
        // What names another algorithm is told, and is a signature of nothing.
        let codes = &["sig_invalid", "key_untrusted"][..];
        all_refused([(word, one(word), codes), (word, all(word), codes)]);
    }
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP384] {
        let bench = Bench::new(&scene().files);
        bench.scratch.write("key.pub", generate(algorithm).public().to_pem());
        bench.refused("a key of another kind", &mut bench.command(VERIFY), 4, &["key_untrusted"]);
        let blob = "verify-blob bundle/index.json --pubkey key.pub --signature bundle/index.json.sig";
        bench.refused("a key of another kind", &mut bench.command(blob), 4, &["sig_invalid"]);
    }
}

/// An envelope around the provenance, or around something else.
fn envelope(payload: &[u8], signed: &[u8], kind: &str) -> Envelope {
    let key = scene().key.as_ref();
    let signature = key::sign(key, &dsse::pae(kind, signed)).unwrap();
    Envelope::of_statement(payload, [(key.public().id(), signature.as_slice())].into_iter())
}

#[test]
fn an_envelope_says_one_thing_and_only_what_it_was_signed_as() {
    let statement = scene().files["provenance.json"].clone();
    let other = [&statement[..], b" "].concat();
    let put = |bytes: Vec<u8>| with(|files| _ = files.insert(dsse::FILE_NAME.to_owned(), bytes));
    let text = String::from_utf8(scene().files[dsse::FILE_NAME].clone()).unwrap();
    let payload = serde_json::from_str::<Value>(&text).unwrap()["payload"].as_str().unwrap().to_owned();
    let first = format!("{{\"payload\":\"{payload}\",");
    let evil = BASE64.encode(b"{}");
    let replayed = with_list(|entries| {
        // What the envelope signs, as the signature of the file and of the index.
        let signature = key::sign(scene().key.as_ref(), &dsse::pae(dsse::IN_TOTO, &statement)).unwrap();
        for entry in entries.iter_mut().filter(|it| matches!(it.file.as_str(), "index.json" | "provenance.json")) {
            entry.signature.clone_from(&signature);
        }
    });
    let bare = Envelope::of_statement(
        &statement,
        [(scene().key.public().id(), scene().files["provenance.json.sig"].as_slice())].into_iter(),
    );
    let index = &scene().files["index.json"];
    let many: Vec<_> = (0..65_u32).map(|n| (Digest::of(&n.to_le_bytes()), b"x".as_slice())).collect();
    all_refused([
        (
            "a signature over another payload",
            put(envelope(&statement, &other, dsse::IN_TOTO).render()),
            &["sig_invalid"][..],
        ),
        ("a signature of another type", put(envelope(&statement, &statement, "text/plain").render()), &["sig_invalid"]),
        ("a signature over the bytes alone", put(bare.render()), &["sig_invalid"]),
        ("the statement as the index", replayed, &["sig_invalid"]),
        ("the index as a statement", put(envelope(index, index, dsse::IN_TOTO).render()), &["subject_mismatch"]),
        ("a statement about other files", put(envelope(&other, &other, dsse::IN_TOTO).render()), &["subject_mismatch"]),
        (
            "two payloads",
            put(format!("{first}\"payload\":\"{evil}\",{}", &text[first.len()..]).into_bytes()),
            &["document_invalid"],
        ),
        (
            "two payloads, one spelled otherwise",
            put(text.replacen('{', &format!("{{\"pa\\u0079load\":\"{evil}\","), 1).into_bytes()),
            &["document_invalid"],
        ),
        (
            "two types",
            put(text.replacen("\"payloadType\"", "\"payloadType\":\"text/plain\",\"payloadType\"", 1).into_bytes()),
            &["document_invalid"],
        ),
        (
            "two lists of signatures",
            put(text.replacen("\"signatures\"", "\"signatures\":[],\"signatures\"", 1).into_bytes()),
            &["document_invalid"],
        ),
        ("no signature", put(Envelope::of_statement(&statement, std::iter::empty()).render()), &["document_invalid"]),
        (
            "sixty-five signatures",
            put(Envelope::of_statement(&statement, many.into_iter()).render()),
            &["document_invalid"],
        ),
        (
            "another spelling",
            put(text.replacen(&payload, &payload.replacen('e', "\\u0065", 1), 1).into_bytes()),
            &["document_invalid"],
        ),
        ("a second line", put(format!("{text}{text}").into_bytes()), &["document_invalid"]),
    ]);
}

type Change = fn(&mut Value);

/// A transparency log of three entries, the second of which is ours, and what a bundle tells about it.
struct Logged {
    artifact: Vec<u8>,
    body: Value,
    number: &'static str,
    size: &'static str,
    root: Digest,
    hashes: Vec<Digest>,
    origin: &'static str,
    /// What is changed in the checkpoint after it was signed.
    note: fn(String) -> String,
    /// What is changed in the bundle.
    bundle: Change,
}

fn node(left: Digest, right: Digest) -> Digest {
    Digest::of(&[&[1], left.as_bytes().as_slice(), right.as_bytes()].concat())
}

fn recorded(artifact: &[u8], signature: &[u8], key: &dyn Signer) -> Value {
    json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": Digest::of(artifact).to_string()}},
        "signature": {
            "content": BASE64.encode(signature),
            "publicKey": {"content": BASE64.encode(key.public().to_pem().as_bytes())},
        },
    }})
}

impl Logged {
    fn of(body: Value) -> Self {
        let leaf = leaf_hash(&serde_json::to_vec(&body).unwrap());
        let (first, last) = (leaf_hash(b"first"), leaf_hash(b"last"));
        Self {
            artifact: scene().files["index.json"].clone(),
            body,
            number: "1",
            size: "3",
            root: node(node(first, leaf), last),
            hashes: vec![first, last],
            origin: "log.example",
            note: |note| note,
            bundle: |_| {},
        }
    }

    /// The one that is accepted: our signature over the index.
    fn good() -> Self {
        let (index, key) = (&scene().files["index.json"], scene().key.as_ref());
        Self::of(recorded(index, &scene().files["index.json.sig"], key))
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut logged = Self::good();
        change(&mut logged);
        logged
    }

    fn render(&self, log: &dyn Signer) -> Vec<u8> {
        let (key, index) = (scene().key.public().id(), Digest::of(&scene().files["index.json"]));
        let bundle = sigstore::Bundle::of_signature(key, index, &scene().files["index.json.sig"]).render();
        let mut bundle: Value = serde_json::from_slice(&bundle).unwrap();
        let text = format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()));
        let mut signature = log.public().id().as_bytes()[..4].to_vec();
        signature.extend(key::sign(log, text.as_bytes()).unwrap());
        let note = format!("{text}\n\u{2014} log.example {}\n", BASE64.encode(&signature));
        let hashes: Vec<_> = self.hashes.iter().map(|hash| BASE64.encode(hash.as_bytes())).collect();
        bundle["verificationMaterial"]["tlogEntries"] = json!([{
            "logIndex": "1",
            "logId": {"keyId": BASE64.encode(log.public().id().as_bytes())},
            "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
            "integratedTime": "0",
            "inclusionProof": {
                "logIndex": self.number,
                "rootHash": BASE64.encode(self.root.as_bytes()),
                "treeSize": self.size,
                "hashes": hashes,
                "checkpoint": {"envelope": (self.note)(note)},
            },
            "canonicalizedBody": BASE64.encode(&serde_json::to_vec(&self.body).unwrap()),
        }]);
        (self.bundle)(&mut bundle);
        serde_json::to_vec(&bundle).unwrap()
    }
}

const LOGGED: &str = "verify-blob file --pubkey key.pub --bundle logged.json --log-key log.pub";

/// What a log may be made to say, and what a bundle may say of it, that proves nothing about this file.
fn spoiled_entries() -> Vec<(&'static str, Logged)> {
    let (key, stranger) = (scene().key.as_ref(), scene().other.as_ref());
    let (index, signature) = (scene().files["index.json"].clone(), scene().files["index.json.sig"].clone());
    let again = key::sign(key, &index).unwrap();
    let entry = |change: Change| Logged::with(|it| it.bundle = change);
    vec![
        ("the entry of another file", Logged::of(recorded(b"other", &signature, key))),
        ("the entry of another signature of this key", Logged::of(recorded(&index, &again, key))),
        ("the entry of another key", Logged::of(recorded(&index, &signature, stranger))),
        ("another file", Logged::with(|it| it.artifact.push(b'\n'))),
        ("a place beyond the end", Logged::with(|it| it.number = "3")),
        ("a place far beyond the end", Logged::with(|it| it.number = "18446744073709551615")),
        ("another place", Logged::with(|it| it.number = "0")),
        ("an empty tree", Logged::with(|it| it.size = "0")),
        ("an empty tree and the first place", Logged::with(|it| (it.size, it.number) = ("0", "0"))),
        ("a smaller tree", Logged::with(|it| it.size = "2")),
        ("a larger tree", Logged::with(|it| it.size = "5")),
        ("another root", Logged::with(|it| it.root = Digest::of(b"other"))),
        ("a hash less", Logged::with(|it| _ = it.hashes.pop())),
        ("no hash", Logged::with(|it| it.hashes.clear())),
        ("a hash more", Logged::with(|it| it.hashes.push(Digest::of(b"more")))),
        ("the hashes turned round", Logged::with(|it| it.hashes.reverse())),
        ("sixty-five hashes", Logged::with(|it| it.hashes = vec![Digest::of(b"x"); 65])),
        ("a leaf that is a node", Logged::with(|it| (it.size, it.number, it.hashes) = ("2", "0", vec![it.hashes[1]]))),
        ("the checkpoint of another log", Logged::with(|it| it.origin = "other.example")),
        ("a checkpoint without its origin", Logged::with(|it| it.note = |note| note.replacen("log.example\n", "", 1))),
        ("a checkpoint without its size", Logged::with(|it| it.note = |note| note.replacen("\n3\n", "\n", 1))),
        ("a checkpoint of another size", Logged::with(|it| it.note = |note| note.replacen("\n3\n", "\n4\n", 1))),
        (
            "a checkpoint with a size spelled otherwise",
            Logged::with(|it| it.note = |note| note.replacen("\n3\n", "\n03\n", 1)),
        ),
        ("a checkpoint with a line more", Logged::with(|it| it.note = |note| note.replacen("\n\n", "\nmore\n\n", 1))),
        (
            "a checkpoint that nobody signed",
            Logged::with(|it| it.note = |note| note.split_inclusive("\n\n").next().unwrap().to_owned()),
        ),
        (
            "a checkpoint signed by nobody known",
            Logged::with(|it| it.note = |note| note.replace("\u{2014} log.example ", "\u{2014} more.example ")),
        ),
        (
            "a checkpoint with a control character",
            Logged::with(|it| it.note = |note| note.replacen("\n\n", "\n\u{1b}[2J\n\n", 1)),
        ),
        ("no entry", entry(|it| it["verificationMaterial"]["tlogEntries"] = json!([]))),
        (
            "no proof",
            entry(|it| {
                drop(it["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionProof"));
            }),
        ),
        (
            "no checkpoint",
            entry(|it| it["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["checkpoint"] = Value::Null),
        ),
        (
            "another kind",
            entry(|it| it["verificationMaterial"]["tlogEntries"][0]["kindVersion"]["kind"] = "dsse".into()),
        ),
        (
            "another version",
            entry(|it| it["verificationMaterial"]["tlogEntries"][0]["kindVersion"]["version"] = "0.0.2".into()),
        ),
        (
            "a second entry that is none",
            entry(|it| {
                let mut second = it["verificationMaterial"]["tlogEntries"][0].clone();
                second["canonicalizedBody"] = BASE64.encode(b"{}").into();
                it["verificationMaterial"]["tlogEntries"].as_array_mut().unwrap().push(second);
            }),
        ),
        (
            "a digest of another kind",
            entry(|it| it["messageSignature"]["messageDigest"]["algorithm"] = "SHA2_512".into()),
        ),
    ]
}

/// Shapes of a bundle that are none.
const SHAPES: [(&str, Change); 6] = [
    ("a key in the bundle", |it| it["verificationMaterial"]["publicKey"]["rawBytes"] = "AAAA".into()),
    ("a certificate beside the key", |it| it["verificationMaterial"]["certificate"] = json!({"rawBytes": "AAAA"})),
    ("no key", |it| it["verificationMaterial"]["publicKey"] = Value::Null),
    ("two contents", |it| {
        it["dsseEnvelope"] = json!({"payload": "e30=", "payloadType": "x", "signatures": [{"sig": "AAAA"}]});
    }),
    ("a negative place", |it| it["verificationMaterial"]["tlogEntries"][0]["logIndex"] = "-1".into()),
    ("what cosign wrote before", |it| *it = json!({"base64Signature": "AAAA", "cert": "AAAA", "rekorBundle": {}})),
];

#[test]
fn a_log_entry_is_about_this_file_and_in_the_log_that_is_trusted() {
    let (log, other_log) = (generate(Algorithm::EcdsaP256), generate(Algorithm::Ed25519));
    let bench = Bench::new(&Files::new());
    bench.scratch.write("log.pub", log.public().to_pem());
    let put = |logged: &Logged, log: &dyn Signer| {
        bench.scratch.write("file", &logged.artifact);
        bench.scratch.write("logged.json", logged.render(log));
    };
    put(&Logged::good(), log.as_ref());
    assert_eq!(bench.passes(LOGGED)["log_checked"], true);
    for (what, logged) in spoiled_entries() {
        put(&logged, log.as_ref());
        bench.refused(what, &mut bench.command(LOGGED), 4, &["sig_invalid"]);
    }
    for (what, change) in SHAPES {
        put(&Logged::with(|it| it.bundle = change), log.as_ref());
        bench.refused(what, &mut bench.command(LOGGED), 4, &["document_invalid"]);
    }
    put(&Logged::good(), other_log.as_ref());
    bench.refused("in another log", &mut bench.command(LOGGED), 4, &["sig_invalid"]);
    put(&Logged::good(), log.as_ref());
    bench.refused("another key", &mut bench.command(&LOGGED.replace("key.pub", "other.pub")), 4, &["key_untrusted"]);
}
