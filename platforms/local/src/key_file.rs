//! Reads the file in which a user keeps the key of a repository.
//!
//! Never takes one that others can read, and never shows what is in it.

use crate::account;
use crate::failure::{Failure, Kind};
use pgherd_agent::archive;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Far more than all keys that there can be take.
const LARGEST: u64 = 64 << 10;
/// What a group and others may do.
const OF_OTHERS: u32 = 0o077;

/// The content, if keys can be read from it.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let what = || format!("the key of the repository cannot be read from {}", path.display());
    let failed = |why: String| Failure::new(Kind::Refused, what()).because(why);
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) =
        opened.map_err(|error| failed(error.to_string()).fix(way_in(path, &error)))?;
    if !metadata.is_file() {
        return Err(failed("it is no file".to_owned()).fix("name a file with a key in it"));
    }
    if metadata.mode() & OF_OTHERS != 0 {
        let why =
            format!("others than its owner may use it (mode {:04o})", metadata.mode() & 0o7777);
        return Err(failed(why).fix(format!("chmod 600 {}", path.display())));
    }
    let mut content = Vec::new();
    let read = file.take(LARGEST).read_to_end(&mut content);
    read.map_err(|error| failed(error.to_string()))?;
    archive::check_key(&content).map_err(|error| failed(error.to_string()))?;
    Ok(content)
}

fn way_in(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return "bring the file back, or correct pgherd.dev/repositoryKey".to_owned();
    }
    let own = rustix::process::geteuid().as_raw();
    let name = account::of(own).map_or_else(|_| own.to_string(), |account| account.name);
    let path = path.display();
    format!("the instances run as {name}, which has to own it and reach it: chown {name} {path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_private_file_with_a_key_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repository.key");
        let said = || {
            let refused = read(&path).unwrap_err();
            refused.cause.unwrap() + "; " + &refused.fix.unwrap_or_default()
        };
        assert!(said().starts_with("No such file"), "{}", said());
        std::fs::write(&path, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n").unwrap();
        for mode in [0o644, 0o640, 0o660, 0o604] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let expected = format!("others than its owner may use it (mode {mode:04o}); chmod 600");
            assert!(said().starts_with(&expected), "{}", said());
        }
        for mode in [0o600, 0o400] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(read(&path).unwrap().len(), 45);
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "secret").unwrap();
        assert!(said().contains("line 1 is no key") && !said().contains("secret;"), "{}", said());
        assert!(read(folder.path()).unwrap_err().cause.unwrap().contains("no file"));
    }
}
