//! Reads and writes the part of Python's literals that barman's files contain.
//!
//! Never evaluates anything, and never recurses deeper than a bound.

use std::fmt;

/// A value as Python writes it. Numbers keep their digits: nobody computes with them here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    None,
    Bool(Truth),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a literal of Python: {why} at byte {at}")]
pub struct LiteralError {
    why: &'static str,
    at: usize,
}

const DEEPEST: usize = 32;

impl Literal {
    pub fn read(text: &str) -> Result<Self, LiteralError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(DEEPEST)?;
        reader.blank();
        if reader.peek().is_some() { Err(reader.fails("more than one value")) } else { Ok(value) }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fails(&self, why: &'static str) -> LiteralError {
        LiteralError { why, at: self.at }
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn value(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        self.blank();
        if depth == 0 {
            return Err(self.fails("nested too deeply"));
        }
        match self.peek() {
            Some('[') => Ok(Literal::List(self.items(']', depth)?.0)),
            Some('(') => {
                let (mut items, commas) = self.items(')', depth)?;
                // Without a comma the parentheses mean nothing.
                match (items.len(), commas) {
                    (1, 0) => items.pop().ok_or_else(|| self.fails("empty")),
                    _ => Ok(Literal::Tuple(items)),
                }
            }
            Some('{') => self.dict(depth),
            Some('\'' | '"') => self.texts(),
            Some(c) if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            Some(_) => self.word(),
            None => Err(self.fails("nothing")),
        }
    }

    /// What stands between brackets, and how many commas.
    fn items(&mut self, end: char, depth: usize) -> Result<(Vec<Literal>, usize), LiteralError> {
        self.next();
        let (mut items, mut commas) = (Vec::new(), 0);
        loop {
            self.blank();
            if self.peek() == Some(end) {
                self.next();
                return Ok((items, commas));
            }
            if commas < items.len() {
                return Err(self.fails("a comma is missing"));
            }
            items.push(self.value(depth - 1)?);
            commas += usize::from(self.comma());
        }
    }

    fn comma(&mut self) -> bool {
        self.blank();
        let is_there = self.peek() == Some(',');
        if is_there {
            self.next();
        }
        is_there
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, LiteralError> {
        self.next();
        let (mut entries, mut commas) = (Vec::new(), 0);
        loop {
            self.blank();
            if self.peek() == Some('}') {
                self.next();
                return Ok(Literal::Dict(entries));
            }
            if commas < entries.len() {
                return Err(self.fails("a comma is missing"));
            }
            let key = self.value(depth - 1)?;
            self.blank();
            if self.next() != Some(':') {
                return Err(self.fails("a colon is missing"));
            }
            entries.push((key, self.value(depth - 1)?));
            commas += usize::from(self.comma());
        }
    }

    fn word(&mut self) -> Result<Literal, LiteralError> {
        let is_end = |c: char| !c.is_ascii_alphanumeric();
        let word = self.rest().split(is_end).next().unwrap_or_default();
        let value = match word {
            "None" => Literal::None,
            "True" => Literal::Bool(Truth::True),
            "False" => Literal::Bool(Truth::False),
            _ => return Err(self.fails("an unknown word")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Literal, LiteralError> {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c));
        let number = self.rest().split(is_end).next().unwrap_or_default().to_owned();
        // Python's own notation of whole and broken numbers is Rust's, but for the long `L`.
        if number.trim_end_matches('L').parse::<f64>().is_err() {
            return Err(self.fails("not a number"));
        }
        self.at += number.len();
        Ok(Literal::Number(number.trim_end_matches('L').to_owned()))
    }

    /// Texts that follow each other are one.
    fn texts(&mut self) -> Result<Literal, LiteralError> {
        let mut whole = String::new();
        while let Some(quote @ ('\'' | '"')) = self.peek() {
            self.next();
            self.text(quote, &mut whole)?;
            self.blank();
        }
        Ok(Literal::Text(whole))
    }

    fn text(&mut self, quote: char, whole: &mut String) -> Result<(), LiteralError> {
        loop {
            match self.next() {
                None => return Err(self.fails("a text without end")),
                Some(c) if c == quote => return Ok(()),
                Some('\\') => {
                    if let Some(c) = self.escaped()? {
                        whole.push(c);
                    }
                }
                Some(c) => whole.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Result<Option<char>, LiteralError> {
        let c = self.next().ok_or_else(|| self.fails("a text without end"))?;
        Ok(Some(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => c,
            'x' => self.code(2, 16)?,
            'u' => self.code(4, 16)?,
            'U' => self.code(8, 16)?,
            '0'..='7' => {
                self.at -= 1;
                let octal = self.rest().bytes().take_while(|b| (b'0'..=b'7').contains(b));
                let digits = octal.take(3).count();
                self.code(digits, 8)?
            }
            '\n' => return Ok(None),
            _ => return Err(self.fails("an unknown escape")),
        }))
    }

    fn code(&mut self, digits: usize, radix: u32) -> Result<char, LiteralError> {
        let number =
            self.rest().get(..digits).and_then(|text| u32::from_str_radix(text, radix).ok());
        let c = number.and_then(char::from_u32).ok_or_else(|| self.fails("an unknown escape"))?;
        self.at += digits;
        Ok(c)
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(Truth::True) => f.write_str("True"),
            Self::Bool(Truth::False) => f.write_str("False"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => quoted(text, f),
            Self::List(items) => between('[', items, "]", f),
            Self::Tuple(items) => between('(', items, if items.len() == 1 { ",)" } else { ")" }, f),
            Self::Dict(entries) => {
                f.write_str("{")?;
                for (number, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if number == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

fn between(begin: char, items: &[Literal], end: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{begin}")?;
    for (number, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if number == 0 { "" } else { ", " })?;
    }
    f.write_str(end)
}

/// As Python's `repr` does: single quotes, unless only those are in it.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    write!(f, "{quote}")?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() && u32::from(c) < 0x100 => write!(f, "\\x{:02x}", u32::from(c))?,
            // Python and others split lines at these; they are escaped so that ours never are.
            '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "{quote}")
}
