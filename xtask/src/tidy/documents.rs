//! Documents: links lead somewhere, settings are told, the changelog is open.
//!
//! Addresses on the web are not fetched: a check must give the same answer everywhere.

use std::collections::BTreeSet;

use consign::config::environment;

use super::rust_text::occurrences;
use super::{Finding, line_of};
use crate::repository::{File, Repository};

const ENVIRONMENT: &str = "src/config/environment.rs";

/// Every environment variable that is read can be read about.
pub(super) fn environment_is_documented(repository: &Repository) -> Vec<Finding> {
    untold(repository, environment::ALL.iter().map(|variable| variable.name))
}

fn untold<'a>(repository: &Repository, names: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let Some(file) = repository.get(ENVIRONMENT) else { return Vec::new() };
    let pages: Vec<_> =
        repository.under("", ".md").filter(|page| page.path == "README.md" || page.path.starts_with("docs/")).collect();
    names
        .filter(|name| !pages.iter().any(|page| occurrences(&page.text, name).next().is_some()))
        .map(|name| {
            let offset = occurrences(&file.text, name).next().unwrap_or(0);
            let message = format!("`{name}` is read and told nowhere: document it in README.md or docs/");
            Finding::new(ENVIRONMENT, line_of(&file.text, offset), message)
        })
        .collect()
}

/// Every link to a file leads to one, and every link to a heading to a heading.
pub(super) fn links_lead_somewhere(repository: &Repository) -> Vec<Finding> {
    let paths: BTreeSet<_> = repository.files().map(|file| file.path.as_str()).collect();
    let mut findings = Vec::new();
    for page in repository.under("", ".md") {
        for (line, link) in links(&page.text) {
            if let Some(complaint) = broken(repository, &paths, page, link) {
                findings.push(Finding::new(&page.path, line, complaint));
            }
        }
    }
    findings
}

/// There is a place to write the next change down.
pub(super) fn changelog_is_open(repository: &Repository) -> Vec<Finding> {
    let open = repository.get("CHANGELOG.md").is_some_and(|file| {
        file.text.lines().any(|line| line.trim_end() == "## [Unreleased]" || line.trim_end() == "## Unreleased")
    });
    if open {
        Vec::new()
    } else {
        vec![Finding::new("CHANGELOG.md", 1, "has no section `## [Unreleased]` for the next change")]
    }
}

/// The targets of all links outside code, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // In a line split at backticks every second part is code.
            let prose = line.split('`').step_by(2);
            for target in prose.flat_map(|part| part.split("](").skip(1)) {
                if let Some(end) = target.find(')') {
                    links.push((number + 1, target[..end].split(' ').next().unwrap_or_default()));
                }
            }
            if let Some((_, target)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) {
                links.push((number + 1, target.trim()));
            }
        }
    }
    links
}

fn broken(repository: &Repository, paths: &BTreeSet<&str>, page: &File, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path) };
    let directory = format!("{}/", target.trim_end_matches('/'));
    if !paths.contains(target.as_str()) && !paths.iter().any(|known| known.starts_with(&directory)) {
        return Some(format!("the link `{link}` leads to no file"));
    }
    let is_page = camino::Utf8Path::new(&target).extension() == Some("md");
    let file = repository.get(&target).filter(|_| is_page && !heading.is_empty())?;
    (!headings(&file.text).contains(heading)).then(|| format!("the link `{link}` leads to no heading"))
}

fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The names that headings have in links, as the usual renderers make them.
fn headings(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|character| match character {
                    ' ' => Some('-'),
                    character if character.is_alphanumeric() || matches!(character, '-' | '_') => Some(character),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_told_nowhere_is_found() {
        let repository = Repository::of(&[
            (ENVIRONMENT, "//! Names.\nCONSIGN_TOLD = \"a\";\nCONSIGN_TOL = \"b\";"),
            ("docs/environment.md", "`CONSIGN_TOLD`"),
            ("CHANGELOG.md", "`CONSIGN_TOL`"),
        ]);
        let found = untold(&repository, ["CONSIGN_TOLD", "CONSIGN_TOL"].into_iter());
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("src/config/environment.rs:3: `CONSIGN_TOL`"), "{}", found[0]);
    }

    #[test]
    fn a_link_into_the_void_is_found() {
        let page = "[a](../README.md) [b](gone.md)\n[c](../src/) `[d](gone.md)`\n```\n[e](gone.md)\n```\n[f]: gone.md\n[g](https://example.com/gone.md)\n[h](#here) [i](#gone) [j](../README.md#gone)\n# Here\n";
        let repository = Repository::of(&[("docs/page.md", page), ("README.md", "# Read me\n"), ("src/lib.rs", "")]);
        let lines: Vec<_> = links_lead_somewhere(&repository).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 6, 8, 8]);
    }

    #[test]
    fn headings_become_links_as_renderers_make_them() {
        assert!(headings("## Builder: validate (v1)\n").contains("builder-validate-v1"));
    }

    #[test]
    fn a_closed_changelog_is_found() {
        assert_eq!(changelog_is_open(&Repository::of(&[("CHANGELOG.md", "## [0.1.0]\n")])).len(), 1);
        assert_eq!(changelog_is_open(&Repository::of(&[])).len(), 1);
        assert!(changelog_is_open(&Repository::of(&[("CHANGELOG.md", "# C\n\n## [Unreleased]\n")])).is_empty());
    }
}
