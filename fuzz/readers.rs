//! One function for each reader of bytes from outside: what must hold for any input.
//!
//! The fuzzer calls them with what it finds, and the tests with the corpora that are checked in.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use consign::archive::Inspector;
use consign::archive::stream::{Accepted, Expected, Sink};
use consign::model::index::ArchiveFormat;
use consign::model::sbom::{cyclonedx, spdx};
use consign::model::{Code, Digest};
use consign::trust::documents;
use consign::trust::dsse::Envelope;
use consign::trust::encrypted;
use consign::trust::key::{PublicKey, Signer as _};
use consign::trust::private::{Opened, PrivateKey};
use consign::trust::signatures::Signatures;
use consign::trust::sigstore::Bundle;
use consign::trust::transparency::Checkpoint;
use consign::trust::tuf::json::Json;
use consign::trust::tuf::roles::{Role, Root, Signed, Snapshot, Targets, TimestampRole};

/// Reads bytes from outside, or refuses them; panics where something does not hold.
type Reader = fn(&[u8]);

/// Every reader, by the name of its target and of its corpus.
pub const ALL: &[(&str, Reader)] = &[
    ("archive", archive),
    ("checkpoint", checkpoint),
    ("checksums", checksums),
    ("dsse", dsse),
    ("index", index),
    ("metadata", metadata),
    ("pem", pem),
    ("private_key", private_key),
    ("provenance", provenance),
    ("sbom", sbom),
    ("signatures", signatures),
    ("sigstore", sigstore),
    ("spki", spki),
    ("tuf", tuf),
];

/// What was read as `index.json` is written as the same bytes.
pub fn index(bytes: &[u8]) {
    if let Ok(index) = documents::read_index(bytes) {
        assert_eq!(index.render(), bytes);
    }
}

/// What was read as `provenance.json` is written as the same bytes.
pub fn provenance(bytes: &[u8]) {
    if let Ok(statement) = documents::read_provenance(bytes) {
        assert_eq!(statement.render(), bytes);
    }
}

/// What was read as `checksums.txt` is written as the same bytes.
pub fn checksums(bytes: &[u8]) {
    if let Ok(checksums) = documents::read_checksums(bytes) {
        assert_eq!(checksums.render(), bytes);
    }
}

/// A package's `metadata.json` is read or refused.
pub fn metadata(bytes: &[u8]) {
    let _ = documents::read_metadata(bytes);
}

/// Both kinds of SBOM are read or refused.
pub fn sbom(bytes: &[u8]) {
    let _ = spdx::described(bytes);
    let _ = cyclonedx::described(bytes);
}

/// How much an archive may unpack to here.
const MAX_UNPACKED_BYTES: u64 = 1 << 20;

/// An archive is read within its bounds or refused; the first byte says in which format.
pub fn archive(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let (format, stem) = [
        (ArchiveFormat::TarGz, "tool-0.1.0-linux-amd64"),
        (ArchiveFormat::TarZst, "tool-0.1.0-linux-arm64"),
        (ArchiveFormat::Zip, "tool-0.1.0-windows-amd64"),
    ][usize::from(*first) % 3];
    stream(format, bytes, stem);
    if let Ok(contents) = Inspector::default().inspect(format, bytes, stem, MAX_UNPACKED_BYTES) {
        let unpacked: u64 = contents.entries.iter().map(|entry| entry.size_bytes).sum();
        assert!(unpacked <= MAX_UNPACKED_BYTES);
        assert!(contents.entries.iter().all(|entry| !entry.path.split('/').any(|part| part == "..")));
    }
}

/// What is read in one pass is read in memory too, and is the same.
fn stream(format: ArchiveFormat, bytes: &[u8], stem: &str) {
    let mut counted = Counted { begun: 0, written: 0 };
    let read = consign::archive::stream::read(format, &mut { bytes }, &Expected::default(), &mut counted);
    let Ok(accepted) = read else { return };
    // Only the tar stream itself is larger than what is in it.
    let content: u64 = accepted.entries.iter().map(|entry| entry.size_bytes).sum();
    assert_eq!((counted.begun, counted.written), (content, content));
    let unpacked = match format {
        ArchiveFormat::Zip => content,
        ArchiveFormat::TarGz | ArchiveFormat::TarZst => tar_bytes(&accepted),
    };
    let mut inspector = Inspector::default();
    let contents = inspector.inspect(format, bytes, &accepted.stem, unpacked).expect("it was accepted in one pass");
    assert_eq!((contents.entries, contents.date), (accepted.entries, accepted.date));
    let expected = Expected { stem: Some(stem), unpacked_size_bytes: Some(unpacked) };
    let mut counted = Counted { begun: 0, written: 0 };
    let again = consign::archive::stream::read(format, &mut { bytes }, &expected, &mut counted);
    assert_eq!(again.is_ok(), accepted.stem == stem);
}

/// The size of the tar stream of an archive: headers, padded content, and two blocks at the end.
fn tar_bytes(accepted: &Accepted) -> u64 {
    let paths = accepted.entries.iter().map(|entry| entry.path.as_str());
    let directories: BTreeSet<_> =
        paths.flat_map(|path| path.match_indices('/').map(|(slash, _)| &path[..slash])).collect();
    let contents: u64 = accepted.entries.iter().map(|entry| 512 + entry.size_bytes.next_multiple_of(512)).sum();
    512 * (1 + directories.len() as u64) + contents + 1024
}

/// Counts what it gets.
struct Counted {
    begun: u64,
    written: u64,
}

impl Sink for Counted {
    fn begin(&mut self, size_bytes: u64) -> std::io::Result<()> {
        self.begun += size_bytes;
        if self.begun <= MAX_UNPACKED_BYTES { Ok(()) } else { Err(std::io::ErrorKind::StorageFull.into()) }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.written += bytes.len() as u64;
        assert!(self.written <= self.begun);
        Ok(())
    }
}

/// What was read as `signatures.json` is written as the same bytes.
pub fn signatures(bytes: &[u8]) {
    if let Ok(list) = Signatures::read(bytes) {
        assert_eq!(list.render(), bytes);
    }
}

/// What was read as the signed provenance is written as the same bytes, and is signed by nobody here.
pub fn dsse(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::read_own(bytes) {
        assert_eq!(envelope.render(), bytes);
        assert_eq!(envelope.listed().len(), envelope.signatures.len());
        assert!(envelope.signers(std::iter::once(log().public())).is_empty());
    }
}

/// What the bundles of the corpus are about.
const ARTIFACT: &[u8] = b"message";

/// A Sigstore bundle that is accepted for one artifact and one key is refused for any other.
pub fn sigstore(bytes: &[u8]) {
    let Ok(bundle) = Bundle::parse(bytes) else { return };
    let again = Bundle::parse(&bundle.render()).expect("its own writing");
    assert_eq!(again.render(), bundle.render());
    for log in [None, Some(log().public())] {
        if bundle.verify(ARTIFACT, key().public(), log).is_ok() {
            assert!(bundle.verify(b"massage", key().public(), log).is_err());
        }
    }
    assert!(bundle.verify(ARTIFACT, log().public(), None).is_err());
    assert!(bundle.verify(ARTIFACT, key().public(), Some(key().public())).is_err());
}

/// A checkpoint that verifies is one that the log has signed, and these are of two leaves.
pub fn checkpoint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(checkpoint) = Checkpoint::parse(text) else { return };
    if checkpoint.verify(log().public()).is_ok() {
        assert!(checkpoint.origin.starts_with("log.example") && checkpoint.size == 2);
    }
    assert!(checkpoint.verify(key().public()).is_err());
}

/// The key that has signed what is signed in the corpora.
fn key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::from_pkcs8(include_bytes!("corpus/private_key/p-256.der")).expect("a key"))
}

/// The key of the log in which the corpora's bundles are.
fn log() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::from_pkcs8(include_bytes!("corpus/private_key/ed25519.der")).expect("a key"))
}

/// A public key in DER is its own writing again, under the same name.
pub fn spki(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_der(bytes) {
        assert_eq!(key.id(), Digest::of(bytes));
        is_its_own_writing(&key);
        assert!(key.verify(b"message", bytes).is_err());
    }
}

fn is_its_own_writing(key: &PublicKey) {
    let again = PublicKey::from_pem(key.to_pem().as_bytes()).expect("its own writing");
    assert_eq!((again.id(), again.algorithm()), (key.id(), key.algorithm()));
}

/// A text holds a public key, a private one, or something that is named and refused; never two of these.
pub fn pem(bytes: &[u8]) {
    let public = PublicKey::from_pem(bytes);
    match (&public, PrivateKey::open(bytes)) {
        (Ok(key), Err(_)) => is_its_own_writing(key),
        (Err(_), Ok(Opened::Key(key))) => {
            let again = PrivateKey::from_pem(key.to_pem().as_bytes()).expect("its own writing");
            assert_eq!(again.public(), key.public());
        }
        (Err(_), Ok(Opened::Locked(_)) | Err(_)) => {}
        (Ok(_), Ok(_)) => panic!("one text is both halves of a key"),
    }
}

/// A private key signs what its public half verifies, or is refused by a code of its own.
pub fn private_key(bytes: &[u8]) {
    match PrivateKey::from_pkcs8(bytes) {
        Ok(key) => drop(consign::trust::key::sign(&key, b"message").expect("a key that was read signs")),
        Err(failure) => assert_eq!(failure.code(), Code::KeyInvalid),
    }
    // How much work it would be to open one that is encrypted is known without doing it.
    let _ = encrypted::check(bytes);
}

/// A document of a catalog has one canonical form, which nobody has signed.
pub fn tuf(bytes: &[u8]) {
    fn read<T: Role>(bytes: &[u8], root: Option<&Root>) {
        let Ok(document) = Signed::<T>::parse(bytes) else { return };
        let again = Signed::<T>::parse(&document.render()).expect("its own writing");
        assert_eq!(again.canonical(), document.canonical());
        if let Some(root) = root {
            let _ = root.accepts(&document);
        }
    }
    if let Ok(value) = Json::parse(bytes) {
        let _ = value.canonical();
    }
    let root = Signed::<Root>::parse(bytes).ok().map(|root| root.signed);
    read::<Root>(bytes, root.as_ref());
    read::<Targets>(bytes, root.as_ref());
    read::<Snapshot>(bytes, root.as_ref());
    read::<TimestampRole>(bytes, root.as_ref());
}
