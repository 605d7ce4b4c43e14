//! The names of applications that are made from the names of branches.
//!
//! A [`Template`] is text with values in double braces, as the older system writes them:
//! `my-app-{{ .BRANCH | sanitizeDNSName }}`. There are no conditions and no loops in it.

use super::invalid;
use crate::model::failure::Result;
use crate::model::{FileName, text};

/// The longest name that DNS has.
pub const DNS_NAME_LIMIT: usize = 63;

/// Text with values in it.
pub(super) struct Template<'a>(Vec<Part<'a>>);

enum Part<'a> {
    Text(&'a str),
    Value { key: &'a str, sanitized: bool },
}

/// A name that DNS takes: lower case, what is neither a letter nor a digit becomes one hyphen, cut to the limit,
/// and no hyphen at either end.
pub fn sanitize_dns_name(name: &str, limit: usize) -> String {
    let mut out = String::with_capacity(name.len().min(limit));
    for character in name.chars().flat_map(char::to_lowercase) {
        if out.len() == limit {
            break;
        }
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            out.push(character);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches('-').to_owned()
}

impl<'a> Template<'a> {
    /// Takes a template apart.
    pub(super) fn read(template: &'a str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, behind) = after
                .split_once("}}")
                .ok_or_else(|| invalid(format!("the app `{template}` lacks a closing `}}}}`")))?;
            parts.push(Part::Text(before));
            parts.push(value(template, inside)?);
            rest = behind;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    /// Puts the values in. What comes of it has to be a name, for it becomes a directory.
    pub(super) fn render(&self, values: &[(&str, &str)]) -> Result<FileName> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { key, sanitized } => {
                    let value = values.iter().find(|(name, _)| name == key);
                    let (_, value) = value.ok_or_else(|| invalid(format!("map has no entry for key {key:?}")))?;
                    if *sanitized {
                        out.push_str(&sanitize_dns_name(value, DNS_NAME_LIMIT));
                    } else {
                        out.push_str(value);
                    }
                }
            }
        }
        out.parse().map_err(|error| {
            invalid(format!("the app `{}` is not a name", text::shown(&out)))
                .because(error)
                .hint("put `| sanitizeDNSName` behind the value")
        })
    }
}

fn value<'a>(template: &str, inside: &'a str) -> Result<Part<'a>> {
    let mut words = inside.split('|').map(str::trim);
    let key = words.next().unwrap_or_default();
    let key = key.strip_prefix('.').unwrap_or(key);
    let is_name = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name(key) {
        return Err(invalid(format!("the app `{template}` has braces without a key in them")));
    }
    let mut sanitized = false;
    for filter in words {
        if filter != "sanitizeDNSName" {
            return Err(invalid(format!("the app `{template}` has the unknown filter `{filter}`"))
                .hint("there is `sanitizeDNSName`"));
        }
        sanitized = true;
    }
    Ok(Part::Value { key, sanitized })
}
