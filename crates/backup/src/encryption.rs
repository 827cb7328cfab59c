//! Encrypts what a repository holds with keys of its owner: nothing leaves this machine in the clear,
//! and whoever changes, cuts, reorders or exchanges what is stored is noticed.
//!
//! Never invents cryptography: AES-256-GCM for content, AES key wrap for keys, HKDF between them, all
//! of aws-lc. Never keeps a key where it could be printed.

mod chunks;
mod envelope;
mod form;
mod key;

pub use envelope::EnvelopeError;
pub use form::{FormError, refuse_other_form};
pub use key::{KeyError, KeyId, Keyring, NewKey};

pub(crate) use chunks::{Decrypter, Encrypter, Flow};
pub(crate) use envelope::{HEAD, HEADER, clear_size, span};
