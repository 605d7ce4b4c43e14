//! What a token allows: verbs, each for one service or for all, and some of them in one environment.
//!
//! Written as `push:web read:* release:web@dev`. Whatever is not granted is refused.

use std::fmt;
use std::str::FromStr;

use crate::model::failure::Result;
use crate::model::{Code, Failure, FileName};

/// What can be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// To see artifacts.
    Read,
    /// To push artifacts, and to report how their runs ended.
    Push,
    /// To release, promote and roll back in an environment, and to hold and resume it.
    Release,
    /// To pass a freeze with a reason, beside being allowed to release.
    Override,
    /// To approve what others want to release to an environment.
    Approve,
    /// To change the policies of a service.
    Policy,
    /// To read the audit log.
    Audit,
    /// Everything.
    Admin,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 8] =
        [Self::Read, Self::Push, Self::Release, Self::Override, Self::Approve, Self::Policy, Self::Audit, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Push => "push",
            Self::Release => "release",
            Self::Override => "override",
            Self::Approve => "approve",
            Self::Policy => "policy",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
    }

    /// Whether it is about a service; the others are about the server as a whole.
    const fn is_of_services(self) -> bool {
        !matches!(self, Self::Audit | Self::Admin)
    }

    /// Whether it is about an environment too.
    const fn is_of_environments(self) -> bool {
        matches!(self, Self::Release | Self::Override | Self::Approve | Self::Policy)
    }

    /// Whether whoever may do this may do that as well. Whoever changes something has to see what became
    /// of it; whoever releases need not be one who approves, nor the other way round.
    const fn includes(self, other: Self) -> bool {
        self as u8 == other as u8
            || matches!(self, Self::Admin)
            || (matches!(other, Self::Read) && self.is_of_services())
    }
}

/// Everything that one token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    verb: Verb,
    /// Every service, if none is named.
    service: Option<FileName>,
    /// Every environment, if none is named.
    environment: Option<FileName>,
}

impl Grants {
    /// Everything.
    pub fn admin() -> Self {
        Self(vec![Grant { verb: Verb::Admin, service: None, environment: None }])
    }

    /// What any of several allow.
    pub(super) fn joined<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        Self(all.flat_map(|grants| grants.0.iter().cloned()).collect())
    }

    /// Whether something is allowed that is about no environment, or about all of them; nought as a service
    /// is for what belongs to none.
    pub fn allow(&self, verb: Verb, service: Option<&FileName>) -> bool {
        self.0.iter().any(|grant| {
            // Seeing is about no environment: whoever may release to one sees the whole service.
            let everywhere = grant.environment.is_none() || verb == Verb::Read;
            grant.verb.includes(verb) && grant.is_for(service) && everywhere
        })
    }

    /// Whether something is allowed for a service in an environment.
    pub fn allow_in(&self, verb: Verb, service: &FileName, environment: &FileName) -> bool {
        self.0.iter().any(|grant| {
            let there = grant.environment.as_ref().is_none_or(|named| named == environment);
            grant.verb.includes(verb) && grant.is_for(Some(service)) && (there || verb == Verb::Read)
        })
    }

    /// Whether something is allowed for any service at all.
    pub fn allow_somewhere(&self, verb: Verb) -> bool {
        self.allow(verb, None) || self.0.iter().any(|grant| self.allow(verb, grant.service.as_ref()))
    }

    /// The services that may be seen; nothing where it is all of them.
    pub fn visible(&self) -> Option<Vec<String>> {
        if self.allow(Verb::Read, None) {
            return None;
        }
        let named = self.0.iter().filter_map(|grant| grant.service.as_ref());
        let mut visible: Vec<_> =
            named.filter(|service| self.allow(Verb::Read, Some(service))).map(ToString::to_string).collect();
        visible.sort();
        visible.dedup();
        Some(visible)
    }
}

impl Grant {
    fn is_for(&self, service: Option<&FileName>) -> bool {
        self.service.is_none() || self.service.as_ref() == service
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, service, environment } = self;
        write!(f, "{}:{}", verb.as_str(), service.as_ref().map_or("*", FileName::as_str))?;
        environment.as_ref().map_or(Ok(()), |environment| write!(f, "@{environment}"))
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

/// A word that is no grant.
fn no_grant(word: &str) -> Failure {
    Failure::new(Code::Usage, format!("{word:?} is not a grant")).hint(
        "write `read:SERVICE`, `push:SERVICE`, `release:SERVICE@ENVIRONMENT`, `override:SERVICE@ENVIRONMENT`, \
         `approve:SERVICE@ENVIRONMENT`, `policy:SERVICE`, `audit:*` or `admin:*`; `*` is every service, and without `@` it is every environment",
    )
}

impl FromStr for Grant {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self> {
        let refuse = || no_grant(word);
        let name = |text: &str| text.parse::<FileName>().map_err(|error| refuse().because(error));
        let (verb, rest) = word.split_once(':').ok_or_else(refuse)?;
        let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb).ok_or_else(refuse)?;
        let (service, environment) = match rest.split_once('@') {
            Some(_) if !verb.is_of_environments() => return Err(refuse()),
            Some((service, environment)) => (service, Some(name(environment)?)),
            None => (rest, None),
        };
        let service = match service {
            "*" => None,
            _ if !verb.is_of_services() => return Err(refuse()),
            text => Some(name(text)?),
        };
        Ok(Self { verb, service, environment })
    }
}

impl FromStr for Grants {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        let grants: Vec<Grant> = text.split_whitespace().map(str::parse).collect::<Result<_>>()?;
        if grants.is_empty() { Err(no_grant("")) } else { Ok(Self(grants)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        text.parse().expect("a name")
    }

    /// Subject by verb by service by environment: whoever changes a cell of this has to say so.
    #[test]
    fn what_is_not_granted_is_refused() {
        let mut matrix = String::new();
        for text in [
            "read:web",
            "push:web",
            "read:*",
            "push:*",
            "release:web",
            "release:web@dev",
            "release:*@dev",
            "override:web@prod",
            "approve:web@prod",
            "policy:web",
            "audit:*",
            "admin:*",
            "read:web push:api release:web@prod",
        ] {
            let grants: Grants = text.parse().expect("grants");
            matrix.push_str(&format!("{text}\n"));
            for verb in Verb::ALL {
                let mut cells = Vec::new();
                for service in ["web", "api"] {
                    cells.extend(grants.allow(verb, Some(&name(service))).then(|| service.to_owned()));
                    for environment in ["dev", "prod"] {
                        let allowed = grants.allow_in(verb, &name(service), &name(environment));
                        cells.extend(allowed.then(|| format!("{service}@{environment}")));
                    }
                }
                cells.extend(grants.allow(verb, None).then(|| "none".to_owned()));
                if !cells.is_empty() {
                    matrix.push_str(&format!("  {}: {}\n", verb.as_str(), cells.join(" ")));
                }
            }
        }
        insta::assert_snapshot!(matrix, @r"
        read:web
          read: web web@dev web@prod
        push:web
          read: web web@dev web@prod
          push: web web@dev web@prod
        read:*
          read: web web@dev web@prod api api@dev api@prod none
        push:*
          read: web web@dev web@prod api api@dev api@prod none
          push: web web@dev web@prod api api@dev api@prod none
        release:web
          read: web web@dev web@prod
          release: web web@dev web@prod
        release:web@dev
          read: web web@dev web@prod
          release: web@dev
        release:*@dev
          read: web web@dev web@prod api api@dev api@prod none
          release: web@dev api@dev
        override:web@prod
          read: web web@dev web@prod
          override: web@prod
        approve:web@prod
          read: web web@dev web@prod
          approve: web@prod
        policy:web
          read: web web@dev web@prod
          policy: web web@dev web@prod
        audit:*
          audit: web web@dev web@prod api api@dev api@prod none
        admin:*
          read: web web@dev web@prod api api@dev api@prod none
          push: web web@dev web@prod api api@dev api@prod none
          release: web web@dev web@prod api api@dev api@prod none
          override: web web@dev web@prod api api@dev api@prod none
          approve: web web@dev web@prod api api@dev api@prod none
          policy: web web@dev web@prod api api@dev api@prod none
          audit: web web@dev web@prod api api@dev api@prod none
          admin: web web@dev web@prod api api@dev api@prod none
        read:web push:api release:web@prod
          read: web web@dev web@prod api api@dev api@prod
          push: api api@dev api@prod
          release: web@prod
        ");
    }

    #[test]
    fn grants_are_written_as_they_are_read() {
        for text in ["read:web", "push:web read:*", "admin:*", "release:web@dev approve:*@prod policy:web"] {
            assert_eq!(text.parse::<Grants>().expect(text).to_string(), text);
        }
        for wrong in [
            "",
            "read",
            "read:",
            "write:web",
            "read:a/b",
            "admin:web",
            "audit:web",
            "READ:*",
            "read:web@dev",
            "release:web@",
            "release:@dev",
            "release:web@*",
            "release:web@a@b",
        ] {
            assert!(wrong.parse::<Grants>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_what_may_be_read_is_listed() {
        let visible = |text: &str| text.parse::<Grants>().expect(text).visible();
        assert_eq!(visible("read:*"), None);
        assert_eq!(visible("push:b read:a read:a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(visible("audit:*"), Some(Vec::new()));
        assert_eq!(visible("release:web@dev"), Some(vec!["web".to_owned()]));
        assert_eq!(visible("release:*@dev"), None);
    }
}
