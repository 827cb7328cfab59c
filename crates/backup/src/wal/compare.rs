//! Compares a file with what is stored under its name.
//!
//! Never by checksum: it is done seldom, and then every byte counts.

use super::unpack::{Failed, unpack};
use super::{Archive, WalError};
use crate::compression::Compression;
use crate::layout::Key;
use pgherd_core::wal::WalFile;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

impl Archive {
    pub(super) async fn is_same(
        &self,
        file: WalFile,
        path: &Path,
        key: &Key,
    ) -> Result<bool, WalError> {
        let opened = self.store.stream(key).await;
        let opened = opened.map_err(|source| WalError::Push { file, source })?;
        // Nobody has seen other content of what cannot be had.
        let vanished = || WalError::Push { file, source: self.store.vanished(key) };
        let (_, packed) = opened.ok_or_else(vanished)?;
        let (_, compression) = Compression::of(key.name());
        let (path, stored) = (path.to_owned(), key.clone());
        let compare = move |unpacked: &mut dyn Read| {
            let ours = File::open(&path);
            let ours = ours.map_err(|source| WalError::Read { path, source })?;
            are_same(ours, unpacked).map_err(|source| WalError::Unpack { stored, source })
        };
        match unpack(packed, compression, compare, key).await {
            Ok(same) => Ok(same),
            Err(Failed::OnTheWay(source)) => Err(WalError::Push { file, source }),
            Err(Failed::Inside(error)) => Err(error),
        }
    }
}

fn are_same(ours: impl Read, stored: &mut dyn Read) -> io::Result<bool> {
    const BLOCK: u64 = 1 << 16;
    let mut ours = io::BufReader::new(ours);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    loop {
        one.clear();
        other.clear();
        Read::by_ref(&mut ours).take(BLOCK).read_to_end(&mut one)?;
        Read::take(&mut *stored, BLOCK).read_to_end(&mut other)?;
        if one != other {
            return Ok(false);
        }
        if one.is_empty() {
            return Ok(true);
        }
    }
}
