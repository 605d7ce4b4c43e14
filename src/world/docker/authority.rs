//! A certificate authority of one server's life: its certificate goes into containers, its key nowhere.
//!
//! [`issue`] makes both keys, certifies the server's, and forgets the authority's at once: nothing else can
//! ever be certified by it. Only what this one case needs is written of X.509 (RFC 5280).

use std::net::Ipv4Addr;

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ALGORITHM, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::model::failure::Result;
use crate::model::{Code, Digest, Failure};

/// What a server proves itself with, and what its clients have to know.
pub(super) struct Credentials {
    /// The server's key.
    pub(super) key: PrivatePkcs8KeyDer<'static>,
    /// The server's certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// The authority's certificate, as clients read it.
    pub(super) authority: String,
}

// Object identifiers, as they are encoded.
const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTHENTICATION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

// Tags.
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const IDENTIFIER: u8 = 0x06;
const TEXT: u8 = 0x0c;
const TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const ADDRESS: u8 = 0x87;
const KEY_MARK: u8 = 0x80;

/// As long as can be written and is read everywhere: clocks in containers are anyhow, and the key ends with the
/// run.
const VALIDITY: [&str; 2] = ["700101000000Z", "491231235959Z"];

/// Makes an authority, and what one server at an address proves itself with.
pub(super) fn issue(address: Ipv4Addr) -> Result<Credentials> {
    let (_, authority) = key()?;
    let (server_key, server) = key()?;
    let own = Subject { name: "Consign, for one run", key: &authority };
    let mark = key_mark(&authority);
    let of_authority = [
        extension(BASIC_CONSTRAINTS, true, &sequence(&[&tlv(BOOLEAN, &[0xff])])),
        // To sign certificates.
        extension(KEY_USAGE, true, &tlv(BIT_STRING, &[2, 4])),
        extension(SUBJECT_KEY, false, &tlv(OCTET_STRING, &mark)),
    ];
    let of_server = [
        extension(BASIC_CONSTRAINTS, true, &sequence(&[])),
        // To sign what is exchanged.
        extension(KEY_USAGE, true, &tlv(BIT_STRING, &[7, 0x80])),
        extension(EXTENDED_USAGE, false, &sequence(&[&tlv(IDENTIFIER, SERVER_AUTHENTICATION)])),
        extension(ALTERNATIVE_NAME, false, &sequence(&[&tlv(ADDRESS, &address.octets())])),
        extension(SUBJECT_KEY, false, &tlv(OCTET_STRING, &key_mark(&server))),
        extension(AUTHORITY_KEY, false, &sequence(&[&tlv(KEY_MARK, &mark)])),
    ];
    let authority_certificate = certificate(&own, &own, 1, &of_authority)?;
    let name = address.to_string();
    let server_certificate = certificate(&own, &Subject { name: &name, key: &server }, 2, &of_server)?;
    Ok(Credentials {
        key: server_key.into(),
        certificate: server_certificate.into(),
        authority: pem(&authority_certificate),
    })
}

/// Who is certified.
struct Subject<'a> {
    name: &'a str,
    key: &'a EcdsaKeyPair,
}

/// A new key, as it is stored and as it is used.
fn key() -> Result<(Vec<u8>, EcdsaKeyPair)> {
    let failed = || Failure::new(Code::Io, "failed to make a key to serve the bundle with");
    let random = SystemRandom::new();
    let stored = EcdsaKeyPair::generate_pkcs8(&ALGORITHM, &random).map_err(|_| failed())?;
    let pair = EcdsaKeyPair::from_pkcs8(&ALGORITHM, stored.as_ref(), &random).map_err(|_| failed())?;
    Ok((stored.as_ref().to_vec(), pair))
}

fn certificate(issuer: &Subject<'_>, subject: &Subject<'_>, serial: u8, extensions: &[Vec<u8>]) -> Result<Vec<u8>> {
    let algorithm = sequence(&[&tlv(IDENTIFIER, ECDSA_WITH_SHA256)]);
    let validity = VALIDITY.map(|time| tlv(TIME, time.as_bytes())).concat();
    let key_kind = sequence(&[&tlv(IDENTIFIER, EC_PUBLIC_KEY), &tlv(IDENTIFIER, P256)]);
    let content = sequence(&[
        // Version 3.
        &tlv(0xa0, &tlv(INTEGER, &[2])),
        &tlv(INTEGER, &[serial]),
        &algorithm,
        &name(issuer.name),
        &tlv(SEQUENCE, &validity),
        &name(subject.name),
        &sequence(&[&key_kind, &bits(subject.key.public_key().as_ref())]),
        &tlv(0xa3, &tlv(SEQUENCE, &extensions.concat())),
    ]);
    let signature = issuer.key.sign(&SystemRandom::new(), &content);
    let signature =
        signature.map_err(|_| Failure::new(Code::Io, "failed to certify a key to serve the bundle with"))?;
    Ok(sequence(&[&content, &algorithm, &bits(signature.as_ref())]))
}

fn name(text: &str) -> Vec<u8> {
    sequence(&[&tlv(SET, &sequence(&[&tlv(IDENTIFIER, COMMON_NAME), &tlv(TEXT, text.as_bytes())]))])
}

fn extension(identifier: &[u8], is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { tlv(BOOLEAN, &[0xff]) } else { Vec::new() };
    sequence(&[&tlv(IDENTIFIER, identifier), &critical, &tlv(OCTET_STRING, value)])
}

/// What a key is known by.
fn key_mark(key: &EcdsaKeyPair) -> Vec<u8> {
    Digest::of(key.public_key().as_ref()).as_bytes()[..20].to_vec()
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// A value after its tag and its length.
fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let length = &length[zeros.min(length.len() - 1)..];
    let mut out = vec![tag];
    if value.len() > 0x7f {
        // A few bytes at most.
        out.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
    }
    out.extend_from_slice(length);
    out.extend_from_slice(value);
    out
}

fn pem(certificate: &[u8]) -> String {
    let text = BASE64.encode(certificate);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (length, head) in
            [(0, vec![4, 0]), (127, vec![4, 127]), (128, vec![4, 0x81, 128]), (256, vec![4, 0x82, 1, 0])]
        {
            assert_eq!(tlv(4, &vec![0; length])[..head.len()], head);
        }
    }

    #[test]
    fn a_client_that_knows_the_authority_believes_the_server_at_its_address_only() {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{ServerName, UnixTime};

        let here = Ipv4Addr::new(172, 18, 0, 1);
        let issued = issue(here).expect("credentials");
        let mut known = rustls::RootCertStore::empty();
        known.add(CertificateDer::from_pem_slice(issued.authority.as_bytes()).expect("a certificate")).expect("added");
        let provider = rustls::crypto::ring::default_provider().into();
        let verifier = WebPkiServerVerifier::builder_with_provider(known.into(), provider).build().expect("a verifier");
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(2_000_000_000));
        let believes = |certificate: &CertificateDer<'_>, address: Ipv4Addr| {
            let name = ServerName::IpAddress(std::net::IpAddr::from(address).into());
            verifier.verify_server_cert(certificate, &[], &name, &[], now).is_ok()
        };
        assert!(believes(&issued.certificate, here));
        assert!(!believes(&issued.certificate, Ipv4Addr::new(172, 18, 0, 2)));
        let another = issue(here).expect("credentials");
        assert!(!believes(&another.certificate, here), "of another authority");
    }
}
