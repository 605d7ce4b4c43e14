//! Sigstore bundles that name a public key: written for the index, read from anybody.
//!
//! A bundle made with a certificate is recognised and not judged: certificates are another story than
//! keys. Log entries are checked as far as they can be without trusting a log, and wholly with the
//! log's key: the entry has to be about this very artifact, signature and key.

use data_encoding::BASE64;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::dsse::{self, Envelope};
use super::key::{KeyId, PublicKey};
use super::transparency::{self, Checkpoint, decimal, digest, leaf_hash};
use super::unambiguous::Unambiguous;
use crate::model::{Code, Digest, pretty, text};

/// What is put behind a file's name.
pub const ENDING: &str = super::documents::SIGSTORE_ENDING;
/// The type that is written.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The types that are read.
const MEDIA_TYPES: [&str; 4] = [
    MEDIA_TYPE,
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
];
/// The most log entries, time stamps or certificates of one bundle.
const MAX_ROWS: usize = 32;

/// A Sigstore bundle, none of whose signatures has been looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    media_type: String,
    verification_material: Material,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageSignature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Hint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<Chain>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tlog_entries: Vec<LogEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Timestamps>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hint {
    #[serde(default)]
    hint: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Certificate {
    raw_bytes: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chain {
    certificates: Vec<Certificate>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Timestamps {
    #[serde(default)]
    rfc3161_timestamps: Vec<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Timestamp {
    signed_timestamp: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// Whole numbers are text here, and those that are zero may be left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogEntry {
    #[serde(default)]
    log_index: Option<String>,
    log_id: Option<LogId>,
    kind_version: Option<KindVersion>,
    #[serde(default)]
    integrated_time: Option<String>,
    #[serde(default)]
    inclusion_promise: Option<InclusionPromise>,
    #[serde(default)]
    inclusion_proof: Option<InclusionProof>,
    canonicalized_body: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogId {
    key_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KindVersion {
    kind: String,
    version: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InclusionPromise {
    signed_entry_timestamp: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InclusionProof {
    #[serde(default)]
    log_index: Option<String>,
    root_hash: String,
    tree_size: String,
    #[serde(default)]
    hashes: Vec<String>,
    checkpoint: Option<NoteText>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteText {
    envelope: String,
}

/// Why a bundle does not prove what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The stable code.
    pub code: Code,
    /// One sentence in lower case.
    pub message: String,
}

impl Refused {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Bundle {
    /// A bundle with one signature over a file.
    pub fn of_signature(key: KeyId, artifact: Digest, signature: &[u8]) -> Self {
        let hint = Hint { hint: BASE64.encode(key.as_bytes()) };
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material { public_key: Some(hint), ..Material::default() },
            message_signature: Some(MessageSignature {
                message_digest: Some(MessageDigest {
                    algorithm: "SHA2_256".to_owned(),
                    digest: BASE64.encode(artifact.as_bytes()),
                }),
                signature: BASE64.encode(signature),
            }),
            dsse_envelope: None,
        }
    }

    /// The bundle as Consign writes it.
    pub fn render(&self) -> Vec<u8> {
        pretty(self)
    }

    /// Reads a bundle of any known version, and looks whether it has all of its parts.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| {
            let complaint: String = error.to_string().chars().take(240).collect();
            Refused::new(Code::DocumentInvalid, format!("it is no Sigstore bundle: {}", text::shown(&complaint)))
        })?;
        match bundle.problem() {
            Some(problem) => Err(Refused::new(Code::DocumentInvalid, problem)),
            None => Ok(bundle),
        }
    }

    fn problem(&self) -> Option<String> {
        let material = &self.verification_material;
        let proofs =
            [material.public_key.is_some(), material.certificate.is_some(), material.x509_certificate_chain.is_some()];
        let stamps = material.timestamp_verification_data.as_ref().map_or(0, |data| data.rfc3161_timestamps.len());
        let chain = material.x509_certificate_chain.as_ref().map(|chain| chain.certificates.len());
        let is_base64 = |text: &str| !text.is_empty() && BASE64.decode(text.as_bytes()).is_ok();
        let problem = if !MEDIA_TYPES.contains(&self.media_type.as_str()) {
            format!("it is of an unknown type {:?}", text::shown(&self.media_type))
        } else if proofs.iter().filter(|there| **there).count() != 1 {
            "it does not name exactly one key or certificate".to_owned()
        } else if material.tlog_entries.len() > MAX_ROWS || stamps > MAX_ROWS || chain.is_some_and(|n| n > MAX_ROWS) {
            "it has more entries than any bundle needs".to_owned()
        } else if chain == Some(0) {
            "its chain of certificates is empty".to_owned()
        } else if self.message_signature.is_some() == self.dsse_envelope.is_some() {
            "it does not have exactly one content".to_owned()
        } else if self.message_signature.as_ref().is_some_and(|content| !is_base64(&content.signature)) {
            "its signature is not base64".to_owned()
        } else if self.dsse_envelope.as_ref().is_some_and(|envelope| envelope.signatures.len() != 1) {
            "its envelope does not have exactly one signature".to_owned()
        } else {
            let numbers = material.tlog_entries.iter().flat_map(|entry| [&entry.log_index, &entry.integrated_time]);
            if numbers.flatten().all(|number| decimal(number).is_some()) {
                return None;
            }
            "a number of its log entries is none".to_owned()
        };
        Some(problem)
    }

    /// Whether it names a public key, and not a certificate.
    pub fn is_keyed(&self) -> bool {
        self.verification_material.public_key.is_some()
    }

    /// The key that it names, if it is named by the digest of its SPKI.
    pub fn key(&self) -> Option<KeyId> {
        digest(&self.verification_material.public_key.as_ref()?.hint)
    }

    /// The signature over a file, if it has one.
    pub fn signature(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.message_signature.as_ref()?.signature.as_bytes()).ok()
    }

    /// Whether it carries nothing besides the signature.
    pub fn is_plain(&self) -> bool {
        let material = &self.verification_material;
        material.tlog_entries.is_empty() && material.timestamp_verification_data.is_none()
    }

    /// Whether it says that it is about an artifact with this digest, where it says anything.
    pub fn is_about(&self, artifact: Digest) -> bool {
        let said = self.message_signature.as_ref().and_then(|content| content.message_digest.as_ref());
        said.is_none_or(|said| said.algorithm == "SHA2_256" && digest(&said.digest) == Some(artifact))
    }

    /// Whether it was made with a certificate over a statement, as forges attest what they have built.
    pub fn is_attestation(&self) -> bool {
        !self.is_keyed() && self.dsse_envelope.is_some()
    }

    /// Whether its statement is about an artifact. Nothing is said of who has signed it.
    pub fn attests(&self, artifact: Digest) -> bool {
        self.dsse_envelope.as_ref().is_some_and(|envelope| is_subject(envelope, artifact).is_ok())
    }

    /// Whether a key has signed this artifact, and everything else in the bundle is about that.
    ///
    /// With a log's key, the bundle has to be in that log.
    pub fn verify(&self, artifact: &[u8], key: &PublicKey, log: Option<&PublicKey>) -> Result<(), Refused> {
        if self.key().is_some_and(|named| named != key.id()) || !self.is_keyed() {
            return Err(Refused::new(Code::KeyUntrusted, "it is not by the key that is trusted"));
        }
        let (digest, invalid) = (Digest::of(artifact), || Refused::new(Code::SignatureInvalid, INVALID));
        let signature = match (&self.message_signature, &self.dsse_envelope) {
            (Some(_), None) => {
                if !self.is_about(digest) {
                    return Err(Refused::new(Code::SignatureInvalid, "it is about another file"));
                }
                let signature = self.signature().ok_or_else(invalid)?;
                key.verify(artifact, &signature).map_err(|_| invalid())?;
                signature
            }
            (None, Some(envelope)) => {
                if envelope.signers(std::iter::once(key)).is_empty() {
                    return Err(invalid());
                }
                is_subject(envelope, digest)?;
                Vec::new()
            }
            _ => return Err(invalid()),
        };
        let entries = &self.verification_material.tlog_entries;
        if log.is_some() && entries.is_empty() {
            return Err(Refused::new(Code::SignatureInvalid, "it is in no transparency log"));
        }
        let needs_proof = self.media_type != MEDIA_TYPES[3] || log.is_some();
        entries.iter().try_for_each(|entry| {
            let checked = match &self.message_signature {
                Some(_) => entry.is_about(digest, &signature, key),
                None => Err("it is an entry of a kind that is not known".to_owned()),
            };
            checked
                .and_then(|()| entry.verify(needs_proof, log))
                .map_err(|why| Refused::new(Code::SignatureInvalid, format!("its log entry is refused: {why}")))
        })
    }
}

const INVALID: &str = "its signature is not one of the trusted key over this file";

/// Whether a verified envelope's statement is about an artifact.
fn is_subject(envelope: &Envelope, artifact: Digest) -> Result<(), Refused> {
    /// As much of an in-toto statement as is needed; whatever it states is not Consign's business.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Statement {
        #[serde(rename = "_type")]
        kind: String,
        subject: Vec<Subject>,
        #[serde(rename = "predicateType")]
        _predicate_type: String,
        #[serde(default, rename = "predicate")]
        _predicate: IgnoredAny,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: Digests,
    }
    #[derive(Deserialize)]
    struct Digests {
        sha256: Option<String>,
    }
    let invalid = || Refused::new(Code::DocumentInvalid, "its envelope holds no in-toto statement");
    let body = envelope.body().filter(|_| envelope.payload_type == dsse::IN_TOTO).ok_or_else(invalid)?;
    // What is not needed of the statement is read all the same: it is signed, and has to mean one thing.
    let Unambiguous = serde_json::from_slice(&body).map_err(|_| invalid())?;
    let statement: Statement = serde_json::from_slice(&body).map_err(|_| invalid())?;
    if !STATEMENTS.contains(&statement.kind.as_str()) {
        return Err(invalid());
    }
    let expected = artifact.to_string();
    if statement.subject.iter().any(|subject| subject.digest.sha256.as_ref() == Some(&expected)) {
        Ok(())
    } else {
        Err(Refused::new(Code::SubjectMismatch, "its statement is not about this file"))
    }
}

const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

impl LogEntry {
    /// Whether the entry is about this artifact, signature and key, and nothing else.
    fn is_about(&self, artifact: Digest, signature: &[u8], key: &PublicKey) -> Result<(), String> {
        let body = BASE64.decode(self.canonicalized_body.as_bytes()).map_err(|_| "its body is not base64")?;
        let said = self.kind_version.as_ref().map(|said| (said.kind.as_str(), said.version.as_str()));
        let entry = match said {
            Some(("hashedrekord", "0.0.1")) => Recorded::first(&body),
            Some(("hashedrekord", "0.0.2")) => Recorded::second(&body),
            _ => return Err("it is an entry of a kind that is not known".to_owned()),
        };
        let entry = entry.ok_or("its body is not what its kind says")?;
        if entry.artifact != artifact {
            return Err("it is about another file".to_owned());
        }
        if entry.signature != signature {
            return Err("it is about another signature".to_owned());
        }
        if entry.key.id() != key.id() {
            return Err("it is about another key".to_owned());
        }
        Ok(())
    }

    /// Whether the entry is in the tree that its checkpoint describes.
    fn verify(&self, needs_proof: bool, log: Option<&PublicKey>) -> Result<(), String> {
        let Some(proof) = &self.inclusion_proof else {
            return if needs_proof { Err("it has no inclusion proof".to_owned()) } else { Ok(()) };
        };
        let body = BASE64.decode(self.canonicalized_body.as_bytes()).map_err(|_| "its body is not base64")?;
        let number = proof.log_index.as_deref().map_or(Some(0), decimal).ok_or("its place in the log is no number")?;
        let size = decimal(&proof.tree_size).ok_or("the size of the log is no number")?;
        let root = digest(&proof.root_hash).ok_or("the log's root hash is none")?;
        let hashes: Option<Vec<_>> = proof.hashes.iter().map(|hash| digest(hash)).collect();
        let hashes = hashes.ok_or("a hash of its inclusion proof is none")?;
        transparency::verify_inclusion(number, size, &leaf_hash(&body), &hashes, &root)
            .map_err(|problem| problem.to_string())?;
        let note = proof.checkpoint.as_ref().ok_or("it has no checkpoint")?;
        let checkpoint = Checkpoint::parse(&note.envelope)?;
        if (checkpoint.size, checkpoint.root) != (size, root) {
            return Err("its checkpoint is of another tree than its inclusion proof".to_owned());
        }
        log.map_or(Ok(()), |log| checkpoint.verify(log))
    }
}

/// What an entry of kind `hashedrekord` records.
struct Recorded {
    artifact: Digest,
    signature: Vec<u8>,
    key: PublicKey,
}

impl Recorded {
    /// Version 0.0.1.
    fn first(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Body {
            api_version: String,
            kind: String,
            spec: Spec,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Spec {
            data: Data,
            signature: Signature,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Data {
            hash: Hash,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Hash {
            algorithm: String,
            value: Digest,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Signature {
            content: String,
            public_key: Content,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Content {
            content: String,
        }
        let Body { api_version, kind, spec } = serde_json::from_slice(body).ok()?;
        if (api_version.as_str(), kind.as_str()) != ("0.0.1", "hashedrekord") || spec.data.hash.algorithm != "sha256" {
            return None;
        }
        let pem = BASE64.decode(spec.signature.public_key.content.as_bytes()).ok()?;
        Some(Self {
            artifact: spec.data.hash.value,
            signature: BASE64.decode(spec.signature.content.as_bytes()).ok()?,
            key: PublicKey::from_pem(&pem).ok()?,
        })
    }

    /// Version 0.0.2.
    fn second(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Body {
            api_version: String,
            kind: String,
            spec: Spec,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Spec {
            #[serde(rename = "hashedRekordV002")]
            record: Record,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Record {
            data: MessageDigest,
            signature: Signature,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Signature {
            content: String,
            verifier: Verifier,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Verifier {
            #[serde(rename = "keyDetails")]
            _key_details: String,
            public_key: Certificate,
        }
        let Body { api_version, kind, spec: Spec { record } } = serde_json::from_slice(body).ok()?;
        if (api_version.as_str(), kind.as_str()) != ("0.0.2", "hashedrekord") || record.data.algorithm != "SHA2_256" {
            return None;
        }
        let der = BASE64.decode(record.signature.verifier.public_key.raw_bytes.as_bytes()).ok()?;
        Some(Self {
            artifact: digest(&record.data.digest)?,
            signature: BASE64.decode(record.signature.content.as_bytes()).ok()?,
            key: PublicKey::from_der(&der).ok()?,
        })
    }
}
