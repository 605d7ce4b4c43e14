//! TOML files that people write: read with a bound, checked against the schema of their struct, and
//! with errors that name the line and the nearest key.
//!
//! [`parse`] is the main function. What the values mean is the business of whoever has the struct.

use std::collections::BTreeMap;
use std::ops::Range;

use camino::Utf8Path;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::nearest;
use crate::model::failure::Result;
use crate::model::{Code, Failure, text};
use crate::world::files;

/// No file of this kind is larger.
const MAX_BYTES: usize = 1 << 20;

/// The schema of a struct with everything in its place.
pub(super) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    without_null(&mut schema);
    schema
}

/// A schema as a document of its own.
pub(super) fn schema_text(mut schema: Value) -> String {
    if let Some(top) = schema.as_object_mut() {
        top.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    }
    String::from_utf8_lossy(&crate::model::pretty(&schema)).into_owned()
}

/// The text of a file, and its path as it is shown: the part below `directory`, if it is there.
pub(super) fn read(path: &Utf8Path, directory: &Utf8Path, hint: &str) -> Result<(String, String)> {
    let shown = text::shown(path.strip_prefix(directory).unwrap_or(path).as_str()).into_owned();
    let invalid = |message: String| Failure::new(Code::ConfigInvalid, message).subject(&*shown);
    if !path.is_file() {
        return Err(invalid(format!("`{shown}` is not a file")).hint(hint));
    }
    let bytes = files::read_bounded(path, MAX_BYTES)?;
    let source = String::from_utf8(bytes).map_err(|error| {
        invalid(format!("`{shown}` is not UTF-8"))
            .because(error)
            .hint("save the file as UTF-8, without other encodings")
    })?;
    Ok((shown, source))
}

/// Reads the text of a file: its content and the line of every key.
pub(super) fn parse<T: DeserializeOwned>(
    source: &str,
    shown: &str,
    schema: &Value,
) -> Result<(T, BTreeMap<String, usize>)> {
    let table = DeTable::parse(source).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let (line, column) = (line_of(source, at), column_of(source, at));
        Failure::new(Code::ConfigInvalid, format!("`{shown}` is not TOML at line {line}, column {column}"))
            .subject(format!("{shown}:{line}"))
            .because(text::shown(error.message()).into_owned())
    })?;
    let mut keys = Vec::new();
    walk(table.get_ref(), schema, "", &mut keys).map_err(|unknown| unknown.failure(source, shown))?;
    keys.sort_by_key(|(_, span)| span.start);
    let content = toml::from_str(source).map_err(|error| unusable(&error, &keys, source, shown))?;
    let lines = keys.into_iter().map(|(key, span)| (key, line_of(source, span.start))).collect();
    Ok((content, lines))
}

/// The failure of a value that has the wrong type.
fn unusable(error: &toml::de::Error, keys: &[(String, Range<usize>)], source: &str, shown: &str) -> Failure {
    let at = error.span().map_or(0, |span| span.start);
    let line = line_of(source, at);
    let key = keys.iter().rev().find(|(_, span)| span.start <= at).map_or("the file", |(key, _)| key);
    let key = text::shown(key);
    Failure::new(Code::ConfigInvalid, format!("`{key}` cannot be used, `{shown}` line {line}"))
        .subject(format!("{shown}:{line}"))
        .because(text::shown(error.message()).into_owned())
}

/// A key that means nothing.
struct Unknown {
    key: String,
    at: usize,
    nearest: Option<String>,
}

impl Unknown {
    fn failure(self, source: &str, shown: &str) -> Failure {
        let line = line_of(source, self.at);
        let failure = Failure::new(
            Code::ConfigInvalid,
            format!("unknown key `{}`, `{shown}` line {line}", text::shown(&self.key)),
        )
        .subject(format!("{shown}:{line}"));
        match self.nearest {
            Some(nearest) => failure.hint(format!("did you mean `{nearest}`?")),
            None => failure,
        }
    }
}

/// Notes where every key stands, and stops at the first one that the schema does not have.
fn walk(
    table: &DeTable<'_>,
    schema: &Value,
    above: &str,
    keys: &mut Vec<(String, Range<usize>)>,
) -> Result<(), Unknown> {
    // In the order of the file, so that the first mistake is the one that is named.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name: &str = key.get_ref();
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
        let below = below(schema, name).map_err(|known| Unknown {
            key: path.clone(),
            at: key.span().start,
            nearest: nearest(name, known.iter().map(String::as_str)).map(str::to_owned),
        })?;
        keys.push((path.clone(), key.span()));
        match (value.get_ref(), below) {
            (DeValue::Table(table), Some(schema)) if is_table(schema) => walk(table, schema, &path, keys)?,
            (DeValue::Array(list), Some(schema)) if is_table(&schema["items"]) => {
                for one in list {
                    if let DeValue::Table(table) = one.get_ref() {
                        walk(table, &schema["items"], &path, keys)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The schema of a key in a table, or else the keys that there are.
fn below<'a>(schema: &'a Value, name: &str) -> Result<Option<&'a Value>, Vec<String>> {
    if let Some(properties) = schema["properties"].as_object() {
        return match properties.get(name) {
            Some(below) => Ok(Some(below)),
            None => Err(properties.keys().cloned().collect()),
        };
    }
    let names: Vec<String> = schema["propertyNames"]["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if names.is_empty() || names.iter().any(|known| known == name) {
        return Ok(schema.get("additionalProperties"));
    }
    Err(names)
}

fn is_table(schema: &Value) -> bool {
    let has_rows = schema.get("additionalProperties").is_some_and(Value::is_object);
    has_rows || schema.get("properties").is_some() || schema.get("propertyNames").is_some()
}

/// TOML has no null: a key that may be left out is not one that may be null.
fn without_null(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        if object.get("default").is_some_and(Value::is_null) {
            object.remove("default");
        }
        if let Some(kind) = object.get("type").and_then(Value::as_array).and_then(|kinds| kinds.first()).cloned() {
            object.insert("type".to_owned(), kind);
        }
        if let Some(Value::Array(mut choices)) = object.remove("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [Value::Object(only)] = &*choices {
                for (key, value) in only {
                    object.entry(key.clone()).or_insert_with(|| value.clone());
                }
            } else {
                object.insert("anyOf".to_owned(), choices.into());
            }
        }
        object.values_mut().for_each(without_null);
    } else if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(without_null);
    }
}

fn line_of(source: &str, at: usize) -> usize {
    source.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn column_of(source: &str, at: usize) -> usize {
    let before = source.get(..at).unwrap_or(source);
    before.rsplit('\n').next().unwrap_or_default().chars().count() + 1
}
