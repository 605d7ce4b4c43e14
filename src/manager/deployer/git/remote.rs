//! The way to the remote: fetching and pushing through the `git` command, and what its complaints mean.
//!
//! The main items are [`ConfigRepository::fetch`] and [`ConfigRepository::push`]. No credential is ever on a
//! command line, in a file that is written here, or part of a message.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::process::{Output, Program, safe_line};

use super::objects::Id;
use super::repository::ConfigRepository;

/// How long a fetch may take; the first one brings everything.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How long a push may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// From how many commits on nothing is gained by searching for similar objects: what is similar among them
/// was written as such.
const MANY: usize = 20;

/// How the server proves to the remote who it is.
#[derive(Clone)]
pub enum Credentials {
    /// It does not, or its ssh agent does.
    None,
    /// By a user name and a password or token, over https.
    Password {
        /// The user; hosts that take tokens say what it has to be.
        user: String,
        /// The password or token.
        password: String,
    },
    /// By a key, over ssh.
    SshKey {
        /// The private key, which has no passphrase.
        key: Utf8PathBuf,
        /// The hosts that are known; without it, those of the server's user.
        known_hosts: Option<Utf8PathBuf>,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password { .. } => "Password(…)",
            Self::SshKey { .. } => "SshKey(…)",
        })
    }
}

/// What came of a push.
#[derive(Debug)]
pub(super) enum Pushed {
    Done,
    /// The remote is somewhere else by now.
    Rejected(Failure),
    /// Whether it has arrived is not known.
    Unreachable(Failure),
    /// The remote does not take it.
    Refused(Failure),
}

impl ConfigRepository {
    /// Brings the copy to where the remote's branch is.
    pub(super) fn fetch(&mut self) -> Result<()> {
        self.is_current = false;
        let tracking = self.tracking();
        self.fetch_into(&tracking)?;
        self.tip = self.resolve(&tracking)?;
        self.is_current = true;
        Ok(())
    }

    /// Lets a name of the copy's own lead to where the remote's branch is, and no other one.
    pub(super) fn fetch_into(&self, name: &str) -> Result<()> {
        let refspec = format!("+refs/heads/{}:{name}", self.settings.branch);
        let program = self.outside().args(["fetch", "--quiet", "--no-tags", "--no-auto-maintenance"]).args([
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--refmap=",
            "--",
            "origin",
            &refspec,
        ]);
        let program = program.contained(FETCH_TIMEOUT);
        let output = program.output()?;
        if !output.status.success() {
            let complaint = output.complaint();
            if !complaint.contains("couldn't find remote ref") {
                return Err(self.classify(&output, &program).into_failure());
            }
            // The branch has no commit yet, or has none any more.
            self.git().args(["update-ref", "-d", name]).read()?;
        }
        Ok(())
    }

    /// Pushes a commit that follows the last known tip. Afterwards the copy is there too.
    pub(super) fn push(&mut self, id: Id, commits: usize) -> Result<Pushed> {
        let refspec = format!("{id}:refs/heads/{}", self.settings.branch);
        let mut program = self.outside();
        if commits >= MANY {
            program = program.args(["-c", "pack.window=0"]);
        }
        let program = program.args(["push", "--porcelain", "--no-verify", "--", "origin", &refspec]);
        let program = program.contained(PUSH_TIMEOUT);
        let pushed = match program.output() {
            Err(failure) if failure.code() == Code::CommandTimeout => Pushed::Unreachable(failure),
            output => {
                let output = output?;
                if output.status.success() { Pushed::Done } else { self.classify(&output, &program) }
            }
        };
        self.is_current = matches!(pushed, Pushed::Done);
        if self.is_current {
            self.tip = Some(id);
        }
        Ok(pushed)
    }

    /// The commit that a name leads to.
    pub(super) fn resolve(&self, name: &str) -> Result<Option<Id>> {
        let program = self.git().args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
        let output = program.arg(format!("{name}^{{commit}}")).output()?;
        Ok(output.text().parse().ok().filter(|_| output.status.success()))
    }

    /// Git with a way to the remote.
    fn outside(&self) -> Program {
        let settings = &self.settings;
        let fetch = format!("+refs/heads/{}:{}", settings.branch, self.tracking());
        let mut configuration = vec![
            ("remote.origin.url", settings.address.clone()),
            ("remote.origin.fetch", fetch),
            ("credential.helper", String::new()),
            ("gc.auto", "0".to_owned()),
            ("maintenance.auto", "false".to_owned()),
            ("http.followRedirects", "false".to_owned()),
            // A host that says nothing for a minute is gone.
            ("http.lowSpeedLimit", "1".to_owned()),
            ("http.lowSpeedTime", "60".to_owned()),
            // A pack that is sent in pieces costs a question more.
            ("http.postBuffer", (16 << 20).to_string()),
        ];
        let mut program = self.git().env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh").env("GIT_ASKPASS", "");
        let mut ssh = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=20".to_owned();
        match &settings.credentials {
            Credentials::None => {}
            Credentials::Password { user, password } => {
                let encoded = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
                configuration.push(("http.extraHeader", format!("Authorization: Basic {encoded}")));
            }
            Credentials::SshKey { key, known_hosts } => {
                ssh.push_str(&format!(" -o IdentitiesOnly=yes -i {}", quoted(key.as_str())));
                if let Some(known_hosts) = known_hosts {
                    let option = format!("UserKnownHostsFile={known_hosts}");
                    ssh.push_str(&format!(" -o StrictHostKeyChecking=yes -o {}", quoted(&option)));
                }
            }
        }
        program = program.env("GIT_SSH_COMMAND", ssh).env("GIT_CONFIG_COUNT", configuration.len().to_string());
        for (number, (key, value)) in configuration.iter().enumerate() {
            program = program.env(format!("GIT_CONFIG_KEY_{number}"), key);
            program = program.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        program
    }

    fn classify(&self, output: &Output, program: &Program) -> Pushed {
        let printed = String::from_utf8_lossy(&output.stdout);
        let verdict = printed.lines().find_map(|line| line.strip_prefix("!\t"));
        let complaint = output.complaint();
        let address = safe_line(&self.settings.address);
        let failure = |code, message: String| {
            let cause = verdict.map_or_else(|| complaint.clone(), |verdict| told(verdict, &complaint));
            Failure::new(code, message).subject(address.clone()).because(cause)
        };
        match verdict.map(Verdict::of) {
            Some(Verdict::Moved) => {
                Pushed::Rejected(failure(Code::PushRejected, format!("`{address}` moved on before the push arrived")))
            }
            Some(Verdict::Declined) => Pushed::Refused(
                failure(Code::PushRefused, format!("`{address}` does not take the push"))
                    .hint("see what the host's rules for the branch demand"),
            ),
            None if is_doubtful(&complaint) => Pushed::Refused(
                failure(Code::RemoteForbidden, format!("whether `{address}` is the right host is not known"))
                    .hint("see whether its key is among the known hosts, or its certificate that of a known authority"),
            ),
            None if is_forbidden(&complaint) => Pushed::Refused(
                failure(Code::RemoteForbidden, format!("`{address}` does not let the server in"))
                    .hint("check the credentials, and what they are allowed to do"),
            ),
            None if output.status.code().is_some() => {
                Pushed::Unreachable(failure(Code::RemoteUnavailable, format!("`{address}` cannot be reached")))
            }
            None => Pushed::Unreachable(program.ended(output)),
        }
    }
}

impl Pushed {
    fn into_failure(self) -> Failure {
        match self {
            Self::Rejected(failure) | Self::Unreachable(failure) | Self::Refused(failure) => failure,
            Self::Done => Failure::new(Code::CommandFailed, "git failed and did not say why"),
        }
    }
}

/// What the remote says of the branch.
enum Verdict {
    Moved,
    Declined,
}

impl Verdict {
    fn of(line: &str) -> Self {
        // Who comes second is told so in one of these ways, by git and by the hosts.
        const MOVED: [&str; 9] = [
            "[rejected]",
            "fetch first",
            "non-fast-forward",
            "stale info",
            "failed to update ref",
            "failed to lock",
            "cannot lock ref",
            "incorrect old value",
            "reference already exists",
        ];
        if MOVED.iter().any(|word| line.contains(word)) { Self::Moved } else { Self::Declined }
    }
}

/// The verdict in its brackets, and the lines that the host has printed.
fn told(verdict: &str, complaint: &str) -> String {
    let verdict = verdict.split('\t').nth(1).unwrap_or(verdict);
    let said = complaint.lines().filter(|line| line.starts_with("remote:") && line.len() > "remote: ".len());
    let lines: Vec<_> = std::iter::once(safe_line(verdict)).chain(said.map(str::to_owned)).collect();
    lines.join("\n")
}

/// Whether nothing was said to a host, because it may be another one.
fn is_doubtful(complaint: &str) -> bool {
    // The second is that of a git with OpenSSL, the third of one with GnuTLS, as Debian's is.
    const WORDS: [&str; 5] = [
        "host key verification failed",
        "ssl certificate problem",
        "certificate verification failed",
        "no alternative certificate subject name matches",
        "certificate subject name",
    ];
    let complaint = complaint.to_ascii_lowercase();
    WORDS.iter().any(|word| complaint.contains(word))
}

fn is_forbidden(complaint: &str) -> bool {
    const WORDS: [&str; 8] = [
        "authentication failed",
        "permission denied",
        "could not read username",
        "could not read password",
        "repository not found",
        "does not appear to be a git repository",
        "error: 403",
        "access denied",
    ];
    let complaint = complaint.to_ascii_lowercase();
    // Over https the address stands in between.
    let is_missing = |line: &str| line.contains("repository '") && line.ends_with("not found");
    WORDS.iter().any(|word| complaint.contains(word)) || complaint.lines().any(is_missing)
}

/// An address that git takes for nothing but an address, and that has no secret in it.
pub(super) fn check_address(address: &str) -> Result<()> {
    let shown = safe_line(address);
    let invalid = |why: &str| {
        Failure::new(Code::ConfigInvalid, format!("`{shown}` cannot be a config repository: {why}"))
            .subject(shown.clone())
    };
    let has_helper = address.split('/').next().is_some_and(|start| start.contains("::"));
    if address.is_empty() || address.starts_with('-') || has_helper || address != text::shown(address) {
        return Err(invalid("it is no address"));
    }
    match address.split_once("://").map(|(scheme, _)| scheme) {
        None | Some("https" | "http" | "ssh" | "git" | "file") => {}
        Some(_) => return Err(invalid("it is neither https nor ssh")),
    }
    if address != text::without_credentials(address) {
        return Err(invalid("there are credentials in it").hint("give user and password apart from the address"));
    }
    Ok(())
}

/// A word as the shell reads it that git starts ssh with.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_nothing_but_an_address() {
        for wrong in [
            "",
            "--upload-pack=x",
            "ext::sh -c x",
            "fd::17",
            "ftp://host/x",
            "https://user:password@host/x",
            "https://token@host/x",
            "ssh://user:password@host/x",
            "/a\nb",
        ] {
            assert!(check_address(wrong).is_err(), "{wrong:?}");
        }
        for right in ["https://host/x.git", "git@host:x/y", "ssh://git@host:22/x", "/srv/x.git", "git://host/x"] {
            assert!(check_address(right).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn what_is_a_race_is_told_from_what_is_a_rule() {
        for moved in [
            "a:refs/heads/main\t[rejected] (fetch first)",
            "a:refs/heads/main\t[rejected] (non-fast-forward)",
            "a:refs/heads/main\t[remote rejected] (failed to update ref)",
            "a:refs/heads/main\t[remote rejected] (cannot lock ref 'refs/heads/main': is at 1 but expected 2)",
            "a:refs/heads/main\t[remote rejected] (incorrect old value provided)",
        ] {
            assert!(matches!(Verdict::of(moved), Verdict::Moved), "{moved}");
        }
        for declined in [
            "a:refs/heads/main\t[remote rejected] (pre-receive hook declined)",
            "a:refs/heads/main\t[remote rejected] (protected branch hook declined)",
        ] {
            assert!(matches!(Verdict::of(declined), Verdict::Declined), "{declined}");
        }
    }

    #[test]
    fn a_host_that_does_not_let_in_is_told_from_one_that_may_be_another_and_from_one_that_is_away() {
        for (complaint, is_in_doubt, is_let_in) in [
            ("git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.", false, false),
            ("fatal: could not read Username for 'https://host': terminal prompts disabled", false, false),
            ("fatal: Authentication failed for 'https://host/x.git/'", false, false),
            ("fatal: unable to access 'https://host/x.git/': The requested URL returned error: 403", false, false),
            ("remote: Repository not found.\nfatal: repository 'https://host/x.git/' not found", false, false),
            ("fatal: repository 'https://host/x.git/' not found", false, false),
            ("fatal: '/srv/x.git' does not appear to be a git repository", false, false),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", true, true),
            ("fatal: unable to access 'https://host/x/': SSL certificate problem: certificate has expired", true, true),
            ("server certificate verification failed. CAfile: none CRLfile: none", true, true),
            ("ssh: connect to host host port 22: Connection refused", false, true),
            ("fatal: unable to access 'https://host/x/': Could not resolve host: host", false, true),
            ("fatal: the remote end hung up unexpectedly", false, true),
        ] {
            assert_eq!((is_doubtful(complaint), !is_forbidden(complaint)), (is_in_doubt, is_let_in), "{complaint}");
        }
    }

    #[test]
    fn a_path_stays_one_word() {
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\\''s'");
    }
}
