//! One file per command.
//!
//! Never shares state between commands: each is given its arguments and ends with an exit code.

pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod bootstrap;
pub(crate) mod bound;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod dump;
pub(crate) mod form;
pub(crate) mod inside;
pub(crate) mod install;
pub(crate) mod kubernetes;
pub(crate) mod local;
pub(crate) mod logs;
mod manifest;
pub(crate) mod operator;
pub(crate) mod origin;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod recovery;
pub(crate) mod repository;
pub(crate) mod restore_point;
pub(crate) mod wal;

use std::ffi::OsString;
use std::path::Path;

/// Whether the program was started under this name.
pub(crate) fn is_called(words: &[OsString], name: &str) -> bool {
    let called = words.first().and_then(|word| Path::new(word).file_name());
    called.is_some_and(|called| called == name)
}
