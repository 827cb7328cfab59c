//! Turns YAML text into nodes that know their line.
//!
//! Never interprets a plain word differently from `kubectl`: `on` is true, `0644` is octal.

use super::ManifestError;
use crate::field::FieldPath;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use std::collections::{BTreeMap, BTreeSet};

/// Deeper than any field of a manifest lies.
const DEPTH_LIMIT: usize = 64;
/// More values than a manifest has; aliases count as often as they are used.
const NODE_LIMIT: usize = 200_000;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Empty,
    /// An unquoted word that means something else than its letters.
    Plain(String, Meaning),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Flag(bool),
    Integer(i64),
    Number(f64),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// The documents in `text` that are not empty.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, ManifestError> {
    let parser = Parser::new_from_str(text);
    let mut loader = Loader { parser, anchors: BTreeMap::new(), left: NODE_LIMIT };
    let mut documents = Vec::new();
    while let Some((event, span)) = loader.next()? {
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            event => {
                let node = loader.node(event, span, &FieldPath::default(), 0)?;
                documents.extend(Some(node).filter(|node| !matches!(node.value, Value::Empty)));
            }
        }
    }
    Ok(documents)
}

struct Loader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    left: usize,
}

impl<'t> Loader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, ManifestError> {
        self.parser.next_event().transpose().map_err(|error| syntax(&error))
    }

    fn within(&mut self, last: Span) -> Result<(Event<'t>, Span), ManifestError> {
        let ended = || ManifestError::Syntax {
            line: last.end.line(),
            column: last.end.col() + 1,
            reason: "the file ends here".to_owned(),
        };
        self.next()?.ok_or_else(ended)
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        path: &FieldPath,
        depth: usize,
    ) -> Result<Node, ManifestError> {
        let line = span.start.line();
        let sprawl = || ManifestError::Sprawl { line };
        self.left = self.left.checked_sub(1).ok_or_else(sprawl)?;
        if depth > DEPTH_LIMIT {
            return Err(sprawl());
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, scalar(&text, style, tag.as_deref(), line)?)
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", line)?;
                (anchor, self.list(span, path, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", line)?;
                (anchor, self.map(span, path, depth)?)
            }
            Event::Alias(anchor) => {
                // An anchor that is not complete yet contains this very alias.
                let node = self.anchors.get(&anchor).ok_or_else(sprawl)?.clone();
                self.left = self.left.checked_sub(node.size()).ok_or_else(sprawl)?;
                return Ok(node);
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (0, Value::Empty),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(
        &mut self,
        start: Span,
        path: &FieldPath,
        depth: usize,
    ) -> Result<Value, ManifestError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.within(start)?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, span, &path.item(items.len()), depth + 1)?);
        }
    }

    fn map(&mut self, start: Span, path: &FieldPath, depth: usize) -> Result<Value, ManifestError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        let mut lines = BTreeMap::new();
        loop {
            let (event, key) = self.within(start)?;
            let line = key.start.line();
            let (name, style) = match event {
                Event::MappingEnd => break,
                Event::Scalar(name, style, ..) => (name.into_owned(), style),
                _ => return Err(ManifestError::Key { line }),
            };
            let path = path.name(&name);
            let (event, span) = self.within(key)?;
            let node = self.node(event, span, &path, depth + 1)?;
            if name == "<<" && style == ScalarStyle::Plain {
                merged.extend(node.merged()?);
            } else if let Some(first) = lines.insert(name.clone(), line) {
                return Err(ManifestError::Twice { line, path, first });
            } else {
                entries.push(Entry { name, line, node });
            }
        }
        let mut known: BTreeSet<String> = lines.into_keys().collect();
        entries.extend(merged.into_iter().filter(|entry| known.insert(entry.name.clone())));
        Ok(Value::Map(entries))
    }
}

impl Node {
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Self> {
        let Value::Map(entries) = &mut self.value else { return None };
        let position = entries.iter().position(|entry| entry.name == name)?;
        Some(entries.remove(position).node)
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Empty => true,
            Value::Text(text) => text.is_empty(),
            Value::Plain(..) | Value::List(_) | Value::Map(_) => false,
        }
    }

    /// Every place that is set and has none within it.
    pub(super) fn leaves(&self) -> BTreeSet<FieldPath> {
        let mut leaves = BTreeSet::new();
        self.collect(&FieldPath::default(), &mut leaves);
        leaves
    }

    fn collect(&self, path: &FieldPath, leaves: &mut BTreeSet<FieldPath>) {
        match &self.value {
            Value::Empty => {}
            Value::Map(entries) if !entries.is_empty() => {
                for entry in entries {
                    entry.node.collect(&path.name(&entry.name), leaves);
                }
            }
            Value::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    item.collect(&path.item(index), leaves);
                }
            }
            Value::Plain(..) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                leaves.insert(path.clone());
            }
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum::<usize>(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum(),
            Value::Empty | Value::Plain(..) | Value::Text(_) => 0,
        }
    }

    fn merged(self) -> Result<Vec<Entry>, ManifestError> {
        match self.value {
            Value::Map(entries) => Ok(entries),
            Value::List(items) => items
                .into_iter()
                .map(Self::merged)
                .collect::<Result<Vec<_>, _>>()
                .map(|m| m.concat()),
            Value::Empty | Value::Plain(..) | Value::Text(_) => {
                Err(ManifestError::Merge { line: self.line })
            }
        }
    }
}

fn syntax(error: &ScanError) -> ManifestError {
    let mark = error.marker();
    ManifestError::Syntax {
        line: mark.line(),
        column: mark.col() + 1,
        reason: error.info().to_owned(),
    }
}

fn collection_tag(tag: Option<&Tag>, kind: &str, line: usize) -> Result<(), ManifestError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == kind) => {
            Err(ManifestError::Tag { line, tag: tag.to_string() })
        }
        Some(_) | None => Ok(()),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: usize,
) -> Result<Value, ManifestError> {
    let literal = || Value::Text(text.to_owned());
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(literal()),
        Some(tag)
            if tag.is_yaml_core_schema()
                && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") =>
        {
            Ok(plain(text))
        }
        Some(tag) => Err(ManifestError::Tag { line, tag: tag.to_string() }),
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(literal()),
    }
}

fn plain(text: &str) -> Value {
    let meaning = match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Empty,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Some(Meaning::Flag(true))
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Some(Meaning::Flag(false))
        }
        _ => integer(text).map(Meaning::Integer).or_else(|| number(text).map(Meaning::Number)),
    };
    match meaning {
        Some(meaning) => Value::Plain(text.to_owned(), meaning),
        None => Value::Text(text.to_owned()),
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        Some(octal) if octal.starts_with('0') => (8, digits.get(1..)?),
        Some(_) | None => (10, digits),
    };
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().filter(|_| plain)
}

fn number(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let plain = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse().ok().filter(|_| plain && starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str) -> Option<Meaning> {
        match plain(text) {
            Value::Plain(_, meaning) => Some(meaning),
            Value::Empty | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    #[test]
    fn plain_words_mean_what_kubectl_takes_them_for() {
        for (text, expected) in [
            ("on", Some(Meaning::Flag(true))),
            ("NO", Some(Meaning::Flag(false))),
            ("12", Some(Meaning::Integer(12))),
            ("-3", Some(Meaning::Integer(-3))),
            ("+3", Some(Meaning::Integer(3))),
            ("0", Some(Meaning::Integer(0))),
            ("0644", Some(Meaning::Integer(0o644))),
            ("0x1F", Some(Meaning::Integer(31))),
            ("0b11", Some(Meaning::Integer(3))),
            ("1.5", Some(Meaning::Number(1.5))),
            ("1e3", Some(Meaning::Number(1000.0))),
            ("1e-3", Some(Meaning::Number(0.001))),
            ("99999999999999999999", Some(Meaning::Number(1e20))),
            ("16/B374D848", None),
            ("10Gi", None),
            ("5min", None),
            ("0x-1", None),
            ("--1", None),
            ("1.2.3", None),
            ("e5", None),
            (".", None),
            ("inf", None),
            ("y", None),
        ] {
            assert_eq!(meaning(text), expected, "{text:?}");
        }
    }

    #[test]
    fn anchors_merges_and_several_documents_are_understood() {
        let text = "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n---\n\n---\n- 1\n";
        let found = documents(text).unwrap();
        assert_eq!(found.len(), 2);
        let paths: Vec<_> = found[0].leaves().iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["a.b", "a.c", "d.b", "d.c"]);
        assert_eq!(found[1].line, 8);
        let three = found[0].get("d").and_then(|d| d.get("c")).unwrap();
        assert!(matches!(three.value, Value::Plain(_, Meaning::Integer(3))));
    }

    #[test]
    fn aliases_and_nesting_have_bounds() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let above = format!("*a{}, ", level - 1).repeat(10);
            bomb.extend([format!("a{level}: &a{level} [{above}]\n")]);
        }
        assert!(matches!(documents(&bomb), Err(ManifestError::Sprawl { line: 6 })));
        let deep = "[".repeat(70) + &"]".repeat(70);
        assert!(matches!(documents(&deep), Err(ManifestError::Sprawl { line: 1 })));
        let deeper = "[".repeat(100_000);
        assert!(matches!(documents(&deeper), Err(ManifestError::Syntax { line: 1, .. })));
        assert!(matches!(documents("a: &a [*a]"), Err(ManifestError::Sprawl { line: 1 })));
    }
}
