//! The matrix: which services there are, what each is made of, and what is expected of it.
//!
//! These are resolved values. The file is read in `config::smoke_matrix`; [`Matrix::select`] takes a
//! part of it, and whatever that part needs.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use camino::Utf8PathBuf;
use regex::Regex;
use serde::Serialize;

use crate::model::failure::Result;
use crate::model::text::shown;
use crate::model::{Code, Failure, Platform};

/// Services, and what they share.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The file, as it is shown.
    pub file: String,
    /// How many services may be at work at once; nothing: as many as there are processors.
    pub jobs: Option<usize>,
    /// The services in the order of their names.
    pub services: BTreeMap<ServiceName, Service>,
}

/// A service's name: `[a-z0-9]`, then `[a-z0-9-]`, 40 bytes at most. It is the name of its log and of
/// its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServiceName(String);

/// The longest name of a service, in bytes.
const MAX_NAME_BYTES: usize = 40;

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let good = text.len() <= MAX_NAME_BYTES
            && text.bytes().all(|byte| word(byte) || byte == b'-')
            && text.bytes().next().is_some_and(word)
            && text.bytes().next_back().is_some_and(word);
        if good {
            return Ok(Self(text.to_owned()));
        }
        let text: String = text.chars().take(80).collect();
        Err(Failure::new(Code::ConfigInvalid, format!("`{}` cannot be the name of a service", shown(&text))).hint(
            "a name is made of a-z, 0-9 and hyphens, 40 characters at most, for it is a host's name and a file's",
        ))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One service: one container, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Words to select it by.
    pub labels: BTreeSet<String>,
    /// Where its image comes from.
    pub source: Source,
    /// What the container runs on, if that matters.
    pub platform: Option<Platform>,
    /// What to do where the engine cannot run that.
    pub without_emulation: WithoutEmulation,
    /// The services that have to be healthy first.
    pub needs: BTreeSet<ServiceName>,
    /// Commands that have to succeed before anything else.
    pub setup: Vec<Vec<String>>,
    /// What runs all the time; nothing: what the image says.
    pub run: Vec<String>,
    /// Commands that are run once the service is healthy.
    pub commands: Vec<Vec<String>>,
    /// Variables.
    pub environment: BTreeMap<String, String>,
    /// Values that are never shown.
    pub secrets: Vec<String>,
    /// The user to run as.
    pub user: Option<String>,
    /// Whether the bundle is put at `/bundle`.
    pub has_bundle: bool,
    /// What is served to it.
    pub serve: Option<Serve>,
    /// What the last command, or the service itself, has to end with.
    pub exit_code: i64,
    /// Texts that have to stand on a line of the output.
    pub output: Vec<String>,
    /// Patterns that a line of the output has to match.
    pub output_matches: Vec<Regex>,
    /// Files that have to be there in the end.
    pub files: Vec<String>,
    /// Questions that tell whether it is healthy.
    pub probes: Vec<Probe>,
    /// What it is connected to.
    pub network: Network,
    /// Capabilities to keep.
    pub capabilities: Vec<String>,
    /// What it may use.
    pub limits: Limits,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// By its name.
    Image {
        /// The name, with a tag or a digest.
        name: String,
        /// Whether to ask its registry.
        pull: Pull,
    },
    /// From a file: what `docker save` wrote, or a root directory.
    Tar(Utf8PathBuf),
    /// From a Dockerfile.
    Dockerfile {
        /// The file.
        path: Utf8PathBuf,
        /// The directory that is sent with it.
        context: Option<Utf8PathBuf>,
        /// Build arguments.
        arguments: BTreeMap<String, String>,
        /// What the build argument `BASE` is to be.
        base: Option<Box<Source>>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { name, .. } => f.write_str(name),
            Self::Tar(path) | Self::Dockerfile { path, .. } => f.write_str(path.file_name().unwrap_or_default()),
        }
    }
}

/// Whether to ask a registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// If the engine does not have it.
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// What to do with a service that the engine cannot run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutEmulation {
    /// Nothing is run at all.
    #[default]
    Fail,
    /// It is left out, and the report says so.
    Skip,
}

/// What is served to a container, as its own server would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Serve {
    /// The files of the bundle, over https.
    Bundle,
}

/// What a service is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// To the services that it needs or that need it, and outwards.
    #[default]
    Bridge,
    /// To nothing.
    None,
}

/// A question that tells whether a service is healthy.
#[derive(Clone, Debug)]
pub struct Probe {
    /// What is asked.
    pub question: Question,
    /// How often it is asked before the service counts as ill.
    pub tries: u32,
    /// The pause between.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What a probe asks.
#[derive(Clone, Debug)]
pub enum Question {
    /// `GET` over HTTP.
    Http {
        /// The port of the container.
        port: u16,
        /// The path.
        path: String,
        /// The status that is expected.
        status: u16,
        /// Texts that have to be in the answer.
        contains: Vec<String>,
    },
    /// A command in the container, which has to succeed.
    Command(Vec<String>),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { port, path, .. } => write!(f, "GET :{port}{}", shown(path)),
            Self::Command(words) => f.write_str(&shown(&words.join(" "))),
        }
    }
}

/// What a service may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From its start to its end.
    pub time: Duration,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in thousandths of one processor.
    pub cpu_millis: u64,
    /// Processes.
    pub max_pids: u64,
    /// How much of its output is kept, in bytes.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(300),
            memory_bytes: 512 << 20,
            cpu_millis: 1000,
            max_pids: 256,
            log_bytes: 256 << 20,
        }
    }
}

impl Service {
    /// Whether it is there for as long as it is asked, and not until it ends by itself.
    pub fn stays(&self) -> bool {
        !self.probes.is_empty() || !self.run.is_empty() && !self.commands.is_empty()
    }

    /// Whether it needs the bundle, in whatever way.
    pub fn wants_bundle(&self) -> bool {
        self.has_bundle || self.serve == Some(Serve::Bundle)
    }

    /// The ports that have to be reachable from here.
    pub fn ports(&self) -> BTreeSet<u16> {
        let port = |probe: &Probe| match probe.question {
            Question::Http { port, .. } => Some(port),
            Question::Command(_) => None,
        };
        self.probes.iter().filter_map(port).collect()
    }
}

/// The label of services that run once more on what was published.
pub const PUBLISHED_LABEL: &str = "published";

/// Which services are meant.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// By name; with none and no labels: all.
    pub services: Vec<String>,
    /// By label: those that have any of them.
    pub labels: Vec<String>,
}

impl Matrix {
    /// The services that are meant, and those that they need.
    pub fn select(&self, choice: &Choice) -> Result<Self> {
        let mut chosen: BTreeSet<ServiceName> = BTreeSet::new();
        for name in &choice.services {
            let Some((name, _)) = self.services.get_key_value(name.as_str()) else {
                return Err(self.unknown("service", name, self.services.keys().map(ServiceName::as_str)));
            };
            chosen.insert(name.clone());
        }
        for label in &choice.labels {
            let with = self.services.iter().filter(|(_, service)| service.labels.contains(label));
            let named: Vec<_> = with.map(|(name, _)| name.clone()).collect();
            if named.is_empty() {
                let labels: BTreeSet<_> = self.services.values().flat_map(|service| &service.labels).collect();
                return Err(self.unknown("label", label, labels.into_iter().map(String::as_str)));
            }
            chosen.extend(named);
        }
        if choice.services.is_empty() && choice.labels.is_empty() {
            return Ok(self.clone());
        }
        let mut ahead: Vec<_> = chosen.iter().cloned().collect();
        while let Some(name) = ahead.pop() {
            let needs = self.services.get(&name).map(|service| service.needs.clone()).unwrap_or_default();
            ahead.extend(needs.into_iter().filter(|needed| chosen.insert(needed.clone())));
        }
        let services = self.services.iter().filter(|(name, _)| chosen.contains(*name));
        let services = services.map(|(name, service)| (name.clone(), service.clone())).collect();
        Ok(Self { services, ..self.clone() })
    }

    /// The services that run once more on what was published, and those that they need; nothing if there are none.
    pub fn of_published(&self) -> Option<Self> {
        self.select(&Choice { labels: vec![PUBLISHED_LABEL.to_owned()], ..Choice::default() }).ok()
    }

    fn unknown<'a>(&self, what: &str, given: &str, known: impl Iterator<Item = &'a str>) -> Failure {
        let likeness = |word: &str| strsim::jaro_winkler(word, given);
        let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let failure = Failure::new(Code::Usage, format!("`{}` has no {what} `{}`", self.file, shown(given)));
        match nearest {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`? `docker-smoke list` prints all of them")),
            None => failure.hint("`docker-smoke list` prints what there is"),
        }
    }

    /// A circle of services that need each other, if there is one.
    pub fn circle(&self) -> Option<Vec<ServiceName>> {
        let mut settled = BTreeSet::new();
        for start in self.services.keys() {
            let mut path = Vec::new();
            if let Some(circle) = self.walk(start, &mut path, &mut settled) {
                return Some(circle);
            }
        }
        None
    }

    fn walk(
        &self,
        name: &ServiceName,
        path: &mut Vec<ServiceName>,
        settled: &mut BTreeSet<ServiceName>,
    ) -> Option<Vec<ServiceName>> {
        if let Some(at) = path.iter().position(|before| before == name) {
            return Some(path[at..].to_vec());
        }
        if !settled.insert(name.clone()) {
            return None;
        }
        path.push(name.clone());
        let circle = self
            .services
            .get(name)
            .and_then(|service| service.needs.iter().find_map(|needed| self.walk(needed, path, settled)));
        path.pop();
        circle
    }

    /// The services that a service is on one network with: each group of those that need each other, directly
    /// or not, by its first name. A service that stands alone is in none.
    pub fn groups(&self) -> BTreeMap<ServiceName, ServiceName> {
        let mut group: BTreeMap<ServiceName, ServiceName> = BTreeMap::new();
        let pairs = || self.services.iter().flat_map(|(name, one)| one.needs.iter().map(move |needed| (name, needed)));
        for (name, needed) in pairs() {
            let ends = [name, needed].map(|end| group.get(end).unwrap_or(end).clone());
            let (first, second) = if ends[0] <= ends[1] { (&ends[0], &ends[1]) } else { (&ends[1], &ends[0]) };
            for member in group.values_mut().filter(|leader| *leader == second) {
                member.clone_from(first);
            }
            group.insert(name.clone(), first.clone());
            group.insert(needed.clone(), first.clone());
            group.insert(second.clone(), first.clone());
        }
        group
    }
}
