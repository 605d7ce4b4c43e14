//! One function for each reader of bytes from outside: what must hold for any input.
//!
//! The fuzzer calls them with what it finds, and the tests with the corpora that are checked in.

use consign::archive::Inspector;
use consign::model::Code;
use consign::model::index::ArchiveFormat;
use consign::model::sbom::{cyclonedx, spdx};
use consign::trust::documents;
use consign::trust::key::PublicKey;
use consign::trust::private::PrivateKey;
use consign::trust::tuf::json::Json;
use consign::trust::tuf::roles::{Role, Root, Signed, Snapshot, Targets, TimestampRole};

/// Reads bytes from outside, or refuses them; panics where something does not hold.
type Reader = fn(&[u8]);

/// Every reader, by the name of its target and of its corpus.
pub const ALL: &[(&str, Reader)] = &[
    ("archive", archive),
    ("checksums", checksums),
    ("index", index),
    ("metadata", metadata),
    ("private_key", private_key),
    ("provenance", provenance),
    ("public_key", public_key),
    ("sbom", sbom),
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
    if let Ok(contents) = Inspector::default().inspect(format, bytes, stem, MAX_UNPACKED_BYTES) {
        let unpacked: u64 = contents.entries.iter().map(|entry| entry.size_bytes).sum();
        assert!(unpacked <= MAX_UNPACKED_BYTES);
        assert!(contents.entries.iter().all(|entry| !entry.path.split('/').any(|part| part == "..")));
    }
}

/// A public key in PEM or DER is its own writing again, under the same name.
pub fn public_key(bytes: &[u8]) {
    let keys = [PublicKey::from_der(bytes).ok(), PublicKey::from_pem(bytes).ok()];
    for key in keys.into_iter().flatten() {
        let again = PublicKey::from_pem(key.to_pem().as_bytes()).expect("its own writing");
        assert_eq!(again.id(), key.id());
        assert!(key.verify(b"message", bytes).is_err());
    }
}

/// A private key signs what its public half verifies, or is refused by a code of its own.
pub fn private_key(bytes: &[u8]) {
    match PrivateKey::from_pkcs8(bytes) {
        Ok(key) => drop(consign::trust::key::sign(&key, b"message").expect("a key that was read signs")),
        Err(failure) => assert_eq!(failure.code(), Code::KeyInvalid),
    }
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
