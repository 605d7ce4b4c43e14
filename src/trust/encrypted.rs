//! Encrypted private keys: PBES2 as openssl writes it, opened and made.
//!
//! What a file demands in work and memory is bounded before any of it is done. Where the passphrase comes
//! from is not decided here.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, scrypt};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::shapes::{Refusal, Remedy};
use crate::model::failure::Result;
use crate::model::{Code, Failure};

/// The most iterations of PBKDF2 that are done; openssl writes 2,048 and careful people a million.
const MAX_ITERATIONS: u32 = 10_000_000;
/// The most memory that scrypt may take, in bytes.
const MAX_SCRYPT_BYTES: u64 = 256 << 20;
/// The most memory that scrypt may walk through, in bytes: its time.
const MAX_SCRYPT_WORK_BYTES: u64 = 1 << 30;

/// scrypt's cost for new keys: 2^14 blocks of 8, five times over, which openssl opens with its own bounds.
const LOG_N: u8 = 14;
const BLOCK: u32 = 8;
const TIMES: u32 = 5;

/// Why an encrypted key was not opened.
#[derive(Debug)]
pub enum Closed {
    /// It is encrypted in a way that is not read.
    Unread(Refusal),
    /// It is not opened by this passphrase, or damaged; nobody can tell which.
    WrongPassphrase,
}

/// Whether a key is encrypted in a way that is read, at a price that is paid. It needs no passphrase.
pub fn check(der: &[u8]) -> Result<(), Refusal> {
    read(der).map(|_| ())
}

/// Opens an encrypted key and gives back its PKCS#8 in DER.
pub fn open(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, Closed> {
    let (parameters, data) = read(der).map_err(Closed::Unread)?;
    let mut buffer = Zeroizing::new(data.to_vec());
    let length = parameters.decrypt_in_place(passphrase, &mut buffer).map_err(|_| Closed::WrongPassphrase)?.len();
    buffer.truncate(length);
    // A wrong passphrase leaves padding that looks right once in 256 times.
    if pkcs8::PrivateKeyInfoRef::from_der(&buffer).is_err() {
        return Err(Closed::WrongPassphrase);
    }
    Ok(buffer)
}

/// Encrypts a PKCS#8 private key with scrypt and AES-256-CBC.
pub fn close(pkcs8: &[u8], passphrase: &[u8]) -> Result<Vec<u8>> {
    let failed = |why: &str| Failure::new(Code::KeyInvalid, format!("the private key was not encrypted: {why}"));
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    let random = SystemRandom::new();
    random
        .fill(&mut salt)
        .and_then(|()| random.fill(&mut iv))
        .map_err(|_| failed("the system gave no random numbers"))?;
    let cost = scrypt::Params::new(LOG_N, BLOCK, TIMES).map_err(|_| failed("scrypt refused its cost"))?;
    let parameters = Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|_| failed("no parameters"))?;
    let data = parameters.encrypt(passphrase, pkcs8).map_err(|_| failed("the cipher refused it"))?;
    let encrypted_data = OctetStringRef::new(&data).map_err(|_| failed("it is too large"))?;
    EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data }
        .to_der()
        .map_err(|_| failed("it cannot be written"))
}

fn read(der: &[u8]) -> Result<(Parameters, &[u8]), Refusal> {
    let unread = |sentence: String| Refusal {
        shape: "encryption-unknown",
        sentence,
        remedy: Remedy::command(super::shapes::ENCRYPT_AGAIN),
    };
    let weak = || unread("is encrypted in an old way (not PBES2 with AES), which is not read".to_owned());
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|_| weak())?;
    let EncryptionScheme::Pbes2(parameters) = info.encryption_algorithm else { return Err(weak()) };
    if !is_affordable(&parameters.kdf) {
        return Err(unread("demands more work or memory to open than any honest key".to_owned()));
    }
    Ok((parameters, info.encrypted_data.as_bytes()))
}

fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(cost) => (1..=MAX_ITERATIONS).contains(&cost.iteration_count),
        Kdf::Scrypt(cost) => {
            let (n, r, p) = (cost.cost_parameter, u64::from(cost.block_size), u64::from(cost.parallelization));
            let memory = 128_u64.checked_mul(r).and_then(|block| block.checked_mul(n));
            let work = memory.and_then(|memory| memory.checked_mul(p));
            n.is_power_of_two()
                && n > 1
                && memory.is_some_and(|bytes| (1..=MAX_SCRYPT_BYTES).contains(&bytes))
                && work.is_some_and(|bytes| (1..=MAX_SCRYPT_WORK_BYTES).contains(&bytes))
                // The copies of a block that are worked on at once count too.
                && 128 * r * p <= MAX_SCRYPT_BYTES
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::key::Algorithm;
    use crate::trust::private::PrivateKey;

    #[test]
    fn what_is_closed_is_opened_by_its_passphrase_alone() {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).expect("random numbers");
        let closed = close(key.pkcs8(), b"correct horse").expect("closed");
        assert_eq!(open(&closed, b"correct horse").expect("opened").as_slice(), key.pkcs8());
        assert!(matches!(open(&closed, b"battery staple"), Err(Closed::WrongPassphrase)));
        assert!(!closed.windows(16).any(|window| key.pkcs8().windows(16).any(|piece| piece == window)));
    }

    #[test]
    fn what_costs_too_much_is_refused_before_it_is_done() {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).expect("random numbers");
        let mut parameters =
            Parameters::generate_pbkdf2_sha256_aes256cbc(2, b"saltsalt", [0; 16]).expect("small parameters");
        let data = parameters.encrypt(b"x", key.pkcs8()).expect("encrypted");
        let written = |parameters: &Parameters| {
            let encrypted_data = OctetStringRef::new(&data).expect("short");
            EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.clone().into(), encrypted_data }
                .to_der()
                .expect("written")
        };
        assert!(open(&written(&parameters), b"x").is_ok());
        for count in [0, MAX_ITERATIONS + 1, u32::MAX] {
            if let Kdf::Pbkdf2(cost) = &mut parameters.kdf {
                cost.iteration_count = count;
            }
            assert!(check(&written(&parameters)).is_err(), "{count}");
        }
        for (log_n, r, p) in [(20, 8, 1), (40, 8, 1), (14, u16::MAX, 1), (14, 8, u16::MAX), (1, u16::MAX, u16::MAX)] {
            let cheap = scrypt::Params::new(4, 8, 1).expect("small parameters");
            let mut parameters =
                Parameters::generate_scrypt_aes256cbc(cheap, b"saltsalt", [0; 16]).expect("small parameters");
            if let Kdf::Scrypt(cost) = &mut parameters.kdf {
                (cost.cost_parameter, cost.block_size, cost.parallelization) = (1 << log_n, r, p);
            }
            assert!(check(&written(&parameters)).is_err(), "{log_n} {r} {p}");
        }
    }

    #[test]
    fn the_price_of_a_key_is_paid_up_to_its_bounds() {
        let is_paid = |n: u64, r: u32, p: u32| {
            let cheap = scrypt::Params::new(4, 8, 1).expect("small parameters");
            let mut parameters =
                Parameters::generate_scrypt_aes256cbc(cheap, b"saltsalt", [0; 16]).expect("small parameters");
            let Kdf::Scrypt(kdf) = &mut parameters.kdf else { panic!("it is scrypt") };
            kdf.cost_parameter = n;
            kdf.block_size = r.try_into().expect("small");
            kdf.parallelization = p.try_into().expect("small");
            is_affordable(&parameters.kdf)
        };
        for (n, r, p) in [(2, 8, 1), (1 << 14, 8, 5), (1 << 18, 8, 4), (1 << 11, 1024, 4), (2, 1024, 2048)] {
            assert!(is_paid(n, r, p), "{n} {r} {p}");
        }
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            ((1 << 14) - 1, 8, 1),
            (1 << 19, 8, 1),
            (1 << 18, 8, 5),
            (1 << 14, 0, 1),
            (1 << 14, 8, 0),
            (2, 1024, 2049),
            (1 << 63, 8, 1),
        ] {
            assert!(!is_paid(n, r, p), "{n} {r} {p}");
        }
    }
}
