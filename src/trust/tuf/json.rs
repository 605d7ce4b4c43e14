//! Strict JSON: what TUF metadata is made of, without doubled keys, and its canonical form.
//!
//! The signatures of TUF are over a canonical form of a value, not over the bytes of a file. So the
//! value is read by a reader that refuses whatever two readers could understand differently: doubled
//! keys, and numbers that are not whole. Depth is bounded by `serde_json`; size by the caller.
//!
//! The canonical form is OLPC's as every TUF implementation writes it: members sorted by their names,
//! `"` and `\\` escaped and nothing else, text exactly as it was given. (The crate `olpc-cjson` sorts
//! by the escaped names and changes the text to Unicode's form C, so that `a` and `a b` come in
//! another order and two names can become one; it agrees where names are plain.)

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

/// A value without doubled keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object; no key was there twice.
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads one document and nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The canonical form, which is what is signed.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write_canonical(&mut out);
        out.into_bytes()
    }

    fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => out.push_str(&value.to_string()),
            Self::Text(value) => write_text(value, out),
            Self::List(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    value.write_canonical(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write_text(name, out);
                    out.push(':');
                    value.write_canonical(out);
                }
                out.push('}');
            }
        }
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => values.serialize(serializer),
            Self::Object(members) => members.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers and no doubled key")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Number).map_err(|_| E::custom("a number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            let value = members.next_value()?;
            object.insert(key, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_key_is_refused_at_any_depth() {
        for wrong in [r#"{"a":1,"a":1}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"a":1}x"#, "1.5", "1e3"] {
            assert!(Json::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(Json::parse(b"1.5").is_err_and(|error| error.to_string().contains("whole numbers")));
    }

    #[test]
    fn the_canonical_form_is_olpc_s() {
        let value = Json::parse(br#" { "b" : [ 1 , -2, true, null ], "a": "q\"\\\u0001\n" } "#).expect("good");
        assert_eq!(value.canonical(), b"{\"a\":\"q\\\"\\\\\x01\n\",\"b\":[1,-2,true,null]}");
        let other = serde_json::to_vec(&value).map(|text| {
            let plain: serde_json::Value = serde_json::from_slice(&text).expect("it was just written");
            let mut out = Vec::new();
            let formatter = olpc_cjson::CanonicalFormatter::new();
            plain.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter)).expect("plain data");
            out
        });
        assert_eq!(value.canonical(), other.expect("plain data"));
    }

    #[test]
    fn names_are_sorted_as_they_are_and_never_changed() {
        // What Python's securesystemslib writes for the same value.
        let value = Json::parse("{\"a!\":1,\"a\":2,\"e\u{301}\":3,\"\u{e9}\":4,\"\\\"\":5}".as_bytes()).expect("good");
        let expected = "{\"\\\"\":5,\"a\":2,\"a!\":1,\"e\u{301}\":3,\"\u{e9}\":4}";
        assert_eq!(value.canonical(), expected.as_bytes());
    }
}
