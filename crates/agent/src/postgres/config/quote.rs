//! Writes values so that PostgreSQL reads exactly these values again.
//!
//! Never lets a value end its own quotes.

use std::path::Path;

/// A value in postgresql.conf.
pub fn setting(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('\'');
    for c in value.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            // A line end inside quotes is a syntax error, which would spoil the whole file.
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A value in a connection string.
pub fn conninfo(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

/// A path as one word of a command that PostgreSQL gives to the shell, having replaced `%` itself.
pub fn command_word(path: &Path) -> String {
    let escaped = path.display().to_string().replace('\'', r"'\''").replace('%', "%%");
    format!("'{escaped}'")
}

/// A string in SQL, whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    if value.contains('\\') {
        format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// A name in SQL, in pg_hba.conf and in `synchronous_standby_names`.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(setting("it's\na \\"), r"'it''s\na \\'");
        assert_eq!(conninfo(r"a\b'c"), r"'a\\b\'c'");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'"), r"E'a\\'''");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
