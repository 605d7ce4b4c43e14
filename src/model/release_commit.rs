//! What a commit of a config repository says of a release: written, and read again.
//!
//! The main item is [`ReleaseCommit`]. The form is that of lunarway's release manager, so that its tools read
//! our history and we read theirs, subjects without trailers included. [`Message`] is the general form below
//! it: a subject, a description and trailers. Nothing here knows git.

use std::fmt;

use super::artifact::Person;
use super::intent::Intent;

const SERVICE: &str = "Service";
const ENVIRONMENT: &str = "Environment";
const ARTIFACT_ID: &str = "Artifact-ID";
const RELEASED_BY: &str = "Artifact-released-by";
const CREATED_BY: &str = "Artifact-created-by";
const INTENT: &str = "Release-intent";
const BRANCH: &str = "Release-of-branch";
const FROM_ENVIRONMENT: &str = "Promoted-from-environment";
const PREVIOUS: &str = "Rollback-of-artifact-id";

/// One release, as the history of a config repository has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseCommit {
    /// Where to.
    pub environment: String,
    /// What.
    pub service: String,
    /// Which of it.
    pub artifact_id: String,
    /// Who released it. Old commits know no name.
    pub released_by: Person,
    /// Who wrote what the artifact was built from. Old commits do not know it: both texts are empty.
    pub created_by: Person,
    /// Why.
    pub intent: Intent,
}

impl ReleaseCommit {
    /// Reads a commit's message. Nothing, where it is not one of a release.
    pub fn parse(message: &str) -> Option<Self> {
        let message = Message::parse(message);
        let subject = Subject::parse(&message.subject)?;
        let trailer = |key: &str| message.get(key).filter(|value| !value.is_empty());
        let person = |key: &str| trailer(key).and_then(parse_person).unwrap_or_else(nobody);
        let mut released_by = person(RELEASED_BY);
        if released_by == nobody() {
            released_by = Person { name: String::new(), email: subject.by.to_owned() };
        }
        Some(Self {
            environment: trailer(ENVIRONMENT).unwrap_or(subject.environment).to_owned(),
            service: trailer(SERVICE).unwrap_or(subject.service).to_owned(),
            artifact_id: trailer(ARTIFACT_ID).unwrap_or(subject.artifact_id).to_owned(),
            released_by,
            created_by: person(CREATED_BY),
            intent: intent_of(&message, &subject),
        })
    }

    /// The message of a commit, which more trailers may be added to.
    pub fn message(&self) -> Message {
        let deed = match self.intent {
            Intent::Rollback { .. } => "rollback",
            Intent::AutoRelease => "auto release",
            _ => "release",
        };
        let Self { environment, service, artifact_id, released_by, created_by, .. } = self;
        // Who has no address has a name: that of a token, or of a policy.
        let by = if released_by.email.is_empty() { &released_by.name } else { &released_by.email };
        let subject = format!("[{environment}/{service}] {deed} {artifact_id} by {by}");
        let mut message = Message { subject: one_line(&subject), ..Message::default() };
        message.set(SERVICE, service);
        message.set(ENVIRONMENT, environment);
        message.set(ARTIFACT_ID, artifact_id);
        message.set(RELEASED_BY, &format!("{} <{}>", released_by.name, released_by.email));
        message.set(CREATED_BY, &format!("{} <{}>", created_by.name, created_by.email));
        match &self.intent {
            Intent::ReleaseArtifact => message.set(INTENT, "ReleaseArtifact"),
            Intent::AutoRelease => message.set(INTENT, "AutoRelease"),
            Intent::ReleaseBranch { branch } => {
                message.set(INTENT, "ReleaseBranch");
                message.set(BRANCH, branch);
            }
            Intent::Promote { from_environment } => {
                message.set(INTENT, "Promote");
                message.set(FROM_ENVIRONMENT, from_environment);
            }
            Intent::Rollback { previous_artifact_id } => {
                message.set(INTENT, "Rollback");
                message.set(PREVIOUS, previous_artifact_id);
            }
        }
        message
    }

    /// Whether it released this service to this environment. Whole names are compared, in any case.
    pub fn concerns(&self, environment: &str, service: &str) -> bool {
        is_same(&self.environment, environment) && is_same(&self.service, service)
    }

    /// Whether it released this artifact. Whole ids are compared, in any case.
    pub fn is_of(&self, artifact_id: &str) -> bool {
        is_same(&self.artifact_id, artifact_id)
    }
}

/// As it stands in the history.
impl fmt::Display for ReleaseCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message().fmt(f)
    }
}

/// What changed in a service's policies, as a commit says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyChange<'a> {
    /// What is released by itself to an environment.
    AutoRelease(&'a str),
    /// Which branches an environment takes.
    BranchRestriction(&'a str),
    /// Some were taken away.
    Deletion,
}

impl PolicyChange<'_> {
    /// The message of the commit.
    pub fn message(self, service: &str) -> Message {
        let what = match self {
            Self::AutoRelease(environment) => format!("apply auto-release in '{environment}'"),
            Self::BranchRestriction(environment) => format!("apply branch-restriction in '{environment}'"),
            Self::Deletion => "delete policies".to_owned(),
        };
        Message::of(&format!("[{service}] policy update: {what}"))
    }
}

/// A commit's message: a subject, a description and trailers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub subject: String,
    /// What stands between it and the trailers, without the empty lines around it.
    pub description: String,
    /// The trailers in their order.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// A message with a subject only.
    pub fn of(subject: &str) -> Self {
        Self { subject: one_line(subject), ..Self::default() }
    }

    /// Reads any message at all: what is no trailer is description.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_end_matches('\n');
        let (subject, rest) = text.split_once('\n').unwrap_or((text, ""));
        let lines: Vec<_> = rest.split('\n').collect();
        let from = lines.iter().rposition(|line| trailer(line).is_none()).map_or(0, |last| last + 1);
        Self {
            subject: subject.to_owned(),
            description: lines[..from].join("\n").trim_matches('\n').to_owned(),
            trailers: lines[from..].iter().filter_map(|line| trailer(line)).collect(),
        }
    }

    /// The value of a trailer.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.trailers.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Sets a trailer: in its place if it is there, else behind the others.
    pub fn set(&mut self, key: &str, value: &str) {
        let value = one_line(value);
        match self.trailers.iter_mut().find(|(known, _)| known == key) {
            Some((_, there)) => *there = value,
            None => self.trailers.push((key.to_owned(), value)),
        }
    }
}

/// As it stands in a commit: with an empty line between the parts, and a line feed at the end.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.subject)?;
        if !self.description.is_empty() {
            writeln!(f, "\n{}", self.description)?;
        }
        if !self.trailers.is_empty() {
            writeln!(f)?;
        }
        self.trailers.iter().try_for_each(|(key, value)| writeln!(f, "{key}: {value}"))
    }
}

/// What a subject says by itself.
struct Subject<'a> {
    environment: &'a str,
    service: &'a str,
    deed: Deed,
    /// What was there before, which the oldest rollbacks name.
    previous: Option<&'a str>,
    artifact_id: &'a str,
    /// An address; empty in the oldest commits.
    by: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Release,
    AutoRelease,
    Rollback,
}

impl<'a> Subject<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, deed) = line.strip_prefix('[')?.split_once("] ")?;
        let (environment, service) = place.split_once('/')?;
        let known = [("release ", Deed::Release), ("auto release ", Deed::AutoRelease), ("rollback ", Deed::Rollback)];
        let (rest, deed) = known.into_iter().find_map(|(word, known)| Some((deed.strip_prefix(word)?, known)))?;
        let (what, by) = rest.split_once(" by ").unwrap_or((rest, ""));
        let (previous, artifact_id) = match what.split_once(" to ") {
            Some((previous, artifact_id)) if deed == Deed::Rollback => (Some(previous), artifact_id),
            _ => (None, what),
        };
        let is_word = |word: &str| !word.is_empty() && !word.contains(' ');
        let is_good =
            !environment.is_empty() && !service.is_empty() && previous.is_none_or(is_word) && is_word(artifact_id);
        is_good.then_some(Self { environment, service, deed, previous, artifact_id, by })
    }
}

fn intent_of(message: &Message, subject: &Subject<'_>) -> Intent {
    let trailer = |key| message.get(key).unwrap_or_default().to_owned();
    match message.get(INTENT) {
        Some("ReleaseBranch") => Intent::ReleaseBranch { branch: trailer(BRANCH) },
        Some("Promote") => Intent::Promote { from_environment: trailer(FROM_ENVIRONMENT) },
        Some("Rollback") => Intent::Rollback { previous_artifact_id: trailer(PREVIOUS) },
        Some("AutoRelease") => Intent::AutoRelease,
        // Commits from before there was an intent say it in the subject only.
        _ => match subject.deed {
            Deed::Release => Intent::ReleaseArtifact,
            Deed::AutoRelease => Intent::AutoRelease,
            Deed::Rollback => {
                Intent::Rollback { previous_artifact_id: subject.previous.unwrap_or_default().to_owned() }
            }
        },
    }
}

fn parse_person(text: &str) -> Option<Person> {
    let (name, email) = text.strip_suffix('>')?.split_once('<')?;
    Some(Person { name: name.trim().to_owned(), email: email.to_owned() })
}

fn nobody() -> Person {
    Person { name: String::new(), email: String::new() }
}

fn trailer(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    is_key.then(|| (key.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()))
}

/// A value that cannot become a second line, and with it a second trailer.
fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn is_same(one: &str, other: &str) -> bool {
    !other.is_empty() && one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests;
