//! What a token allows: verbs, each for one service or for all.
//!
//! Written as `push:web read:*`. Whatever is not granted is refused.

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
    /// To read the audit log.
    Audit,
    /// Everything.
    Admin,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Read, Self::Push, Self::Audit, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Push => "push",
            Self::Audit => "audit",
            Self::Admin => "admin",
        }
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
}

impl Grants {
    /// Everything.
    pub fn admin() -> Self {
        Self(vec![Grant { verb: Verb::Admin, service: None }])
    }

    /// What any of several allow.
    pub(super) fn joined<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        Self(all.flat_map(|grants| grants.0.iter().cloned()).collect())
    }

    /// Whether something is allowed; nought as a service is for what belongs to none.
    pub fn allow(&self, verb: Verb, service: Option<&FileName>) -> bool {
        self.0.iter().any(|grant| {
            // Whoever may push has to see what became of it.
            let covers =
                grant.verb == verb || grant.verb == Verb::Admin || (grant.verb == Verb::Push && verb == Verb::Read);
            covers && (grant.service.is_none() || grant.service.as_ref() == service)
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

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self
            .0
            .iter()
            .map(|Grant { verb, service }| {
                format!("{}:{}", verb.as_str(), service.as_ref().map_or("*", FileName::as_str))
            })
            .collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Grants {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |word: &str| {
            Failure::new(Code::Usage, format!("{word:?} is not a grant"))
                .hint("write `read:SERVICE`, `push:SERVICE`, `audit:*` or `admin:*`; `*` is every service")
        };
        let mut grants = Vec::new();
        for word in text.split_whitespace() {
            let (verb, service) = word.split_once(':').ok_or_else(|| refuse(word))?;
            let verb = Verb::ALL.into_iter().find(|known| known.as_str() == verb).ok_or_else(|| refuse(word))?;
            let service = match service {
                "*" => None,
                _ if matches!(verb, Verb::Audit | Verb::Admin) => return Err(refuse(word)),
                name => Some(name.parse().map_err(|error| refuse(word).because(error))?),
            };
            grants.push(Grant { verb, service });
        }
        if grants.is_empty() { Err(refuse("")) } else { Ok(Self(grants)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(grants: &str, verb: Verb, service: Option<&str>) -> bool {
        let service = service.map(|name| name.parse().expect("a name"));
        grants.parse::<Grants>().expect("grants").allow(verb, service.as_ref())
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let mut matrix = String::new();
        for grants in ["read:web", "push:web", "read:*", "push:*", "audit:*", "admin:*", "read:web push:api"] {
            let mut cells = Vec::new();
            for verb in Verb::ALL {
                for service in [Some("web"), Some("api"), None] {
                    let word = service.unwrap_or("none");
                    if allows(grants, verb, service) {
                        cells.push(format!("{}:{word}", verb.as_str()));
                    }
                }
            }
            matrix.push_str(&format!("{grants} -> {}\n", cells.join(" ")));
        }
        insta::assert_snapshot!(matrix, @r"
        read:web -> read:web
        push:web -> read:web push:web
        read:* -> read:web read:api read:none
        push:* -> read:web read:api read:none push:web push:api push:none
        audit:* -> audit:web audit:api audit:none
        admin:* -> read:web read:api read:none push:web push:api push:none audit:web audit:api audit:none admin:web admin:api admin:none
        read:web push:api -> read:web read:api push:api
        ");
    }

    #[test]
    fn grants_are_written_as_they_are_read() {
        for text in ["read:web", "push:web read:*", "admin:*"] {
            assert_eq!(text.parse::<Grants>().expect(text).to_string(), text);
        }
        for wrong in ["", "read", "read:", "write:web", "read:a/b", "admin:web", "audit:web", "READ:*"] {
            assert!(wrong.parse::<Grants>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_what_may_be_read_is_listed() {
        let visible = |text: &str| text.parse::<Grants>().expect(text).visible();
        assert_eq!(visible("read:*"), None);
        assert_eq!(visible("push:b read:a read:a"), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(visible("audit:*"), Some(Vec::new()));
    }
}
