//! The keys of a repository's owner: reads them, tells them apart, makes new ones.
//!
//! Never shows one, and never uses one for content: each wraps the keys of single objects.

use super::envelope::{EnvelopeError, HEAD, WRAPPED, header, read_header};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use zeroize::Zeroizing;

/// Of a key, in bytes.
pub(super) const KEY: usize = 32;
/// Base64 of a key.
const LINE: usize = 44;
/// Older keys beside the one in use: more than anybody rotates.
const MOST: usize = 32;

/// Content is encrypted with keys of single objects, which are wrapped by one of these.
#[derive(Debug)]
pub struct Keyring {
    first: Key,
    older: Vec<Key>,
}

/// By what a key is known to everybody; it says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

/// A key that nobody has used yet.
pub struct NewKey {
    pub id: KeyId,
    /// Its line in a file of keys, without the end of the line.
    pub line: Zeroizing<String>,
}

/// Why a file of keys is refused. Nothing of the file is quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it holds no key: make one with `pgherd repository key FILE`")]
    None,
    #[error("it holds more than {MOST} keys: remove those that nothing is encrypted with any more")]
    TooMany,
    #[error(
        "line {line} is no key: a key is {KEY} bytes in base64, which are {LINE} characters; make one \
         with `pgherd repository key FILE`"
    )]
    Line { line: usize },
    #[error("lines {first} and {line} hold the same key: remove one")]
    Twice { first: usize, line: usize },
    #[error("the system gives no random bytes ({0})")]
    Random(String),
}

struct Key {
    id: KeyId,
    wrapping: Zeroizing<[u8; KEY]>,
}

impl Keyring {
    /// One key in each line, in base64: the first one encrypts, the others still open what they
    /// encrypted once. Empty lines and those that begin with `#` do not count.
    pub fn parse(text: &[u8]) -> Result<Self, KeyError> {
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let key = Key::of(&*decoded(text).ok_or(KeyError::Line { line })?);
            if let Some((first, _)) = keys.iter().find(|(_, known)| known.id == key.id) {
                return Err(KeyError::Twice { first: *first, line });
            }
            keys.push((line, key));
        }
        if keys.len() > MOST {
            return Err(KeyError::TooMany);
        }
        let mut keys = keys.into_iter().map(|(_, key)| key);
        let first = keys.next().ok_or(KeyError::None)?;
        Ok(Self { first, older: keys.collect() })
    }

    /// Of the key that encrypts.
    pub fn id(&self) -> KeyId {
        self.first.id
    }

    /// Of all, the one that encrypts first.
    pub fn ids(&self) -> Vec<KeyId> {
        std::iter::once(&self.first).chain(&self.older).map(|key| key.id).collect()
    }

    /// The same header with the key of its object wrapped by the key that encrypts; none if it is.
    pub(crate) fn rewrapped(&self, stored: &[u8]) -> Result<Option<[u8; HEAD]>, EnvelopeError> {
        let (id, wrapped) = read_header(stored)?;
        // Also one that is to stay has to be one that opens.
        let key = self.unwrap(id, &wrapped)?;
        if id == self.first.id {
            return Ok(None);
        }
        let anew = self.wrap(&key)?;
        // What opens with neither key would be lost.
        if *self.unwrap(self.first.id, &anew)? != *key {
            return Err(EnvelopeError::Failed);
        }
        Ok(Some(header(self.first.id, &anew)))
    }

    /// The key of an object, for its header.
    pub(super) fn wrap(&self, key: &[u8; KEY]) -> Result<[u8; WRAPPED], EnvelopeError> {
        let mut wrapped = [0; WRAPPED];
        let done = self.first.kek().and_then(|kek| {
            kek.wrap(key, &mut wrapped).map_err(|_| EnvelopeError::Failed)?;
            Ok(())
        });
        done.map(|()| wrapped)
    }

    /// The key of an object, from its header.
    pub(super) fn unwrap(
        &self,
        id: KeyId,
        wrapped: &[u8; WRAPPED],
    ) -> Result<Zeroizing<[u8; KEY]>, EnvelopeError> {
        let all = || std::iter::once(&self.first).chain(&self.older);
        let wrong = || EnvelopeError::WrongKey { theirs: id, ours: self.ids() };
        let key = all().find(|key| key.id == id).ok_or_else(wrong)?;
        // The block cipher's inverse wants room for one block more.
        let mut plain = Zeroizing::new([0; WRAPPED]);
        let unwrapped = key.kek()?.unwrap(wrapped, &mut plain[..]);
        let unwrapped = unwrapped.map_err(|_| EnvelopeError::Header)?;
        let unwrapped: &[u8; KEY] = (&*unwrapped).try_into().map_err(|_| EnvelopeError::Header)?;
        Ok(Zeroizing::new(*unwrapped))
    }
}

impl Key {
    fn of(master: &[u8; KEY]) -> Self {
        let derived = Salt::new(HKDF_SHA256, b"pgherd repository key").extract(master);
        let id = KeyId(expand(&derived, b"id"));
        Self { id, wrapping: Zeroizing::new(expand(&derived, b"wrap")) }
    }

    fn kek(&self) -> Result<AesKek, EnvelopeError> {
        AesKek::new(&AES_256, &self.wrapping[..]).map_err(|_| EnvelopeError::Failed)
    }
}

/// How much is derived.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[expect(clippy::expect_used, reason = "it fails only for more than 255 blocks")]
fn expand<const N: usize>(from: &Prk, what: &[u8]) -> [u8; N] {
    let mut derived = [0; N];
    let what = [what];
    let material = from.expand(&what, Length(N)).expect("a short key can be derived");
    material.fill(&mut derived).expect("a short key can be derived");
    derived
}

fn decoded(line: &[u8]) -> Option<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    let mut room = Zeroizing::new([0; LINE]);
    let length = BASE64_STANDARD.decode_slice(line, &mut room[..]).ok()?;
    key.copy_from_slice(room.get(..length).filter(|bytes| bytes.len() == KEY)?);
    Some(key)
}

impl NewKey {
    pub fn draw() -> Result<Self, KeyError> {
        let key = random().map_err(|error| KeyError::Random(error.to_string()))?;
        let line = Zeroizing::new(BASE64_STANDARD.encode(&key[..]));
        Ok(Self { id: Key::of(&key).id, line })
    }
}

/// A new key, straight from the system.
pub(super) fn random() -> std::io::Result<Zeroizing<[u8; KEY]>> {
    let mut key = Zeroizing::new([0; KEY]);
    // So few bytes are given all at once or not at all.
    let given = getrandom(&mut key[..], GetRandomFlags::empty())?;
    if given == KEY { Ok(key) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({})", self.id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn line(fill: u8) -> String {
        BASE64_STANDARD.encode([fill; KEY])
    }

    #[test]
    fn the_first_key_encrypts_and_all_open() {
        let text = format!("# mine\n\n  {}  \r\n{}\n", line(1), line(2));
        let ring = Keyring::parse(text.as_bytes()).unwrap();
        let old = Keyring::parse(line(2).as_bytes()).unwrap();
        assert_eq!(ring.ids(), [Keyring::parse(line(1).as_bytes()).unwrap().id(), old.id()]);
        let wrapped = old.wrap(&[7; KEY]).unwrap();
        assert_eq!(*ring.unwrap(old.id(), &wrapped).unwrap(), [7; KEY]);
        let wrapped = ring.wrap(&[8; KEY]).unwrap();
        assert_eq!(*ring.unwrap(ring.id(), &wrapped).unwrap(), [8; KEY]);
        let refused = old.unwrap(ring.id(), &wrapped).unwrap_err();
        assert_eq!(refused, EnvelopeError::WrongKey { theirs: ring.id(), ours: vec![old.id()] });
        // One that only bears the name of another does not open.
        assert_eq!(old.unwrap(old.id(), &wrapped).unwrap_err(), EnvelopeError::Header);
    }

    #[test]
    fn a_header_is_wrapped_anew_and_once() {
        let keys = |lines: &[u8]| {
            let lines: Vec<String> = lines.iter().map(|fill| line(*fill)).collect();
            Keyring::parse(lines.join("\n").as_bytes()).unwrap()
        };
        let (old, both, new) = (keys(&[2]), keys(&[1, 2]), keys(&[1]));
        let before = header(old.id(), &old.wrap(&[7; KEY]).unwrap());
        assert_eq!(old.rewrapped(&before), Ok(None));
        let after = both.rewrapped(&before).unwrap().unwrap();
        let (id, wrapped) = read_header(&after).unwrap();
        assert_eq!((id, *new.unwrap(id, &wrapped).unwrap()), (new.id(), [7; KEY]));
        assert_eq!((both.rewrapped(&after), new.rewrapped(&after)), (Ok(None), Ok(None)));
        let refused = EnvelopeError::WrongKey { theirs: old.id(), ours: vec![new.id()] };
        assert_eq!(new.rewrapped(&before), Err(refused));
        // One that bears the right name and does not open is no header of ours.
        let mut damaged = after;
        damaged[40] ^= 1;
        assert_eq!(both.rewrapped(&damaged), Err(EnvelopeError::Header));
    }

    #[test]
    fn what_is_derived_stays_what_it_is() {
        expect!["50e2b356cdee18ef"]
            .assert_eq(&Keyring::parse(line(1).as_bytes()).unwrap().id().to_string());
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_quoted() {
        let short = BASE64_STANDARD.encode([1; KEY - 1]);
        let long = BASE64_STANDARD.encode([1; KEY + 1]);
        let hex = "00".repeat(KEY);
        let many: Vec<String> = (0..=32).map(line).collect();
        let twice = format!("{}\n#\n{}", line(1), line(1));
        let all = ["", "# nothing\n", &short, &long, &hex, "\u{fffd}", &many.join("\n"), &twice];
        let said = all.map(|text| {
            let said = Keyring::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(text.is_empty() || !said.contains(text));
            said + "\n"
        });
        expect![[r#"
            it holds no key: make one with `pgherd repository key FILE`
            it holds no key: make one with `pgherd repository key FILE`
            line 1 is no key: a key is 32 bytes in base64, which are 44 characters; make one with `pgherd repository key FILE`
            line 1 is no key: a key is 32 bytes in base64, which are 44 characters; make one with `pgherd repository key FILE`
            line 1 is no key: a key is 32 bytes in base64, which are 44 characters; make one with `pgherd repository key FILE`
            line 1 is no key: a key is 32 bytes in base64, which are 44 characters; make one with `pgherd repository key FILE`
            it holds more than 32 keys: remove those that nothing is encrypted with any more
            lines 1 and 3 hold the same key: remove one
        "#]].assert_eq(&said.concat());
    }

    #[test]
    fn a_new_key_is_read_back_and_not_shown() {
        let (one, other) = (NewKey::draw().unwrap(), NewKey::draw().unwrap());
        assert_ne!(one.id, other.id);
        let ring = Keyring::parse(one.line.as_bytes()).unwrap();
        assert_eq!(ring.id(), one.id);
        assert!(!format!("{one:?} {ring:?}").contains(one.line.as_str()));
    }
}
