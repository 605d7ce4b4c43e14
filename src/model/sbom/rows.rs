//! JSON with one row per line: the document's own fields and lists are indented, each crate and each
//! relationship stands on a line of its own. Smaller than the pretty form, and a diff shows the crate.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;

/// How many levels are spread over lines: the document, and the lists in it.
const SPREAD_LEVELS: usize = 2;

/// Writes a document, with a line feed at its end.
pub(super) fn render(document: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Rows::default());
    document.serialize(&mut serializer).expect("plain data with text keys always serialises");
    out.push(b'\n');
    out
}

#[derive(Default)]
struct Rows {
    depth: usize,
    filled: bool,
}

impl Rows {
    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        let spread = self.filled && self.depth <= SPREAD_LEVELS;
        self.depth -= 1;
        if spread {
            self.line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= SPREAD_LEVELS { self.line(writer) } else { Ok(()) }
    }

    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Rows {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(if self.depth <= SPREAD_LEVELS { b": " } else { b":" })
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_row_of_a_list_is_a_line() {
        let document = BTreeMap::from([("a", vec![BTreeMap::from([("x", vec![1, 2]), ("y", vec![])])]), ("b", vec![])]);
        let text = String::from_utf8(render(&document)).expect("text");
        assert_eq!(text, "{\n  \"a\": [\n    {\"x\":[1,2],\"y\":[]}\n  ],\n  \"b\": []\n}\n");
    }
}
