//! What every place that bundles are published to promises, asked of each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use consign::model::events::Silence;
use consign::model::failure::Result;
use consign::model::{Code, Digest, Failure, Release};
use consign::provider::directory::Directory;
use consign::provider::github::{self, Access, Target, Token};
use consign::provider::memory::Memory;
use consign::provider::{self, Asset, Provider, Published, Status, Upload};

use crate::github_server::{GitHub, REPOSITORY, TOKEN};
use crate::support::Scratch;

/// The files of a release by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The tag of the release.
pub const TAG: &str = "v1.2.3";
/// The commit that it is built from.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const ASSETS: [&str; 5] =
    ["checksums.txt", "index.json", "provenance.json", "sbom.spdx.json", "tool-1.2.3-linux-amd64.tar.gz"];
const EVIDENCE: [&str; 2] = ["index.json.sig", "signatures.json"];

/// A directory of files that stands for a bundle.
pub struct Bundle {
    scratch: Scratch,
    pub files: Files,
}

impl Bundle {
    pub fn new() -> Self {
        Self::of(|name| name.repeat(3000).into_bytes())
    }

    pub fn of(content: impl Fn(&str) -> Vec<u8>) -> Self {
        let scratch = Scratch::new();
        let files: Files = ASSETS.iter().chain(&EVIDENCE).map(|name| ((*name).to_owned(), content(name))).collect();
        for (name, bytes) in &files {
            scratch.write(name, bytes);
        }
        Self { scratch, files }
    }

    /// The one that lies in a directory already.
    fn upload_of(directory: &Utf8Path, asset: impl Fn(&str) -> Asset + Copy) -> Upload<'_> {
        Upload {
            release: Release::parse(TAG).unwrap(),
            commit: Some(COMMIT.into()),
            notes: "# What is new\n".into(),
            directory,
            assets: ASSETS.map(asset).to_vec(),
            evidence: EVIDENCE.map(asset).to_vec(),
        }
    }

    pub fn path(&self) -> &Utf8Path {
        self.scratch.path()
    }

    pub fn upload(&self) -> Upload<'_> {
        Self::upload_of(self.scratch.path(), |name| asset_of(name, &self.files[name]))
    }

    /// Publishes it; what is stored has to be just what is here, but for the evidence.
    pub fn publish(&self, provider: &dyn Provider) -> Result<Published> {
        let check = |directory: &Utf8Path| {
            let stored = read(directory);
            assert!(
                ASSETS.iter().all(|name| stored.get(*name) == self.files.get(*name)),
                "{:?} was stored",
                stored.keys()
            );
            Ok(())
        };
        provider::publish(provider, &self.upload(), &check, &Silence)
    }
}

fn asset_of(name: &str, bytes: &[u8]) -> Asset {
    Asset { name: name.parse().unwrap(), size_bytes: bytes.len() as u64, sha256: Digest::of(bytes) }
}

fn read(directory: &Utf8Path) -> Files {
    let entries = directory.read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path());
    entries.map(|path| (path.file_name().unwrap().to_owned(), fs_err::read(&path).unwrap())).collect()
}

/// A kind of place, as the tests see it from outside.
pub trait Site: Sync {
    fn publish(&self, bundle: &Bundle) -> Result<Published>;
    /// The same with a verifier of one's own.
    fn publish_checked(&self, bundle: &Bundle, check: provider::Check<'_>) -> Result<Published>;
    fn visible(&self) -> Option<Files>;
    /// Changes something in what is published.
    fn tamper(&self, name: &str, bytes: Option<&[u8]>);
    /// Something that changes whenever the place does.
    fn footprint(&self) -> Vec<String>;
    /// Lets so many operations succeed, and no more; `false` where nobody can.
    fn fail_after(&self, operations: Option<usize>) -> bool;
    /// Everything that was put there, in order, where the place tells.
    fn stored(&self) -> Option<Vec<String>>;
    /// Whatever else has to hold at the end.
    fn check(&self) {}
}

#[derive(Default)]
struct InMemory(Memory);

impl Site for InMemory {
    fn publish(&self, bundle: &Bundle) -> Result<Published> {
        bundle.publish(&self.0)
    }

    fn publish_checked(&self, bundle: &Bundle, check: provider::Check<'_>) -> Result<Published> {
        provider::publish(&self.0, &bundle.upload(), check, &Silence)
    }

    fn visible(&self) -> Option<Files> {
        self.0.visible(TAG)
    }

    fn tamper(&self, name: &str, bytes: Option<&[u8]>) {
        self.0.tamper(TAG, name, bytes.map(<[u8]>::to_vec));
    }

    fn footprint(&self) -> Vec<String> {
        self.0.writes()
    }

    fn fail_after(&self, operations: Option<usize>) -> bool {
        self.0.fail_after(operations);
        true
    }

    fn stored(&self) -> Option<Vec<String>> {
        let stored = self.0.writes().into_iter();
        Some(stored.filter_map(|write| write.strip_prefix("store ").map(str::to_owned)).collect())
    }

    fn check(&self) {
        assert_eq!(self.0.drafts(), 0, "drafts are left");
    }
}

struct InDirectory(Scratch);

impl Default for InDirectory {
    fn default() -> Self {
        Self(Scratch::new())
    }
}

impl InDirectory {
    fn target(&self) -> Utf8PathBuf {
        self.0.path().join("releases")
    }
}

impl Site for InDirectory {
    fn publish(&self, bundle: &Bundle) -> Result<Published> {
        bundle.publish(&Directory::at(&self.target()))
    }

    fn publish_checked(&self, bundle: &Bundle, check: provider::Check<'_>) -> Result<Published> {
        provider::publish(&Directory::at(&self.target()), &bundle.upload(), check, &Silence)
    }

    fn visible(&self) -> Option<Files> {
        let release = self.target().join(TAG);
        release.is_dir().then(|| read(&release))
    }

    fn tamper(&self, name: &str, bytes: Option<&[u8]>) {
        let path = self.target().join(TAG).join(name);
        match bytes {
            Some(bytes) => fs_err::write(path, bytes).unwrap(),
            None => fs_err::remove_file(path).unwrap(),
        }
    }

    fn footprint(&self) -> Vec<String> {
        let mut open = vec![self.0.path().to_owned()];
        let mut found = Vec::new();
        while let Some(path) = open.pop() {
            let about = fs_err::symlink_metadata(&path).unwrap();
            found.push(format!("{path} {} {:?}", about.len(), about.modified().unwrap()));
            if about.is_dir() {
                open.extend(path.read_dir_utf8().unwrap().map(|entry| entry.unwrap().into_path()));
            }
        }
        found.sort();
        found
    }

    fn fail_after(&self, _: Option<usize>) -> bool {
        false
    }

    fn stored(&self) -> Option<Vec<String>> {
        None
    }

    fn check(&self) {
        let names = self.target().read_dir_utf8().unwrap().map(|entry| entry.unwrap().file_name().to_owned());
        assert_eq!(names.collect::<Vec<_>>(), [TAG]);
    }
}

/// The stand-in for GitHub, with the tag in place.
pub struct OnGitHub(pub GitHub);

impl Default for OnGitHub {
    fn default() -> Self {
        let server = GitHub::start();
        server.state().tag(TAG, COMMIT);
        Self(server)
    }
}

/// Patience for tests: as often as in earnest, and quickly.
pub fn hasty() -> github::Options {
    github::Options {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(20),
        tries: 3,
        parallel: 4,
        ..github::Options::default()
    }
}

/// The stand-in's repository, as a workflow on it would see it.
pub fn target(server: &GitHub) -> Target {
    target_at(&server.api.url("api/v3"), server.web.url("").trim_end_matches('/'))
}

fn target_at(api: &str, web: &str) -> Target {
    let (server_url, api_url) = (Some(web.to_owned()), Some(api.to_owned()));
    let access = Access { token: Some(Token::new(TOKEN).unwrap()), server_url, api_url, ..Access::default() };
    Target::parse(REPOSITORY, &access).unwrap()
}

/// What a publisher does that is a process of its own.
pub fn publish_directory(bundle: &Utf8Path, api: &str, web: &str) -> Result<Published> {
    let upload = Bundle::upload_of(bundle, |name| asset_of(name, &fs_err::read(bundle.join(name)).unwrap()));
    let provider = github::GitHub::connect(&target_at(api, web), hasty())?;
    provider::publish(&provider, &upload, &|_| Ok(()), &Silence)
}

impl OnGitHub {
    pub fn provider(&self) -> github::GitHub {
        github::GitHub::connect(&target(&self.0), hasty()).unwrap()
    }
}

impl Site for OnGitHub {
    fn publish(&self, bundle: &Bundle) -> Result<Published> {
        bundle.publish(&self.provider())
    }

    fn publish_checked(&self, bundle: &Bundle, check: provider::Check<'_>) -> Result<Published> {
        provider::publish(&self.provider(), &bundle.upload(), check, &Silence)
    }

    fn visible(&self) -> Option<Files> {
        self.0.visible(TAG)
    }

    fn tamper(&self, name: &str, bytes: Option<&[u8]>) {
        let mut state = self.0.state();
        let release = state.releases.iter_mut().find(|release| release.tag == TAG).unwrap();
        let like = release.assets[0].clone();
        release.assets.retain(|asset| asset.name != name);
        if let Some(bytes) = bytes {
            let (name, id) = (name.to_owned(), 9000 + release.assets.len() as u64);
            release.assets.push(crate::github_server::Stored { id, name, bytes: bytes.to_vec(), ..like });
        }
    }

    fn footprint(&self) -> Vec<String> {
        self.0.writes()
    }

    fn fail_after(&self, operations: Option<usize>) -> bool {
        let mut state = self.0.state();
        state.dead_from = operations.map(|operations| state.log.len() + operations);
        true
    }

    fn stored(&self) -> Option<Vec<String>> {
        let state = self.0.state();
        let uploads = state.log.iter().filter(|seen| seen.door == "uploads" && seen.status == 201);
        Some(uploads.map(|seen| seen.name.clone()).collect())
    }

    fn check(&self) {
        self.0.check();
        assert_eq!(self.0.state().releases.iter().filter(|release| release.draft).count(), 0, "drafts are left");
    }
}

mod contract {
    //! The promises.

    use super::*;

    pub fn what_was_published_is_there_and_publishing_it_again_changes_nothing(site: &dyn Site) {
        let bundle = Bundle::new();
        assert_eq!(site.visible(), None);
        assert_eq!(site.publish(&bundle).unwrap().status, Status::Published);
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
        let before = site.footprint();
        assert_eq!(site.publish(&bundle).unwrap().status, Status::Unchanged);
        assert_eq!(site.footprint(), before);
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
    }

    pub fn other_bytes_under_the_same_version_are_refused_before_anything_is_written(site: &dyn Site) {
        let bundle = Bundle::new();
        site.publish(&bundle).unwrap();
        let before = site.footprint();
        for changed in ["index.json", "provenance.json", "tool-1.2.3-linux-amd64.tar.gz"] {
            let other = Bundle::of(|name| {
                let mut bytes = bundle.files[name].clone();
                if name == changed {
                    bytes[7] ^= 1;
                }
                bytes
            });
            let failure = site.publish(&other).unwrap_err();
            assert_eq!((failure.code(), failure.about()), (Code::VersionPublished, Some(changed)), "{failure}");
            assert_eq!(failure.code().exit() as u8, 6);
            assert_eq!(site.footprint(), before, "{changed}");
        }
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
    }

    pub fn a_published_release_with_more_or_less_in_it_is_another_one(site: &dyn Site) {
        let bundle = Bundle::new();
        site.publish(&bundle).unwrap();
        let archive = "tool-1.2.3-linux-amd64.tar.gz";
        site.tamper("stranger.txt", Some(b"x"));
        assert_eq!(site.publish(&bundle).unwrap_err().about(), Some("stranger.txt"));
        site.tamper("stranger.txt", None);
        site.tamper(archive, None);
        assert_eq!(site.publish(&bundle).unwrap_err().about(), Some(archive));
        site.tamper(archive, Some(&bundle.files[archive]));
        assert_eq!(site.publish(&bundle).unwrap().status, Status::Unchanged);
    }

    pub fn evidence_is_no_reason_to_refuse(site: &dyn Site) {
        let bundle = Bundle::new();
        site.publish(&bundle).unwrap();
        // ECDSA signs the same bytes differently each time.
        let again =
            Bundle::of(|name| if name == "index.json.sig" { b"another".to_vec() } else { bundle.files[name].clone() });
        site.tamper("checksums.txt.minisig", Some(b"added later"));
        assert_eq!(site.publish(&again).unwrap().status, Status::Unchanged);
        assert_eq!(site.visible().unwrap()["index.json.sig"], bundle.files["index.json.sig"], "what is there stays");
    }

    pub fn nothing_is_visible_that_did_not_verify(site: &dyn Site) {
        let bundle = Bundle::new();
        let refuse = |_: &Utf8Path| {
            assert_eq!(site.visible(), None);
            Err(Failure::new(Code::SignatureInvalid, "not good enough"))
        };
        assert_eq!(site.publish_checked(&bundle, &refuse).unwrap_err().code(), Code::SignatureInvalid);
        assert_eq!(site.visible(), None);
        assert_eq!(site.publish(&bundle).unwrap().status, Status::Published);
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
    }

    pub fn what_changed_after_it_was_verified_is_not_published(site: &dyn Site) {
        for name in ["provenance.json", "index.json"] {
            let bundle = Bundle::new();
            for change in [
                b"".as_slice(),
                b"x",
                &[bundle.files[name].as_slice(), b"x"].concat(),
                &vec![0; bundle.files[name].len()],
            ] {
                fs_err::write(bundle.path().join(name), change).unwrap();
                let failure = site.publish(&bundle).unwrap_err();
                assert_eq!((failure.code(), failure.about()), (Code::DigestMismatch, Some(name)), "{failure}");
                assert_eq!(site.visible(), None);
            }
            fs_err::write(bundle.path().join(name), &bundle.files[name]).unwrap();
        }
        let bundle = Bundle::new();
        site.publish(&bundle).unwrap();
        assert_eq!(site.visible().as_ref(), Some(&bundle.files));
    }

    pub fn the_index_comes_last_and_nothing_twice(site: &dyn Site) {
        let bundle = Bundle::new();
        site.publish(&bundle).unwrap();
        let Some(stored) = site.stored() else { return };
        assert_eq!(stored.last().map(String::as_str), Some("index.json"));
        let mut sorted = stored.clone();
        sorted.sort();
        assert_eq!(sorted, bundle.files.keys().cloned().collect::<Vec<_>>());
    }

    pub fn a_failure_at_any_point_is_mended_by_the_next_run(site: &dyn Fn() -> Box<dyn Site>) {
        let calm = site();
        if !calm.fail_after(None) {
            return;
        }
        let bundle = Bundle::new();
        let mut failed = 0;
        loop {
            let site = site();
            site.fail_after(Some(failed));
            let first = site.publish(&bundle);
            let seen = site.visible();
            assert!(seen.is_none() || seen.as_ref() == Some(&bundle.files), "half a release after {failed} operations");
            site.fail_after(None);
            let second = site.publish(&bundle).unwrap();
            assert_eq!(site.visible().as_ref(), Some(&bundle.files), "after {failed} operations");
            let expected = if seen.is_some() { Status::Unchanged } else { Status::Published };
            assert_eq!(second.status, expected, "after {failed} operations");
            let mut stored = site.stored().unwrap_or_default();
            stored.sort();
            stored.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "sent twice after {failed} operations"));
            site.check();
            if first.is_ok() {
                break;
            }
            failed += 1;
        }
        assert!(failed > 8, "{failed} operations are too few");
    }

    pub fn publishers_at_the_same_time_agree(site: &dyn Fn() -> Box<dyn Site>) {
        for _ in 0..4 {
            let site = site();
            let bundle = Bundle::new();
            let results: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| site.publish(&bundle))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(site.visible().as_ref(), Some(&bundle.files));
            for result in results {
                // Whoever was disturbed says so, and has spoilt nothing.
                if let Err(failure) = result {
                    assert_eq!(failure.code().exit() as u8, 5, "{:?}", failure.chain());
                }
            }
            assert_eq!(site.publish(&bundle).unwrap().status, Status::Unchanged);
        }
    }
}

/// Each promise, kept by each place.
macro_rules! promises {
    ($($module:ident = $site:ty;)*) => {
        $(mod $module {
            use super::*;

            promises!(@once $site: what_was_published_is_there_and_publishing_it_again_changes_nothing);
            promises!(@once $site: other_bytes_under_the_same_version_are_refused_before_anything_is_written);
            promises!(@once $site: a_published_release_with_more_or_less_in_it_is_another_one);
            promises!(@once $site: evidence_is_no_reason_to_refuse);
            promises!(@once $site: nothing_is_visible_that_did_not_verify);
            promises!(@once $site: what_changed_after_it_was_verified_is_not_published);
            promises!(@once $site: the_index_comes_last_and_nothing_twice);

            #[test]
            fn a_failure_at_any_point_is_mended_by_the_next_run() {
                contract::a_failure_at_any_point_is_mended_by_the_next_run(&|| Box::<$site>::default());
            }

            #[test]
            fn publishers_at_the_same_time_agree() {
                contract::publishers_at_the_same_time_agree(&|| Box::<$site>::default());
            }
        })*
    };
    (@once $site:ty: $promise:ident) => {
        #[test]
        fn $promise() {
            let site = <$site>::default();
            contract::$promise(&site);
            site.check();
        }
    };
}

promises! {
    in_memory = InMemory;
    in_a_directory = InDirectory;
    on_github = OnGitHub;
}
