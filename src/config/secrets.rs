//! What looks like a secret in the environment: its names are withheld from programs that need no
//! secrets, and its values are never printed, whoever prints them.
//!
//! Programs that Consign runs (build scripts, hooks, tests) may print what they find. This is the
//! net below them; it cannot know a secret that is written in another way.

use std::borrow::Cow;
use std::fmt;

/// What a printed secret is replaced by.
const MASK: &str = "***";
/// Shorter values would mask half of what is printed.
const MIN_BYTES: usize = 6;

/// Names and values of the environment that look like secrets. Never shown, not even by `Debug`.
#[derive(Clone, Default)]
pub struct Secrets {
    names: Vec<String>,
    values: Vec<String>,
}

impl Secrets {
    /// Whether a variable is named like a secret.
    pub fn is_named_so(name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        let words =
            ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "PRIVATE_KEY", "API_KEY", "APIKEY"];
        words.iter().any(|word| name.contains(word)) || name.ends_with("_KEY")
    }

    /// Takes in one variable. Of a value of several lines, as a PEM key is, each line is one secret.
    pub fn add(&mut self, name: &str, value: &str) {
        self.names.push(name.to_owned());
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_BYTES);
        self.values.extend(lines.map(str::to_owned));
    }

    /// The names, for programs that are run without them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The text with every value replaced.
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for value in &self.values {
            if out.contains(value.as_str()) {
                out = Cow::Owned(out.replace(value.as_str(), MASK));
            }
        }
        out
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_secret_is_never_shown() {
        let mut secrets = Secrets::default();
        for (name, value) in
            [("TOKEN", "canary"), ("SIGNING_KEY", "-----BEGIN\nMIGHAgEA\n-----END"), ("PIN_TOKEN", "1234")]
        {
            assert!(Secrets::is_named_so(name));
            secrets.add(name, value);
        }
        assert_eq!(secrets.masked("a canary, MIGHAgEA and 1234"), "a ***, *** and 1234");
        assert!(!format!("{secrets:?}").contains("canary"));
        assert!(!Secrets::is_named_so("KEYBOARD") && !Secrets::is_named_so("PATH"));
    }
}
