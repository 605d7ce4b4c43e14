//! The part of an address behind the question mark, read strictly: nothing unknown, nothing twice
//! that stands once, everything of its kind.

use std::str::FromStr;

use axum::extract::Query as Pairs;
use axum::extract::rejection::QueryRejection;

use crate::model::failure::Result;
use crate::server::problem::invalid;

/// What handlers are given of it.
pub(super) type Asked = std::result::Result<Pairs<Vec<(String, String)>>, QueryRejection>;

/// The pairs that were not taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(asked: Asked) -> Result<Self> {
        let Pairs(pairs) = asked.map_err(|error| invalid("the query cannot be read").because(error))?;
        Ok(Self(pairs))
    }

    /// Every value of a name.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of a name that may stand once.
    pub(super) fn one<T: FromStr>(&mut self, name: &str) -> Result<Option<T>> {
        let mut values = self.all(name);
        let value = values.pop();
        if !values.is_empty() {
            return Err(invalid(format!("`{name}` stands twice in the query")));
        }
        let read = |text: String| text.parse().map_err(|_| invalid(format!("`{name}` in the query is not one")));
        value.map(read).transpose()
    }

    /// How many are wanted.
    pub(super) fn limit(&mut self, usual: u32, most: u32) -> Result<u32> {
        match self.one("limit")? {
            None => Ok(usual),
            Some(limit) if (1..=most).contains(&limit) => Ok(limit),
            Some(_) => Err(invalid(format!("`limit` in the query is not between 1 and {most}"))),
        }
    }

    /// Refuses what is left.
    pub(super) fn end(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("{name:?} in the query means nothing here"))),
        }
    }
}
