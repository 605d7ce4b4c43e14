//! What `install.sh` refuses, and that `consign install` refuses the same in the same way.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail by panicking and run other programs")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;

use consign::model::Digest;
use consign::model::index::{ArchiveFormat, Index};
use consign::trust::documents::read_index;
use consign::world::lock::Lock;

use crate::activate::tree;
use crate::fixture::{self, Files};
use crate::http::{Server, answer, good, send};
use crate::install::{release, release_of, release_that_says};
use crate::installer::{SHELLS, User, comparable, have};
use crate::support::{both, need, succeed};

/// The shells in turn, so that each sees a part of the cases.
fn shells() -> impl Iterator<Item = &'static [&'static str]> {
    SHELLS.into_iter().filter(|shell| have(shell)).cycle()
}

fn archive_of(files: &Files) -> String {
    files.keys().find(|name| name.contains(".tar.")).unwrap().clone()
}

/// A release whose archive is another one than its index says.
fn spoiled(change: impl Fn(&mut Vec<u8>)) -> Files {
    let mut files = release("1.0.0");
    change(files.get_mut(&archive_of(&files)).unwrap());
    files
}

#[test]
fn both_refuse_the_same_releases_by_the_same_word() {
    let user = User::new();
    user.prepare();
    let index = |change: fn(&str) -> String| {
        let mut files = release("1.0.0");
        let text = change(std::str::from_utf8(&files["index.json"]).unwrap());
        files.insert("index.json".to_owned(), text.into_bytes());
        files
    };
    let lied = |change: fn(&mut consign::model::metadata::PackageMetadata)| {
        release_that_says("1.0.0", "#!/bin/sh\necho tool 1.0.0\n", change)
    };
    let without = |name: &str| {
        let mut files = release("1.0.0");
        files.remove(name);
        files
    };
    let archive = archive_of(&release("1.0.0"));
    let cases: Vec<(&str, Files, i32, &str)> = vec![
        ("a flipped byte", spoiled(|bytes| bytes[40] ^= 1), 4, "digest_mismatch"),
        ("cut off", spoiled(|bytes| bytes.truncate(bytes.len() - 7)), 4, "size_mismatch"),
        ("longer", spoiled(|bytes| bytes.extend(b"more")), 4, "size_mismatch"),
        ("empty", spoiled(Vec::clear), 4, "size_mismatch"),
        ("a page instead", spoiled(|bytes| *bytes = b"<!doctype html>".to_vec()), 4, "size_mismatch"),
        ("no archive", without(&archive), 5, "remote_not_found"),
        ("no index", without("index.json"), 5, "remote_not_found"),
        ("an older version", release("0.8.0"), 6, "downgrade_refused"),
        ("another product inside", lied(|said| said.name = "other".parse().unwrap()), 4, "archive_mismatch"),
        ("another version inside", lied(|said| said.version = "1.0.1".parse().unwrap()), 4, "archive_mismatch"),
        (
            "another platform inside",
            lied(|said| said.platform = "freebsd-amd64".parse().unwrap()),
            4,
            "archive_mismatch",
        ),
        ("another target inside", lied(|said| said.target = "x".to_owned()), 4, "archive_mismatch"),
        ("no commit inside", lied(|said| said.commit = None), 4, "archive_mismatch"),
        ("a program that cannot start", release_of("1.0.0", "#!/nowhere/interpreter\n"), 1, "program_unusable"),
        ("an index with a space", index(|text| text.replacen("\": ", "\":  ", 1)), 4, "document_invalid"),
        (
            "an index with a key twice",
            index(|text| text.replacen("  \"tag\"", "  \"tag\": \"x\",\n  \"tag\"", 1)),
            4,
            "document_invalid",
        ),
        ("an index that goes on", index(|text| format!("{text}{{}}\n")), 4, "document_invalid"),
        ("an index of another kind", index(|text| text.replace("index/v1", "index/v2")), 4, "document_invalid"),
        (
            "an index with a program elsewhere",
            index(|text| text.replace("bin/tool", "sbin/tool")),
            4,
            "document_invalid",
        ),
        ("an index with an escape", index(|text| text.replace("bin/tool", "bin/to\\u006fl")), 4, "document_invalid"),
        (
            "an index with another tag",
            index(|text| text.replace("\"tag\": \"v1.0.0\"", "\"tag\": \"v2.0.0\"")),
            4,
            "document_invalid",
        ),
        (
            "an index with no version",
            index(|text| text.replace("\"version\": \"1.0.0\"", "\"version\": \"1.0\"")),
            4,
            "document_invalid",
        ),
        ("an index that is none", index(|_| "<html>\n".to_owned()), 4, "document_invalid"),
        (
            "an index with a short digest",
            index(|text| text.replacen("\"sha256\":\"", "\"sha256\":\"\",\"x\":\"", 1)),
            4,
            "document_invalid",
        ),
    ];
    assert!(cases.len() >= 20);
    for ((what, files, exit, code), shell) in cases.into_iter().zip(shells()) {
        fs_err::create_dir(user.path("case")).unwrap();
        fixture::write(&files, &user.path("case"));
        // The script is that of an earlier release, so that nothing but the index tells it what to expect.
        let said = user.refused(shell, "before", "--index case/index.json", exit, code);
        assert_eq!(
            (user.says("sh"), user.says("consign")),
            ("tool 0.9.0\n".into(), "tool 0.9.0\n".into()),
            "{what}: {said}"
        );
        fs_err::remove_dir_all(user.path("case")).unwrap();
    }
}

#[test]
fn what_was_rendered_counts_for_more_than_what_is_fetched() {
    for shell in SHELLS.into_iter().filter(|shell| have(shell)) {
        let user = User::new();
        user.put("release", &release("1.0.0"), None);
        fs_err::create_dir(user.path("sh")).unwrap();
        // The same version again, with other programs and all digests right.
        fs_err::create_dir(user.path("other")).unwrap();
        fixture::write(&release_of("1.0.0", "#!/bin/sh\necho evil\n"), &user.path("other"));
        let mut command = user.script(shell, "release", "--index other/index.json");
        user.refused_by_script(&mut command, 4, "documents_disagree");
    }
}

/// A release whose archive is whatever it is, and whose index is right about it.
fn release_with(archive: Vec<u8>, format: ArchiveFormat, unpacked_size_bytes: u64) -> Files {
    let mut index: Index = read_index(&fixture::bundle_fixture()["index.json"]).unwrap();
    index.packages.truncate(1);
    let package = &mut index.packages[0];
    let name = format!("{}.{}", crate::hostile::STEM, format.extension());
    (package.archive, package.format) = (name.parse().unwrap(), format);
    (package.size_bytes, package.sha256) = (archive.len() as u64, Digest::of(&archive));
    package.unpacked_size_bytes = unpacked_size_bytes;
    Files::from([("index.json".to_owned(), index.render()), (name, archive)])
}

#[test]
fn hostile_archives_are_refused_although_all_digests_are_right() {
    let user = User::new();
    user.prepare();
    let mut refused = 0;
    for (case, shell) in
        crate::hostile::cases().into_iter().filter(|case| case.format == ArchiveFormat::TarGz).zip(shells())
    {
        // How they are packed is pinned by a digest, and a shell sees only what comes out of it; ten thousand
        // entries take it long.
        let packing = [
            "an empty second member",
            "zeros after",
            "gzip header",
            "the trailer twice",
            "hidden before",
            "more than may be",
            "too many",
        ];
        let members = crate::hostile_formats::members();
        let is_packing = members.iter().any(|member| member.name == case.name);
        if is_packing || packing.iter().any(|name| case.name.contains(name)) {
            continue;
        }
        let files = release_with(case.bytes, case.format, case.unpacked_size_bytes);
        fs_err::create_dir(user.path("case")).unwrap();
        fixture::write(&files, &user.path("case"));
        let line = "--index case/index.json --platform linux-amd64 --no-run";
        let output = user.script(shell, "before", line).output().unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(4), "{} {shell:?}: {said}", case.name);
        // Whether the form or the content is wrong depends on what was looked at first.
        assert!(said.contains("error[archive_"), "{} {shell:?}: {said}", case.name);
        crate::attacked::assert_plain(&output, case.name);
        assert!(!user.path("sh/lib/consign/tool/1.0.0").exists(), "{}", case.name);
        fs_err::remove_dir_all(user.path("case")).unwrap();
        refused += 1;
    }
    assert!(refused > 60, "{refused} archives only");
    assert_eq!(comparable(&user.path("sh")), comparable(&user.path("consign")));
}

#[test]
fn both_give_up_on_a_server_that_misbehaves_in_the_same_way() {
    let files = Arc::new(release("1.0.0"));
    let archive = archive_of(&files);
    let user = User::new();
    user.prepare();
    let whole = files[&archive].clone();
    let redirect = |to: &str| answer("302 Found", &format!("Location: {to}\r\n"), b"");
    let cases: BTreeMap<&str, (Vec<u8>, i32, &str)> = BTreeMap::from([
        ("longer", (good(&[&whole[..], b"more"].concat()), 4, "file_too_large")),
        ("shorter", (good(&whole[..whole.len() - 7]), 4, "size_mismatch")),
        ("other bytes", (good(&vec![b'x'; whole.len()]), 4, "digest_mismatch")),
        ("a page", (good(b"<!doctype html><title>Log in</title>"), 4, "size_mismatch")),
        ("gone", (answer("404 Not Found", "", b"no"), 5, "remote_not_found")),
        ("forbidden", (answer("403 Forbidden", "", b"no"), 5, "remote_unavailable")),
        ("broken", (answer("500 Internal Server Error", "", b"no"), 5, "remote_unavailable")),
        ("to plain http", (redirect("http://169.254.169.254/x"), 4, "redirect_refused")),
        ("to a file", (redirect("file:///etc/passwd"), 4, "redirect_refused")),
        ("to another kind", (redirect("https://example.org/x"), 4, "redirect_refused")),
        ("to somebody", (redirect("http://user:pass@127.0.0.1/"), 4, "redirect_refused")),
        ("to nowhere", (answer("302 Found", "", b""), 4, "redirect_refused")),
        ("to two places", (answer("302 Found", "Location: /a\r\nLocation: /b\r\n", b""), 4, "redirect_refused")),
        ("without an end", (redirect(&format!("/{archive}")), 4, "redirect_refused")),
        ("a part", (answer("206 Partial Content", "", &whole), 5, "remote_unavailable")),
    ]);
    for fetcher in ["curl", "wget"] {
        if !need(fetcher) {
            continue;
        }
        let path = user.only(&format!("path-{fetcher}"), &[fetcher, "sha256sum"]);
        for (what, (reply, exit, code)) in &cases {
            let (served, name, reply) = (Arc::clone(&files), archive.clone(), reply.clone());
            let server = Server::start(move |request, stream| {
                if request.path.ends_with(&name) {
                    send(stream, &reply);
                } else {
                    send(stream, &good(&served["index.json"]));
                }
            });
            let line = format!("--index {}", server.url("index.json"));
            let mut command = user.script(&["/bin/sh"], "before", &line);
            user.refused_by_script(command.env("PATH", &path), *exit, code);
            let asked = server.requests().len();
            if fetcher == "curl" {
                let output = user.consign(&line).output().unwrap();
                assert_eq!(output.status.code(), Some(*exit), "{what}: {}", both(&output));
                assert!(both(&output).contains(code), "{what}: {}", both(&output));
                assert_eq!(server.requests().len(), 2 * asked, "{what}: as often as the command");
            }
        }
    }
    assert_eq!(comparable(&user.path("sh")), comparable(&user.path("consign")));
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let files = release("1.0.0");
    let archive = archive_of(&files);
    for fetcher in ["curl", "wget"] {
        if !need(fetcher) {
            continue;
        }
        let user = User::new();
        user.put("release", &files, None);
        let (served, name) = (files.clone(), archive.clone());
        let server = Server::start(move |request, stream| {
            let body = &served[request.path.rsplit('/').next().unwrap()];
            let whole = good(body);
            let breaks_off = request.path.ends_with(&name) && request.earlier == 0;
            send(stream, if breaks_off { &whole[..whole.len() - 9] } else { &whole });
        });
        let path = user.only("path", &[fetcher, "sha256sum"]);
        let line = format!("--index {}", server.url("index.json"));
        let output = user.script(&["/bin/sh"], "release", &line).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{fetcher}: {}", both(&output));
        assert_eq!(user.says("sh"), "tool 1.0.0\n");
    }
}

#[test]
fn redirects_of_the_same_kind_are_followed() {
    let files = release("1.0.0");
    for fetcher in ["curl", "wget"] {
        if !need(fetcher) {
            continue;
        }
        let user = User::new();
        user.put("release", &files, None);
        let there = Server::of_files(files.clone());
        let to = there.url("");
        let server = Server::start(move |request, stream| {
            let name = request.path.rsplit('/').next().unwrap();
            let place = match request.path.split('/').nth(1).unwrap() {
                "a" => format!("../b/{name}?x=1"),
                "b" => format!("/c/{name}"),
                _ => format!("{to}{name}#part"),
            };
            let place = if place.starts_with("../") { place.replacen("..", "/b/..", 1) } else { place };
            send(stream, &answer("302 Found", &format!("Location: {place}\r\n"), b""));
        });
        let path = user.only("path", &[fetcher, "sha256sum"]);
        let line = format!("--index {}", server.url("c/index.json"));
        let output = user.script(&["/bin/sh"], "release", &line).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{fetcher}: {}", both(&output));
    }
}

#[test]
fn addresses_that_are_not_fetched_from_are_refused_before_anything_is_asked() {
    let user = User::new();
    user.prepare();
    for (index, exit, code) in [
        ("http://example.org/index.json", 5, "remote_refused"),
        ("http://127.0.0.1.example.org/index.json", 5, "remote_refused"),
        ("http://localhost.example.org/index.json", 5, "remote_refused"),
        ("http://10.0.0.1/index.json", 5, "remote_refused"),
        ("ftp://127.0.0.1/index.json", 5, "remote_refused"),
        ("https://127.0.0.1:1/index.json?x", 2, "usage"),
    ] {
        user.refused(&["dash"], "before", &format!("--index {index}"), exit, code);
    }
    for index in ["https://user:pass@127.0.0.1/index.json", "http://127.0.0.1:1/'x", "https://-oProxyCommand/x"] {
        let output = user.script(&["dash"], "before", &format!("--index {index}")).output().unwrap();
        assert!(matches!(output.status.code(), Some(2 | 5)), "{index}: {}", both(&output));
        assert!(!both(&output).contains("pass@"), "{}", both(&output));
    }
}

#[test]
fn what_is_asked_for_wrongly_is_said_so() {
    let user = User::new();
    user.put("release", &release("1.0.0"), None);
    fs_err::create_dir(user.path("sh")).unwrap();
    let index = "--index release/index.json";
    for (line, exit, code) in [
        ("--no-such-option", 2, "usage"),
        ("--index", 2, "usage"),
        ("--dry-run=yes", 2, "usage"),
        ("release/index.json", 2, "usage"),
        ("", 2, "usage"),
        ("--keep many", 2, "usage"),
        ("--revert", 6, "not_installed"),
        ("--catalog https://example.org", 2, "usage"),
        ("--trust-root root.json", 2, "usage"),
        ("--allow-yanked", 2, "usage"),
        (&format!("{index} --platform plan9-amd64"), 2, "platform_unknown"),
        (&format!("{index} --platform freebsd-amd64"), 6, "platform_missing"),
        (&format!("{index} --version 2.0.0"), 4, "target_unknown"),
        (&format!("{index} --name other"), 4, "target_unknown"),
        (&format!("{index} --name ../other"), 2, "usage"),
        (&format!("{index} --name receipts"), 3, "name_invalid"),
        (&format!("{index} --require-signature"), 3, "key_missing"),
        ("--index nowhere/index.json", 5, "remote_not_found"),
        ("--index nowhere/index.json", 5, "remote_not_found"),
    ] {
        let said = user.refused_by_script(&mut user.script(&["dash"], "release", line), exit, code);
        let needs_rules = ["--catalog", "--trust-root", "--allow-yanked"].iter().any(|option| line.contains(option));
        assert!(!needs_rules || said.contains("consign-install"), "{said}");
    }
}

#[test]
fn a_prefix_that_is_not_safe_is_refused_by_both() {
    let user = User::new();
    user.put("release", &release("1.0.0"), None);
    let both_refuse = |code: &str, make: &dyn Fn(&str)| {
        for prefix in ["sh", "consign"] {
            let _ = fs_err::remove_dir_all(user.path(prefix));
            fs_err::create_dir(user.path(prefix)).unwrap();
            make(prefix);
        }
        user.refused(&["dash"], "release", "--index release/index.json", 6, code);
    };
    let elsewhere = user.path("elsewhere");
    fs_err::create_dir(&elsewhere).unwrap();
    both_refuse("prefix_refused", &|prefix| symlink(&elsewhere, user.path(prefix).join("lib")).unwrap());
    both_refuse("prefix_refused", &|prefix| symlink(&elsewhere, user.path(prefix).join("bin")).unwrap());
    both_refuse("prefix_refused", &|prefix| _ = user.scratch.write(&format!("{prefix}/bin"), "x"));
    both_refuse("prefix_refused", &|prefix| {
        user.scratch.write(&format!("{prefix}/lib/consign/tool/1.0.0"), "x");
        fs_err::create_dir(user.path(prefix).join("bin")).unwrap();
    });
    both_refuse("prefix_refused", &|prefix| _ = user.scratch.write(&format!("{prefix}/lib/consign/tool/current"), "x"));
    both_refuse("file_exists", &|prefix| _ = user.scratch.write(&format!("{prefix}/bin/tool/x"), "x"));
    both_refuse("program_taken", &|prefix| {
        user.scratch.write(&format!("{prefix}/lib/consign/other/1.0.0/bin/tool"), "x");
        symlink("1.0.0", user.path(prefix).join("lib/consign/other/current")).unwrap();
        fs_err::create_dir(user.path(prefix).join("bin")).unwrap();
        symlink("../lib/consign/other/current/bin/tool", user.path(prefix).join("bin/tool")).unwrap();
    });
}

#[test]
fn keys_of_every_kind_are_believed_and_nobody_else() {
    if !need("openssl") {
        return;
    }
    let kinds: [(&str, &[&str]); 4] = [
        ("ecdsa", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
        ("ed25519", &["-algorithm", "ED25519"]),
        ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ];
    for ((kind, arguments), shell) in kinds.into_iter().zip(shells()) {
        let user = User::new();
        user.prepare();
        user.put("release", &release("1.0.0"), None);
        let openssl = |arguments: &[&str]| {
            succeed(Command::new("openssl").args(arguments).current_dir(user.scratch.path()).stderr(Stdio::null()))
        };
        for name in ["key", "other"] {
            openssl(&[&["genpkey", "-out", &format!("{name}.pem")], arguments].concat());
            openssl(&["pkey", "-in", &format!("{name}.pem"), "-pubout", "-out", &format!("{name}.pub")]);
        }
        let line = "--index release/index.json --pubkey key.pub";
        user.refused(shell, "release", line, 4, "unsigned");
        let hash = if kind == "p384" { "-sha384" } else { "-sha256" };
        let place = ["-out", "release/index.json.sig", "release/index.json"];
        match kind {
            "ed25519" => {
                let input = ["-in", "release/index.json", "-out", "release/index.json.sig"];
                openssl(&[&["pkeyutl", "-sign", "-rawin", "-inkey", "key.pem"], &input[..]].concat())
            }
            _ => openssl(&[&["dgst", hash, "-sign", "key.pem"], &place[..]].concat()),
        };
        user.refused(shell, "release", "--index release/index.json --pubkey other.pub", 4, "sig_invalid");
        user.same(shell, "release", line);
        assert!(tree(&user.path("sh"))["lib/consign/receipts/tool/1.0.0.json"].contains("\"kind\": \"keys\""));
        // Nothing less is accepted afterwards.
        user.put("later", &release("1.1.0"), None);
        let mut command = user.script(shell, "later", "--index later/index.json");
        user.refused_by_script(&mut command, 6, "trust_lowered");
        // A signature that was changed, and one of something else.
        user.put("changed", &release("1.2.0"), None);
        fs_err::copy(user.path("release/index.json.sig"), user.path("changed/index.json.sig")).unwrap();
        user.refused(shell, "changed", "--index changed/index.json --pubkey key.pub", 4, "sig_invalid");
        fs_err::write(user.path("changed/index.json.sig"), "").unwrap();
        user.refused(shell, "changed", "--index changed/index.json --pubkey key.pub", 4, "sig_invalid");
        let mut command = user.script(shell, "changed", "--index changed/index.json --pubkey key.pem");
        user.refused_by_script(&mut command, 3, "key_invalid");
    }
}

#[test]
fn a_release_signed_by_several_keys_is_believed_for_each_of_them() {
    if !need("openssl") {
        return;
    }
    let user = User::new();
    let keys = [crate::signed_verify::generate, crate::signed_verify::generate]
        .map(|generate| generate(consign::trust::key::Algorithm::EcdsaP256));
    let mut files = release("1.0.0");
    let signature =
        |number: usize, files: &Files| consign::trust::key::sign(keys[number].as_ref(), &files["index.json"]).unwrap();
    let further = format!("index.json.{}.sig", &keys[1].public().id().to_string()[..8]);
    files.extend([("index.json.sig".to_owned(), signature(0, &files)), (further, signature(1, &files))]);
    user.put("release", &files, None);
    for key in &keys {
        user.scratch.write("key.pub", key.public().to_pem());
        succeed(&mut user.script(&["dash"], "release", "--index release/index.json --pubkey key.pub"));
        let receipt = &tree(&user.path("sh"))["lib/consign/receipts/tool/1.0.0.json"];
        assert!(receipt.contains(&key.public().id().to_string()), "{receipt}");
        fs_err::remove_dir_all(user.path("sh")).unwrap();
    }
}

#[test]
fn the_script_waits_for_its_turn_and_others_wait_for_the_script() {
    let user = User::new();
    user.prepare();
    let (asked, go) = (user.path("asked"), user.path("go"));
    // A program that waits to be allowed to say its version keeps the turn for as long.
    let waits = format!("#!/bin/sh\n: >{asked}\nwhile [ ! -e {go} ]; do sleep 0.02; done\necho tool 1.0.0\n");
    user.put("release", &release_of("1.0.0", &waits), None);
    let child = user.script(&["dash"], "release", "--index release/index.json").stderr(Stdio::piped()).spawn().unwrap();
    while !asked.exists() {
        std::thread::yield_now();
    }
    let lock = user.path("sh/lib/consign/.lock-tool");
    let holder = fs_err::read_to_string(&lock).unwrap();
    assert_eq!(holder.trim_end(), child.id().to_string());
    let told = std::sync::Mutex::new(None);
    let turn = Lock::take(&lock, &|process| {
        *told.lock().unwrap() = Some(process);
        fs_err::write(&go, "").unwrap();
    });
    assert_eq!(*told.lock().unwrap(), Some(Some(child.id())));
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(user.says("sh"), "tool 1.0.0\n");
    // Now the other way round.
    user.put("next", &release("1.1.0"), None);
    let mut child = user.script(&["dash"], "next", "--index next/index.json").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.as_mut().unwrap()), &mut said).unwrap();
    assert!(said.contains(&format!("waiting for another installation (process {})", std::process::id())), "{said}");
    assert_eq!(user.says("sh"), "tool 1.0.0\n");
    drop(turn);
    assert!(child.wait().unwrap().success());
    assert_eq!(user.says("sh"), "tool 1.1.0\n");
}

#[test]
fn what_strangers_wrote_is_only_text_in_the_script() {
    let files = release("1.0.0");
    let mut index: Index = read_index(&files["index.json"]).unwrap();
    // A target is the freest text that an index has.
    index.packages[0].target =
        "'; touch hacked; $(touch hacked) `touch hacked` \"\nEND_OF_ROWS\ntouch hacked\n".to_owned();
    let release = consign::model::Release::parse("v1.0.0").unwrap();
    let user = User::new();
    for base_url in [None, Some("https://example.org/'; touch hacked; '$(touch hacked)`touch hacked`/{tag}")] {
        let facts = consign::pipeline::installer::Facts {
            name: &index.name,
            release: &release,
            packages: &index.packages,
            base_url,
            root: Some("{}\nEND_OF_ROO\n$(touch hacked)\n`touch hacked`"),
        };
        fs_err::create_dir_all(user.path("release")).unwrap();
        fs_err::write(user.path("release/install.sh"), consign::pipeline::installer::sh(&facts).unwrap()).unwrap();
        for line in ["", "--help", "--print-root", "--index release/index.json"] {
            user.script(&["dash"], "release", line).output().unwrap();
            assert!(!user.path("hacked").exists(), "{base_url:?} {line}");
        }
    }
}
