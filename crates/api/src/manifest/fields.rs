//! Reads typed fields out of YAML nodes, and names the field that does not fit.
//!
//! Never lets an unknown field pass.

use super::ManifestError;
use super::yaml::{Entry, Meaning, Node, Value};
use crate::field::FieldPath;
use crate::guess::closest;
use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use std::fmt::Display;

pub(super) struct Reader<'n> {
    node: &'n Node,
    path: FieldPath,
}

/// A refusal on its way up to the first reader that knows the place.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Placed(Box<ManifestError>),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is needed")]
    Unfit(&'static str),
    #[error("{0}")]
    Refused(String),
}

impl ReadError {
    pub(super) fn place(self, path: &FieldPath, line: usize) -> ManifestError {
        match self {
            Self::Placed(error) => *error,
            Self::Missing(field) => ManifestError::Missing { line, path: path.name(field) },
            Self::Unfit(needed) => {
                let reason = format!("{needed} is needed");
                ManifestError::Value { line, path: path.clone(), reason }
            }
            Self::Refused(reason) => ManifestError::Value { line, path: path.clone(), reason },
        }
    }
}

impl Error for ReadError {
    fn custom<T: Display>(text: T) -> Self {
        Self::Refused(text.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Unfit(match expected.to_string().as_str() {
            "Quantity" => "a quantity",
            "IntOrString" => "a number or text",
            _ => "another type",
        })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Refused(format!("{unexpected} is not {expected}"))
    }
}

impl Node {
    fn type_error(&self, path: FieldPath, needed: &str) -> ManifestError {
        let found = match &self.value {
            Value::Empty => "empty".to_owned(),
            Value::Plain(raw, Meaning::Flag(flag)) if raw != &flag.to_string() => {
                format!("{raw} (which YAML takes for {flag})")
            }
            Value::Plain(raw, Meaning::Flag(_)) => format!("{raw} (a switch)"),
            Value::Plain(raw, _) => format!("{raw} (a number)"),
            Value::Text(text) => format!("{:?} (text)", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        };
        let unquoted = |text: &str| match needed {
            "a whole number" => text.parse::<i64>().is_ok(),
            "true or false" => matches!(text, "true" | "false"),
            _ => false,
        };
        let fix = match (&self.value, needed) {
            (Value::Empty, _) => "fill it in or remove it".to_owned(),
            (Value::Plain(raw, _), "text") => format!("write \"{raw}\""),
            (Value::Text(text), _) if unquoted(text) => format!("write {text} without quotes"),
            (_, "text") => "write a single value".to_owned(),
            (_, "a whole number") => "write one, for example 3".to_owned(),
            (_, "true or false") => "write one of the two, without quotes".to_owned(),
            (_, "a list") => "write each item on a line of its own that begins with -".to_owned(),
            (_, "a map") => "write its fields below it, indented".to_owned(),
            (_, "a quantity") => "write one, for example 16Mi".to_owned(),
            (_, _) => "correct it".to_owned(),
        };
        ManifestError::Type { line: self.line, path, found, needed: needed.to_owned(), fix }
    }
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

impl<'n> Reader<'n> {
    pub(super) fn new(node: &'n Node) -> Self {
        Self::at(node, FieldPath::default())
    }

    pub(super) fn at(node: &'n Node, path: FieldPath) -> Self {
        Self { node, path }
    }

    fn refuse(&self, needed: &str) -> ReadError {
        ReadError::Placed(Box::new(self.node.type_error(self.path.clone(), needed)))
    }

    fn placed<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|error| match error {
            ReadError::Placed(_) => error,
            ReadError::Unfit(needed) => self.refuse(needed),
            ReadError::Missing(_) | ReadError::Refused(_) => {
                ReadError::Placed(Box::new(error.place(&self.path, self.node.line)))
            }
        })
    }

    fn integer<T: TryFrom<i64>>(&self, needed: &str) -> Result<T, ReadError> {
        let Value::Plain(_, Meaning::Integer(integer)) = self.node.value else {
            return Err(self.refuse("a whole number"));
        };
        T::try_from(integer).map_err(|_| self.refuse(needed))
    }

    fn entries(&self, fields: Fields) -> Result<Entries<'n>, ReadError> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.refuse("a map"));
        };
        Ok(Entries { left: entries.iter(), path: self.path.clone(), fields, next: None })
    }

    fn known(&self, fields: &'static [&'static str]) -> Result<(), ReadError> {
        let Value::Map(entries) = &self.node.value else { return Ok(()) };
        match entries.iter().find(|entry| !fields.contains(&&*entry.name)) {
            None => Ok(()),
            Some(entry) => Err(ReadError::Placed(Box::new(ManifestError::Unknown {
                line: entry.line,
                path: self.path.name(&entry.name),
                guess: closest(&entry.name, fields.iter().copied()),
                known: fields,
            }))),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Empty => self.placed(visitor.visit_unit()),
            Value::Plain(_, Meaning::Flag(flag)) => self.placed(visitor.visit_bool(*flag)),
            Value::Plain(_, Meaning::Integer(integer)) => self.placed(visitor.visit_i64(*integer)),
            Value::Plain(_, Meaning::Number(number)) => self.placed(visitor.visit_f64(*number)),
            Value::Text(text) => self.placed(visitor.visit_str(text)),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Plain(_, Meaning::Flag(flag)) = self.node.value else {
            return Err(self.refuse("true or false"));
        };
        self.placed(visitor.visit_bool(flag))
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let integer = self.integer("a whole number up to 2147483647")?;
        self.placed(visitor.visit_i32(integer))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let integer = self.integer("a whole number")?;
        self.placed(visitor.visit_i64(integer))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Text(text) = &self.node.value else { return Err(self.refuse("text")) };
        self.placed(visitor.visit_str(text))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Empty => visitor.visit_none(),
            Value::Plain(..) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::List(items) = &self.node.value else { return Err(self.refuse("a list")) };
        let items = Items { items: items.iter().enumerate(), path: self.path.clone() };
        self.placed(visitor.visit_seq(items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let entries = self.entries(Fields::Any)?;
        self.placed(visitor.visit_map(entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let entries = self.entries(Fields::Known)?;
        self.known(fields)?;
        self.placed(visitor.visit_map(entries))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let text = match &self.node.value {
            Value::Text(text) | Value::Plain(text, _) => text,
            Value::Empty | Value::List(_) | Value::Map(_) => return Err(self.refuse("text")),
        };
        if known.contains(&&**text) {
            let variant: StringDeserializer<ReadError> = text.clone().into_deserializer();
            return self.placed(visitor.visit_enum(variant));
        }
        Err(ReadError::Placed(Box::new(ManifestError::Choice {
            line: self.node.line,
            path: self.path,
            given: text.clone(),
            guess: closest(text, known.iter().copied()),
            known,
        })))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct identifier ignored_any
    }
}

struct Items<'n> {
    items: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
    path: FieldPath,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader { node, path: self.path.item(index) }).map(Some)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fields {
    /// Those of a type: an empty one counts as absent, as it does for the API server.
    Known,
    Any,
}

struct Entries<'n> {
    left: std::slice::Iter<'n, Entry>,
    path: FieldPath,
    fields: Fields,
    next: Option<&'n Entry>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        let fields = self.fields;
        self.next = self
            .left
            .find(|entry| fields == Fields::Any || !matches!(entry.node.value, Value::Empty));
        let Some(entry) = self.next else { return Ok(None) };
        let name: StrDeserializer<'_, ReadError> = entry.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.next.take() else {
            return Err(ReadError::Refused("its value is read before its name".to_owned()));
        };
        seed.deserialize(Reader { node: &entry.node, path: self.path.name(&entry.name) })
    }
}
