//! The TUF client with the command line that the public conformance suite drives (its
//! `CLIENT-CLI.md`): `init`, `refresh` and `download`.
//!
//! It is the client of the library and nothing else, except that it keeps each document as soon as
//! it is trusted, in one file per role, as the specification describes and the suite looks for.

#![expect(clippy::print_stderr, reason = "a program of its own tells what went wrong")]

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Parser, Subcommand};
use consign::catalog::client::{self, Catalog, Change};
use consign::catalog::source::Source;
use consign::catalog::state::Documents;
use consign::model::failure::Result;
use consign::model::{Code, Failure};
use consign::trust::tuf::trusted::MAX_ROOT_BYTES;
use consign::world::place::quoted;
use consign::world::{clock, files};

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    metadata_dir: Utf8PathBuf,
    #[arg(long, default_value = "")]
    metadata_url: String,
    #[arg(long)]
    target_name: Vec<String>,
    #[arg(long, default_value = ".")]
    target_dir: Utf8PathBuf,
    #[arg(long)]
    target_base_url: Option<String>,
    #[command(subcommand)]
    deed: Deed,
}

#[derive(Debug, Subcommand)]
enum Deed {
    /// Trust a root
    Init { trusted_root: Utf8PathBuf },
    /// Bring the metadata up to date
    Refresh,
    /// The same, and fetch targets
    Download,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}: {}", failure.code(), failure.chain().join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.metadata_dir;
    if let Deed::Init { trusted_root } = &arguments.deed {
        return files::write(&directory.join("root.json"), &root(trusted_root)?);
    }
    let targets = arguments.target_base_url.as_deref().unwrap_or(&arguments.metadata_url);
    let source = Source::of_repository(&arguments.metadata_url, targets)?;
    let pinned = root(&directory.join("root.json"))?;
    let mut keep = |change: Change<'_>| keep(directory, change);
    let mut catalog = client::refresh(&source, &pinned, kept(directory)?, clock::now(), &mut keep)
        .map_err(|interrupted| interrupted.failure)?;
    if matches!(arguments.deed, Deed::Download) {
        for name in &arguments.target_name {
            download(&mut catalog, name, arguments)?;
        }
    }
    Ok(())
}

fn root(path: &Utf8Path) -> Result<Vec<u8>> {
    files::read_bounded(path, usize::try_from(MAX_ROOT_BYTES).unwrap_or(usize::MAX))
}

/// Keeps a document under the quoted name of its role.
fn keep(directory: &Utf8Path, change: Change<'_>) -> Result<()> {
    match change {
        Change::Trusted { role, bytes } => files::write(&directory.join(format!("{}.json", quoted(role))), bytes),
        Change::Forgotten => ["timestamp.json", "snapshot.json"].iter().try_for_each(|name| {
            let path = directory.join(name);
            match fs_err::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(files::failed("remove", &path, error))
                }
                _ => Ok(()),
            }
        }),
    }
}

/// Everything but the root, which is the one that is trusted.
fn kept(directory: &Utf8Path) -> Result<Documents> {
    let mut documents = Documents::default();
    for (name, _) in files::list(directory)? {
        let Some(role) = name.strip_suffix(".json").and_then(unquoted) else { continue };
        let bytes = files::read_bounded(&directory.join(&name), 64 << 20)?;
        match role.as_str() {
            "root" => {}
            "timestamp" => documents.timestamp = Some(bytes),
            "snapshot" => documents.snapshot = Some(bytes),
            _ => drop(documents.targets.insert(role, bytes)),
        }
    }
    Ok(documents)
}

fn unquoted(name: &str) -> Option<String> {
    let mut pieces = name.split('%');
    let mut out = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        out.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        out.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(out).ok()
}

fn download(catalog: &mut Catalog<'_>, name: &str, arguments: &Arguments) -> Result<()> {
    let found = catalog.find_keeping(name, &mut |change| keep(&arguments.metadata_dir, change))?;
    let place = arguments.target_dir.join(quoted(name));
    if place.is_file() {
        let max_bytes = usize::try_from(found.length()).unwrap_or(usize::MAX);
        let is_same = files::read_bounded(&place, max_bytes).is_ok_and(|bytes| {
            found.expected().is_ok_and(|mut expected| {
                expected.update(&bytes);
                expected.finish().is_ok()
            })
        });
        if is_same {
            return Ok(());
        }
    }
    let coming = arguments.target_dir.join(format!(".coming-{}", std::process::id()));
    drop(catalog.download(&found, &coming)?);
    fs_err::rename(&coming, &place).map_err(|error| {
        Failure::new(Code::Io, format!("failed to put `{place}` in place")).subject(place.as_str()).because(error)
    })
}
