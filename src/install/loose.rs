//! Installing what has no index: an archive that Consign packed, or a program on its own.
//!
//! An archive says in its `metadata.json` what it is; a program is asked for its version. Where a key
//! is trusted, the signature beside the file has to hold over the whole of it.

use std::io::{Cursor, Read as _};

use camino::Utf8Path;
use semver::Version;

use super::lock::Turn;
use super::receipt::{InstalledFile, Origin, Trust};
use super::session::{MAX_METADATA_BYTES, PATIENCE, Payload};
use super::staging::Staging;
use super::transfer::Watched;
use super::unpack::unpack_loose;
use crate::model::events::Listener;
use crate::model::failure::Result;
use crate::model::index::{self, ArchiveFormat};
use crate::model::metadata::{self, PackageMetadata};
use crate::model::{Code, Digest, Failure, FileName, text};
use crate::trust::approval::{Approved, Found, approve};
use crate::trust::{Anchor, documents, signatures};
use crate::world::http::Client;
use crate::world::place::{self, Place};
use crate::world::process::Program;
use crate::world::{files, parcel, scratch};

/// The largest file that is installed without an index, in bytes. It is held in memory.
const MAX_BYTES: usize = 1 << 30;
/// The largest signature that is fetched, in bytes.
const MAX_SIGNATURE_BYTES: usize = 16 << 10;

/// A file that was fetched and approved, and what it is.
#[derive(Debug)]
pub struct Loose {
    /// The product.
    pub name: FileName,
    /// Its version.
    pub version: Version,
    /// Where it came from.
    pub origin: Origin,
    /// By whose word.
    pub trust: Trust,
    /// Its digest.
    pub sha256: Digest,
    file: FileName,
    bytes: Vec<u8>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Archive(ArchiveFormat, PackageMetadata),
    Program,
}

/// What a user says of a file that cannot say it.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The product.
    pub name: Option<FileName>,
    /// Its version.
    pub version: Option<Version>,
    /// The digest that the file has to have.
    pub sha256: Option<Digest>,
    /// Whether a program may be run to be asked for its version.
    pub may_run: bool,
}

/// Fetches a file and finds out what it is. Whom to believe is asked by the product's name; nothing of a
/// file is run before that is settled.
pub fn fetch(
    given: &str,
    said: &Said,
    anchor_of: &dyn Fn(&FileName) -> Result<Anchor>,
    client: &Client,
    listener: &dyn Listener,
) -> Result<Loose> {
    let (directory, file) = given.rsplit_once('/').unwrap_or((".", given));
    let place = Place::parse(if directory.is_empty() { "/" } else { directory }, file)?;
    let file: FileName = file.parse().map_err(|_| {
        Failure::new(Code::NameInvalid, format!("`{}` is no name of a file that can be installed", text::shown(file)))
            .hint("rename it: letters, digits, `.`, `_`, `+` and `-`")
    })?;
    let bytes = read(&place, &file, client, listener)?;
    let sha256 = Digest::of(&bytes);
    if let Some(wanted) = said.sha256.filter(|wanted| *wanted != sha256) {
        let message = format!("sha256 mismatch for `{file}`: it is {sha256} and should be {wanted}");
        return Err(Failure::new(Code::DigestMismatch, message)
            .subject(file.as_str())
            .hint("do not use it; fetch it again, and check the digest"));
    }
    let format = [ArchiveFormat::TarGz, ArchiveFormat::TarZst, ArchiveFormat::Zip]
        .into_iter()
        .find(|format| file.as_str().ends_with(&format!(".{}", format.extension())));
    let kind = match format {
        Some(format) => Kind::Archive(format, look_inside(&bytes, &file, format)?),
        None => Kind::Program,
    };
    let name = match &kind {
        Kind::Archive(_, metadata) => metadata.name.clone(),
        Kind::Program => said.name.clone().unwrap_or_else(|| file.clone()),
    };
    if let Some(wanted) = said.name.as_ref().filter(|wanted| **wanted != name) {
        return Err(Failure::new(Code::TargetUnknown, format!("`{file}` is `{name}` and not `{wanted}`"))
            .subject(wanted.as_str())
            .hint("leave `--name` out"));
    }
    let (bytes, trust) = approved(&place, &file, bytes, &anchor_of(&name)?, client)?;
    let version = match (&kind, &said.version) {
        (Kind::Archive(_, metadata), _) => metadata.version.clone(),
        (Kind::Program, Some(version)) => version.clone(),
        (Kind::Program, None) => version_of(&bytes, &file, said.may_run)?,
    };
    let origin = Origin::Loose { place: place.below(file.as_str()).shown() };
    Ok(Loose { name, version, origin, trust, sha256, file, bytes, kind })
}

/// All of the file, which is watched while it comes.
fn read(place: &Place, file: &FileName, client: &Client, listener: &dyn Listener) -> Result<Vec<u8>> {
    let source = place.open(client, file.as_str(), MAX_BYTES as u64)?;
    let mut bytes = Vec::new();
    Watched::new(source.take(MAX_BYTES as u64 + 1), file.as_str(), None, listener)
        .read_to_end(&mut bytes)
        .map_err(|error| place.broken(file.as_str(), error))?;
    if bytes.len() <= MAX_BYTES {
        return Ok(bytes);
    }
    Err(Failure::new(Code::FileTooLarge, format!("`{file}` is larger than {MAX_BYTES} bytes"))
        .subject(file.as_str())
        .hint("install it from its index"))
}

fn approved(
    place: &Place,
    file: &FileName,
    bytes: Vec<u8>,
    anchor: &Anchor,
    client: &Client,
) -> Result<(Vec<u8>, Trust)> {
    if !anchor.is_checked() {
        return Ok((bytes, Trust::Unchecked));
    }
    let name = signatures::file_name(file.as_str(), None, signatures::ENDING);
    let raw = place.get_if_there(client, &name, MAX_SIGNATURE_BYTES)?;
    let approved = approve(anchor, file.as_str(), bytes, &Found { list: None, raw })?;
    let Approved { bytes, signed_by } = approved.into_inner();
    Ok((bytes, Trust::Keys { keys: signed_by.iter().map(ToString::to_string).collect() }))
}

/// What an archive says that it is.
fn look_inside(bytes: &[u8], file: &FileName, format: ArchiveFormat) -> Result<PackageMetadata> {
    let directory = scratch::Directory::new("consign-look-")?;
    let inside = directory.path().join("inside");
    unpack_loose(Cursor::new(bytes), file.as_str(), format, None, &inside)?;
    let path = inside.join(metadata::FILE_NAME);
    let metadata = if path.is_file() { files::read_bounded(&path, MAX_METADATA_BYTES)? } else { Vec::new() };
    documents::read_metadata(&metadata).map_err(|problem| {
        Failure::new(Code::ArchiveInvalid, format!("`{file}` does not say what it is: {problem}"))
            .subject(file.as_str())
            .hint("install an archive that Consign packed, or from its index")
    })
}

/// What a program says that its version is: the first word of its answer that is one.
fn version_of(bytes: &[u8], file: &FileName, may_run: bool) -> Result<Version> {
    let told = if may_run { ask(bytes, file)? } else { String::new() };
    let word = |word: &str| Version::parse(word.strip_prefix('v').unwrap_or(word)).ok();
    told.split_whitespace().find_map(word).ok_or_else(|| {
        Failure::new(Code::VersionInvalid, format!("`{file}` does not say its version"))
            .subject(file.as_str())
            .hint("say it with `--version 1.2.3`")
    })
}

/// What a program answers to `--version`.
fn ask(bytes: &[u8], file: &FileName) -> Result<String> {
    let directory = scratch::Directory::new("consign-look-")?;
    let path = directory.path().join(file.as_str());
    write_program(&path, bytes)?;
    let output = Program::new(path.as_str()).arg("--version").contained(PATIENCE).output();
    Ok(output.map(|output| output.text()).unwrap_or_default())
}

fn write_program(path: &Utf8Path, bytes: &[u8]) -> Result<()> {
    let source = scratch::Directory::new("consign-copy-")?;
    let copy = source.path().join("program");
    files::write(&copy, bytes)?;
    files::copy_program(&copy, path, MAX_BYTES as u64).map(|_| ())
}

impl Loose {
    /// Puts its files where a version is made ready.
    pub fn stage(&self, turn: &Turn) -> Result<(Staging, Payload)> {
        let staging = Staging::new(turn)?;
        let (files, platform) = match &self.kind {
            Kind::Archive(format, metadata) => {
                let unpacked = unpack_loose(
                    Cursor::new(&self.bytes),
                    self.file.as_str(),
                    *format,
                    Some(self.sha256),
                    staging.path(),
                )?;
                (unpacked.files, Some(metadata.platform))
            }
            Kind::Program => {
                let path = format!("bin/{}", self.name);
                files::create_directory(&staging.path().join("bin"))?;
                write_program(&staging.path().join(&path), &self.bytes)?;
                let size_bytes = self.bytes.len() as u64;
                (vec![InstalledFile { path, sha256: self.sha256, size_bytes, executable: true }], None)
            }
        };
        Ok((staging, Payload { files, platform, index: None, archive: Some(self.sha256), tag: None }))
    }

    /// The name of the file.
    pub fn file(&self) -> &FileName {
        &self.file
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What was given to install from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// The directory of a release.
    Release,
    /// A parcel.
    Parcel,
    /// An archive or a program.
    File,
}

impl Given {
    /// What something is, by its path or address. An address of a directory ends with a slash or a version.
    pub fn of(given: &str) -> Self {
        if place::is_address(given) {
            let last = given.rsplit('/').next().unwrap_or_default();
            let is_version = Version::parse(last.strip_prefix('v').unwrap_or(last)).is_ok();
            return if last.is_empty() || is_version { Self::Release } else { Self::File };
        }
        let path = given.strip_prefix("file://").unwrap_or(given);
        if Utf8Path::new(path).join(index::FILE_NAME).is_file() {
            Self::Release
        } else if path.ends_with(parcel::ENDING) {
            Self::Parcel
        } else {
            Self::File
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_whether_it_is_a_directory() {
        for (given, expected) in [
            ("https://a.example/releases/v1.2.3/", Given::Release),
            ("https://a.example/releases/v1.2.3", Given::Release),
            ("https://a.example/releases/1.2.3-rc.1", Given::Release),
            ("https://a.example/latest/", Given::Release),
            ("https://a.example/tool", Given::File),
            ("https://a.example/tool-v1.2.3", Given::File),
            ("https://a.example/v1.2.3.tar.gz", Given::File),
            ("https://a.example/tool.tar", Given::File),
            ("/nowhere/tool.tar", Given::Parcel),
            ("file:///nowhere/tool.tar", Given::Parcel),
            ("/nowhere/tool", Given::File),
        ] {
            assert_eq!(Given::of(given), expected, "{given}");
        }
    }
}
