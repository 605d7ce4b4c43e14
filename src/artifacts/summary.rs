//! What the server says of a bundle that it has verified: a verification summary, signed.
//!
//! It is an in-toto statement with the predicate of <https://slsa.dev/spec/v1.1/verification_summary>,
//! in a DSSE envelope by the server's own key. Whoever has that key's public half needs no server to
//! check it.

use jiff::Timestamp;
use serde::Serialize;

use crate::model::artifact::Artifact;
use crate::model::failure::Result;
use crate::model::{Digest, FileName};
use crate::trust::dsse::{self, Envelope};
use crate::trust::key::{self, PublicKey, Signer};
use crate::trust::{Bundle, Verified};

/// The type of the predicate.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/verification_summary/v1";

/// What a bundle was verified by.
#[derive(Clone, Debug)]
pub struct Policy {
    uri: String,
    sha256: Digest,
}

impl Policy {
    /// Keys that were named to the server.
    pub fn of_keys(keys: &[PublicKey]) -> Self {
        let mut ids: Vec<_> = keys.iter().map(|key| key.id().to_string()).collect();
        ids.sort();
        Self { uri: "consign:keys".to_owned(), sha256: Digest::of(ids.join("\n").as_bytes()) }
    }

    /// The digest of it: a verdict counts under the very belief that it was made by.
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// The root of a catalog.
    pub fn of_root(bytes: &[u8], version: u64) -> Self {
        Self { uri: format!("consign:trust-root/{version}"), sha256: Digest::of(bytes) }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Subject<'a>>,
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a FileName,
    digest: Sha256,
}

#[derive(Serialize)]
struct Sha256 {
    sha256: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    verifier: Verifier,
    time_verified: Timestamp,
    resource_uri: String,
    policy: PolicyReference,
    verification_result: &'static str,
    verified_levels: [&'static str; 1],
    /// Which of the keys that are believed has signed every file; a field of our own.
    signed_by: Vec<String>,
}

#[derive(Serialize)]
struct Verifier {
    id: String,
    version: std::collections::BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct PolicyReference {
    uri: String,
    digest: Sha256,
}

/// Writes and signs the summary of a bundle that has passed.
pub(super) fn write(
    signer: &dyn Signer,
    artifact: &Artifact,
    bundle: &Verified<Bundle>,
    policy: &Policy,
    now: Timestamp,
) -> Result<String> {
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: bundle
            .assets
            .iter()
            .map(|asset| Subject { name: &asset.name, digest: Sha256 { sha256: asset.sha256 } })
            .collect(),
        predicate_type: PREDICATE_TYPE,
        predicate: Predicate {
            verifier: Verifier {
                id: format!("consign:server/{}", signer.public().id()),
                version: [("consign", env!("CARGO_PKG_VERSION"))].into(),
            },
            time_verified: now,
            resource_uri: format!("consign:{}/{}", artifact.service, artifact.id),
            policy: PolicyReference { uri: policy.uri.clone(), digest: Sha256 { sha256: policy.sha256 } },
            verification_result: "PASSED",
            verified_levels: ["SLSA_BUILD_LEVEL_UNEVALUATED"],
            signed_by: bundle.signed_by.iter().map(ToString::to_string).collect(),
        },
    };
    let statement = serde_json::to_vec(&statement).expect("plain texts always serialise");
    let signature = key::sign(signer, &dsse::pae(dsse::IN_TOTO, &statement))?;
    let envelope = Envelope::of_statement(&statement, [(signer.public().id(), signature.as_slice())].into_iter());
    Ok(String::from_utf8(envelope.render()).expect("JSON is text"))
}
