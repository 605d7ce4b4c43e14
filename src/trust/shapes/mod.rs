//! The shapes that key files come in: which one it is, and what turns it into one that is read.
//!
//! [`recognise`] tells the three shapes that are read (PKCS#8 plain and encrypted, `SubjectPublicKeyInfo`)
//! from all the others, each of which has its own sentence and, where there is one, the command that
//! converts it: [`Shape::refuse`]. What is inside a key of a readable shape is looked at in [`inner`].
//! No sentence holds a byte of the file.

pub(crate) mod inner;
#[cfg(feature = "toolchain")]
pub(super) mod private;
mod sentences;

#[cfg(feature = "toolchain")]
pub(super) use sentences::ENCRYPT_AGAIN;
pub(super) use sentences::{PUBLIC_AGAIN, PUBLIC_EC};

use zeroize::Zeroizing;

use super::pem::{self, Block, Malformed};
use crate::model::{Code, Failure};

/// What a file holds.
pub enum Found {
    /// A PKCS#8 private key in DER.
    Private(Zeroizing<Vec<u8>>),
    /// An encrypted PKCS#8 private key in DER.
    Encrypted(Zeroizing<Vec<u8>>),
    /// A public key, a `SubjectPublicKeyInfo` in DER.
    Public(Vec<u8>),
    /// Something that is not read, and may become so by being converted.
    Other(Shape),
    /// A key that cannot be used in whatever shape.
    Unfit(Refusal),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A private key.
    Private,
    /// A public key.
    Public,
}

/// A shape that is not read, or not where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence of each stands in `sentences`")]
pub enum Shape {
    Pkcs8,
    EncryptedPkcs8,
    Spki,
    Sec1,
    Pkcs1,
    LegacyEncrypted,
    OpenSsh(OpenSsh),
    Dsa,
    Sigstore,
    MinisignSecret,
    MinisignPublic,
    SignifySecret,
    SignifyPublic,
    PgpPrivate,
    PgpPublic,
    Putty,
    Age,
    Jwk,
    SshPublic,
    Pkcs1Public,
    Certificate,
    CertificateRequest,
    EcParameters,
    DerPrivate,
    DerEncrypted,
    DerPublic,
    DerCertificate,
    Pkcs12,
    Several,
    Accompanied,
    TextAfter,
    CutOff,
    LostLineBreaks,
    Base64,
    OtherLabel,
    Empty,
    ByteOrderMark,
    Utf16,
    Garbage,
}

impl Shape {
    /// Which half of a key it is, or is taken for where nobody asked for one.
    pub fn likely(self) -> Wanted {
        match self {
            Self::Spki
            | Self::MinisignPublic
            | Self::SignifyPublic
            | Self::PgpPublic
            | Self::SshPublic
            | Self::Pkcs1Public
            | Self::Certificate
            | Self::CertificateRequest
            | Self::DerPublic
            | Self::DerCertificate => Wanted::Public,
            _ => Wanted::Private,
        }
    }
}

/// The kinds of keys that ssh-keygen writes in its own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenSsh {
    /// ECDSA over P-256 or P-384, or RSA: ssh-keygen writes them as PKCS#8.
    Convertible,
    /// Ed25519, which ssh-keygen writes in this format only.
    Ed25519,
    /// Anything else.
    Other,
}

/// Why a key is not taken, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The shape in one word, for scripts.
    pub shape: &'static str,
    /// What it is, as the end of a sentence that begins with the file's name.
    pub sentence: String,
    /// What to do about it.
    pub remedy: Remedy,
}

/// What turns a key into one that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A command of a shell, with `{in}` for the file and `{out}` for the new one.
    Command(String),
    /// There is no command; what to do in words.
    Advice(&'static str),
}

impl Remedy {
    pub(super) fn command(template: &str) -> Self {
        Self::Command(template.to_owned())
    }

    /// The command for a file, if there is one.
    pub fn command_for(&self, path: Option<&str>, wanted: Wanted) -> Option<String> {
        let Self::Command(template) = self else { return None };
        let path = path.unwrap_or("key.pem");
        let stem = path.strip_suffix(".pem").unwrap_or(path);
        let out = match wanted {
            Wanted::Private => format!("{stem}.new.pem"),
            Wanted::Public => format!("{stem}.pub.pem"),
        };
        Some(template.replace("{in}", &quoted(path)).replace("{out}", &quoted(&out)))
    }

    /// The hint for a file: the command, or the advice.
    pub fn hint(&self, path: Option<&str>, wanted: Wanted) -> String {
        match (self, self.command_for(path, wanted)) {
            (Self::Advice(advice), _) => (*advice).to_owned(),
            (_, Some(command)) if command.starts_with("consign") => format!("make a new key: `{command}`"),
            (_, command) => format!("`{}` converts it", command.unwrap_or_default()),
        }
    }
}

impl Refusal {
    /// The failure for a file, or for a text that lies in no file.
    pub fn into_failure(self, place: &str, path: Option<&str>, wanted: Wanted) -> Failure {
        Failure::new(Code::KeyInvalid, format!("`{place}` {}", self.sentence))
            .subject(place)
            .hint(self.remedy.hint(path, wanted))
    }
}

/// A word as a shell takes it for itself.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Tells what a file holds.
pub fn recognise(bytes: &[u8]) -> Found {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Found::Other(Shape::ByteOrderMark);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Found::Other(Shape::Utf16);
    }
    if bytes.trim_ascii().is_empty() {
        return Found::Other(Shape::Empty);
    }
    if let Some(shape) = inner::der_shape(bytes) {
        return Found::Other(shape);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Found::Other(Shape::Garbage) };
    match pem::blocks(text) {
        Err(Malformed::CutOff) => Found::Other(Shape::CutOff),
        Err(Malformed::TextAfter) => Found::Other(if is_key_text(text) { Shape::TextAfter } else { Shape::OtherLabel }),
        Ok(blocks) => match relevant(&blocks) {
            Ok(Some(block)) => of_block(block),
            Ok(None) => Found::Other(without_blocks(text)),
            Err(shape) => Found::Other(shape),
        },
    }
}

fn is_key_text(text: &str) -> bool {
    text.contains("KEY-----")
}

/// The one block that counts. Parameters of a curve before a key are none.
fn relevant<'a, 'b>(blocks: &'b [Block<'a>]) -> Result<Option<&'b Block<'a>>, Shape> {
    let keys: Vec<_> = blocks.iter().filter(|block| block.label != "EC PARAMETERS").collect();
    match keys.as_slice() {
        [] if blocks.is_empty() => Ok(None),
        [] => Err(Shape::EcParameters),
        [key] if blocks.len() <= 2 => Ok(Some(key)),
        [_] => Err(Shape::Several),
        several => {
            let private = several.iter().filter(|block| block.label.ends_with("PRIVATE KEY")).count();
            Err(if private == 1 { Shape::Accompanied } else { Shape::Several })
        }
    }
}

fn of_block(block: &Block<'_>) -> Found {
    if block.label.ends_with("PRIVATE KEY") && block.has_headers() {
        return Found::Other(Shape::LegacyEncrypted);
    }
    let decoded = |make: fn(Zeroizing<Vec<u8>>) -> Found| match block.decode() {
        Some(der) => make(der),
        None => Found::Other(Shape::Base64),
    };
    match block.label {
        "PRIVATE KEY" => decoded(Found::Private),
        "ENCRYPTED PRIVATE KEY" => decoded(Found::Encrypted),
        "PUBLIC KEY" => decoded(|der| Found::Public(der.to_vec())),
        "OPENSSH PRIVATE KEY" => decoded(|key| Found::Other(Shape::OpenSsh(inner::openssh(&key)))),
        "EC PRIVATE KEY" => decoded(|key| unfit_or(inner::sec1_refusal(&key), Shape::Sec1)),
        "RSA PRIVATE KEY" => decoded(|key| unfit_or(inner::pkcs1(&key).err(), Shape::Pkcs1)),
        label => Found::Other(of_label(label)),
    }
}

fn unfit_or(refusal: Option<Refusal>, shape: Shape) -> Found {
    refusal.map_or(Found::Other(shape), Found::Unfit)
}

fn of_label(label: &str) -> Shape {
    match label {
        "DSA PRIVATE KEY" => Shape::Dsa,
        "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => Shape::Sigstore,
        "RSA PUBLIC KEY" => Shape::Pkcs1Public,
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Shape::Certificate,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Shape::CertificateRequest,
        "PGP PRIVATE KEY BLOCK" => Shape::PgpPrivate,
        "PGP PUBLIC KEY BLOCK" | "PGP SIGNATURE" | "PGP MESSAGE" => Shape::PgpPublic,
        "AGE ENCRYPTED FILE" => Shape::Age,
        _ => Shape::OtherLabel,
    }
}

fn without_blocks(text: &str) -> Shape {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    if let Some(comment) = first.strip_prefix("untrusted comment:") {
        return match (comment.contains("signify"), comment.contains("secret")) {
            (false, true) => Shape::MinisignSecret,
            (false, false) => Shape::MinisignPublic,
            (true, true) => Shape::SignifySecret,
            (true, false) => Shape::SignifyPublic,
        };
    }
    if text.contains("-----BEGIN ") {
        return Shape::LostLineBreaks;
    }
    if first.starts_with("PuTTY-User-Key-File") {
        return Shape::Putty;
    }
    if first.starts_with("AGE-SECRET-KEY-") || text.lines().any(|line| line.starts_with("AGE-SECRET-KEY-")) {
        return Shape::Age;
    }
    if first.starts_with('{') && text.contains("\"kty\"") {
        return Shape::Jwk;
    }
    if ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2"].iter().any(|start| first.starts_with(start)) {
        return Shape::SshPublic;
    }
    Shape::Garbage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_it_otherwise() {
        for (word, expected) in [
            ("key.pem", "key.pem"),
            ("a/b-c_d+e=f:g,h@i%j.1", "a/b-c_d+e=f:g,h@i%j.1"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(x)", "'$(x)'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn the_way_out_is_a_command_for_this_file_or_words() {
        let (converts, makes) =
            (Remedy::command("openssl x -in {in} -out {out}"), Remedy::command("consign key generate --out {out}"));
        assert_eq!(
            converts.hint(Some("a b.pem"), Wanted::Private),
            "`openssl x -in 'a b.pem' -out 'a b.new.pem'` converts it"
        );
        assert_eq!(converts.hint(None, Wanted::Public), "`openssl x -in key.pem -out key.pub.pem` converts it");
        assert_eq!(
            makes.hint(Some("key"), Wanted::Private),
            "make a new key: `consign key generate --out key.new.pem`"
        );
        assert_eq!(Remedy::Advice("do this").hint(None, Wanted::Private), "do this");
        assert_eq!(Remedy::Advice("do this").command_for(None, Wanted::Private), None);
    }

    fn shape(text: &str) -> Option<Shape> {
        match recognise(text.as_bytes()) {
            Found::Other(shape) => Some(shape),
            _ => None,
        }
    }

    #[test]
    fn labels_and_first_lines_tell_what_a_file_is() {
        for (label, expected) in [
            ("DSA PRIVATE KEY", Shape::Dsa),
            ("ENCRYPTED SIGSTORE PRIVATE KEY", Shape::Sigstore),
            ("ENCRYPTED COSIGN PRIVATE KEY", Shape::Sigstore),
            ("RSA PUBLIC KEY", Shape::Pkcs1Public),
            ("CERTIFICATE", Shape::Certificate),
            ("X509 CERTIFICATE", Shape::Certificate),
            ("TRUSTED CERTIFICATE", Shape::Certificate),
            ("CERTIFICATE REQUEST", Shape::CertificateRequest),
            ("NEW CERTIFICATE REQUEST", Shape::CertificateRequest),
            ("PGP PRIVATE KEY BLOCK", Shape::PgpPrivate),
            ("PGP PUBLIC KEY BLOCK", Shape::PgpPublic),
            ("PGP SIGNATURE", Shape::PgpPublic),
            ("PGP MESSAGE", Shape::PgpPublic),
            ("AGE ENCRYPTED FILE", Shape::Age),
            ("EC PARAMETERS", Shape::EcParameters),
            ("SOMETHING ELSE", Shape::OtherLabel),
        ] {
            assert_eq!(shape(&pem::write(label, b"x")), Some(expected), "{label}");
            let is_public = ["RSA PUBLIC", "CERTIFICATE", "PGP"].iter().any(|word| label.contains(word));
            let likely = if is_public && expected != Shape::PgpPrivate { Wanted::Public } else { Wanted::Private };
            assert_eq!(expected.likely(), likely, "{label}");
        }
        for (text, expected) in [
            ("untrusted comment: minisign encrypted secret key\nx", Shape::MinisignSecret),
            ("untrusted comment: minisign public key 1\nx", Shape::MinisignPublic),
            ("untrusted comment: signify secret key\nx", Shape::SignifySecret),
            ("untrusted comment: signify public key\nx", Shape::SignifyPublic),
            ("-----BEGIN PUBLIC KEY----- MFkw -----END PUBLIC KEY-----", Shape::LostLineBreaks),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", Shape::Putty),
            ("# created: today\nAGE-SECRET-KEY-1X\n", Shape::Age),
            ("AGE-SECRET-KEY-1X", Shape::Age),
            ("{\"kty\":\"EC\"}", Shape::Jwk),
            ("{\"x\":1}", Shape::Garbage),
            ("x\n\"kty\"", Shape::Garbage),
            ("ssh-ed25519 AAAA", Shape::SshPublic),
            ("sk-ssh-ed25519@openssh.com AAAA", Shape::SshPublic),
            ("---- BEGIN SSH2 PUBLIC KEY ----", Shape::SshPublic),
            (" \n", Shape::Empty),
            ("\u{feff}x", Shape::ByteOrderMark),
            ("hello", Shape::Garbage),
        ] {
            assert_eq!(shape(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn one_key_is_meant_and_the_parameters_of_its_curve_may_stand_before_it() {
        let (key, public) = (pem::write("PRIVATE KEY", b"x"), pem::write("PUBLIC KEY", b"x"));
        let parameters = pem::write("EC PARAMETERS", b"x");
        assert!(matches!(recognise(format!("{}{}", *parameters, *key).as_bytes()), Found::Private(_)));
        let text = |parts: &[&str]| shape(&parts.concat());
        assert_eq!(text(&[&parameters, &parameters, &key]), Some(Shape::Several));
        assert_eq!(text(&[&key, &public]), Some(Shape::Accompanied));
        assert_eq!(text(&[&key, &key]), Some(Shape::Several));
        assert_eq!(text(&[&public, &public]), Some(Shape::Several));
        assert_eq!(text(&[&key, "and more"]), Some(Shape::TextAfter));
        assert_eq!(text(&[&pem::write("CERTIFICATE", b"x"), "and more"]), Some(Shape::OtherLabel));
    }
}
