//! The environment variables that mean something to Consign: their names, what they mean, and the
//! only place where the environment is read.
//!
//! [`Environment`] is a snapshot of these names alone. Of whatever else the environment holds, only what
//! looks like a secret is taken in, to be kept from being printed ([`Secrets`]).

#![expect(clippy::disallowed_methods, reason = "this is the one home of the environment")]

use std::collections::{BTreeMap, BTreeSet};

use super::secrets::Secrets;

macro_rules! variables {
    ($($name:ident = $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = stringify!($name);)*

        /// Every variable that is read, with its meaning, in the order of the documentation.
        pub const ALL: &[Variable] = &[$(Variable { name: $name, meaning: $meaning },)*];
    };
}

/// A variable that is read.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// One sentence on what it does.
    pub meaning: &'static str,
}

variables! {
    CONSIGN_VERSION = "The release version or tag.";
    CONSIGN_PLATFORMS = "The platforms, separated by commas or spaces.";
    CONSIGN_DIST = "The directory that everything is written to.";
    CONSIGN_PUBLISH_PROVIDER = "The kind of place to publish to: `directory` or `github`.";
    CONSIGN_PUBLISH_TARGET = "The place to publish to: a directory, or a repository on GitHub (`owner/repository`).";
    CONSIGN_RUN_PUBLISH = "`0` keeps a release run from publishing, `1` asks for it.";
    CONSIGN_HTTP_TIMEOUT = "How many seconds a server may be silent, or slower than 1 kB/s, while something is installed [default: 30]";
    CONSIGN_REMOTE_BASE_URL = "Where what was published can be fetched from.";
    CONSIGN_SIGNING_KEY = "The private key to sign with: a path, or the PEM text itself.";
    CONSIGN_SIGNING_PUBKEY = "The public half that the signing key has to have: a path, or the PEM text itself.";
    CONSIGN_CATALOG_KEY = "A private key for the catalog, a path or the PEM text itself; set, publishing adds each version to the catalog.";
    CONSIGN_KEY_PASSPHRASE = "The passphrase of an encrypted private key.";
    CONSIGN_VERIFY_PUBKEY = "A public key to verify with, a path or the PEM text itself; set, it makes every verification demand signatures.";
    CONSIGN_REQUIRE_SIGNATURES = "`1` makes every verification demand signatures.";
    GH_TOKEN = "The token for github.com, and for the server that `GH_HOST` or the workflow names.";
    GITHUB_TOKEN = "The same, if `GH_TOKEN` is not set.";
    GH_ENTERPRISE_TOKEN = "The token for a GitHub Enterprise server.";
    GITHUB_ENTERPRISE_TOKEN = "The same, if `GH_ENTERPRISE_TOKEN` is not set.";
    GH_HOST = "The GitHub server that is meant where a target names none [default: github.com].";
    CONSIGN_SERVER = "The address of the artifact registry.";
    CONSIGN_TOKEN = "The token for the artifact registry.";
    CONSIGN_CLIENT_ID = "Whom a provider of identities knows a machine as, for `consign login --client-credentials`.";
    CONSIGN_CLIENT_SECRET = "The secret of that machine.";
    CONSIGN_AUDIENCE = "For whom a workflow run asks for its token [default: the address of the artifact registry].";
    ACTIONS_ID_TOKEN_REQUEST_URL = "Where a workflow run asks for a token that says which run it is.";
    ACTIONS_ID_TOKEN_REQUEST_TOKEN = "What it asks with.";
    CONSIGN_REGISTER = "The address of the registry that what was published becomes an artifact of.";
    CONSIGN_SERVER_DATA = "The data directory of `consign-server`.";
    CONSIGN_SERVER_DATABASE = "The address of a PostgreSQL database for `consign-server`, in the place of the embedded one.";
    CONSIGN_SERVER_BLOBS = "Where `consign-server` keeps blobs: a directory, or `s3://BUCKET/PREFIX`.";
    AWS_ENDPOINT_URL_S3 = "The address of the S3-compatible store of the blobs [default: that of AWS in the region].";
    AWS_ENDPOINT_URL = "The same, if `AWS_ENDPOINT_URL_S3` is not set.";
    AWS_REGION = "The region of the bucket of the blobs [default: us-east-1].";
    AWS_DEFAULT_REGION = "The same, if `AWS_REGION` is not set.";
    AWS_ACCESS_KEY_ID = "Who asks for the bucket of the blobs.";
    AWS_SECRET_ACCESS_KEY = "The secret that belongs to `AWS_ACCESS_KEY_ID`.";
    AWS_SESSION_TOKEN = "What belongs to `AWS_ACCESS_KEY_ID` where it is only lent.";
    CONSIGN_SERVER_MANAGE = "The file with the environments that `consign-server` manages.";
    CONSIGN_SERVER_LISTEN = "The address on which `consign-server` answers.";
    CONSIGN_SERVER_METRICS = "The address on which `consign-server` answers operators.";
    CONSIGN_WEBHOOK_GITHUB_SECRET = "The secret that GitHub signs its events with; without one `consign-server` has no address for them.";
    CONSIGN_WEBHOOK_FLUX_SECRET = "The same for the notification controller of Flux.";
    CONSIGN_WEBHOOK_DAEMON_SECRET = "The same for the daemons of clusters, which may also send it as a bearer token.";
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "Where `consign-server` sends traces by OTLP (HTTP with Protocol Buffers).";
    OTEL_EXPORTER_OTLP_ENDPOINT = "The same, without `/v1/traces` at its end.";
    SOURCE_DATE_EPOCH = "The time stamp of everything packaged, in seconds since 1970.";
    GITHUB_REF = "The full ref of the workflow run, which the version guard compares.";
    GITHUB_REF_NAME = "The short ref of the workflow run, which the version guard compares.";
    GITHUB_SERVER_URL = "The forge of the workflow run, a part of the invocation id, and where targets are that name no server.";
    GITHUB_API_URL = "The API of that forge.";
    GITHUB_REPOSITORY = "The repository of the workflow run, a part of the invocation id, and the default target on GitHub.";
    GITHUB_RUN_ID = "The number of the workflow run, a part of the invocation id.";
    GITHUB_RUN_ATTEMPT = "The attempt of the workflow run, a part of the invocation id.";
    CI_JOB_URL = "The page of the run on GitLab, for the record of an artifact.";
    BUILDKITE_BUILD_URL = "The same on Buildkite.";
    CIRCLE_BUILD_URL = "The same on CircleCI.";
    BUILD_URL = "The same on Jenkins.";
    GITHUB_OUTPUT = "The file that `plan` appends `tag`, `version`, `commit` and `matrix` to.";
    GITHUB_STEP_SUMMARY = "The file that the release summary is appended to.";
    CARGO = "The cargo to run; set by cargo itself.";
    RUSTC = "The compiler to ask for its version.";
    PATH = "Where programs are looked for.";
    CARGO_HOME = "Cargo's home, whose path is kept out of what is built.";
    HOME = "The home directory, whose path is kept out of what is built.";
    XDG_STATE_HOME = "Where `consign` keeps what was seen of catalogs, and by whom an installed product was verified [default: `~/.local/state`].";
    LOCALAPPDATA = "The same on Windows.";
    RUSTFLAGS = "Flags of the user's own for the compiler, kept beside those of Consign.";
    CARGO_ENCODED_RUSTFLAGS = "The same, in cargo's own form.";
    CARGO_TARGET_DIR = "Cargo's target directory, if it is not the workspace's.";
    CARGO_BUILD_RUSTFLAGS = "Flags of the user's own for the compiler, as cargo's configuration has them.";
    CFLAGS = "Flags of the user's own for C compilers, kept beside those of Consign.";
    CXXFLAGS = "The same for C++ compilers.";
    TARGET_CFLAGS = "The same for C, for the target alone.";
    TARGET_CXXFLAGS = "The same for C++, for the target alone.";
    DOCKER_HOST = "Where the container engine listens [default: the usual sockets of Docker, then those of Podman].";
    XDG_RUNTIME_DIR = "Where the sockets of rootless container engines are looked for.";
    CI = "Set on build servers: progress is printed as plain lines.";
    NO_COLOR = "Set to anything: no colours.";
    TERM = "`dumb`: progress is printed as plain lines.";
}

/// The variables of [`ALL`] that are set, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    unreadable: Vec<String>,
    unknown: Vec<String>,
    secrets: Secrets,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Self {
        Self::of(std::env::vars_os())
    }

    /// Takes what is known from a list of names and values. An empty value counts as not set, for
    /// that is how workflows hand on what they do not have.
    pub fn of<S: Into<std::ffi::OsString>>(pairs: impl IntoIterator<Item = (S, S)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let (Ok(name), value) = (name.into().into_string(), value.into()) else { continue };
            if value.is_empty() {
                continue;
            }
            if Secrets::is_named_so(&name) {
                environment.secrets.add(&name, &value.to_string_lossy());
            }
            if ALL.iter().any(|variable| variable.name == name) || is_of_target(&name) {
                match value.into_string() {
                    Ok(value) => drop(environment.values.insert(name, value)),
                    Err(_) => environment.unreadable.push(name),
                }
            } else if name.starts_with("CONSIGN_") && !name.starts_with("CONSIGN_TEST_") {
                environment.unknown.push(name);
            }
        }
        environment
    }

    /// The value of a variable, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The variables that bear on a build: where cargo and rustc are, and the user's own flags.
    pub fn of_builds(&self) -> BTreeMap<String, String> {
        let fixed = [
            CARGO,
            RUSTC,
            PATH,
            CARGO_HOME,
            HOME,
            RUSTFLAGS,
            CARGO_ENCODED_RUSTFLAGS,
            CARGO_BUILD_RUSTFLAGS,
            CFLAGS,
            CXXFLAGS,
            TARGET_CFLAGS,
            TARGET_CXXFLAGS,
        ];
        let bears = |name: &str| fixed.contains(&name) || is_of_target(name);
        self.values.iter().filter(|(name, _)| bears(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What looks like a secret, known or not.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The known names whose values are not text.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// The names that start with `CONSIGN_` and mean nothing.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

/// The values of variables that a user names, for what is handed on and never shown.
pub fn named(names: &BTreeSet<String>) -> Vec<(String, Option<String>)> {
    names.iter().map(|name| (name.clone(), std::env::var(name).ok().filter(|value| !value.is_empty()))).collect()
}

/// Names that hold a target triple or a profile: `CARGO_TARGET_<TRIPLE>_LINKER`, `CFLAGS_<triple>`,
/// `CARGO_PROFILE_<NAME>_LTO`…
fn is_of_target(name: &str) -> bool {
    let of_cargo = name
        .strip_prefix("CARGO_TARGET_")
        .is_some_and(|rest| rest.ends_with("_LINKER") || rest.ends_with("_RUSTFLAGS"));
    let of_profile = name.starts_with("CARGO_PROFILE_");
    of_cargo || of_profile || name.starts_with("CFLAGS_") || name.starts_with("CXXFLAGS_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_known_names_is_taken_in() {
        let environment = Environment::of([
            ("CONSIGN_VERSION", "v1.0.0"),
            ("CONSIGN_VERSON", "canary"),
            ("TOKEN", "canary"),
            ("CONSIGN_DIST", ""),
        ]);
        assert_eq!(environment.get(CONSIGN_VERSION), Some("v1.0.0"));
        assert_eq!(environment.get(CONSIGN_DIST), None);
        assert_eq!(environment.unknown(), ["CONSIGN_VERSON"]);
        assert!(!format!("{environment:?}").contains("canary"));
    }
}
