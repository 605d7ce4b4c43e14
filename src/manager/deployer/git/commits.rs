//! Commits as bytes.
//!
//! The main item is [`Commit::render`]. Who and when are handed in; nothing here reads a configuration.

use jiff::Timestamp;

use crate::model::artifact::Person;
use crate::model::failure::Result;
use crate::model::release_commit::Message;

use super::objects::Id;
use super::signing::SigningKey;

/// The trailer by which a release is found again, behind those that older systems read.
pub(super) const RELEASE_ID: &str = "Release-ID";

/// What a commit is made of.
pub(super) struct Commit<'a> {
    pub(super) tree: Id,
    pub(super) parent: Option<Id>,
    pub(super) author: &'a Person,
    pub(super) committer: &'a Person,
    pub(super) at: Timestamp,
    pub(super) message: &'a Message,
    pub(super) release_id: &'a str,
}

impl Commit<'_> {
    /// Its bytes, signed where there is a key.
    pub(super) fn render(&self, signing: Option<&SigningKey>) -> Result<Vec<u8>> {
        let mut head = format!("tree {}\n", self.tree);
        if let Some(parent) = self.parent {
            head.push_str(&format!("parent {parent}\n"));
        }
        let at = self.at.as_second().max(0);
        head.push_str(&format!("author {} {at} +0000\n", identity(self.author)));
        head.push_str(&format!("committer {} {at} +0000\n", identity(self.committer)));
        let mut message = self.message.clone();
        message.set(RELEASE_ID, self.release_id);
        let message = message.to_string().replace('\0', " ");
        let unsigned = format!("{head}\n{message}");
        let Some(key) = signing else { return Ok(unsigned.into_bytes()) };
        let signature = key.sign(unsigned.as_bytes())?;
        // Further lines of a header begin with a space.
        let signature = signature.trim_end().replace('\n', "\n ");
        Ok(format!("{head}gpgsig {signature}\n\n{message}").into_bytes())
    }
}

/// A person as a commit has them: never without a name, and without what would end it.
fn identity(person: &Person) -> String {
    let plain = |text: &str| {
        let kept: String = text.chars().filter(|letter| !letter.is_control() && !"<>".contains(*letter)).collect();
        kept.trim_matches(|letter: char| letter.is_whitespace() || ".,:;\"\\'".contains(letter)).to_owned()
    };
    let (name, email) = (plain(&person.name), plain(&person.email));
    let name = [name, email.clone()].into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    format!("{name} <{email}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_s_name_becomes_a_header() {
        let person = |name: &str, email: &str| Person { name: name.to_owned(), email: email.to_owned() };
        for (given, expected) in [
            (person("Åse Ødegård", "a@b"), "Åse Ødegård <a@b>"),
            (person("A\ncommitter B <x> 1 +0000", "a@b\n"), "Acommitter B x 1 +0000 <a@b>"),
            (person("", "a@b"), "a@b <a@b>"),
            (person(" . ", ""), "unknown <>"),
        ] {
            assert_eq!(identity(&given), expected);
        }
    }
}
