//! Logging in with a provider of identities (OpenID Connect), as a person or as a machine.
//!
//! [`Provider::discover`] finds out where a provider is asked; [`Provider::begin`] and [`Provider::wait`]
//! are the device authorization grant (RFC 8628), in which somebody confirms a code in a browser of their
//! own; [`Provider::as_machine`] is the grant of client credentials, and [`of_workflow`] takes the token
//! that a forge gives to a run. What a token says is for the server to judge: nothing here verifies one.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::Value;

use crate::model::failure::Result;
use crate::model::registry::{LoginProvider, LoginToken};
use crate::model::text::shown;
use crate::model::{Code, Failure};
use crate::world::http::exchange::{Body, Method, Reply, Request, escaped, form};
use crate::world::http::{self, address};

/// The largest answer of a provider, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The longest token that is taken, in bytes.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The pause between two questions where a provider names none, in seconds (RFC 8628).
const INTERVAL_SECONDS: u64 = 5;
/// By how much it grows when the provider asks for it, in seconds (RFC 8628).
const SLOWER_SECONDS: u64 = 5;
/// The longest pause, in seconds.
const LONGEST_SECONDS: u64 = 60;
/// The longest time that a code is waited for, in seconds, whatever a provider says.
const MAX_LIFE_SECONDS: u64 = 60 * 60;

/// A provider, and where it is asked.
#[derive(Debug)]
pub struct Provider {
    issuer: String,
    token_endpoint: String,
    device_endpoint: Option<String>,
    takes_basic: bool,
    http: http::Client,
}

/// A code that somebody has to confirm.
pub struct Device {
    /// The code.
    pub user_code: String,
    /// Where it is confirmed.
    pub place: String,
    /// The same with the code in it, where the provider knows one.
    pub place_with_code: Option<String>,
    /// How long it counts, in seconds.
    pub life_seconds: u64,
    device_code: String,
    interval_seconds: u64,
}

/// The tokens of a login. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// The one that the server takes.
    pub token: String,
    /// The one to get a new one with.
    pub refresh_token: Option<String>,
    /// For how many seconds the provider says that it counts.
    pub life_seconds: Option<u64>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

/// The discovery document, as far as it is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    // Some providers have kept the name of an early draft.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    #[serde(alias = "verification_url_complete")]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
    error_description: Option<String>,
}

/// What an answer to a question for tokens means.
#[derive(Debug)]
enum Step {
    Wait,
    WaitLonger,
    Done(Tokens),
}

impl Provider {
    /// Reads the discovery document of an issuer, which has to be its own.
    pub fn discover(issuer: &str) -> Result<Self> {
        address(issuer)?;
        let http = http::Client::default();
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let reply = http.exchange(Request {
            method: Method::Get,
            url: &url,
            headers: vec![("accept", "application/json".to_owned())],
            body: Body::Empty,
            max_bytes: MAX_BYTES,
        })?;
        let document: Discovery = (reply.status == 200)
            .then(|| serde_json::from_slice(&reply.body).ok())
            .flatten()
            .ok_or_else(|| strange(issuer, "there is no discovery document of a provider of identities"))?;
        if document.issuer != issuer {
            return Err(strange(issuer, "the discovery document is that of another issuer"));
        }
        for endpoint in document.device_authorization_endpoint.iter().chain([&document.token_endpoint]) {
            address(endpoint)?;
        }
        let methods = document.token_endpoint_auth_methods_supported;
        Ok(Self {
            issuer: document.issuer,
            token_endpoint: document.token_endpoint,
            device_endpoint: document.device_authorization_endpoint,
            takes_basic: methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
            http,
        })
    }

    /// Asks for a code that somebody can confirm.
    pub fn begin(&self, login: &LoginProvider) -> Result<Device> {
        let endpoint = self.device_endpoint.as_ref().ok_or_else(|| {
            strange(&self.issuer, "the provider has no device authorization grant")
                .hint("use a token: `consign login < token.txt`")
        })?;
        let fields = [("client_id", login.client_id.as_str()), ("scope", login.scope.as_str())];
        let reply = self.post(endpoint, &fields, &login.parameters, None)?;
        if reply.status != 200 {
            return Err(self.denied(&reply));
        }
        let unreadable = || strange(&self.issuer, "the provider's answer cannot be read");
        let begun: Begun = serde_json::from_slice(&reply.body).map_err(|error| unreadable().because(error))?;
        // Whatever is opened in a browser is a page, and nothing that a browser would run.
        for place in [Some(&begun.verification_uri), begun.verification_uri_complete.as_ref()].into_iter().flatten() {
            address(place)?;
        }
        let is_plain =
            |code: &str| !code.is_empty() && code.len() <= 64 && code.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !is_plain(&begun.user_code) || begun.device_code.len() > MAX_TOKEN_BYTES {
            return Err(unreadable());
        }
        Ok(Device {
            user_code: begun.user_code,
            place: begun.verification_uri,
            place_with_code: begun.verification_uri_complete,
            life_seconds: begun.expires_in.min(MAX_LIFE_SECONDS),
            device_code: begun.device_code,
            interval_seconds: begun.interval.unwrap_or(INTERVAL_SECONDS).clamp(1, LONGEST_SECONDS),
        })
    }

    /// Asks until somebody has confirmed the code or refused to, or until its time is over.
    pub fn wait(&self, login: &LoginProvider, device: &Device) -> Result<Tokens> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device.device_code.as_str()),
            ("client_id", login.client_id.as_str()),
        ];
        let ask = || self.post(&self.token_endpoint, &fields, &BTreeMap::new(), None);
        persist(device, ask, |reply| self.judge(reply, login.token), std::thread::sleep)
    }

    /// New tokens for a login whose tokens have expired.
    pub fn refresh(&self, client_id: &str, refresh_token: &str, kind: LoginToken) -> Result<Tokens> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("client_id", client_id)];
        let reply = self.post(&self.token_endpoint, &fields, &BTreeMap::new(), None)?;
        let tokens = self.done(&reply, kind)?;
        // A provider that names no new one means the old one.
        let kept = tokens.refresh_token.unwrap_or_else(|| refresh_token.to_owned());
        Ok(Tokens { refresh_token: Some(kept), ..tokens })
    }

    /// The token of a machine that has an id and a secret of its own.
    pub fn as_machine(&self, id: &str, secret: &str, login: &LoginProvider) -> Result<Tokens> {
        let mut fields = vec![("grant_type", "client_credentials")];
        let asks = login.scope.split(' ').filter(|word| !matches!(*word, "openid" | "offline_access"));
        let scope = asks.collect::<Vec<_>>().join(" ");
        if !scope.is_empty() {
            fields.push(("scope", scope.as_str()));
        }
        let basic = format!("Basic {}", BASE64.encode(format!("{}:{}", escaped(id), escaped(secret)).as_bytes()));
        let reply = if self.takes_basic {
            self.post(&self.token_endpoint, &fields, &login.parameters, Some(basic))?
        } else {
            fields.extend([("client_id", id), ("client_secret", secret)]);
            self.post(&self.token_endpoint, &fields, &login.parameters, None)?
        };
        // A machine is no person, so there is no token that says who it is.
        self.done(&reply, LoginToken::AccessToken)
    }

    fn post(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        further: &BTreeMap<String, String>,
        authorization: Option<String>,
    ) -> Result<Reply> {
        let further = further.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut headers = vec![("accept", "application/json".to_owned())];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let body = Body::Form(form(fields.iter().copied().chain(further)));
        self.http.exchange(Request { method: Method::Post, url, headers, body, max_bytes: MAX_BYTES })
    }

    fn done(&self, reply: &Reply, kind: LoginToken) -> Result<Tokens> {
        match self.judge(reply, kind)? {
            Step::Done(tokens) => Ok(tokens),
            Step::Wait | Step::WaitLonger => Err(self.denied(reply)),
        }
    }

    fn judge(&self, reply: &Reply, kind: LoginToken) -> Result<Step> {
        judge(reply.status, &reply.body, kind).unwrap_or_else(|| Err(self.denied(reply)))
    }

    /// The failure of an answer that is a refusal. What was sent is not repeated.
    fn denied(&self, reply: &Reply) -> Failure {
        let issuer = shown(&self.issuer).into_owned();
        if reply.status >= 500 || reply.status == 429 {
            return Failure::new(Code::RemoteUnavailable, format!("`{issuer}` answers with status {}", reply.status))
                .subject(issuer)
                .hint("try again later");
        }
        let denied: Option<Denied> = serde_json::from_slice(&reply.body).ok();
        let why = denied.map_or_else(
            || format!("status {}", reply.status),
            |Denied { error, error_description }| {
                let said = error_description.map_or(error.clone(), |text| format!("{error}: {text}"));
                said.chars().take(200).collect()
            },
        );
        Failure::new(Code::LoginRefused, format!("`{issuer}` refuses the login: {}", shown(&why)))
            .subject(issuer)
            .hint("run `consign login` again; whoever runs the provider knows why it refuses")
    }
}

/// Asks until there is an answer that waiting would not change.
fn persist(
    device: &Device,
    ask: impl Fn() -> Result<Reply>,
    judge: impl Fn(&Reply) -> Result<Step>,
    pause: impl Fn(Duration),
) -> Result<Tokens> {
    let (mut interval, mut waited) = (device.interval_seconds, 0);
    while waited < device.life_seconds {
        pause(Duration::from_secs(interval));
        waited += interval;
        let step = match ask() {
            Ok(reply) if reply.status >= 500 => Step::WaitLonger,
            Ok(reply) => judge(&reply)?,
            // A network that is away for a moment is no answer.
            Err(failure) if failure.code() == Code::RemoteUnavailable => Step::WaitLonger,
            Err(failure) => return Err(failure),
        };
        match step {
            Step::Wait => {}
            Step::WaitLonger => interval = (interval + SLOWER_SECONDS).min(LONGEST_SECONDS),
            Step::Done(tokens) => return Ok(tokens),
        }
    }
    Err(Failure::new(Code::LoginRefused, "nobody has confirmed the login in time").hint("run `consign login` again"))
}

/// What an answer of the token endpoint means; nothing where it is a refusal.
fn judge(status: u16, body: &[u8], kind: LoginToken) -> Option<Result<Step>> {
    if status != 200 {
        let denied: Denied = serde_json::from_slice(body).ok()?;
        let refused = |message: &str| {
            Some(Err(Failure::new(Code::LoginRefused, message.to_owned()).hint("run `consign login` again")))
        };
        return match denied.error.as_str() {
            "authorization_pending" => Some(Ok(Step::Wait)),
            "slow_down" => Some(Ok(Step::WaitLonger)),
            "expired_token" => refused("nobody has confirmed the login in time"),
            "access_denied" => refused("somebody has refused to confirm the login"),
            _ => None,
        };
    }
    let unreadable = |message: &str| Some(Err(Failure::new(Code::LoginRefused, message.to_owned())));
    let Ok(granted) = serde_json::from_slice::<Granted>(body) else {
        return unreadable("the provider's answer has no tokens in it");
    };
    let Granted { access_token, id_token, refresh_token, expires_in } = granted;
    let Some(token) = (match kind {
        LoginToken::IdToken => id_token,
        LoginToken::AccessToken => Some(access_token),
    }) else {
        return unreadable("the provider gave no token that says who somebody is: the scope needs `openid`");
    };
    if [Some(&token), refresh_token.as_ref()].into_iter().flatten().any(|token| !is_token(token)) {
        return unreadable("the provider's answer has no usable tokens in it");
    }
    // How long an id token counts is only in it.
    let life_seconds = expires_in.filter(|_| kind == LoginToken::AccessToken);
    Some(Ok(Step::Done(Tokens { token, refresh_token, life_seconds })))
}

/// The token that a forge gives to a run of a workflow, for one audience.
pub fn of_workflow(url: &str, request_token: &str, audience: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }
    let join = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{join}{}", form([("audience", audience)]));
    let headers = vec![("authorization", format!("Bearer {request_token}")), ("accept", "application/json".to_owned())];
    let request = Request { method: Method::Get, url: &url, headers, body: Body::Empty, max_bytes: MAX_BYTES };
    let reply = http::Client::default().exchange(request)?;
    let answer: Option<Answer> = (reply.status == 200).then(|| serde_json::from_slice(&reply.body).ok()).flatten();
    answer.map(|answer| answer.value).filter(|token| is_token(token)).ok_or_else(|| {
        Failure::new(Code::LoginRefused, format!("the run was given no token (status {})", reply.status))
            .hint("the job needs `permissions: id-token: write`")
    })
}

/// From when on a token says that it counts no more. Nothing of it is verified: it only tells when to ask
/// for another one.
pub fn claimed_expiry(token: &str) -> Option<i64> {
    let body = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN_BYTES)?;
    let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(body.as_bytes()).ok()?).ok()?;
    claims.get("exp")?.as_i64()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn strange(issuer: &str, message: &str) -> Failure {
    Failure::new(Code::LoginRefused, format!("`{}`: {message}", shown(issuer)))
        .subject(shown(issuer).into_owned())
        .hint("ask whoever runs the server which provider is meant")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn device(life_seconds: u64) -> Device {
        Device {
            user_code: "ABCD-EFGH".to_owned(),
            place: "https://id.example/device".to_owned(),
            place_with_code: None,
            life_seconds,
            device_code: "canary".to_owned(),
            interval_seconds: 5,
        }
    }

    fn refused(error: &str) -> (u16, String) {
        (400, format!(r#"{{"error":"{error}"}}"#))
    }

    /// Plays a provider that answers in this order, and gives the pauses that were made.
    fn play(life_seconds: u64, answers: &[(u16, String)]) -> (std::result::Result<Tokens, Code>, Vec<u64>) {
        let (pauses, left) = (RefCell::new(Vec::new()), RefCell::new(answers.iter()));
        let ask = || match left.borrow_mut().next() {
            Some((0, _)) => Err(Failure::new(Code::RemoteUnavailable, "away")),
            Some((status, body)) => Ok(Reply::of(*status, body.clone().into_bytes())),
            None => Ok(Reply::of(400, refused("authorization_pending").1.into_bytes())),
        };
        let judge = |reply: &Reply| {
            judge(reply.status, &reply.body, LoginToken::IdToken)
                .unwrap_or_else(|| Err(Failure::new(Code::LoginRefused, "another reason")))
        };
        let pause = |pause: Duration| pauses.borrow_mut().push(pause.as_secs());
        let done = persist(&device(life_seconds), ask, judge, pause).map_err(|failure| failure.code());
        (done, pauses.into_inner())
    }

    #[test]
    fn it_is_asked_as_often_as_the_provider_wants_and_no_more() {
        let granted = (200, r#"{"access_token":"a","id_token":"i","refresh_token":"r","expires_in":60}"#.to_owned());
        let answers = [
            refused("authorization_pending"),
            refused("slow_down"),
            refused("authorization_pending"),
            (0, String::new()),
            (503, String::new()),
            granted,
        ];
        let (done, pauses) = play(600, &answers);
        let tokens = done.expect("granted");
        assert_eq!((tokens.token.as_str(), tokens.refresh_token.as_deref()), ("i", Some("r")));
        assert_eq!(pauses, [5, 5, 10, 10, 15, 20]);
    }

    #[test]
    fn a_login_ends_when_it_is_refused_or_nobody_comes() {
        for error in ["access_denied", "expired_token", "invalid_grant"] {
            let (done, pauses) = play(600, &[refused("authorization_pending"), refused(error)]);
            assert_eq!((done, pauses.len()), (Err(Code::LoginRefused), 2), "{error}");
        }
        let (done, pauses) = play(60, &[]);
        assert_eq!((done, pauses.len()), (Err(Code::LoginRefused), 12));
        assert_eq!(play(600, &[(400, "<html>".to_owned())]).0, Err(Code::LoginRefused));
        assert_eq!(play(600, &[(200, "{}".to_owned())]).0, Err(Code::LoginRefused));
        let without = (200, r#"{"access_token":"a"}"#.to_owned());
        assert_eq!(play(600, &[without]).0, Err(Code::LoginRefused), "a scope without `openid`");
        let strange = (200, r#"{"access_token":"a","id_token":"i\r\nx: y"}"#.to_owned());
        assert_eq!(play(600, &[strange]).0, Err(Code::LoginRefused));
    }

    #[test]
    fn tokens_are_not_shown() {
        let tokens =
            Tokens { token: "canary".to_owned(), refresh_token: Some("canary".to_owned()), life_seconds: None };
        assert!(!format!("{tokens:?}").contains("canary"));
    }

    #[test]
    fn when_a_token_ends_is_read_from_it() {
        let token = |claims: &str| format!("e30.{}.x", BASE64URL_NOPAD.encode(claims.as_bytes()));
        assert_eq!(claimed_expiry(&token(r#"{"exp":1700000000}"#)), Some(1_700_000_000));
        for other in [token("{}"), token("[]"), "rel_abc".to_owned(), String::new()] {
            assert_eq!(claimed_expiry(&other), None);
        }
    }
}
