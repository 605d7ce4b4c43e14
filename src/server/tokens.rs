//! Tokens: 256 random bits that are shown once and kept as their digest.
//!
//! [`issue`] makes one, [`revoke`] takes it back. A token looks like `rel_…`, so that scanners of
//! leaked secrets can know it.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::Grants;
use crate::model::failure::Result;
use crate::model::registry::NewToken;
use crate::model::text::shown;
use crate::model::{Code, Digest, Failure};
use crate::store::{self, Change, Store};

/// What every token begins with.
pub(super) const PREFIX: &str = "rel_";

/// The longest name of a token, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// The longest text of grants, in bytes.
const MAX_GRANTS_BYTES: usize = 8 << 10;
/// How long a day is, in seconds.
const SECONDS_OF_DAY: i64 = 24 * 60 * 60;
/// The longest life of a token, in days.
const MAX_DAYS: u32 = 3650;

/// A token that was made. This is the only time that it can be seen.
pub struct Issued {
    /// What it is called in lists and in the audit log.
    pub id: String,
    /// The token.
    pub token: String,
    /// What it allows.
    pub grants: Grants,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub grants: Grants,
    /// From when on it counts no more.
    pub expires_at: Option<Timestamp>,
}

impl Wanted {
    /// Reads what somebody asks for.
    pub fn read(new: &NewToken, now: Timestamp) -> Result<Self> {
        let NewToken { name, grants, expires_in_days } = new;
        let refuse = |message: &str| Failure::new(Code::Usage, message);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || *name != shown(name) {
            return Err(refuse("the token's name is empty, longer than 100 bytes, or not plain text"));
        }
        if grants.len() > MAX_GRANTS_BYTES {
            return Err(refuse("the token has more grants than can be kept"));
        }
        if !(1..=MAX_DAYS).contains(expires_in_days) {
            return Err(refuse("the token has to expire after 1 to 3650 days"));
        }
        // To the second, for what is told is what is kept.
        let end = now.as_second() + i64::from(*expires_in_days) * SECONDS_OF_DAY;
        let expires_at = Timestamp::from_second(end)
            .map_err(|error| refuse("the token would expire after the end of time").because(error))?;
        Ok(Self { name: name.clone(), grants: grants.parse()?, expires_at: Some(expires_at) })
    }
}

/// Makes a token.
pub async fn issue(store: &Store, wanted: Wanted, subject: &str, at: Timestamp) -> Result<Issued> {
    let (issued, row, change) = make(wanted, subject, at)?;
    store.add_token(&row, &change).await?;
    Ok(issued)
}

/// Makes the first token, which allows everything, unless there is one already.
pub(super) async fn issue_first(store: &Store, at: Timestamp) -> Result<Option<Issued>> {
    let wanted = Wanted { name: "admin".to_owned(), grants: Grants::admin(), expires_at: None };
    let (issued, row, change) = make(wanted, "server", at)?;
    Ok(store.add_first_token(&row, &change).await?.then_some(issued))
}

/// Takes a token back, by its id.
pub async fn revoke(store: &Store, id: &str, subject: &str, at: Timestamp) -> Result<()> {
    let change = Change {
        at,
        subject: subject.to_owned(),
        verb: "token.revoke",
        object: id.to_owned(),
        sha256: None,
        note: None,
    };
    if store.revoke_token(id, &change).await? {
        return Ok(());
    }
    Err(Failure::new(Code::TokenUnknown, format!("there is no token {id:?} that counts"))
        .hint("`consign token list` shows the ids"))
}

fn make(wanted: Wanted, subject: &str, at: Timestamp) -> Result<(Issued, store::NewToken, Change)> {
    let Wanted { name, grants, expires_at } = wanted;
    let (mut secret, mut id) = ([0; 32], [0; 6]);
    let random = SystemRandom::new();
    random
        .fill(&mut secret)
        .and_then(|()| random.fill(&mut id))
        .map_err(|_| Failure::new(Code::KeyInvalid, "the system gave no random numbers for a token"))?;
    let token = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&secret));
    let id = format!("tok-{}", HEXLOWER.encode(&id));
    let row = store::NewToken {
        id: id.clone(),
        sha256: Digest::of(token.as_bytes()),
        name: name.clone(),
        grants: grants.to_string(),
        created_at: at,
        expires_at,
    };
    let change = Change {
        at,
        subject: subject.to_owned(),
        verb: "token.create",
        object: id.clone(),
        sha256: None,
        note: Some(format!("{name}: {grants}")),
    };
    Ok((Issued { id, token, grants, expires_at }, row, change))
}
