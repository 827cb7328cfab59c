//! Draws passwords.
//!
//! Never draws from anything but the cryptographic source, and never prefers one character.

use super::CertificateError;
use rustls::crypto::aws_lc_rs::default_provider;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LENGTH: usize = 32;

/// A password of 32 letters and digits: 190 bits, and nothing that a connection string or a shell
/// would have to be told apart.
pub fn password() -> Result<String, CertificateError> {
    let source = default_provider().secure_random;
    let mut password = String::with_capacity(LENGTH);
    while password.len() < LENGTH {
        let mut bytes = [0; LENGTH];
        source.fill(&mut bytes).map_err(|_| CertificateError::DrawPassword)?;
        let room = LENGTH - password.len();
        password.extend(bytes.into_iter().filter_map(character).take(room));
    }
    Ok(password)
}

/// The character that a random byte stands for; none for the few bytes that would make the first
/// characters of the alphabet likelier than the rest.
fn character(byte: u8) -> Option<char> {
    let (byte, characters) = (usize::from(byte), ALPHABET.len());
    if byte >= 256 / characters * characters {
        return None;
    }
    ALPHABET.get(byte % characters).copied().map(char::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn passwords_are_long_and_plain_and_differ() {
        let drawn: BTreeSet<String> = (0..100).map(|_| password().unwrap()).collect();
        assert_eq!(drawn.len(), 100);
        for password in drawn {
            assert_eq!(password.len(), 32);
            assert!(password.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{password}");
        }
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        let mut bytes_of = BTreeMap::new();
        for found in (0..=u8::MAX).filter_map(character) {
            *bytes_of.entry(found).or_insert(0) += 1;
        }
        assert_eq!(bytes_of.len(), 62);
        assert!(bytes_of.values().all(|bytes| *bytes == 4), "{bytes_of:?}");
    }
}
