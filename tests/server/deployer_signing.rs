//! Commits that the git deployer signs, by ssh and by `GnuPG`, judged by git itself.

#![expect(clippy::disallowed_methods, reason = "tests run programs")]

use std::process::Command;

use camino::Utf8PathBuf;
use consign::manager::deployer::git::{ConfigRepository, Decision, Settings, SigningKey};
use consign::model::Code;

use crate::deployer_scene::{Scene, git, is_pushed, land, now, release, try_land};
use crate::support::{Scratch, clean, need, succeed};

/// A key, and how somebody judges what it has signed.
struct Signer {
    scratch: Scratch,
    key: SigningKey,
    /// What is given to git.
    options: Vec<String>,
}

impl Signer {
    fn ssh() -> Option<Self> {
        need("ssh-keygen").then(|| {
            let scratch = Scratch::new();
            let key = scratch.path().join("key");
            succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key.as_str()]));
            let public = fs_err::read_to_string(scratch.path().join("key.pub")).unwrap();
            let signers = scratch.write("signers", format!("consign@example.com {public}"));
            let options =
                ["-c", "gpg.format=ssh", "-c", &format!("gpg.ssh.allowedSignersFile={signers}")].map(str::to_owned);
            Self { scratch, key: SigningKey::Ssh(key), options: options.to_vec() }
        })
    }

    fn gpg(passphrase: &str) -> Option<Self> {
        need("gpg").then(|| {
            use std::os::unix::fs::PermissionsExt as _;
            let scratch = Scratch::new();
            let home = scratch.path().to_owned();
            fs_err::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();
            let id = "Consign <consign@example.com>";
            succeed(
                Command::new("gpg")
                    .args(["--homedir", home.as_str(), "--batch", "--quiet", "--pinentry-mode", "loopback"])
                    .args(["--passphrase", passphrase, "--quick-generate-key", id, "ed25519", "sign", "never"]),
            );
            let key = SigningKey::Gpg { id: "consign@example.com".to_owned(), home: Some(home) };
            let signer = Self { scratch, key, options: Vec::new() };
            // It knows the passphrase of the key that it has just made.
            signer.end_agent();
            signer
        })
    }

    fn open(&self, scene: &Scene, copy: &str) -> ConfigRepository {
        ConfigRepository::open(Settings { signing: Some(self.key.clone()), ..scene.settings(copy) }).unwrap()
    }

    /// Whether a commit at the remote is signed by this key and by no other.
    fn has_signed(&self, scene: &Scene, commit: &str) -> bool {
        let mut command = Command::new("git");
        clean(&mut command);
        command.current_dir(scene.remote()).env("GNUPGHOME", self.scratch.path());
        command.args(&self.options).args(["verify-commit", commit]).output().unwrap().status.success()
    }

    /// The private half, which can be taken away.
    fn private(&self) -> Utf8PathBuf {
        match &self.key {
            SigningKey::Ssh(key) => key.clone(),
            SigningKey::Gpg { .. } => self.scratch.path().join("private-keys-v1.d"),
        }
    }

    fn lose(&self) {
        fs_err::rename(self.private(), self.scratch.path().join("lost")).unwrap();
        self.end_agent();
    }

    fn find(&self) {
        fs_err::rename(self.scratch.path().join("lost"), self.private()).unwrap();
    }

    fn end_agent(&self) {
        if matches!(self.key, SigningKey::Gpg { .. }) {
            // There may be none.
            let _ = Command::new("gpgconf").args(["--homedir", self.scratch.path().as_str(), "--kill", "all"]).output();
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.end_agent();
    }
}

fn signers() -> impl Iterator<Item = Signer> {
    [Signer::ssh(), Signer::gpg("")].into_iter().flatten()
}

/// The commits at the remote, the latest first.
fn commits(scene: &Scene) -> Vec<String> {
    git(&scene.remote(), &["rev-list", "main"]).lines().map(str::to_owned).collect()
}

#[test]
fn signatures_survive_a_rebase() {
    for signer in signers() {
        let scene = Scene::new();
        let mut repository = signer.open(&scene, "copy");
        land(&mut repository, &[release("1", "one")]);
        // Somebody was faster before, and once more after everything had been signed.
        scene.stranger("before");
        let mut asked = 0;
        let landings = ["2", "3"].map(|id| release(id, "two"));
        let landed = repository
            .land(&landings, now(), &mut |_| {
                asked += 1;
                if asked == 4 {
                    scene.stranger("meanwhile");
                }
                Decision::Commit
            })
            .unwrap();
        assert!(is_pushed(&landed) && asked > 4, "{landed:?} {asked}");
        let signed: Vec<_> = commits(&scene).iter().map(|commit| signer.has_signed(&scene, commit)).collect();
        // Ours, all of them; those of others are as they were.
        assert_eq!(signed, [true, true, false, false, true], "{:?}", scene.subjects());
        scene.is_sound(&["copy"]);
    }
}

#[test]
fn a_stranger_s_signature_is_left_as_it_is() {
    for (ours, theirs) in [(Signer::ssh(), Signer::gpg("")), (Signer::gpg(""), Signer::ssh())] {
        let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
        let scene = Scene::new();
        land(&mut ours.open(&scene, "copy"), &[release("1", "one")]);
        let mut stranger = theirs.open(&scene, "theirs");
        assert!(is_pushed(&land(&mut stranger, &[release("2", "two")])));
        let before = commits(&scene);
        assert!(is_pushed(&land(&mut ours.open(&scene, "copy"), &[release("3", "three")])));
        let after = commits(&scene);
        assert_eq!(after[1..], before);
        let signed = |signer: &Signer| after.iter().map(|commit| signer.has_signed(&scene, commit)).collect::<Vec<_>>();
        assert_eq!(signed(&ours), [true, false, true]);
        assert_eq!(signed(&theirs), [false, true, false]);
    }
}

#[test]
fn without_its_key_nothing_is_committed_not_even_what_was_signed_before() {
    for signer in signers() {
        let scene = Scene::new();
        let mut repository = signer.open(&scene, "copy");
        land(&mut repository, &[release("1", "one")]);
        let mut is_first = true;
        let failure = repository
            .land(&[release("2", "two")], now(), &mut |_| {
                if std::mem::take(&mut is_first) {
                    scene.stranger("faster");
                    signer.lose();
                }
                Decision::Commit
            })
            .unwrap_err();
        assert_eq!(failure.code(), Code::KeyInvalid, "{:?}", failure.chain());
        assert_eq!(scene.subjects(), ["faster", "[dev/one] release main-1 by ase@example.com"]);
        signer.find();
        assert!(is_pushed(&land(&mut repository, &[release("2", "two")])));
        assert!(signer.has_signed(&scene, "main"));
        scene.is_sound(&["copy"]);
    }
}

#[test]
fn nobody_is_asked_for_a_passphrase() {
    let Some(signer) = Signer::gpg("a passphrase that the agent does not know") else { return };
    let scene = Scene::new();
    let failure = try_land(&mut signer.open(&scene, "copy"), &[release("1", "one")]).unwrap_err();
    assert_eq!(failure.code(), Code::KeyInvalid, "{:?}", failure.chain());
    assert!(!scene.remote().join("refs/heads/main").exists());
}

#[test]
fn nothing_is_signed_that_was_not_to_be() {
    let scene = Scene::new();
    let mut repository = scene.open("copy");
    land(&mut repository, &[release("1", "one")]);
    scene.stranger("other");
    land(&mut repository, &[release("2", "two")]);
    for commit in commits(&scene) {
        assert!(!git(&scene.remote(), &["cat-file", "commit", &commit]).contains("gpgsig"));
    }
}
