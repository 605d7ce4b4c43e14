//! Publishing to GitHub: what is special about it, against the stand-in.

use std::collections::BTreeMap;

use camino::Utf8Path;
use consign::model::events::Silence;
use consign::model::failure::Result;
use consign::model::{Code, Digest, Failure, Release};
use consign::provider::github::{self, Token};
use consign::provider::{self, Provider, Published, Status, Upload};
use serde_json::json;

use crate::github_server::{Files, GitHub, Harm, State};
use crate::provider_contract::{Bundle, COMMIT, OnGitHub, Site, TAG, hasty, target};

/// How many requests there have been.
fn requests(site: &OnGitHub) -> usize {
    site.0.state().log.len()
}

/// Publishes, and everything has to be there, once, with nothing left over.
fn publish_well(site: &OnGitHub, bundle: &Bundle) {
    let published = site.publish(bundle).unwrap();
    assert_eq!(published.status, Status::Published);
    assert_eq!(site.visible().as_ref(), Some(&bundle.files));
    site.check();
}

fn mark(bundle: &Bundle) -> String {
    let digest = |name: &str| Digest::of(&bundle.files[name]);
    let (index, sums) = (digest("index.json"), digest("checksums.txt"));
    format!("notes\n\n<!-- consign:draft index=sha256:{index} bundle=sha256:{sums} -->\n")
}

/// The bundle with another content for some files.
fn but(bundle: &Bundle, change: impl Fn(&str) -> Option<&'static str>) -> Bundle {
    Bundle::of(|name| change(name).map_or_else(|| bundle.files[name].clone(), |text| text.as_bytes().to_vec()))
}

fn only(bundle: &Bundle, names: &[&str]) -> Files {
    names.iter().map(|name| ((*name).to_owned(), bundle.files[*name].clone())).collect()
}

#[test]
fn a_release_is_what_github_is_told_of_it() {
    for (tag, prerelease, latest) in [("v1.2.3", false, "true"), ("v1.2.3-rc.1", true, "false")] {
        let site = OnGitHub::default();
        site.0.state().tag(tag, COMMIT);
        let bundle = Bundle::new();
        let upload = Upload { release: Release::parse(tag).unwrap(), ..bundle.upload() };
        let published = provider::publish(&site.provider(), &upload, &|_| Ok(()), &Silence).unwrap();
        assert!(published.address.page.ends_with(&format!("/owner/tool/releases/tag/{tag}")), "{published:?}");
        assert!(published.address.base.ends_with(&format!("/owner/tool/releases/download/{tag}")), "{published:?}");
        let state = site.0.state();
        let release = &state.releases[0];
        assert_eq!(
            (release.prerelease, release.make_latest.as_str(), release.name.as_str()),
            (prerelease, latest, tag)
        );
        assert!(release.body.starts_with("# What is new\n"), "{}", release.body);
    }
}

#[test]
fn a_fix_of_an_older_line_is_not_called_the_latest() {
    let site = OnGitHub::default();
    site.0.state().put("v2.0.0", false, "", Files::new());
    let bundle = Bundle::new();
    site.publish(&bundle).unwrap();
    let state = site.0.state();
    assert_eq!(state.releases.iter().find(|release| release.tag == TAG).unwrap().make_latest, "false");
}

#[test]
fn a_tag_in_a_directory_is_found() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.state().tag("tool/v1.2.3+build.1", COMMIT);
    let upload = Upload { release: Release::parse("tool/v1.2.3+build.1").unwrap(), ..bundle.upload() };
    let published = provider::publish(&site.provider(), &upload, &|_| Ok(()), &Silence).unwrap();
    assert!(published.address.base.ends_with("/releases/download/tool/v1.2.3%2Bbuild.1"), "{published:?}");
    let again = provider::publish(&site.provider(), &upload, &|_| Ok(()), &Silence).unwrap();
    assert_eq!(again.status, Status::Unchanged);
    site.check();
}

#[test]
fn files_are_sent_several_at_a_time_and_from_disk() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    // The first ones wait for each other.
    site.0.state().party = 4;
    publish_well(&site, &bundle);
    assert_eq!(site.0.state().most_uploads, 4);
}

#[test]
fn the_tag_has_to_be_there_and_to_be_the_commit_that_was_built() {
    type Prepare = fn(&mut State);
    let wrong: [Prepare; 3] = [
        |state| state.tags.clear(),
        |state| state.tag(TAG, "fedcba9876543210fedcba9876543210fedcba98"),
        |state| {
            state.tags.insert(TAG.into(), ("tag".into(), "a1".into()));
            state.tag_objects.insert("a1".into(), ("commit".into(), "fedcba9876543210fedcba9876543210fedcba98".into()));
        },
    ];
    for prepare in wrong {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        prepare(&mut site.0.state());
        let failure = site.publish(&bundle).unwrap_err();
        assert_eq!((failure.code(), failure.about()), (Code::GuardTag, Some(TAG)), "{failure}");
        assert_eq!(site.0.writes(), [""; 0]);
    }
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    {
        let mut state = site.0.state();
        state.tags.insert(TAG.into(), ("tag".into(), "a1".into()));
        state.tag_objects.insert("a1".into(), ("tag".into(), "a2".into()));
        state.tag_objects.insert("a2".into(), ("commit".into(), COMMIT.into()));
    }
    publish_well(&site, &bundle);
}

#[test]
fn a_tag_that_moved_while_files_were_sent_is_not_published() {
    let changes: [fn(&mut State); 2] =
        [|state| state.tags.clear(), |state| state.tag(TAG, "fedcba9876543210fedcba9876543210fedcba98")];
    for change in changes {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        site.0.fault("GET", "/releases/assets/", Harm::Meanwhile(change));
        assert_eq!(site.publish(&bundle).unwrap_err().code(), Code::GuardTag);
        assert_eq!(site.visible(), None);
        site.0.state().tag(TAG, COMMIT);
        publish_well(&site, &bundle);
    }
}

#[test]
fn answers_that_are_lost_and_gateways_that_fail_double_nothing() {
    let requests = [
        ("GET", "/releases/tags/"),
        ("GET", "/git/ref/"),
        ("GET", "/releases"),
        ("POST", "/repos/owner/tool/releases"),
        ("POST", "/assets"),
        ("GET", "/assets"),
        ("GET", "/releases/assets/"),
        ("GET", "/blob/"),
        ("PATCH", "/releases/"),
    ];
    for (method, path) in requests {
        for harm in [Harm::Lost, Harm::LostAnswer, Harm::BadGateway] {
            let (site, bundle) = (OnGitHub::default(), Bundle::new());
            site.0.fault(method, path, harm.clone());
            let published = site.publish(&bundle);
            assert!(published.is_ok(), "{method} {path} {harm:?}: {:?}", published.unwrap_err().chain());
            assert_eq!(site.visible().as_ref(), Some(&bundle.files), "{method} {path} {harm:?}");
            assert!(site.0.state().faults.is_empty(), "{method} {path} was never asked");
            let mut stored = site.stored().unwrap();
            stored.sort();
            stored.dedup();
            assert_eq!(stored.len(), bundle.files.len(), "{method} {path} {harm:?}");
            let made = site.0.writes().iter().filter(|write| *write == "POST /repos/owner/tool/releases").count();
            assert_eq!(made, 1, "{method} {path} {harm:?}");
            site.check();
        }
    }
}

#[test]
fn a_file_without_an_end_is_sent_again() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.fault("POST", "/assets", Harm::Starter);
    publish_well(&site, &bundle);
    assert_eq!(site.0.writes().iter().filter(|write| write.starts_with("DELETE")).count(), 1);
}

#[test]
fn a_name_that_somebody_takes_meanwhile_is_looked_at() {
    fn put(state: &mut State, bytes: &[u8]) {
        let id = 9000;
        let draft = state.releases.iter_mut().find(|release| release.draft).unwrap();
        let name = "index.json".to_owned();
        draft.assets.push(crate::github_server::Stored { id, name, state: "uploaded", bytes: bytes.to_vec() });
    }
    type Take = fn(&mut State);
    let takes: [(Take, usize); 2] = [
        // The very bytes are good enough, and others go.
        (|state| put(state, "index.json".repeat(3000).as_bytes()), 0),
        (|state| put(state, b"other"), 1),
    ];
    for (take, sent) in takes {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        // The index comes last, when all others have been sent.
        for _ in 1..bundle.files.len() {
            site.0.fault("POST", "/assets", Harm::Meanwhile(|_| ()));
        }
        site.0.fault("POST", "/assets", Harm::Meanwhile(take));
        publish_well(&site, &bundle);
        let state = site.0.state();
        let answers = state.log.iter().filter(|seen| seen.name == "index.json" && seen.door == "uploads");
        let answers: Vec<u16> = answers.map(|seen| seen.status).collect();
        assert_eq!(answers, [&[422][..], &vec![201; sent]].concat(), "GitHub says that the name is taken");
    }
}

#[test]
fn a_full_rate_is_waited_for_and_a_long_pause_is_not() {
    let limit =
        |headers: &str, message: &str| Harm::Answer("403 Forbidden", headers.to_owned(), json!({ "message": message }));
    let reset = "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1795284000\r\n";
    let soon = [
        ("POST", "/assets", limit("Retry-After: 0\r\n", "You have exceeded a secondary rate limit")),
        ("POST", "/repos/owner/tool/releases", limit("Retry-After: 0\r\n", "secondary rate limit")),
        ("GET", "/releases/tags/", limit(reset, "API rate limit exceeded")),
        ("PATCH", "/releases/", Harm::Answer("429 Too Many Requests", "Retry-After: 0\r\n".into(), json!({}))),
        ("GET", "/releases/assets/", limit("Retry-After: Sat, 21 Nov 2026 18:00:00 GMT\r\n", "later")),
    ];
    for (method, path, harm) in soon {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        site.0.fault(method, path, harm);
        publish_well(&site, &bundle);
    }
    let late = "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: 1795287600\r\n";
    for headers in ["Retry-After: 3600\r\n", late, "Retry-After: Sat, 21 Nov 2026 19:00:00 GMT\r\n"] {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        site.0.fault("POST", "/assets", limit(headers, "You have exceeded a secondary rate limit"));
        let failure = site.publish(&bundle).unwrap_err();
        assert_eq!(failure.code(), Code::RemoteUnavailable);
        assert!(failure.to_string().contains("3600 seconds"), "{failure}");
        publish_well(&site, &bundle);
    }
}

#[test]
fn of_several_drafts_the_oldest_of_ours_is_used() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    let (first, second) = {
        let mut state = site.0.state();
        state.page_size = 2;
        let first = state.put(TAG, true, &mark(&bundle), only(&bundle, &["sbom.spdx.json"]));
        let second = state.put(TAG, true, &mark(&bundle), Files::new());
        for number in 0..7 {
            state.put(&format!("v0.{number}.0"), number == 3, "", Files::new());
        }
        (first, second)
    };
    site.publish(&bundle).unwrap();
    let state = site.0.state();
    let there: Vec<u64> =
        state.releases.iter().filter(|release| release.tag == TAG).map(|release| release.id).collect();
    assert_eq!((there, state.releases.len()), (vec![first], 8), "{second} has gone, the others stay");
    let sent = state.log.iter().filter(|seen| seen.name == "sbom.spdx.json").count();
    assert_eq!(sent, 0, "what was there is not sent");
}

#[test]
fn somebody_elses_draft_is_left_alone() {
    let bundle = Bundle::new();
    let other = but(&bundle, |name| (name == "index.json").then_some("other"));
    for body in ["", "# My notes", &mark(&other)] {
        let site = OnGitHub::default();
        site.0.state().put(TAG, true, body, Files::new());
        let failure = site.publish(&bundle).unwrap_err();
        assert_eq!(failure.code(), Code::TargetForeign, "{failure}");
        assert_eq!((site.visible(), site.0.writes()), (None, Vec::new()));
        // Where there is one of ours as well, that is the one.
        site.0.state().put(TAG, true, &mark(&bundle), Files::new());
        assert_eq!(site.publish(&bundle).unwrap().status, Status::Published);
        assert_eq!(site.0.state().releases.iter().filter(|release| release.draft).count(), 1);
    }
}

#[test]
fn a_strange_file_in_our_draft_is_not_published() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    let strange = BTreeMap::from([("thesis.pdf".to_owned(), b"mine".to_vec())]);
    site.0.state().put(TAG, true, &mark(&bundle), strange);
    let failure = site.publish(&bundle).unwrap_err();
    assert_eq!((failure.code(), failure.about()), (Code::TargetForeign, Some("thesis.pdf")));
    assert_eq!(site.visible(), None);
}

#[test]
fn a_draft_of_another_run_over_the_same_index_becomes_ours() {
    let before = Bundle::new();
    let now = but(&before, |name| match name {
        "provenance.json" => Some("of another run"),
        "checksums.txt" => Some("with other sums"),
        _ => None,
    });
    let site = OnGitHub::default();
    let refuse = |_: &Utf8Path| Err(Failure::new(Code::SizeMismatch, "the first run ends here"));
    site.publish_checked(&before, &refuse).unwrap_err();
    site.publish(&now).unwrap();
    assert_eq!(site.visible(), Some(now.files.clone()));
    assert_eq!(site.0.state().releases.len(), 1);
    let archive = "tool-1.2.3-linux-amd64.tar.gz";
    assert_eq!(site.0.state().log.iter().filter(|seen| seen.name == archive).count(), 1, "what is the same stays");
    site.check();
}

#[test]
fn a_run_whose_draft_was_taken_over_does_not_publish_it() {
    fn take_over(state: &mut State) {
        let digest = Digest::of(b"another run");
        let draft = state.releases.iter_mut().find(|release| release.draft).unwrap();
        let at = draft.body.find(" bundle=").unwrap();
        draft.body.replace_range(at.., &format!(" bundle=sha256:{digest} -->"));
    }
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.fault("GET", "/releases/assets/", Harm::Meanwhile(take_over));
    assert_eq!(site.publish(&bundle).unwrap_err().code(), Code::Busy);
    assert_eq!(site.visible(), None);
    publish_well(&site, &bundle);
}

#[test]
fn a_draft_that_somebody_deleted_is_begun_again() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.fault("PATCH", "/releases/", Harm::Meanwhile(|state| state.releases.clear()));
    // This run sees that it is gone; whatever it says, the next one does it.
    let _ = site.publish(&bundle);
    if site.visible().is_none() {
        site.publish(&bundle).unwrap();
    }
    assert_eq!(site.visible().as_ref(), Some(&bundle.files));
}

#[test]
fn evidence_in_a_draft_is_kept_while_it_is_good() {
    let before = Bundle::new();
    let now = but(&before, |name| (name == "index.json.sig" || name == "signatures.json").then_some("made again"));
    let refuse = |_: &Utf8Path| Err(Failure::new(Code::Io, "the first run ends here"));
    let site = OnGitHub::default();
    site.publish_checked(&before, &refuse).unwrap_err();
    site.publish_checked(&now, &|_| Ok(())).unwrap();
    assert_eq!(site.visible(), Some(before.files.clone()), "good evidence is not made again");
    let told = site.publish_checked(&now, &|_| Ok(())).unwrap().files;
    let told: BTreeMap<String, Digest> = told.into_iter().map(|file| (file.name.to_string(), file.sha256)).collect();
    let there = before.files.iter().map(|(name, bytes)| (name.clone(), Digest::of(bytes)));
    assert_eq!(told, there.collect(), "what is there is told, and not what is here");
    // And when it is worth nothing, ours takes its place.
    let site = OnGitHub::default();
    site.publish_checked(&before, &refuse).unwrap_err();
    let strict = |directory: &Utf8Path| {
        let found = fs_err::read(directory.join("index.json.sig")).unwrap();
        if found == b"made again" { Ok(()) } else { Err(Failure::new(Code::SignatureInvalid, "not by this key")) }
    };
    site.publish_checked(&now, &strict).unwrap();
    assert_eq!(site.visible(), Some(now.files.clone()));
    site.check();
}

#[test]
fn servers_that_tell_no_digests_are_asked_for_the_bytes() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.state().tells_digests = false;
    publish_well(&site, &bundle);
    let before = site.0.writes();
    assert_eq!(site.publish(&bundle).unwrap().status, Status::Unchanged);
    let length = bundle.files["provenance.json"].len();
    site.tamper("provenance.json", Some(&vec![b'x'; length]));
    assert_eq!(site.publish(&bundle).unwrap_err().code(), Code::VersionPublished);
    assert_eq!(site.0.writes(), before);
}

#[test]
fn bytes_that_come_from_the_api_itself_are_taken() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.state().serves_bytes_itself = true;
    publish_well(&site, &bundle);
    assert!(site.0.state().log.iter().all(|seen| seen.door != "storage"));
}

#[test]
fn the_token_goes_nowhere_else() {
    // Wherever bytes lie, the stand-in itself looks that no token comes along.
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    publish_well(&site, &bundle);
    assert!(site.0.state().log.iter().any(|seen| seen.door == "storage"));
    // A server that wants the files elsewhere gets nothing.
    let other = OnGitHub::default();
    other.0.state().upload_door = Some("https://uploads.example.org".into());
    let failure = other.publish(&bundle).unwrap_err();
    assert_eq!(failure.code(), Code::RedirectRefused, "{failure}");
    assert!(failure.to_string().contains("https://uploads.example.org/"), "{failure}");
}

#[test]
fn immutable_releases_are_published_once_and_a_burned_tag_never() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.0.state().immutable = Some(true);
    publish_well(&site, &bundle);
    assert_eq!(site.publish(&bundle).unwrap().status, Status::Unchanged);
    let burned = OnGitHub::default();
    burned.0.state().burned.insert(TAG.into());
    let failure = burned.publish(&bundle).unwrap_err();
    assert_eq!(failure.code(), Code::VersionPublished);
    assert!(failure.to_string().contains("burned"), "{failure}");
}

#[test]
fn names_that_would_be_changed_are_refused_before_anything_is_sent() {
    for name in ["tool..tar.gz", "tool-1.2.3."] {
        let (site, bundle) = (OnGitHub::default(), Bundle::new());
        let mut upload = bundle.upload();
        upload.assets[4].name = name.parse().unwrap();
        let failure = provider::publish(&site.provider(), &upload, &|_| Ok(()), &Silence).unwrap_err();
        assert_eq!((failure.code(), failure.about(), requests(&site)), (Code::NameInvalid, Some(name), 0));
    }
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    let mut upload = bundle.upload();
    upload.assets[4].size_bytes = 2 << 30;
    let failure = provider::publish(&site.provider(), &upload, &|_| Ok(()), &Silence).unwrap_err();
    assert_eq!((failure.code(), requests(&site)), (Code::FileTooLarge, 0));
}

fn publish_with(server: &GitHub, token: Option<&str>, bundle: &Bundle) -> Result<Published> {
    let target = github::Target { token: token.map(|token| Token::new(token).unwrap()), ..target(server) };
    bundle.publish(&github::GitHub::connect(&target, hasty()).unwrap())
}

#[test]
fn a_token_that_is_missing_or_refused_is_told_and_never_shown() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    let failure = publish_with(&site.0, None, &bundle).unwrap_err();
    assert_eq!((failure.code(), requests(&site)), (Code::TokenMissing, 0));
    for (status, code) in [
        ("401 Unauthorized", 5),
        ("403 Forbidden", 5),
        ("404 Not Found", 5),
        ("500 Oops", 5),
        ("301 Moved Permanently", 5),
    ] {
        let site = OnGitHub::default();
        let message = json!({ "message": "Bad credentials \u{1b}[31m" });
        for _ in 0..4 {
            site.0.fault("GET", "/releases", Harm::Answer(status, String::new(), message.clone()));
        }
        let failure = publish_with(&site.0, Some("canary-token-of-the-tests"), &bundle).unwrap_err();
        assert_eq!(failure.code().exit() as u8, code, "{status}");
        let told = failure.chain().join("\n");
        assert!(!told.contains("canary") && !told.contains('\u{1b}'), "{told}");
        assert_eq!(site.visible(), None);
    }
}

#[test]
fn a_list_that_goes_on_at_another_server_is_not_followed() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    let link = "Link: <https://evil.example/releases?page=2>; rel=\"next\"\r\n".to_owned();
    // The list of releases is the first that comes in pages.
    site.0.fault("GET", "/git/ref/", Harm::Meanwhile(|_| ()));
    site.0.fault("GET", "tool/releases", Harm::Meanwhile(|_| ()));
    site.0.fault("GET", "tool/releases", Harm::Answer("200 OK", link, json!([])));
    assert_eq!(site.publish(&bundle).unwrap_err().code(), Code::RedirectRefused);
}

#[test]
fn everything_is_looked_at_before_anything_is_built() {
    let site = OnGitHub::default();
    let release = Release::parse(TAG).unwrap();
    let look = |site: &OnGitHub| -> BTreeMap<&'static str, Result<String>> {
        site.provider().preflight(&release, Some(COMMIT)).into_iter().map(|look| (look.name, look.outcome)).collect()
    };
    let calm = look(&site);
    assert!(calm.values().all(Result::is_ok), "{calm:?}");
    assert!(calm["github immutable releases"].as_ref().unwrap().starts_with("off"));
    site.publish(&Bundle::new()).unwrap();
    site.0.state().immutable = Some(true);
    let later = look(&site);
    assert!(later["github release"].as_ref().unwrap().contains("is published already"));
    assert!(later["github immutable releases"].as_ref().unwrap().contains("burned"));
    {
        let mut state = site.0.state();
        (state.may_push, state.immutable) = (false, None);
        state.tags.clear();
    }
    let wrong = look(&site);
    let code = |name: &str| wrong[name].as_ref().map_err(Failure::code).map(String::as_str);
    assert_eq!(code("github repository"), Err(Code::RemoteForbidden));
    assert_eq!(code("github tag"), Err(Code::GuardTag));
    assert_eq!(code("github immutable releases"), Ok("unknown: the token may not ask"));
    assert!(site.0.writes().len() == 9, "looking changes nothing: {:?}", site.0.writes());
}

#[test]
fn what_is_private_is_fetched_by_those_who_may() {
    let (site, bundle) = (OnGitHub::default(), Bundle::new());
    site.publish(&bundle).unwrap();
    let into = crate::support::Scratch::new();
    let release = Release::parse(TAG).unwrap();
    assert_eq!(site.provider().fetch_closed(&release, into.path()).unwrap(), None, "everybody may");
    site.0.state().private = true;
    assert_eq!(site.provider().fetch_closed(&release, into.path()).unwrap(), Some(()));
    for (name, bytes) in &bundle.files {
        assert_eq!(&fs_err::read(into.path().join(name)).unwrap(), bytes, "{name}");
    }
    site.check();
}

#[cfg(target_os = "linux")]
mod processes {
    //! Publishers that are processes of their own: this test program, run again.

    #![expect(clippy::disallowed_methods, reason = "tests run programs and read their own environment")]

    use super::*;
    use crate::provider_contract::publish_directory;
    use std::process::{Child, Command, Stdio};

    const BUNDLE: &str = "CONSIGN_TEST_GITHUB_BUNDLE";
    const API: &str = "CONSIGN_TEST_GITHUB_API";
    const WEB: &str = "CONSIGN_TEST_GITHUB_WEB";
    /// The most memory that a publisher may ever have had, in kilobytes.
    const MAX_MEMORY_KB: u64 = 64 << 10;

    /// Does nothing unless it is run by [`start`].
    #[test]
    fn child() {
        let get = |name| std::env::var(name).ok();
        let (Some(bundle), Some(api), Some(web)) = (get(BUNDLE), get(API), get(WEB)) else { return };
        publish_directory(Utf8Path::new(&bundle), &api, &web).unwrap();
        let status = fs_err::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak < MAX_MEMORY_KB, "{peak} kB of memory were used");
    }

    fn start(bundle: &Utf8Path, server: &GitHub) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "github::processes::child", "--quiet"])
            .env(BUNDLE, bundle)
            .env(API, server.api.url("api/v3"))
            .env(WEB, server.web.url("").trim_end_matches('/'))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_publisher_that_is_killed_at_any_request_is_finished_by_the_next() {
        let bundle = Bundle::new();
        let (mut number, mut kills) = (0, 0);
        loop {
            let mut lived = 0;
            for is_done in [false, true] {
                let site = OnGitHub::default();
                site.0.state().whole = Some(bundle.files.clone());
                site.0.hold(Some((number, is_done)));
                let mut child = start(bundle.path(), &site.0);
                let ended = loop {
                    if site.0.is_held() {
                        break false;
                    }
                    if let Some(status) = child.try_wait().unwrap() {
                        assert!(status.success());
                        break true;
                    }
                    std::thread::yield_now();
                };
                // SIGKILL: nothing gets to clean up.
                child.kill().unwrap();
                child.wait().unwrap();
                site.0.hold(None);
                lived += usize::from(ended);
                kills += usize::from(!ended);
                // A question that is lost is like one that was not answered.
                let asks = site.0.state().log.get(number).is_some_and(|seen| seen.method == "GET");
                if asks && !ended && !is_done {
                    continue;
                }
                let seen = site.visible();
                let next = site.publish(&bundle).unwrap();
                let at = format!("killed at request {number}, carried out: {is_done}");
                assert_eq!(site.visible().as_ref(), Some(&bundle.files), "{at}");
                assert_eq!(next.status == Status::Unchanged, seen.is_some(), "{at}");
                let mut sent = site.stored().unwrap();
                sent.sort();
                sent.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "sent twice: {at}"));
                site.check();
            }
            if lived == 2 {
                break;
            }
            number += 1;
        }
        assert!(kills > 40, "{kills} kills are too few");
    }

    #[test]
    fn large_files_need_no_large_memory() {
        let bundle = Bundle::of(|name| name.repeat((12 << 20) / name.len()).into_bytes());
        let site = OnGitHub::default();
        assert!(start(bundle.path(), &site.0).wait().unwrap().success());
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
        site.check();
    }
}
