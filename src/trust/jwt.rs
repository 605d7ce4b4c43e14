//! JSON Web Tokens: who somebody says that another one is, signed by that one's key.
//!
//! [`Keys::read`] reads what an issuer publishes (a JWKS), and [`Keys::verify`] judges a token at an
//! instant. How a key signs is the key's property alone: what a token's head says has to agree and decides
//! nothing, there is no `none`, and keys with a shared secret are not read. Where the keys come from, and
//! what somebody may do, is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The largest JWKS that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 256 << 10;
/// How many keys of a JWKS are looked at.
const MAX_KEYS: usize = 64;
/// How far two clocks may be apart, in seconds.
const SKEW_SECONDS: i64 = 1;

/// What an issuer has to be, and for whom its tokens have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The issuer, exactly.
    pub issuer: String,
    /// One of the audiences, exactly.
    pub audience: String,
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    algorithm: &'static str,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, or the key of Ed25519.
    Raw(Vec<u8>),
}

/// Claims of a token that has been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Whom the token is about.
    pub subject: String,
    /// Every claim that is a text.
    pub texts: BTreeMap<String, String>,
    /// The texts of the claim `groups`, where it is a list of them.
    pub groups: BTreeSet<String>,
}

/// Why a token says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no token, or one of a kind that is not taken.
    #[error("it is not a signed token")]
    NotAToken,
    /// No key of the issuer has its key id: the keys may be older than the token.
    #[error("it is signed with a key that the issuer does not publish")]
    UnknownKey,
    /// Its signature is not one of that key.
    #[error("its signature is not valid")]
    BadSignature,
    /// It is by another issuer.
    #[error("it is by another issuer")]
    OtherIssuer,
    /// It is for somebody else.
    #[error("it is for another audience")]
    OtherAudience,
    /// Its time is over, has not come, or is not said.
    #[error("its time is over, has not come, or is not said")]
    NotNow,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Keys {
    /// Reads a JWKS. Keys of kinds that are not taken are passed over.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(format!("it is larger than {MAX_JWKS_BYTES} bytes"));
        }
        let published: Published = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self(published.keys.into_iter().take(MAX_KEYS).filter_map(Key::of).collect()))
    }

    /// Whether there is any key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a token at an instant.
    pub fn verify(&self, token: &str, expected: &Expected, now: Timestamp) -> Result<Claims, Refused> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::NotAToken)?;
        let (head, body) = signed.split_once('.').ok_or(Refused::NotAToken)?;
        if token.len() > MAX_TOKEN_BYTES || body.contains('.') {
            return Err(Refused::NotAToken);
        }
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Refused::NotAToken);
        let head: Head = serde_json::from_slice(&decode(head)?).map_err(|_| Refused::NotAToken)?;
        let signature = decode(signature)?;
        if head.crit.is_some() {
            return Err(Refused::NotAToken);
        }
        let mut fitting = self.0.iter().filter(|key| head.kid.is_none() || key.id == head.kid).peekable();
        fitting.peek().ok_or(Refused::UnknownKey)?;
        // A token without a key id is tried with every key, and there are few.
        let good = |key: &Key| key.algorithm == head.alg && key.verify(signed.as_bytes(), &signature);
        if !fitting.any(good) {
            return Err(Refused::BadSignature);
        }
        let claims: Map<String, Value> = serde_json::from_slice(&decode(body)?).map_err(|_| Refused::NotAToken)?;
        judge(&claims, expected, now)
    }
}

/// The issuer that a token names, before anything of it was verified: only to find its keys.
pub fn claimed_issuer(token: &str) -> Option<String> {
    let body = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN_BYTES)?;
    let claims: Map<String, Value> = serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes()).ok()?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

fn judge(claims: &Map<String, Value>, expected: &Expected, now: Timestamp) -> Result<Claims, Refused> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(&expected.issuer) {
        return Err(Refused::OtherIssuer);
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => *one == expected.audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(&expected.audience)),
        _ => false,
    };
    if !for_us {
        return Err(Refused::OtherAudience);
    }
    let now = now.as_second();
    // Whatever is no whole number of seconds is no time.
    let time = |name: &str| claims.get(name).map(|value| value.as_i64().ok_or(Refused::NotNow)).transpose();
    let expires = time("exp")?.ok_or(Refused::NotNow)?;
    let begins = time("nbf")?.into_iter().chain(time("iat")?).max();
    if expires.saturating_add(SKEW_SECONDS) <= now
        || begins.is_some_and(|begins| begins > now.saturating_add(SKEW_SECONDS))
    {
        return Err(Refused::NotNow);
    }
    let subject = text("sub").filter(|subject| !subject.is_empty()).ok_or(Refused::NotAToken)?;
    let texts = claims.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let groups = claims.get("groups").and_then(Value::as_array).into_iter().flatten();
    let groups = groups.filter_map(|group| group.as_str().map(str::to_owned)).collect();
    Ok(Claims { subject: subject.to_owned(), texts: texts.collect(), groups })
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let bytes = |text: Option<String>| BASE64URL_NOPAD.decode(text?.as_bytes()).ok();
        let point = |x: Option<String>, y: Option<String>, length: usize| {
            let (x, y) = (bytes(x)?, bytes(y)?);
            (x.len() == length && y.len() == length).then(|| Material::Raw([&[4][..], &x, &y].concat()))
        };
        let (algorithm, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", None) => ("RS256", Material::Rsa { n: bytes(jwk.n)?, e: bytes(jwk.e)? }),
            ("EC", Some("P-256")) => ("ES256", point(jwk.x, jwk.y, 32)?),
            ("EC", Some("P-384")) => ("ES384", point(jwk.x, jwk.y, 48)?),
            ("OKP", Some("Ed25519")) => ("EdDSA", Material::Raw(bytes(jwk.x)?)),
            _ => return None,
        };
        // A key that is for something else is not taken for this.
        let agrees = jwk.alg.as_deref().is_none_or(|said| said == algorithm);
        agrees.then_some(Self { id: jwk.kid, algorithm, material })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::Raw(raw) => {
                let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
                    "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
                    "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => &signature::ED25519,
                };
                UnparsedPublicKey::new(algorithm, raw).verify(message, signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    struct Issuer {
        ec: EcdsaKeyPair,
        ed: Ed25519KeyPair,
    }

    impl Issuer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("random numbers");
            let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("random numbers");
            Self {
                ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).expect("a key"),
                ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("a key"),
            }
        }

        fn keys(&self) -> Keys {
            let point = self.ec.public_key().as_ref();
            let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
            let jwks = json!({ "keys": [
                { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]) },
                { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(self.ed.public_key().as_ref()) },
                { "kty": "oct", "kid": "shared", "k": text(b"secret") },
            ] });
            Keys::read(jwks.to_string().as_bytes()).expect("a JWKS")
        }

        fn sign(&self, head: &Value, claims: &Value) -> String {
            let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(head), part(claims));
            let signature = match head["alg"].as_str() {
                Some("EdDSA") => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
                _ => self.ec.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs").as_ref().to_vec(),
            };
            format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
        }
    }

    fn claims() -> Value {
        json!({ "iss": "https://issuer.example", "aud": "consign", "sub": "repo:o/r", "exp": 2000, "iat": 900, "ref": "refs/heads/main" })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn judged(issuer: &Issuer, token: &str) -> Result<Claims, Refused> {
        let expected = Expected { issuer: "https://issuer.example".to_owned(), audience: "consign".to_owned() };
        issuer.keys().verify(token, &expected, Timestamp::from_second(1000).expect("a time"))
    }

    #[test]
    fn a_token_of_either_kind_is_taken() {
        let issuer = Issuer::new();
        for head in [
            json!({ "alg": "ES256", "kid": "ec" }),
            json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" }),
            json!({ "alg": "ES256" }),
        ] {
            let claims = judged(&issuer, &issuer.sign(&head, &claims())).expect("good");
            assert_eq!((claims.subject.as_str(), claims.texts["ref"].as_str()), ("repo:o/r", "refs/heads/main"));
        }
        let several = with("aud", json!(["other", "consign"]));
        assert!(judged(&issuer, &issuer.sign(&json!({ "alg": "ES256", "kid": "ec" }), &several)).is_ok());
    }

    #[test]
    fn a_token_for_another_or_of_another_time_is_refused() {
        let issuer = Issuer::new();
        let head = json!({ "alg": "ES256", "kid": "ec" });
        for (claims, why) in [
            (with("iss", json!("https://issuer.example/")), Refused::OtherIssuer),
            (with("iss", json!(["https://issuer.example"])), Refused::OtherIssuer),
            (with("aud", json!("Consign")), Refused::OtherAudience),
            (with("aud", Value::Null), Refused::OtherAudience),
            (with("exp", json!(999)), Refused::NotNow),
            (with("exp", json!(1500.5)), Refused::NotNow),
            (with("exp", Value::Null), Refused::NotNow),
            (with("nbf", json!(1002)), Refused::NotNow),
            (with("iat", json!(5000)), Refused::NotNow),
            (with("sub", json!("")), Refused::NotAToken),
        ] {
            assert_eq!(judged(&issuer, &issuer.sign(&head, &claims)), Err(why), "{claims}");
        }
    }

    #[test]
    fn the_key_decides_how_it_signs_and_no_word_of_the_token_does() {
        let issuer = Issuer::new();
        let sign = |head: Value| issuer.sign(&head, &claims());
        let good = sign(json!({ "alg": "ES256", "kid": "ec" }));
        let (signed, _) = good.rsplit_once('.').expect("three parts");
        let none = json!({ "alg": "none" }).to_string();
        let unsigned =
            format!("{}.{}.", BASE64URL_NOPAD.encode(none.as_bytes()), signed.split('.').nth(1).expect("two parts"));
        for (token, why) in [
            (unsigned, Refused::BadSignature),
            (sign(json!({ "alg": "none", "kid": "ec" })), Refused::BadSignature),
            (sign(json!({ "alg": "HS256", "kid": "ec" })), Refused::BadSignature),
            (sign(json!({ "alg": "HS256", "kid": "shared" })), Refused::UnknownKey),
            (sign(json!({ "alg": "ES256", "kid": "ed" })), Refused::BadSignature),
            (sign(json!({ "alg": "ES256", "kid": "../../x" })), Refused::UnknownKey),
            (sign(json!({ "alg": "ES256", "kid": "ec", "crit": ["x"] })), Refused::NotAToken),
            (Issuer::new().sign(&json!({ "alg": "ES256", "kid": "ec" }), &claims()), Refused::BadSignature),
            (format!("{signed}."), Refused::BadSignature),
            (format!("{good}."), Refused::NotAToken),
            (format!("{good}.x"), Refused::NotAToken),
            (format!("{good}="), Refused::NotAToken),
            (String::new(), Refused::NotAToken),
            ("a".repeat(MAX_TOKEN_BYTES + 1), Refused::NotAToken),
        ] {
            assert_eq!(judged(&issuer, &token), Err(why), "{token}");
        }
    }

    #[test]
    fn what_is_published_is_bounded_and_strange_keys_are_passed_over() {
        assert!(Keys::read(&vec![b' '; MAX_JWKS_BYTES + 1]).is_err());
        assert!(Keys::read(b"[]").is_err());
        let keys = Keys::read(br#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"RSA"},{"kty":"x"}]}"#)
            .expect("a JWKS");
        assert!(keys.is_empty());
    }

    #[test]
    fn an_issuer_is_found_in_what_is_no_token_yet() {
        let issuer = Issuer::new();
        let token = issuer.sign(&json!({ "alg": "ES256" }), &claims());
        assert_eq!(claimed_issuer(&token).as_deref(), Some("https://issuer.example"));
        assert_eq!(claimed_issuer("rel_x"), None);
    }
}
