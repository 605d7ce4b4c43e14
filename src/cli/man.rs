//! `consign man`: manual pages, made from the same definitions as `--help`.

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;
use serde::Serialize;

use super::{Context, output};
use crate::model::failure::Result;
use crate::model::{Code, Exit, Failure, text};
use crate::world::files;

/// The arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  consign man | man -l -\n  consign man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write a page for every verb into this directory [default: print the main page]
    // The name is not that of the global `--directory`, which would take this value as its own.
    #[arg(id = "pages", value_name = "DIR")]
    directory: Option<Utf8PathBuf>,
}

#[derive(Serialize)]
struct Page {
    #[serde(rename = "type")]
    kind: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Pages {
    #[serde(rename = "type")]
    kind: &'static str,
    directory: Utf8PathBuf,
    files: Vec<String>,
}

impl ManArgs {
    pub(super) fn run(&self, context: &Context) -> Result<Exit> {
        let Some(directory) = &self.directory else {
            let text = String::from_utf8_lossy(&render(super::command())?).into_owned();
            let document = Page { kind: "consign.man/v1", text };
            context.output.result(&document, || document.text.clone())?;
            return Ok(Exit::Done);
        };
        let directory = context.path(directory);
        let files = write_all(&directory)?;
        let document = Pages { kind: "consign.man-pages/v1", directory, files };
        context.output.result(&document, || {
            let rows: Vec<_> = document.files.iter().map(|name| vec![text::shown(name).into_owned()]).collect();
            output::table(&rows)
        })?;
        Ok(Exit::Done)
    }
}

/// Writes a page for every verb and gives back their names.
fn write_all(directory: &Utf8Path) -> Result<Vec<String>> {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    write_below(command, directory, &mut pages)?;
    Ok(pages)
}

fn write_below(command: clap::Command, directory: &Utf8Path, pages: &mut Vec<String>) -> Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_below(verb.clone(), directory, pages)?;
    }
    let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
    files::write(&directory.join(&name), &render(command)?)?;
    pages.push(name);
    Ok(())
}

fn render(command: clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::new(Code::Io, "failed to write a manual page").because(error))?;
    Ok(page)
}
