//! What is said about each shape, and the command that converts it.
//!
//! The commands are openssl's wherever it can do it; tests run every one of them.

use super::{OpenSsh, Refusal, Remedy, Shape, Wanted};

const TO_PKCS8: &str = "openssl pkcs8 -topk8 -nocrypt -in {in} -out {out}";
/// openssl's `ec` names the curve, works the public half out and spells it in full.
pub(super) const EC_TO_PKCS8: &str =
    "openssl ec -in {in} -param_enc named_curve -conv_form uncompressed | openssl pkcs8 -topk8 -nocrypt -out {out}";
pub(in crate::trust) const ENCRYPT_AGAIN: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -in {in} -out {out}";
const DER_TO_PKCS8: &str = "openssl pkcs8 -topk8 -nocrypt -inform DER -in {in} -out {out}";
const DER_ENCRYPT_AGAIN: &str = "openssl pkcs8 -topk8 -v2 aes-256-cbc -inform DER -in {in} -out {out}";
const FROM_PKCS12: &str = "openssl pkcs12 -in {in} -nocerts -noenc | openssl pkcs8 -topk8 -v2 aes-256-cbc -out {out}";
const FROM_OPENSSH: &str = "cp {in} {out} && ssh-keygen -p -N '' -m PKCS8 -f {out}";
const KEY_ALONE: &str = "openssl pkey -in {in} -out {out}";
const PUBLIC_OF_PRIVATE: &str = "openssl pkey -in {in} -pubout -out {out}";
const PUBLIC_OF_DER_PRIVATE: &str = "openssl pkey -inform DER -in {in} -pubout -out {out}";
const PUBLIC_OF_CERTIFICATE: &str = "openssl x509 -in {in} -noout -pubkey > {out}";
const PUBLIC_OF_DER_CERTIFICATE: &str = "openssl x509 -inform DER -in {in} -noout -pubkey > {out}";
const PUBLIC_OF_REQUEST: &str = "openssl req -in {in} -noout -pubkey > {out}";
const PUBLIC_OF_PKCS1: &str = "openssl rsa -RSAPublicKey_in -in {in} -pubout -out {out}";
const PUBLIC_OF_DER: &str = "openssl pkey -pubin -inform DER -in {in} -pubout -out {out}";
const PUBLIC_OF_PKCS12: &str = "openssl pkcs12 -in {in} -nocerts -noenc | openssl pkey -pubout -out {out}";
const PUBLIC_OF_SSH: &str = "ssh-keygen -e -m PKCS8 -f {in} > {out}";
const PUBLIC_OF_OPENSSH: &str = "ssh-keygen -e -m PKCS8 -f {in} > {out}";
pub(in crate::trust) const PUBLIC_EC: &str =
    "openssl ec -pubin -in {in} -param_enc named_curve -conv_form uncompressed -pubout -out {out}";
pub(in crate::trust) const PUBLIC_AGAIN: &str = "openssl pkey -pubin -in {in} -pubout -out {out}";
const WITHOUT_MARK: &str = "tail -c +4 {in} > {out} && chmod 600 {out}";
const FROM_UTF16: &str = "iconv -f UTF-16 -t UTF-8 {in} > {out} && chmod 600 {out}";
/// A key of this program's own, where the old one cannot be used in any form.
pub(super) const NEW_KEY: &str = "consign key generate --out {out}";

const OTHER_PUBLIC: Remedy = Remedy::Advice(
    "ask the signer for a public key in PEM: `openssl pkey -in key.pem -pubout` or `consign key public key.pem` prints it",
);
const THE_PRIVATE_ONE: Remedy = Remedy::Advice(
    "name the file of the private key; it begins with `-----BEGIN PRIVATE KEY-----` or `-----BEGIN ENCRYPTED PRIVATE KEY-----`",
);
const ONE_KEY: Remedy = Remedy::Advice("leave one key in the file, and give each other key a file of its own");
const COPY_AGAIN: Remedy = Remedy::Advice("copy the file again from where the key was made, and compare their sizes");

impl Shape {
    /// What is said about it where something else is wanted.
    pub fn refuse(self, wanted: Wanted) -> Refusal {
        let (shape, sentence) = self.sentence();
        Refusal { shape, sentence: sentence.to_owned(), remedy: self.remedy(wanted) }
    }

    fn sentence(self) -> (&'static str, &'static str) {
        match self {
            Self::Pkcs8 => ("pkcs8", "is a private key, where a public one belongs"),
            Self::EncryptedPkcs8 => ("pkcs8-encrypted", "is an encrypted private key, where a public one belongs"),
            Self::Spki => ("public-key", "is a public key, where a private one belongs"),
            Self::Sec1 => ("sec1", "is an EC private key in SEC1 form (`EC PRIVATE KEY`), and PKCS#8 is read"),
            Self::Pkcs1 => ("pkcs1", "is an RSA private key in PKCS#1 form (`RSA PRIVATE KEY`), and PKCS#8 is read"),
            Self::LegacyEncrypted => (
                "pem-encrypted",
                "is a private key encrypted the old way (`Proc-Type: 4,ENCRYPTED`), which anybody can guess fast",
            ),
            Self::OpenSsh(OpenSsh::Convertible) => {
                ("openssh", "is a private key in OpenSSH's own format, and PKCS#8 is read")
            }
            Self::OpenSsh(OpenSsh::Ed25519) => (
                "openssh-ed25519",
                "is an Ed25519 private key in OpenSSH's own format, which neither openssl nor ssh-keygen writes as PKCS#8",
            ),
            Self::OpenSsh(OpenSsh::Other) => {
                ("openssh-other", "is a private key in OpenSSH's own format, of a kind that does not sign releases")
            }
            Self::Dsa => ("dsa", "is a DSA private key, and DSA is not used any more"),
            Self::Sigstore => ("sigstore", "is a private key encrypted by cosign, which cosign alone can open"),
            Self::MinisignSecret => ("minisign-secret", "is a secret key of minisign, in minisign's own format"),
            Self::MinisignPublic => ("minisign-public", "is a public key of minisign, in minisign's own format"),
            Self::SignifySecret => ("signify-secret", "is a secret key of signify, in signify's own format"),
            Self::SignifyPublic => ("signify-public", "is a public key of signify, in signify's own format"),
            Self::PgpPrivate => ("pgp-private", "is an OpenPGP private key, which only OpenPGP programs can use"),
            Self::PgpPublic => {
                ("pgp-public", "is an OpenPGP public key or message, which only OpenPGP programs can use")
            }
            Self::Putty => ("putty", "is a private key in PuTTY's own format"),
            Self::Age => ("age", "belongs to age, whose keys encrypt and do not sign"),
            Self::Jwk => ("jwk", "is a JSON Web Key, and PEM is read"),
            Self::SshPublic => ("ssh-public", "is a public key in OpenSSH's own format"),
            Self::Pkcs1Public => {
                ("pkcs1-public", "is an RSA public key in PKCS#1 form (`RSA PUBLIC KEY`), and `PUBLIC KEY` is read")
            }
            Self::Certificate | Self::DerCertificate => ("certificate", "is a certificate, not a key"),
            Self::CertificateRequest => ("certificate-request", "is a certificate request, not a key"),
            Self::EcParameters => ("ec-parameters", "holds the parameters of a curve and no key"),
            Self::DerPrivate => ("der-private", "is a private key in DER, and PEM is read"),
            Self::DerEncrypted => ("der-encrypted", "is an encrypted private key in DER, and PEM is read"),
            Self::DerPublic => ("der-public", "is a public key in DER, and PEM is read"),
            Self::Pkcs12 => ("pkcs12", "is a PKCS#12 store (`.p12`, `.pfx`), and one key in PEM is read"),
            Self::Several => ("several", "holds more than one key, and which one is meant is never guessed"),
            Self::Accompanied => ("accompanied", "holds other things beside the private key"),
            Self::TextAfter => ("text-after", "goes on after the end of the key"),
            Self::CutOff => ("cut-off", "breaks off: a `BEGIN` line has no `END` line of its own"),
            Self::LostLineBreaks => ("lost-line-breaks", "is a key in PEM that has lost its line breaks"),
            Self::Base64 => ("base64-invalid", "has base64 that is damaged, or not written the one proper way"),
            Self::OtherLabel => ("other", "holds something that is no key of any known kind"),
            Self::Empty => ("empty", "is empty"),
            Self::ByteOrderMark => {
                ("byte-order-mark", "begins with a byte order mark, before which openssl finds no key either")
            }
            Self::Utf16 => ("utf-16", "is written in UTF-16"),
            Self::Garbage => ("garbage", "is no key in PEM"),
        }
    }

    fn remedy(self, wanted: Wanted) -> Remedy {
        match wanted {
            Wanted::Private => self.private_remedy(),
            Wanted::Public => self.public_remedy(),
        }
    }

    fn private_remedy(self) -> Remedy {
        let template = match self {
            Self::Sec1 => EC_TO_PKCS8,
            Self::Pkcs1 => TO_PKCS8,
            Self::LegacyEncrypted => ENCRYPT_AGAIN,
            Self::OpenSsh(OpenSsh::Convertible) => FROM_OPENSSH,
            Self::DerPrivate => DER_TO_PKCS8,
            Self::DerEncrypted => DER_ENCRYPT_AGAIN,
            Self::Pkcs12 => FROM_PKCS12,
            Self::Accompanied | Self::TextAfter => KEY_ALONE,
            Self::ByteOrderMark => WITHOUT_MARK,
            Self::Utf16 => FROM_UTF16,
            Self::OpenSsh(_)
            | Self::Dsa
            | Self::Sigstore
            | Self::MinisignSecret
            | Self::SignifySecret
            | Self::PgpPrivate
            | Self::Putty
            | Self::Age
            | Self::Jwk
            | Self::EcParameters
            | Self::Empty
            | Self::Garbage
            | Self::OtherLabel => NEW_KEY,
            other => return other.advice(THE_PRIVATE_ONE),
        };
        Remedy::command(template)
    }

    fn public_remedy(self) -> Remedy {
        let template = match self {
            Self::Pkcs8
            | Self::EncryptedPkcs8
            | Self::Sec1
            | Self::Pkcs1
            | Self::LegacyEncrypted
            | Self::Accompanied => PUBLIC_OF_PRIVATE,
            Self::OpenSsh(OpenSsh::Convertible) => PUBLIC_OF_OPENSSH,
            Self::SshPublic => PUBLIC_OF_SSH,
            Self::Pkcs1Public => PUBLIC_OF_PKCS1,
            Self::Certificate => PUBLIC_OF_CERTIFICATE,
            Self::DerCertificate => PUBLIC_OF_DER_CERTIFICATE,
            Self::CertificateRequest => PUBLIC_OF_REQUEST,
            Self::DerPrivate | Self::DerEncrypted => PUBLIC_OF_DER_PRIVATE,
            Self::DerPublic => PUBLIC_OF_DER,
            Self::Pkcs12 => PUBLIC_OF_PKCS12,
            Self::TextAfter => PUBLIC_AGAIN,
            Self::ByteOrderMark => WITHOUT_MARK,
            Self::Utf16 => FROM_UTF16,
            other => return other.advice(OTHER_PUBLIC),
        };
        Remedy::command(template)
    }

    fn advice(self, otherwise: Remedy) -> Remedy {
        match self {
            Self::Several => ONE_KEY,
            Self::CutOff | Self::Base64 => COPY_AGAIN,
            Self::LostLineBreaks => Remedy::Advice(
                "give the text with its line breaks, as a secret of several lines or as a file (`gh secret set NAME < key.pem`)",
            ),
            _ => otherwise,
        }
    }
}
