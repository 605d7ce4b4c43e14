//! What the evidence of a bundle claims, and what comes of it.
//!
//! [`Testimony::weigh`] reads every file of evidence before any asset is looked at and compares them
//! with each other: a signature stands in a file of its own, in the list and perhaps in an envelope,
//! and all of them have to agree. [`Testimony::hear`] then verifies what is claimed of one asset, and
//! [`Testimony::cover`] finds every asset that too few trusted keys have signed. What is by a key that
//! is not trusted is never an approval; it is listed as not checked.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::Serialize;

use super::anchor::{Anchor, Listed, distinct};
use super::documents::{Container, Evidence, OTHER_FORM, evidence_of};
use super::dsse::{self, Envelope};
use super::key::{KeyId, PublicKey};
use super::minisign::Minisig;
use super::signatures::{self, Entry, Signatures, short};
use super::sigstore;
use super::{bundle::Exhibit, judge};
use crate::model::{Code, FileName, Finding, index, provenance};

/// A file of evidence, or a signature in one, that proves nothing here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NotChecked {
    /// The file.
    pub file: FileName,
    /// Why nothing could be made of it.
    pub reason: String,
}

/// What the evidence is compared with.
pub(super) struct Facts<'a> {
    /// The version of the release, if the index could be read.
    pub(super) version: Option<&'a Version>,
    /// The provenance as it was found.
    pub(super) provenance: Option<&'a [u8]>,
    /// The names of all assets.
    pub(super) assets: &'a BTreeSet<FileName>,
    /// Every file of evidence, whole.
    pub(super) files: Vec<(&'a FileName, &'a [u8])>,
}

impl<'a> Facts<'a> {
    fn file(&self, wanted: &str) -> Option<(&'a FileName, &'a [u8])> {
        self.files.iter().copied().find(|(name, _)| name.as_str() == wanted)
    }
}

/// What the evidence says, before any signature over an asset has been verified.
#[derive(Default)]
pub(super) struct Testimony {
    claims: BTreeMap<FileName, Vec<Claim>>,
    /// The digests that the list of signatures gives.
    list: Option<Signatures>,
    /// Whether there is any detached signature, by whomever.
    has_signatures: bool,
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<NotChecked>,
    /// What has been verified already: the envelope around the provenance.
    pub(super) vouched: Vec<(FileName, KeyId)>,
}

/// One claim: a trusted key is said to have signed an asset.
struct Claim {
    file: FileName,
    proof: Proof,
    /// The keys that may have made it.
    keys: Vec<PublicKey>,
}

enum Proof {
    Raw(Vec<u8>),
    Sigstore(Box<sigstore::Bundle>),
    Minisign(Minisig),
}

/// What came of the claims about one asset.
#[derive(Default)]
pub(super) struct Heard {
    /// The trusted keys that have signed it.
    pub(super) signers: Vec<PublicKey>,
    /// The files whose signature holds, and whose it is.
    pub(super) vouched: Vec<(FileName, KeyId)>,
    pub(super) findings: Vec<Finding>,
}

impl Testimony {
    /// Reads all of the evidence and compares it with itself.
    pub(super) fn weigh(anchor: &Anchor, facts: &Facts<'_>) -> Self {
        let mut testimony = Self::default();
        if !anchor.is_checked() {
            for (file, _) in &facts.files {
                testimony.unchecked(file, "no key was given to check it with");
            }
            return testimony;
        }
        if testimony.read_list(facts) {
            testimony.detached(anchor, facts);
            testimony.sigstore(anchor, facts);
            testimony.minisign(anchor, facts);
            testimony.envelope(anchor, facts);
        }
        testimony
    }

    /// Verifies what is claimed of one asset.
    pub(super) fn hear(&self, asset: &FileName, bytes: &[u8]) -> Heard {
        let mut heard = Heard::default();
        for claim in self.claims.get(asset).into_iter().flatten() {
            match &claim.proof {
                Proof::Raw(signature) => {
                    if let Some(key) = claim.keys.iter().find(|key| key.verify(bytes, signature).is_ok()) {
                        heard.signers.push(key.clone());
                        heard.vouched.push((claim.file.clone(), key.id()));
                        let list = self.list.as_ref().and_then(|_| signatures::FILE_NAME.parse().ok());
                        heard.vouched.extend(list.map(|list| (list, key.id())));
                    } else {
                        let message = format!("it is not a signature over `{asset}` by the key that it names");
                        heard.findings.push(judge::finding(Code::SignatureInvalid, claim.file.as_str(), &message));
                    }
                }
                Proof::Minisign(signature) => {
                    if let Some(key) = claim.keys.iter().find(|key| signature.verify(bytes, key)) {
                        heard.vouched.push((claim.file.clone(), key.id()));
                    } else {
                        let message = format!("it is not a signature over `{asset}` by the key that it names");
                        heard.findings.push(judge::finding(Code::SignatureInvalid, claim.file.as_str(), &message));
                    }
                }
                Proof::Sigstore(bundle) => {
                    for key in &claim.keys {
                        match bundle.verify(bytes, key, None) {
                            Ok(()) => heard.vouched.push((claim.file.clone(), key.id())),
                            Err(why) => {
                                heard.findings.push(judge::finding(why.code, claim.file.as_str(), &why.message));
                            }
                        }
                    }
                }
            }
        }
        heard
    }

    /// Notes every asset that too few trusted keys have signed, or that the catalog does not know.
    pub(super) fn cover<'a>(
        &self,
        anchor: &Anchor,
        listed: Option<&Listed>,
        assets: impl Iterator<Item = &'a Exhibit> + Clone,
        findings: &mut Vec<Finding>,
    ) {
        if !anchor.is_checked() {
            return;
        }
        self.digests(assets.clone(), findings);
        if let Some(listed) = listed {
            for Exhibit { asset, .. } in assets {
                let (code, message) = match listed.files.get(&asset.name) {
                    None => (Code::TargetUnknown, "the catalog does not list it"),
                    Some((size, _)) if *size != asset.size_bytes => {
                        (Code::SizeMismatch, "the catalog gives it another size")
                    }
                    Some((_, digest)) if *digest != asset.sha256 => {
                        (Code::DigestMismatch, "the catalog gives it another digest")
                    }
                    Some(_) => continue,
                };
                findings.push(judge::finding(code, asset.name.as_str(), message));
            }
            return;
        }
        if self.list_is_spoiled() {
            // That no signature counts then has been said.
            return;
        }
        let signed_at_all = assets.clone().any(|exhibit| !exhibit.heard.signers.is_empty());
        let is_wrong = !self.findings.is_empty() || assets.clone().any(|exhibit| !exhibit.heard.findings.is_empty());
        if !signed_at_all && !is_wrong {
            findings.push(if self.has_signatures {
                let file = if self.list.is_some() { signatures::FILE_NAME } else { index::FILE_NAME };
                judge::finding(Code::KeyUntrusted, file, "it is not signed by a key that is trusted")
            } else {
                judge::finding(Code::Unsigned, index::FILE_NAME, "it is not signed, and signatures are required")
            });
            return;
        }
        for exhibit in assets.filter(|exhibit| !is_covered(anchor, None, exhibit)) {
            let name = exhibit.asset.name.as_str();
            let known = findings.iter().any(|finding| finding.file == name || is_of(&finding.file, name));
            let (has, needs) = (distinct(&exhibit.heard.signers), anchor.threshold());
            let listed = self.list.as_ref().is_some_and(|list| list.of(name).next().is_some());
            let (code, message) = match has {
                _ if known => continue,
                0 if !listed => (Code::Unsigned, "it is not signed by a key that is trusted".to_owned()),
                0 => (Code::KeyUntrusted, "none of its signatures is by a key that is trusted".to_owned()),
                _ => (Code::KeyUntrusted, format!("{has} trusted keys have signed it, and {needs} have to")),
            };
            findings.push(judge::finding(code, name, &message));
        }
    }

    fn list_is_spoiled(&self) -> bool {
        let is_it = |finding: &Finding| finding.file == signatures::FILE_NAME && finding.code == Code::DocumentInvalid;
        self.findings.iter().any(is_it)
    }

    /// Every digest in the list against the file itself.
    fn digests<'a>(&self, assets: impl Iterator<Item = &'a Exhibit>, findings: &mut Vec<Finding>) {
        let Some(list) = &self.list else { return };
        for Exhibit { asset, .. } in assets {
            let wrong = list.of(asset.name.as_str()).any(|entry| entry.sha256 != asset.sha256);
            let known = findings.iter().any(|finding| finding.file == asset.name.as_str());
            if wrong && !known {
                let message = format!("it gives `{}` another digest", asset.name);
                findings.push(judge::finding(Code::DocumentsDisagree, signatures::FILE_NAME, &message));
            }
        }
    }

    fn found(&mut self, code: Code, file: &str, message: &str) {
        self.findings.push(judge::finding(code, file, message));
    }

    fn unchecked(&mut self, file: &FileName, reason: &str) {
        self.not_checked.push(NotChecked { file: file.clone(), reason: reason.to_owned() });
    }

    fn claim(&mut self, asset: &str, claim: Claim) {
        // A name that is none belongs to no asset and was found to be unlisted.
        if let Ok(asset) = asset.parse() {
            self.claims.entry(asset).or_default().push(claim);
        }
    }

    /// Reads the list of signatures, if there is one; whether to go on.
    fn read_list(&mut self, facts: &Facts<'_>) -> bool {
        let Some((_, bytes)) = facts.file(signatures::FILE_NAME) else { return true };
        let list = match Signatures::read(bytes) {
            Ok(list) => list,
            Err(problem) => {
                self.found(Code::DocumentInvalid, signatures::FILE_NAME, &problem);
                return false;
            }
        };
        if facts.version.is_some_and(|version| *version != list.version) {
            self.found(Code::DocumentsDisagree, signatures::FILE_NAME, "its version is not the index's");
        }
        for entry in list.signatures.iter().filter(|entry| !facts.assets.contains(&entry.file)) {
            let message = format!("it lists a signature of `{}`, which is no asset of the bundle", entry.file);
            self.findings.push(judge::finding(Code::FileUnlisted, signatures::FILE_NAME, &message));
        }
        self.whole(&list, facts);
        self.has_signatures = !list.signatures.is_empty();
        self.list = Some(list);
        true
    }

    /// A key signs all of a bundle or nothing, so that an entry under another key's name is found even
    /// where neither key is trusted.
    fn whole(&mut self, list: &Signatures, facts: &Facts<'_>) {
        let rows: BTreeSet<(KeyId, &FileName)> = list.signatures.iter().map(|row| (row.key_id, &row.file)).collect();
        let keys: BTreeSet<KeyId> = rows.iter().map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(file) = facts.assets.iter().find(|file| !rows.contains(&(key, *file))) {
                let message = format!("it lists signatures by key {key} and none of `{file}`");
                self.found(Code::Unsigned, signatures::FILE_NAME, &message);
            }
        }
    }

    /// The files that are a signature each, against the list.
    fn detached(&mut self, anchor: &Anchor, facts: &Facts<'_>) {
        let mut raws: Vec<_> = named(facts, Container::Raw).collect();
        self.has_signatures |= !raws.is_empty();
        let Some(list) = self.list.clone() else { return self.unlisted(anchor, &raws) };
        // The name of a further key's says which key it is; the first key's takes what is left.
        raws.sort_by_key(|raw| raw.key.is_none());
        let mut taken: BTreeMap<(&FileName, KeyId), &FileName> = BTreeMap::new();
        for raw in &raws {
            let fits = |entry: &&Entry| {
                entry.signature == raw.bytes
                    && raw.key.is_none_or(|key| short(entry.key_id) == key)
                    && !taken.contains_key(&(&entry.file, entry.key_id))
            };
            if let Some(entry) = list.of(raw.asset).find(fits) {
                taken.insert((&entry.file, entry.key_id), raw.file);
            } else {
                let message = format!("it is not a signature that `{}` lists", signatures::FILE_NAME);
                self.found(Code::SignatureInvalid, raw.file.as_str(), &message);
            }
        }
        for entry in &list.signatures {
            let Some(file) = taken.get(&(&entry.file, entry.key_id)) else {
                let spoiled = self.findings.iter().any(|finding| is_of(&finding.file, entry.file.as_str()));
                if !spoiled {
                    let message = format!("the file with its signature by key {} is missing", entry.key_id);
                    self.found(Code::Unsigned, entry.file.as_str(), &message);
                }
                continue;
            };
            match anchor.key(entry.key_id) {
                Some(key) if key.algorithm() != entry.algorithm => {
                    let message = format!("it names another algorithm for `{}` than the key has", entry.file);
                    self.found(Code::SignatureInvalid, signatures::FILE_NAME, &message);
                }
                Some(key) => {
                    let proof = Proof::Raw(entry.signature.clone());
                    let claim = Claim { file: (*file).clone(), proof, keys: vec![key.clone()] };
                    self.claim(entry.file.as_str(), claim);
                }
                None => self.unchecked(file, &untrusted(entry.key_id)),
            }
        }
    }

    /// Signatures without a list, as openssl makes them: each has to be by a trusted key.
    fn unlisted(&mut self, anchor: &Anchor, raws: &[Named<'_>]) {
        for raw in raws {
            let fits = |key: &&PublicKey| raw.key.is_none_or(|hint| short(key.id()) == hint);
            let keys: Vec<_> = anchor.keys().filter(fits).cloned().collect();
            if keys.is_empty() {
                self.unchecked(raw.file, "the key in its name is not trusted");
            } else {
                let claim = Claim { file: raw.file.clone(), proof: Proof::Raw(raw.bytes.to_vec()), keys };
                self.claim(raw.asset, claim);
            }
        }
    }

    /// Sigstore bundles: those by keys against the list.
    fn sigstore(&mut self, anchor: &Anchor, facts: &Facts<'_>) {
        for Named { file, asset, bytes, .. } in named(facts, Container::Sigstore) {
            let bundle = match sigstore::Bundle::parse(bytes) {
                Ok(bundle) => bundle,
                Err(why) => {
                    self.found(why.code, file.as_str(), &why.message);
                    continue;
                }
            };
            if !bundle.is_keyed() {
                self.unchecked(file, "it was made with a certificate, which is not checked here");
                continue;
            }
            let key = bundle.key();
            let listed = key.and_then(|key| self.list.as_ref()?.of(asset).find(|entry| entry.key_id == key));
            let same = listed
                .map(|entry| bundle.signature().as_ref() == Some(&entry.signature) && bundle.is_about(entry.sha256));
            if same == Some(true) && bundle.is_plain() && bundle.render() != bytes {
                self.found(Code::DocumentInvalid, file.as_str(), OTHER_FORM);
            } else if let Some(trusted) = key.and_then(|key| anchor.key(key)) {
                let (proof, keys) = (Proof::Sigstore(Box::new(bundle)), vec![trusted.clone()]);
                self.claim(asset, Claim { file: file.clone(), proof, keys });
            } else if same == Some(false) {
                let message = format!("it is not the signature that `{}` lists", signatures::FILE_NAME);
                self.found(Code::SignatureInvalid, file.as_str(), &message);
            } else if same.is_none() && self.list.is_some() && bundle.is_plain() {
                let message = format!("it is by a key that `{}` does not list", signatures::FILE_NAME);
                self.found(Code::KeyUntrusted, file.as_str(), &message);
            } else {
                let reason = key.map_or_else(|| "it does not name its key by a digest".to_owned(), untrusted);
                self.unchecked(file, &reason);
            }
        }
    }

    /// Signatures in minisign's form, which are a second container and approve nothing alone.
    fn minisign(&mut self, anchor: &Anchor, facts: &Facts<'_>) {
        for Named { file, asset, bytes, .. } in named(facts, Container::Minisign) {
            let signature = match Minisig::parse(bytes) {
                Ok(signature) => signature,
                Err(problem) => {
                    self.found(Code::DocumentInvalid, file.as_str(), problem);
                    continue;
                }
            };
            match anchor.keys().find(|key| signature.is_by(key)) {
                Some(key) => {
                    let (proof, keys) = (Proof::Minisign(signature), vec![key.clone()]);
                    self.claim(asset, Claim { file: file.clone(), proof, keys });
                }
                None => self.unchecked(file, "the key that it names is not trusted"),
            }
        }
    }

    /// The signed provenance.
    fn envelope(&mut self, anchor: &Anchor, facts: &Facts<'_>) {
        let Some((file, bytes)) = facts.file(dsse::FILE_NAME) else { return };
        let envelope = match Envelope::read_own(bytes) {
            Ok(envelope) => envelope,
            Err(problem) => return self.found(Code::DocumentInvalid, dsse::FILE_NAME, &problem),
        };
        if envelope.body().as_deref() != facts.provenance {
            let message = format!("its payload is not `{}`", provenance::FILE_NAME);
            return self.found(Code::SubjectMismatch, dsse::FILE_NAME, &message);
        }
        for signature in &envelope.signatures {
            let id: Option<KeyId> = signature.keyid.parse().ok();
            let is_listed = |list: &Signatures| list.of(provenance::FILE_NAME).any(|entry| Some(entry.key_id) == id);
            let alone = Envelope { signatures: vec![signature.clone()], ..envelope.clone() };
            match id.and_then(|id| anchor.key(id)) {
                Some(key) if alone.signers(std::iter::once(key)).is_empty() => {
                    let message = format!("its signature by key {} is not valid", key.id());
                    self.found(Code::SignatureInvalid, dsse::FILE_NAME, &message);
                }
                Some(key) => self.vouched.push((file.clone(), key.id())),
                None if self.list.as_ref().is_none_or(is_listed) => {
                    let reason = id.map_or_else(|| "a signature names no key".to_owned(), untrusted);
                    self.unchecked(file, &reason);
                }
                None => {
                    let message = format!("it is signed by a key that `{}` does not list", signatures::FILE_NAME);
                    self.found(Code::KeyUntrusted, dsse::FILE_NAME, &message);
                }
            }
        }
    }
}

/// Whether an asset is approved by whoever is trusted. This is asked twice: once to say what is
/// missing, and once more before anything is accepted.
pub(super) fn is_covered(anchor: &Anchor, listed: Option<&Listed>, exhibit: &Exhibit) -> bool {
    match (anchor, listed) {
        (Anchor::Unchecked, _) => true,
        (_, Some(listed)) => {
            let asset = &exhibit.asset;
            listed.files.get(&asset.name) == Some(&(asset.size_bytes, asset.sha256))
        }
        (_, None) => distinct(&exhibit.heard.signers) >= anchor.threshold(),
    }
}

fn untrusted(key: KeyId) -> String {
    format!("the key {key} is not trusted")
}

/// Whether a name is that of a signature of an asset.
fn is_of(name: &str, of: &str) -> bool {
    matches!(evidence_of(name), Some(Evidence::Of { asset, container: Container::Raw, .. }) if asset == of)
}

/// A file of evidence over one asset.
struct Named<'a> {
    file: &'a FileName,
    asset: &'a str,
    key: Option<&'a str>,
    bytes: &'a [u8],
}

fn named<'a>(facts: &Facts<'a>, wanted: Container) -> impl Iterator<Item = Named<'a>> {
    facts.files.iter().filter_map(move |(file, bytes)| match evidence_of(file.as_str()) {
        Some(Evidence::Of { asset, key, container }) if container == wanted => Some(Named { file, asset, key, bytes }),
        _ => None,
    })
}
