//! DSSE envelopes: a payload with its type and signatures over both.
//!
//! What is signed is [`pae`], so that a payload of one type can never be taken for one of another.
//! After verifying, the bytes that were verified are used; nothing is parsed a second time.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
use serde::{Deserialize, Serialize};

use super::key::{KeyId, PublicKey};

/// The file of a bundle with the signed provenance.
pub const FILE_NAME: &str = super::documents::PROVENANCE_ENVELOPE;
/// The type of an in-toto statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The most signatures of one envelope.
pub const MAX_SIGNATURES: usize = 64;

/// What is signed: the type and the body, each with its length before it.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

/// A signed payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The payload in base64.
    pub payload: String,
    /// Its type.
    pub payload_type: String,
    /// The signatures.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// Which key is said to have made it; it helps to find the key and proves nothing.
    #[serde(default)]
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

impl Envelope {
    /// The envelope of a statement, as Consign writes it: sorted by key id.
    pub fn of_statement<'a>(statement: &[u8], signatures: impl Iterator<Item = (KeyId, &'a [u8])>) -> Self {
        let mut signatures: Vec<_> = signatures
            .map(|(key, signature)| EnvelopeSignature { keyid: key.to_string(), sig: BASE64.encode(signature) })
            .collect();
        signatures.sort_by(|one, other| one.keyid.cmp(&other.keyid));
        Self { payload: BASE64.encode(statement), payload_type: IN_TOTO.to_owned(), signatures }
    }

    /// One line of JSON.
    pub fn render(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec(self).expect("plain text always serialises");
        out.push(b'\n');
        out
    }

    /// Reads one that Consign wrote: one line, in the one form, the signatures sorted by key id.
    pub fn read_own(bytes: &[u8]) -> Result<Self, String> {
        let envelope = super::documents::strict(bytes, bytes.len(), Self::render)?;
        let sorted = envelope.signatures.is_sorted_by(|one, other| one.keyid < other.keyid);
        let plain = |signature: &EnvelopeSignature| {
            signature.keyid.parse::<KeyId>().is_ok() && BASE64.decode(signature.sig.as_bytes()).is_ok()
        };
        match () {
            () if envelope.payload_type != IN_TOTO => Err("its payload is no in-toto statement".to_owned()),
            () if envelope.signatures.is_empty() => Err("it has no signature".to_owned()),
            () if envelope.signatures.len() > MAX_SIGNATURES => Err("it has too many signatures".to_owned()),
            () if !sorted => Err("its signatures are not sorted by key id".to_owned()),
            () if BASE64.decode(envelope.payload.as_bytes()).is_err() => Err("its payload is not base64".to_owned()),
            () if !envelope.signatures.iter().all(plain) => {
                Err("a signature has no key id, or is not base64".to_owned())
            }
            () => Ok(envelope),
        }
    }

    /// The payload's bytes, in either alphabet of base64.
    pub fn body(&self) -> Option<Vec<u8>> {
        lenient(&self.payload)
    }

    /// The signatures whose key is named by a digest.
    pub fn listed(&self) -> Vec<(KeyId, Vec<u8>)> {
        let row = |signature: &EnvelopeSignature| Some((signature.keyid.parse().ok()?, lenient(&signature.sig)?));
        self.signatures.iter().take(MAX_SIGNATURES).filter_map(row).collect()
    }

    /// Which of the keys has signed it, each counted once.
    pub fn signers<'a>(&self, keys: impl Iterator<Item = &'a PublicKey>) -> Vec<&'a PublicKey> {
        let Some(body) = self.body() else { return Vec::new() };
        let message = pae(&self.payload_type, &body);
        let signatures: Vec<_> =
            self.signatures.iter().take(MAX_SIGNATURES).filter_map(|signature| lenient(&signature.sig)).collect();
        keys.filter(|key| signatures.iter().any(|signature| key.verify(&message, signature).is_ok())).collect()
    }
}

/// Base64 in either alphabet, with or without padding: the specification of DSSE takes them all.
fn lenient(text: &str) -> Option<Vec<u8>> {
    // What is padded in the middle is two texts, which the decoder would join.
    if text.trim_end_matches('=').contains('=') {
        return None;
    }
    let encoding = match (text.contains(['-', '_']), text.ends_with('=')) {
        (false, true) => BASE64,
        (false, false) => BASE64_NOPAD,
        (true, true) => BASE64URL,
        (true, false) => BASE64URL_NOPAD,
    };
    encoding.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_s_own_example() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        // Lengths are counted in bytes.
        assert_eq!(pae("\u{e4}", b"\xff"), b"DSSEv1 2 \xc3\xa4 1 \xff");
    }

    #[test]
    fn both_alphabets_are_read() {
        for text in ["+/+/", "-_-_", "+/8=", "+/8", "-_8=", "-_8"] {
            assert!(lenient(text).is_some(), "{text}");
        }
        for text in ["+_+_", "+/9=", "+/8==", "a", "====", "a b=", "QQ==QQ==", "QQ==QUFB"] {
            assert_eq!(lenient(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_written_form_is_read_as_our_own() {
        let good = Envelope::of_statement(b"{}", [(KeyId::of(b"a"), b"s".as_slice())].into_iter()).render();
        assert!(Envelope::read_own(&good).is_ok());
        let text = String::from_utf8(good).expect("text");
        for wrong in [
            text.replace("e30=", "e30"),
            text.replace("{\"payload\"", "{\"payload\":\"e30=\",\"payload\""),
            text.replace("vnd.in-toto", "vnd.other"),
            text.replace('\n', ""),
            format!("{text}{text}"),
            text.replace(",\"sig\"", ", \"sig\""),
            text.replace("\"sig\"", "\"cert\":\"x\",\"sig\""),
        ] {
            assert!(Envelope::read_own(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_signatures_of_our_own_are_sorted_named_and_not_too_many() {
        type Spoil = fn(&mut Envelope);
        let id = |number: u32| KeyId::of(&number.to_le_bytes());
        let envelope = |count: u32| Envelope::of_statement(b"{}", (0..count).map(|number| (id(number), &b"s"[..])));
        let read = |envelope: &Envelope| Envelope::read_own(&envelope.render());
        assert!(read(&envelope(64)).is_ok_and(|envelope| envelope.listed().len() == 64));
        assert!(read(&envelope(65)).is_err() && read(&envelope(0)).is_err());
        let spoils: [Spoil; 5] = [
            |it| it.signatures.reverse(),
            |it| it.signatures[1] = it.signatures[0].clone(),
            |it| it.signatures[0].keyid = String::new(),
            |it| it.signatures[0].sig = "_w==".to_owned(),
            |it| it.payload = "e30".to_owned(),
        ];
        for spoil in spoils {
            let mut spoiled = envelope(2);
            spoil(&mut spoiled);
            assert!(read(&spoiled).is_err(), "{spoiled:?}");
        }
        // Of an envelope that somebody else made, no more signatures are looked at.
        assert_eq!(envelope(70).listed().len(), 64);
    }
}
