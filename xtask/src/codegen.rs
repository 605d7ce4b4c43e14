//! `cargo xtask codegen`: documents that are written from the code.
//!
//! [`write`] writes them, [`stale`] names those that are not what the code says. Nobody edits them
//! by hand, so each opens by saying where it comes from.

use std::fmt::Write as _;

use anyhow::Result;
use camino::Utf8Path;
use consign::cli;
use consign::config::environment::{self, Environment};
use consign::config::{self, Overrides, Settings};
use consign::model::{Code, Exit};
use consign::pipeline::workflows::{self, Caller};
use consign::world::files;

/// A document and what it should be.
struct Generated {
    path: String,
    content: String,
}

/// Writes every document that is not current and gives back their paths.
pub(crate) fn write(root: &Utf8Path) -> Result<Vec<String>> {
    let mut written = Vec::new();
    for document in documents(root)? {
        if !is_current(root, &document) {
            files::write(&root.join(&document.path), document.content.as_bytes())?;
            written.push(document.path);
        }
    }
    Ok(written)
}

/// The documents that are not what the code says.
pub(crate) fn stale(root: &Utf8Path) -> Result<Vec<String>> {
    let stale = documents(root)?.into_iter().filter(|document| !is_current(root, document));
    Ok(stale.map(|document| document.path).collect())
}

fn documents(root: &Utf8Path) -> Result<Vec<Generated>> {
    let mut documents = vec![
        Generated { path: "docs/cli.md".to_owned(), content: command_line() },
        Generated { path: "docs/codes.md".to_owned(), content: codes() },
        Generated { path: "docs/consign.schema.json".to_owned(), content: config::schema() },
        Generated { path: "docs/environment.md".to_owned(), content: variables() },
    ];
    // What this repository's consign.toml says, and nothing of the machine.
    let settings = Settings::load(root, None, &Environment::default())?;
    let request = settings.resolve(&Overrides::default())?.request;
    let rendered = workflows::render(Caller::Xtask, &request, Utf8Path::new(""))?;
    documents.extend(rendered.into_iter().map(|workflow| Generated {
        path: format!("{}/{}", workflows::DIRECTORY, workflow.name),
        content: workflow.content,
    }));
    Ok(documents)
}

fn is_current(root: &Utf8Path, document: &Generated) -> bool {
    fs_err::read(root.join(&document.path)).is_ok_and(|bytes| bytes == document.content.as_bytes())
}

fn opening(title: &str, home: &str) -> String {
    format!("# {title}\n\n<!-- Written by `cargo xtask codegen` from {home}; do not edit. -->\n\n")
}

fn codes() -> String {
    let mut page = opening("Exit codes and error codes", "src/model/code.rs");
    page.push_str(
        "Every command ends with one of these exit codes. The error code is in the JSON document that\n\
         `--format json` prints on failure, and in every finding of the verifier. An error code never changes\n\
         its meaning; new ones may be added.\n",
    );
    for (exit, title) in EXITS {
        let _ = writeln!(page, "\n## {} – {title}\n", *exit as u8);
        let mut codes = Code::ALL.iter().filter(|code| code.exit() == *exit).peekable();
        if codes.peek().is_none() {
            page.push_str("No error code leads here.\n");
            continue;
        }
        page.push_str("| code | when |\n|---|---|\n");
        for code in codes {
            let _ = writeln!(page, "| `{code}` | {} |", code.meaning());
        }
    }
    page
}

const EXITS: &[(Exit, &str)] = &[
    (Exit::Done, "done; nothing to do is done too"),
    (Exit::Failed, "failed here: disk, permission, a build or a test that fails"),
    (Exit::Usage, "the command line is wrong"),
    (Exit::Configuration, "the configuration or a tool is wrong or missing"),
    (Exit::Verification, "something did not verify"),
    (Exit::Remote, "something outside is unavailable"),
    (Exit::Refused, "refused by a rule"),
];

fn variables() -> String {
    let mut page = opening("Environment variables", "src/config/environment.rs");
    page.push_str(
        "These are all the variables that Consign reads; whatever else is set is never looked at. A flag goes\n\
         above a variable, and a variable above `consign.toml`. An empty variable counts as not set.\n\n\
         | variable | meaning |\n|---|---|\n",
    );
    for variable in environment::ALL {
        let _ = writeln!(page, "| `{}` | {} |", variable.name, variable.meaning.replace('|', "\\|"));
    }
    page
}

/// The help of `consign` and of each verb, as it is printed on a terminal of a fixed width.
fn command_line() -> String {
    let mut page = opening("The command line", "src/cli/");
    page.push_str("`cargo xtask <verb>` in this repository is the same as `consign <verb>`.\n");
    let mut command = cli::command().term_width(HELP_COLUMNS);
    command.build();
    describe(&mut page, &command, "consign", 2);
    page
}

fn describe(page: &mut String, command: &clap::Command, path: &str, level: usize) {
    let mut shown = command.clone().term_width(HELP_COLUMNS).bin_name(path);
    let help = shown.render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = writeln!(page, "\n{} `{path}`\n\n```text\n{}\n```", "#".repeat(level), help.join("\n"));
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help" && !verb.is_hide_set()) {
        describe(page, verb, &format!("{path} {}", verb.get_name()), (level + 1).min(4));
    }
}

const HELP_COLUMNS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_on_its_page_once() {
        let page = codes();
        for code in Code::ALL {
            assert_eq!(page.matches(&format!("| `{code}` |")).count(), 1, "{code}");
        }
    }

    #[test]
    fn every_verb_has_its_place_in_the_reference() {
        let page = command_line();
        for verb in cli::command().get_subcommands() {
            let heading = format!("### `consign {}`", verb.get_name());
            assert!(page.contains(&heading), "{heading}");
        }
    }
}
