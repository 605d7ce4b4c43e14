//! The release notes: a Markdown page made from a bundle's index and the history.
//!
//! The main function is [`render`]. It is pure: the same input gives the same bytes, and the only
//! date in it is the source's. Text written by strangers (subjects, scopes, names) is made safe
//! Markdown before the template sees it, so that a template of the user's own cannot forget to.

use std::collections::BTreeSet;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::model::address::Pages;
use crate::model::failure::Result;
use crate::model::index::Index;
use crate::model::{Code, Failure, markdown};
use crate::world::git::Commit;

/// The template that is used unless the user has one.
pub const TEMPLATE: &str = include_str!("../../templates/release-notes.md.j2");
/// The file's name in `dist/releases/<version>/`.
pub const FILE_NAME: &str = "release-notes.md";

/// The groups of changes, in their order, with the commit types that belong to each.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Breaking changes", &[]),
    ("Features", &["feat", "feature"]),
    ("Fixes", &["fix", "bugfix"]),
    ("Performance", &["perf"]),
    ("Documentation", &["docs", "doc"]),
    ("Other changes", &[]),
];
/// How many changes are shown; the rest is counted. A forge takes 125,000 characters.
const MAX_SHOWN: usize = 200;
/// How many breaking-change footers of one commit are shown.
const MAX_NOTES: usize = 2;
/// How many digits of a commit's id are shown.
const SHORT_ID: usize = 8;

/// What the notes are made from.
#[derive(Clone, Debug)]
pub struct NotesInput {
    /// The bundle's index.
    pub index: Index,
    /// The tag of the release before this one.
    pub previous_tag: Option<String>,
    /// The commits since then, newest first.
    pub commits: Vec<Commit>,
    /// Whether the clone is shallow, so that commits may be missing.
    pub history_is_cut_off: bool,
    /// How many signatures the bundle carries.
    pub signature_count: usize,
}

/// Everything that a template can use.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    version: String,
    tag: &'a str,
    date: &'a str,
    commit: Option<&'a str>,
    commit_link: Option<String>,
    repository: Option<&'a str>,
    dirty: bool,
    previous_tag: Option<&'a str>,
    comparison_link: Option<String>,
    history_is_cut_off: bool,
    groups: Vec<Group>,
    archives: Vec<Download<'a>>,
    contributors: BTreeSet<String>,
    signature_count: usize,
}

#[derive(Serialize)]
struct Group {
    title: &'static str,
    changes: Vec<Change>,
    /// How many are not shown.
    more: usize,
}

#[derive(Serialize)]
struct Change {
    scope: Option<String>,
    text: String,
    id: String,
    link: Option<String>,
    /// What its breaking-change footers say.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Download<'a> {
    platform: String,
    target: &'a str,
    archive: &'a str,
    size: String,
    size_bytes: u64,
    sha256: String,
}

/// Renders the notes, with the user's template or our own.
pub fn render(input: &NotesInput, template: Option<&str>) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.map_err(|error| invalid(&error))?);
    environment.add_filter("truncate_id", |id: String| short(&id).to_owned());
    let page = Value::from(Serde(Page::of(input)));
    environment.render_named_str(FILE_NAME, template.unwrap_or(TEMPLATE), page).map_err(|error| invalid(&error))
}

impl<'a> Page<'a> {
    fn of(input: &'a NotesInput) -> Self {
        let index = &input.index;
        let pages = index.source.repository.as_deref().and_then(Pages::of);
        let commit = index.source.commit.as_deref();
        let previous_tag = input.previous_tag.as_deref();
        let link = |address: String| markdown::target(&address);
        Self {
            name: index.name.as_str(),
            version: index.version.to_string(),
            tag: &index.tag,
            date: index.created_at.split('T').next().unwrap_or_default(),
            commit,
            commit_link: pages.as_ref().zip(commit).map(|(pages, id)| link(pages.commit(id))),
            repository: index.source.repository.as_deref(),
            dirty: index.source.dirty,
            previous_tag,
            comparison_link: pages
                .as_ref()
                .zip(previous_tag)
                .map(|(pages, previous)| link(pages.comparison(previous, &index.tag))),
            history_is_cut_off: input.history_is_cut_off,
            groups: groups(&input.commits, pages.as_ref()),
            archives: index.packages.iter().map(Download::of).collect(),
            contributors: contributors(&input.commits),
            signature_count: input.signature_count,
        }
    }
}

impl<'a> Download<'a> {
    fn of(package: &'a crate::model::index::Package) -> Self {
        Self {
            platform: package.platform.to_string(),
            target: &package.target,
            archive: package.archive.as_str(),
            size: size(package.size_bytes),
            size_bytes: package.size_bytes,
            sha256: package.sha256.to_string(),
        }
    }
}

fn groups(commits: &[Commit], pages: Option<&Pages>) -> Vec<Group> {
    let mut groups: Vec<_> = GROUPS.iter().map(|(title, _)| Group { title, changes: Vec::new(), more: 0 }).collect();
    for commit in commits {
        let conventional = Conventional::of(commit);
        groups[conventional.group()].changes.push(conventional.change(commit, pages));
    }
    let mut left = MAX_SHOWN;
    for group in &mut groups {
        group.more = group.changes.len().saturating_sub(left);
        group.changes.truncate(left);
        left -= group.changes.len();
    }
    groups.retain(|group| !group.changes.is_empty() || group.more > 0);
    groups
}

/// A commit's message read as the conventional commits' rules say (conventionalcommits.org 1.0.0).
struct Conventional<'a> {
    kind: Option<&'a str>,
    scope: Option<&'a str>,
    description: &'a str,
    is_breaking: bool,
    notes: Vec<String>,
}

impl<'a> Conventional<'a> {
    fn of(commit: &'a Commit) -> Self {
        let notes = breaking_notes(&commit.body);
        let plain =
            Self { kind: None, scope: None, description: &commit.subject, is_breaking: !notes.is_empty(), notes };
        let Some((head, description)) = commit.subject.split_once(": ") else { return plain };
        let (head, marked) = head.strip_suffix('!').map_or((head, false), |head| (head, true));
        let (kind, scope) = match head.strip_suffix(')').and_then(|head| head.split_once('(')) {
            Some((kind, scope)) => (kind, Some(scope.trim()).filter(|scope| !scope.is_empty())),
            None => (head, None),
        };
        let is_word = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !is_word || description.trim().is_empty() {
            return plain;
        }
        Self { kind: Some(kind), scope, description, is_breaking: plain.is_breaking || marked, notes: plain.notes }
    }

    /// Where in [`GROUPS`] it belongs.
    fn group(&self) -> usize {
        let kind = self.kind.map(str::to_ascii_lowercase);
        let named = GROUPS.iter().position(|(_, kinds)| kind.as_deref().is_some_and(|kind| kinds.contains(&kind)));
        if self.is_breaking { 0 } else { named.unwrap_or(GROUPS.len() - 1) }
    }

    fn change(&self, commit: &Commit, pages: Option<&Pages>) -> Change {
        let number = |digits: &str| pages.map(|pages| pages.number(digits));
        let nothing = |_: &str| None;
        Change {
            scope: self.scope.map(|scope| markdown::line(scope, &nothing)).filter(|scope| !scope.is_empty()),
            text: markdown::line(self.description, &number),
            id: short(&commit.id).to_owned(),
            link: pages.map(|pages| markdown::target(&pages.commit(&commit.id))),
            notes: self.notes.iter().take(MAX_NOTES).map(|note| markdown::line(note, &number)).collect(),
        }
    }
}

/// The texts of the footers `BREAKING CHANGE: …`, each to the end of its paragraph.
fn breaking_notes(body: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut open = false;
    for line in body.lines() {
        let footer = ["BREAKING CHANGE: ", "BREAKING-CHANGE: "].iter().find_map(|word| line.strip_prefix(word));
        let is_other_footer = line.split_once(": ").is_some_and(|(word, _)| !word.contains(' ') && word.contains('-'));
        match (footer, notes.last_mut()) {
            (Some(text), _) => {
                notes.push(text.to_owned());
                open = true;
            }
            (None, Some(note)) if open && !line.trim().is_empty() && !is_other_footer => {
                note.push(' ');
                note.push_str(line);
            }
            _ => open = false,
        }
    }
    notes
}

fn contributors(commits: &[Commit]) -> BTreeSet<String> {
    let names = commits.iter().map(|commit| markdown::line(&commit.author_name, &|_| None));
    names.filter(|name| !name.is_empty()).collect()
}

fn short(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// A size as people read it, in powers of ten, in whole numbers only so that it is the same everywhere.
fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

fn invalid(error: &minijinja::Error) -> Failure {
    let place = error.line().map(|line| format!(" at line {line}")).unwrap_or_default();
    Failure::new(Code::TemplateInvalid, format!("failed to render the release notes{place}"))
        .subject(FILE_NAME)
        .hint("compare the template with `templates/release-notes.md.j2`, which uses everything there is")
        .because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(subject: &str, body: &str) -> Commit {
        Commit { id: "0".repeat(40), subject: subject.into(), body: body.into(), author_name: "A".into() }
    }

    #[test]
    fn messages_are_read_as_conventional_commits_say() {
        for (subject, body, group, scope, description) in [
            ("feat: a", "", 1, None, "a"),
            ("Fix(core): a: b", "", 2, Some("core"), "a: b"),
            ("perf: a", "", 3, None, "a"),
            ("docs(x): a", "", 4, Some("x"), "a"),
            ("chore!: a", "", 0, None, "a"),
            ("feat(x)!: a", "", 0, Some("x"), "a"),
            ("fix: a", "text\n\nBREAKING CHANGE: b", 0, None, "a"),
            ("fix: a", "BREAKING-CHANGE: b", 0, None, "a"),
            ("fix: a", "no breaking change: b", 2, None, "a"),
            ("chore: a", "", 5, None, "a"),
            ("Merge: the thing", "", 5, None, "the thing"),
            ("Update the thing", "", 5, None, "Update the thing"),
            ("two words: a", "", 5, None, "two words: a"),
            ("feat:a", "", 5, None, "feat:a"),
            ("feat: ", "", 5, None, "feat: "),
            (": a", "", 5, None, ": a"),
            ("", "", 5, None, ""),
        ] {
            let commit = commit(subject, body);
            let read = Conventional::of(&commit);
            assert_eq!((read.group(), read.scope, read.description), (group, scope, description), "{subject}");
        }
    }

    #[test]
    fn a_breaking_footer_ends_with_its_paragraph_or_the_next_footer() {
        let body = "x\n\nBREAKING CHANGE: one\ntwo\nReviewed-by: B\n\nBREAKING CHANGE: three\n\nfour";
        assert_eq!(breaking_notes(body), ["one two", "three"]);
    }

    #[test]
    fn sizes_are_whole_numbers_of_tenths() {
        let sizes = [0, 999, 1_000, 1_999, 13_443_000, 2_500_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.9 kB", "13.4 MB", "2.5 GB"]);
    }
}
