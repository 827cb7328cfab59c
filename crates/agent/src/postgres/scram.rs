//! Passwords as PostgreSQL stores them, computed here so that no password ever reaches SQL.
//!
//! Never shows what it holds.

use std::fmt;

/// What proves a password without revealing it; stored in `pg_authid`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier(String);

impl Verifier {
    /// From a password in the clear.
    pub fn of(password: &str) -> Self {
        Self(postgres_protocol::password::scram_sha_256(password.as_bytes()))
    }

    /// A verifier that was computed elsewhere, or `None` when it is none.
    pub fn parse(given: &str) -> Option<Self> {
        let rest = given.strip_prefix("SCRAM-SHA-256$")?;
        let (rounds, rest) = rest.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let base64 = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
        };
        let whole =
            rounds.parse::<u32>().is_ok() && [salt, stored, server].map(base64) == [true; 3];
        whole.then(|| Self(given.to_owned()))
    }

    /// For the text of a statement that is not logged.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_holds_no_password_and_reads_back() {
        let verifier = Verifier::of("correct horse");
        assert!(!verifier.reveal().contains("horse"));
        assert_eq!(Verifier::parse(verifier.reveal()), Some(verifier.clone()));
        assert_ne!(Verifier::of("correct horse"), verifier, "each has a salt of its own");
        assert_eq!(format!("{verifier:?}"), "Verifier(..)");
        for bad in ["", "md5abc", "SCRAM-SHA-256$4096:a$b", "SCRAM-SHA-256$x:a$b:c'"] {
            assert_eq!(Verifier::parse(bad), None);
        }
    }
}
