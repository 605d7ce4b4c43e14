//! Signing a bundle: every key signs every asset, and whatever is valid already stays as it is.
//!
//! [`sign`] verifies that the bundle is whole, makes all of the evidence in memory, where each new
//! signature is verified by its public key, and only then writes what has changed. The list of all
//! signatures is written last. A run that is killed on the way is healed by running again: a signature
//! that was written is found valid and kept.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use std::time::Instant;

use super::verify::{self, Requirements};
use crate::model::events::{Event, Listener};
use crate::model::failure::Result;
use crate::model::stage::Stage;
use crate::model::{Code, Digest, Failure, FileName, Release, index, provenance};
use crate::trust::dsse::{self, Envelope};
use crate::trust::key::{self, KeyId, Signer};
use crate::trust::signatures::{self, Entry, Signatures, file_name, short};
use crate::trust::{Anchor, Asset, Bundle, minisign, sigstore};
use crate::world::files;

/// The document type of [`Signed`].
pub const TYPE: &str = "consign.signed/v1";

/// What was signed, and how anybody can check it.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    /// Always [`TYPE`].
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The product's name.
    pub name: FileName,
    /// The tag.
    pub tag: String,
    /// The bundle's directory.
    pub directory: Utf8PathBuf,
    /// Each key that signed, in the order given.
    pub keys: Vec<SignedBy>,
    /// The evidence that was written anew, sorted by name.
    pub written: Vec<FileName>,
    /// All of the evidence, sorted by name.
    pub evidence: Vec<FileName>,
}

/// What one key signed.
#[derive(Clone, Debug, Serialize)]
pub struct SignedBy {
    /// The key.
    pub key_id: KeyId,
    /// How it signs.
    pub algorithm: &'static str,
    /// How many signatures are new.
    pub made: usize,
    /// How many were there and are valid.
    pub kept: usize,
    /// What checks one of them without Consign, where the public key is in `pub.pem`.
    pub command: String,
}

/// Whatever signs, and in which forms.
#[derive(Clone, Copy)]
pub struct Hand<'a> {
    /// The keys, the first one first.
    pub signers: &'a [Box<dyn Signer>],
    /// Whether every asset is also signed in minisign's form.
    pub minisign: bool,
}

impl<'a> Hand<'a> {
    /// Keys that sign in our own forms.
    pub fn of(signers: &'a [Box<dyn Signer>]) -> Self {
        Self { signers, minisign: false }
    }
}

/// Signs the bundle in a directory with every key.
pub fn sign(
    directory: &Utf8Path,
    expected: Option<&Release>,
    hand: Hand<'_>,
    listener: &dyn Listener,
) -> Result<Signed> {
    let bundle = verify::verify(directory, expected, &Requirements::default(), listener)?.accept()?;
    let found = verify::read_documents(directory, &verify::list(directory)?)?;
    let mut desk = Desk::open(&bundle, directory, &found.evidence, hand)?;
    for asset in &bundle.assets {
        let began = Instant::now();
        let task = asset.name.to_string();
        listener.hear(&Event::TaskStarted { stage: Stage::Sign, task: task.clone() });
        desk.asset(asset)?;
        let (bytes, duration) = (asset.size_bytes, began.elapsed());
        listener.hear(&Event::TaskFinished { stage: Stage::Sign, task, bytes, duration });
    }
    desk.sigstore()?;
    desk.envelope(&found.provenance.unwrap_or_default())?;
    desk.write()
}

/// Refuses every key that has no part in the role that a trust root gives to releases.
pub fn require_role(signers: &[Box<dyn Signer>], anchor: &Anchor) -> Result<()> {
    let stranger = signers.iter().find(|signer| anchor.key(signer.public().id()).is_none());
    stranger.map_or(Ok(()), |signer| {
        let id = signer.public().id();
        Err(Failure::new(Code::KeyUntrusted, format!("the trust root does not let key {id} sign releases"))
            .subject(id.to_string())
            .hint("add it to the role `targets` of the trust root, or sign with a key that has it"))
    })
}

/// The evidence in the making.
struct Desk<'a> {
    bundle: &'a Bundle,
    directory: &'a Utf8Path,
    /// What is there.
    before: &'a BTreeMap<FileName, Vec<u8>>,
    list: Vec<Entry>,
    /// Each key once, with how many signatures it made and how many were kept.
    signers: Vec<(&'a dyn Signer, usize, usize)>,
    minisign: bool,
    /// Every signature of the bundle.
    entries: Vec<Entry>,
    /// What will be there, the list of signatures excepted.
    after: BTreeMap<FileName, Vec<u8>>,
}

impl<'a> Desk<'a> {
    fn open(
        bundle: &'a Bundle,
        directory: &'a Utf8Path,
        before: &'a BTreeMap<FileName, Vec<u8>>,
        hand: Hand<'a>,
    ) -> Result<Self> {
        let mut distinct: Vec<(&dyn Signer, usize, usize)> = Vec::new();
        for signer in hand.signers {
            let id = signer.public().id();
            if distinct.iter().any(|(other, ..)| other.public().id() == id) {
                continue;
            }
            if distinct.iter().any(|(other, ..)| short(other.public().id()) == short(id)) {
                return Err(Failure::new(Code::KeyInvalid, format!("two keys begin with `{}`", short(id)))
                    .hint("their signatures would have the same name: make another key"));
            }
            distinct.push((signer.as_ref(), 0, 0));
        }
        if distinct.is_empty() {
            return Err(Failure::new(Code::KeyMissing, "there is nothing to sign with").hint("give `--key FILE`"));
        }
        if hand.minisign && !distinct.iter().any(|(signer, ..)| minisign::fits(signer.public())) {
            return Err(Failure::new(Code::KeyMissing, "minisign's signatures are by Ed25519 keys, and none is given")
                .hint("make one with `consign key generate --algorithm ed25519`, or leave `minisign` out"));
        }
        // A list that is spoiled is made again from what is valid.
        let list = before.get(signatures::FILE_NAME).and_then(|bytes| Signatures::read(bytes).ok());
        let list = list.filter(|list| list.version == bundle.index.version).map(|list| list.signatures);
        Ok(Self {
            bundle,
            directory,
            before,
            list: list.unwrap_or_default(),
            signers: distinct,
            minisign: hand.minisign,
            entries: Vec::new(),
            after: BTreeMap::new(),
        })
    }

    /// Signs one asset with every key that has not.
    fn asset(&mut self, asset: &Asset) -> Result<()> {
        let bytes = self.read(asset)?;
        let name = asset.name.as_str();
        let mut entries = self.foreign(asset)?;
        for (signer, made, kept) in &mut self.signers {
            let key = signer.public();
            let listed = self.list.iter().filter(|entry| entry.file == asset.name && entry.key_id == key.id());
            let files =
                [file_name(name, Some(key.id()), signatures::ENDING), file_name(name, None, signatures::ENDING)];
            let there = files.iter().filter_map(|file| self.before.get(file.as_str()));
            let valid = listed
                .map(|entry| &entry.signature)
                .chain(there)
                .find(|signature| key.verify(&bytes, signature).is_ok());
            let signature = if let Some(signature) = valid {
                *kept += 1;
                signature.clone()
            } else {
                *made += 1;
                key::sign(*signer, &bytes)?
            };
            entries.push(Entry {
                file: asset.name.clone(),
                sha256: asset.sha256,
                signature,
                algorithm: key.algorithm(),
                key_id: key.id(),
            });
        }
        self.name(asset, &entries)?;
        self.entries.extend(entries);
        self.minisign(asset, &bytes)
    }

    /// Signs one asset in minisign's form. What is there by one of our keys is put right unasked.
    fn minisign(&mut self, asset: &Asset, bytes: &[u8]) -> Result<()> {
        let file = format!("{}{}", asset.name, minisign::ENDING);
        let there = self.before.get(file.as_str());
        let mut fitting = self.signers.iter_mut().filter(|(signer, ..)| minisign::fits(signer.public()));
        let ours = |signer: &dyn Signer| there.is_some_and(|there| minisign::is_by(there, signer.public()));
        let Some((signer, made, kept)) =
            fitting.find(|(signer, ..)| (self.minisign && there.is_none()) || ours(*signer))
        else {
            return Ok(());
        };
        let valid = there.filter(|there| minisign::is_valid(there, bytes, signer.public()));
        let signature = if let Some(valid) = valid {
            *kept += 1;
            valid.clone()
        } else {
            *made += 1;
            let comment = format!("{} {}\tfile:{}", self.bundle.index.name, self.bundle.index.version, asset.name);
            minisign::sign(*signer, bytes, &comment)?
        };
        self.after.insert(evidence_name(&file)?, signature);
        Ok(())
    }

    /// Reads an asset, which has to be what was verified.
    fn read(&self, asset: &Asset) -> Result<Vec<u8>> {
        let path = self.directory.join(asset.name.as_str());
        let size = usize::try_from(asset.size_bytes).unwrap_or(usize::MAX);
        let bytes = files::read_bounded(&path, size)?;
        if Digest::of(&bytes) == asset.sha256 {
            return Ok(bytes);
        }
        Err(Failure::new(Code::DigestMismatch, format!("`{path}` was changed after it was verified"))
            .subject(asset.name.as_str())
            .hint("see who else works in the directory, and sign again"))
    }

    /// The signatures by other keys. They cannot be verified here, so they are kept as they are, and
    /// nothing is done where the list and the files say different things.
    fn foreign(&self, asset: &Asset) -> Result<Vec<Entry>> {
        let is_ours = |id: KeyId| self.signers.iter().any(|(signer, ..)| signer.public().id() == id);
        let name = asset.name.as_str();
        let mut entries = Vec::new();
        for entry in self.list.iter().filter(|entry| entry.file == asset.name && !is_ours(entry.key_id)) {
            let own = file_name(name, Some(entry.key_id), signatures::ENDING);
            let first = file_name(name, None, signatures::ENDING);
            let [own, first] = [own, first].map(|file| self.before.get(file.as_str()));
            let is = |bytes: Option<&Vec<u8>>| bytes.is_some_and(|bytes| *bytes == entry.signature);
            let agrees = entry.sha256 == asset.sha256 && (is(own) || is(first) || own.is_none() && first.is_none());
            if !agrees {
                let message =
                    format!("the signature of `{name}` by key {} is not the one that is listed", entry.key_id);
                return Err(Failure::new(Code::SignatureInvalid, message)
                    .subject(name)
                    .hint("sign with that key too, or remove its signatures and `signatures.json`"));
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    /// Gives each signature of an asset its file: the first key's has no key in its name.
    fn name(&mut self, asset: &Asset, entries: &[Entry]) -> Result<()> {
        let name = asset.name.as_str();
        let first = self.before.get(file_name(name, None, signatures::ENDING).as_str());
        let kept = entries.iter().find(|entry| first == Some(&entry.signature));
        let owner = kept.map_or_else(|| self.signers[0].0.public().id(), |entry| entry.key_id);
        for entry in entries {
            let further = (entry.key_id != owner).then_some(entry.key_id);
            let file = evidence_name(&file_name(name, further, signatures::ENDING))?;
            self.after.insert(file, entry.signature.clone());
        }
        Ok(())
    }

    /// The Sigstore bundles of the index. One that carries more than a signature is somebody else's
    /// work and stays.
    fn sigstore(&mut self) -> Result<()> {
        let name = index::FILE_NAME;
        let parsed = |file: &str| sigstore::Bundle::parse(self.before.get(file)?).ok();
        let plain = file_name(name, None, sigstore::ENDING);
        let there = parsed(&plain);
        let listed = |key: KeyId| self.entries.iter().any(|entry| entry.file.as_str() == name && entry.key_id == key);
        let owner = match &there {
            Some(bundle) if !bundle.is_plain() => None,
            Some(bundle) => bundle.key().filter(|key| listed(*key)),
            None => None,
        };
        let is_free = there.as_ref().is_none_or(sigstore::Bundle::is_plain);
        let first = file_name(name, None, signatures::ENDING);
        let first = self
            .entries
            .iter()
            .find(|entry| entry.file.as_str() == name && self.after.get(first.as_str()) == Some(&entry.signature));
        let owner = owner.or_else(|| first.filter(|_| is_free).map(|entry| entry.key_id));
        let mut made = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.file.as_str() == name) {
            let further = (Some(entry.key_id) != owner).then_some(entry.key_id);
            let file = file_name(name, further, sigstore::ENDING);
            if parsed(&file).is_none_or(|bundle| bundle.is_plain()) {
                let bundle = sigstore::Bundle::of_signature(entry.key_id, entry.sha256, &entry.signature);
                made.push((evidence_name(&file)?, bundle.render()));
            }
        }
        self.after.extend(made);
        Ok(())
    }

    /// The signed provenance, with the signatures that are valid already.
    fn envelope(&mut self, statement: &[u8]) -> Result<()> {
        let there = self.before.get(dsse::FILE_NAME).and_then(|bytes| Envelope::read_own(bytes).ok());
        let there = there.filter(|envelope| envelope.body().as_deref() == Some(statement));
        let message = dsse::pae(dsse::IN_TOTO, statement);
        let listed = |key: KeyId| {
            self.entries.iter().any(|entry| entry.file.as_str() == provenance::FILE_NAME && entry.key_id == key)
        };
        let mut all: BTreeMap<KeyId, Vec<u8>> = BTreeMap::new();
        for (key, signature) in there.iter().flat_map(Envelope::listed).filter(|(key, _)| listed(*key)) {
            all.insert(key, signature);
        }
        for (signer, made, kept) in &mut self.signers {
            let key = signer.public();
            if all.get(&key.id()).is_some_and(|signature| key.verify(&message, signature).is_ok()) {
                *kept += 1;
            } else {
                *made += 1;
                all.insert(key.id(), key::sign(*signer, &message)?);
            }
        }
        let envelope = Envelope::of_statement(statement, all.iter().map(|(key, bytes)| (*key, bytes.as_slice())));
        self.after.insert(evidence_name(dsse::FILE_NAME)?, envelope.render());
        Ok(())
    }

    /// Writes what has changed, the list last, and takes away our own files that have no use any more.
    fn write(self) -> Result<Signed> {
        let leftovers = self.leftovers()?;
        let list = Signatures::new(self.bundle.index.version.clone(), self.entries.clone());
        let list = (evidence_name(signatures::FILE_NAME)?, list.render());
        let mut written = Vec::new();
        for (name, bytes) in self.after.iter().chain([(&list.0, &list.1)]) {
            if self.before.get(name) != Some(bytes) {
                files::write(&self.directory.join(name.as_str()), bytes)?;
                written.push(name.clone());
            }
        }
        for name in &leftovers {
            let path = self.directory.join(name.as_str());
            fs_err::remove_file(&path).map_err(|error| files::failed("remove", &path, error))?;
        }
        files::sync_directory(self.directory)?;
        written.sort();
        let mut evidence: Vec<_> =
            self.before.keys().filter(|name| !leftovers.contains(name)).chain(self.after.keys()).cloned().collect();
        evidence.push(list.0);
        evidence.sort();
        evidence.dedup();
        Ok(Signed {
            kind: TYPE,
            name: self.bundle.index.name.clone(),
            tag: self.bundle.index.tag.clone(),
            directory: self.directory.to_owned(),
            keys: self.signers.iter().map(|(signer, made, kept)| self.signed_by(*signer, *made, *kept)).collect(),
            written,
            evidence,
        })
    }

    /// The files under names that would be signatures of assets and are none: our own are of no use any
    /// more, and any other is a riddle that a person has to solve.
    fn leftovers(&self) -> Result<Vec<FileName>> {
        let mut ours = Vec::new();
        for asset in &self.bundle.assets {
            let start = format!("{}.", asset.name);
            for name in self.before.keys().filter(|name| !self.after.contains_key(*name)) {
                let Some(middle) = name.as_str().strip_prefix(&start) else { continue };
                let Some(id) =
                    middle.strip_suffix(signatures::ENDING).or_else(|| middle.strip_suffix(sigstore::ENDING))
                else {
                    continue;
                };
                if self.signers.iter().any(|(signer, ..)| short(signer.public().id()) == id) {
                    ours.push(name.clone());
                } else if middle.ends_with(signatures::ENDING) {
                    let message = format!("`{name}` is by a key that `{}` does not list", signatures::FILE_NAME);
                    return Err(Failure::new(Code::SignatureInvalid, message)
                        .subject(name.as_str())
                        .hint("sign with that key too, or remove the file"));
                }
            }
        }
        Ok(ours)
    }

    fn signed_by(&self, signer: &dyn Signer, made: usize, kept: usize) -> SignedBy {
        let key = signer.public();
        let is_index = |entry: &&Entry| entry.file.as_str() == index::FILE_NAME && entry.key_id == key.id();
        let signature = self.entries.iter().find(is_index).map(|entry| &entry.signature);
        let names = [None, Some(key.id())].map(|further| file_name(index::FILE_NAME, further, signatures::ENDING));
        let [first, own] = names;
        let name = if self.after.get(first.as_str()) == signature { first } else { own };
        SignedBy {
            key_id: key.id(),
            algorithm: key.algorithm().as_str(),
            made,
            kept,
            command: key.algorithm().openssl_command(
                "pub.pem",
                self.directory.join(name).as_str(),
                self.directory.join(index::FILE_NAME).as_str(),
            ),
        }
    }
}

fn evidence_name(name: &str) -> Result<FileName> {
    name.parse().map_err(|error| {
        Failure::new(Code::NameInvalid, "the name of a signature would be too long")
            .because(error)
            .hint("choose a shorter `archive.name-pattern`")
    })
}
