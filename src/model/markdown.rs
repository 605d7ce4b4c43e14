//! Text from outside, made safe inside a Markdown document.
//!
//! Commit subjects and author names are written by strangers. As text of a document they may not
//! become a link, an image, a mention, HTML, a heading or a table; only code between backticks is
//! kept as what it is. The rules are those of `CommonMark` and of the forges' additions to it.

use std::borrow::Cow;

/// The most characters of one text that are kept.
const MAX_CHARACTERS: usize = 300;

/// One line of plain text as Markdown. `number` makes a link of a reference such as `#12`.
pub fn line(text: &str, number: &dyn Fn(&str) -> Option<String>) -> String {
    let text = plain(text);
    let pieces: Vec<_> = text.split('`').collect();
    // An odd number of backticks, or two in a row, is not the simple code that is kept.
    let simple = pieces.len() % 2 == 1 && pieces.iter().skip(1).step_by(2).all(|code| !code.trim().is_empty());
    if !simple {
        return words(&text.replace('`', "'"), number);
    }
    let pieces = pieces.iter().enumerate().map(|(at, piece)| match at % 2 {
        0 => Cow::Owned(words(piece, number)),
        _ => Cow::Owned(code(piece)),
    });
    pieces.collect()
}

/// A text as code between backticks, which nothing inside can leave.
pub fn code(text: &str) -> String {
    format!("`{}`", plain(text).replace('`', "'").replace('|', "\u{2223}"))
}

/// An address as the target of a link.
pub fn target(address: &str) -> String {
    address.replace('(', "%28").replace(')', "%29").replace('<', "%3C").replace('>', "%3E").replace(' ', "%20")
}

/// One line without control characters, invisible characters and those that turn the direction.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        let word: String = word.chars().filter(|character| !is_invisible(*character)).collect();
        if !word.is_empty() {
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push_str(&word);
        }
    }
    match out.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", out[..end].trim_end()),
        None => out,
    }
}

fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Escapes text word by word. What a forge would make a link or a mention of becomes code.
fn words(text: &str, number: &dyn Fn(&str) -> Option<String>) -> String {
    let words = text.split(' ').map(|word| {
        let lower = word.to_ascii_lowercase();
        let linked = word.contains('@') || word.contains("//") || lower.contains("www.") || lower.contains("mailto:");
        if linked { code(word) } else { escaped(word, number) }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    escaped_start(text)
}

fn escaped(word: &str, number: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(word.len() + 8);
    let mut before = ' ';
    let mut rest = word;
    while let Some(character) = rest.chars().next() {
        if character == '#'
            && !before.is_alphanumeric()
            && let Some(digits) = leading_number(&rest[1..])
            && let Some(address) = number(digits)
        {
            out.extend(["[#", digits, "](", &target(&address), ")"]);
            before = '0';
            rest = &rest[1 + digits.len()..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Inside a word an underscore never starts emphasis.
            '_' if before.is_alphanumeric() && rest.starts_with(char::is_alphanumeric) => out.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '|' | '!' | '$' => out.extend(['\\', character]),
            _ => out.push(character),
        }
        before = character;
    }
    out
}

/// The digits at the start, when they are a whole number of a size that a forge gives out.
fn leading_number(text: &str) -> Option<&str> {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let whole = !text[end..].starts_with(|character: char| character.is_alphanumeric() || character == '_');
    (whole && (1..=9).contains(&end)).then(|| &text[..end])
}

/// At the start of a line a hyphen, a plus or a number would begin a list.
fn escaped_start(text: String) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text.as_bytes().get(digits) {
        Some(b'-' | b'+' | b'=' | b':') if digits == 0 => format!("\\{text}"),
        Some(b'.' | b')') if digits > 0 => format!("{}\\{}", &text[..digits], &text[digits..]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        line(text, &|digits| Some(format!("https://host/pull/{digits}")))
    }

    #[test]
    fn ordinary_text_stays_readable() {
        for text in ["Add a thing (really), 100% of it: x-y", "read `foo_bar` and snake_case", "über café 日本"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn references_become_links_and_nothing_else_does() {
        assert_eq!(shown("add x (#12)"), "add x ([#12](https://host/pull/12))");
        assert_eq!(shown("a#12 #x #12a ##"), "a\\#12 \\#x \\#12a \\#\\#");
        assert_eq!(line("add (#12)", &|_| None), "add (\\#12)");
    }

    #[test]
    fn nothing_gets_out_of_its_text() {
        for (given, expected) in [
            ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
            ("[a](https://evil)", "`[a](https://evil)`"),
            ("[a](javascript:x)", "\\[a\\](javascript:x)"),
            ("![a](/evil/x.png)", "\\!\\[a\\](/evil/x.png)"),
            ("see //evil.example/x", "see `//evil.example/x`"),
            ("see www.evil.com or @everyone", "see `www.evil.com` or `@everyone`"),
            ("&lt;b&gt; *b* ~~s~~ a|b", "&amp;lt;b&amp;gt; \\*b\\* \\~\\~s\\~\\~ a\\|b"),
            ("- a", "\\- a"),
            ("1. a", "1\\. a"),
            ("# a", "\\# a"),
            ("``` x", "''' x"),
            ("a ` <b> `", "a `<b>`"),
            ("` ` <b>", "' ' &lt;b&gt;"),
            ("`@x", "`'@x`"),
            ("a\u{1b}]8;;x\u{7}b\u{202e}c\r\nd\u{200b}e", "a \\]8;;x bc de"),
            ("\\<b>", "\\\\&lt;b&gt;"),
            ("", ""),
        ] {
            assert_eq!(shown(given), expected, "{given:?}");
        }
        assert_eq!(code("a`|\nb"), "`a'\u{2223} b`");
        assert!(shown(&"x".repeat(10_000)).chars().count() <= MAX_CHARACTERS + 1);
    }
}
