//! Lends buffers to connections while bytes are on their way.
//!
//! Never lets an idle connection hold one.

use std::sync::{Mutex, PoisonError};

/// Large enough that system calls do not matter, small enough for a processor's cache.
pub(super) const BUFFER: usize = 128 * 1024;
const MOST_SPARE: usize = 8;

#[derive(Default)]
pub(super) struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A buffer of [`BUFFER`] bytes.
    pub(super) fn lend(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; BUFFER])
    }

    pub(super) fn give_back(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MOST_SPARE && buffer.len() == BUFFER {
            spare.push(buffer);
        }
    }
}
