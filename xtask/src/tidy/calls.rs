//! Deeds that have one home, and marks of unfinished work.
//!
//! Clippy's `disallowed-methods` catches the plain calls while one types; this check also sees
//! macros, imports and attributes, and knows which file is the home.

use super::rust_text::{occurrences, product_code};
use super::{Finding, line_of};
use crate::repository::Repository;

/// What may be named where, and why not elsewhere.
struct Deed {
    words: &'static [&'static str],
    /// Files or directories (with a slash) below the repository's root.
    homes: &'static [&'static str],
    reason: &'static str,
}

const DEEDS: &[Deed] = &[
    Deed {
        words: &["process::Command", "Command::new"],
        // Clap's own `Command` is a description of the command line and starts nothing.
        // A server has to run on beside what a bench measures.
        homes: &["src/world/process.rs", "src/cli/", "xtask/src/bench/beside.rs"],
        reason: "start programs through world::process::Program, which bounds, cleans and names them",
    },
    Deed {
        words: &["std::process::Command"],
        homes: &["src/world/process.rs", "xtask/src/bench/beside.rs"],
        reason: "start programs through world::process::Program, which bounds, cleans and names them",
    },
    Deed {
        words: &["println!", "eprintln!", "print!", "eprint!", "dbg!"],
        homes: &["src/cli/", "xtask/src/"],
        reason: "the library never prints; send an event or give back a value",
    },
    Deed {
        words: &["process::exit", "process::abort"],
        homes: &[],
        reason: "nothing exits in the middle; give back an exit code, so that staging directories are removed",
    },
    Deed {
        words: &["SystemTime::now", "Timestamp::now", "Zoned::now"],
        homes: &["src/world/clock.rs"],
        reason: "the clock is handed in; ask it through world::clock",
    },
    Deed {
        words: &["env::var", "env::var_os", "env::vars", "env::vars_os", "env::set_var", "env::remove_var"],
        homes: &["src/config/environment.rs"],
        reason: "the environment is read in config::environment only, where every name is documented",
    },
    Deed {
        // An address is a value and goes where it likes: `reqwest::Url` is not among them.
        words: &["reqwest::{", "reqwest::blocking", "reqwest::Client", "reqwest::get"],
        homes: &["src/world/"],
        reason: "HTTP goes through world::http, which refuses plain http, weaker redirects and endless bodies",
    },
    Deed {
        words: &["#[allow(", "#![allow("],
        homes: &[],
        reason: "use #[expect(lint, reason = \"…\")], which says why and goes away when it is not needed any more",
    },
    Deed { words: &["todo!", "unimplemented!"], homes: &[], reason: "nothing unfinished is committed" },
];

/// Modules of the core and what they may not name: an auditor reads them as pure functions.
const CORE: &[&str] = &["src/model/", "src/archive/", "src/trust/"];
const OUTSIDE: &[&str] = &["fs_err", "std::fs", "std::net", "std::env", "tempfile"];

const LATER: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
const WRITTEN_BY_HAND: &[&str] = &[".rs", ".toml", ".sh", ".j2", ".yml", ".md", ".ci/run"];

/// A deed outside its home.
pub(super) fn deeds_have_one_home(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.under("src/", ".rs").chain(repository.under("xtask/src/", ".rs")) {
        let code = product_code(&file.text);
        for deed in DEEDS.iter().filter(|deed| !is_home(deed.homes, &file.path)) {
            for word in deed.words {
                for offset in occurrences(&code, word) {
                    let message = format!("`{word}` here: {}", deed.reason);
                    findings.push(Finding::new(&file.path, line_of(&code, offset), message));
                }
            }
        }
        if is_home(CORE, &file.path) {
            for word in OUTSIDE {
                for offset in occurrences(&code, word) {
                    let message = format!("`{word}` here: the core does no I/O; take bytes or a reader");
                    findings.push(Finding::new(&file.path, line_of(&code, offset), message));
                }
            }
        }
    }
    findings.sort();
    // One line is one finding, although `std::process::Command::new` holds several of the words.
    findings.dedup_by(|a, b| (&a.path, a.line) == (&b.path, b.line));
    findings
}

/// Notes to oneself in what is committed.
pub(super) fn nothing_is_left_for_later(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.files().filter(|file| WRITTEN_BY_HAND.iter().any(|ending| file.path.ends_with(ending))) {
        for word in LATER {
            for offset in occurrences(&file.text, word) {
                let message = format!("`{word}` here: do it, or open an issue; a note in the code is read by nobody");
                findings.push(Finding::new(&file.path, line_of(&file.text, offset), message));
            }
        }
    }
    findings
}

fn is_home(homes: &[&str], path: &str) -> bool {
    homes.iter().any(|home| if home.ends_with('/') { path.starts_with(home) } else { path == *home })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> usize {
        deeds_have_one_home(&Repository::of(&[(path, text)])).len()
    }

    #[test]
    fn a_deed_is_found_away_from_its_home_and_only_there() {
        for (home, text) in [
            ("src/world/process.rs", "use std::process::Command;"),
            ("src/cli/output.rs", "fn f() { println!() }"),
            ("src/world/clock.rs", "fn f() { jiff::Timestamp::now() }"),
            ("src/config/environment.rs", "fn f() { std::env::var_os(NAME) }"),
            ("src/world/http.rs", "use reqwest::blocking;"),
        ] {
            assert_eq!(check(home, text), 0, "{text} at home");
            assert_eq!(check("src/pipeline/x.rs", text), 1, "{text} away");
        }
    }

    #[test]
    fn what_has_no_home_is_found_everywhere() {
        for text in
            ["fn f() { std::process::exit(1) }", "#[allow(dead_code)]", "#![allow(dead_code)]", "fn f() { todo!() }"]
        {
            assert_eq!(check("src/cli/x.rs", text), 1, "{text}");
            assert_eq!(check("xtask/src/x.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn clap_s_command_is_no_process() {
        assert_eq!(check("src/cli/x.rs", "use clap::Command; fn f() { Command::new(NAME) }"), 0);
        assert_eq!(check("src/cli/x.rs", "use std::process::Command;"), 1);
    }

    #[test]
    fn the_core_touches_nothing() {
        assert_eq!(check("src/trust/x.rs", "use fs_err as fs;"), 1);
        assert_eq!(check("src/pipeline/x.rs", "use fs_err as fs;"), 0);
    }

    #[test]
    fn words_in_text_are_no_deeds() {
        assert_eq!(check("src/model/x.rs", "//! `println!`\nconst A: &str = \"std::env::var\";"), 0);
    }

    #[test]
    fn a_note_for_later_is_found_in_comments_too() {
        let note = concat!("// TO", "DO: later");
        assert_eq!(nothing_is_left_for_later(&Repository::of(&[("src/a.rs", note)])).len(), 1);
        assert!(nothing_is_left_for_later(&Repository::of(&[("src/a.rs", "fn todos() {}")])).is_empty());
    }
}
