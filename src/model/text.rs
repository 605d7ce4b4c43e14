//! Text from outside, made safe to show, and addresses without their secrets.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::Value;

/// Text as it may be shown on a terminal or written into a line of a document: control characters,
/// line breaks and the characters that change the direction of writing become `\u{…}` escapes.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// JSON as it may be shown on a terminal: it says the same, and the characters that [`shown`] replaces
/// are written as JSON's own escapes. Line feeds stay, for they stand between values only.
pub fn shown_json(json: &str) -> Cow<'_, str> {
    let is_raw = |character: char| character != '\n' && is_unsafe(character);
    if !json.chars().any(is_raw) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if is_raw(character) {
            // All of them are in the plane that needs no second escape.
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text with the user name and password taken out of every address in it:
/// `https://user:password@host/` becomes `https://host/`.
///
/// An address such as `ssh://git@host` keeps its user name, for that is no secret and the address
/// does not work without it.
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        out.push_str(before);
        let end = after
            .find(|character: char| {
                character.is_whitespace() || matches!(character, '/' | '?' | '#' | '"' | '\'' | '`' | '<' | '>')
            })
            .unwrap_or(after.len());
        let authority = &after[..end];
        match authority.rsplit_once('@') {
            Some((user, host)) if before.ends_with("ssh://") && !user.contains(':') => {
                out.push_str(user);
                out.push('@');
                out.push_str(host);
            }
            Some((_, host)) => out.push_str(host),
            None => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A value with every text in it [`without_credentials`].
pub fn value_without_credentials(value: Value) -> Value {
    match value {
        Value::String(text) => without_credentials(&text).into_owned().into(),
        Value::Array(list) => list.into_iter().map(value_without_credentials).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, value_without_credentials(value))).collect(),
        other => other,
    }
}

/// Writes a value with every text in it [`without_credentials`], for serde's `serialize_with`.
pub fn serialize_without_credentials<S: Serializer>(value: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    let value = serde_json::to_value(value).map_err(S::Error::custom)?;
    value_without_credentials(value).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_escaped() {
        assert_eq!(shown("plain ünïcode"), "plain ünïcode");
        assert_eq!(shown("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\\u{a}c");
        assert_eq!(shown("x\u{202e}y"), "x\\u{202e}y");
    }

    #[test]
    fn json_says_the_same_without_what_moves_a_cursor() {
        let value = serde_json::json!({"a\u{9b}2J": ["\u{202e}x\u{61c}", "\u{7f}\n", "plain \u{fc}"]});
        let plain = serde_json::to_string_pretty(&value).expect("plain data");
        let safe = shown_json(&plain);
        assert!(!safe.contains(|character| character != '\n' && is_unsafe(character)), "{safe}");
        assert!(safe.contains("\\u009b") && safe.contains("\\u202e") && safe.contains('\u{fc}'), "{safe}");
        assert_eq!(serde_json::from_str::<Value>(&safe).expect("JSON"), value);
    }

    #[test]
    fn no_password_survives() {
        for (given, expected) in [
            ("https://u:p@host/x", "https://host/x"),
            ("https://token@host/x.git", "https://host/x.git"),
            ("fatal: 'https://u:p@h/x' and git+https://a:b@c/d#e", "fatal: 'https://h/x' and git+https://c/d#e"),
            ("https://u:p@ss@host/", "https://host/"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("ssh://git:secret@host/x", "ssh://host/x"),
            ("git@host:x/y", "git@host:x/y"),
            ("https://u:p@host", "https://host"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_credentials(given), expected);
        }
    }
}
